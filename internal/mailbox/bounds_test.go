package mailbox

import (
	"context"
	"crypto/rand"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// deaf is an outlet that nobody listens at.
type deaf struct{}

func (deaf) Deliver(Delivery) {}
func (deaf) FetchDone(int)    {}
func (deaf) Settled(uint64)   {}
func (deaf) Opened(uint64)    {}

// What one user causes at once, however large the references that have to be
// repeated, never makes a batch that the log does not take.
func TestNoBatchGrowsBeyondItsSize(t *testing.T) {
	const most = 512 << 10
	now := time.Unix(1_700_000_000, 0)
	newTestCore := func() *core {
		c := newCore(wire.ID{}, Limits{Age: time.Hour, Messages: 10_000, Bytes: 64 << 20}, rand.Reader, defaultTuning())
		c.takeOver(0, 1)
		return c
	}
	store := func(c *core) (batches int) {
		for last, batch := c.journal.next(); batch != nil; last, batch = c.journal.next() {
			if len(batch) > most {
				t.Fatalf("a batch has %d bytes", len(batch))
			}
			batches++
			c.stored(now, last+1)
			c.effects = c.effects[:0]
		}
		return batches
	}
	send := func(c *core, ttl time.Duration) {
		for i := range 1000 {
			c.accept(now, &Message{
				From: "A-1", To: []wire.UserID{"A-2"}, Frame: []byte("{}"), Confirm: true, TTL: ttl,
				Reference: fmt.Appendf(nil, `"%04d%s"`, i, strings.Repeat("r", 8200)),
			})
		}
		store(c)
	}

	t.Run("a thousand messages that expire in one second", func(t *testing.T) {
		c := newTestCore()
		send(c, time.Second)
		for range 1000 {
			now = now.Add(time.Second)
			c.tick(now)
			for _, seq := range c.reads {
				c.loaded(now, seq, c.cache.batches[seq])
			}
			c.reads = c.reads[:0]
			store(c)
			if c.users["A-2"] == nil {
				break
			}
		}
		if u := c.users["A-1"]; c.counts.expired != 1000 || u == nil || u.waiting != 1000 {
			t.Fatalf("%d messages expired, lost %d", c.counts.expired, c.counts.lost)
		}
	})

	t.Run("one acknowledgement for a thousand messages", func(t *testing.T) {
		c := newTestCore()
		id := wire.ID{1}
		c.open(now, Session{ID: id, User: "A-2", Ack: true, Outlet: deaf{}})
		send(c, 0)
		s := c.sessions[id]
		for len(s.flight) < 1000 {
			before := len(s.flight)
			c.pass(now, id, s.nextN-1)
			if len(s.flight) == before {
				t.Fatalf("only %d messages were handed over", before)
			}
		}
		c.proof(now, id, s.nextN-1)
		if n := store(c); n < 10 || c.counts.proved != 1000 {
			t.Fatalf("%d batches, %d proved", n, c.counts.proved)
		}
		if u := c.users["A-1"]; u == nil || u.waiting != 1000 {
			t.Fatal("not every sender is told")
		}
	})
}

// headless is a log whose first batches are gone though they mattered.
type headless struct {
	Log
	last []byte
}

func (headless) Bounds(context.Context) (first, last, bytes uint64, err error) { return 5, 9, 100, nil }
func (h headless) Read(context.Context, uint64) ([]byte, error)                { return h.last, nil }

func TestALogWithoutItsHeadIsRefused(t *testing.T) {
	batch := newBatch(nil)
	sealBatch(batch, 3, 40)
	_, err := Open(t.Context(), Options{Log: headless{last: batch}, Now: time.Now, Random: rand.Reader})
	if err == nil || !strings.Contains(err.Error(), "begins at batch 5, but batch 3 still mattered") {
		t.Fatalf("got %v", err)
	}
}

// All mailboxes together hold no more than their limit; what is refused is told,
// or counted.
func TestWhatWaitsInAllIsBounded(t *testing.T) {
	c := newCore(wire.ID{}, Limits{Age: time.Hour, Messages: 100, Bytes: 1 << 20, Waiting: 2}, rand.Reader, defaultTuning())
	c.takeOver(0, 1)
	now := time.Unix(1_800_000_000, 0)
	c.accept(now, &Message{To: []wire.UserID{"ANZ-1", "ANZ-2"}, Group: true})
	c.effects = nil
	c.accept(now, &Message{To: []wire.UserID{"ANZ-3"}})
	if len(c.effects) != 2 || c.effects[0].failure == nil || c.effects[0].failure.Code != wire.CodeStoreFull || c.effects[1].kind != effDone {
		t.Errorf("the third is answered with %+v", c.effects)
	}
	c.accept(now, &Message{To: []wire.UserID{"ANZ-3"}, Notice: true})
	if c.counts.waiting != 2 || c.counts.refused != 1 || c.users["ANZ-3"] != nil {
		t.Errorf("%d wait, %d notices are refused", c.counts.waiting, c.counts.refused)
	}
	c.limits.Waiting = 3
	c.effects = nil
	if c.accept(now, &Message{To: []wire.UserID{"ANZ-3"}}); c.counts.waiting != 3 || len(c.effects) > 0 {
		t.Errorf("with room again: %d wait, %+v", c.counts.waiting, c.effects)
	}
}

// What was given back to a session, and cannot be read for a while, comes when it
// can.
func TestWhatIsGivenBackAndCannotBeReadComesLater(t *testing.T) {
	w := newWorld(t, defaultTuning(), Limits{Age: time.Hour, Messages: 100, Bytes: 1 << 20})
	w.send(letter{from: "ANZ-1", to: []wire.UserID{"ANZ-2"}})
	w.store()
	a, b := w.open("ANZ-2", options{}), w.open("ANZ-2", options{})
	w.store()
	w.fetch(a, 1)
	w.forget()
	w.close(a)
	if len(w.reads) != 1 {
		t.Fatalf("%d batches are to be read", len(w.reads))
	}
	w.fail(0)
	w.settle()
	if len(b.got) != 0 {
		t.Fatal("it came, though it could not be read")
	}
	w.tick(readAgain + time.Second)
	w.settle()
	if len(b.got) != 1 {
		t.Error("it never came")
	}
}
