package delivery

import (
	"container/list"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What a node remembers of FAST messages that another one is to prove. A client
// proves what it gets within the proof timeout, or, on a stream of events, when it
// has come back and acknowledged: tokenTime is more than both take by default.
// Past the others the oldest are forgotten, and counted; each holds a reference of
// up to a frame.
const (
	tokenTime  = 2 * time.Minute
	maxTokens  = 1 << 16
	tokenBytes = 16 << 20
)

// confirmation is what the first proof of a FAST message does, on whichever of its
// receiver's sessions, wherever: the sender gets its MESSAGE_CONFIRMATION.
type confirmation struct {
	h         *Hub
	once      sync.Once
	from, to  wire.UserID
	reference []byte
	token     uint64 // under which other nodes know it; 0: none does. Set before anybody can prove it
}

// call returns what a session calls; nil for no confirmation.
func (c *confirmation) call() func() {
	if c == nil {
		return nil
	}
	return c.prove
}

func (c *confirmation) prove() {
	c.once.Do(func() {
		c.h.tokens.close(c.token)
		c.h.confirm(c)
	})
}

// tokens are the confirmations that other nodes may ask for, the oldest first.
type tokens struct {
	now       func() time.Time
	forgotten prometheus.Counter

	mu      sync.Mutex
	last    uint64
	bytes   int
	order   list.List // of opened
	byToken map[uint64]*list.Element
}

type opened struct {
	*confirmation
	at time.Time
}

func (t *tokens) init(now func() time.Time, forgotten prometheus.Counter) {
	t.now, t.forgotten, t.byToken = now, forgotten, make(map[uint64]*list.Element)
}

// open gives a confirmation its token.
func (t *tokens) open(c *confirmation) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := t.now()
	for e := t.order.Front(); e != nil; e = t.order.Front() {
		late := now.Sub(e.Value.(opened).at) > tokenTime
		if !late && t.order.Len() < maxTokens && t.bytes+len(c.reference) <= tokenBytes {
			break
		}
		if !late {
			t.forgotten.Inc()
		}
		t.drop(e)
	}
	t.last++
	c.token = t.last
	t.bytes += len(c.reference)
	t.byToken[c.token] = t.order.PushBack(opened{c, now})
}

// close returns what a token stands for, once; nil for none.
func (t *tokens) close(token uint64) *confirmation {
	if token == 0 {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := t.byToken[token]
	if e == nil {
		return nil
	}
	return t.drop(e)
}

func (t *tokens) drop(e *list.Element) *confirmation {
	c := t.order.Remove(e).(opened).confirmation
	delete(t.byToken, c.token)
	t.bytes -= len(c.reference)
	return c
}
