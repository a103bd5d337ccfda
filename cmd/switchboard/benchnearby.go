package main

import (
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
	"slices"
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
	Watchers  int           `default:"1000" help:"Sessions that look at 5 km around somebody."`
	Movers    int           `default:"100000" help:"Users who say every ten seconds where they are."`
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
	// watchRadius is what a onlooker sees, in metres.
	watchRadius = 5000
	// newsPeriod is how often a mover says where he is.
	newsPeriod = 10 * time.Second
	// pipelined is how many commands Redis is sent at once.
	pipelined = 100
)

// Validate checks the flags; what it says is a matter of usage.
func (c nearbyCommand) Validate() error {
	switch {
	case c.Positions < 1 || c.Positions > 10_000_000:
		return fmt.Errorf("--positions %d: give a number from 1 to 10000000", c.Positions)
	case c.Watchers < 1 || c.Watchers > 100_000:
		return fmt.Errorf("--watchers %d: give a number from 1 to 100000", c.Watchers)
	case c.Movers < 1 || c.Movers > c.Positions:
		return fmt.Errorf("--movers %d: give a number from 1 to that of positions, %d", c.Movers, c.Positions)
	case c.Duration < 10*time.Millisecond || c.Duration > time.Hour:
		return errors.New("--duration: give at most an hour, and at least 10ms")
	}
	return nil
}

// Run implements the command.
func (c nearbyCommand) Run(p *program) error {
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

// watch has some look around while others move, and measures how soon they know: all that
// they are told from when each of them has its answer on.
func (c nearbyCommand) watch(ctx context.Context, f *plain, found *load.Nearby) error {
	told := &told{}
	for i := range c.Watchers {
		p := &f.places[i*(len(f.places)/c.Watchers)]
		s := f.room.Open(nearbyApp, &onlooker{told: told})
		defer s.Close()
		if err := s.Watch("map", nearby.View{Lat: p[0], Lon: p[1], Radius: watchRadius}, nil); err != nil {
			return err
		}
	}
	m := &movers{plain: f, of: c.Movers, began: time.Now()}
	if err := m.move(ctx, func(now time.Time) bool { return told.answered(c.Watchers) || now.Sub(m.began) > answerTime }); err != nil {
		return err
	}
	if !told.answered(c.Watchers) {
		return fmt.Errorf("after %s watchers wait for an answer", answerTime)
	}
	began := told.begin()
	if err := m.move(ctx, func(now time.Time) bool { return now.Sub(began) >= c.Duration }); err != nil {
		return err
	}
	m.of = 0 // and what is on its way comes, too
	if err := m.move(ctx, told.quiet); err != nil {
		return err
	}
	told.end(found)
	return nil
}

// movers are users who say every newsPeriod where they are, one after the other.
type movers struct {
	*plain
	of    int // how many they are: one in so many, all over the plain
	began time.Time
	moved int // since then, by all of them
}

// move has them move until it is over.
func (m *movers) move(ctx context.Context, over func(now time.Time) bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for now := time.Now(); !over(now); {
		if err := m.until(now); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now = <-tick.C:
		}
	}
	return nil
}

// until has those move whose time has come. What they say is as old as that, so that a
// wait for the room counts with all for whom it makes it late.
func (m *movers) until(now time.Time) error {
	for m.of > 0 {
		at := m.began.Add(newsPeriod / time.Duration(m.of) * time.Duration(m.moved))
		if at.After(now) {
			break
		}
		i := m.moved * 7919 % m.of * (len(m.places) / m.of) // so that those who follow each other are no neighbours
		m.moved++
		m.step(i)
		if err := m.put(i, at); err != nil {
			return err
		}
	}
	return nil
}

const (
	// answerTime is how long watchers may wait for their answers.
	answerTime = time.Minute
	// quietTime is after how long without any news no more is expected.
	quietTime = time.Second
)

// told is what watchers were told.
type told struct {
	mu      sync.Mutex // guards what follows
	counts  bool
	took    []float64 // µs
	frames  int64
	last    time.Time // when there was news
	answers int       // of watchers who have one
}

// answered says whether so many have had their answer.
func (t *told) answered(watchers int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answers >= watchers
}

// begin counts from now on.
func (t *told) begin() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts, t.last = true, time.Now()
	return t.last
}

// quiet says whether there is no more to come.
func (t *told) quiet(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(t.last) >= quietTime
}

func (t *told) end(found *load.Nearby) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts = false
	slices.Sort(t.took)
	if n := len(t.took); n > 0 {
		found.P50, found.P99 = t.took[n/2], t.took[n*99/100]
	}
	found.News, found.Frames = int64(len(t.took)), t.frames
}

func (t *told) news(users []nearby.User) bool {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.counts {
		return true
	}
	t.frames, t.last = t.frames+1, now
	for i := range users {
		t.took = append(t.took, float64(now.Sub(users[i].At))/float64(time.Microsecond))
	}
	return true
}

// onlooker is a session that looks.
type onlooker struct {
	told     *told
	answered bool
}

// Answer implements nearby.Outlet.
func (w *onlooker) Answer(string, nearby.Answer, []byte) bool {
	w.told.mu.Lock()
	defer w.told.mu.Unlock()
	if !w.answered {
		w.answered = true
		w.told.answers++
	}
	return true
}

// Enter implements nearby.Outlet.
func (w *onlooker) Enter(_ string, users []nearby.User) bool { return w.told.news(users) }

// Move implements nearby.Outlet.
func (w *onlooker) Move(_ string, users []nearby.User) bool { return w.told.news(users) }

// Leave implements nearby.Outlet.
func (w *onlooker) Leave(string, []string) bool { return true }

// Cells implements nearby.Outlet.
func (w *onlooker) Cells(string, []nearby.Cell) bool { return true }

// Trouble implements nearby.Outlet.
func (w *onlooker) Trouble(string, []byte, error) bool { return true }

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
