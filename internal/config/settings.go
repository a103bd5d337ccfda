package config

import (
	"log/slog"
	"time"
)

// Settings is everything that can be set. The zero value is not usable: take
// [Defaults] or [Load].
type Settings struct {
	Listen   string    `yaml:"listen"`   // host:port for clients; port 0 takes any free one
	Admin    string    `yaml:"admin"`    // host:port for operators: health, metrics
	Data     string    `yaml:"data"`     // folder of everything that is kept
	Roles    []string  `yaml:"roles"`    // of [Roles], at least one
	Origins  []string  `yaml:"origins"`  // web origins besides the console's own, "https://host[:port]"
	TLS      PublicTLS `yaml:"tls"`      // at Listen
	AdminTLS AdminTLS  `yaml:"adminTLS"` // at Admin
	Proxies  Proxies   `yaml:"proxies"`  // before Listen
	Audit    Audit     `yaml:"audit"`    // who came, and changed what
	Apps     []App     `yaml:"apps"`     // at least one
	Domain   string    `yaml:"domain"`   // the name of the site that this node belongs to, or empty
	Cluster  Cluster   `yaml:"cluster"`  // with others of its kind
	NATS     NATS      `yaml:"nats"`     // instead of the embedded one
	DB       DB        `yaml:"db"`       // what is at rest
	Chat     Chat      `yaml:"chat"`     // accounts and rooms
	Journal  Journal   `yaml:"journal"`  // of what happened to devices
	Matching Matching  `yaml:"matching"`
	Nearby   Nearby    `yaml:"nearby"`   // who is around
	Traffic  Traffic   `yaml:"traffic"`  // what was exchanged when
	Relay    Relay     `yaml:"relay"`    // whose network the console shows
	Registry Registry  `yaml:"registry"` // of services
	Gateway  Gateway   `yaml:"gateway"`  // services behind the public listener
	Limits   Limits    `yaml:"limits"`
	Log      Log       `yaml:"log"`

	// Meta says where the description of all domains comes from: the URL of a meta
	// server, or a file as it reads one. Empty: there are no other domains.
	Meta       string `yaml:"meta"`
	MetaSecret Secret `yaml:"metaSecret"` // what the meta server asks for, or empty
	MetaCA     string `yaml:"metaCA"`     // PEM: who signed its certificate; empty: the system's
	Links      Links  `yaml:"links"`      // to other domains
	// InsecureLinks lets a link without a secret come up between any addresses.
	InsecureLinks bool `yaml:"insecureLinks"`

	// Source says which meta server has further settings of this node.
	Source Source `yaml:"settings"`

	// Demo says that no apps were named, so that Apps is the demo app, which
	// lets anyone in. Listen and Admin are loopback addresses then.
	Demo bool `yaml:"-"`

	// hidden are the keys, "apps[0].authUrl" say, whose values come from secrets that
	// they name. It is never changed.
	hidden map[string]bool `yaml:"-"`
}

// App is one client application whose users may sign in.
type App struct {
	Name        string    `yaml:"appName"`      // 1 to 64 of A-Z a-z 0-9 _; unique
	ID          string    `yaml:"appId"`        // what clients send as appId
	Master      string    `yaml:"masterUserId"` // a user ID of this app, or empty
	AuthEnabled bool      `yaml:"authEnabled"`  // false: anyone may sign in as any user
	AuthURL     string    `yaml:"authUrl"`      // http(s) URL of the app's auth hook, or empty
	JWT         *JWT      `yaml:"jwt"`          // instead of the hook; nil for none
	AllowApps   []string  `yaml:"allowApps"`    // other apps that this app's users may reach
	Webhooks    []Webhook `yaml:"webhooks"`     // where the app's own server is told of events
}

// JWT says how an app's tokens are verified. Exactly one of Secret, PublicKey
// and JWKSURL is set.
type JWT struct {
	Secret    Secret `yaml:"secret"`    // HS256, at least 32 bytes
	PublicKey string `yaml:"publicKey"` // PEM "PUBLIC KEY": RSA, ECDSA P-256 or Ed25519
	JWKSURL   string `yaml:"jwksUrl"`   // http(s) URL of a key set
	Issuer    string `yaml:"issuer"`    // required "iss", or empty for any
	Audience  string `yaml:"audience"`  // required "aud", or empty for any
}

// Webhook is one place that an app's events are posted to.
type Webhook struct {
	Name         string   `yaml:"name"`         // 1 to 64 of A-Z a-z 0-9 _ -; unique in the app
	URL          string   `yaml:"url"`          // http(s) URL
	Secret       Secret   `yaml:"secret"`       // "whsec_" and base64, or at least 32 bytes
	SecondSecret Secret   `yaml:"secondSecret"` // signs too while secrets change; empty for none
	Events       []string `yaml:"events"`       // at least one of [WebhookEvents]
	AllowPrivate bool     `yaml:"allowPrivate"` // it may be at a private address
	HideURL      bool     `yaml:"-"`            // it comes from a secret, and is not to be shown
}

// Limits bounds what one client, one user or one node may use. Every limit is
// positive.
type Limits struct {
	Frame            Bytes         `yaml:"frame"`
	SignInFrame      Bytes         `yaml:"signInFrame"`
	SignInDeadline   time.Duration `yaml:"signInDeadline"`
	HandshakeTimeout time.Duration `yaml:"handshakeTimeout"`
	PingInterval     time.Duration `yaml:"pingInterval"`
	ProofTimeout     time.Duration `yaml:"proofTimeout"`
	AckTimeout       time.Duration `yaml:"ackTimeout"`
	EventHeartbeat   time.Duration `yaml:"eventHeartbeat"`
	ResumeTimeout    time.Duration `yaml:"resumeTimeout"`
	FramesWaiting    int           `yaml:"framesWaiting"`
	FrameTimeout     time.Duration `yaml:"frameTimeout"`
	SessionsPerUser  int           `yaml:"sessionsPerUser"`
	GroupReceivers   int           `yaml:"groupReceivers"`
	QueueBytes       Bytes         `yaml:"queueBytes"`
	QueueFrames      int           `yaml:"queueFrames"`
	MailboxAge       time.Duration `yaml:"mailboxAge"`
	MailboxMessages  int           `yaml:"mailboxMessages"`
	MailboxBytes     Bytes         `yaml:"mailboxBytes"`
	WaitingMessages  int           `yaml:"waitingMessages"`
	LinkBytes        Bytes         `yaml:"linkBytes"`
	LinkAge          time.Duration `yaml:"linkAge"`
	LinkWindow       Bytes         `yaml:"linkWindow"`

	ConnectionsPerAddress int      `yaml:"connectionsPerAddress"`
	FailedSignIns         int      `yaml:"failedSignIns"` // a minute
	FrameRate             int      `yaml:"frameRate"`     // a second, as the next five
	ByteRate              Bytes    `yaml:"byteRate"`
	UserFrameRate         int      `yaml:"userFrameRate"`
	UserByteRate          Bytes    `yaml:"userByteRate"`
	AppFrameRate          int      `yaml:"appFrameRate"`
	AppByteRate           Bytes    `yaml:"appByteRate"`
	Exempt                []string `yaml:"exempt"` // CIDRs for which those do not hold

	IdempotencyAge      time.Duration `yaml:"idempotencyAge"`
	IdempotencyRequests int           `yaml:"idempotencyRequests"`
	Producers           int           `yaml:"producers"`
	MinDiskFree         Bytes         `yaml:"minDiskFree"`
	HTTPBody            Bytes         `yaml:"httpBody"`
	PresenceWatch       int           `yaml:"presenceWatch"`
	Connections         int           `yaml:"connections"`
	DrainTimeout        time.Duration `yaml:"drainTimeout"`
	HookTimeout         time.Duration `yaml:"hookTimeout"`
	HookConcurrency     int           `yaml:"hookConcurrency"`
	StatsStreams        int           `yaml:"statsStreams"`
	CompressAbove       Bytes         `yaml:"compressAbove"`
	APIKeys             int           `yaml:"apiKeys"`
	APIKeysPerApp       int           `yaml:"apiKeysPerApp"`
	APIRate             int           `yaml:"apiRate"`
	APIPage             int           `yaml:"apiPage"`
	APIBatch            int           `yaml:"apiBatch"`
	APITimeout          time.Duration `yaml:"apiTimeout"`
	ReplayTime          time.Duration `yaml:"replayTime"`
	ReplayAnswers       int           `yaml:"replayAnswers"`
	ReplayBytes         Bytes         `yaml:"replayBytes"`

	UndeliveredAfter    time.Duration `yaml:"undeliveredAfter"`
	WebhookTimeout      time.Duration `yaml:"webhookTimeout"`
	WebhookRetry        time.Duration `yaml:"webhookRetry"`
	WebhookConcurrency  int           `yaml:"webhookConcurrency"`
	WebhookQueue        int           `yaml:"webhookQueue"`
	WebhookQueueBytes   Bytes         `yaml:"webhookQueueBytes"`
	WebhookHistory      time.Duration `yaml:"webhookHistory"`
	WebhookHistoryBytes Bytes         `yaml:"webhookHistoryBytes"`

	SignUps         int   `yaml:"signUps"`
	AccountSessions int   `yaml:"accountSessions"`
	BlockedUsers    int   `yaml:"blockedUsers"`
	RoomContent     Bytes `yaml:"roomContent"`
	RoomMembers     int   `yaml:"roomMembers"`
	RoomsPerUser    int   `yaml:"roomsPerUser"`
	RoomsOwned      int   `yaml:"roomsOwned"`
}

// Log says what is logged, and how.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error
	Format string `yaml:"format"` // text or json
}

// SlogLevel returns the level as log/slog has it.
func (l Log) SlogLevel() slog.Level {
	var level slog.Level
	if err := level.UnmarshalText([]byte(l.Level)); err != nil {
		return slog.LevelInfo
	}
	return level
}

// Secret is text that must not be shown: it prints, logs and marshals as a
// mask. Convert it to a string to use it.
type Secret string

// mask stands wherever a secret would be shown.
const mask = "(hidden)"

// String returns the mask, or nothing for an empty secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return mask
}

// GoString keeps the secret out of %#v.
func (s Secret) GoString() string { return `"` + s.String() + `"` }

// MarshalText keeps the secret out of JSON and YAML.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Defaults returns the settings that hold when nothing is set: the demo app
// on loopback.
func Defaults() Settings {
	s := Settings{Apps: demoApps(), Demo: true}
	for _, k := range Keys() {
		if k.field == nil || k.Default == "" {
			continue
		}
		if err := k.set(&s, k.Default); err != nil {
			panic("config: default of " + k.Name + ": " + err.Error()) // our own table is wrong
		}
	}
	s.Chat.Enabled = true // in the demo, as the next two
	s.Matching.Simple.Enabled, s.Matching.Simple.Access = true, AccessOpen
	return s
}

// demoApps returns the app that is served when none is named.
func demoApps() []App {
	return []App{{Name: "ANZ", ID: "app-id-343", Master: "ANZ-123223"}}
}

// Reachable says whether clients can come from other machines.
func (s Settings) Reachable() bool { return !loopback(s.Listen) }

// OpenApps names the apps that let anyone in from other machines.
func (s Settings) OpenApps() []string {
	var names []string
	for _, a := range s.Apps {
		if !a.AuthEnabled && s.Reachable() {
			names = append(names, a.Name)
		}
	}
	return names
}
