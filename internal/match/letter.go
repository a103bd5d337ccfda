package match

import (
	"encoding/binary"
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// maxEarly is how many messages wait at a seat for the news of the match that they are
// of: they come another way. What is beyond is dropped, and counted.
const maxEarly = 64

// letter is a message from one member to others.
type letter struct {
	match, from wire.ID // the match, and the sender's ticket
	content     []byte
}

// parcel is a message for members on another node.
type parcel struct {
	node    string
	message []byte
}

// send sends content from one seat to others.
func (d *desk) send(s *seat, to []string, content []byte) *Refusal {
	d.mu.Lock()
	if s.state != seatMatched {
		d.mu.Unlock()
		return notInMatch()
	}
	targets, refusal := s.targets(to)
	l := letter{s.group.id, s.entry.id, content}
	var away []parcel
	for i, m := range targets {
		switch {
		case m.node == d.room.opts.Node:
			d.deliver(d.seats[m.ticket], l)
		case slices.ContainsFunc(targets[:i], func(n *member) bool { return n.node == m.node }): // it is in that parcel
		default:
			away = append(away, parcel{m.node, l.append(d.shard, m.node, targets[i:])})
		}
	}
	d.handOut()
	if refusal != nil {
		return refusal
	}
	for _, a := range away {
		d.room.owners.Tell(a.node, a.message)
	}
	d.room.metrics.sent.Inc()
	return nil
}

// append makes the message for those of the members who are on a node.
func (l letter) append(shard int, node string, members []*member) []byte {
	b := make([]byte, 0, len(l.content)+64+16*len(members))
	b = binary.AppendUvarint(append(b, sayMessage), uint64(shard))
	b = append(append(b, l.match[:]...), l.from[:]...)
	count := len(b)
	b = append(b, 0)
	for _, m := range members {
		if m.node == node {
			b = append(b, m.ticket[:]...)
			b[count]++
		}
	}
	return append(b, l.content...)
}

// targets returns the members that are meant. mu is held.
func (s *seat) targets(to []string) ([]*member, *Refusal) {
	var all []*member
	for i := range s.group.members {
		m := &s.group.members[i]
		if m.ticket != s.entry.id && (len(to) == 0 || slices.Contains(to, m.device)) {
			all = append(all, m)
		}
	}
	for _, device := range to {
		if !slices.ContainsFunc(all, func(m *member) bool { return m.device == device }) {
			return nil, refuseField("to", "names "+device+", who is no other member of the match")
		}
	}
	return all, nil
}

// message takes in what a member on another node sent.
func (d *desk) message(r *reader) {
	l := letter{match: r.id(), from: r.id()}
	tickets := make([]wire.ID, 0, MaxGroup)
	for range min(r.byte(), MaxGroup) {
		tickets = append(tickets, r.id())
	}
	if r.err != nil {
		return
	}
	l.content = r.b
	r.b = nil
	d.mu.Lock()
	for _, t := range tickets {
		d.deliver(d.seats[t], l)
	}
	d.handOut()
}

// deliver hands a message to a seat, now or when it has heard of the match. mu is held.
func (d *desk) deliver(s *seat, l letter) {
	switch {
	case s == nil, s.state == seatLeaving:
	case s.state != seatMatched:
		if len(s.early) < maxEarly {
			s.early = append(s.early, l)
			return
		}
	case s.group.id == l.match:
		if i := slices.IndexFunc(s.group.members, func(m member) bool { return m.ticket == l.from }); i >= 0 {
			d.tell(news{kind: newsMessage, seat: s, match: s.view, device: s.group.members[i].device, content: l.content})
			return
		}
	}
	d.room.metrics.dropped.Inc()
}
