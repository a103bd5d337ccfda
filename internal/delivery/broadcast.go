package delivery

import (
	"context"
	"crypto/sha256"
	"fmt"
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// audiencePage is how many users are taken from the roster at once: others wait
// for its order no longer than that takes.
const audiencePage = 1000

// Reached says what became of a broadcast.
type Reached struct {
	Receivers int  // users who get it
	Sessions  int  // sessions on which a FAST one was queued
	Repeated  bool // it was sent before, see Once: nobody got it again
}

// Broadcast sends a message to every user of its sender's app that is connected
// now, the sender included. It sets To, Group, Receipt and Done of s; Origin hears
// of those who do not get it.
//
// A FAST one is handed over before Broadcast returns. A RELIABLE one is stored in
// records of as many receivers as one message may have, one after the other:
// whoever listens to a million users does not fill memory with them. With once
// nobody gets it twice, whoever comes and goes between two attempts; those whose
// record was not stored when the first one was cut off do not get it at all. When
// ctx ends first the error is ctx's, and the rest is not sent.
func (h *Hub) Broadcast(ctx context.Context, s *Send, once *Once) (Reached, error) {
	s.Group = true
	app := s.From.App()
	if !h.opts.Access.Known(app) {
		h.refuse(s, []wire.UserID{s.From}, wire.KindDeliverFailed, wire.CodeUnknownApp, unknownApp)
		return Reached{}, nil
	}
	if s.Fast {
		h.askedFast.Inc()
		return h.broadcastFast(app, s), nil
	}
	h.askedReliable.Inc()
	return h.broadcastReliable(ctx, h.audience(app), s, once)
}

// broadcastFast hands the frame to one user after the other, and has it written
// before the next gets it: there may be very many, and each that is written to
// by a goroutine of its own costs memory. The nodes that have sessions of a page of
// users get one message for all of them, and do the same.
func (h *Hub) broadcastFast(app string, s *Send) (r Reached) {
	frame := wire.AppendMessage(nil, s.From, s.Content, s.Reference)
	for last := wire.UserID(""); ; {
		page := h.roster.after(app, last, audiencePage)
		r.Sessions += h.broadcastPage(last, page, transfer{h: h, from: s.From, frame: frame, later: atOnce{}})
		r.Receivers += len(page)
		if len(page) < audiencePage {
			return r
		}
		last = page[len(page)-1]
	}
}

// broadcastPage hands the frame to the users that come after one of them, and
// returns to how many sessions.
func (h *Hub) broadcastPage(after wire.UserID, page []wire.UserID, t transfer) (sessions int) {
	var elsewhere map[*peer]branch
	var master wire.UserID // it gets its own
	for _, user := range page {
		p := h.roster.of(user)
		if p.there == nil || h.opts.Access.IsMaster(user) {
			if p.there != nil {
				master = user
			}
			t.give(user)
			continue
		}
		if elsewhere == nil {
			elsewhere = make(map[*peer]branch)
		}
		for x := p.there; x != nil; x = x.next {
			b := elsewhere[x.node]
			if b.sessions++; x.first(p.there) {
				b.count++
			}
			elsewhere[x.node] = b
		}
		t.sessions += h.queue(p.here, t.frame, nil, t.later)
	}
	t.end()
	for node, b := range elsewhere {
		head := appendText(appendText(message(kindAll), string(after)), string(page[len(page)-1]))
		if h.out.nodes.Send(node.id, appendText(head, string(master)), t.frame) {
			t.sessions += b.sessions
		} else {
			h.droppedLink.Add(float64(b.count))
		}
	}
	return t.sessions
}

// takeAll hands a frame to a page of users of another node's broadcast.
func (h *Hub) takeAll(_ *peer, s *scanner) {
	after, last, but := s.user(), s.user(), s.user()
	if s.short {
		return
	}
	for {
		page := h.roster.after(last.App(), after, audiencePage)
		for _, user := range page {
			if user > last {
				return
			}
			if user != but {
				h.queue(h.roster.of(user).here, s.rest, nil, atOnce{})
			}
		}
		if len(page) < audiencePage {
			return
		}
		after = page[len(page)-1]
	}
}

// atOnce has each frame written as soon as it is queued.
type atOnce struct{}

// Later implements Later.
func (atOnce) Later(r Receiver) { r.Write() }

// audience returns an app's users who are connected.
func (h *Hub) audience(app string) []wire.UserID {
	var users []wire.UserID
	for last := wire.UserID(""); ; last = users[len(users)-1] {
		page := h.roster.after(app, last, audiencePage)
		users = append(users, page...)
		if len(page) < audiencePage {
			return users
		}
	}
}

func (h *Hub) broadcastReliable(ctx context.Context, users []wire.UserID, s *Send, once *Once) (r Reached, err error) {
	for i := 0; len(users) > 0; i++ {
		n := min(max(h.opts.Group(), 1), len(users))
		p := &part{to: users[:n:n], done: make(chan struct{})}
		h.sendAll([]*Send{p.of(s)}, once.part(i))
		select {
		case <-p.done:
		case <-ctx.Done():
			return r, fmt.Errorf("wait for the message store: %w", ctx.Err())
		}
		if p.send.Repeated && i == 0 {
			return Reached{Repeated: true}, nil
		}
		r.Receivers += n - len(p.refused)
		users = users[n:]
		switch e := p.failure; {
		case e == nil:
		case e.Code == wire.CodeMailboxFull:
			if s.Origin != nil {
				s.Origin.Failed(e, s.Reference)
			}
		default: // the store takes nothing: the rest would hear the same
			h.refuse(s, slices.Concat(p.refused, users), e.Kind, e.Code, e.Reason)
			return r, nil
		}
	}
	return r, nil
}

// part is a record of a broadcast, and its origin.
type part struct {
	to      []wire.UserID
	send    *Send
	refused []wire.UserID
	failure *wire.Error
	done    chan struct{}
}

// of makes a message of the part.
func (p *part) of(s *Send) *Send {
	c := *s
	c.To, c.Origin, c.Receipt, c.Done = p.to, p, true, func() { close(p.done) }
	p.send = &c
	return p.send
}

// Stored implements Origin.
func (p *part) Stored(wire.ID, []byte) {}

// Failed implements Origin.
func (p *part) Failed(e *wire.Error, _ []byte) {
	p.failure, p.refused = e, append(p.refused, e.To...)
}

// part returns what makes part i of a broadcast one that counts once.
func (o *Once) part(i int) *Once {
	if o == nil {
		return nil
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%x part %d", o.Key, i))
	p := &Once{Print: o.Print, Count: 1}
	copy(p.Key[:], sum[:])
	return p
}
