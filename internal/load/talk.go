package load

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// talk is a run in which signed-in connections send to each other.
type talk struct {
	*driver
	compose *composer
	post    *post // sends over HTTP; nil: the connections send
	run     uint32
	to      []string // by sender: its receivers, as JSON
	fan     int      // receivers of one message
	judges  []judge  // by receiver; for fanin, where there is only one, by sender
	senders []*conn
	cursor  int64 // paced: the next message of all

	start, from, end time.Duration // of sending; from is when measuring begins
	count            counts
	latency          *hdrhistogram.Histogram // to arrival, of what was to be sent while measuring
	confirmation     *hdrhistogram.Histogram // to the MESSAGE_CONFIRMATION
	next             time.Duration           // mode single: when the next is sent; 0 while one is on its way
	limit            uint32                  // messages of one sender; 0: no limit
	heard            time.Duration           // when something arrived last
	said             bool                    // an error gives the reason why connections ended
}

// counts is what a run counts from its beginning.
type counts struct {
	sent, arrived, confirmed, refused int64 // arrived and below: at all receivers
	verdict
	unknown int64  // sent, but a connection ended before it arrived
	refusal string // the first
}

// newHistogram holds times from 0.1 µs to 10 minutes, in nanoseconds, to three
// digits.
func newHistogram() *hdrhistogram.Histogram { return hdrhistogram.New(100, int64(10*time.Minute), 3) }

func newTalk(d *driver) *talk {
	o := d.o
	t := &talk{driver: d, compose: newComposer(o), run: rand.Uint32(), fan: 1, senders: d.conns,
		judges: make([]judge, len(d.conns)), latency: newHistogram(), confirmation: newHistogram()}
	t.to = make([]string, len(d.conns))
	for i := range t.to {
		t.to[i] = `"` + d.conns[t.peer(i)].user + `"`
	}
	if o.Pattern == PatternGroup {
		t.groups()
	}
	d.text, d.read, d.resumed = t.frameArrived, t.allRead, t.goOn
	return t
}

// peer returns to whom a connection sends that sends to one.
func (t *talk) peer(i int) int {
	switch t.o.Pattern {
	case PatternPairs:
		return i ^ 1
	case PatternFanin:
		return 0
	}
	return i
}

// groups makes the first connection of each group the sender to all of it.
func (t *talk) groups() {
	if t.fan = t.o.Group; t.fan == 0 {
		t.fan = len(t.conns)
	}
	t.senders = nil
	for first := 0; first < len(t.conns); first += t.fan {
		users := make([]string, t.fan)
		for i := range users {
			users[i] = `"` + t.conns[first+i].user + `"`
		}
		t.to[first] = "[" + strings.Join(users, ",") + "]"
		if t.o.inRoom() {
			t.to[first] = t.o.guests.room
		}
		t.senders = append(t.senders, t.conns[first])
	}
}

// judgeOf returns who judges what a receiver gets from a sender; nil when it
// should get nothing from it.
func (t *talk) judgeOf(receiver, sender int) *judge {
	switch {
	case t.o.Pattern == PatternFanin && receiver == 0 && sender < len(t.judges):
		return &t.judges[sender]
	case t.o.Pattern == PatternGroup && receiver/t.fan*t.fan == sender,
		t.o.Pattern != PatternGroup && t.o.Pattern != PatternFanin && sender < len(t.conns) && t.peer(sender) == receiver:
		return &t.judges[receiver]
	}
	return nil
}

// talkUntil sends and receives: a time unmeasured, then the time that is
// measured, until ctx ends at the latest. watch is called when measuring begins,
// each second, and when it ends.
func (t *talk) talkUntil(ctx context.Context, warmup, duration time.Duration, watch func()) error {
	t.start = t.now()
	t.from, t.end = t.start+warmup, t.start+warmup+duration
	tick, watched := t.from, false
	if t.o.Mode != ModePaced {
		for _, c := range t.senders {
			t.sendNext(c)
		}
	}
	for {
		now := t.now()
		if now >= t.end || ctx.Err() != nil {
			t.end = min(t.end, now)
			watch()
			return nil
		}
		if now >= tick {
			if !watched && t.o.Mode != ModePaced { // a step took long: measure as long as was asked for all the same
				t.from, t.end, tick = now, t.end+now-t.from, now
			}
			watched = true
			watch()
			tick += time.Second
		}
		switch {
		case t.ready == 0:
			return t.broken()
		case t.limit > 0 && t.count.arrived+t.count.refused >= int64(t.limit)*int64(len(t.senders)):
			watch()
			return nil
		}
		if err := t.step(min(t.sendDue(now), tick, t.end)); err != nil {
			return err
		}
	}
}

// broken says why all connections are gone.
func (t *talk) broken() error {
	t.said = true
	if t.failure == nil {
		return fmt.Errorf("no connection is left to %s", strings.Join(t.o.URLs, ", "))
	}
	return fmt.Errorf("no connection is left: %w", t.failure)
}

// drain waits until everything has arrived, or nothing has for a time.
func (t *talk) drain(patience time.Duration) error {
	t.heard = t.now()
	for !t.complete() && t.ready > 0 && t.now()-t.heard < patience {
		if err := t.step(t.now() + 20*time.Millisecond); err != nil {
			return err
		}
	}
	return nil
}

// missing counts what was sent and has not arrived: lost, or unknown where the
// sender's or the receiver's connection has ended.
func (t *talk) missing() {
	for i := range t.judges {
		sender, receiver := i, i
		switch t.o.Pattern {
		case PatternPairs:
			sender = i ^ 1
		case PatternGroup:
			sender = i / t.fan * t.fan
		case PatternFanin:
			receiver = 0
		}
		t.count.miss(t.judges[i].missing(t.conns[sender].sent), t.conns[sender], t.conns[receiver])
	}
	t.count.refusedOnce()
}

// miss counts n messages between two connections that have not arrived.
func (c *counts) miss(n int64, sender, receiver *conn) {
	if sender.state == stateReady && receiver.state == stateReady {
		c.Lost += n
	} else {
		c.unknown += n
	}
}

// refusedOnce takes what was refused, and so cannot arrive, out of what is
// missing.
func (c *counts) refusedOnce() {
	rest := max(0, c.refused-c.Lost)
	c.Lost, c.unknown = max(0, c.Lost-c.refused), max(0, c.unknown-rest)
}

// complete says whether everything that was sent has arrived.
func (t *talk) complete() bool {
	return t.count.arrived+t.count.refused >= t.count.sent*int64(t.fan) &&
		(!t.o.Reference || t.count.confirmed+t.count.refused >= t.count.sent)
}

// send queues a connection's next message, which was to be sent at the given
// time.
func (t *talk) send(c *conn, at time.Duration) {
	m := mark{t.run, uint32(c.id), c.sent, at}
	c.sent++
	c.outstanding++
	t.count.sent++
	if t.post != nil {
		t.post.added(t.compose.appendPosted(t.post.room(t.now()), c.user, t.to[c.id], m))
		return
	}
	c.out = t.compose.append(t.room(c), t.to[c.id], m)
	t.driver.mark(c)
}

// full says that a connection, or what posts for it, takes no more at present.
func (t *talk) full(c *conn) bool {
	if t.post != nil {
		return t.o.Mode == ModePaced && t.post.full()
	}
	return c.full()
}

// sendNext sends, in closed mode, as much as may be on the way.
func (t *talk) sendNext(c *conn) {
	for c.outstanding < t.o.Outstanding && c.state == stateReady && !t.full(c) && (t.limit == 0 || c.sent < t.limit) {
		now := t.now()
		if now >= t.end {
			return
		}
		t.send(c, now)
	}
}

// due returns when, in paced mode, a message is to be sent: the n-th of all.
func (t *talk) due(n int64) time.Duration {
	return t.start + time.Duration(float64(n)/t.o.Rate*float64(time.Second))
}

// sendDue sends what is due and returns when the next is.
func (t *talk) sendDue(now time.Duration) time.Duration {
	if t.o.Mode == ModeSingle && t.next > 0 && now >= t.next {
		t.next = 0
		t.sendNext(t.conns[0])
	}
	switch {
	case t.o.Mode == ModeSingle && t.next > 0:
		return t.next
	case t.o.Mode != ModePaced:
		return t.end
	}
	senders := int64(len(t.senders))
	for ; t.due(t.cursor) <= now; t.cursor++ {
		t.catchUp(t.senders[t.cursor%senders], now)
	}
	return t.due(t.cursor)
}

// catchUp sends, in paced mode, all that one sender should have sent by now. If
// it cannot, it does when there is room, and each message keeps the time at
// which it was to be sent.
func (t *talk) catchUp(c *conn, now time.Duration) {
	senders, place := int64(len(t.senders)), int64(c.id)
	if t.o.Pattern == PatternGroup {
		place /= int64(t.fan)
	}
	for c.state == stateReady && !t.full(c) {
		at := t.due(int64(c.sent)*senders + place)
		if at > now || at >= t.end {
			return
		}
		t.send(c, at)
	}
}

// goOn is called when a connection takes more again.
func (t *talk) goOn(c *conn) {
	switch {
	case t.o.Mode == ModePaced && (t.o.Pattern != PatternGroup || c.id%t.fan == 0):
		t.catchUp(c, min(t.now(), t.end))
	case (t.o.Mode == ModeClosed || t.o.Mode == ModeIdle) && c.sent > 0:
		t.sendNext(c)
	}
}

// done is called when a message has come as far as its sender waits for.
func (t *talk) done(c *conn) {
	c.outstanding--
	switch t.o.Mode {
	case ModeSingle:
		t.next = t.now() + max(t.o.Pause, 1)
	case ModeClosed, ModeIdle:
		t.sendNext(c)
	}
}

// frameArrived takes a text frame.
func (t *talk) frameArrived(c *conn, payload []byte) {
	if m, ok := contentMark(payload); ok {
		t.messageArrived(c, m, payload)
		return
	}
	if m, ok := referenceMark(payload, confirmationStart); ok {
		if t.o.Ack {
			c.acked = append(c.acked[:0], idOf(payload)...)
		}
		if m.run == t.run && t.o.Reference {
			t.count.confirmed++
			t.heard = t.now()
			t.record(t.confirmation, m.at, t.heard)
			t.done(c)
		}
		return
	}
	if run, at, ok := sentMark(payload); ok {
		// The answer is what the sender itself gets. One is on its way at a time, so it is
		// that to the last.
		t.messageArrived(c, mark{run: run, sender: uint32(c.id), seq: c.sent - 1, at: at}, payload)
		return
	}
	t.other(c, payload)
}

func (t *talk) messageArrived(c *conn, m mark, payload []byte) {
	if t.o.Ack {
		c.acked = append(c.acked[:0], idOf(payload)...)
	}
	if m.run != t.run {
		return // of an older run
	}
	j := t.judgeOf(c.id, int(m.sender))
	if j == nil {
		t.fail(c, &refusal{fmt.Sprintf("%s gave %s a message that was sent to somebody else", t.o.url(c.id), c.user)})
		return
	}
	now := t.now()
	t.heard = now
	if !j.arrived(m.seq, &t.count.verdict) {
		return
	}
	t.count.arrived++
	t.record(t.latency, m.at, now)
	if t.o.Reference {
		return // it is done when it is confirmed
	}
	sender := t.conns[m.sender]
	if t.fan == 1 {
		t.done(sender)
		return
	}
	// A group message is done when all have it. With several on the way it is
	// enough that as many have arrived as make one.
	if sender.reached++; sender.reached == t.fan {
		sender.reached = 0
		t.done(sender)
	}
}

func (t *talk) record(h *hdrhistogram.Histogram, at, now time.Duration) {
	if at >= t.from && at < t.end {
		_ = h.RecordValue(min(int64(now-at), h.HighestTrackableValue())) // cannot be out of range
	}
}

// other takes a frame that is no message and no confirmation.
func (t *talk) other(c *conn, payload []byte) {
	var f struct {
		Type string
		Data struct{ Code, Reason string }
	}
	if json.Unmarshal(payload, &f) != nil {
		t.fail(c, &refusal{fmt.Sprintf("%s sent what is not JSON: %s", t.o.url(c.id), shorten(string(payload)))})
		return
	}
	switch f.Type {
	case wire.NameGeneralError, wire.NameInvalidMessage, wire.NameDeliverFailed:
		t.count.refused += int64(t.fan)
		if t.count.refusal == "" {
			t.count.refusal = strings.TrimSpace(f.Type + " " + f.Data.Code + ": " + shorten(f.Data.Reason))
		}
	}
}

// allRead answers, once for all that was read, what is to be acknowledged.
func (t *talk) allRead(c *conn) {
	if len(c.acked) == 0 {
		return
	}
	frame := append([]byte(`{"type":"MESSAGE_ACK","data":{"id":"`), c.acked...)
	t.append(c, appendFrame(nil, opText, append(frame, `"}}`...)))
	c.acked = c.acked[:0]
}
