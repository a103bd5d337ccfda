package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/load"
	"github.com/seed-3d8c1042/switchboard/internal/traffic"
	"github.com/seed-3d8c1042/switchboard/internal/window"
)

// trafficCommand measures windows in this process.
type trafficCommand struct {
	Devices  int           `default:"1000" help:"Devices whose events they are."`
	Warmup   time.Duration `default:"500ms" help:"Before the measurement."`
	Duration time.Duration `default:"5s" help:"Of the measurement."`
	JSON     bool          `name:"json" help:"Print what was found as JSON."`
}

const (
	// trafficBatch is how many events the journal stores together, and trafficPace how
	// many milliseconds of their own time they take: half a million a second.
	trafficBatch = 1000
	trafficPace  = 2
)

// Validate checks the flags; what it says is a matter of usage.
func (c trafficCommand) Validate() error {
	switch {
	case c.Devices < 1 || c.Devices > 1_000_000:
		return fmt.Errorf("--devices %d: give a number from 1 to 1000000", c.Devices)
	case c.Duration < 10*time.Millisecond || c.Duration > time.Hour || c.Warmup < 0 || c.Warmup > time.Hour:
		return errors.New("--duration and --warmup: give at most an hour, and at least 10ms to measure")
	}
	return nil
}

// Run implements the command.
func (c trafficCommand) Run(p *program) error {
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

// stream is a shard's events without end.
type stream struct {
	room   *traffic.Room
	shard  *traffic.Shard
	events [][]traffic.Event
	at     int64
	next   int
}

// measure has a room fold events as fast as it can, and asks it what it has.
func (c trafficCommand) measure(ctx context.Context) (found load.Traffic, err error) {
	s := &stream{at: time.Now().UnixMilli(), events: c.make()}
	s.room, err = traffic.New(traffic.Options{
		Shards: 1, Now: func() time.Time { return time.UnixMilli(s.at) },
		Ask: func(_ context.Context, n int, request []byte) ([]byte, error) { return s.room.Serve(n, request, s.at) },
	})
	if err != nil {
		return found, err
	}
	s.shard = s.room.Begin(0)
	s.shard.Ready()
	for end := time.Now().Add(c.Warmup); time.Now().Before(end) && ctx.Err() == nil; {
		s.fold()
	}
	found.Devices = c.Devices
	began, cpu := time.Now(), load.OwnCPU()
	for time.Since(began) < c.Duration && ctx.Err() == nil {
		s.fold()
		found.Events += trafficBatch
	}
	found.Rate = float64(found.Events) / time.Since(began).Seconds()
	found.CPU = float64((load.OwnCPU() - cpu).Nanoseconds()) / float64(max(1, found.Events)) / 1000
	for i := range traffic.Chunks {
		found.State += len(s.shard.Save(i))
	}
	began = time.Now()
	a, err := s.room.Query(ctx, traffic.Request{Windows: window.Spec{Kind: window.Tumbling, Width: time.Minute}, By: []string{"app"}, Past: 60})
	found.Query = float64(time.Since(began).Microseconds())
	if err == nil && len(a.Windows) == 0 {
		err = errors.New("of all that was folded there is nothing")
	}
	return found, errors.Join(err, ctx.Err())
}

// make makes events of sizes as messages have.
func (c trafficCommand) make() [][]traffic.Event {
	random := rand.New(rand.NewPCG(1, 2))
	list := make([][]traffic.Event, 50)
	for i := range list {
		for range trafficBatch {
			list[i] = append(list[i], traffic.Event{
				Key: traffic.Key{
					Type: traffic.Sent, App: fmt.Sprint("app-", random.IntN(5)), Capability: "match", Device: fmt.Sprint("device-", random.IntN(c.Devices)),
				},
				Amount: uint64(random.ExpFloat64() * 1000),
			})
		}
	}
	return list
}

// fold folds the next batch.
func (s *stream) fold() {
	batch := s.events[s.next%len(s.events)]
	s.next++
	s.at += trafficPace
	for i := range batch {
		batch[i].At, batch[i].Stored = s.at, s.at
	}
	s.shard.Fold(batch, func(int) bool { return true })
}
