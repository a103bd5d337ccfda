package mailbox_test

import (
	"crypto/rand"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// outbox sends the message with a number of one sender's outbox.
func (f *fixture) outbox(producer string, seq uint64, to wire.UserID) *mailbox.Message {
	name := fmt.Sprint(producer, " ", seq)
	m := &mailbox.Message{
		From: "ANZ-100", To: []wire.UserID{to}, Frame: []byte(name), Reference: []byte(name), Receipt: true,
		Producer: producer, Seq: seq, Origin: f.seen, Done: f.seen.note,
	}
	f.Accept(m)
	synctest.Wait()
	time.Sleep(10 * time.Millisecond) // batches may wait for company
	synctest.Wait()
	return m
}

// What is sent again is answered as stored and delivered once, by the keeper that
// took it and by the next, days later.
func TestAnOutboxThatIsSentAgainIsDeliveredOnce(t *testing.T) {
	log := newMemLog()
	inBubble(t, log, nil, func(f *fixture) {
		d := f.open("ANZ-1", false)
		for seq := range uint64(4) {
			f.outbox("phone", seq+1, "ANZ-1")
		}
		f.outbox("laptop", 2, "ANZ-1")
		if m := f.outbox("phone", 3, "ANZ-1"); !m.Repeated {
			t.Error("what comes again is not said to")
		}
		d.want("phone 1", "phone 2", "phone 3", "phone 4", "laptop 2")
		f.wantStored("phone 1", "phone 2", "phone 3", "phone 4", "laptop 2", "phone 3")
		d.prove()
		d.wantSettled(5)
	})
	inBubble(t, log, nil, func(f *fixture) {
		time.Sleep(72 * time.Hour)
		d := f.open("ANZ-1", true)
		for seq := range uint64(6) {
			f.outbox("phone", seq+1, "ANZ-1")
		}
		f.outbox("laptop", 1, "ANZ-1") // it went to another shard's user before, or was refused
		d.want("phone 5", "phone 6", "laptop 1")
		f.wantDone(7)
	})
}

// What was refused is not taken for accepted, whatever was accepted after it.
func TestARefusedMessageOfAnOutboxCanBeSentAgain(t *testing.T) {
	inBubble(t, newMemLog(), func(o *mailbox.Options) { o.Limits.Messages = 2 }, func(f *fixture) {
		f.outbox("phone", 1, "ANZ-1")
		f.outbox("phone", 2, "ANZ-1")
		f.outbox("phone", 3, "ANZ-1")
		f.wantFailed("phone 3", wire.CodeMailboxFull, false)
		f.outbox("phone", 4, "ANZ-2")
		d := f.open("ANZ-1", true)
		d.want("phone 1", "phone 2")
		d.prove()
		d.wantSettled(2)
		for seq := range uint64(4) {
			f.outbox("phone", seq+1, "ANZ-1")
		}
		d.want("phone 1", "phone 2", "phone 3")
	})
}

// What comes over links may be far behind, since others were faster on another road,
// and is taken all the same; what comes again on another road is not.
func TestWhatIsFarBehindOnALinkIsTaken(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		d := f.open("ANZ-1", false)
		place := uint64(0)
		over := func(road string, seq uint64) {
			t.Helper()
			place++
			name := fmt.Sprint("phone ", seq)
			id, err := wire.NewID(time.Now(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			f.Accept(&mailbox.Message{
				ID: id, Via: road, Place: place, Low: 1, From: "ANZ-100", To: []wire.UserID{"ANZ-1"},
				Frame: []byte(name), Producer: "phone", Seq: seq, Origin: f.seen, Done: f.seen.note,
			})
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
			synctest.Wait()
		}
		over("fast", 1000)
		over("slow", 1)   // before the last 512 of 1000
		over("fast", 513) // has the place of 1 among the last 512, and was not sent yet
		over("slow", 513)
		over("slow", 1000)
		d.want("phone 1000", "phone 1", "phone 513")
	})
}

// A message so old that nobody remembers it exactly counts as accepted.
func TestWhatIsFarBehindInAnOutboxCountsAsAccepted(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		d := f.open("ANZ-1", false)
		f.outbox("phone", 1000, "ANZ-1")
		f.outbox("phone", 1000-511, "ANZ-1")
		f.outbox("phone", 1000-512, "ANZ-1")
		f.outbox("phone", 1, "ANZ-1")
		d.want("phone 1000", "phone 489")
		f.wantStored("phone 1000", "phone 489", "phone 488", "phone 1")
	})
}

// So many outboxes are remembered; the one that was used longest ago is forgotten
// first, also after a restart.
func TestOutboxesAreBounded(t *testing.T) {
	log := newMemLog()
	few := func(o *mailbox.Options) { o.Limits.Producers = 2 }
	inBubble(t, log, few, func(f *fixture) {
		d := f.open("ANZ-1", false)
		f.outbox("a", 1, "ANZ-1")
		time.Sleep(time.Second)
		f.outbox("b", 1, "ANZ-1")
		time.Sleep(time.Second)
		f.outbox("a", 2, "ANZ-1")
		f.outbox("c", 1, "ANZ-1") // b goes
		f.outbox("a", 1, "ANZ-1")
		d.want("a 1", "b 1", "a 2", "c 1")
	})
	inBubble(t, log, few, func(f *fixture) {
		d := f.open("ANZ-1", false)
		f.outbox("b", 1, "ANZ-1")
		f.outbox("c", 1, "ANZ-1")
		d.want("b 1")
	})
}

// An outbox is remembered when all that was sent of it is long gone from the log.
func TestAnOutboxOutlivesItsMessages(t *testing.T) {
	log := newMemLog()
	inBubble(t, log, nil, func(f *fixture) {
		f.outbox("phone", 7, "ANZ-1")
		d := f.open("ANZ-1", true)
		for i := range 2000 {
			f.send(fmt.Sprint(i), "ANZ-1", 60_000)
			time.Sleep(10 * time.Millisecond)
			d.prove()
			if i%100 == 0 {
				time.Sleep(time.Second)
			}
		}
	})
	if log.first < 10 {
		t.Fatal("the head of the log is still there")
	}
	inBubble(t, log, nil, func(f *fixture) {
		f.outbox("phone", 7, "ANZ-1")
		f.open("ANZ-1", true).want()
	})
}
