package delivery

import (
	"slices"
	"sync"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// questions are those that wait for another node's answer.
type questions struct {
	mu   sync.Mutex
	last uint64
	open map[uint64]chan bool
}

// ask opens a question, whose answer comes on the channel, once.
func (q *questions) ask() (token uint64, answer chan bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.open == nil {
		q.open = make(map[uint64]chan bool)
	}
	q.last++
	answer = make(chan bool, 1)
	q.open[q.last] = answer
	return q.last, answer
}

// answer gives a question its answer, unless it has one.
func (q *questions) answer(token uint64, yes bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if c := q.open[token]; c != nil {
		delete(q.open, token)
		c <- yes
	}
}

// askRoom has other nodes make room for a user, one after the other until one
// has, and says whether one has. Only streams of events have clients that are
// away, so others are not asked about.
func (h *Hub) askRoom(user wire.UserID) bool {
	var asked []*peer
	for x := h.roster.of(user).there; x != nil; x = x.next {
		if x.transport() != transportNames[transportEvents] || slices.Contains(asked, x.node) {
			continue
		}
		asked = append(asked, x.node)
		if h.askRoomOf(x.node, user) {
			return true
		}
	}
	return false
}

func (h *Hub) askRoomOf(p *peer, user wire.UserID) bool {
	token, answer := h.asked.ask()
	stop := h.opts.After(knownTime, func() { h.asked.answer(token, false) })
	defer stop()
	if !h.out.nodes.Send(p.id, appendText(message(kindRoom, token), string(user))) {
		h.asked.answer(token, false)
	}
	return <-answer
}

// takeRoom makes room for a user. That the session is over is told before the
// answer.
func (h *Hub) takeRoom(p *peer, s *scanner) {
	token, user := s.number(), s.user()
	if s.short {
		return
	}
	var yes uint64
	if h.makeRoom(user) {
		yes = 1
	}
	h.out.nodes.Send(p.id, message(kindRoomed, token, yes)) // who asked waits no longer than knownTime
}

func (h *Hub) takeRoomed(_ *peer, s *scanner) {
	if token, yes := s.number(), s.number(); !s.short {
		h.asked.answer(token, yes == 1)
	}
}
