package stats

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// node is a registry with some of a node's metrics, under their own names.
type node struct {
	*prometheus.Registry
	frames, refused, problems, doors, requests *prometheus.CounterVec
	proved                                     prometheus.Counter
	sessions                                   prometheus.Gauge
	sync                                       prometheus.Histogram
}

func newNode() *node {
	counters := func(name string, labels ...string) *prometheus.CounterVec {
		return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: "."}, labels)
	}
	n := &node{
		Registry: prometheus.NewPedanticRegistry(),
		frames:   counters("switchboard_socket_frames_in_total", "type", "feature"),
		refused:  counters("switchboard_socket_refused_total", "kind", "code"),
		problems: counters("switchboard_api_refused_total", "code"),
		doors:    counters("switchboard_http_refused_total", "door", "reason"),
		requests: counters("switchboard_http_requests_total", "door", "status"),
		proved:   prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_reliable_proved_total", Help: "."}),
		sessions: prometheus.NewGauge(prometheus.GaugeOpts{Name: "switchboard_socket_sessions", Help: "."}),
		sync: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "switchboard_log_sync_seconds", Help: ".", Buckets: []float64{.001, .002, .004},
		}),
	}
	n.MustRegister(n.frames, n.refused, n.problems, n.doors, n.requests, n.proved, n.sessions, n.sync)
	return n
}

func newSampler(t *testing.T, g prometheus.Gatherer) *Sampler {
	t.Helper()
	s, err := New(Options{Metrics: g, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// run runs a sampler in a bubble of synctest, and returns what stops it.
func run(s *Sampler) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- s.Run(ctx) }()
	return func() {
		cancel()
		<-done
	}
}

func TestASampleSaysWhatTheMetricsSay(t *testing.T) {
	n := newNode()
	n.sessions.Set(3)
	n.frames.WithLabelValues("MESSAGE", "RELIABLE").Add(5)
	n.frames.WithLabelValues("GROUP_MESSAGE", "RELIABLE").Add(2)
	n.frames.WithLabelValues("MESSAGE", "FAST").Add(4)
	n.frames.WithLabelValues("AUTH_CLIENT", "").Add(100)
	n.proved.Add(6)
	n.refused.WithLabelValues("DELIVER_FAILED", "MAILBOX_FULL").Add(2)
	n.refused.WithLabelValues("GENERAL_ERROR", "FORBIDDEN").Add(1)
	n.refused.WithLabelValues("INVALID_MESSAGE", "NOT_JSON").Add(0)
	n.problems.WithLabelValues("KEY_INVALID").Add(7)
	n.doors.WithLabelValues("public", "WRONG_HOST").Add(1)
	n.requests.WithLabelValues("public", "200").Add(10)
	n.requests.WithLabelValues("admin", "503").Add(1)
	c := newSampler(t, n).Latest().Counts
	if c.Sessions != 3 || c.Messages.In != (Classes{Reliable: 7, Fast: 4}) || c.Messages.Proved != 6 {
		t.Errorf("sessions %d, in %+v, proved %d", c.Sessions, c.Messages.In, c.Messages.Proved)
	}
	if r := c.Refused; len(r.Socket) != 2 || r.Socket["MAILBOX_FULL"] != 2 || len(r.HTTP) != 2 || r.HTTP["KEY_INVALID"] != 7 || r.HTTP["WRONG_HOST"] != 1 {
		t.Errorf("refused: %v", r)
	}
	if c.HTTP.Requests != 11 || c.HTTP.Failed != 1 {
		t.Errorf("requests: %+v", c.HTTP)
	}
	if c.Goroutines == 0 || c.Memory.Heap == 0 || c.Memory.Bytes < c.Memory.Heap {
		t.Errorf("goroutines %d, memory %+v", c.Goroutines, c.Memory)
	}
}

func TestASampleIsMadeEverySecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		s := newSampler(t, n)
		defer run(s)()
		n.proved.Add(9)
		time.Sleep(3500 * time.Millisecond)
		synctest.Wait()
		list, _ := s.After(0, Kept)
		if len(list) != 4 || list[0].Messages.Proved != 0 || list[1].Messages.Proved != 9 {
			t.Fatalf("samples: %+v", list)
		}
		for i, one := range list {
			if one.Number != uint64(i+1) || one.Uptime != time.Duration(i)*time.Second || one.At.Sub(list[0].At) != one.Uptime {
				t.Errorf("sample %d has number %d, uptime %s, at %s", i, one.Number, one.Uptime, one.At)
			}
		}
		if last := s.Latest(); last.Number != 4 {
			t.Errorf("the latest is %d", last.Number)
		}
	})
}

func TestWhoWasAwayReadsOnWhereItWas(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSampler(t, newNode())
		defer run(s)()
		time.Sleep((Kept + 20) * Every)
		synctest.Wait()
		for _, c := range []struct {
			after       uint64
			most        int
			first, last uint64
		}{
			{after: 0, most: Kept, first: 22, last: 321}, // older ones are gone
			{after: 300, most: Kept, first: 301, last: 321},
			{after: 300, most: 5, first: 317, last: 321},
			{after: 321, most: Kept},
			{after: 1 << 60, most: Kept},
			{after: 0, most: 0},
		} {
			list, more := s.After(c.after, c.most)
			if c.first == 0 && len(list) > 0 || c.first > 0 && (len(list) == 0 || list[0].Number != c.first || list[len(list)-1].Number != c.last) {
				t.Errorf("after %d, at most %d: %d samples, wanted %d to %d", c.after, c.most, len(list), c.first, c.last)
			}
			if more == nil {
				t.Errorf("after %d: there is said to be no more", c.after)
			}
		}
		_, more := s.After(321, Kept)
		<-more
		if list, _ := s.After(321, Kept); len(list) != 1 || list[0].Number != 322 {
			t.Errorf("the next: %+v", list)
		}
	})
}

func TestWhoWatchesIsLetGoWhenItEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSampler(t, newNode())
		stop := run(s)
		_, more := s.After(1, Kept)
		stop()
		<-more
		if _, more := s.After(1, Kept); more != nil {
			t.Error("there is said to be more")
		}
	})
}

func TestOnlySoManyWatch(t *testing.T) {
	s := newSampler(t, newNode())
	leave, ok := s.Watch(1)
	if !ok {
		t.Fatal("the first may not watch")
	}
	if _, ok := s.Watch(1); ok {
		t.Fatal("a second may watch")
	}
	leave()
	if _, ok := s.Watch(1); !ok {
		t.Fatal("nobody may watch after the first has left")
	}
}

func TestQuantilesAreOfTheLastMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newNode()
		s := newSampler(t, n)
		defer run(s)()
		for range 100 {
			n.sync.Observe(.0035)
		}
		time.Sleep(1500 * time.Millisecond)
		synctest.Wait()
		near := func(what string, got, want float64) {
			t.Helper()
			if math.Abs(got-want) > 1e-9 {
				t.Errorf("%s: %v, wanted %v", what, got, want)
			}
		}
		at := s.Latest().Log
		near("p50", at.Sync.P50, .003) // in the middle of the bucket from 2 to 4 ms
		near("p99", at.Sync.P99, .00398)
		if at.Syncs != 100 {
			t.Errorf("%d syncs", at.Syncs)
		}
		for range 10 {
			n.sync.Observe(.0005)
		}
		time.Sleep(window * Every)
		synctest.Wait()
		near("p50 a minute later", s.Latest().Log.Sync.P50, .0005)
		n.sync.Observe(5)
		time.Sleep(window * Every)
		synctest.Wait()
		near("beyond the last bound", s.Latest().Log.Sync.P99, .004)
		time.Sleep(2 * window * Every)
		synctest.Wait()
		near("without any", s.Latest().Log.Sync.P99, 0)
		if syncs := s.Latest().Log.Syncs; syncs != 111 {
			t.Errorf("%d syncs in all", syncs)
		}
	})
}

// broken fails on command.
type broken struct {
	prometheus.Gatherer
	now atomic.Bool
}

func (b *broken) Gather() ([]*dto.MetricFamily, error) {
	if b.now.Load() {
		return nil, errors.New("broken on command")
	}
	return b.Gatherer.Gather()
}

func TestMetricsThatFailAreSaidOnceAndPassedOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		b := &broken{Gatherer: newNode()}
		s, err := New(Options{Metrics: b, Now: time.Now, Log: slog.New(slog.NewTextHandler(&said, nil))})
		if err != nil {
			t.Fatal(err)
		}
		stop := run(s)
		b.now.Store(true)
		time.Sleep(3500 * time.Millisecond)
		b.now.Store(false)
		time.Sleep(time.Second)
		synctest.Wait()
		stop()
		if n := s.Latest().Number; n != 2 {
			t.Errorf("%d samples", n)
		}
		if n := strings.Count(said.String(), "broken on command"); n != 1 {
			t.Errorf("said %d times: %s", n, said.String())
		}
	})
}

func BenchmarkSample(b *testing.B) {
	s, err := New(Options{Metrics: newNode(), Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := s.sample(); err != nil {
			b.Fatal(err)
		}
	}
}
