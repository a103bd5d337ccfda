package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// absent is a run in which connections send to users who come afterwards.
// Connections from Options.Connections on are those of the receivers.
type absent struct {
	*talk
	stored  int64
	left    []int    // by sender: messages it has still to send
	numbers []uint32 // by receiver: messages sent to it
	turn    []int    // by sender: messages it has sent
	waiting int      // receivers whose fetching is not complete
}

// measureAbsent measures storing and fetching.
func measureAbsent(ctx context.Context, o Options) (Run, error) {
	m, err := newMeter(o.PIDs)
	if err != nil {
		return Run{}, err
	}
	d, err := newDriver(ctx, &o, o.Connections+o.Absent)
	if err != nil {
		return Run{}, err
	}
	defer d.close()
	a := newAbsent(d)
	progress := newProgress(o.Progress)
	defer progress.end()
	run := o.run()
	run.Mailbox = &Mailbox{Users: o.Absent}
	if err := d.connect(ctx, 0, o.Connections, o.Ramp); err != nil {
		return Run{}, err
	}
	err = a.store(ctx, m, progress, run.Mailbox)
	if err == nil && !o.KeepMail && ctx.Err() == nil {
		err = a.fetch(ctx, progress, run.Mailbox)
	}
	a.judge(&run)
	run.Interrupted = ctx.Err() != nil
	return run, errors.Join(err, m.err)
}

func newAbsent(d *driver) *absent {
	o := d.o
	a := &absent{talk: newTalk(d), left: make([]int, o.Connections), turn: make([]int, o.Connections), numbers: make([]uint32, len(d.conns))}
	a.limit = 0
	for i := range a.left {
		a.left[i] = o.Messages / o.Connections
		if i < o.Messages%o.Connections {
			a.left[i]++
		}
	}
	d.text, d.read, d.resumed = a.took, func(*conn) {}, a.sendMore
	return a
}

// receiver returns to whom a sender's n-th message goes: to its own receivers in
// turn.
func (a *absent) receiver(sender, n int) int {
	senders := a.o.Connections
	own := (a.o.Absent - sender + senders - 1) / senders
	return senders + sender + n%own*senders
}

// store sends everything and waits until it is stored.
func (a *absent) store(ctx context.Context, m *meter, progress *progress, box *Mailbox) error {
	before := m.moment(a.now(), a.count)
	a.start = a.now()
	a.end = a.start + 24*time.Hour
	for _, c := range a.conns[:a.o.Connections] {
		a.sendMore(c)
	}
	a.heard = a.now()
	said := a.now()
	for a.stored+a.count.refused < int64(a.o.Messages) && ctx.Err() == nil {
		switch {
		case a.ready == 0:
			return a.broken()
		case a.now()-a.heard > a.o.Drain:
			return fmt.Errorf("%d of %d messages were stored, then nothing came for %s", a.stored, a.o.Messages, a.o.Drain)
		}
		if err := a.step(a.now() + 50*time.Millisecond); err != nil {
			return err
		}
		if now := a.now(); now-said > time.Second {
			said = now
			progress.say("%d of %d messages stored", a.stored, a.o.Messages)
		}
	}
	box.Stored, box.StoredRate = a.stored, rate(a.stored, a.heard-a.start)
	if len(m.pids) == 0 || a.stored == 0 {
		return nil
	}
	if err := a.listen(ctx, settling); err != nil {
		return err
	}
	after := m.moment(a.now(), a.count)
	box.RSSPerMessage = float64(after.server.rss-before.server.rss) / float64(a.stored)
	return nil
}

// sendMore sends as much of a sender's messages as may be on the way.
func (a *absent) sendMore(c *conn) {
	if c.id >= a.o.Connections {
		return
	}
	for c.outstanding < a.o.Outstanding && a.left[c.id] > 0 && c.state == stateReady && !c.full() {
		to := a.receiver(c.id, a.turn[c.id])
		c.out = a.compose.append(a.room(c), `"`+a.conns[to].user+`"`, mark{a.run, uint32(c.id), a.numbers[to], a.now()})
		a.numbers[to]++
		a.turn[c.id]++
		a.left[c.id]--
		c.outstanding++
		a.count.sent++
		a.driver.mark(c)
	}
}

// fetchFrame asks for as much as may be asked for at once.
var fetchFrame = fmt.Appendf(nil, `{"type":"%s","data":{"count":%d}}`, wire.NameFetch, wire.MaxFetch)

// fetch signs the receivers in and has them fetch all.
func (a *absent) fetch(ctx context.Context, progress *progress, box *Mailbox) error {
	progress.say("signing %s in", plural(a.o.Absent, "user"))
	if err := a.connect(ctx, a.o.Connections, len(a.conns), a.o.Ramp); err != nil {
		return err
	}
	began := a.now()
	for _, c := range a.conns[a.o.Connections:] {
		a.append(c, appendFrame(nil, opText, fetchFrame))
		a.waiting++
	}
	progress.say("fetching")
	a.heard = a.now()
	for a.waiting > 0 && ctx.Err() == nil && a.ready > 0 && a.now()-a.heard < a.o.Drain {
		if err := a.step(a.now() + 50*time.Millisecond); err != nil {
			return err
		}
	}
	box.Fetched, box.FetchedRate = a.count.arrived, rate(a.count.arrived, a.heard-began)
	return nil
}

// took takes a text frame.
func (a *absent) took(c *conn, payload []byte) {
	if m, ok := contentMark(payload); ok {
		a.messageFetched(c, m)
		return
	}
	if m, ok := referenceMark(payload, storedStart); ok && m.run == a.run {
		a.stored++
		a.heard = a.now()
		_ = a.latency.RecordValue(int64(a.heard - m.at)) // cannot be out of range
		c.outstanding--
		a.sendMore(c)
		return
	}
	if !bytes.HasPrefix(payload, []byte(`{"type":"`+wire.NameFetchComplete+`"`)) {
		a.other(c, payload)
		return
	}
	var f struct {
		Data struct{ LeftMissingCount int }
	}
	a.heard = a.now()
	if err := json.Unmarshal(payload, &f); err == nil && f.Data.LeftMissingCount > 0 {
		a.append(c, appendFrame(nil, opText, fetchFrame))
		return
	}
	a.waiting--
}

func (a *absent) messageFetched(c *conn, m mark) {
	if m.run != a.run {
		return // of an older run
	}
	if c.id < a.o.Connections || int(m.sender) != (c.id-a.o.Connections)%a.o.Connections {
		a.fail(c, &refusal{fmt.Sprintf("%s gave %s a message that was sent to somebody else", a.o.url(c.id), c.user)})
		return
	}
	a.heard = a.now()
	if a.judges[c.id].arrived(m.seq, &a.count.verdict) {
		a.count.arrived++
	}
}

// judge fills in what went wrong. What is kept in the mailboxes is not lost.
func (a *absent) judge(run *Run) {
	if !a.o.KeepMail {
		for i := a.o.Connections; i < len(a.conns); i++ {
			sender := (i - a.o.Connections) % a.o.Connections
			a.count.miss(a.judges[i].missing(a.numbers[i]), a.conns[sender], a.conns[i])
		}
		a.count.refusedOnce()
	}
	a.counted(run)
}
