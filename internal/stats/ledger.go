package stats

import "time"

// number is one of a Counts' numbers that are added up.
type number struct {
	at  *uint64
	now bool // it says how it is now; others are totals
}

// numbers are those that are added up, but for refusals, which have codes. Their
// order is what nodes say to each other: new ones come last.
func (c *Counts) numbers() []number {
	return []number{
		{&c.Sessions, true}, {&c.Connections, true},
		{&c.Messages.In.Reliable, false}, {&c.Messages.In.Fast, false},
		{&c.Messages.Delivered.Reliable, false}, {&c.Messages.Delivered.Fast, false},
		{&c.Messages.Proved, false}, {&c.Messages.Expired, false}, {&c.Messages.Dropped, false},
		{&c.Mailboxes.Messages, true}, {&c.Mailboxes.Bytes, true},
		{&c.HTTP.Requests, false}, {&c.HTTP.Failed, false}, {&c.HTTP.Connections, true},
		{&c.Webhooks.Delivered, false}, {&c.Webhooks.Failed, false}, {&c.Webhooks.Dropped, false}, {&c.Webhooks.Waiting, true},
		{&c.Log.Bytes, true}, {&c.Log.Syncs, false},
	}
}

// refusals are the numbers that have codes: totals.
func (c *Counts) refusals() []*map[string]uint64 {
	return []*map[string]uint64{&c.Refused.Socket, &c.Refused.HTTP}
}

// add adds the numbers of others, those that say how it is now, or the totals.
func (c *Counts) add(o *Counts, now bool) {
	more := o.numbers()
	for i, n := range c.numbers() {
		if n.now == now {
			*n.at += *more[i].at
		}
	}
	if now {
		return
	}
	refused := o.refusals()
	for i, at := range c.refusals() { // maps of their own: a sample keeps them
		*at = added(added(make(map[string]uint64), *at), *refused[i])
	}
}

// grow adds how much totals grew from one state to the next. One that fell began
// anew in between, and what it has is what it grew.
func (c *Counts) grow(was, is *Counts) {
	grown := func(was, is uint64) uint64 {
		if is < was {
			return is
		}
		return is - was
	}
	before, after := was.numbers(), is.numbers()
	for i, n := range c.numbers() {
		if !n.now {
			*n.at += grown(*before[i].at, *after[i].at)
		}
	}
	refusedBefore, refusedAfter := was.refusals(), is.refusals()
	for i, at := range c.refusals() {
		if *at == nil {
			*at = make(map[string]uint64)
		}
		for code, n := range *refusedAfter[i] {
			(*at)[code] += grown((*refusedBefore[i])[code], n)
		}
	}
}

// report is what one counter of things says of itself.
type report struct {
	counts Counts
	syncs  buckets
	age    time.Duration // for how long it has counted: a later report has a greater age
}

// ledger adds up what several counters of things report, that come and go: other
// nodes, or the keepers of this one. Totals never fall. It is pure.
type ledger struct {
	total Counts // of which numbers that say how it is now are 0
	syncs buckets
	parts map[string]*part
}

// part is one of those that report.
type part struct {
	report
	heard time.Time
	gone  bool // it counts no more; it is known still, lest it is counted again when it comes back
}

// partsKnown bounds of how many that are gone it is known what they had counted.
const partsKnown = 1000

// hear takes a report, unless there was a later one. New: of what is not known yet
// all counts; otherwise it was counted before anybody listened, and what counts is
// how it grows from here.
func (l *ledger) hear(id string, r report, now time.Time, isNew bool) {
	p := l.parts[id]
	switch {
	case p != nil && r.age <= p.age:
		return
	case p != nil:
		l.grow(&p.report, &r)
	case isNew:
		l.grow(&report{}, &r)
	default:
		l.grow(&r, &r) // so that its buckets and codes are there
	}
	if p == nil {
		if l.parts == nil {
			l.parts = make(map[string]*part)
		}
		l.makeRoom()
		p = &part{}
		l.parts[id] = p
	}
	p.report, p.heard, p.gone = r, now, false
}

func (l *ledger) grow(was, is *report) {
	l.total.grow(&was.counts, &is.counts)
	l.syncs = l.syncs.plus(is.syncs.since(was.syncs))
}

// makeRoom forgets of those that are gone the one that was heard of longest ago, if
// there are too many.
func (l *ledger) makeRoom() {
	var oldest string
	gone := 0
	for id, p := range l.parts {
		if !p.gone {
			continue
		}
		gone++
		if oldest == "" || p.heard.Before(l.parts[oldest].heard) {
			oldest = id
		}
	}
	if gone >= partsKnown {
		delete(l.parts, oldest)
	}
}

// leave notes that one is gone: what it counted stays, what it had then does not.
func (l *ledger) leave(id string) {
	if p := l.parts[id]; p != nil {
		p.gone = true
	}
}

// forget is leave for one that begins anew when it comes back.
func (l *ledger) forget(id string) { delete(l.parts, id) }

// sum returns the totals of all, and how it is now on those that were heard of since
// a time, which are n.
func (l *ledger) sum(since time.Time) (c Counts, syncs buckets, n int) {
	c.add(&l.total, false)
	for _, p := range l.parts {
		if !p.gone && !p.heard.Before(since) {
			c.add(&p.counts, true)
			n++
		}
	}
	return c, l.syncs, n
}
