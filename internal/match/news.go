package match

import (
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// news is one call of an Outlet.
type news struct {
	kind      newsKind
	seat      *seat
	match     Match
	device    string
	content   []byte
	reference []byte
	refusal   *Refusal
	why       Reason
	ended     bool
}

type newsKind uint8

const (
	newsWaiting newsKind = iota
	newsRefused
	newsMatched
	newsTimedOut
	newsCanceled
	newsPeerLeft
	newsLeft
	newsMessage
)

// tell queues a call. mu is held.
func (d *desk) tell(n news) { d.news = append(d.news, n) }

// handOut makes the calls that wait, unless somebody else is at it, and unlocks mu,
// which is held. Outlets are called without it, so they may come back with a request.
func (d *desk) handOut() {
	if d.telling {
		d.mu.Unlock()
		return
	}
	d.telling = true
	for len(d.news) > 0 {
		list := d.news
		d.news = nil
		d.mu.Unlock()
		for i := range list {
			list[i].call()
		}
		d.mu.Lock()
	}
	d.telling = false
	d.mu.Unlock()
}

func (n *news) call() {
	s := n.seat.session
	if s.closed.Load() {
		return
	}
	switch o := s.outlet; n.kind {
	case newsWaiting:
		o.Waiting(n.seat.ticket)
	case newsRefused:
		t := n.seat.ticket
		if n.reference != nil {
			t.Reference = n.reference
		}
		o.Refused(t, n.refusal)
	case newsMatched:
		o.Matched(n.seat.ticket, n.match)
	case newsTimedOut:
		o.TimedOut(n.seat.ticket)
	case newsCanceled:
		o.Canceled(n.seat.ticket, n.reference, n.why)
	case newsPeerLeft:
		o.PeerLeft(n.match, n.device, n.ended)
	case newsLeft:
		o.Left(n.match, n.reference, n.why)
	case newsMessage:
		o.Message(n.match, n.device, n.content)
	}
}

// hear takes in what the owner tells. What was told in an earlier conversation is void.
func (d *desk) hear(r *reader) {
	epoch := r.uvarint()
	d.mu.Lock()
	if epoch == d.epoch {
		for len(r.b) > 0 {
			d.event(r)
		}
	}
	d.handOut()
}

func (d *desk) event(r *reader) {
	event, id := r.byte(), r.id()
	switch event {
	case evMatched:
		d.matched(id, r)
		return
	case evPeerLeft:
		if ticket, ended := r.id(), r.byte() == 1; r.err == nil {
			d.peerLeft(d.groups[id], ticket, ended)
		}
		return
	}
	var why, matched byte
	switch event {
	case evRefused:
		why, matched = r.byte(), r.byte()
	case evCanceled, evLeft:
		why = r.byte()
	}
	s := d.seats[id]
	if r.err != nil || s == nil {
		return
	}
	switch event {
	case evWaiting:
		d.taken(s)
	case evRefused:
		d.rise(s)
		d.tell(news{kind: newsRefused, seat: s, refusal: refusalOf(why, matched == 1)})
	case evTimedOut:
		d.taken(s)
		d.rise(s)
		d.tell(news{kind: newsTimedOut, seat: s})
	case evCanceled:
		if s.state >= seatMatched {
			return // the ticket was used up, and the match tells of its own end
		}
		d.taken(s)
		d.rise(s)
		if s.canceling && Reason(why) == Over {
			why = byte(Asked)
		}
		d.tell(news{kind: newsCanceled, seat: s, reference: s.answerTo, why: Reason(why)})
	case evTooLate:
		d.tooLate(s)
	case evLeft:
		d.left(s, Reason(why))
	}
}

// taken says that a ticket waits, once. mu is held.
func (d *desk) taken(s *seat) {
	if s.state == seatNew {
		s.state = seatWaiting
		d.asking--
		d.tell(news{kind: newsWaiting, seat: s})
	}
}

// tooLate answers Cancel when the ticket is matched. mu is held.
func (d *desk) tooLate(s *seat) {
	if !s.canceling {
		return
	}
	s.canceling = false
	d.tell(news{kind: newsRefused, seat: s, reference: s.answerTo, refusal: &Refusal{Code: codeConflict, Reason: "the user is matched already; MATCH_LEAVE leaves the match"}})
	s.answerTo = nil
}

// left says that a seat is in no match any more. mu is held.
func (d *desk) left(s *seat, why Reason) {
	switch {
	case s.state == seatLeaving:
		view := s.view
		d.rise(s)
		d.tell(news{kind: newsLeft, seat: s, match: view, reference: s.answerTo, why: Asked})
	case s.state != seatMatched:
	case why == Over: // the others left, and that was not heard
		for _, m := range slices.Clone(s.group.members) {
			if m.ticket != s.entry.id && s.group != nil {
				d.peerLeft(s.group, m.ticket, len(s.group.members) <= 2)
			}
		}
	default:
		view := s.view
		d.rise(s)
		d.tell(news{kind: newsLeft, seat: s, match: view, why: why})
	}
}

// matched takes in a match as it is: a new one, or one of which some have left. mu is
// held.
func (d *desk) matched(id wire.ID, r *reader) {
	ambiguous := r.byte() == 1
	members := make([]member, 0, MaxGroup)
	for range min(r.byte(), MaxGroup) {
		members = append(members, member{r.id(), r.text(), r.text(), r.properties()})
	}
	if r.err != nil {
		return
	}
	g := d.groups[id]
	if g == nil {
		g = &group{id: id, ambiguous: ambiguous, members: members}
	}
	for _, m := range slices.Clone(g.members) {
		if !slices.ContainsFunc(members, func(n member) bool { return n.ticket == m.ticket }) {
			d.peerLeft(g, m.ticket, false)
		}
	}
	g.members = members
	for _, m := range members {
		if s := d.seats[m.ticket]; s != nil && s.state < seatMatched {
			d.join(s, g)
		}
	}
}

// join puts a seat into a match. mu is held.
func (d *desk) join(s *seat, g *group) {
	d.taken(s)
	d.groups[g.id] = g
	g.seats = append(g.seats, s)
	s.state, s.group = seatMatched, g
	s.look()
	d.tell(news{kind: newsMatched, seat: s, match: s.view})
	d.tooLate(s)
	waiting := s.early
	s.early = nil
	for _, e := range waiting {
		d.deliver(s, e)
	}
}

// look makes the match as the seat sees it. mu is held.
func (s *seat) look() {
	s.view = Match{ID: s.group.id, Pool: s.entry.pool, Ambiguous: s.group.ambiguous}
	for _, m := range s.group.members {
		if m.ticket != s.entry.id {
			s.view.Peers = append(s.view.Peers, Peer{m.device, m.props})
		}
	}
}

// peerLeft takes a member out of a match, which has ended when nobody else is left. mu
// is held.
func (d *desk) peerLeft(g *group, ticket wire.ID, ended bool) {
	if g == nil {
		return
	}
	i := slices.IndexFunc(g.members, func(m member) bool { return m.ticket == ticket })
	if i < 0 {
		return
	}
	device := g.members[i].device
	g.members = slices.Delete(slices.Clone(g.members), i, i+1)
	for _, s := range slices.Clone(g.seats) {
		if s.entry.id == ticket || s.state != seatMatched {
			continue
		}
		s.look()
		d.tell(news{kind: newsPeerLeft, seat: s, match: s.view, device: device, ended: ended})
		if ended {
			d.rise(s)
			d.again(s)
		}
	}
}

// again has a session take part once more, if it wants to. mu is held.
func (d *desk) again(s *seat) {
	if !s.again {
		return
	}
	id, err := d.room.newID()
	if err != nil {
		return
	}
	next := &seat{session: s.session, ticket: s.ticket, entry: s.entry, again: true, since: d.room.opts.Now()}
	next.ticket.ID, next.entry.id = id, id
	if s.session.remember(next, nil) == nil {
		d.sit(next)
	}
}

func refusalOf(why byte, matched bool) *Refusal {
	switch {
	case why == refusedFull:
		return &Refusal{Code: codeBusy, Reason: "as many wait as there may be; try again later"}
	case matched:
		return &Refusal{Code: codeConflict, Reason: "the user is in a match of this pool already, maybe by another session; MATCH_LEAVE from there first"}
	}
	return &Refusal{Code: codeConflict, Reason: "the user waits in this pool already, maybe by another session; MATCH_CANCEL from there first"}
}

func notInMatch() *Refusal {
	return &Refusal{Code: codeNotFound, Reason: "this session is not in that match: it is over, or was never its own; another session of the user may be in it"}
}
