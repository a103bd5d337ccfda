package delivery

import (
	"bytes"
	"cmp"
	"fmt"
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

// Options configure a Hub. All but Nodes, Domain, Domains, After, Now and Metrics are needed.
type Options struct {
	Keeper   Keeper
	Access   Access
	Sessions func() int // how many sessions one user may have
	Group    func() int // how many receivers one message may have
	Nodes    Nodes      // nil: this node is alone
	Domain   string     // the name of this domain; needed with Domains
	Domains  Domains    // nil: everybody lives here
	// After calls a function when a time is over, unless stop is called before.
	// Nil: time.AfterFunc.
	After   func(d time.Duration, f func()) (stop func())
	Now     func() time.Time // nil: time.Now
	Metrics prometheus.Registerer
}

// Hub routes messages. Its methods may be called from any goroutine, but for
// what is said of PeerUp.
type Hub struct {
	opts   Options
	roster *roster
	out    *outbox // nil: this node is alone
	peers  peers
	turn   int                        // turnBytes; less in tests
	takers [256]func(*peer, *scanner) // by kind of message
	tokens tokens
	asked  questions
	frames sync.Pool // of *[]byte
	fans   sync.Pool // of *fan

	metrics
}

// New makes a hub.
func New(opts Options) *Hub {
	if opts.After == nil {
		opts.After = func(d time.Duration, f func()) func() {
			t := time.AfterFunc(d, f)
			return func() { t.Stop() }
		}
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	h := &Hub{opts: opts, roster: newRoster(), turn: turnBytes, peers: peers{list: make(map[string]*peer)}}
	h.frames.New = func() any { b := make([]byte, 0, 2048); return &b }
	h.fans.New = func() any { return &fan{} }
	h.takers = h.takersOf()
	h.metrics.init(h.roster, opts.Metrics)
	h.tokens.init(opts.Now, h.unconfirmed)
	if opts.Nodes != nil {
		h.out = &outbox{nodes: opts.Nodes, after: opts.After, timeouts: h.knownTimeouts}
		h.roster.out = h.out
	}
	return h
}

// Add puts a session into the roster, or returns TOO_MANY. For want of room
// sessions of the user end whose clients are away: a page that is loaded again and
// again leaves one behind each time, and must not be locked out by them. To ask
// another node for it may take knownTime.
//
// The session's Presence is called for each user of watch who has a session
// already, and from then on whenever one's first session begins or its last ends.
//
// known is closed when all nodes with which there is a conversation know of the
// session, or after knownTime; it is nil when there are none. Nodes that add sessions
// at one moment do not know of each other's: then Surplus says which are too many.
func (h *Hub) Add(r Receiver, watch []wire.UserID) (known <-chan struct{}, err error) {
	limit := h.opts.Sessions()
	for ok := false; ; {
		if known, ok = h.roster.add(r, limit); ok {
			h.roster.watch(r, watch)
			return known, nil
		}
		if h.makeRoom(r.User()) || h.askRoom(r.User()) {
			continue
		}
		return nil, tooMany(r.User(), limit)
	}
}

func tooMany(user wire.UserID, limit int) error {
	sessions := "1 session"
	if limit > 1 {
		sessions = fmt.Sprintf("%d sessions", limit)
	}
	return &wire.Error{
		Kind: wire.KindGeneralError, Code: wire.CodeTooMany,
		Reason: fmt.Sprintf("%s has %s already, the most that one user may have, and a client at each: end one of them", user, sessions),
	}
}

// Surplus returns TOO_MANY if as many sessions of the user as may be came before this
// one, by their IDs: so all nodes choose the same ones. It is asked once known is
// closed, see Add.
func (h *Hub) Surplus(r Receiver) error {
	limit, before := h.opts.Sessions(), 0
	p := h.roster.of(r.User())
	for _, other := range p.here {
		if id, own := other.ID(), r.ID(); bytes.Compare(id[:], own[:]) < 0 {
			before++
		}
	}
	for x := p.there; x != nil; x = x.next {
		if own := r.ID(); bytes.Compare(x.id[:], own[:]) < 0 {
			before++
		}
	}
	if before < limit {
		return nil
	}
	return tooMany(r.User(), limit)
}

// makeRoom ends the session of a user, of those on this node, whose client has been
// away for longest, and says whether there was one.
func (h *Hub) makeRoom(user wire.UserID) bool {
	type absent struct {
		Receiver
		since time.Duration
	}
	var list []absent
	for _, r := range h.roster.of(user).here {
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
func (h *Hub) Remove(r Receiver) {
	h.roster.unwatch(r)
	h.roster.remove(r)
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
	switch {
	case s.Fast:
		h.sendFast(s)
		if s.Done != nil {
			s.Done()
		}
	case h.opts.Domains != nil && h.strays(s.To):
		h.sendParts(s)
	default:
		frame := appendFrame(make([]byte, 0, frameSize(s)-len(s.Reference)), s)
		s.Content = nil
		s.Reference = append([]byte(nil), s.Reference...)
		h.opts.Keeper.Accept(s, frame)
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
		h.refuse(s, forbidden, wire.KindGeneralError, wire.CodeForbidden, forbiddenApp)
	}
	return len(s.To) > 0
}

// Why a message goes nowhere.
const (
	unknownApp   = "no app of this name is configured here"
	forbiddenApp = "users of your app may not reach users of that app"
)

func (h *Hub) refuse(s *Send, to []wire.UserID, kind, code, reason string) {
	if s.Origin != nil {
		s.Origin.Failed(&wire.Error{Kind: kind, Code: code, Reason: reason, To: to, Group: s.Group}, s.Reference)
	}
}
