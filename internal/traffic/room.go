package traffic

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

// Options configure a Room. Shards and Ask are needed.
type Options struct {
	Shards   int // that the journal has
	Ask      Ask
	Lateness time.Duration         // for how long after its end a pane takes what belongs into it; 0: a minute
	Skew     time.Duration         // how far events may be ahead; 0: five seconds
	Groups   int                   // that a shard tells apart in ten seconds; 0: 500
	Devices  int                   // and this many devices; 0: 8000
	Rows     int                   // of an answer; 0: 10 000
	Now      func() time.Time      // nil: the system's clock
	Metrics  prometheus.Registerer // nil for none
}

// Ask has the keeper of a shard answer what Serve answers there.
type Ask func(ctx context.Context, shard int, request []byte) ([]byte, error)

func (o *Options) fill() error {
	if o.Shards < 1 || o.Ask == nil {
		return errors.New("traffic: Options.Shards and Ask are needed")
	}
	if o.Lateness < 0 || o.Lateness > MaxLateness || o.Skew < 0 {
		return fmt.Errorf("traffic: the lateness is from 0 to %s, and the skew not below 0", MaxLateness)
	}
	for _, d := range []struct {
		at *time.Duration
		is time.Duration
	}{{&o.Lateness, time.Minute}, {&o.Skew, 5 * time.Second}} {
		if *d.at == 0 {
			*d.at = d.is
		}
	}
	for _, d := range []struct {
		at *int
		is int
	}{{&o.Groups, 500}, {&o.Devices, 8000}, {&o.Rows, 10_000}} {
		if *d.at == 0 {
			*d.at = d.is
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return nil
}

// Room answers what was exchanged when. Its methods may be called from any goroutine.
type Room struct {
	opts    Options
	limits  limits
	metrics metrics

	mu     sync.Mutex
	shards map[int]*Shard
}

// New makes a Room that keeps no shard yet.
func New(o Options) (*Room, error) {
	if err := o.fill(); err != nil {
		return nil, err
	}
	r := &Room{
		opts:   o,
		limits: limits{window.Rules{Pane: Pane, Lateness: o.Lateness, Skew: o.Skew}, o.Groups, o.Devices},
		shards: make(map[int]*Shard),
	}
	return r, r.metrics.register(o.Metrics)
}

// Shard is what this node folds of a shard that it keeps.
type Shard struct {
	room *Room
	n    int

	mu sync.Mutex // guards of
	of *shard
}

// Begin returns a shard of which nothing is folded yet. It is asked once it serves.
func (r *Room) Begin(n int) *Shard { return &Shard{room: r, n: n, of: newShard(&r.limits)} }

// Fold folds what the journal has stored together, in its order. lacks says of a
// chunk whether that is not in it yet, and notes that it changes.
func (s *Shard) Fold(events []Event, lacks func(chunk int) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.of.fold(events, lacks)
	s.room.metrics.folded.Add(float64(len(events)))
}

// Load takes in a chunk as Save has returned it, before anything is folded.
func (s *Shard) Load(chunk int, state []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.of.load(chunk, state); err != nil {
		return fmt.Errorf("load chunk %d of the traffic: %w", chunk, err)
	}
	return nil
}

// Save returns a chunk as it is.
func (s *Shard) Save(chunk int) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.of.save(chunk)
}

// Ready has the shard asked from now on: it has folded what is stored.
func (s *Shard) Ready() {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	s.room.shards[s.n] = s
}

// End has the shard asked no more.
func (s *Shard) End() {
	s.room.mu.Lock()
	defer s.room.mu.Unlock()
	if s.room.shards[s.n] == s {
		delete(s.room.shards, s.n)
	}
}

// ErrNotHere says that this node does not keep the shard that was asked.
var ErrNotHere = errors.New("this node does not keep that shard of the journal")

// What a reply begins with.
const (
	replyRows = iota
	replyTooMuch
)

// Serve answers what another node, or this one, asks of a shard that this one keeps.
// settled is a time, in milliseconds: whatever was taken in before is folded.
func (r *Room) Serve(n int, request []byte, settled int64) ([]byte, error) {
	q, err := readQuestion(request)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	s := r.shards[n]
	r.mu.Unlock()
	if s == nil {
		return nil, ErrNotHere
	}
	s.mu.Lock()
	p := s.of.collect(q)
	s.mu.Unlock()
	found, ok := p.finish()
	if !ok {
		return []byte{replyTooMuch}, nil
	}
	return appendRows([]byte{replyRows}, settled, found), nil
}
