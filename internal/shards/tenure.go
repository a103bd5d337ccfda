package shards

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// What nodes say to each other about a duty, on a way of its own: see codec.go for how.
const (
	kindServes  kind = 1 // from now on the sender does the duty for the shard, for this term
	kindEnded   kind = 2 // it does so no more; everything was answered
	kindRequest kind = 3 // a number, and the request
	kindReply   kind = 4 // the number, an outcome, and the reply or what is wrong
	kindTold    kind = 5 // what Tell was given
)

// outcomes of a request.
const (
	outcomeDone    = 0
	outcomeFailed  = 1
	outcomeUnknown = 2
)

// say sends a message to another node. When its link does not take it, the link begins
// anew in a moment.
func (o *Owners) say(node string, k kind, shard int, term uint64, parts ...[]byte) {
	if o.opts.Links == nil {
		return
	}
	var b [32]byte
	o.opts.Links.Send(node, append([][]byte{begin(b[:0], k, shard, term)}, parts...)...)
}

func (o *Owners) announce(k kind, shard int, term uint64, nodes []string) {
	for _, node := range nodes {
		if node != o.opts.Self {
			o.say(node, k, shard, term)
		}
	}
}

// Receive takes a message of another node; it must not be used after it returns. Calls
// for one node come one at a time, in order.
func (o *Owners) Receive(node string, message []byte) {
	r := &reader{b: message}
	if r.byte() != protocol {
		return // a later version's, which says more than we understand
	}
	k, shard, term := kind(r.byte()), r.uvarint(), r.uvarint()
	if r.err == nil && shard < uint64(len(o.posts)) {
		o.posts[shard].hear(node, k, term, r)
	}
	if r.err != nil || shard >= uint64(len(o.posts)) {
		o.opts.Logger.Warn("a message of another node cannot be read", "node", node, "kind", int(k))
	}
}

func (p *post) hear(node string, k kind, term uint64, r *reader) {
	switch k {
	case kindServes:
		p.serves(node, term)
	case kindEnded:
		p.ended(node, term)
	case kindRequest:
		if number := r.uvarint(); r.err == nil {
			p.host(node, term, number, r.b)
		}
	case kindReply:
		number, outcome := r.uvarint(), r.byte()
		if r.err != nil {
			return
		}
		switch outcome {
		case outcomeDone:
			p.replied(node, number, bytes.Clone(r.b), nil)
		case outcomeFailed:
			p.replied(node, number, nil, errors.New(string(r.b)))
		default:
			p.owners.unknown.Inc()
			p.replied(node, number, nil, ErrUnknown)
		}
	case kindTold:
		p.owners.opts.Duty.Told(node, r.b)
	}
}

// host serves what another node asks. Who asks when the tenure is over, or about to be,
// hears that when all is answered that was served.
func (p *post) host(node string, term, number uint64, request []byte) {
	p.mu.Lock()
	t := p.tenure
	if t == nil || t.term != term {
		if e := p.ending; e != nil && e.term == term {
			e.guests[node] = true
		} else {
			p.owners.say(node, kindEnded, p.shard, term)
		}
		p.mu.Unlock()
		return
	}
	t.calls.Add(1)
	p.mu.Unlock()
	defer t.calls.Done()
	p.owners.opts.Duty.Serve(p.shard, node, request, t.once(nil, func(reply []byte, err error) {
		outcome := byte(outcomeDone)
		switch {
		case errors.Is(err, ErrNext):
			return // it is asked again when it hears that this tenure is over
		case errors.Is(err, ErrUnknown):
			outcome = outcomeUnknown
		case err == nil && len(reply) > MaxErrand:
			err = ErrTooLarge
			fallthrough
		case err != nil:
			outcome, reply = outcomeFailed, []byte(err.Error())
		}
		p.owners.say(node, kindReply, p.shard, term, append(appendUvarint(nil, number), outcome), reply)
	}))
}

// once returns an answer that is given once: by this node, if the duty ends without.
func (t *serving) once(e *errand, answer func(reply []byte, err error)) func(reply []byte, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.last++
	n := t.last
	t.open[n] = &served{e, answer}
	return func(reply []byte, err error) {
		t.mu.Lock()
		_, is := t.open[n]
		delete(t.open, n)
		if is && e != nil && errors.Is(err, ErrNext) {
			e.since, is = time.Time{}, false
			t.again = append(t.again, e)
		}
		t.mu.Unlock()
		if is {
			answer(reply, err)
		}
	}
}

// late returns what has waited too long for the next owner, though this tenure goes on.
func (t *serving) late(now time.Time) (list []*errand) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.again = slices.DeleteFunc(t.again, func(e *errand) bool {
		if e.since.IsZero() {
			e.since = now
		}
		late := now.Sub(e.since) >= Patience
		if late {
			list = append(list, e)
		}
		return late
	})
	return list
}

// rest answers what the duty has not, and returns what of this node's the next owner is
// to do.
func (t *serving) rest() (again []*errand, unknown int) {
	t.mu.Lock()
	open := t.open
	t.open = nil
	again = t.again
	t.mu.Unlock()
	for _, s := range open {
		s.answer(nil, ErrUnknown)
	}
	slices.SortFunc(again, byNumber)
	return again, len(open)
}

// keep does the duty for the shard until ctx ends. nodes returns who is to be told, and
// holds says whether the shard is still this node's.
func (p *post) keep(ctx context.Context, term uint64, nodes func() []string, holds func(context.Context) error) {
	p.hold(holds)
	defer p.hold(nil)
	if !p.begin(ctx, term) {
		return
	}
	t := &serving{term: term, open: make(map[uint64]*served), guests: make(map[string]bool)}
	p.mu.Lock()
	if p.far != nil && p.far.term > term {
		p.next = &owner{node: p.far.node, term: p.far.term, asked: make(map[uint64]*errand)} // this tenure ends in a moment
	}
	p.replace()
	p.tenure, p.term, p.moved = t, max(p.term, term), true
	p.mu.Unlock()
	p.settle()
	p.owners.announce(kindServes, p.shard, term, nodes())
	<-ctx.Done()
	p.end(t, nodes)
}

func (p *post) hold(holds func(context.Context) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.holds = holds
}

// begin has the duty begun, as often as it takes.
func (p *post) begin(ctx context.Context, term uint64) bool {
	for {
		err := p.owners.opts.Duty.Begin(ctx, p.shard, term)
		if err == nil {
			return true
		}
		if ctx.Err() != nil {
			return false
		}
		p.owners.opts.Logger.Warn("a duty cannot be begun yet", "shard", p.shard, "err", err)
		select {
		case <-time.After(openAgain):
		case <-ctx.Done():
			return false
		}
	}
}

// end ends a tenure: what comes waits for the next owner, and what was served is answered.
func (p *post) end(t *serving, nodes func() []string) {
	p.mu.Lock()
	p.tenure, p.ending = nil, t
	p.mu.Unlock()
	t.calls.Wait()
	p.owners.opts.Duty.End(p.shard)
	again, unknown := t.rest()
	p.owners.unknown.Add(float64(unknown))
	told := nodes()
	p.mu.Lock()
	p.ending = nil
	p.ahead(again)
	for node := range t.guests {
		if !slices.Contains(told, node) {
			told = append(told, node)
		}
	}
	if p.next != nil {
		p.follow(p.next)
	}
	p.mu.Unlock()
	p.owners.announce(kindEnded, p.shard, t.term, told)
	p.settle()
}

// Alone does the duty for all shards on a node that is alone, until ctx ends. It blocks.
func (o *Owners) Alone(ctx context.Context) {
	nobody := func() []string { return nil }
	always := func(context.Context) error { return nil }
	var wg sync.WaitGroup
	defer wg.Wait()
	for _, p := range o.posts {
		wg.Go(func() { p.keep(ctx, 1, nobody, always) })
	}
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case now := <-tick.C:
			o.Tend(now)
		}
	}
}
