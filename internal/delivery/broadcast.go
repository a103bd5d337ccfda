package delivery

import (
	"sync/atomic"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// audiencePage is how many users are taken from the roster at once: others wait
// for its order no longer than that takes.
const audiencePage = 1000

// Broadcast sends a message to every user of its sender's app that is connected
// now, the sender included, and returns how many they are. It sets To and Group.
//
// A FAST one is handed over before Broadcast returns. A RELIABLE one is stored
// in as few records as the limit of receivers allows: Origin hears of each of
// them. Done is called once, when all are through.
func (h *Hub) Broadcast(s *Send, once *Once) (receivers int) {
	s.Group = true
	app := s.From.App()
	switch {
	case !h.opts.Access.Known(app):
		h.refuse(s, []wire.UserID{s.From}, wire.KindDeliverFailed, wire.CodeUnknownApp, unknownApp)
		if s.Done != nil {
			s.Done()
		}
		return 0
	case s.Fast:
		return h.broadcastFast(app, s)
	}
	return h.broadcastReliable(app, s, once)
}

// broadcastFast hands the frame to one user after the other, and has it written
// before the next gets it: there may be very many, and each that is written to
// by a goroutine of its own costs memory.
func (h *Hub) broadcastFast(app string, s *Send) (receivers int) {
	frame := wire.AppendMessage(nil, s.From, s.Content, s.Reference)
	for user := wire.UserID(""); ; {
		page := h.roster.after(app, user, audiencePage)
		for _, user = range page {
			s.Sessions += h.handOver(s.From, user, frame, nil, atOnce{})
		}
		receivers += len(page)
		if len(page) < audiencePage {
			break
		}
	}
	if s.Done != nil {
		s.Done()
	}
	return receivers
}

// atOnce has each frame written as soon as it is queued.
type atOnce struct{}

// Later implements Later.
func (atOnce) Later(r Receiver) { r.Write() }

func (h *Hub) broadcastReliable(app string, s *Send, once *Once) (receivers int) {
	var users []wire.UserID
	for last := wire.UserID(""); ; {
		page := h.roster.after(app, last, audiencePage)
		users = append(users, page...)
		if len(page) < audiencePage {
			break
		}
		last = page[len(page)-1]
	}
	receivers = len(users)
	list := chunks(s, users, max(h.opts.Group(), 1))
	if len(list) == 0 {
		if s.Done != nil {
			s.Done()
		}
		return 0
	}
	frame := framesOf(list[:1], frameSize(s))[0]
	frames := make([][]byte, len(list))
	for i, c := range list {
		frames[i], c.Content, c.Reference = frame, nil, list[0].Reference
	}
	h.opts.Keeper.AcceptAll(list, frames, once)
	return receivers
}

// chunks divides a message among its receivers, at most limit for each part. The
// last that is done tells s.
func chunks(s *Send, users []wire.UserID, limit int) []*Send {
	var left atomic.Int64
	left.Store(int64((len(users) + limit - 1) / limit))
	done := func() {
		if left.Add(-1) == 0 && s.Done != nil {
			s.Done()
		}
	}
	var list []*Send
	for len(users) > 0 {
		n := min(limit, len(users))
		c := *s
		c.To, c.Index, c.Done = users[:n:n], len(list), done
		users = users[n:]
		list = append(list, &c)
	}
	return list
}
