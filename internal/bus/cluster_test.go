package bus

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

// testElection makes elections short: about a second.
const testElection = 600 * time.Millisecond

// nodes are the servers of a cluster in this process, each of which reaches each
// other by a proxy of its own, so that a test can cut them apart.
type nodes struct {
	t       testing.TB
	change  func(i int, o *Options)
	dirs    []string
	listen  []string
	proxies [][]*proxy // by who is reached, by whom
	bus     []*Bus
}

// formed starts n servers and waits until they have a leader. change may alter the
// options of each.
func formed(t testing.TB, n int, change func(i int, o *Options)) *nodes {
	t.Helper()
	c := planned(t, n, change)
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	c.start(all...)
	return c
}

// planned is a cluster of which no server runs.
func planned(t testing.TB, n int, change func(i int, o *Options)) *nodes {
	t.Helper()
	c := &nodes{t: t, change: change, bus: make([]*Bus, n)}
	for range n {
		c.dirs = append(c.dirs, t.TempDir())
		c.listen = append(c.listen, freePort(t))
	}
	for to := range n {
		var row []*proxy
		for from := range n {
			if from == to {
				row = append(row, nil)
				continue
			}
			row = append(row, newProxy(t, c.listen[to]))
		}
		c.proxies = append(c.proxies, row)
	}
	t.Cleanup(func() {
		var wg sync.WaitGroup
		for _, b := range c.bus {
			if b != nil {
				wg.Go(func() { shut(t, b) })
			}
		}
		wg.Wait()
	})
	return c
}

func (c *nodes) options(i int) Options {
	o := Options{
		Folder: filepath.Join(c.dirs[i], "cluster", "jetstream"), Logger: testLogger(c.t).With("server", i),
		CallTimeout: 20 * time.Second, StartTimeout: time.Minute,
		Cluster: &Cluster{
			Name: "test", Node: fmt.Sprint("n", i), Listen: c.listen[i],
			Advertise: "127.0.0.1:1", // nobody finds a way around the proxies
			Secret:    "sesame", Replicas: min(3, len(c.dirs)), Election: testElection,
		},
	}
	for to := range c.dirs {
		if to != i {
			o.Cluster.Peers = append(o.Cluster.Peers, c.proxies[to][i].addr)
		}
	}
	if c.change != nil {
		c.change(i, &o)
	}
	return o
}

// start starts servers, at the same time.
func (c *nodes) start(which ...int) {
	c.t.Helper()
	var wg sync.WaitGroup
	for _, i := range which {
		wg.Go(func() {
			b, err := Open(c.t.Context(), c.options(i))
			if err != nil {
				c.t.Errorf("server %d: %v", i, err)
				return
			}
			c.bus[i] = b
		})
	}
	wg.Wait()
	if c.t.Failed() {
		c.t.FailNow()
	}
}

// stop stops a server in good order.
func (c *nodes) stop(i int) {
	c.t.Helper()
	shut(c.t, c.bus[i])
	c.bus[i] = nil
}

// cut takes a server away from the others.
func (c *nodes) cut(i int, away bool) {
	for other := range c.dirs {
		if other != i {
			c.proxies[i][other].cut(away)
			c.proxies[other][i].cut(away)
		}
	}
}

// ports counts ports below those that the system gives out by itself, which it may
// give to somebody else in between.
var ports atomic.Uint32

func freePort(t testing.TB) string {
	t.Helper()
	ports.CompareAndSwap(0, 10_000+rand.Uint32N(20_000))
	for range 1000 {
		l, err := net.Listen("tcp", fmt.Sprint("127.0.0.1:", ports.Add(1)))
		if err != nil {
			continue
		}
		defer l.Close()
		return l.Addr().String()
	}
	t.Fatal("no port is free")
	return ""
}

func TestWhatOneServerOfAClusterStoresTheOthersRead(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, nil)
	logs := make([]*Log, 3)
	tables := make([]*Table, 3)
	for i, b := range c.bus {
		logs[i] = shardLog(t, b, 0)
		tables[i] = openTable(t, b)
	}
	const size = 1000
	fill(t, logs[0], 0, 50, size)
	wantLog(t, logs[1], 1, 50, size)
	wantLog(t, logs[2], 1, 50, size)
	fill(t, logs[1], 50, 60, size)
	_, err := logs[0].Append(t.Context(), 50, []byte("late"))
	wantErr(t, err, mailbox.ErrFenced)
	wantLog(t, logs[0], 1, 60, size)
	must(t, logs[2].Purge(t.Context(), 31))
	wantLog(t, logs[0], 31, 60, size)

	rev, err := tables[0].Update(t.Context(), "a", []byte("1"), 0)
	must(t, err)
	_, err = tables[1].Update(t.Context(), "a", []byte("2"), 0)
	wantErr(t, err, ErrChanged)
	row, known, ok := tables[1].Get("a")
	if !ok || string(row) != "1" || known != rev {
		t.Fatalf("it knows %q, revision %d", row, known)
	}
	rev, err = tables[1].Update(t.Context(), "a", []byte("2"), known)
	must(t, err)
	_, err = tables[0].Update(t.Context(), "a", []byte("3"), known)
	wantErr(t, err, ErrChanged)
	watch(t, tables[2]).comes(t, map[string]string{"a": "2"})
	must(t, tables[2].Delete(t.Context(), "a"))
	_, err = tables[0].Update(t.Context(), "a", []byte("3"), rev)
	wantErr(t, err, ErrChanged)
	_, err = tables[0].Update(t.Context(), "a", []byte("3"), 0)
	must(t, err)
}

// Of many that replace one row at once one succeeds, and whoever does not knows from
// then on what is there.
func TestWhoIsTooLateForARowOfAClusterKnowsWhatIsThere(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, nil)
	tables := make([]*Table, 3)
	for i, b := range c.bus {
		tables[i] = openTable(t, b)
	}
	for round := range 20 {
		key := fmt.Sprint("k", round/2) // every other round there is none yet
		_, known, _ := tables[0].Get(key)
		var all sync.WaitGroup
		errs, rows := make([]error, 9), make([]string, 9)
		for i := range errs {
			all.Go(func() {
				table := tables[i%3]
				_, errs[i] = table.Update(t.Context(), key, fmt.Appendf(nil, "%d by %d", round, i), known)
				row, _, _ := table.Get(key)
				rows[i] = string(row)
			})
		}
		all.Wait()
		won := slices.Index(errs, nil)
		for i, err := range errs {
			if won < 0 || i != won && !errors.Is(err, ErrChanged) || rows[i] != fmt.Sprintf("%d by %d", round, won) {
				t.Fatalf("%d made it; %d knows %q: %v", won, i, rows[i], err)
			}
		}
	}
}
