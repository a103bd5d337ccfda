package delivery

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// links join hubs in memory. Nothing arrives before the test says so, and what is
// on its way can be lost, as the links' promise has it.
type links struct {
	hubs map[string]*node

	mu    sync.Mutex
	more  *sync.Cond // something is on its way, or it is over
	over  bool
	wires map[[2]string]*direction // from, to
}

// node is a hub with what stands around it.
type node struct {
	*Hub
	name   string
	keeper *keeper
	links  *links
	timers []*timer // guarded by links.mu
	asks   func()   // called when it has asked for room
}

// direction is what arrives at one node from another.
type direction struct {
	up     bool
	events []event
}

type event struct {
	kind    string // up, down, message
	message []byte
}

type timer struct {
	f       func()
	stopped bool
}

func newLinks() *links {
	l := &links{hubs: make(map[string]*node), wires: make(map[[2]string]*direction)}
	l.more = sync.NewCond(&l.mu)
	return l
}

// add starts a node, with links to the others that are there.
func (l *links) add(name string, limit int) *node {
	n := &node{name: name, keeper: &keeper{}, links: l}
	n.Hub = New(Options{
		Keeper: n.keeper, Access: access{}, Sessions: func() int { return limit }, Group: func() int { return 4 }, Nodes: n,
		After: func(_ time.Duration, f func()) func() {
			l.mu.Lock()
			defer l.mu.Unlock()
			t := &timer{f: f}
			n.timers = append(n.timers, t)
			return func() {
				l.mu.Lock()
				defer l.mu.Unlock()
				t.stopped = true
			}
		},
	})
	for _, other := range l.names() {
		l.wires[[2]string{name, other}], l.wires[[2]string{other, name}] = &direction{}, &direction{}
		l.connect(name, other)
	}
	l.hubs[name] = n
	return n
}

func (l *links) names() []string {
	var list []string
	for name := range l.hubs {
		list = append(list, name)
	}
	slices.Sort(list)
	return list
}

// Send implements Nodes.
func (n *node) Send(to string, parts ...[]byte) bool {
	e := event{"message", bytes.Join(parts, nil)}
	if !n.links.send(n.name, to, e) {
		return false
	}
	if n.asks != nil && e.message[1] == kindRoom {
		n.asks()
	}
	return true
}

func (l *links) send(from, to string, e event) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.wires[[2]string{from, to}]
	if d == nil || !d.up {
		return false
	}
	d.events = append(d.events, e)
	l.more.Broadcast()
	return true
}

// connect begins a conversation: what was on its way is lost.
func (l *links) connect(a, b string) { l.renew(a, b, true, "up") }

// cut ends it.
func (l *links) cut(a, b string) { l.renew(a, b, false, "down") }

func (l *links) renew(a, b string, up bool, kind string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, key := range [][2]string{{a, b}, {b, a}} {
		d := l.wires[key]
		d.up = up
		d.events = slices.DeleteFunc(d.events, func(e event) bool { return e.kind == "message" })
		d.events = append(d.events, event{kind: kind})
	}
	l.more.Broadcast()
}

// kill ends a node: the others hear nothing of it any more.
func (l *links) kill(name string) {
	delete(l.hubs, name)
	for _, other := range l.names() {
		l.cut(name, other)
		delete(l.wires, [2]string{other, name})
	}
}

// step lets one thing arrive, and says whether there was one.
func (l *links) step(from, to string) bool {
	e, ok := l.take(from, to)
	if !ok {
		return false
	}
	n := l.hubs[to]
	if n == nil {
		return true
	}
	switch e.kind {
	case "up":
		n.PeerUp(from)
	case "down":
		n.PeerDown(from)
	default:
		n.PeerReceive(from, e.message)
		clear(e.message)
	}
	return true
}

func (l *links) take(from, to string) (e event, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.wires[[2]string{from, to}]
	if d == nil || len(d.events) == 0 {
		return event{}, false
	}
	e = d.events[0]
	d.events = d.events[1:]
	return e, true
}

// run lets everything arrive, from goroutines as real links have them, until stop
// is called and all is there.
func (l *links) run() (stop func()) {
	var work sync.WaitGroup
	for key, d := range l.wires {
		work.Go(func() {
			for {
				for l.step(key[0], key[1]) {
				}
				l.mu.Lock()
				for len(d.events) == 0 && !l.over {
					l.more.Wait()
				}
				over := len(d.events) == 0
				l.mu.Unlock()
				if over {
					return
				}
			}
		})
	}
	return func() {
		l.mu.Lock()
		l.over = true
		l.more.Broadcast()
		l.mu.Unlock()
		work.Wait()
		l.settle()
	}
}

// settle lets everything arrive.
func (l *links) settle() {
	for busy := true; busy; {
		busy = false
		for key := range l.wires {
			for l.step(key[0], key[1]) {
				busy = true
			}
		}
	}
}

// expire ends the waiting for what has not been answered.
func (n *node) expire() {
	for _, t := range n.timers {
		if !t.stopped {
			t.f()
		}
	}
	n.timers = nil
}

// session makes a session of a user, which is not added.
func session(user wire.UserID) *receiver {
	id, err := wire.NewID(time.Unix(1, 0), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &receiver{id: id, user: user}
}

// come adds a session.
func (n *node) come(user wire.UserID, watch ...wire.UserID) *receiver {
	r := session(user)
	if _, err := n.Add(r, watch); err != nil {
		panic(err)
	}
	return r
}

// fast sends a FAST message, and returns on how many sessions it was queued.
func (n *node) fast(from wire.UserID, content string, to ...wire.UserID) int {
	s := &Send{From: from, To: to, Group: len(to) > 1, Content: []byte(content), Fast: true}
	n.Hub.Send(s)
	return s.Sessions
}

// pair is two nodes that know each other.
func pair() (*links, *node, *node) {
	l := newLinks()
	a, b := l.add("a", 3), l.add("b", 3)
	l.settle()
	return l, a, b
}

// roster is all that a node knows, as text.
func (n *node) lists() string {
	var b bytes.Buffer
	for _, app := range []string{"A", "B"} {
		users, _ := n.Users(app, "", 10_000)
		for _, u := range users {
			fmt.Fprintf(&b, "%s %d:", u.User, u.Sessions)
			for _, s := range n.Sessions(u.User) {
				at := s.Node
				if at == "" {
					at = n.name
				}
				fmt.Fprintf(&b, " %s %s %s %s", s.ID, s.Address, s.Transport, at)
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}
