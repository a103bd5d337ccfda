package stats

import (
	"fmt"
	"runtime/metrics"

	"github.com/prometheus/client_golang/prometheus"
)

// Counts is what a sample holds: of all nodes together, unless something else is
// said. A number is a total since this node began, unless it says how it is now.
type Counts struct {
	Nodes       uint64    `json:"nodes"`       // that are added up, this one among them
	Sessions    uint64    `json:"sessions"`    // signed in now
	Connections uint64    `json:"connections"` // open now, signed in or not
	Users       uint64    `json:"users"`       // with a session now, on any node
	Messages    Messages  `json:"messages"`
	Mailboxes   Mailboxes `json:"mailboxes"`
	Refused     Refused   `json:"refused"`
	HTTP        HTTP      `json:"http"`
	Webhooks    Webhooks  `json:"webhooks"`
	Log         Log       `json:"log"`
	Memory      Memory    `json:"memory"`     // of this node alone
	Goroutines  uint64    `json:"goroutines"` // now, of this node alone
}

// Messages are those that pass.
type Messages struct {
	In        Classes `json:"in"`        // of clients, a group message once
	Delivered Classes `json:"delivered"` // handed to a session; RELIABLE ones maybe to several, or again
	Proved    uint64  `json:"proved"`    // RELIABLE messages that their receivers are known to have
	Expired   uint64  `json:"expired"`   // RELIABLE messages that nobody took in time
	Dropped   uint64  `json:"dropped"`   // FAST messages whose receiver was away or slow, notices, repeats
}

// Classes counts the two delivery classes.
type Classes struct {
	Reliable uint64 `json:"reliable"`
	Fast     uint64 `json:"fast"`
}

// Mailboxes say what waits or is on its way, unproved, now, events for webhooks
// included.
type Mailboxes struct {
	Messages uint64 `json:"messages"`
	Bytes    uint64 `json:"bytes"`
}

// Refused counts refusals by code; codes that were not used are left out.
type Refused struct {
	Socket map[string]uint64 `json:"socket"` // errors reported to clients
	HTTP   map[string]uint64 `json:"http"`   // problems, and requests that no handler saw
}

// HTTP is about requests.
type HTTP struct {
	Requests    uint64 `json:"requests"`
	Failed      uint64 `json:"failed"`      // those answered with a status of 500 or more
	Connections uint64 `json:"connections"` // open now, no WebSockets
}

// Webhooks is about the deliveries of events to apps.
type Webhooks struct {
	Delivered uint64 `json:"delivered"`
	Failed    uint64 `json:"failed"`  // attempts that failed; each is tried again
	Dropped   uint64 `json:"dropped"` // events that were given up, or found their queue full
	Waiting   uint64 `json:"waiting"` // now
}

// Log is about the message log.
type Log struct {
	Bytes uint64 `json:"bytes"` // that still matter, now
	Syncs uint64 `json:"syncs"` // batches stored
	Sync  Times  `json:"sync"`  // how long that took, over the last minute
}

// Times are quantiles in seconds; 0 when nothing was measured.
type Times struct {
	P50 float64 `json:"p50Seconds"`
	P95 float64 `json:"p95Seconds"`
	P99 float64 `json:"p99Seconds"`
}

// Memory is what the process has of the machine, now.
type Memory struct {
	Bytes uint64 `json:"bytes"` // taken from the operating system and not given back
	Heap  uint64 `json:"heap"`  // in objects, garbage not collected yet included
}

// gather reads the metrics.
func gather(g prometheus.Gatherer) (families, error) {
	list, err := g.Gather()
	if err != nil {
		return nil, fmt.Errorf("read the metrics: %w", err)
	}
	f := make(families, len(list))
	for _, family := range list {
		f[family.GetName()] = family
	}
	return f, nil
}

// counts are what the metrics say; quantiles are not among them yet, but the
// histogram that they are made of.
func (f families) counts() (Counts, buckets) {
	message, group := label{"type", "MESSAGE"}, label{"type", "GROUP_MESSAGE"}
	reliable, fast := label{"feature", "RELIABLE"}, label{"feature", "FAST"}
	const frames = "switchboard_socket_frames_in_total"
	c := Counts{
		Sessions:    f.sum("switchboard_socket_sessions"),
		Connections: f.sum("switchboard_socket_connections"),
		Users:       f.sum("switchboard_roster_users"),
		Messages: Messages{
			In: Classes{
				Reliable: f.sum(frames, message, reliable) + f.sum(frames, group, reliable) + f.sum("switchboard_api_messages_total", reliable),
				Fast:     f.sum(frames, message, fast) + f.sum(frames, group, fast) + f.sum("switchboard_api_messages_total", fast),
			},
			Delivered: Classes{Reliable: f.sum("switchboard_reliable_handed_total"), Fast: f.sum("switchboard_fast_delivered_total")},
			Proved:    f.sum("switchboard_reliable_proved_total"),
			Expired:   f.sum("switchboard_reliable_expired_total"),
			Dropped:   f.sum("switchboard_fast_dropped_total") + f.sum("switchboard_reliable_dropped_total"),
		},
		Mailboxes: Mailboxes{Messages: f.sum("switchboard_mailbox_messages"), Bytes: f.sum("switchboard_mailbox_bytes")},
		Refused: Refused{
			Socket: f.by("switchboard_socket_refused_total", "code"),
			HTTP:   added(f.by("switchboard_api_refused_total", "code"), f.by("switchboard_http_refused_total", "reason")),
		},
		HTTP: HTTP{
			Requests:    f.sum("switchboard_http_requests_total"),
			Failed:      failed(f.by("switchboard_http_requests_total", "status")),
			Connections: f.sum("switchboard_http_connections"),
		},
		Webhooks: f.webhooks(),
		Log:      Log{Bytes: f.sum("switchboard_log_bytes")},
	}
	syncs := f.buckets("switchboard_log_sync_seconds")
	c.Log.Syncs = syncs.count()
	return c, syncs
}

func (f families) webhooks() Webhooks {
	const attempts, events = "switchboard_webhooks_attempts_total", "switchboard_webhooks_events_total"
	return Webhooks{
		Delivered: f.sum(events, label{"state", "delivered"}),
		Failed:    f.sum(attempts) - f.sum(attempts, label{"result", "ok"}),
		Dropped:   f.sum(events, label{"state", "failed"}) + f.sum("switchboard_webhooks_dropped_total"),
		Waiting:   f.sum("switchboard_webhooks_waiting"),
	}
}

// failed adds up the statuses that are the server's fault.
func failed(byStatus map[string]uint64) uint64 {
	var n uint64
	for status, count := range byStatus {
		if status >= "500" {
			n += count
		}
	}
	return n
}

func added(to, more map[string]uint64) map[string]uint64 {
	for key, n := range more {
		to[key] += n
	}
	return to
}

// readRuntime asks Go's runtime, which keeps these numbers in any case.
func (c *Counts) readRuntime() {
	s := []metrics.Sample{
		{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"},
		{Name: "/memory/classes/heap/objects:bytes"}, {Name: "/sched/goroutines:goroutines"},
	}
	metrics.Read(s)
	c.Memory = Memory{Bytes: s[0].Value.Uint64() - s[1].Value.Uint64(), Heap: s[2].Value.Uint64()}
	c.Goroutines = s[3].Value.Uint64()
}
