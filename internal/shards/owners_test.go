package shards

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// ledger is what the owners of all shards have written, as a log does: under the
// expected length.
type ledger struct {
	mu   sync.Mutex
	rows [][]string // by shard
}

func (l *ledger) length(shard int) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.rows[shard])
}

func (l *ledger) write(shard, expected int, list []string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.rows[shard]) != expected {
		return false
	}
	l.rows[shard] = append(l.rows[shard], list...)
	return true
}

// clerk is a duty: it writes what it is asked to, a batch at a time, and answers with
// where that stands.
type clerk struct {
	node   *testNode
	ledger *ledger
	fail   int // how many times Begin fails

	mu    sync.Mutex
	books map[int]*book
	moved map[int]int
	lost  []string
	told  []string
	again func(shard int) string // what is asked first of a new owner; nil: nothing
	mute  bool                   // it answers nothing
}

type book struct {
	length int
	queue  []entry
	wake   chan struct{}
	ended  bool
	done   chan struct{}
}

type entry struct {
	text   string
	answer func([]byte, error)
}

// Begin implements Duty.
func (c *clerk) Begin(_ context.Context, shard int, _ uint64) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fail > 0 {
		c.fail--
		return errors.New("the log cannot be read")
	}
	b := &book{length: c.ledger.length(shard), wake: make(chan struct{}, 1), done: make(chan struct{})}
	c.books[shard] = b
	go c.run(shard, b)
	return nil
}

// End implements Duty.
func (c *clerk) End(shard int) {
	c.mu.Lock()
	b := c.books[shard]
	delete(c.books, shard)
	b.ended = true
	c.mu.Unlock()
	b.stir()
	<-b.done
}

func (b *book) stir() {
	select {
	case b.wake <- struct{}{}:
	default:
	}
}

func (c *clerk) run(shard int, b *book) {
	defer close(b.done)
	for range b.wake {
		c.mu.Lock()
		list, ended := b.queue, b.ended
		b.queue = nil
		c.mu.Unlock()
		cut := len(list)
		if ended {
			cut /= 2 // the rest is for the next one
		}
		var texts []string
		for _, e := range list[:cut] {
			texts = append(texts, e.text)
		}
		written := c.ledger.write(shard, b.length, texts)
		for i, e := range list {
			switch {
			case i >= cut || !written:
				e.answer(nil, ErrNext)
			default:
				e.answer(fmt.Append(nil, b.length+i), nil)
			}
		}
		b.length += cut
		if ended {
			return
		}
	}
}

// Serve implements Duty.
func (c *clerk) Serve(shard int, from string, request []byte, answer func([]byte, error)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch b := c.books[shard]; {
	case c.mute:
	case string(request) == "who":
		answer([]byte(c.node.id+" for "+from), nil)
	case string(request) == "fail":
		answer(nil, errors.New("no such thing"))
	default:
		b.queue = append(b.queue, entry{string(request), answer})
		b.stir()
	}
}

// Told implements Duty.
func (c *clerk) Told(from string, message []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.told = append(c.told, from+": "+string(message))
}

// Moved implements Duty.
func (c *clerk) Moved(shard int, first func([]byte, func([]byte, error))) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.moved[shard]++
	if c.again != nil {
		first([]byte(c.again(shard)), func([]byte, error) {})
	}
}

// Lost implements Duty.
func (c *clerk) Lost(node string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lost = append(c.lost, node)
}

// clerks has the nodes of a world have clerks.
func (w *world) clerks() (*ledger, map[string]*clerk) {
	l := &ledger{rows: make([][]string, w.shards)}
	all := make(map[string]*clerk)
	var mu sync.Mutex
	w.duty = func(n *testNode) Duty {
		mu.Lock()
		defer mu.Unlock()
		all[n.id] = &clerk{node: n, ledger: l, books: make(map[int]*book), moved: make(map[int]int)}
		return all[n.id]
	}
	return l, all
}

// owned waits until every node knows owners of all shards.
func (w *world) owned() {
	w.t.Helper()
	w.eventually("every shard has an owner", func() bool {
		for _, n := range w.all() {
			for shard := range w.shards {
				if !n.owners.Served(shard) {
					return false
				}
			}
		}
		return true
	})
}

func (w *world) ask(n *testNode, shard int, request string) string {
	w.t.Helper()
	reply, err := n.owners.Ask(w.t.Context(), shard, []byte(request))
	if err != nil {
		w.t.Fatalf("%s asks %q of shard %d: %v", n.id, request, shard, err)
	}
	return string(reply)
}

func TestWhateverNodeIsAskedTheOneThatKeepsTheShardServes(t *testing.T) {
	w := newWorld(t, 4)
	w.clerks()
	nodes := []*testNode{w.node("a"), w.node("b"), w.node("c")}
	w.served()
	w.owned()
	by := map[string]int{}
	for shard := range 4 {
		var owner string
		for _, n := range nodes {
			if slices.Contains(n.owners.Here(), shard) {
				owner = n.id
			}
		}
		by[owner]++
		for _, n := range nodes {
			w.eventually("all know the owner", func() bool { return w.ask(n, shard, "who") == owner+" for "+n.id })
			if _, err := n.owners.Ask(t.Context(), shard, []byte("fail")); err == nil || err.Error() != "no such thing" {
				t.Errorf("what the duty refuses is answered with %v", err)
			}
		}
	}
	if len(by) != 3 {
		t.Errorf("the shards are kept by %v, not by all three nodes", by)
	}
	if _, err := nodes[0].owners.Ask(t.Context(), 0, make([]byte, MaxErrand+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("what is too large is answered with %v", err)
	}
}

func TestWhatIsToldANodeArrivesThereInOrder(t *testing.T) {
	w := newWorld(t, 1)
	_, clerks := w.clerks()
	a, b := w.node("a"), w.node("b")
	w.owned()
	var want []string
	for i := range 100 {
		for _, to := range []string{"a", "b"} {
			if !a.owners.Tell(to, fmt.Append(nil, i)) {
				t.Fatalf("%s cannot be told", to)
			}
		}
		want = append(want, fmt.Sprintf("a: %d", i))
	}
	for _, n := range []*testNode{a, b} {
		c := clerks[n.id]
		w.eventually(n.id+" hears all", func() bool {
			c.mu.Lock()
			defer c.mu.Unlock()
			return slices.Equal(c.told, want)
		})
	}
	w.cut("a", "b")
	if a.owners.Tell("b", []byte("x")) || a.owners.Tell("nobody", []byte("x")) {
		t.Error("who is out of reach was told")
	}
}

// asker asks one thing after the other of a shard, many at a time, and notes what came
// of each.
type asker struct {
	name string
	node *testNode
	n    int

	mu      sync.Mutex
	open    int
	done    map[string]bool
	unknown map[string]bool
	refused map[string]error
}

func newAsker(name string, node *testNode) *asker {
	return &asker{name: name, node: node, done: map[string]bool{}, unknown: map[string]bool{}, refused: map[string]error{}}
}

func (a *asker) ask(shard int) {
	a.n++
	text := fmt.Sprintf("%s %d", a.name, a.n)
	a.mu.Lock()
	a.open++
	a.mu.Unlock()
	a.node.owners.Request(shard, []byte(text), func(_ []byte, err error) {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.open--
		switch {
		case a.done[text] || a.unknown[text] || a.refused[text] != nil:
			panic("answered twice: " + text)
		case err == nil:
			a.done[text] = true
		case errors.Is(err, ErrUnknown):
			a.unknown[text] = true
		default:
			a.refused[text] = err
		}
	})
}

func (a *asker) outstanding() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.open
}

// judge compares what askers were told with what is in the ledger, and each asker's
// order in each shard.
func judge(t *testing.T, l *ledger, askers []*asker, ordered bool) (unknown int) {
	t.Helper()
	l.mu.Lock() // what has no known outcome may yet be written
	defer l.mu.Unlock()
	count := map[string]int{}
	for shard, rows := range l.rows {
		last := map[string]int{}
		for _, text := range rows {
			count[text]++
			from, number, _ := strings.Cut(text, " ")
			var n int
			if _, err := fmt.Sscan(number, &n); err != nil {
				t.Fatal(err)
			}
			if ordered && n <= last[from] {
				t.Fatalf("shard %d has %d of %s after %d", shard, n, from, last[from])
			}
			last[from] = n
		}
	}
	for _, a := range askers {
		unknown += len(a.unknown)
		if len(a.refused) > 0 {
			t.Errorf("%d are refused: one of them with %v", len(a.refused), slices.Collect(maps.Values(a.refused))[0])
		}
		for text := range a.done {
			if count[text] != 1 {
				t.Errorf("%q is answered as done and stands %d times", text, count[text])
			}
		}
		for text := range a.unknown {
			if count[text] > 1 {
				t.Errorf("%q stands %d times", text, count[text])
			}
		}
	}
	return unknown
}

func TestEveryRequestIsDoneOnceWhileDutiesMoveInGoodOrder(t *testing.T) {
	w := newWorld(t, 3)
	l, _ := w.clerks()
	a, b := w.node("a"), w.node("b")
	w.owned()
	askers := []*asker{newAsker("x", a), newAsker("y", b)}
	some := func() {
		for range 200 {
			for _, k := range askers {
				k.ask(rand.IntN(3))
			}
		}
	}
	answered := func() {
		for _, k := range askers {
			w.eventually("everything is answered", func() bool { return k.outstanding() == 0 })
		}
	}
	for round := range 3 {
		some()
		c := w.node(fmt.Sprint("c", round)) // takes one of the shards, in the middle of it
		some()
		w.eventually("the new node has a shard", func() bool { some(); return len(c.owners.Here()) > 0 })
		some()
		c.left.Store(true)
		for _, n := range w.all() {
			n.leases.Stir()
		}
		some()
		w.eventually("the node has no shard any more", func() bool { some(); return len(c.owners.Here()) == 0 })
		answered() // so that they know, or what it said last is lost with its links
		c.end()
		some()
	}
	answered()
	if n := judge(t, l, askers, true); n > 0 {
		t.Errorf("%d requests have no known outcome, though nothing broke", n)
	}
}

func TestNothingIsDoneTwiceOrForgottenWhileLinksBreakAndNodesDie(t *testing.T) {
	w := newWorld(t, 3)
	l, clerks := w.clerks()
	w.node("a")
	w.node("b")
	w.node("c")
	w.owned()
	var askers []*asker
	for _, n := range w.all() {
		askers = append(askers, newAsker("of-"+n.id, n))
	}
	some := func(list []*asker) {
		for range 100 {
			for _, k := range list {
				k.ask(rand.IntN(3))
			}
		}
	}
	for range 20 {
		some(askers)
		ends := [][2]string{{"a", "b"}, {"a", "c"}, {"b", "c"}}[rand.IntN(3)]
		w.cut(ends[0], ends[1])
		some(askers)
		w.mend(ends[0], ends[1])
		some(askers)
	}
	for _, k := range askers {
		w.eventually("everything is answered", func() bool { return k.outstanding() == 0 })
	}
	gone := w.all()[2]
	some(askers[:2])
	gone.end()
	some(askers[:2])
	for _, k := range askers {
		w.eventually("everything is answered", func() bool { return k.outstanding() == 0 })
	}
	t.Logf("%d requests have no known outcome", judge(t, l, askers, true))
	for _, n := range w.all() {
		clerks[n.id].mu.Lock()
		if !slices.Contains(clerks[n.id].lost, "c") {
			t.Errorf("%s was not told that c is gone, but of %v", n.id, clerks[n.id].lost)
		}
		clerks[n.id].mu.Unlock()
	}
}

func TestWhatIsToBeSaidFirstReachesANewOwnerBeforeWhatWaits(t *testing.T) {
	w := newWorld(t, 1)
	l, clerks := w.clerks()
	w.node("a")
	w.owned()
	b := w.node("b")
	w.owned()
	c := clerks["b"]
	c.mu.Lock()
	c.again = func(int) string { return "first 1" }
	c.mu.Unlock()
	w.cut("a", "b")
	k := newAsker("waits", b)
	for range 10 {
		k.ask(0)
	}
	w.mend("a", "b")
	w.eventually("everything is answered", func() bool { return k.outstanding() == 0 })
	l.mu.Lock()
	defer l.mu.Unlock()
	if got := l.rows[0]; len(got) != 11 || got[0] != "first 1" || got[10] != "waits 10" {
		t.Errorf("the owner was asked %q", got)
	}
}

func TestWhatNobodyServesIsRefusedInTimeAndWhatIsNotAnsweredIsUnknown(t *testing.T) {
	w := newWorld(t, 1)
	_, clerks := w.clerks()
	w.node("a")
	w.owned()
	b := w.node("b")
	w.owned()
	clerks["a"].mu.Lock()
	clerks["a"].mute = true
	clerks["a"].mu.Unlock()
	errs := make(chan error, 2)
	note := func(_ []byte, err error) { errs <- err }
	b.owners.Request(0, []byte("x"), note)
	b.owners.Tend(time.Now())
	b.owners.Tend(time.Now().Add(2 * silence))
	if err := <-errs; !errors.Is(err, ErrUnknown) {
		t.Errorf("what is not answered has the outcome %v", err)
	}
	w.cut("a", "b")
	b.owners.Request(0, []byte("x"), note)
	b.owners.Tend(time.Now())
	b.owners.Tend(time.Now().Add(2 * Patience))
	if err := <-errs; !errors.Is(err, ErrNobody) {
		t.Errorf("what nobody serves has the outcome %v", err)
	}
	for range maxWaiting/MaxErrand + 1 {
		b.owners.Request(0, make([]byte, MaxErrand), func(_ []byte, err error) {
			if errors.Is(err, ErrCrowded) {
				errs <- err
			}
		})
	}
	if err := <-errs; !errors.Is(err, ErrCrowded) {
		t.Errorf("what is too much to wait has the outcome %v", err)
	}
}

func TestWhoAsksInVainHearsSoWhenHeStopsWaiting(t *testing.T) {
	w := newWorld(t, 1)
	_, clerks := w.clerks()
	a := w.node("a")
	w.owned()
	clerks["a"].mu.Lock()
	clerks["a"].mute = true
	clerks["a"].mu.Unlock()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := a.owners.Ask(ctx, 0, []byte("x")); !errors.Is(err, ErrUnknown) || !errors.Is(err, context.Canceled) {
		t.Errorf("the outcome is %v", err)
	}
}

func TestANodeThatIsAloneDoesTheDutyAndAnswersForItWhenItEnds(t *testing.T) {
	l := &ledger{rows: make([][]string, 1)}
	c := &clerk{node: &testNode{id: "me"}, ledger: l, fail: 1, books: make(map[int]*book), moved: make(map[int]int)}
	o, err := NewOwners(OwnersOptions{Name: "test", Self: "me", Shards: 1, Duty: c, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		o.Alone(ctx)
	}()
	if reply, err := o.Ask(t.Context(), 0, []byte("x 1")); err != nil || string(reply) != "0" {
		t.Errorf("answered %q, %v", reply, err)
	}
	if mine, err := o.Still(t.Context(), 0); !mine || err != nil {
		t.Errorf("still: %v, %v", mine, err)
	}
	if !o.Tell("me", []byte("hello")) || len(c.told) != 1 {
		t.Error("it cannot tell itself anything")
	}
	c.mu.Lock()
	c.mute = true
	c.mu.Unlock()
	outcome := make(chan error, 1)
	o.Request(0, []byte("x 2"), func(_ []byte, err error) { outcome <- err })
	stop()
	<-done
	if err := <-outcome; !errors.Is(err, ErrUnknown) {
		t.Errorf("what the duty did not answer has the outcome %v", err)
	}
	if mine, _ := o.Still(t.Context(), 0); mine || len(o.Here()) > 0 {
		t.Error("it does the duty still")
	}
}

func TestWhoLostAShardWhileItHeardNothingIsToldSoByTheTable(t *testing.T) {
	w := newWorld(t, 1)
	w.clerks()
	a := w.node("a")
	w.owned()
	a.silent.Store(true)
	a.leases.seat(0) // it has seen itself as the owner
	b := w.node("b")
	a.gone() // the others take it for dead
	w.eventually("the other node does the duty", func() bool { return len(b.owners.Here()) == 1 })
	a.silent.Store(false)
	if mine, err := a.owners.Still(t.Context(), 0); mine || err != nil {
		t.Errorf("still: %v, %v", mine, err)
	}
	if mine, err := b.owners.Still(t.Context(), 0); !mine || err != nil {
		t.Errorf("the owner: still: %v, %v", mine, err)
	}
	a.stop()
	<-a.done
}
