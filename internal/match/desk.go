package match

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// askTime bounds the wait for an owner's answer.
	askTime = 10 * time.Second
	// patience is how long a ticket waits to be taken by an owner before it is refused.
	patience = 10 * time.Second
	// maxRequest is from how many bytes on a request is full.
	maxRequest = 256 << 10
	// firstPause and lastPause are how long a desk waits before it asks again an owner
	// that did not answer.
	firstPause, lastPause = 50 * time.Millisecond, time.Second
)

// desk is what the sessions of this node have in the pools of one shard.
type desk struct {
	room  *Room
	shard int
	wake  chan struct{} // there is something to say to the owner
	moved chan struct{} // and it may be another one

	mu      sync.Mutex // guards what follows
	seats   map[wire.ID]*seat
	groups  map[wire.ID]*group
	queue   []command
	epoch   uint64
	stale   bool // the conversation has to begin anew
	asking  int  // seats that no owner has taken yet
	news    []news
	telling bool // somebody hands out news
}

// command is one to be sent.
type command struct {
	kind byte
	seat *seat
}

// seat is one ticket, or one part in a match, of a session.
type seat struct {
	session   *Session
	ticket    Ticket
	entry     entry
	again     bool
	since     time.Time
	state     seatState
	sent      bool // in this conversation
	canceling bool
	answerTo  []byte // reference of Cancel or Leave
	group     *group
	view      Match
	early     []letter // what came before the news of its match
}

type seatState uint8

const (
	seatOutside seatState = iota // its desk does not know it yet
	seatNew                      // no owner has said that it waits
	seatWaiting                  // it does
	seatMatched
	seatLeaving
	seatGone
)

// group is a match of which there are seats here.
type group struct {
	id        wire.ID
	ambiguous bool
	members   []member
	seats     []*seat
}

type member struct {
	ticket wire.ID
	device string
	node   string
	props  Properties
}

func newDesk(r *Room, shard int) *desk {
	return &desk{
		room: r, shard: shard, stale: true,
		wake: make(chan struct{}, 1), moved: make(chan struct{}, 1),
		seats: make(map[wire.ID]*seat), groups: make(map[wire.ID]*group),
	}
}

func stir(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// run talks to the owner, whoever that is, until ctx ends.
func (d *desk) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		}
		wait := time.Duration(0)
		for ctx.Err() == nil {
			requests := d.requests()
			if requests == nil {
				break
			}
			if d.converse(ctx, requests) {
				wait = 0
				continue
			}
			d.mu.Lock()
			d.stale = true
			d.mu.Unlock()
			if wait > 0 {
				d.rest(ctx, wait)
			}
			wait = min(max(2*wait, firstPause), lastPause)
		}
	}
}

// rest waits, but no longer than until the owner is another one.
func (d *desk) rest(ctx context.Context, wait time.Duration) {
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-d.moved:
	case <-t.C:
	}
}

// converse sends requests, and says whether all were taken.
func (d *desk) converse(ctx context.Context, requests [][]byte) bool {
	for _, q := range requests {
		ctx, cancel := context.WithTimeout(ctx, askTime)
		reply, err := d.room.owners.Ask(ctx, d.shard, q)
		cancel()
		if err != nil || len(reply) != 1 || reply[0] != answerTaken {
			return false
		}
	}
	return true
}

// anew has the conversation begin anew.
func (d *desk) anew() {
	d.mu.Lock()
	d.stale = true
	d.mu.Unlock()
	stir(d.moved)
	stir(d.wake)
}

// requests returns what is to be said next, nil for nothing: all that there is, when
// the conversation begins, or what has come since.
func (d *desk) requests() [][]byte {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.stale {
		if len(d.queue) == 0 {
			return nil
		}
		p := d.pages(false)
		for _, c := range d.queue {
			d.say(&p, c)
		}
		d.clearQueue()
		return p.list
	}
	d.epoch++
	d.stale = false
	d.clearQueue()
	p := d.pages(true)
	for _, s := range d.seats {
		s.sent = false
	}
	var entries []*seat
	for _, s := range d.seats {
		switch s.state {
		case seatMatched:
			d.say(&p, command{cmdHold, s})
		case seatLeaving:
			d.say(&p, command{cmdQuit, s})
		default:
			entries = append(entries, s)
		}
	}
	// What is matched comes first, and who waits in the order in which they came: when an
	// entry comes, what its device had before and has not been said is over.
	slices.SortFunc(entries, func(a, b *seat) int { return a.since.Compare(b.since) })
	for _, s := range entries {
		d.say(&p, command{cmdEnter, s})
		if s.canceling {
			d.say(&p, command{cmdCancel, s})
		}
	}
	p.add(append([]byte(nil), cmdSynced))
	return p.list
}

func (d *desk) clearQueue() {
	clear(d.queue)
	d.queue = d.queue[:0]
	if cap(d.queue) > 1<<14 {
		d.queue = nil
	}
}

// pages are requests, each as long as one may be.
type pages struct {
	epoch uint64
	list  [][]byte
}

func (d *desk) pages(begins bool) pages {
	return pages{d.epoch, [][]byte{appendRequestHeader(nil, d.epoch, begins)}}
}

func (p *pages) last() *[]byte {
	if last := &p.list[len(p.list)-1]; len(*last) < maxRequest {
		return last
	}
	p.list = append(p.list, appendRequestHeader(nil, p.epoch, false))
	return &p.list[len(p.list)-1]
}

func (p *pages) add(b []byte) {
	last := p.last()
	*last = append(*last, b...)
}

// say appends a command. mu is held.
func (d *desk) say(p *pages, c command) {
	s, to := c.seat, p.last()
	switch c.kind {
	case cmdEnter:
		if s.state == seatGone {
			return
		}
		now := d.room.opts.Now()
		s.entry.waited, s.entry.age = max(0, now.Sub(s.since)), max(0, now.Sub(s.session.began))
		*to = appendEntry(*to, &s.entry)
		s.sent = true
		return
	case cmdGone:
		if !s.sent {
			return
		}
	case cmdHold, cmdQuit:
		s.sent = true
	}
	*to = append(append(*to, c.kind), s.entry.id[:]...)
	if c.kind == cmdHold {
		*to = append(*to, byte(len(s.group.members)))
	}
}

// push queues a command. mu is held.
func (d *desk) push(kind byte, s *seat) {
	d.queue = append(d.queue, command{kind, s})
	stir(d.wake)
}

// sit adds a seat, which asks to take part. mu is held.
func (d *desk) sit(s *seat) {
	if s.state != seatOutside {
		return // its session was closed meanwhile
	}
	s.state = seatNew
	d.seats[s.entry.id] = s
	d.asking++
	d.push(cmdEnter, s)
}

// rise takes a seat away that is over. mu is held.
func (d *desk) rise(s *seat) {
	if s.state == seatNew {
		d.asking--
	}
	if g := s.group; g != nil {
		g.seats = slices.DeleteFunc(g.seats, func(t *seat) bool { return t == s })
		if len(g.seats) == 0 {
			delete(d.groups, g.id)
		}
		s.group = nil
	}
	s.state = seatGone
	if n := len(s.early); n > 0 {
		d.room.metrics.dropped.Add(float64(n))
		s.early = nil
	}
	delete(d.seats, s.entry.id)
	s.session.forget(s)
}

// leaveAll ends seats of a session that is closed.
func (d *desk) leaveAll(s *seat) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if s.state != seatGone {
		d.rise(s)
		d.push(cmdGone, s)
	}
}

// giveUp refuses what no owner has taken for too long.
func (d *desk) giveUp(now time.Time) {
	d.mu.Lock()
	if d.asking > 0 {
		for _, s := range d.seats {
			if s.state == seatNew && now.Sub(s.since) > patience {
				d.rise(s)
				d.push(cmdGone, s)
				d.tell(news{kind: newsRefused, seat: s, refusal: &Refusal{Code: codeBusy, Reason: "nobody serves this pool at present; try again"}})
			}
		}
	}
	d.handOut()
}
