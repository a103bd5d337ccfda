package api

import (
	"context"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/stats"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Stats makes samples of how the server is doing: *stats.Sampler.
type Stats interface {
	Began() time.Time
	Latest() stats.Sample
	After(number uint64, most int) (list []stats.Sample, more <-chan struct{})
	// Watch lets one more watch, if it may; leave has to be called in the end.
	Watch() (leave func(), ok bool)
}

func (r Rooms) statsCalls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/stats", Scope: keys.StatsRead, Here: true, Handler: Handle(r.getStats)},
		{Method: "GET", Path: "/v1/stats/stream", Scope: keys.StatsRead, Stream: true, Here: true, Handler: Serve(r.watchStats)},
	}
}

// statsAnswer is a sample as the interface shows it.
type statsAnswer struct {
	At            Time    `json:"at"`
	StartedAt     Time    `json:"startedAt"`
	UptimeSeconds float64 `json:"uptimeSeconds"`
	Version       string  `json:"version"`
	stats.Counts
}

func (r Rooms) showStats(s stats.Sample) statsAnswer {
	return statsAnswer{
		At: Time(s.At), StartedAt: Time(r.Stats.Began()), UptimeSeconds: s.Uptime.Round(time.Millisecond).Seconds(),
		Version: r.Version, Counts: s.Counts,
	}
}

type getStatsRequest struct{}

func (r Rooms) getStats(context.Context, Identity, getStatsRequest) (statsAnswer, error) {
	return r.showStats(r.Stats.Latest()), nil
}

type watchStatsRequest struct {
	Past int `query:"past"` // how many samples from before come first
}

// statsWriteTime is how long a client may take to read one event.
const statsWriteTime = 10 * time.Second

// watchStats streams samples as they are made, until the client leaves, its key
// is not good any more, or the node stops.
func (r Rooms) watchStats(w http.ResponseWriter, q *http.Request, who Identity, request watchStatsRequest) error {
	if request.Past < 0 || request.Past > stats.Kept {
		return Invalid("past", "must be a number from 0 to %d", stats.Kept)
	}
	leave, ok := r.Stats.Watch()
	if !ok {
		refused := Refuse(http.StatusServiceUnavailable, wire.CodeBusy, "as many watch the stats as limits.statsStreams allows")
		refused.RetryAfter = soon
		return refused
	}
	defer leave()
	eventsHeader(w.Header())
	w.WriteHeader(http.StatusOK)
	sink := http.NewResponseController(w)
	// The time that a request may take to arrive would end the stream otherwise.
	// What has no deadlines, as in tests, does without: here and below.
	_ = sink.SetReadDeadline(time.Time{})
	last, most := r.lastStats(q.Header.Get("Last-Event-ID")), stats.Kept
	if last == 0 {
		most = request.Past + 1
	}
	for {
		list, more := r.Stats.After(last, most)
		for _, one := range list {
			if !r.stillGood(who, one.At) || r.sendStats(w, sink, one) != nil {
				return nil // the client finds out why when it asks again, or is gone
			}
			last, most = one.Number, stats.Kept
		}
		if more == nil {
			return nil
		}
		select {
		case <-more:
		case <-q.Context().Done():
			return nil
		}
	}
}

func (r Rooms) sendStats(w http.ResponseWriter, sink *http.ResponseController, one stats.Sample) error {
	body, err := json.Marshal(r.showStats(one), jsonOptions())
	if err != nil {
		panic(fmt.Sprintf("stats: %v", err)) // our own values marshal
	}
	_ = sink.SetWriteDeadline(time.Now().Add(statsWriteTime)) // see watchStats
	if _, err := fmt.Fprintf(w, "id: %s-%d\nevent: stats\ndata: %s\n\n", r.statsRun(), one.Number, body); err != nil {
		return err
	}
	return sink.Flush()
}

// statsRun tells the samples of this run of the node from those of others, which
// have the same numbers.
func (r Rooms) statsRun() string { return strconv.FormatInt(r.Stats.Began().UnixMilli(), 36) }

// lastStats returns the number of the sample that a client has seen last; 0 when
// it says nothing, or something that this run of the node did not say.
func (r Rooms) lastStats(id string) uint64 {
	text, ok := strings.CutPrefix(id, r.statsRun()+"-")
	if !ok {
		return 0
	}
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return 0
	}
	return n
}

// stillGood says whether the key that a stream was opened with would open it now.
func (r Rooms) stillGood(who Identity, now time.Time) bool {
	if who.Key == nil {
		return true
	}
	expires := who.Key.Expires
	return r.Keys.Get(who.Key.ID) != nil && (expires.IsZero() || now.Before(expires)) && (who.App == "" || r.Apps.Known(who.App))
}
