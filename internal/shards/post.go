package shards

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// post is one shard's duty as this node sees it: it is done here, or elsewhere, or
// nowhere that is known.
type post struct {
	owners *Owners
	shard  int

	mu     sync.Mutex
	tenure *serving                    // nil: not done here
	ending *serving                    // the tenure that is about to end; nil: none
	holds  func(context.Context) error // says whether it is this node's still; nil: it is not
	far    *owner                      // elsewhere; nil: not known where
	next   *owner                      // one that says that it took over from the tenure here
	before *owner                      // the one before, while it may answer yet, or say that it has ended; nil: none
	term   uint64                      // the latest of which this node heard

	// waiting are requests that no owner has: there is none, or the duty is to hear
	// first that it is another. They go in the order in which they came.
	waiting []*errand
	bytes   int  // of those
	moved   bool // the duty is to hear it
	opening bool // somebody sees to that, and to what waits
}

// errand is a request on its way.
type errand struct {
	number  uint64
	request []byte
	answer  func(reply []byte, err error)
	since   time.Time // when it began to wait; zero until the next look
}

// owner is one elsewhere, with what it was asked and has not answered.
type owner struct {
	node  string
	term  uint64
	asked map[uint64]*errand
	since time.Time // of the one before: when its answers began to be waited for
}

// serving is this node's own time as the owner.
type serving struct {
	term   uint64
	calls  sync.WaitGroup  // of Serve
	guests map[string]bool // nodes that asked when it was about to end; post.mu guards it

	mu    sync.Mutex
	open  map[uint64]*served // what is not answered, by numbers of our own
	last  uint64
	again []*errand // of this node: what the next owner is to do
}

// served is a request that was handed to the duty.
type served struct {
	errand *errand // nil: another node's
	answer func(reply []byte, err error)
}

// take has an errand done.
func (p *post) take(e *errand) {
	p.mu.Lock()
	if p.open() && !p.opening && !p.moved && len(p.waiting) == 0 {
		p.give(e)
		return
	}
	full := p.bytes+len(e.request)+errandCost > maxWaiting
	if !full {
		p.waiting = append(p.waiting, e)
		p.bytes += len(e.request) + errandCost
	}
	p.mu.Unlock()
	if full {
		p.owners.refused.Inc()
		e.answer(nil, ErrCrowded)
	}
}

// open says whether an owner may be asked. mu is held.
func (p *post) open() bool { return p.before == nil && (p.tenure != nil || p.far != nil) }

// errandCost is what a request that waits costs beside its bytes.
const errandCost = 128

// give gives an errand to the owner that there is. mu is held, and let go.
func (p *post) give(e *errand) {
	e.number, e.since = p.owners.last.Add(1), time.Time{}
	if t := p.tenure; t != nil {
		t.calls.Add(1)
		p.mu.Unlock()
		defer t.calls.Done()
		p.owners.opts.Duty.Serve(p.shard, p.owners.opts.Self, e.request, t.once(e, e.answer))
		return
	}
	defer p.mu.Unlock()
	p.far.asked[e.number] = e
	// A link that does not take it breaks, and is told to be broken in a moment.
	p.owners.say(p.far.node, kindRequest, p.shard, p.far.term, appendUvarint(nil, e.number), e.request)
}

// ahead has what waited before go before what waits. mu is held.
func (p *post) ahead(list []*errand) {
	for _, e := range list {
		p.bytes += len(e.request) + errandCost
	}
	p.waiting = append(list, p.waiting...)
}

// settle tells the duty that there is a new owner, and gives that what waits: first what
// the duty has for it.
func (p *post) settle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.opening {
		return // whoever does it sees this owner, too
	}
	p.opening = true
	for {
		switch {
		case p.moved && p.open():
			p.moved = false
			p.mu.Unlock()
			var first []*errand
			p.owners.opts.Duty.Moved(p.shard, func(request []byte, answer func([]byte, error)) {
				first = append(first, &errand{request: request, answer: answer})
			})
			p.mu.Lock()
			p.ahead(first)
		case len(p.waiting) == 0 || !p.open():
			p.opening = false
			return
		default:
			e := p.waiting[0]
			p.waiting[0] = nil
			p.waiting = p.waiting[1:]
			p.bytes -= len(e.request) + errandCost
			p.give(e)
			p.mu.Lock()
		}
	}
}

// rest returns what an owner elsewhere has not answered, in the order in which it was
// asked.
func (w *owner) rest() (list []*errand) {
	for _, e := range w.asked {
		list = append(list, e)
	}
	slices.SortFunc(list, byNumber)
	return list
}

func byNumber(a, b *errand) int { return cmp.Compare(a.number, b.number) }

// forsake answers errands that nobody will.
func (p *post) forsake(list []*errand, err error) {
	count := p.owners.refused
	if errors.Is(err, ErrUnknown) {
		count = p.owners.unknown
	}
	for _, e := range list {
		count.Inc()
		e.answer(nil, err)
	}
}

// serves is what a node says that does the duty from now on.
func (p *post) serves(node string, term uint64) {
	p.mu.Lock()
	if term < p.term || term == p.term && (p.tenure != nil || p.far != nil && p.far.node == node) {
		p.mu.Unlock()
		return // it does not know yet that another does it; or it is known
	}
	p.term = term
	p.follow(&owner{node: node, term: term, asked: make(map[uint64]*errand)})
	p.mu.Unlock()
	p.settle()
}

// follow makes a node the owner, now or when the tenure here has ended. mu is held.
func (p *post) follow(next *owner) {
	if p.tenure != nil || p.ending != nil {
		p.next = next
		return
	}
	p.replace()
	p.far, p.next, p.moved = next, nil, true
}

// replace ends the time of an owner elsewhere. Another has its place before it has said
// that it ends: what it was asked, and so all that comes later, waits for it to do so.
// mu is held.
func (p *post) replace() {
	if p.far != nil && len(p.far.asked) > 0 { // then there is none before: nothing would have been asked
		p.before = p.far
	}
	p.far = nil
}

// ended is what a node says that does it no more, and has answered all that it did: the
// rest goes to the next one.
func (p *post) ended(node string, term uint64) {
	p.mu.Lock()
	if w := p.before; w != nil && w.node == node && w.term == term {
		p.ahead(w.rest())
		p.before = nil
	}
	if w := p.far; w != nil && w.node == node && w.term == term {
		p.ahead(w.rest())
		p.far = nil
	}
	p.mu.Unlock()
	p.settle()
}

// broken says that what a node says is not heard any more.
func (p *post) broken(node string) {
	p.mu.Lock()
	var lost []*errand
	if p.before != nil && p.before.node == node {
		lost, p.before = p.before.rest(), nil
	}
	if p.far != nil && p.far.node == node {
		lost, p.far = append(lost, p.far.rest()...), nil
	}
	if p.next != nil && p.next.node == node {
		p.next = nil // it says so again when its link is back
	}
	p.mu.Unlock()
	p.forsake(lost, ErrUnknown)
	p.settle()
}

// replied is the answer of an owner elsewhere.
func (p *post) replied(node string, number uint64, reply []byte, err error) {
	p.mu.Lock()
	var e *errand
	for _, w := range []*owner{p.before, p.far} {
		if w != nil && w.node == node && w.asked[number] != nil {
			e = w.asked[number]
			delete(w.asked, number)
		}
	}
	over := p.before != nil && len(p.before.asked) == 0
	if over {
		p.before = nil
	}
	p.mu.Unlock()
	if e != nil {
		e.answer(reply, err)
	}
	if over {
		p.settle()
	}
}

// tend gives up what has waited for too long.
func (p *post) tend(now time.Time) {
	p.mu.Lock()
	late := 0
	for _, e := range p.waiting {
		if e.since.IsZero() {
			e.since = now
		}
		if now.Sub(e.since) >= Patience {
			late++ // those before it came earlier
		}
	}
	refused := slices.Clone(p.waiting[:late])
	p.waiting = slices.Delete(p.waiting, 0, late)
	for _, e := range refused {
		p.bytes -= len(e.request) + errandCost
	}
	var lost []*errand
	if w := p.before; w != nil && w.since.IsZero() {
		w.since = now
	} else if w != nil && now.Sub(w.since) >= courtesy {
		lost, p.before = w.rest(), nil
	}
	if p.far != nil {
		for n, e := range p.far.asked {
			if e.since.IsZero() {
				e.since = now
			} else if now.Sub(e.since) >= silence {
				delete(p.far.asked, n)
				lost = append(lost, e)
			}
		}
	}
	if p.tenure != nil {
		refused = append(refused, p.tenure.late(now)...)
	}
	p.mu.Unlock()
	p.forsake(refused, ErrNobody)
	p.forsake(lost, ErrUnknown)
	p.settle()
}
