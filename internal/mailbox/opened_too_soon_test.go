package mailbox

import (
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// A keeper that is opened while the one before it still writes has not read all of the
// log, and finds out when that refuses it. What its sessions were given meanwhile is not
// lost: it is not delivered to them once more.
func TestAKeeperThatWasOpenedTooSoonGivesNothingTwice(t *testing.T) {
	s := newShard(defaultTuning())
	id, err := wire.NewID(s.now, rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	session := Session{ID: id, User: "ANZ-2", Push: true, Outlet: nobody{}}
	s.open(s.now, session)
	ledger := NewLedger(session)
	ledger.Opened(0)
	send := func(n int) {
		s.accept(s.now, &Message{From: "ANZ-3", To: []wire.UserID{"ANZ-2"}, Frame: fmt.Appendf(nil, "%d", n)})
		s.store()
		for _, e := range s.effects {
			if e.kind == effDeliver {
				ledger.Deliver(e.delivery)
			}
		}
		s.forgetEffects()
	}
	open := func() *core {
		next := newCore(wire.ID{}, s.limits, rand.Reader, s.tune)
		for i, batch := range s.batches {
			if err := next.replay(uint64(i+1), batch); err != nil {
				t.Fatal(err)
			}
		}
		_, ord, err := openBatch(s.batches[len(s.batches)-1])
		if err != nil {
			t.Fatal(err)
		}
		next.takeOver(uint64(len(s.batches)), ord)
		return next
	}
	send(1)
	early := open()
	send(2)
	send(3)
	early.reopen(s.now, ledger.Held())
	early.lose(ErrFenced, true)
	next := open()
	next.adopt(s.now, early)
	s.core = next
	s.store()
	for len(s.reads) > 0 {
		list := s.reads
		s.reads = nil
		for _, seq := range list {
			s.loaded(s.now, seq, s.batches[seq-1])
		}
	}
	for _, e := range s.effects {
		if e.kind == effDeliver {
			t.Errorf("%s is delivered twice", e.delivery.Frame)
		}
	}
	s.forgetEffects()
	s.proof(s.now, id, 3)
	s.store()
	if n := s.counts.waiting; n > 0 {
		t.Errorf("%d messages wait, and all are proved", n)
	}
	send(4)
	if n := s.sessions[id].nextN; n != 5 {
		t.Errorf("the next delivery is number %d", n)
	}
}
