package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/load"
	"github.com/seed-3d8c1042/switchboard/internal/nearby"
)

// nearbyCommand measures positions in this process, beside Redis.
type nearbyCommand struct {
	Positions int           `default:"1000000" help:"Users who are somewhere: 15 within a kilometre of each."`
	Watchers  int           `default:"0" placeholder:"N" help:"Sessions that look at 5 km around somebody. Default: 1000, or as many as there are positions."`
	Movers    int           `default:"0" placeholder:"N" help:"Users who say every ten seconds where they are. Default: 100000, or as many as there are positions."`
	Duration  time.Duration `default:"5s" help:"Of each of the measurements."`
	Redis     string        `default:"yes" enum:"yes,no" help:"Measure redis-server beside it, which has to be installed: yes or no."`
	Folder    string        `placeholder:"DIR" help:"Where the log is kept, in a folder that is removed afterwards: the disk that is measured. Default: the system's folder for temporary files."`
	JSON      bool          `name:"json" help:"Print what was found as JSON."`
}

const (
	// nearbyApp is the app of all users of the measurement.
	nearbyApp = "bench"
	// nearbyHits is how many users are within nearbyRadius, in metres, of each.
	nearbyHits, nearbyRadius = 15, 1000
	// pipelined is how many commands Redis is sent at once.
	pipelined = 100
)

// Validate checks the flags; what it says is a matter of usage.
func (c nearbyCommand) Validate() error {
	switch {
	case c.Positions < 1 || c.Positions > 10_000_000:
		return fmt.Errorf("--positions %d: give a number from 1 to 10000000", c.Positions)
	case c.Watchers < 0 || c.Watchers > 100_000:
		return fmt.Errorf("--watchers %d: give a number from 1 to 100000", c.Watchers)
	case c.Movers < 0 || c.Movers > c.Positions:
		return fmt.Errorf("--movers %d: give a number from 1 to that of positions, %d", c.Movers, c.Positions)
	case c.Duration < 10*time.Millisecond || c.Duration > time.Hour:
		return errors.New("--duration: give at most an hour, and at least 10ms")
	}
	return nil
}

// Run implements the command.
func (c nearbyCommand) Run(p *program) error {
	c.Watchers = cmp.Or(c.Watchers, min(1000, c.Positions))
	c.Movers = cmp.Or(c.Movers, min(100_000, c.Positions))
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

// plain is where users are: a square, some way from the equator.
type plain struct {
	room    *nearby.Room
	names   []string
	places  [][2]float64 // latitude and longitude
	turn    int          // whose it is, see next
	side    float64      // of the square, in degrees of latitude
	random  *rand.Rand
	batches atomic.Int64
}

// measure makes a folder, an engine and a room, and measures them.
func (c nearbyCommand) measure(ctx context.Context) (found load.Nearby, err error) {
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
	f := &plain{random: rand.New(rand.NewPCG(1, 2))}
	f.room, err = nearby.New(nearby.Options{
		Node: "bench", Shards: 1, Now: time.Now, Logger: log,
		Limits: nearby.Limits{TTL: time.Hour, Positions: 2 * c.Positions, Rate: 10_000},
		Logs: func(ctx context.Context, shard int) (nearby.Log, error) {
			l, err := b.Positions(ctx, shard, time.Hour)
			return countedPositions{l, &f.batches}, err
		},
	})
	if err != nil {
		return found, err
	}
	f.room.Attach(nearbyLoopback{f.room})
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	running.Go(func() { _ = f.room.Run(ctx) }) // which fails in no way
	defer running.Wait()
	defer stop()
	if err := f.room.Begin(ctx, 0, 1); err != nil {
		return found, err
	}
	defer f.room.End(0)
	f.room.Moved(0)
	return c.drive(ctx, f)
}

// drive measures one thing after the other.
func (c nearbyCommand) drive(ctx context.Context, f *plain) (found load.Nearby, err error) {
	found.Positions, found.Watchers, found.Movers = c.Positions, c.Watchers, c.Movers
	f.settle(c.Positions)
	before := heap()
	if err := f.putAll(ctx); err != nil {
		return found, err
	}
	found.Memory = max(0, heap()-before)
	if found.Queries, found.Hits, err = c.query(ctx, f); err != nil {
		return found, err
	}
	if found.Updates, err = c.update(ctx, f); err != nil {
		return found, err
	}
	if c.Redis == "yes" {
		if err := c.redis(ctx, f, &found); err != nil {
			return found, err
		}
	}
	if err := c.watch(ctx, f, &found); err != nil {
		return found, err
	}
	found.Batches = f.batches.Load()
	return found, ctx.Err()
}

// settle chooses where users are.
func (f *plain) settle(n int) {
	f.names, f.places = make([]string, n), make([][2]float64, n)
	var all strings.Builder // one piece of memory, so that the measurement is of the room's own
	all.Grow(n * (len(nearbyApp) + 12))
	area := float64(n) * math.Pi * nearbyRadius * nearbyRadius / nearbyHits
	f.side = math.Sqrt(area) / metresADegree
	for i := range n {
		from := all.Len()
		fmt.Fprintf(&all, "%s-%d", nearbyApp, 1_000_000+i)
		f.names[i] = all.String()[from:]
		f.places[i] = [2]float64{plainLat + f.side*(f.random.Float64()-0.5), plainLon + f.side*(f.random.Float64()-0.5)/math.Cos(plainLat*math.Pi/180)}
	}
}

const (
	plainLat, plainLon = 50.0, 10.0
	metresADegree      = 111_226.0
)

// next returns whose turn it is. Neighbours in this order are anywhere on the plain, and
// anywhere in the memory of the room, where they came in another order.
func (f *plain) next() int {
	f.turn = (f.turn + 1) % len(f.places)
	return f.turn
}

// step has a user go up to 50 m away.
func (f *plain) step(i int) {
	p := &f.places[i]
	p[0] += (f.random.Float64() - 0.5) * 100 / metresADegree
	p[1] += (f.random.Float64() - 0.5) * 100 / metresADegree
}

func (f *plain) put(i int, now time.Time) (err error) {
	p := &f.places[i]
	f.room.Put(nearbyApp, f.names[i], nearby.Position{Lat: p[0], Lon: p[1], At: now}, func(refused error) { err = refused })
	return err
}

// putAll puts all users where they are, and waits until that is stored.
func (f *plain) putAll(ctx context.Context) error {
	now := time.Now()
	for _, i := range f.random.Perm(len(f.names)) {
		if err := f.put(i, now); err != nil {
			return fmt.Errorf("take in a position: %w", err)
		}
	}
	// All of it is stored when nothing more is.
	for last, since := int64(-1), time.Now(); time.Since(since) < 3*time.Second/2; {
		if n := f.batches.Load(); n != last {
			last, since = n, time.Now()
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
	return nil
}

// heap returns how many bytes are in use.
func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// rate does something for a while, and returns how often in each second of CPU.
func (c nearbyCommand) rate(ctx context.Context, cpu func() (time.Duration, error), do func() (int, error)) (float64, error) {
	before, err := cpu()
	if err != nil {
		return 0, err
	}
	n := 0
	for began := time.Now(); time.Since(began) < c.Duration && ctx.Err() == nil; {
		more, err := do()
		if err != nil {
			return 0, err
		}
		n += more
	}
	after, err := cpu()
	return float64(n) / max(after-before, 10*time.Millisecond).Seconds(), errors.Join(err, ctx.Err())
}

func ownCPU() (time.Duration, error) { return load.OwnCPU(), nil }

// query asks who is within a kilometre of somebody.
func (c nearbyCommand) query(ctx context.Context, f *plain) (rate, hits float64, err error) {
	asked, there := 0, 0
	rate, err = c.rate(ctx, ownCPU, func() (int, error) {
		for range pipelined {
			p := &f.places[f.next()]
			var failed error
			f.room.Near(nearbyApp, nearby.View{Lat: p[0], Lon: p[1], Radius: nearbyRadius}, nearby.MaxAnswer, func(a nearby.Answer, err error) {
				there += len(a.Users)
				failed = err
			})
			if failed != nil {
				return 0, failed
			}
		}
		asked += pipelined
		return pipelined, nil
	})
	return rate, float64(there) / float64(max(1, asked)), err
}

// update has users go somewhere else, a little.
func (c nearbyCommand) update(ctx context.Context, f *plain) (float64, error) {
	return c.rate(ctx, ownCPU, func() (int, error) {
		now := time.Now()
		for range pipelined {
			i := f.next()
			f.step(i)
			if err := f.put(i, now); err != nil {
				return 0, err
			}
		}
		return pipelined, nil
	})
}

// redis measures the same of redis-server.
func (c nearbyCommand) redis(ctx context.Context, f *plain, found *load.Nearby) error {
	r, err := load.StartRedis(ctx)
	if err != nil {
		return fmt.Errorf("%w; install it, or leave it out with --redis=no", err)
	}
	defer func() { _ = r.Close() }() // there is nothing in it that anybody needs
	text := func(f float64) string { return strconv.FormatFloat(f, 'f', 7, 64) }
	add := func(i int) []string {
		return []string{"GEOADD", "all", text(f.places[i][1]), text(f.places[i][0]), f.names[i]}
	}
	for from := 0; from < len(f.places); from += pipelined {
		var commands [][]string
		for i := from; i < min(from+pipelined, len(f.places)); i++ {
			commands = append(commands, add(i))
		}
		if err := r.Pipe(commands, nil); err != nil {
			return err
		}
	}
	commands := make([][]string, pipelined)
	there, asked := 0, 0
	found.RedisQueries, err = c.rate(ctx, r.CPU, func() (int, error) {
		for i := range commands {
			p := &f.places[f.random.IntN(len(f.places))]
			commands[i] = []string{"GEOSEARCH", "all", "FROMLONLAT", text(p[1]), text(p[0]), "BYRADIUS", strconv.Itoa(nearbyRadius), "m", "ASC", "WITHCOORD", "WITHDIST"}
		}
		asked += pipelined
		return pipelined, r.Pipe(commands, func(_ int, reply any) { there += len(reply.([]any)) })
	})
	if err != nil {
		return err
	}
	if hits := float64(there) / float64(max(1, asked)); math.Abs(hits-found.Hits) > 0.2*found.Hits {
		return fmt.Errorf("redis-server finds %.1f users, here it is %.1f", hits, found.Hits)
	}
	found.RedisUpdates, err = c.rate(ctx, r.CPU, func() (int, error) {
		for i := range commands {
			at := f.random.IntN(len(f.places))
			f.step(at)
			commands[i] = add(at)
		}
		return pipelined, r.Pipe(commands, nil)
	})
	return err
}

// nearbyLoopback is where there is one node.
type nearbyLoopback struct{ room *nearby.Room }

// Request implements nearby.Owners.
func (l nearbyLoopback) Request(shard int, request []byte, answer func(reply []byte, err error)) {
	l.room.Serve(shard, "bench", request, answer)
}

// Tell implements nearby.Owners.
func (l nearbyLoopback) Tell(_ string, message []byte) { l.room.Told("bench", message) }

// ShardOf implements nearby.Owners.
func (nearbyLoopback) ShardOf(string) int { return 0 }

// countedPositions counts batches.
type countedPositions struct {
	nearby.Log
	batches *atomic.Int64
}

// Append implements nearby.Log.
func (l countedPositions) Append(ctx context.Context, last uint64, batch []byte) (uint64, error) {
	seq, err := l.Log.Append(ctx, last, batch)
	if err == nil {
		l.batches.Add(1)
	}
	return seq, err
}
