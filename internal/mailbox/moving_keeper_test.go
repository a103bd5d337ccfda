package mailbox_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// returned collects what a keeper gives back.
type returned struct {
	mu   sync.Mutex
	list []*mailbox.Message
}

func (r *returned) take(m *mailbox.Message) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.list = append(r.list, m)
}

func (r *returned) want(f *fixture, names ...string) {
	f.Helper()
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	got := make([]string, len(r.list))
	for i, m := range r.list {
		got[i] = string(m.Reference)
	}
	if !slices.Equal(got, names) {
		f.Fatalf("given back were %q, want %q", got, names)
	}
}

// follow starts the keeper that follows f's on the same log, and registers what
// that held there.
func (f *fixture) follow(change func(*mailbox.Options)) *fixture {
	f.Helper()
	opts := options(f.log)
	if change != nil {
		change(&opts)
	}
	opts.Gather = append(opts.Gather, "")
	next := start(f.T, f.log, opts)
	next.seen = f.seen
	for _, h := range f.Held() {
		next.Reopen(h)
		h.Outlet.(*device).f = next
	}
	next.Registered("")
	return next
}

// A keeper that is to go stores what it has, gives back what comes later, and
// hands its sessions to the next with all that was told of them meanwhile.
func TestAKeeperRetiresInGoodOrder(t *testing.T) {
	var back returned
	inBubble(t, newMemLog(), func(o *mailbox.Options) { o.Returned = back.take }, func(f *fixture) {
		stays, goes := f.open("ANZ-1", false), f.open("ANZ-1", false)
		for i := range 5 {
			f.send(fmt.Sprint(i), "ANZ-1", 0)
		}
		time.Sleep(10 * time.Millisecond) // batches may wait for company
		stays.want("0", "1", "2", "3", "4")
		open := f.log.block()
		f.send("in flight", "ANZ-1", 0)
		synctest.Wait()
		f.send("accepted", "ANZ-1", 0)
		f.Retire()
		synctest.Wait()
		f.send("5", "ANZ-1", 0)
		open()
		f.ended()
		f.send("6", "ANZ-1", 0)
		back.want(f, "5", "6")
		f.wantStored("0", "1", "2", "3", "4", "in flight", "accepted")
		f.Prove(stays.id, 3)
		f.Close(goes.id)
		late := f.open("ANZ-1", true)
		next := f.follow(nil)
		defer next.stop()
		for _, m := range back.list {
			next.Accept(m)
		}
		time.Sleep(10 * time.Millisecond)
		stays.want("0", "1", "2", "3", "4", "in flight", "accepted", "5", "6")
		stays.wantSettled(3)
		late.want("3", "4", "in flight", "accepted", "5", "6")
		next.wantDone(9)
	})
}

// While the link to a session's connector is broken, what was sent may be lost:
// it comes once more, before anything later, and what came does not.
func TestWhatWasLostOnTheWayComesBeforeAnythingLater(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		far := f.openAt("n2", "ANZ-1")
		near := f.open("ANZ-1", false)
		f.send("a", "ANZ-1", 0)
		f.send("b", "ANZ-1", 0)
		f.send("c", "ANZ-1", 0)
		far.want("a", "b", "c")
		f.Detach("n2")
		f.send("d", "ANZ-1", 0)
		time.Sleep(10 * time.Millisecond) // batches may wait for company
		f.wantStored("a", "b", "c", "d")
		near.want("a", "b", "c")
		far.loses(2)
		far.Prove(1)
		f.Reopen(far.Held())
		far.want("a", "b", "c", "d")
		near.want("a", "b", "c", "d")
		f.Registered("n2")
		f.send("e", "ANZ-1", 0)
		time.Sleep(10 * time.Millisecond)
		far.want("a", "b", "c", "d", "e")
	})
}

// What one session proves is still kept for another to which it may be lost.
func TestWhatWasLostComesAlsoIfAnotherSessionProvedIt(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		far := f.openAt("n2", "ANZ-1")
		near := f.open("ANZ-1", false)
		f.send("a", "ANZ-1", 0)
		f.send("b", "ANZ-1", 0)
		far.want("a", "b")
		near.want("a", "b")
		near.prove()
		near.wantSettled(2)
		f.Detach("n2")
		far.loses(1)
		f.Reopen(far.Held())
		far.want("a", "b")
		far.prove()
		time.Sleep(10 * time.Millisecond)
		f.open("ANZ-1", true).want()
	})
}

// Nodes that had sessions at the predecessor are waited for; who does not come is
// closed, and what it had goes to others.
func TestAKeeperGathersSessionsBeforeItDelivers(t *testing.T) {
	log := newMemLog()
	far := new(remote)
	inBubble(t, log, func(o *mailbox.Options) { o.Recover = retired }, func(f *fixture) {
		far = f.openAt("n2", "ANZ-1")
		f.openAt("n3", "ANZ-1")
		f.openAt("n4", "ANZ-1")
		f.send("a", "ANZ-1", 0)
		far.want("a")
		opts := options(log)
		opts.Gather = []string{"n2", "n3"}
		next := start(f.T, log, opts)
		defer next.stop()
		f.send("lost", "ANZ-1", 0)
		f.wantFailed("lost", wire.CodeStoreDown, false)
		f.ends(mailbox.ErrRetired)
		next.send("b", "ANZ-1", 0)
		fresh := next.open("ANZ-1", false)
		synctest.Wait()
		far.f = next
		next.Reopen(far.Held())
		next.Registered("n2")
		far.want("a")
		fresh.want()
		next.CloseNode("n3")
		far.want("a", "b")
		fresh.want("a", "b") // "a" is on its way to another of the user's sessions
	})
}

func retired(context.Context) error { return mailbox.ErrRetired }

// A keeper that another follows learns so when it writes: what it never wrote is
// given back in order, what is keyed is refused, and it ends.
func TestAFencedKeeperGivesBackWhatItNeverWrote(t *testing.T) {
	var back returned
	change := func(o *mailbox.Options) { o.Returned, o.Recover = back.take, retired }
	inBubble(t, newMemLog(), change, func(f *fixture) {
		d := f.open("ANZ-1", false)
		f.send("a", "ANZ-1", 0)
		d.want("a")
		next := start(t, f.log, options(f.log))
		defer next.stop()
		open := f.log.block()
		f.send("b", "ANZ-1", 0)
		f.send("c", "ANZ-1", 0)
		f.AcceptAll(f.request("keyed"), once("k", 1))
		synctest.Wait()
		open()
		f.ends(mailbox.ErrRetired)
		f.send("d", "ANZ-1", 0)
		back.want(f, "b", "c", "d")
		f.wantFailed("keyed", wire.CodeStoreDown, false)
		d.want("a")
		failed := make(chan error, 1)
		f.Forward("x", nil, func(_ uint64, err error) { failed <- err })
		if err := <-failed; err == nil {
			t.Error("a keeper that has ended forwards")
		}
	})
}

// A fenced keeper whose log comes back takes what waited, in order; if it does not
// come back at once, senders hear so.
func TestAFencedKeeperThatKeepsItsLog(t *testing.T) {
	var back returned
	var broken atomic.Bool
	change := func(o *mailbox.Options) {
		o.Returned = back.take
		o.Recover = func(context.Context) error {
			if broken.Load() {
				return errors.New("no majority")
			}
			return nil
		}
	}
	inBubble(t, newMemLog(), change, func(f *fixture) {
		d := f.open("ANZ-1", false)
		synctest.Wait()
		f.log.fail(outcome{mailbox.ErrFenced, false})
		f.send("a", "ANZ-1", 0)
		d.want("a")
		f.wantStored("a")
		broken.Store(true)
		f.log.fail(outcome{mailbox.ErrFenced, false})
		f.send("b", "ANZ-1", 0)
		f.wantFailed("b", wire.CodeStoreDown, false)
		broken.Store(false)
		time.Sleep(2 * time.Second)
		f.send("c", "ANZ-1", 0)
		d.want("a", "c")
		back.want(f)
	})
}

// A keeper whose node does not own the shard for now does nothing at all; when it
// does again, it goes on.
func TestAKeeperThatIsNotValidDoesNothing(t *testing.T) {
	var lost atomic.Bool
	change := func(o *mailbox.Options) { o.Valid = func() bool { return !lost.Load() } }
	inBubble(t, newMemLog(), change, func(f *fixture) {
		d := f.open("ANZ-1", false)
		f.send("a", "ANZ-1", 0)
		d.want("a")
		open := f.log.block()
		f.send("b", "ANZ-1", 0)
		synctest.Wait()
		lost.Store(true)
		open() // it is stored, but this keeper may not know
		f.send("c", "ANZ-1", 0)
		appends := f.log.count(&f.log.appends)
		time.Sleep(10 * time.Second)
		d.want("a")
		f.wantStored("a")
		if n := f.log.count(&f.log.appends); n != appends {
			t.Errorf("it wrote %d times", n-appends)
		}
		lost.Store(false)
		time.Sleep(time.Second)
		d.want("a", "b", "c")
		f.wantStored("a", "b", "c")
	})
}

// remote is a device behind a link, with its connector's ledger.
type remote struct {
	*device
	*mailbox.Ledger
	kept []mailbox.Delivery
}

func (f *fixture) openAt(node string, user wire.UserID) *remote {
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	r := &remote{device: &device{f: f, id: id, ids: make(map[wire.ID]bool)}}
	s := mailbox.Session{ID: id, User: user, Node: node, Outlet: r}
	r.Ledger = mailbox.NewLedger(s)
	f.Open(s)
	return r
}

func (r *remote) Opened(mark uint64) { r.Ledger.Opened(mark) }
func (r *remote) FetchDone(left int) { r.Ledger.FetchDone(); r.device.FetchDone(left) }
func (r *remote) Settled(n uint64)   { r.Ledger.Settled(n); r.device.Settled(n) }
func (r *remote) Deliver(d mailbox.Delivery) {
	r.kept = append(r.kept, d)
	r.Ledger.Deliver(d)
	r.device.Deliver(d)
}

// loses forgets the last n deliveries: they never arrived.
func (r *remote) loses(n int) {
	synctest.Wait()
	kept := r.kept[:len(r.kept)-n]
	h := r.Held()
	r.device.mu.Lock()
	for _, d := range r.kept[len(kept):] {
		delete(r.device.ids, d.ID)
	}
	r.names, r.n, r.kept = r.names[:len(kept)], uint64(len(kept)), nil
	r.device.mu.Unlock()
	r.Ledger = mailbox.NewLedger(h.Session)
	r.Ledger.Opened(h.Mark)
	for _, d := range kept {
		r.kept = append(r.kept, d)
		r.Ledger.Deliver(d)
	}
}
