package match

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestTwoDevicesMeetTalkAndPart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1", "n2")
		r.own(0, "n1")
		a, b := r.open("n1", "a"), r.open("n2", "b")
		a.ask(t, anyone)
		settle(time.Millisecond)
		a.expect(t, "waiting")
		b.ask(t, anyone)
		settle(time.Millisecond)
		a.expect(t, "matched [b]")
		b.expect(t, "waiting", "matched [a]")
		must(t, a.Send(a.in().ID, nil, []byte("ciao")))
		must(t, b.Send(b.in().ID, []string{"a"}, []byte("salve")))
		settle(time.Millisecond)
		b.expect(t, "a: ciao")
		a.expect(t, "b: salve")
		must(t, a.Leave(a.in().ID, []byte("r1")))
		settle(time.Millisecond)
		a.expect(t, "left r1 0")
		b.expect(t, "a left [] true")
		if err := b.Send(r.nodes["n1"].room.mustID(t), nil, nil); err == nil {
			t.Fatal("one can send into a match in which one is not")
		}
	})
}

func (r *Room) mustID(t *testing.T) wire.ID {
	id, err := r.newID()
	must(t, err)
	return id
}

func TestADeviceWhosePeerIsGoneTakesPartAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1")
		r.own(0, "n1")
		q := anyone
		q.Again = true
		a, b, c := r.open("n1", "a"), r.open("n1", "b"), r.open("n1", "c")
		a.ask(t, q)
		b.ask(t, q)
		settle(time.Millisecond)
		c.ask(t, q)
		b.Close()
		settle(time.Millisecond)
		a.expect(t, "waiting", "matched [b]", "b left [] true", "waiting", "matched [c]")
		c.expect(t, "waiting", "matched [a]")
		b.expect(t, "waiting", "matched [a]")
	})
}

func TestATicketIsCanceledTimesOutOrIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1", "n2")
		r.own(0, "n1")
		a := r.open("n1", "a")
		must(t, a.Cancel(a.ask(t, anyone), []byte("r")))
		settle(time.Millisecond)
		a.expect(t, "waiting", "canceled r 0")
		q := anyone
		q.Timeout = 3 * time.Second
		a.ask(t, q)
		again := r.open("n2", "a")
		settle(time.Millisecond)
		q.Reference = []byte("mine")
		again.ask(t, q)
		settle(time.Millisecond)
		again.expect(t, "refused mine CONFLICT")
		settle(4 * time.Second)
		a.expect(t, "waiting", "timed out")
		q.Replace = true
		a.ask(t, q)
		settle(time.Millisecond)
		again.ask(t, q)
		settle(time.Millisecond)
		a.expect(t, "waiting", "canceled  1")
		again.expect(t, "waiting")
	})
}

func TestACancelThatComesTooLateIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1", "n2")
		r.own(0, "n1")
		a, b := r.open("n1", "a"), r.open("n2", "b")
		a.ask(t, anyone)
		settle(time.Millisecond)
		held := &heldTells{next: r.nodes["n1"], match: true}
		r.nodes["n1"].room.Attach(held)
		ticket := b.ask(t, anyone)
		settle(time.Millisecond)
		b.expect(t, "waiting")
		must(t, b.Cancel(ticket, []byte("r")))
		settle(time.Millisecond)
		held.release()
		settle(time.Millisecond)
		b.expect(t, "matched [a]", "refused r CONFLICT")
	})
}

// The match is made and over before it is stored.
func TestACancelWhileAMatchIsStoredIsAnsweredAfterTheMatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1", "n2")
		r.own(0, "n1")
		a, b := r.open("n2", "a"), r.open("n1", "b")
		ticket := a.ask(t, anyone)
		settle(time.Millisecond)
		a.expect(t, "waiting")
		r.logs[0].fault = func(batch int) (bool, error) {
			r.logs[0].fault = nil
			return false, errors.New("not yet")
		}
		b.ask(t, anyone)
		settle(time.Millisecond)
		b.Close()
		settle(time.Millisecond)
		must(t, a.Cancel(ticket, []byte("r")))
		settle(time.Millisecond)
		a.expect(t)
		settle(10 * time.Second)
		a.expect(t, "matched [b]", "refused r CONFLICT", "b left [] true")
	})
}

func TestANewOwnerHasTheTicketsAndTheMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1", "n2", "n3")
		r.own(0, "n1")
		pair := func(key string) Request { q := anyone; q.Key = key; return q }
		a, b, c, d := r.open("n2", "a"), r.open("n3", "b"), r.open("n2", "c"), r.open("n1", "d")
		a.ask(t, pair("1"))
		b.ask(t, pair("1"))
		c.ask(t, pair("2"))
		d.ask(t, pair("3"))
		lonely := r.open("n2", "lonely")
		lonely.ask(t, pair("4"))
		other := r.open("n1", "other")
		other.ask(t, pair("4"))
		settle(time.Millisecond)
		lonely.expect(t, "waiting", "matched [other]")
		r.kill("n1")
		r.own(0, "n2")
		settle(time.Millisecond)
		a.expect(t, "waiting", "matched [b]")
		c.expect(t, "waiting")
		lonely.expect(t, "other left [] true")
		e := r.open("n3", "e")
		e.ask(t, pair("2"))
		must(t, b.Leave(b.in().ID, nil))
		settle(time.Millisecond)
		c.expect(t, "matched [e]")
		a.expect(t, "b left [] true")
	})
}

// Whatever the log says, what is told is in it, and nobody is in two matches.
func TestALogThatFailsMakesNoSecondMatch(t *testing.T) {
	for name, fault := range map[string]func(int) (bool, error){
		"not stored":       func(n int) (bool, error) { return n%2 == 0, map[bool]error{false: errors500}[n%2 == 0] },
		"stored, unknown":  func(n int) (bool, error) { return true, map[bool]error{true: ErrUnknown}[n%3 == 0] },
		"neither, unknown": func(n int) (bool, error) { return n%3 != 0, map[bool]error{true: ErrUnknown}[n%3 == 0] },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, 1, "n1", "n2")
				r.logs[0].fault = fault
				r.own(0, "n1")
				everyPairIsMade(t, r, 50, func(i int) string { return r.alive()[i%2] }, func(int) {})
			})
		})
	}
}

// A log that stores nothing for an hour is no reason to write two lines a second.
func TestALogThatStoresNothingIsSpokenOfNowAndThen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1")
		r.own(0, "n1")
		settle(time.Second)
		before := r.said.n.Load()
		r.logs[0].fails(func(int) (bool, error) { return false, errors500 })
		r.open("n1", "a").ask(t, anyone)
		r.open("n1", "b").ask(t, anyone)
		settle(time.Minute)
		if n := r.said.n.Load() - before; n < 2 || n > 7 {
			t.Errorf("in a minute there are %d lines about it", n)
		}
		r.logs[0].fails(nil)
		before = r.said.n.Load()
		settle(time.Minute)
		if n := r.said.n.Load() - before; n != 1 {
			t.Errorf("afterwards there are %d lines, not one", n)
		}
	})
}

var errors500 = fmt.Errorf("no room")

// everyPairIsMade has devices, an even number, come one after another, and expects all
// who live in the end to be in pairs, which both sides know the same.
func everyPairIsMade(t *testing.T, r *rig, n int, at func(i int) string, between func(i int)) {
	var all []*device
	where := make(map[*device]string)
	for i := range n {
		d := r.open(at(i), fmt.Sprint("d", i))
		where[d] = at(i)
		q := anyone
		q.Again = true
		d.ask(t, q)
		all = append(all, d)
		if rand.IntN(3) == 0 {
			settle(time.Millisecond)
		}
		between(i)
	}
	settle(20 * time.Second)
	inMatch := make(map[string]string)
	free := 0
	for _, d := range all {
		if !slices.Contains(r.alive(), where[d]) {
			continue // it died
		}
		for _, line := range d.news() {
			if line == "MATCHED TWICE" {
				t.Fatalf("%s is in two matches", d.device)
			}
		}
		if m := d.in(); (m.ID != wire.ID{}) {
			inMatch[d.device] = m.Peers[0].Device
		} else {
			free++
		}
	}
	for a, b := range inMatch {
		if inMatch[b] != a {
			t.Fatalf("%s believes to be with %s, who is with %q", a, b, inMatch[b])
		}
	}
	if free > 1 {
		t.Fatalf("%d are alone, %d in matches", free, len(inMatch))
	}
}

func TestEveryPossiblePairIsMadeThoughOwnersAreKilled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1", "n2", "n3", "n4")
		r.own(0, "n1")
		everyPairIsMade(t, r, 400, func(i int) string { alive := r.alive(); return alive[i%len(alive)] }, func(i int) {
			switch i {
			case 150:
				r.kill("n1")
				r.own(0, "n2")
			case 250:
				r.kill("n2")
				settle(3 * time.Second)
				r.own(0, "n3")
			}
		})
	})
}

// The old owner goes on: it does not know that it is none.
func TestOfTwoOwnersOnlyOneMakesMatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1", "n2", "n3")
		r.own(0, "n1")
		everyPairIsMade(t, r, 300, func(i int) string { return r.alive()[i%3] }, func(i int) {
			if i%40 == 39 {
				r.own(0, r.alive()[i/40%3])
			}
		})
	})
}

func TestALinkThatBreaksLosesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1", "n2", "n3")
		r.own(0, "n1")
		everyPairIsMade(t, r, 300, func(i int) string { return r.alive()[i%3] }, func(i int) {
			n := r.nodes[r.alive()[1+i/30%2]]
			if i%30 == 10 {
				r.mu.Lock()
				n.cut = true
				r.mu.Unlock()
			}
			if i%30 == 20 {
				r.mu.Lock()
				n.cut = false
				r.mu.Unlock()
				n.room.Moved(0)
			}
		})
	})
}

func TestWhenNobodyServesAPoolATicketIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1")
		a := r.open("n1", "a")
		a.ask(t, anyone)
		settle(15 * time.Second)
		a.expect(t, "refused  BUSY")
	})
}

func TestAMessageWaitsForTheNewsOfItsMatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1", "n2")
		r.own(0, "n1")
		a, b := r.open("n1", "a"), r.open("n2", "b")
		a.ask(t, anyone)
		settle(time.Millisecond)
		held := &heldTells{next: r.nodes["n1"], match: true}
		r.nodes["n1"].room.Attach(held)
		b.ask(t, anyone)
		settle(time.Millisecond)
		a.expect(t, "waiting", "matched [b]")
		must(t, a.Send(a.in().ID, nil, []byte("hello")))
		settle(time.Millisecond)
		b.expect(t, "waiting")
		held.release()
		settle(time.Millisecond)
		b.expect(t, "matched [a]", "a: hello")
	})
}

func TestWhatIsSaidInAnEarlierConversationIsVoid(t *testing.T) {
	c := newCrowd(criteria()["key"])
	now := c.now
	id := c.enter(t, 1, 2)
	c.settle()
	late := append(append(appendRequestHeader(nil, 1, false), cmdGone), id[:]...)
	e := c.draw(1)
	e.id, e.pool, e.device, e.min, e.max = id, Pool{"app", "pool"}, "d", 2, 2
	if answer, err := c.core.take(now, "n", append(appendEntry(appendRequestHeader(nil, 2, true), &e), cmdSynced)); answer != answerTaken || err != nil {
		t.Fatal(answer, err)
	}
	for _, old := range [][]byte{late, append(appendRequestHeader(nil, 1, true), cmdSynced), append(appendRequestHeader(nil, 2, true), cmdSynced)} {
		if answer, err := c.core.take(now, "n", old); answer != answerAgain || err != nil || c.core.tickets[id] == nil {
			t.Errorf("%v is answered with %d, %v", old, answer, err)
		}
	}
}

func TestAnOwnerThatWasFollowedEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1", "n2", "n3")
		r.own(0, "n1")
		a, b := r.open("n2", "a"), r.open("n3", "b")
		a.ask(t, anyone)
		b.ask(t, anyone)
		settle(time.Millisecond)
		r.own(0, "n2") // of which n1 does not hear
		settle(time.Millisecond)
		r.kill("n3") // so both would end the match
		settle(time.Millisecond)
		a.expect(t, "waiting", "matched [b]", "b left [] true")
		r.nodes["n1"].room.Serve(0, "n2", appendRequestHeader(nil, 99, true), func(_ []byte, err error) {
			if err == nil {
				t.Error("an owner that was followed goes on")
			}
		})
	})
}

func TestANewOwnerWaitsForTicketsThatAreOlder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1", "n2", "n3")
		r.own(0, "n1")
		level := func(l int, query string) Request {
			q := anyone
			var err error
			q.Properties = properties(t, fmt.Sprintf(`{"level":%d}`, l))
			q.Query, err = ParseQuery([]byte(query))
			must(t, err)
			return q
		}
		old, young, both := r.open("n3", "old"), r.open("n2", "young"), r.open("n2", "both")
		old.ask(t, level(1, `{"level":5}`))
		settle(time.Millisecond)
		young.ask(t, level(1, `{"level":5}`))
		settle(time.Millisecond)
		r.logs[0].fault = func(int) (bool, error) { return false, errors500 }
		both.ask(t, level(5, `{"level":1}`))
		settle(time.Millisecond)
		r.mu.Lock()
		r.nodes["n3"].cut = true
		r.mu.Unlock()
		r.logs[0].fault = nil
		r.kill("n1")
		r.own(0, "n2")
		settle(time.Second)
		r.mu.Lock()
		r.nodes["n3"].cut = false
		r.mu.Unlock()
		both.expect(t, "waiting")
		r.nodes["n3"].room.Moved(0)
		settle(time.Millisecond)
		both.expect(t, "matched [old]")
		// Nobody is waited for without end.
		r.mu.Lock()
		r.nodes["n3"].cut = true
		r.mu.Unlock()
		r.own(0, "n2")
		other := r.open("n2", "other")
		other.ask(t, level(5, `{"level":1}`))
		settle(3 * time.Second)
		other.expect(t, "waiting", "matched [young]")
	})
}
