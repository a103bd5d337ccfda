package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"

	"github.com/seed-3d8c1042/switchboard/internal/journal"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/traffic"
	"github.com/seed-3d8c1042/switchboard/internal/window"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Traffic says what was exchanged when: *traffic.Room.
type Traffic interface {
	Query(ctx context.Context, q traffic.Request) (traffic.Answer, error)
	Follow(q traffic.Request) (*traffic.Follower, error)
}

func (r Rooms) trafficCalls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/traffic", Scope: keys.StatsRead, Handler: Handle(r.getTraffic)},
		{Method: "GET", Path: "/v1/traffic/stream", Scope: keys.StatsRead, Stream: true, Handler: Serve(r.watchTraffic)},
	}
}

// Windows is what both calls are told.
type Windows struct {
	Kind       string `query:"kind"`   // of windows
	Window     string `query:"window"` // how long they are
	Slide      string `query:"slide"`
	Gap        string `query:"gap"`
	By         string `query:"by"`
	Type       string `query:"type"`
	App        App    `query:"app" api:"optional"`
	Capability string `query:"capability"`
	Domain     string `query:"domain"`
	Device     string `query:"device"`
	Past       *int   `query:"past"`
}

type getTrafficRequest struct {
	Windows
	From Time `query:"from"`
	To   Time `query:"to"`
}

// trafficAnswer is an answer as the interface shows it.
type trafficAnswer struct {
	Kind    window.Kind    `json:"kind"`
	Window  float64        `json:"windowSeconds,omitzero"`
	Slide   float64        `json:"slideSeconds,omitzero"`
	Gap     float64        `json:"gapSeconds,omitzero"`
	By      []string       `json:"by"`
	From    Time           `json:"from"`
	To      Time           `json:"to"`
	Settled Time           `json:"settledAt"`
	TooLate uint64         `json:"tooLate"`
	Ahead   uint64         `json:"ahead"`
	Windows []windowAnswer `json:"windows"`
}

// windowAnswer is one window.
type windowAnswer struct {
	Start  Time          `json:"start"`
	End    Time          `json:"end"`
	Final  bool          `json:"final"`
	Groups []groupAnswer `json:"groups"`
}

// groupAnswer is what is told apart in a window. A field that is not told apart is
// left out.
type groupAnswer struct {
	App        *string `json:"app,omitzero"`
	Capability *string `json:"capability,omitzero"`
	Domain     *string `json:"domain,omitzero"`
	Device     *string `json:"device,omitzero"`
	Type       *string `json:"type,omitzero"`
	Count      uint64  `json:"count"`
	Sum        uint64  `json:"sum"`
	Min        uint64  `json:"min"`
	Max        uint64  `json:"max"`
	Mean       float64 `json:"mean"`
	P50        float64 `json:"p50"`
	P90        float64 `json:"p90"`
	P99        float64 `json:"p99"`
	Revision   uint64  `json:"revision"`
	Replaces   []Time  `json:"replaces,omitzero"`
}

// mostPast is how many windows may be asked for.
const mostPast = 1440

// read reads which windows are asked for.
func (q *Windows) read() (traffic.Request, error) {
	out := traffic.Request{
		Only: traffic.Key{App: string(q.App), Capability: q.Capability, Domain: q.Domain, Device: q.Device},
	}
	if q.Past != nil {
		if out.Past = *q.Past; out.Past < 1 || out.Past > mostPast {
			return out, Invalid("past", "must be a number from 1 to %d", mostPast)
		}
	}
	for _, d := range []struct {
		name, text string
		into       *time.Duration
	}{{"window", q.Window, &out.Windows.Width}, {"slide", q.Slide, &out.Windows.Slide}, {"gap", q.Gap, &out.Windows.Gap}} {
		if d.text == "" {
			continue
		}
		span, err := time.ParseDuration(d.text)
		if err != nil || span <= 0 {
			return out, Invalid(d.name, "must be a time such as 10s, 1m or 1h")
		}
		*d.into = span
	}
	if err := q.kind(&out.Windows); err != nil {
		return out, err
	}
	if q.Type != "" {
		out.Types = strings.Split(q.Type, ",")
		for _, t := range out.Types {
			if !journal.Type(t).Known() {
				return out, Invalid("type", "must be one of %s, %s, or several with commas between: %q is none", journal.TypeNames(), journal.Traffic, t)
			}
		}
	}
	var err error
	if out.By, err = traffic.ParseBy(q.By); err != nil {
		return out, Invalid("by", "must %s", err)
	}
	return out, nil
}

// kind finds out which kind of windows is meant, where that is not said.
func (q *Windows) kind(s *window.Spec) error {
	s.Kind = window.Kind(q.Kind)
	if q.Kind == "" {
		switch {
		case s.Gap > 0:
			s.Kind = window.Session
		case s.Slide > 0:
			s.Kind = window.Sliding
		default:
			s.Kind = window.Tumbling
		}
	}
	switch s.Kind {
	case window.Tumbling, window.Sliding:
		if s.Width == 0 {
			s.Width = time.Minute
		}
	case window.Session:
	default:
		return nil // the room knows which there are
	}
	for _, c := range []struct {
		name  string
		given time.Duration
		of    []window.Kind
	}{
		{"window", s.Width, []window.Kind{window.Tumbling, window.Sliding}},
		{"slide", s.Slide, []window.Kind{window.Sliding}},
		{"gap", s.Gap, []window.Kind{window.Session}},
	} {
		if c.given > 0 && !slices.Contains(c.of, s.Kind) {
			return Invalid(c.name, "does not belong to windows of the kind %q", s.Kind)
		}
	}
	return nil
}

// refusedTraffic makes an answer of what kept the room from answering.
func refusedTraffic(err error) error {
	var refused *traffic.Refused
	var of *traffic.Unreachable
	var unavailable *Refusal
	switch {
	case errors.As(err, &refused):
		return Invalid(refused.Field, "%s", refused.Err)
	case err == nil || errors.Is(err, context.Canceled):
		return err
	case errors.As(err, &of): // why is of no use here: nothing was to be done, and it may be asked again
		unavailable = Refuse(http.StatusServiceUnavailable, wire.CodeStoreDown,
			"the numbers of shard %d cannot be reached at the moment, as when its node has just died, and without them there is no answer; try again", of.Shard)
	default:
		unavailable = Refuse(http.StatusServiceUnavailable, wire.CodeStoreDown, "a part of the numbers cannot be read at the moment: %s", err)
	}
	unavailable.RetryAfter = soon
	return unavailable
}

// trafficTime bounds how long all shards may take.
const trafficTime = 5 * time.Second

func (r Rooms) getTraffic(ctx context.Context, _ Identity, request getTrafficRequest) (*trafficAnswer, error) {
	q, err := request.read()
	if err != nil {
		return nil, err
	}
	q.From, q.To = time.Time(request.From), time.Time(request.To)
	if request.Past != nil && !request.From.IsZero() {
		return nil, Invalid("past", "must not be given together with from")
	}
	ctx, cancel := context.WithTimeout(ctx, trafficTime)
	defer cancel()
	a, err := r.Traffic.Query(ctx, q)
	if err != nil {
		return nil, refusedTraffic(err)
	}
	out := &trafficAnswer{
		Kind: q.Windows.Kind, Window: q.Windows.Width.Seconds(), Slide: q.Windows.Slide.Seconds(), Gap: q.Windows.Gap.Seconds(),
		By: some(q.By), From: Time(a.From), To: Time(a.To), Settled: Time(a.Settled), TooLate: a.TooLate, Ahead: a.Ahead,
		Windows: make([]windowAnswer, 0, len(a.Windows)),
	}
	for i := range a.Windows {
		out.Windows = append(out.Windows, showWindow(&a.Windows[i], q.By))
	}
	return out, nil
}

func showWindow(w *traffic.Window, by []string) windowAnswer {
	out := windowAnswer{Start: Time(w.Start), End: Time(w.End), Final: w.Final, Groups: make([]groupAnswer, 0, len(w.Groups))}
	for i := range w.Groups {
		g := &w.Groups[i]
		one := groupAnswer{
			Count: g.Count, Sum: g.Sum, Min: g.Min, Max: g.Max, Mean: g.Mean(), Revision: g.Late,
			P50: g.Quantile(.5), P90: g.Quantile(.9), P99: g.Quantile(.99),
		}
		for _, start := range g.Replaces {
			one.Replaces = append(one.Replaces, Time(start))
		}
		for _, d := range by {
			switch d {
			case "app":
				one.App = &g.App
			case "capability":
				one.Capability = &g.Capability
			case "domain":
				one.Domain = &g.Domain
			case "device":
				one.Device = &g.Device
			case "type":
				one.Type = &g.Type
			}
		}
		out.Groups = append(out.Groups, one)
	}
	return out
}

// trafficQuiet is after how long without news a stream says that it is there.
const trafficQuiet = 15 * time.Second

// watchTraffic streams windows as they come and change, once a second, until the
// client leaves, its key is not good any more, or the node stops. The stats set the
// pace, and such streams count as theirs.
func (r Rooms) watchTraffic(w http.ResponseWriter, q *http.Request, who Identity, request Windows) error {
	asked, err := request.read()
	if err != nil {
		return err
	}
	follower, err := r.Traffic.Follow(asked)
	if err != nil {
		return refusedTraffic(err)
	}
	leave, ok := r.Stats.Watch()
	if !ok {
		refused := Refuse(http.StatusServiceUnavailable, wire.CodeBusy, "as many watch the traffic, the stats or the cluster as limits.statsStreams allows")
		refused.RetryAfter = soon
		return refused
	}
	defer leave()
	s := trafficStream{w: w, sink: http.NewResponseController(w), by: asked.By}
	if err := s.ask(q.Context(), follower); s.refused != nil {
		return refusedTraffic(err)
	}
	eventsHeader(w.Header())
	w.WriteHeader(http.StatusOK)
	_ = s.sink.SetReadDeadline(time.Time{}) // see watchStats
	for last := uint64(0); ; {
		list, more := r.Stats.After(last, 1)
		for _, one := range list {
			last = one.Number
			if !r.stillGood(who, one.At) || s.tell(q.Context(), follower, one.At) != nil {
				return nil
			}
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

// trafficStream is one that is being written.
type trafficStream struct {
	w       http.ResponseWriter
	sink    *http.ResponseController
	by      []string
	wrote   time.Time
	list    []traffic.Window // what is to be told
	refused *traffic.Refused // the stream ends with it
}

// ask asks for what is new.
func (s *trafficStream) ask(ctx context.Context, f *traffic.Follower) error {
	ctx, cancel := context.WithTimeout(ctx, trafficTime)
	defer cancel()
	list, err := f.Next(ctx)
	s.list = append(s.list, list...)
	errors.As(err, &s.refused)
	return err
}

// tell writes what is new. While a shard cannot be asked there is nothing: it is told
// when it can. What is refused is so for good, which is told, and returned.
func (s *trafficStream) tell(ctx context.Context, f *traffic.Follower, now time.Time) error {
	err := s.ask(ctx, f)
	list := s.list
	s.list = nil
	if len(list) == 0 && s.refused == nil && now.Sub(s.wrote) < trafficQuiet {
		return nil
	}
	s.wrote = now
	_ = s.sink.SetWriteDeadline(time.Now().Add(statsWriteTime)) // see watchStats
	if len(list) == 0 && s.refused == nil {
		if _, err := fmt.Fprint(s.w, ":\n\n"); err != nil {
			return err
		}
	}
	for i := range list {
		if err := s.event("window", showWindow(&list[i], s.by)); err != nil {
			return err
		}
	}
	if s.refused == nil {
		return s.sink.Flush()
	}
	if err := s.event("refused", trafficRefused{CodeInvalidRequest, s.refused.Field, s.refused.Error()}); err != nil {
		return err
	}
	_ = s.sink.Flush() // the stream is over in any case
	return err
}

// trafficRefused is the last event of a stream that cannot go on.
type trafficRefused struct {
	Code   string `json:"code"`
	Field  string `json:"field,omitzero"`
	Detail string `json:"detail"`
}

func (s *trafficStream) event(name string, content any) error {
	body, err := json.Marshal(content, jsonOptions())
	if err != nil {
		panic(fmt.Sprintf("traffic: %v", err)) // our own values marshal
	}
	_, err = fmt.Fprintf(s.w, "event: %s\ndata: %s\n\n", name, body)
	return err
}
