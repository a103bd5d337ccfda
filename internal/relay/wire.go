package relay

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Paths of a network server.
const (
	pathRegister = "/register" // GET; the wire that others speak, too
	pathRemove   = "/remove"   // GET; likewise
	pathClusters = "/clusters" // GET; likewise
	pathMembers  = "/members"  // GET; who was lost, too
	pathReport   = "/report"   // POST of a Report
	pathStatus   = "/status"   // GET of a Status
)

// Headers between an uploader and a collector of ours.
const (
	headerDigest   = "Repr-Digest"     // RFC 9530: of the whole file, also when only its end is sent
	headerKey      = "Idempotency-Key" // 64 hexadecimal digits in quotes: the same file sent again has the same
	headerOffset   = "Upload-Offset"   // how many bytes of the file are held already
	headerComplete = "Upload-Complete" // ?1 when all of it is stored
)

// answerSuccess is the body that a collector answers with when a file is in its
// spool.
const answerSuccess = "success"

// Digest is the SHA-256 of a file's content.
type Digest [sha256.Size]byte

// header returns the value of Repr-Digest.
func (d Digest) header() string {
	return "sha-256=:" + base64.StdEncoding.EncodeToString(d[:]) + ":"
}

// parseDigest reads Repr-Digest. Other algorithms beside SHA-256 are passed over;
// without it ok is false and nothing is wrong.
func parseDigest(header string) (d Digest, ok bool, err error) {
	for member := range strings.SplitSeq(header, ",") {
		name, value, found := strings.Cut(strings.TrimSpace(member), "=")
		if !found || !strings.EqualFold(name, "sha-256") {
			continue
		}
		value, _, _ = strings.Cut(value, ";") // parameters
		value = strings.TrimSpace(value)
		text, colons := strings.CutPrefix(value, ":")
		text, end := strings.CutSuffix(text, ":")
		sum, err := base64.StdEncoding.DecodeString(text)
		if !colons || !end || err != nil || len(sum) != len(d) {
			return d, false, errors.New("Repr-Digest: sha-256 must be 32 bytes in base64 between colons")
		}
		copy(d[:], sum)
		ok = true
	}
	return d, ok, nil
}

// Member is a collector as /clusters describes it.
type Member struct {
	Address string `json:"address"`
	Port    Port   `json:"port"`
	// Lost is when it was dropped, because it missed its heartbeats; on /members
	// only. Zero for one that is there.
	Lost *time.Time `json:"lost,omitempty"`

	problem string // why it cannot be used; of one that was read
}

// Clusters are the members of each cluster by their IDs.
type Clusters map[string]map[string]Member

// UnmarshalJSON implements json.Unmarshaler. See readListing.
func (c *Clusters) UnmarshalJSON(b []byte) (err error) {
	*c, err = readListing(bytes.NewReader(b), nil)
	return err
}

// Registered is the answer of /register.
type Registered struct {
	ID   string `json:"id"`
	Port Port   `json:"port"`
}

// Port is written as a number, and read as a number or as text: other network
// servers hand on what was in the query.
type Port int

// UnmarshalJSON implements json.Unmarshaler.
func (p *Port) UnmarshalJSON(b []byte) error {
	text := string(bytes.Trim(b, `"`))
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return fmt.Errorf("port %.20s: must be 1 to 65535", text)
	}
	*p = Port(n)
	return nil
}

// Programs that report.
const (
	programUploader  = "uploader"
	programCollector = "collector"
	programMaker     = "maker"
)

// Bounds of a report.
const (
	maxReport   = 64 << 10 // bytes of its JSON
	maxFailures = 20       // the newest that are told
	maxText     = 300      // bytes of a reason
)

// Report is what a program of ours tells the network server, with each heartbeat.
type Report struct {
	Program   string    `json:"program"`
	ID        string    `json:"id"`             // the spool's: the same after a restart
	Cluster   string    `json:"cluster"`        // of a collector
	Host      string    `json:"host"`           // name of the machine
	Spool     string    `json:"spool"`          // folder
	Version   string    `json:"version"`        // of the program
	Started   time.Time `json:"started"`        //
	Every     int64     `json:"everyMillis"`    // how often it reports
	Files     int64     `json:"files"`          // sent, stored or made since the start
	Bytes     int64     `json:"bytes"`          // likewise
	FileRate  float64   `json:"filesPerSecond"` // over the last ten seconds
	ByteRate  float64   `json:"bytesPerSecond"` // likewise
	Waiting   Waiting   `json:"waiting"`        // what lies in the spool
	LeftAlone int64     `json:"leftAlone"`      // files that no rule matches or that are no plain files
	Targets   []Target  `json:"targets"`        // of an uploader
	Failures  []Failure `json:"failures"`       // the newest first
	Full      string    `json:"full,omitempty"` // why a collector refuses everything now

	FullSince time.Time `json:"fullSince,omitzero"` // by the network server: of the first report that said so
	Process   string    `json:"process,omitempty"`  // the same for all that one process reports, of each start another
}

// Waiting is how much waits.
type Waiting struct {
	Files  int64 `json:"files"`
	Bytes  int64 `json:"bytes"`
	Oldest int64 `json:"oldestSeconds"` // how long the oldest waits; 0 for none
}

// Target is a collector as an uploader sees it.
type Target struct {
	Cluster  string  `json:"cluster"`
	ID       string  `json:"id"`      // empty for a cluster without a collector
	Address  string  `json:"address"` // host:port; likewise
	State    string  `json:"state"`   // "up", "down" (does not take files), "held" (asked to wait), "lost" (the network dropped it), "none" (the cluster has no collector)
	Reason   string  `json:"reason"`  // why it is not up
	Waiting  Waiting `json:"waiting"`
	Files    int64   `json:"files"`
	Bytes    int64   `json:"bytes"`
	ByteRate float64 `json:"bytesPerSecond"`
}

// whereNetwork is where a call of the network server failed. No collector is called
// so: its name has a slash.
const whereNetwork = "the network server"

// Failure is one thing that did not go well, or the newest of several that did not for
// the same reason.
type Failure struct {
	At     time.Time `json:"at"`
	Name   string    `json:"name"`            // of the file; empty when it is about none
	Where  string    `json:"where"`           // of an uploader: to whom, cluster/id; of a collector: from whom, an address; of the network server whereNetwork; empty for the spool itself
	Reason string    `json:"reason"`          // a sentence
	Final  bool      `json:"final"`           // the file was moved to failed/
	Count  int64     `json:"count,omitempty"` // how often; 0 for once
}

// Status is all that a network server knows.
type Status struct {
	Version  string          `json:"version"`
	Started  time.Time       `json:"started"`
	Now      time.Time       `json:"now"`
	Clusters []ClusterStatus `json:"clusters"` // by name
	Programs []ReportStatus  `json:"programs"` // uploaders and makers, by host and spool
}

// ClusterStatus is a cluster and its members, by ID.
type ClusterStatus struct {
	Name    string         `json:"name"`
	Members []MemberStatus `json:"members"`
}

// MemberStatus is a collector, and what it reported last, if it is ours.
type MemberStatus struct {
	ID      string    `json:"id"`
	Address string    `json:"address"`
	Port    int       `json:"port"`
	State   string    `json:"state"` // "up" or "lost"
	Since   time.Time `json:"since"` // of that state
	Seen    time.Time `json:"seen"`  // last heartbeat
	Report  *Report   `json:"report,omitempty"`
}

// ReportStatus is a program that reports, and whether it still does.
type ReportStatus struct {
	Report
	Seen   time.Time `json:"seen"`
	Silent bool      `json:"silent"` // it missed three of its reports
}

// parseReport reads a report and bounds what is in it.
func parseReport(body []byte) (Report, error) {
	var r Report
	if len(body) > maxReport {
		return r, fmt.Errorf("a report has at most %d bytes", maxReport)
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("not a report: %w", err)
	}
	switch r.Program {
	case programUploader, programCollector, programMaker:
	default:
		return r, fmt.Errorf("program %.40q: must be %s, %s or %s", r.Program, programUploader, programCollector, programMaker)
	}
	if r.ID == "" || len(r.ID) > maxID {
		return r, fmt.Errorf("id: must have 1 to %d bytes", maxID)
	}
	r.bound()
	r.Process = r.Process[:min(len(r.Process), maxID)]
	for i := range r.Failures {
		r.Failures[i].Reason = cutText(r.Failures[i].Reason)
	}
	return r, nil
}

// bound keeps of a report so many collectors and failures as one may tell of. They are
// copies: what is left out is to be let go.
func (r *Report) bound() {
	r.Failures = slices.Clone(r.Failures[:min(len(r.Failures), maxFailures)])
	r.Targets = slices.Clone(r.Targets[:min(len(r.Targets), maxTargets)])
}

// size is how many bytes a report takes in an answer, which may be more than it came
// with: what it left out is told there.
func (r *Report) size() int {
	text, err := json.Marshal(r)
	if err != nil {
		panic(err) // our own type
	}
	return len(text)
}

// maxID bounds what a stranger may call himself, or a cluster.
const maxID = 128

// cutText keeps the beginning of a text that others wrote.
func cutText(text string) string {
	if len(text) <= maxText {
		return text
	}
	return strings.ToValidUTF8(text[:maxText], "") + "…"
}
