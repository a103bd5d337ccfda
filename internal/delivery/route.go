package delivery

import (
	"crypto/sha256"
	"fmt"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Where a message goes that has receivers in other domains: for each next domain
// on the way a part, a FORWARD to the user of that link, RELIABLE in its mailbox,
// FAST on its sessions; and one for the receivers who live here.

// way is a part of a message that goes to another domain.
type way struct {
	Hop // Domain is that of the first receiver
	to  []wire.UserID
}

// ways are the receivers of a message by where they go.
type ways struct {
	local []wire.UserID
	graph uint64 // by which these do
	far   []way
	lost  []wire.UserID // nobody knows where they live, or how to get there
}

func (w *ways) parts() int {
	n := len(w.far)
	if len(w.local) > 0 {
		n++
	}
	return n
}

// strays says whether some receiver lives elsewhere. There are Domains.
func (h *Hub) strays(to []wire.UserID) bool {
	for _, user := range to {
		if !h.opts.Domains.Next(user).Local {
			return true
		}
	}
	return false
}

// waysOf sorts receivers by where they go.
func (h *Hub) waysOf(to []wire.UserID) (w ways) {
	for _, user := range to {
		w.add(user, h.opts.Domains.Next(user))
	}
	return w
}

func (w *ways) add(user wire.UserID, hop Hop) {
	switch {
	case hop.Local:
		w.local, w.graph = append(w.local, user), hop.Graph
		return
	case hop.Link == "":
		w.lost = append(w.lost, user)
		return
	}
	for i := len(w.far) - 1; i >= 0; i-- { // the last one has room
		p := &w.far[i]
		if p.Link == hop.Link && p.Graph == hop.Graph && len(p.to) < wire.MaxForwardReceivers {
			p.to = append(p.to, user)
			return
		}
	}
	w.far = append(w.far, way{hop, []wire.UserID{user}})
}

const noRoute = "nobody knows the way to the domain where this user lives"

// parcel is a part of a message, which a keeper takes by itself.
type parcel struct {
	send  *Send
	frame []byte
	set   bool        // who else is in it depends on the routes of this moment
	place wire.UserID // the link that it goes to; empty: its receivers live here
	graph uint64
}

// partsOf divides a RELIABLE message that has receivers elsewhere. It tells the
// sender of those who cannot be reached; when there are no others, none is left.
//
// Whoever knows messages that come again (an outbox of the sender's, a request
// with a key) knows each part by itself, and takes one that comes again for stored.
// The parts of a message to several may differ from one time to the next, since
// routes change; so they bear other names under other routes, and what comes again
// then may arrive twice, but never goes missing.
func (h *Hub) partsOf(s *Send) []parcel {
	w := h.waysOf(s.To)
	if len(w.lost) > 0 {
		h.refuse(s, w.lost, wire.KindDeliverFailed, wire.CodeNoRoute, noRoute)
	}
	if w.parts() == 0 {
		return nil
	}
	inner := appendFrame(make([]byte, 0, frameSize(s)), s)
	s.Content = nil
	s.Reference = append([]byte(nil), s.Reference...)
	j := &joint{whole: s, left: w.parts(), first: s.To[0]}
	parts := make([]parcel, 0, w.parts())
	if len(w.local) > 0 {
		p := j.part(w.local, nil)
		p.To = w.local
		if p.Producer != "" {
			p.Producer = fmt.Sprintf("%s@%d", p.Producer, w.graph)
		}
		parts = append(parts, parcel{send: p, frame: inner, set: true, graph: w.graph})
	}
	for i := range w.far {
		parts = append(parts, h.farPart(j, i, &w.far[i], inner))
	}
	return parts
}

// farPart makes the part of a message that goes to another domain.
func (h *Hub) farPart(j *joint, i int, w *way, inner []byte) parcel {
	s := j.whole
	p := j.part(w.to, w)
	p.To, p.Confirm = []wire.UserID{w.Link}, false
	f := wire.Forward{
		Origin: h.opts.Domain, From: s.From, To: w.to, Hops: 1, Graph: w.Graph, SentAt: h.opts.Now(),
		Group: s.Group, Quiet: s.Quiet, Confirm: s.Confirm && !s.Group && len(s.Reference) > 0,
		Reference: s.Reference, Frame: inner,
	}
	if s.TTL > 0 {
		f.Expires = f.SentAt.Add(s.TTL)
	}
	set := s.Group || len(s.To) > 1
	switch {
	case s.Producer == "":
	case set:
		p.Producer = fmt.Sprintf("%s>%s#%d@%d", s.Producer, w.Link, i, w.Graph)
	default:
		f.Producer, f.Seq = s.Producer, s.Seq
	}
	h.sentForwards.Inc()
	return parcel{send: p, frame: forwardFrame(&f), set: set, place: w.Link, graph: w.Graph}
}

func forwardFrame(f *wire.Forward) []byte {
	size := len(f.Frame) + len(f.Reference) + 320
	for _, to := range f.To {
		size += len(to) + 3
	}
	return wire.AppendForward(make([]byte, 0, size), f)
}

// sendParts has the parts of a message kept.
func (h *Hub) sendParts(s *Send) {
	parts := h.partsOf(s)
	if len(parts) == 0 && s.Done != nil {
		s.Done()
	}
	for _, p := range parts {
		h.opts.Keeper.Accept(p.send, p.frame)
	}
}

// load is what a keeper takes together.
type load struct {
	place  wire.UserID
	once   *Once
	sends  []*Send
	frames [][]byte
}

// loads are the RELIABLE messages of a request, of which some go to other domains.
// What goes to one place stays in order.
type loads struct {
	list []load
	last map[wire.UserID]int // of each place, its last load
	keys map[wire.UserID]map[uint64]*Once
}

func (l *loads) add(place wire.UserID, once *Once, s *Send, frame []byte) {
	i, there := l.last[place]
	if !there || l.list[i].once != once {
		if l.last == nil {
			l.last = make(map[wire.UserID]int)
		}
		i = len(l.list)
		l.last[place] = i
		l.list = append(l.list, load{place: place, once: once})
	}
	l.list[i].sends = append(l.list[i].sends, s)
	l.list[i].frames = append(l.list[i].frames, frame)
}

// key returns what makes a part a request that counts once, where that depends on
// the routes.
func (l *loads) key(once *Once, p *parcel) *Once {
	if once == nil || !p.set {
		return once
	}
	if l.keys == nil {
		l.keys = make(map[wire.UserID]map[uint64]*Once)
	}
	if l.keys[p.place] == nil {
		l.keys[p.place] = make(map[uint64]*Once)
	}
	o := l.keys[p.place][p.graph]
	if o == nil {
		o = once.by(p.place, p.graph)
		l.keys[p.place][p.graph] = o
	}
	return o
}

// by returns the key of what goes a certain way.
func (o *Once) by(link wire.UserID, graph uint64) *Once {
	sum := sha256.Sum256(fmt.Appendf(nil, "%x by %s at %d", o.Key, link, graph))
	p := &Once{Print: o.Print, Count: o.Count}
	copy(p.Key[:], sum[:])
	return p
}

// sendReliable has the RELIABLE messages of a request kept, of which some may go to
// other domains.
func (h *Hub) sendReliable(list []*Send, once *Once) {
	var l loads
	for _, s := range list {
		if !h.strays(s.To) {
			frame := appendFrame(make([]byte, 0, frameSize(s)), s)
			s.Content = nil
			s.Reference = append([]byte(nil), s.Reference...)
			l.add("", once, s, frame)
			continue
		}
		parts := h.partsOf(s)
		if len(parts) == 0 && s.Done != nil {
			s.Done()
		}
		for i := range parts {
			p := &parts[i]
			l.add(p.place, l.key(once, p), p.send, p.frame)
		}
	}
	for _, x := range l.list {
		h.opts.Keeper.AcceptAll(x.sends, x.frames, x.once)
	}
}

// anyStrays says whether a receiver of one of the messages lives elsewhere.
func (h *Hub) anyStrays(list []*Send) bool {
	if h.opts.Domains == nil {
		return false
	}
	for _, s := range list {
		if h.strays(s.To) {
			return true
		}
	}
	return false
}
