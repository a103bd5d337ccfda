package load

import (
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Run is what one measurement found. Rates and latencies are those of the time
// that was measured; counts are those of the whole run.
type Run struct {
	Name        string  `json:"name"`
	Feature     string  `json:"feature"` // or "echo"
	Pattern     string  `json:"pattern"`
	Mode        string  `json:"mode"`
	Via         string  `json:"via,omitempty"`   // "http"; else the sockets
	Batch       int     `json:"batch,omitempty"` // messages of one request
	Connections int     `json:"connections"`
	Payload     int     `json:"payload"`
	Seconds     float64 `json:"seconds"` // measured
	Interrupted bool    `json:"interrupted,omitempty"`

	Sent      int64 `json:"sent"`
	Arrived   int64 `json:"arrived"` // at all receivers
	Confirmed int64 `json:"confirmed,omitempty"`
	verdict
	Unknown int64  `json:"unknown,omitempty"` // sent, but a connection ended before it arrived: neither arrived nor lost
	Unsent  int64  `json:"unsent,omitempty"`  // paced: offered, but the connection took no more
	Refused int64  `json:"refused,omitempty"` // by the server, with an error frame
	Refusal string `json:"refusal,omitempty"` // the first
	Dropped int    `json:"dropped,omitempty"` // connections that ended by surprise
	DropWhy string `json:"dropWhy,omitempty"` // the first
	whySaid bool   // the error beside the run gives the reason already

	OfferedRate   float64 `json:"offeredPerSecond,omitempty"` // paced: what was asked for
	SentRate      float64 `json:"sentPerSecond"`
	ArrivedRate   float64 `json:"arrivedPerSecond"`
	ConfirmedRate float64 `json:"confirmedPerSecond,omitempty"`

	Latency      *Latency `json:"latency,omitempty"`      // sent, or to be sent, to arrived
	Confirmation *Latency `json:"confirmation,omitempty"` // to confirmed
	DiskSync     *Latency `json:"diskSync,omitempty"`     // 1 kB and a sync, in the same folder

	Server *Cost    `json:"server,omitempty"`
	Load   *Cost    `json:"load,omitempty"` // this generator itself
	Each   []Second `json:"each,omitempty"` // second by second

	Idle    *Idle    `json:"idle,omitempty"`
	Mailbox *Mailbox `json:"mailbox,omitempty"`
	Crowd   *Crowd   `json:"crowd,omitempty"`
}

// Verdict returns what was lost, repeated and out of order.
func (r Run) Verdict() (lost, duplicated, reordered int64) {
	return r.Lost, r.Duplicated, r.Reordered
}

// Latency is a distribution of times, in microseconds.
type Latency struct {
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	P999 float64 `json:"p99.9"`
	Max  float64 `json:"max"`
}

func latencyOf(h *hdrhistogram.Histogram) *Latency {
	if h.TotalCount() == 0 {
		return nil
	}
	at := func(q float64) float64 { return float64(h.ValueAtQuantile(q)) / 1000 }
	return &Latency{at(50), at(90), at(99), at(99.9), float64(h.Max()) / 1000}
}

// Cost is what a process used while it was measured.
type Cost struct {
	CPUPercent    float64 `json:"cpuPercent"`              // of one processor
	CPUPerMessage float64 `json:"cpuPerMessage,omitempty"` // µs, a message that arrived
	RSS           int64   `json:"rss"`                     // bytes, at the end
	RSSPerConn    int64   `json:"rssPerConnection"`        // bytes more than before they came
}

// Second is what was sent and arrived in one second.
type Second struct {
	Sent    int64 `json:"sent"`
	Arrived int64 `json:"arrived"`
}

// Idle is what silent connections cost.
type Idle struct {
	RSSBefore int64   `json:"rssBefore"`  // bytes of the process without them
	Idle      Silence `json:"idle"`       // signed in, nothing sent yet
	After     Silence `json:"afterwards"` // after traffic
}

// Silence is a time in which nothing is sent.
type Silence struct {
	RSSFirst   int64   `json:"rssFirst"`         // bytes, when it begins
	RSSLast    int64   `json:"rssLast"`          // and when it ends: equal if the slope is flat
	RSSPerConn int64   `json:"rssPerConnection"` // bytes, at the end
	CPUPerConn float64 `json:"cpuPerConnection"` // µs a second
}

// Mailbox is what storing for absent users, and their fetching, takes.
type Mailbox struct {
	Users         int     `json:"users"`
	Stored        int64   `json:"stored"`
	StoredRate    float64 `json:"storedPerSecond"`
	Fetched       int64   `json:"fetched"`
	FetchedRate   float64 `json:"fetchedPerSecond,omitempty"`
	RSSPerMessage float64 `json:"rssPerMessage,omitempty"` // bytes a waiting message
}

// sample is a process's use at one moment.
type sample struct {
	at  time.Duration
	cpu time.Duration
	rss int64
}

// costOf returns what was used between two samples.
func costOf(base, from, to sample, messages int64, connections int) *Cost {
	c := &Cost{RSS: to.rss}
	if wall := to.at - from.at; wall > 0 {
		c.CPUPercent = 100 * float64(to.cpu-from.cpu) / float64(wall)
	}
	if messages > 0 {
		c.CPUPerMessage = float64((to.cpu - from.cpu).Nanoseconds()) / 1000 / float64(messages)
	}
	if connections > 0 {
		c.RSSPerConn = (to.rss - base.rss) / int64(connections)
	}
	return c
}
