package stats

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

const (
	// Every is the time between two samples, unless Options say otherwise.
	Every = time.Second
	// Kept is how many samples are kept: five minutes.
	Kept = 300
	// window is over how many samples quantiles are.
	window = 60
)

// Sample is how it was at one time. It is not changed once made.
type Sample struct {
	Number uint64 // 1, 2, 3 … since the node began
	At     time.Time
	Uptime time.Duration
	Counts

	syncs buckets
}

// Options configure a Sampler. Metrics, Now and Log are needed.
type Options struct {
	Metrics prometheus.Gatherer // of the node; those of process and runtime need not be among them
	Now     func() time.Time    // with a monotonic clock, as time.Now
	Log     *slog.Logger
	Every   time.Duration // between two samples; 0: the constant Every
	Nodes   Nodes         // nil: this node is alone
	// Register is where what goes wrong with other nodes' reports is counted; nil:
	// nowhere.
	Register prometheus.Registerer
}

// Sampler makes samples. Its methods may be called from any goroutine.
type Sampler struct {
	opts  Options
	began time.Time

	mu      sync.Mutex
	samples []Sample      // the last of them, oldest first
	next    chan struct{} // closed when there is another one, or nobody may watch any more
	ended   bool
	watch   int // how many watch
	shared
}

// New makes a Sampler with its first sample.
func New(o Options) (*Sampler, error) {
	if o.Metrics == nil || o.Now == nil || o.Log == nil {
		return nil, errors.New("stats: Options.Metrics, Now and Log are needed")
	}
	if o.Every == 0 {
		o.Every = Every
	}
	s := &Sampler{opts: o, began: o.Now(), next: make(chan struct{})}
	if err := s.share(); err != nil {
		return nil, err
	}
	return s, s.sample()
}

// Run makes a sample every second until ctx ends, and other nodes hear of it. Then
// whoever watches is let go.
func (s *Sampler) Run(ctx context.Context) error {
	defer s.LetGo()
	tick := time.NewTicker(s.opts.Every)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			if s.opts.Nodes != nil {
				_ = s.sample() // the last word to other nodes; without it they know what was a second ago
			}
			return nil
		case <-tick.C:
			err := s.sample()
			if err != nil && !failing { // a node without numbers still passes messages
				s.opts.Log.Error("there are no new stats", "err", err)
			}
			failing = err != nil
		}
	}
}

// Watch notes one more who watches, unless there are as many as there may be.
// leave has to be called in the end, once.
func (s *Sampler) Watch(most int) (leave func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watch >= most {
		return nil, false
	}
	s.watch++
	return func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watch--
	}, true
}

// Began returns when the node began, as far as the samples know.
func (s *Sampler) Began() time.Time { return s.began }

// Latest returns the newest sample: it is at most a second old.
func (s *Sampler) Latest() Sample {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.samples[len(s.samples)-1]
}

// After returns the samples that are kept and come after a number, oldest first,
// at most the last so many; and what is closed when there are more. more is nil
// when nobody may wait for them: the node is stopping.
func (s *Sampler) After(number uint64, most int) (list []Sample, more <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		more = s.next
	}
	newest := s.samples[len(s.samples)-1].Number
	if number >= newest {
		return nil, more
	}
	wanted := min(newest-number, uint64(len(s.samples)), uint64(max(most, 0)))
	return append(list, s.samples[len(s.samples)-int(wanted):]...), more
}

// LetGo has whoever watches leave, and nobody else begin. Samples are made still.
func (s *Sampler) LetGo() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		close(s.next)
	}
}

// sample makes one more.
func (s *Sampler) sample() error {
	f, err := gather(s.opts.Metrics)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.opts.Now()
	counts, syncs := s.together(f, now)
	counts.readRuntime()
	one := Sample{Number: 1, At: now, Uptime: now.Sub(s.began), Counts: counts, syncs: syncs}
	if n := len(s.samples); n > 0 {
		one.Number = s.samples[n-1].Number + 1
		recent := syncs.since(s.samples[max(n-window, 0)].syncs)
		one.Log.Sync = Times{P50: recent.quantile(.5), P95: recent.quantile(.95), P99: recent.quantile(.99)}
		if n == Kept {
			s.samples = append(s.samples[:0], s.samples[1:]...)
		}
	}
	s.samples = append(s.samples, one)
	if !s.ended {
		close(s.next)
		s.next = make(chan struct{})
	}
	return nil
}
