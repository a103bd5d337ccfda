package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/webhooks"
)

// writerOf appends to a log as a keeper does: when it does not know what became of a
// batch, it looks.
type writerOf struct {
	t      testing.TB
	log    *Log
	last   uint64
	acked  map[uint64]string // what was acknowledged
	next   int               // number of the next batch
	failed int
}

// write appends until n more batches are acknowledged.
func (w *writerOf) write(n int) {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for n > 0 {
		if time.Now().After(deadline) {
			w.t.Fatal("nothing is stored any more")
		}
		w.next++
		text := fmt.Sprint("batch ", w.next)
		seq, err := w.log.Append(w.t.Context(), w.last, []byte(text))
		if err == nil {
			if seq != w.last+1 || w.acked[seq] != "" {
				w.t.Fatalf("batch %q got the sequence %d after %d, which was %q", text, seq, w.last, w.acked[seq])
			}
			w.acked[seq], w.last = text, seq
			n--
			continue
		}
		w.failed++
		w.look()
	}
}

// look finds out where the log ends.
func (w *writerOf) look() {
	w.t.Helper()
	deadline := time.Now().Add(time.Minute)
	for {
		_, last, _, err := w.log.Bounds(w.t.Context())
		if err == nil {
			if last < w.last {
				w.t.Fatalf("the log ends at %d, though %d was acknowledged", last, w.last)
			}
			w.last = last
			return
		}
		if time.Now().After(deadline) {
			w.t.Fatal(err)
		}
	}
}

// check replays the log on a server: everything that was acknowledged is there, and
// nothing twice.
func (w *writerOf) check(l *Log) {
	w.t.Helper()
	w.look()
	seen := map[string]bool{}
	found := 0
	err := l.Replay(w.t.Context(), 1, w.last, func(seq uint64, b []byte) error {
		text := string(b)
		if seen[text] || w.acked[seq] != "" && w.acked[seq] != text {
			return fmt.Errorf("%q is at %d, where %q was acknowledged; seen before: %v", text, seq, w.acked[seq], seen[text])
		}
		seen[text] = true
		if w.acked[seq] != "" {
			found++
		}
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	if found != len(w.acked) {
		w.t.Fatalf("%d of %d acknowledged batches are there", found, len(w.acked))
	}
}

// leader returns the server that leads a log.
func (c *nodes) leader(shard int) int {
	c.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		for i, b := range c.bus {
			if b != nil && shardLog(c.t, b, shard).Leads() {
				return i
			}
		}
	}
	c.t.Fatal("nobody leads it")
	return -1
}

func quick(_ int, o *Options) { o.CallTimeout = 3 * time.Second }

// A cluster whose leader is cut off, killed and wiped, one after the other, loses
// nothing that it has acknowledged and gives no sequence away twice.
func TestAClusterKeepsWhatItAcknowledgedWhateverBecomesOfItsLeader(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, quick)
	writes := func(leader int) *Log { return shardLog(t, c.bus[(leader+1)%3], 0) }
	w := &writerOf{t: t, log: shardLog(t, c.bus[0], 0), acked: map[uint64]string{}}
	w.write(50)
	for _, what := range []string{"cut", "kill", "wipe"} {
		leader := c.leader(0)
		w.log = writes(leader)
		w.look()
		w.write(20)
		c.cut(leader, true)
		began := time.Now()
		w.write(1)
		t.Logf("%s: stored again after %s", what, time.Since(began))
		w.write(20)
		if what != "cut" {
			c.stop(leader) // where nobody hears of it
		}
		if what == "wipe" {
			must(t, os.RemoveAll(c.dirs[leader]))
			must(t, os.Mkdir(c.dirs[leader], 0o700))
		}
		c.cut(leader, false)
		if what != "cut" {
			c.start(leader)
		}
		w.write(20)
		w.check(shardLog(t, c.bus[leader], 0))
	}
	w.check(w.log)
	t.Logf("%d acknowledged, %d not: lost 0, duplicated 0", len(w.acked), w.failed)
}

// A server that is away from the others keeps nothing and tells nobody anything
// stale; what it was given is not stored, or not known to be.
func TestAMinorityStoresNothingAndSaysSo(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, quick)
	for i := range c.bus {
		shardLog(t, c.bus[i], 0)
		openTable(t, c.bus[i])
	}
	leader := c.leader(0)
	alone, other := c.bus[leader], c.bus[(leader+1)%3]
	w := &writerOf{t: t, log: shardLog(t, alone, 0), acked: map[uint64]string{}}
	w.write(10)
	rev, err := openTable(t, alone).Update(t.Context(), "lease", []byte("mine"), 0)
	must(t, err)

	c.cut(leader, true)
	_, err = w.log.Append(t.Context(), w.last, []byte("lost?"))
	if err == nil {
		t.Fatal("a minority has stored a batch")
	}
	t.Logf("append: %v", err)
	began := time.Now()
	_, _, _, err = w.log.Bounds(t.Context())
	if err == nil {
		t.Fatal("a minority says where the log ends")
	}
	t.Logf("bounds after %s: %v", time.Since(began), err)
	if _, err = openTable(t, alone).Update(t.Context(), "lease", []byte("still mine"), rev); err == nil || errors.Is(err, ErrChanged) {
		t.Fatalf("a minority has updated a row: %v", err)
	}
	t.Logf("update: %v", err)
	must(t, alone.Recover(t.Context())) // which does nothing: the server is well
	if _, err = w.log.Append(t.Context(), w.last, []byte("late")); err == nil {
		t.Fatal("a minority has stored a batch")
	}
	t.Logf("append: %v", err)

	taken := &writerOf{t: t, log: shardLog(t, other, 0), acked: w.acked, next: 1000}
	taken.look()
	taken.write(10)
	var theirs uint64
	for {
		row, now, _ := openTable(t, other).Get("lease")
		if theirs, err = openTable(t, other).Update(t.Context(), "lease", []byte("ours"), now); err == nil {
			break
		}
		t.Logf("%q: %v", row, err)
	}
	c.cut(leader, false)
	for {
		_, err = w.log.Append(t.Context(), w.last, []byte("too late"))
		if errors.Is(err, mailbox.ErrFenced) {
			break
		}
		if err == nil {
			t.Fatal("who was replaced could write")
		}
	}
	watch(t, openTable(t, alone)).comes(t, map[string]string{"lease": "ours"})
	if _, now, _ := openTable(t, alone).Get("lease"); now != theirs {
		t.Fatalf("its revision is %d, not %d", now, theirs)
	}
	taken.check(shardLog(t, alone, 0))
}

func TestTwoOfThreeServersAreEnoughToBeginAndTheThirdGetsItsReplicas(t *testing.T) {
	t.Parallel()
	c := planned(t, 3, nil)
	c.start(0, 1)
	w := &writerOf{t: t, log: shardLog(t, c.bus[0], 0), acked: map[uint64]string{}}
	w.write(20)
	c.start(2)
	e, err := c.bus[0].engine()
	must(t, err)
	for {
		info, err := e.info(t.Context(), w.log.name)
		must(t, err)
		if info.Config.Replicas == 3 {
			break
		}
		e.tendOnce()
	}
	w.write(20)
	w.check(shardLog(t, c.bus[2], 0))
}

func TestAServerThatStopsInGoodOrderInterruptsNobody(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, nil)
	w := &writerOf{t: t, log: shardLog(t, c.bus[0], 0), acked: map[uint64]string{}}
	w.write(20)
	for range 3 {
		leader := c.leader(0)
		w.log = shardLog(t, c.bus[(leader+1)%3], 0)
		w.look()
		done := make(chan struct{})
		go func() {
			defer close(done)
			c.stop(leader)
		}()
		began := time.Now()
		w.write(200)
		t.Logf("200 batches in %s, %d attempts failed", time.Since(began), w.failed)
		<-done
		c.start(leader)
	}
	w.check(w.log)
}

func TestAServerWithoutStreamsUsesThoseOfTheOthers(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, func(i int, o *Options) {
		o.Cluster.Replicas = 2
		o.Cluster.NoStore = i == 2
		if i < 2 {
			o.Cluster.Peers = o.Cluster.Peers[:1] // of those that keep streams
		}
	})
	l := shardLog(t, c.bus[2], 0)
	fill(t, l, 0, 20, 1000)
	wantLog(t, shardLog(t, c.bus[0], 0), 1, 20, 1000)
	wantLog(t, l, 1, 20, 1000)
	table := openTable(t, c.bus[2])
	rev, err := table.Update(t.Context(), "a", []byte("1"), 0)
	must(t, err)
	_, err = openTable(t, c.bus[1]).Update(t.Context(), "a", []byte("2"), rev)
	must(t, err)
	watch(t, table).comes(t, map[string]string{"a": "2"})
	if l.Leads() {
		t.Error("it leads a stream")
	}
	must(t, c.bus[2].Health())
	if _, err := os.Stat(c.dirs[2] + "/cluster"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it made a folder: %v", err)
	}
}

// One server alone may keep what all use: it waits for no other at its first start.
// When it is to be one of three, what it has gets its replicas.
func TestOneServerThatKeepsStreamsIsEnoughAndMayBecomeThree(t *testing.T) {
	t.Parallel()
	grown := false
	c := planned(t, 4, func(i int, o *Options) {
		o.Cluster.NoStore = i == 3
		if grown {
			return
		}
		o.Cluster.Replicas, o.Cluster.Sole = 1, i == 0
		if i == 0 {
			o.Cluster.Peers = []string{o.Cluster.Listen}
		} else {
			o.Cluster.Peers = o.Cluster.Peers[:1]
		}
	})
	c.start(3, 0)
	l := shardLog(t, c.bus[3], 0)
	fill(t, l, 0, 20, 1000)
	c.stop(0)
	c.start(0)
	wantLog(t, l, 1, 20, 1000)

	c.stop(0)
	grown = true
	c.start(0, 1, 2)
	l = shardLog(t, c.bus[1], 0)
	wantLog(t, l, 1, 20, 1000)
	for len(c.bus[0].Lacking())+len(c.bus[1].Lacking())+len(c.bus[2].Lacking()) > 0 {
		<-time.After(10 * time.Millisecond)
	}
	fill(t, l, 20, 30, 1000)
	for behind := true; behind; {
		e, err := c.bus[0].engine()
		must(t, err)
		s, err := e.js.Stream(t.Context(), l.name)
		must(t, err)
		list := s.CachedInfo().Cluster.Replicas
		behind = len(list) != 2 || slices.ContainsFunc(list, func(p *jetstream.PeerInfo) bool { return !p.Current })
	}
	c.stop(0)
	wantLog(t, l, 1, 30, 1000)
}

// It is told that it is alone, and comes back by itself.
func TestAnEngineThatIsWellIsNotStartedAnewForWantOfALeader(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, func(_ int, o *Options) { o.CallTimeout, o.StartTimeout = 3*time.Second, time.Minute })
	before, err := c.bus[0].engine()
	must(t, err)
	for c.bus[0].Health() != nil { // which is so until all have heard of the leader
	}
	c.cut(0, true)
	for c.bus[0].Health() == nil {
	}
	t.Log(c.bus[0].Health())
	l, err := c.bus[0].Log(t.Context(), 0)
	if err == nil {
		t.Fatalf("%v was made by a minority", l)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	must(t, c.bus[0].Recover(ctx))
	after, err := c.bus[0].engine()
	must(t, err)
	if before != after {
		t.Fatal("it was started anew")
	}
	c.cut(0, false)
	for c.bus[0].Health() != nil {
	}
}

// Each node adds one to a number in a row, while the leader of the table is cut off:
// the row counts every change that succeeded, and all nodes come to see it.
func TestARowThatManyNodesChangeLosesNoChange(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, quick)
	tables := make([]*Table, 3)
	views := make([]*view, 3)
	for i, b := range c.bus {
		tables[i] = openTable(t, b)
		views[i] = watch(t, tables[i])
	}
	var done, unknown atomic.Int64
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, table := range tables {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				row, rev, _ := table.Get("n")
				n, _ := strconv.Atoi(string(row)) // nothing is 0
				_, err := table.Update(t.Context(), "n", fmt.Append(nil, n+1), rev)
				switch {
				case err == nil:
					done.Add(1)
				case errors.Is(err, mailbox.ErrUnknown):
					unknown.Add(1)
				}
			}
		})
	}
	reach := func(n int64) {
		t.Helper()
		for deadline := time.Now().Add(time.Minute); done.Load() < n; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("only %d changes succeeded", done.Load())
			}
		}
	}
	reach(100)
	leader := -1
	for i, b := range c.bus {
		if e, err := b.engine(); err == nil && e.srv.JetStreamIsStreamLeader(account, tables[0].name) {
			leader = i
		}
	}
	c.cut(max(leader, 0), true)
	reach(done.Load() + 50)
	c.cut(max(leader, 0), false)
	reach(done.Load() + 50)
	close(stop)
	wg.Wait()
	last, err := tables[0].last(t.Context(), "n")
	must(t, err)
	n, err := strconv.ParseInt(string(last.Data), 10, 64)
	must(t, err)
	if n < done.Load() || n > done.Load()+unknown.Load() {
		t.Fatalf("the row says %d; %d changes succeeded, and perhaps %d more", n, done.Load(), unknown.Load())
	}
	for _, v := range views {
		v.comes(t, map[string]string{"n": fmt.Sprint(n)})
	}
	t.Logf("%d changes, %d unknown", done.Load(), unknown.Load())
}

func TestTheHistoryOfWebhooksIsTheSameOnEveryServer(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, nil)
	limits := TrailLimits{Age: time.Hour, Bytes: 64 << 20}
	one, err := c.bus[0].Trail(t.Context(), limits)
	must(t, err)
	other, err := c.bus[1].Trail(t.Context(), limits)
	must(t, err)
	of := webhooks.Name{App: "ANZ", Name: "hook"}
	large := 6 << 20 // as large as they get
	if raceEnabled {
		large = 1 << 20 // or three servers are at it for seconds, and hear nothing of each other
	}
	var last uint64
	for i := range 50 {
		on, off := one, other
		if i%2 == 1 {
			on, off = other, one
		}
		record := batch(uint64(i), 1000)
		if i == 40 {
			record = batch(40, large)
		}
		seq, err := on.Append(t.Context(), of, last, record)
		must(t, err)
		_, err = off.Append(t.Context(), of, last, []byte("late"))
		for errors.Is(err, mailbox.ErrUnknown) { // a busy machine has elected another leader
			_, err = off.Append(t.Context(), of, last, []byte("late"))
		}
		if !errors.Is(err, webhooks.ErrFollowed) {
			t.Fatalf("a record followed one that has been followed: %v", err)
		}
		last = seq
		got, read, err := off.Last(t.Context(), of)
		must(t, err)
		if got != seq || !bytes.Equal(read, record) {
			t.Fatalf("record %d is %d there, and differs", seq, got)
		}
	}
	if _, err := other.Read(t.Context(), last+1); !errors.Is(err, webhooks.ErrGone) {
		t.Fatalf("got %v", err)
	}
}

// The server that feeds a node's table is one of the three: whichever is missing, a
// change is seen soon.
func TestARowIsSeenSoonWhicheverServerIsMissing(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, quick)
	for i := range c.bus {
		openTable(t, c.bus[i])
	}
	want := map[string]string{}
	for away := range 3 {
		c.cut(away, true)
		one, other := openTable(t, c.bus[(away+1)%3]), openTable(t, c.bus[(away+2)%3])
		key := fmt.Sprint("k", away)
		for one.Put(t.Context(), key, []byte("x")) != nil { // an election may be on
		}
		want[key] = "x"
		stored := time.Now()
		v := watch(t, other)
		v.comes(t, want)
		took := time.Since(stored)
		t.Logf("seen after %s", took)
		if took > 2*feedHeartbeat {
			t.Errorf("it was seen after %s only", took)
		}
		c.cut(away, false)
		watch(t, openTable(t, c.bus[away])).comes(t, want)
	}
}
