package main

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/load"
	"github.com/seed-3d8c1042/switchboard/internal/match"
)

// matchingCommand measures matching in this process.
type matchingCommand struct {
	Waiting  int           `default:"10000" help:"Tickets that wait all the time, and fit nobody."`
	Pairs    int           `default:"2000" help:"Pairs of devices that look for each other at once."`
	Warmup   time.Duration `default:"1s" help:"Before the measurement."`
	Duration time.Duration `default:"5s" help:"Of the measurement."`
	Folder   string        `placeholder:"DIR" help:"Where the log is kept, in a folder that is removed afterwards: the disk that is measured. Default: the system's folder for temporary files."`
	JSON     bool          `name:"json" help:"Print what was found as JSON."`
}

// maxWaiting bounds the flags: each ticket takes about a kilobyte.
const maxWaiting = 1_000_000

// Validate checks the flags; what it says is a matter of usage.
func (c matchingCommand) Validate() error {
	switch {
	case c.Waiting < 0 || c.Waiting > maxWaiting:
		return fmt.Errorf("--waiting %d: give a number from 0 to %d", c.Waiting, maxWaiting)
	case c.Pairs < 1 || c.Pairs > maxWaiting:
		return fmt.Errorf("--pairs %d: give a number from 1 to %d", c.Pairs, maxWaiting)
	case c.Duration < 10*time.Millisecond || c.Duration > time.Hour || c.Warmup < 0 || c.Warmup > time.Hour:
		return errors.New("--duration and --warmup: give at most an hour, and at least 10ms to measure")
	}
	return nil
}

// Run implements the command.
func (c matchingCommand) Run(p *program) error {
	ctx, done := p.untilSignal()
	defer done()
	found, err := c.measure(ctx)
	if err != nil {
		return bench(err)
	}
	if c.JSON {
		return bench(json.NewEncoder(p.out).Encode(found))
	}
	return bench(found.Print(p.out))
}

// measure makes a folder, an engine and a room, and measures them.
func (c matchingCommand) measure(ctx context.Context) (found load.Matching, err error) {
	if c.Folder != "" {
		if err := os.MkdirAll(c.Folder, 0o700); err != nil {
			return found, fmt.Errorf("make a folder: %w", err)
		}
	}
	folder, err := os.MkdirTemp(c.Folder, "switchboard-bench-")
	if err != nil {
		return found, fmt.Errorf("make a folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	log := slog.New(slog.DiscardHandler)
	b, err := bus.Open(ctx, bus.Options{Folder: filepath.Join(folder, "jetstream"), Logger: log})
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, b.Close()) }()
	f := &field{batches: new(atomic.Int64), free: make(chan *couple, c.Pairs)}
	f.room, err = match.New(match.Options{
		Node: "bench", Shards: 1, Now: time.Now, Random: rand.Reader, Logger: log,
		Limits: match.Limits{Tickets: 4 * maxWaiting, Matches: 4 * maxWaiting, Timeout: 2 * time.Hour},
		Logs: func(ctx context.Context, shard int) (match.Log, error) {
			l, err := b.Matches(ctx, shard)
			return countedLog{l, f.batches}, err
		},
	})
	if err != nil {
		return found, err
	}
	f.room.Attach(loopback{f.room})
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = f.room.Run(ctx) }) // which fails in no way
	defer running.Wait()
	defer stop()
	f.room.Begin(ctx, 0, 1)
	f.room.Moved(0)
	return c.drive(ctx, f)
}

// drive lets those wait who wait, and pairs meet, and counts.
func (c matchingCommand) drive(ctx context.Context, f *field) (found load.Matching, err error) {
	found.Waiting, found.Pairs = c.Waiting, c.Pairs
	f.waits.Add(c.Waiting)
	for i := range c.Waiting {
		// Some kilometres apart, in the north.
		at := match.Point{Lat: float64(i%800)/10 + 0.5, Lon: float64(i/800%3600)/10 - 180}
		if err := f.enter(fmt.Sprint("waits ", i), at, &waiter{f: f}); err != nil {
			return found, err
		}
	}
	f.waits.Wait()
	for i := range c.Pairs {
		f.free <- &couple{f: f, number: i}
	}
	begin, end := time.After(c.Warmup), time.After(c.Warmup+c.Duration)
	var began time.Time
	var cpu time.Duration
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case one := <-f.free:
			if err := one.meet(); err != nil {
				return found, err
			}
		case <-begin:
			f.count(&found, false)
			began, cpu = time.Now(), load.OwnCPU()
			found.Matches, found.Batches = 0, 0
			f.batches.Store(0)
		case <-end:
			f.count(&found, true)
			found.Rate = float64(found.Matches) / time.Since(began).Seconds()
			found.CPU = float64((load.OwnCPU() - cpu).Microseconds()) / float64(max(1, found.Matches))
			if found.Strangers > 0 {
				err = fmt.Errorf("%d devices were matched with another than theirs", found.Strangers)
			}
			return found, err
		}
	}
	return found, ctx.Err()
}

// field is where devices meet.
type field struct {
	room    *match.Room
	batches *atomic.Int64
	free    chan *couple   // those who have met and left
	waits   sync.WaitGroup // until all who are to wait do
	rounds  atomic.Int64

	mu        sync.Mutex
	took      []float64 // µs
	strangers int64
}

// enter has a device look for somebody within 100 m.
func (f *field) enter(name string, at match.Point, o outlet) error {
	s := f.room.Open(name, o)
	o.is(s)
	_, err := s.Request(match.Request{Pool: match.Pool{App: "bench", Name: "pool"}, At: &at, Radius: 100, Nearest: true})
	return err
}

// count takes what was counted since it was called last.
func (f *field) count(found *load.Matching, keep bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if keep && len(f.took) > 0 {
		slices.Sort(f.took)
		found.P50, found.P99 = f.took[len(f.took)/2], f.took[len(f.took)*99/100]
	}
	found.Matches, found.Batches, found.Strangers = int64(len(f.took)), f.batches.Load(), f.strangers
	f.took = nil
}

// outlet is a device that knows its session.
type outlet interface {
	match.Outlet
	is(*match.Session)
}

// silent hears of nothing.
type silent struct{}

func (silent) is(*match.Session)                           {}
func (silent) Waiting(match.Ticket)                        {}
func (silent) Refused(match.Ticket, *match.Refusal)        {}
func (silent) Matched(match.Ticket, match.Match)           {}
func (silent) TimedOut(match.Ticket)                       {}
func (silent) Canceled(match.Ticket, []byte, match.Reason) {}
func (silent) PeerLeft(match.Match, string, bool)          {}
func (silent) Left(match.Match, []byte, match.Reason)      {}
func (silent) Message(match.Match, string, []byte)         {}

// waiter is a device for which nobody comes.
type waiter struct {
	silent
	f *field
}

// Waiting implements match.Outlet.
func (w *waiter) Waiting(match.Ticket) { w.f.waits.Done() }

// Matched implements match.Outlet.
func (w *waiter) Matched(match.Ticket, match.Match) {
	w.f.mu.Lock()
	defer w.f.mu.Unlock()
	w.f.strangers++
}

// couple are two devices that meet at a place of their own, and leave.
type couple struct {
	f      *field
	number int
	began  time.Time
	heard  atomic.Int32
	both   [2]half
}

// half is one of them.
type half struct {
	silent
	couple  *couple
	session *match.Session
	other   string
}

func (h *half) is(s *match.Session) { h.session = s }

// meet has both look for each other, anew.
func (c *couple) meet() error {
	round := c.f.rounds.Add(1)
	c.heard.Store(0)
	at := match.Point{Lat: -float64(c.number%800)/10 - 1, Lon: float64(c.number/800%3600)/10 - 180}
	names := [2]string{fmt.Sprint("one ", round), fmt.Sprint("other ", round)}
	for i, name := range names {
		c.both[i] = half{couple: c, other: names[1-i]}
		c.began = time.Now()
		if err := c.f.enter(name, at, &c.both[i]); err != nil {
			return err
		}
	}
	return nil
}

// Matched implements match.Outlet.
func (h *half) Matched(_ match.Ticket, m match.Match) {
	c := h.couple
	if len(m.Peers) != 1 || m.Peers[0].Device != h.other {
		c.f.mu.Lock()
		c.f.strangers++
		c.f.mu.Unlock()
	}
	if c.heard.Add(1) < 2 {
		return
	}
	c.f.mu.Lock()
	c.f.took = append(c.f.took, float64(time.Since(c.began))/float64(time.Microsecond))
	c.f.mu.Unlock()
	for i := range c.both {
		c.both[i].session.Close()
	}
	c.f.free <- c
}

// loopback is where there is one node.
type loopback struct{ room *match.Room }

// Ask implements match.Owners.
func (l loopback) Ask(ctx context.Context, shard int, request []byte) ([]byte, error) {
	type outcome struct {
		reply []byte
		err   error
	}
	done := make(chan outcome, 1)
	l.room.Serve(shard, "bench", request, func(reply []byte, err error) { done <- outcome{reply, err} })
	select {
	case o := <-done:
		return o.reply, o.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// Tell implements match.Owners.
func (l loopback) Tell(_ string, message []byte) { l.room.Told("bench", message) }

// countedLog counts batches.
type countedLog struct {
	match.Log
	batches *atomic.Int64
}

// Append implements match.Log.
func (l countedLog) Append(ctx context.Context, last uint64, batch []byte) (uint64, error) {
	seq, err := l.Log.Append(ctx, last, batch)
	if err == nil {
		l.batches.Add(1)
	}
	return seq, err
}
