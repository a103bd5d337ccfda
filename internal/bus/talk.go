package bus

import "time"

// talk is one end of the conversation of two nodes: when it begins and ends, and
// what is missing from it. It is pure: what happens goes in with its time, what is
// to be done comes out.
//
// Each end makes itself a number whenever it begins anew, higher each time; a
// conversation is the pair of both ends' numbers. Packets of messages are counted
// within it. An end is up when it knows that the other knows its number. Whoever
// misses a packet, or hears nothing for too long, takes a new number; the other
// hears of it and does likewise, and so nothing that was sent before counts any
// more at either end. What carries the packets may drop them, repeat them and hold
// them back.
type talk struct {
	mine, theirs uint64 // the ends' numbers; theirs is 0 until it is known
	up           bool
	left         bool // the other end said bye, and has not been up since
	say          bool // something is to be said soon, without messages if need be

	sent, acked uint64 // packets of messages that went out, and that the other end has handled
	got, done   uint64 // packets of messages that came, and that were handled
	told        uint64 // of done, what the other end was told last

	heard, said time.Time // when the other end was heard, and spoken to
}

// packet is what stands before the messages of one packet.
type packet struct {
	kind packetKind
	from uint64 // the sender's number
	to   uint64 // the receiver's, as the sender knows it
	n    uint64 // the count of this packet of messages, or of the last one
	done uint64 // how many the sender has handled
}

type packetKind uint8

const (
	hello packetKind = iota + 1 // from an end that is not up
	beat                        // without messages
	data                        // with messages
	bye                         // from an end that leaves
)

const (
	// talkWindow is how many packets of messages may be on their way: what is sent
	// meanwhile waits and goes in one. It also bounds what lies in the queues between
	// the nodes, which the servers need for themselves.
	talkWindow = 8
	// talkBeat is how often an end that has nothing to say shows that it lives, and
	// how far it has come, so that a lost end of what was sent is noticed.
	talkBeat = time.Second
	// talkSilence is how long an end may not be heard.
	talkSilence = 3500 * time.Millisecond
	// talkHello is how often an end that is not up says hello.
	talkHello = 500 * time.Millisecond
)

// turn is what an event leads to, in this order.
type turn struct {
	down, up, deliver bool
}

// begin makes this end begin anew.
func (t *talk) begin(now time.Time) (was turn) {
	was.down = t.up
	*t = talk{mine: max(t.mine+1, uint64(now.UnixNano())), theirs: t.theirs, left: t.left, say: true, heard: now}
	return was
}

// hear takes in a packet.
func (t *talk) hear(p packet, now time.Time) turn {
	switch {
	case p.from < t.theirs:
		return turn{} // from before the other end began anew
	case p.from > t.theirs:
		return t.meet(p, now)
	case p.to != t.mine:
		// The other end does not know yet, or any more, how this one is called. While
		// this one is up, it is an old hello, or one that crossed an answer.
		t.say = t.say || p.kind == hello
		return turn{}
	}
	return t.listen(p, now)
}

// meet takes in the first packet that the other end sends by a new number.
func (t *talk) meet(p packet, now time.Time) (does turn) {
	if t.up {
		does = t.begin(now)
	}
	t.theirs = p.from
	t.say = true
	t.left = t.left || p.kind == bye
	if p.to != t.mine || p.kind == bye {
		return does
	}
	next := t.listen(p, now)
	return turn{down: does.down || next.down, up: next.up, deliver: next.deliver}
}

// listen takes in a packet of a conversation that both ends agree on.
func (t *talk) listen(p packet, now time.Time) (does turn) {
	if p.kind == bye {
		t.left = true
	}
	if p.kind == bye || p.n > t.got+1 || p.n == t.got+1 && p.kind != data {
		return t.begin(now) // it ends, or something was lost
	}
	t.heard = now
	if !t.up {
		t.up, does.up = true, true
		t.left, t.say = false, true
	}
	t.say = t.say || p.kind == hello
	if p.done > t.acked && p.done <= t.sent {
		t.acked = p.done
	}
	if p.kind == data && p.n == t.got+1 {
		t.got, does.deliver = p.n, true
	}
	return does
}

// handled notes that what was delivered last is dealt with, in the conversation in
// which this end had the number mine.
func (t *talk) handled(mine uint64) {
	if t.mine != mine {
		return
	}
	t.done = t.got
	t.say = t.say || t.done-t.told >= talkWindow/2
}

// tick lets time pass.
func (t *talk) tick(now time.Time) turn {
	switch {
	case t.up && now.Sub(t.heard) >= talkSilence:
		return t.begin(now)
	case t.up && now.Sub(t.said) >= talkBeat, !t.up && now.Sub(t.said) >= talkHello:
		t.say = true
	}
	return turn{}
}

// speak returns what to put before the next packet; false when there is none to be
// sent. waiting says that there are messages.
func (t *talk) speak(waiting bool, now time.Time) (packet, bool) {
	p := packet{kind: beat, from: t.mine, to: t.theirs, done: t.done}
	switch {
	case !t.up && t.say:
		p.kind = hello
	case t.up && waiting && t.sent-t.acked < talkWindow:
		p.kind = data
		t.sent++
	case !t.up || !t.say:
		return packet{}, false
	}
	p.n = t.sent
	t.say, t.told, t.said = false, t.done, now
	return p, true
}
