package delivery

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Keeper is what the hub needs of whoever keeps RELIABLE messages.
type Keeper interface {
	// Accept takes a RELIABLE message. frame is what its receivers get; it
	// belongs to the keeper, as does s.
	Accept(s *Send, frame []byte)
	// AcceptAll takes RELIABLE messages that came in one request, in order, and
	// has them stored together as far as that is possible. once may be nil. The
	// frames belong to the keeper, as do the messages.
	AcceptAll(list []*Send, frames [][]byte, once *Once)
	// Confirm tells a sender, RELIABLE, that receiver has its FAST message.
	Confirm(sender, receiver wire.UserID, reference []byte)
}

// Access says who may reach whom.
type Access interface {
	// Known says whether an app of that name is configured.
	Known(app string) bool
	// MayReach says whether users of one app may send to users of the other.
	MayReach(from, to string) bool
	// IsMaster says whether the user is the master user of its app.
	IsMaster(user wire.UserID) bool
}

// Options configure a Hub. All but Metrics are needed.
type Options struct {
	Keeper   Keeper
	Access   Access
	Sessions func() int // how many sessions one user may have on this node
	Group    func() int // how many receivers one message may have
	Metrics  prometheus.Registerer
}

// Hub routes messages. Its methods may be called from any goroutine.
type Hub struct {
	opts   Options
	roster *roster
	frames sync.Pool // of *[]byte

	fast          prometheus.Counter
	droppedAbsent prometheus.Counter
	droppedQueue  prometheus.Counter
	askedReliable prometheus.Counter
	askedFast     prometheus.Counter
}

// New makes a hub.
func New(opts Options) *Hub {
	h := &Hub{opts: opts, roster: newRoster()}
	h.frames.New = func() any { b := make([]byte, 0, 2048); return &b }
	h.fast = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "switchboard_fast_delivered_total", Help: "FAST messages queued on a session.",
	})
	dropped := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "switchboard_fast_dropped_total", Help: "FAST messages dropped, by reason.",
	}, []string{"reason"})
	h.droppedAbsent = dropped.WithLabelValues("absent")
	h.droppedQueue = dropped.WithLabelValues("queue_full")
	asked := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "switchboard_api_messages_total", Help: "Messages and broadcasts that apps' own servers sent over HTTP, by feature.",
	}, []string{"feature"})
	h.askedReliable, h.askedFast = asked.WithLabelValues("RELIABLE"), asked.WithLabelValues("FAST")
	users := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "switchboard_online_users", Help: "Users with a session.",
	}, func() float64 { return float64(h.roster.len()) })
	if opts.Metrics != nil {
		opts.Metrics.MustRegister(h.fast, dropped, asked, users)
	}
	return h
}

// Add puts a session into the roster, or returns TOO_MANY. For want of room
// sessions of the user end whose clients are away: a page that is loaded again and
// again leaves one behind each time, and must not be locked out by them.
func (h *Hub) Add(r Receiver) error {
	limit := h.opts.Sessions()
	for !h.roster.add(r, limit) {
		if h.makeRoom(r.User()) {
			continue
		}
		sessions := "1 session"
		if limit > 1 {
			sessions = fmt.Sprintf("%d sessions", limit)
		}
		return &wire.Error{
			Kind: wire.KindGeneralError, Code: wire.CodeTooMany,
			Reason: fmt.Sprintf("%s has %s already, the most that one user may have, and a client at each: end one of them", r.User(), sessions),
		}
	}
	return nil
}

// makeRoom ends the session of a user whose client has been away for longest, and
// says whether there was one.
func (h *Hub) makeRoom(user wire.UserID) bool {
	type absent struct {
		Receiver
		since time.Duration
	}
	var list []absent
	for _, r := range h.roster.of(user) {
		if since, away := r.Away(); away {
			list = append(list, absent{r, since})
		}
	}
	slices.SortStableFunc(list, func(a, b absent) int { return cmp.Compare(a.since, b.since) })
	for _, r := range list {
		if r.GiveWay() { // its client may have come back just now
			h.roster.remove(r.Receiver)
			return true
		}
	}
	return false
}

// Remove takes a session out of the roster.
func (h *Hub) Remove(r Receiver) { h.roster.remove(r) }

// Kick closes all of a user's sessions and returns how many there were.
func (h *Hub) Kick(user wire.UserID, code uint16, reason string) int {
	list := h.roster.of(user)
	for _, r := range list {
		r.Kick(code, reason)
	}
	return len(list)
}

// Send delivers a message or has it kept. What becomes of it is told to
// s.Origin, maybe before Send returns. The bytes that s points to are copied;
// s itself and its To belong to the hub.
func (h *Hub) Send(s *Send) {
	if !h.admit(s) {
		if s.Done != nil {
			s.Done()
		}
		return
	}
	if !s.Fast {
		frame := make([]byte, 0, len(s.Content)+len(s.Reference)+len(s.From)+64)
		frame = wire.AppendMessage(frame, s.From, s.Content, s.Reference)
		s.Content = nil
		s.Reference = append([]byte(nil), s.Reference...)
		h.opts.Keeper.Accept(s, frame)
		return
	}
	h.sendFast(s)
	if s.Done != nil {
		s.Done()
	}
}

// admit drops the receivers that the sender may not reach, tells it so, and
// says whether any is left.
func (h *Hub) admit(s *Send) bool {
	own := s.From.App()
	var unknown, forbidden []wire.UserID
	kept := s.To[:0]
	for _, to := range s.To {
		switch app := to.App(); {
		case !h.opts.Access.Known(app): // the sender's own app may have gone, too
			unknown = append(unknown, to)
		case app == own || h.opts.Access.MayReach(own, app):
			kept = append(kept, to)
		default:
			forbidden = append(forbidden, to)
		}
	}
	s.To = kept
	if len(unknown) > 0 {
		h.refuse(s, unknown, wire.KindDeliverFailed, wire.CodeUnknownApp, unknownApp)
	}
	if len(forbidden) > 0 {
		h.refuse(s, forbidden, wire.KindGeneralError, wire.CodeForbidden, "users of your app may not reach users of that app")
	}
	return len(s.To) > 0
}

// unknownApp is why a message goes nowhere.
const unknownApp = "no app of this name is configured here"

func (h *Hub) refuse(s *Send, to []wire.UserID, kind, code, reason string) {
	if s.Origin != nil {
		s.Origin.Failed(&wire.Error{Kind: kind, Code: code, Reason: reason, To: to, Group: s.Group}, s.Reference)
	}
}

func (h *Hub) sendFast(s *Send) {
	buf := h.frames.Get().(*[]byte)
	frame := wire.AppendMessage((*buf)[:0], s.From, s.Content, s.Reference)
	proof := h.proofOf(s)
	later := s.Later
	if s.Group {
		later = nil // many receivers are written to side by side
	}
	for _, to := range s.To {
		s.Sessions += h.handOver(s.From, to, frame, proof, later)
	}
	*buf = frame[:0]
	h.frames.Put(buf)
}

// proofOf returns what the first proof of a FAST message does: confirm it.
func (h *Hub) proofOf(s *Send) func() {
	if !s.Confirm || s.Group || len(s.Reference) == 0 {
		return nil
	}
	var once sync.Once
	from, to, reference := s.From, s.To[0], append([]byte(nil), s.Reference...)
	return func() {
		once.Do(func() { h.opts.Keeper.Confirm(from, to, reference) })
	}
}

// handOver queues a frame on a user's sessions, and returns on how many.
func (h *Hub) handOver(from, to wire.UserID, frame []byte, proof func(), later Later) (queued int) {
	list := h.roster.of(to)
	if len(list) == 0 {
		h.droppedAbsent.Inc()
		return 0
	}
	if len(list) > 1 && h.opts.Access.IsMaster(to) {
		list = []Receiver{h.chosen(from, list)}
	}
	for _, r := range list {
		var ok bool
		if later == nil {
			ok = r.Fast(frame, proof)
		} else if ok = r.Queue(frame, proof); ok {
			later.Later(r)
		}
		if ok {
			h.fast.Inc()
			queued++
		} else {
			h.droppedQueue.Inc()
		}
	}
	return queued
}

// chosen picks the session of a master user that serves a sender: the highest
// hash wins, so that one that comes or goes moves no other sender.
func (h *Hub) chosen(from wire.UserID, list []Receiver) Receiver {
	var best Receiver
	var most uint64
	for _, r := range list {
		sum := maphash.Comparable(h.roster.seed, choice{r.ID(), from})
		if best == nil || sum > most {
			best, most = r, sum
		}
	}
	return best
}

type choice struct {
	session wire.ID
	from    wire.UserID
}
