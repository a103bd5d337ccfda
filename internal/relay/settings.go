package relay

import (
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// Access is what guards the calls between the programs: it is used on both ends.
type Access struct {
	// SecretFile has the secret that every call has to show (Authorization:
	// Bearer). Empty: none is shown or asked for.
	SecretFile string
	// TLS: with Cert and Key a program serves HTTPS; CA is whom it trusts as a
	// client. Where a CA is given, addresses without a scheme are called by HTTPS.
	// Its files are read again on a reload.
	TLS config.TLS
}

// AtNetwork is how a program finds its network server.
type AtNetwork struct {
	Server    string        // host:port, or a URL; empty for none
	Cluster   string        // of a collector: which one it joins
	Heartbeat time.Duration // between two calls
	Leave     bool          // of a collector: it leaves the cluster when it stops, for good
}

// CollectorSettings are a collector's.
type CollectorSettings struct {
	ID      string // empty: one that was made at the first start and is kept in the spool
	Address string // where uploaders reach it, and where it listens unless Listen says otherwise
	Listen  string // host or IP address to listen at; empty for Address
	Port    int    // 0: the network server gives one out
	Spool   string
	Network AtNetwork
	Limits  CollectorLimits
	Access
	Admin string     // host:port for /healthz, /readyz, /metrics and /status; empty for none
	Log   config.Log // for the command: a program logs where its options say
}

// CollectorLimits bound what a collector takes. A limit of 0 is none.
type CollectorLimits struct {
	FileBytes   config.Bytes  // of one file
	SpoolBytes  config.Bytes  // of what lies in the spool
	SpoolFiles  int           // likewise
	FreeBytes   config.Bytes  // that stay free on the disk
	Connections int           // at once
	Idle        time.Duration // without a byte, then an upload is cut off
	PartAge     time.Duration // how long the beginning of a file is kept for its end
}

// UploaderSettings are an uploader's.
type UploaderSettings struct {
	Spool   string
	MaxConn int
	Every   string        // a duration, or a cron expression of six fields
	Quiet   time.Duration // a file is complete when it did not change for so long
	KeepFor time.Duration // then a file that a collector still lacks is moved to failed/
	Filter  []string      // globs, or one regular expression between slashes; none for all files
	NextHop []Rule
	Network AtNetwork
	Static  Clusters // instead of Network
	Access
	Admin string
	Log   config.Log
}

// Rule sends the files that match to a cluster. The first one that matches counts.
type Rule struct{ Pattern, Cluster string }

// NetworkSettings are a network server's.
type NetworkSettings struct {
	Address     string // host to listen at
	Port        int
	FirstPort   int           // clusters.port.start: the first that is given out
	ExpireAfter time.Duration // without a heartbeat; then a member is dropped
	Data        string        // folder of what has to outlive the process
	Access
	Admin string
	Log   config.Log
}

// MakerSettings are a maker's.
type MakerSettings struct {
	Spool   string
	Prefix  string
	Suffix  string
	Unit    time.Duration // a slice of time
	Listen  string        // host:port of the HTTP door; empty: records come from standard input
	Network AtNetwork     // for reports only
	Record  config.Bytes  // most bytes of one record
	Access
	Admin string
	Log   config.Log
}

// Defaults.
const (
	DefaultMaxConn     = 30
	DefaultEvery       = "10s"
	DefaultQuiet       = time.Second
	DefaultKeepFor     = 7 * 24 * time.Hour
	DefaultHeartbeat   = 5 * time.Second
	DefaultExpireAfter = 3 * DefaultHeartbeat
	DefaultNetworkHost = "127.0.0.1"
	DefaultNetworkPort = 9200
	DefaultNetworkData = "./relay-network"
	DefaultFirstPort   = 9300
	DefaultUnit        = 5 * time.Second
	DefaultSuffix      = ".bucket"
	DefaultFileBytes   = 64 << 30
	DefaultFreeBytes   = 256 << 20
	DefaultConnections = 1024
	DefaultIdle        = time.Minute
	DefaultPartAge     = 24 * time.Hour
	DefaultRecord      = 1 << 20
	leastSecret        = 16
)
