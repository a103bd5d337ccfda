package bus

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// end is one end of a conversation over a transport that a test makes bad.
type end struct {
	talk
	waiting []string // messages to be sent
	out     []letter // on their way to the other end
	sent    map[[2]uint64][]string
	now     [2]uint64 // the conversation, its own number first; zero while down
	got     int       // how many messages came in it
	ups     int
}

type letter struct {
	packet
	messages []string
}

func newEnd(now time.Time) *end {
	e := &end{sent: map[[2]uint64][]string{}}
	e.begin(now)
	return e
}

// do does what an event leads to, as Links does.
func (e *end) do(t *rapid.T, other *end, does turn, messages []string) {
	if does.down {
		if e.now == ([2]uint64{}) {
			t.Fatal("it went down twice")
		}
		e.now, e.waiting = [2]uint64{}, nil
	}
	if does.up {
		if e.now != ([2]uint64{}) {
			t.Fatal("it went up without going down")
		}
		e.now, e.got = [2]uint64{e.mine, e.theirs}, 0
		e.ups++
	}
	if !does.deliver {
		return
	}
	if e.now == ([2]uint64{}) {
		t.Fatal("something arrived while it is down")
	}
	all := other.sent[[2]uint64{e.now[1], e.now[0]}]
	for _, m := range messages {
		if e.got >= len(all) || all[e.got] != m {
			t.Fatalf("%q arrived as message %d of conversation %v, in which %q were sent", m, e.got, e.now, all)
		}
		e.got++
	}
	e.handled(e.now[0])
}

// speaks puts what is to be said on its way.
func (e *end) speaks(now time.Time) {
	for {
		p, ok := e.speak(len(e.waiting) > 0, now)
		if !ok {
			return
		}
		l := letter{packet: p}
		if p.kind == data {
			l.messages, e.waiting = e.waiting, nil
		}
		e.out = append(e.out, l)
	}
}

func (e *end) send(m string) {
	if !e.up {
		return
	}
	key := [2]uint64{e.mine, e.theirs}
	e.sent[key] = append(e.sent[key], m)
	e.waiting = append(e.waiting, m)
}

// Whatever a transport drops, repeats and holds back, what arrives in a
// conversation is the beginning of what was sent in it; and when it is good again,
// both ends agree on a conversation in which everything arrives.
func TestTwoEndsAgreeWhateverIsLost(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_000_000, 0)
		a, b := newEnd(now), newEnd(now)
		lost := map[[2]uint64]bool{} // conversations of which messages were lost, from the sender's side
		both := []*end{a, b}
		count := 0
		takes := func(from, to *end, repeat int) {
			l := from.out[0]
			for range repeat {
				to.do(t, from, to.hear(l.packet, now), l.messages)
				to.speaks(now)
			}
			from.out = from.out[1:]
		}
		for range rapid.IntRange(0, 300).Draw(t, "events") {
			i := rapid.IntRange(0, 1).Draw(t, "end")
			me, other := both[i], both[1-i]
			switch what := rapid.IntRange(0, 99).Draw(t, "event"); {
			case what < 35:
				count++
				me.send(fmt.Sprint("m", count))
				me.speaks(now)
			case what < 70 && len(me.out) > 0:
				takes(me, other, 1)
			case what < 75 && len(me.out) > 0:
				takes(me, other, 2)
			case what < 82 && len(me.out) > 0:
				if l := me.out[0]; l.kind == data {
					lost[[2]uint64{l.from, l.to}] = true
				}
				me.out = me.out[1:]
			case what < 97:
				now = now.Add(time.Duration(rapid.IntRange(1, 900).Draw(t, "ms")) * time.Millisecond)
				for k, e := range both {
					e.do(t, both[1-k], e.tick(now), nil)
					e.speaks(now)
				}
			case what < 98: // its queue ran full
				me.do(t, other, me.begin(now), nil)
				me.speaks(now)
			}
		}
		quiet := func() {
			for range 20 {
				now = now.Add(400 * time.Millisecond)
				for k, e := range both {
					e.do(t, both[1-k], e.tick(now), nil)
					e.speaks(now)
				}
				for len(a.out)+len(b.out) > 0 {
					for k, e := range both {
						if len(e.out) > 0 {
							takes(e, both[1-k], 1)
						}
					}
				}
			}
		}
		quiet()
		if a.now == ([2]uint64{}) || a.now[0] != b.now[1] || a.now[1] != b.now[0] {
			t.Fatalf("one end is in conversation %v, the other in %v", a.now, b.now)
		}
		if lost[a.now] || lost[b.now] {
			t.Fatalf("conversation %v goes on after a loss", a.now)
		}
		for i := range 30 {
			a.send(fmt.Sprint("a", i))
			a.speaks(now)
			b.send(fmt.Sprint("b", i))
			b.speaks(now)
		}
		upsA, upsB := a.ups, b.ups
		quiet()
		if a.got != len(b.sent[b.now]) || b.got != len(a.sent[a.now]) || a.ups != upsA || b.ups != upsB {
			t.Fatalf("%d of %d and %d of %d messages arrived on a good way", a.got, len(b.sent[b.now]), b.got, len(a.sent[a.now]))
		}
	})
}

func TestALostEndIsNoticedByTheNextBeat(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	a, b := talk{}, talk{}
	a.begin(now)
	b.begin(now)
	for range 4 {
		if p, ok := a.speak(false, now); ok {
			b.hear(p, now)
		}
		if p, ok := b.speak(false, now); ok {
			a.hear(p, now)
		}
	}
	if !a.up || !b.up {
		t.Fatal("they did not get together")
	}
	if p, _ := a.speak(true, now); p.kind != data {
		t.Fatalf("it says %v", p)
	}
	now = now.Add(talkBeat)
	a.tick(now)
	p, ok := a.speak(false, now)
	if !ok || !b.hear(p, now).down {
		t.Fatalf("%v did not end the conversation", p)
	}
}

func TestWhatIsSentWhileManyPacketsAreOnTheirWayWaits(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_000_000, 0)
	a := talk{up: true, mine: 1, theirs: 1}
	n := 0
	for {
		if _, ok := a.speak(true, now); !ok {
			break
		}
		n++
	}
	if n != talkWindow {
		t.Fatalf("%d packets went", n)
	}
	a.listen(packet{kind: beat, from: 1, to: 1, done: 3}, now)
	for range 3 {
		if p, ok := a.speak(true, now); !ok || p.kind != data {
			t.Fatal("the window did not move")
		}
	}
}
