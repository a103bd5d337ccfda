package bus

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// placed waits until as many servers count, and every stream has its copies.
func placed(t *testing.T, b *Bus, servers int) *Placement {
	t.Helper()
	return placedBut(t, b, servers, 0)
}

// placedBut waits until so many servers are known, and so many streams lack a copy.
func placedBut(t *testing.T, b *Bus, servers, short int) *Placement {
	t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		p, err := b.Placement(t.Context())
		must(t, err)
		if len(p.Servers) == servers && len(p.Short) == short && p.Streams > 0 {
			return p
		}
		if time.Now().After(deadline) {
			t.Fatalf("it stays so: %+v", p)
		}
		<-time.After(50 * time.Millisecond)
	}
}

// remove removes a server as soon as the others know that it is away.
func (c *nodes) remove(by *Bus, i int) {
	c.t.Helper()
	for deadline := time.Now().Add(time.Minute); ; <-time.After(50 * time.Millisecond) {
		err := by.RemoveServer(c.t.Context(), fmt.Sprint("n", i))
		if err == nil {
			return
		}
		if !errors.Is(err, ErrThere) || time.Now().After(deadline) {
			c.t.Fatal(err)
		}
	}
}

// Whoever is started first knows of fewer servers than come later, and keeps its list.
func TestStreamsGetMoreCopiesAsServersCome(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]int{"1 to 3": 1, "2 to 3": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := planned(t, 4, func(i int, o *Options) {
				o.Cluster.Grow, o.Cluster.NoStore = true, i == 3
				if i == 3 {
					o.Cluster.Replicas = first
					return // its list is whole: nobody tells it of others here
				}
				o.Cluster.Replicas, o.Cluster.Peers = max(first, i+1), o.Cluster.Peers[:max(1, i)]
				if i == 0 && first == 1 {
					o.Cluster.Sole, o.Cluster.Peers = true, []string{o.Cluster.Listen}
				}
			})
			c.start(append([]int{0, 1}[:first], 3)...)
			w := &writerOf{t: t, log: shardLog(t, c.bus[3], 0), acked: map[uint64]string{}}
			openTable(t, c.bus[0]) // none of those that come opens it
			w.write(20)
			for i := first; i < 3; i++ {
				c.start(i)
				w.write(20)
			}
			placed(t, c.bus[2], 3)
			placed(t, c.bus[3], 3) // which keeps nothing, and can tell all the same
			c.stop(1)
			w.write(20)
			w.check(shardLog(t, c.bus[2], 0))
			// Who starts anew with its old list takes nothing away.
			c.start(1)
			openTable(t, c.bus[1])
			if p := placed(t, c.bus[1], 3); p.Streams != 2 || p.groups[w.log.name].want != 3 {
				t.Errorf("%+v", p)
			}
		})
	}
}

func TestAServerThatIsGoneIsReplacedByOneOfAnotherName(t *testing.T) {
	t.Parallel()
	c := planned(t, 4, func(i int, o *Options) { o.Cluster.Grow = true })
	whole := c.change
	c.change = func(i int, o *Options) {
		whole(i, o)
		o.Cluster.Peers = o.Cluster.Peers[:2] // the fourth is in nobody's list
	}
	c.start(0, 1, 2)
	w := &writerOf{t: t, log: shardLog(t, c.bus[0], 0), acked: map[uint64]string{}}
	openTable(t, c.bus[1])
	w.write(50)
	placed(t, c.bus[0], 3)
	wantErr(t, c.bus[0].RemoveServer(t.Context(), "n2"), ErrThere)
	wantErr(t, c.bus[0].RemoveServer(t.Context(), "n7"), ErrNoServer)

	c.cut(2, true)
	c.stop(2)
	c.start(3)
	w.write(20)
	placedBut(t, c.bus[3], 4, 2) // as soon as that the third is away is known
	began := time.Now()
	c.remove(c.bus[3], 2)
	for _, s := range placed(t, c.bus[1], 3).Servers {
		if s.Streams != 2 || s.Behind != 0 || s.Offline || s.Name == "n2" {
			t.Errorf("%+v", s)
		}
	}
	t.Logf("removed, and copied, after %s", time.Since(began))
	w.write(20)
	c.cut(1, true)
	w.write(20)
	w.check(shardLog(t, c.bus[3], 0))
	t.Logf("%d acknowledged, %d not: lost 0, duplicated 0", len(w.acked), w.failed)
	c.cut(1, false)
	must(t, os.RemoveAll(c.dirs[2]))
}

// Removed first, and replaced later: what lacks a copy gets it when there is where.
func TestAServerThatComesAfterARemovalGetsCopies(t *testing.T) {
	t.Parallel()
	c := planned(t, 4, func(i int, o *Options) { o.Cluster.Grow = true; o.Cluster.Peers = o.Cluster.Peers[:2] })
	c.start(0, 1, 2)
	w := &writerOf{t: t, log: shardLog(t, c.bus[0], 0), acked: map[uint64]string{}}
	w.write(20)
	c.stop(2)
	c.remove(c.bus[1], 2)
	p, err := c.bus[0].Placement(t.Context())
	must(t, err)
	if len(p.Servers) != 2 || len(p.Short) != 1 || p.groups[w.log.name].want != 3 {
		t.Errorf("%+v", p)
	}
	w.write(20)
	short := func() (n int) {
		for _, b := range c.bus {
			if b != nil {
				n += b.Short()
			}
		}
		return n
	}
	for deadline := time.Now().Add(time.Minute); short() != 1; <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody says that it is short of a copy")
		}
	}
	c.start(3)
	placed(t, c.bus[3], 3)
	for deadline := time.Now().Add(time.Minute); short() != 0; <-time.After(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("it is still said to be short of a copy")
		}
	}
	c.stop(0)
	w.log = shardLog(t, c.bus[1], 0)
	w.write(20)
	w.check(shardLog(t, c.bus[3], 0))
}

// Those that are left were started anew, and have never heard of the one that is gone.
func TestThoseThatAreLeftMayHaveFewerCopiesWhenTold(t *testing.T) {
	t.Parallel()
	told := false
	c := planned(t, 3, func(_ int, o *Options) {
		if o.Cluster.Grow = !told; told {
			o.Cluster.Replicas = 2
		}
	})
	c.start(0, 1, 2)
	w := &writerOf{t: t, log: shardLog(t, c.bus[0], 0), acked: map[uint64]string{}}
	openTable(t, c.bus[0])
	w.write(20)
	placed(t, c.bus[0], 3)
	for i := range 3 {
		c.stop(i)
	}
	c.start(0, 1)
	w.log = shardLog(t, c.bus[0], 0)
	openTable(t, c.bus[0])
	w.write(20)
	c.remove(c.bus[0], 2)
	if p, err := c.bus[1].Placement(t.Context()); err != nil || len(p.Servers) != 2 || len(p.Short) != 2 || len(p.Due) > 0 {
		t.Errorf("%+v, %v", p, err)
	}
	told = true
	for i := range 2 {
		c.stop(i)
		c.start(i)
		w.log = shardLog(t, c.bus[i], 0)
		openTable(t, c.bus[i])
		w.write(20)
	}
	if p := placed(t, c.bus[0], 2); p.groups[w.log.name].want != 2 {
		t.Errorf("%+v", p)
	}
	w.check(shardLog(t, c.bus[0], 0))
}

// Nobody may take away what has the only copy of something.
func TestAServerWithTheOnlyCopyIsNotRemoved(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, func(_ int, o *Options) { o.Cluster.Replicas = 1; quick(0, o) })
	l := shardLog(t, c.bus[0], 0)
	fill(t, l, 0, 5, 100)
	leader := c.leader(0)
	other := c.bus[(leader+1)%3]
	c.stop(leader)
	for deadline := time.Now().Add(time.Minute); ; <-time.After(50 * time.Millisecond) {
		err := other.RemoveServer(t.Context(), fmt.Sprint("n", leader))
		if errors.Is(err, ErrLoses) {
			t.Log(err)
			break
		}
		if err == nil || time.Now().After(deadline) {
			t.Fatalf("removed: %v", err)
		}
	}
	c.start(leader)
	wantLog(t, shardLog(t, c.bus[leader], 0), 1, 5, 100)
}

func TestTheLogSaysNowAndThenWhatLacksCopies(t *testing.T) {
	var said bytes.Buffer
	e := &engine{opts: &Options{Logger: slog.New(slog.NewTextHandler(&said, nil))}}
	var s shortage
	now := time.Now()
	lines := func() int { return strings.Count(said.String(), "\n") }
	for _, step := range []struct {
		after time.Duration
		short []string
		said  int
	}{
		{0, []string{"a"}, 0}, {shortGrace - 1, []string{"a"}, 0}, {0, nil, 0}, // a node was started anew
		{0, []string{"a"}, 0}, {shortGrace, []string{"a", "b"}, 1}, {shortAgain - 1, []string{"b"}, 1}, {1, []string{"b"}, 2},
		{1, nil, 3}, {1, nil, 3},
	} {
		now = now.Add(step.after)
		e.sayShort(now, &s, step.short, []string{"n3"})
		if lines() != step.said {
			t.Fatalf("%+v: %s", step, said.String())
		}
	}
	if !strings.Contains(said.String(), "streams=2 first=a away=n3") {
		t.Error(said.String())
	}
}
