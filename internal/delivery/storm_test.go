package delivery

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// storm is a cluster in which anything happens in any order, and what is true of
// it.
type storm struct {
	*rapid.T
	links    *links
	born     int
	turn     int       // as of Hub
	sessions []*seated // that there are
	past     []*seated // that are over
	dead     []string  // nodes of which not everybody has heard that they are
	waits    []wait
	number   int // of the last FAST message
}

// seated is a session and where it is.
type seated struct {
	*receiver
	node  *node
	watch []wire.UserID
}

// wait is a sign-in that waits for the other nodes.
type wait struct {
	*seated
	known   <-chan struct{}
	excused bool // it may have waited too long
}

var people = []wire.UserID{"A-0", "A-1", "A-2", "B-1"}

func (s *storm) person() wire.UserID { return rapid.SampledFrom(people).Draw(s.T, "user") }

func (s *storm) node() *node {
	return s.links.hubs[rapid.SampledFrom(s.links.names()).Draw(s.T, "node")]
}

// wire draws a direction.
func (s *storm) wire() (from, to string) {
	var list [][2]string
	for key := range s.links.wires {
		if s.links.hubs[key[0]] != nil && s.links.hubs[key[1]] != nil {
			list = append(list, key)
		}
	}
	slices.SortFunc(list, func(a, b [2]string) int { return slices.Compare(a[:], b[:]) })
	x := rapid.SampledFrom(list).Draw(s.T, "link")
	return x[0], x[1]
}

func (s *storm) bear() {
	s.born++
	s.links.add(fmt.Sprint("n", s.born), 8).turn = s.turn
}

func (s *storm) join() {
	x := &seated{receiver: session(s.person()), node: s.node()}
	x.watch = rapid.SliceOfN(rapid.SampledFrom(people), 0, 3).Draw(s.T, "watch")
	known, err := x.node.Add(x.receiver, x.watch)
	if err != nil {
		return // so many are there
	}
	s.sessions = append(s.sessions, x)
	if known != nil {
		s.waits = append(s.waits, wait{seated: x, known: known})
	}
}

func (s *storm) leave() {
	if len(s.sessions) > 0 {
		i := rapid.IntRange(0, len(s.sessions)-1).Draw(s.T, "session")
		s.remove(s.sessions[i])
	}
}

func (s *storm) remove(x *seated) {
	x.node.Remove(x.receiver)
	s.over(x)
}

func (s *storm) over(x *seated) {
	s.sessions = slices.DeleteFunc(s.sessions, func(y *seated) bool { return y == x })
	s.past = append(s.past, x)
	s.waits = slices.DeleteFunc(s.waits, func(w wait) bool { return w.seated == x })
}

// send sends a FAST message whose content says which it is. Each node has its
// own sender: between two nodes there is no order.
func (s *storm) send() {
	n := s.node()
	s.number++
	to := rapid.SliceOfNDistinct(rapid.SampledFrom(people), 1, len(people), rapid.ID).Draw(s.T, "to")
	from := wire.UserID("A-9" + strings.TrimPrefix(n.name, "n"))
	n.fast(from, strconv.Itoa(s.number), to...)
}

func (s *storm) broadcast() {
	n := s.node()
	s.number++
	from := wire.UserID("A-9" + strings.TrimPrefix(n.name, "n"))
	_, _ = n.Broadcast(s.Context(), &Send{From: from, Content: strconv.AppendInt(nil, int64(s.number), 10), Fast: true}, nil)
}

// arrive lets some things arrive.
func (s *storm) arrive() {
	from, to := s.wire()
	for range rapid.IntRange(1, 20).Draw(s.T, "things") {
		if !s.links.step(from, to) {
			break
		}
		s.lookAtWaits()
	}
	s.leaveKicked()
}

// leaveKicked has those leave whose session was closed.
func (s *storm) leaveKicked() {
	for _, x := range slices.Clone(s.sessions) {
		if len(x.kicks) > 0 {
			s.remove(x)
		}
	}
}

func (s *storm) kill() {
	if len(s.links.hubs) < 2 {
		return
	}
	n := s.node()
	s.links.kill(n.name)
	for _, x := range slices.Clone(s.sessions) {
		if x.node == n {
			s.over(x)
		}
	}
	s.dead = append(s.dead, n.name)
	s.bear()
}

// bury tells everybody of a death.
func (s *storm) bury() {
	if len(s.dead) == 0 {
		return
	}
	for _, name := range s.links.names() {
		for s.links.step(s.dead[0], name) { // that the link is down
		}
		s.links.hubs[name].PeerGone(s.dead[0])
	}
	s.dead = s.dead[1:]
}

func (s *storm) expire() {
	n := s.node()
	n.expire()
	for i := range s.waits {
		if s.waits[i].node == n {
			s.waits[i].excused = true
		}
	}
}

// lookAtWaits sees that whoever is let go is known where it should be.
func (s *storm) lookAtWaits() {
	s.waits = slices.DeleteFunc(s.waits, func(w wait) bool {
		if !closed(w.known) {
			return false
		}
		for _, p := range w.node.out.up {
			other := s.links.hubs[p.id]
			if w.excused || other == nil {
				continue
			}
			if x := other.peers.get(w.node.name); other.roster.of(w.user).there.find(x, w.id) == nil {
				s.Fatalf("%s on %s goes on, but %s does not know of it", w.user, w.node.name, p.id)
			}
		}
		return true
	})
}

// calm brings all links up and lets everything arrive.
func (s *storm) calm() {
	names := s.links.names()
	for i, a := range names {
		for _, b := range names[:i] {
			if !s.links.wires[[2]string{a, b}].up {
				s.links.connect(a, b)
			}
		}
	}
	for len(s.dead) > 0 {
		s.bury()
	}
	for before := -1; before != len(s.sessions); {
		before = len(s.sessions)
		s.links.settle()
		s.leaveKicked()
	}
	s.links.settle()
}

// truth is what all nodes should know.
func (s *storm) truth() string {
	n := New(Options{Access: access{}, Sessions: func() int { return 1000 }})
	where := make(map[wire.ID]string)
	for _, x := range s.sessions {
		_, _ = n.Add(x.receiver, nil)
		where[x.id] = x.node.name
	}
	var b strings.Builder
	for _, app := range []string{"A", "B"} {
		users, _ := n.Users(app, "", 10_000)
		for _, u := range users {
			fmt.Fprintf(&b, "%s %d:", u.User, u.Sessions)
			for _, x := range n.Sessions(u.User) {
				fmt.Fprintf(&b, " %s %s %s %s", x.ID, x.Address, x.Transport, where[x.ID])
			}
			b.WriteByte('\n')
		}
	}
	return b.String()
}

func (s *storm) check() {
	truth := s.truth()
	for _, name := range s.links.names() {
		n := s.links.hubs[name]
		if got := n.lists(); got != truth {
			s.Fatalf("%s knows\n%swhere the truth is\n%s", name, got, truth)
		}
		if len(n.out.waiting) > 0 {
			s.Fatalf("%d sign-ins wait on %s", len(n.out.waiting), name)
		}
		for _, p := range n.peers.list {
			if len(p.closes) > 0 {
				s.Fatalf("%s has %d orders for %s left", name, len(p.closes), p.id)
			}
		}
	}
	for _, x := range slices.Concat(s.sessions, s.past) {
		s.checkFast(x)
	}
	for _, x := range s.sessions {
		s.checkPresence(x)
	}
	s.checkReach()
}

// checkReach sees that every session gets what is sent when all is quiet, and one
// of a master user.
func (s *storm) checkReach() {
	for _, name := range s.links.names() {
		for _, x := range s.sessions {
			x.frames = nil
		}
		s.number++
		n := s.links.hubs[name]
		n.fast(wire.UserID("A-9"+strings.TrimPrefix(name, "n")), strconv.Itoa(s.number), people...)
		s.links.settle()
		got := make(map[wire.UserID]int)
		for _, x := range s.sessions {
			if len(x.frames) > 1 || len(x.frames) == 0 && x.user != "A-0" {
				s.Fatalf("%s on %s got %v of what %s sent", x.user, x.node.name, x.frames, name)
			}
			got[x.user] += len(x.frames)
		}
		if n.Online("A-0").Sessions > 0 && got["A-0"] != 1 {
			s.Fatalf("%d sessions of the master user got what %s sent", got["A-0"], name)
		}
	}
}

// checkFast sees that what one sender sent came in order, and nothing twice.
func (s *storm) checkFast(x *seated) {
	last := make(map[string]int)
	for _, f := range x.frames {
		_, rest, _ := strings.Cut(f, `"from":"`)
		from, rest, _ := strings.Cut(rest, `"`)
		number, err := strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(rest, `,"content":`), "}}"))
		if err != nil || number <= last[from] {
			s.Fatalf("%s got %d of %s after %d, %v", x.user, number, from, last[from], err)
		}
		last[from] = number
	}
}

func (s *storm) checkPresence(x *seated) {
	heard, ok := heardOf(x.receiver)
	if !ok {
		s.Fatalf("%s heard %v", x.user, x.told)
	}
	for _, u := range x.watch {
		if online := x.node.Online(u).Sessions > 0; online != heard[u] {
			s.Fatalf("%s heard %v of %s, who is there: %t", x.user, x.told, u, online)
		}
	}
}

// heardOf returns who is there by what a session was told; ok is false if it was
// told that somebody comes, or goes, twice.
func heardOf(x *receiver) (there map[wire.UserID]bool, ok bool) {
	there = make(map[wire.UserID]bool)
	for _, t := range x.told {
		text, what, _ := strings.Cut(t, " ")
		user, comes := wire.UserID(text), what == "comes"
		if there[user] == comes {
			return nil, false
		}
		there[user] = comes
	}
	return there, true
}

// Whatever happens: once the links are up and quiet all nodes know the truth,
// whoever watches heard of each coming and going in turn, and FAST messages came
// in order and none twice.
func TestAllNodesAgreeAfterAnyStorm(t *testing.T) {
	for _, nodes := range []int{2, 3} {
		t.Run(fmt.Sprint(nodes, " nodes"), func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				s := &storm{T: t, links: newLinks(), turn: rapid.SampledFrom([]int{1, turnBytes}).Draw(t, "turn")}
				for range nodes {
					s.bear()
				}
				arrive := func(*rapid.T) { s.arrive() }
				t.Repeat(map[string]func(*rapid.T){
					"join":      func(*rapid.T) { s.join() },
					"join too":  func(*rapid.T) { s.join() },
					"leave":     func(*rapid.T) { s.leave() },
					"send":      func(*rapid.T) { s.send() },
					"broadcast": func(*rapid.T) { s.broadcast() },
					"arrive":    arrive, "arrive 2": arrive, "arrive 3": arrive, "arrive 4": arrive,
					"connect": func(*rapid.T) { s.links.connect(s.wire()) },
					"cut":     func(*rapid.T) { s.links.cut(s.wire()) },
					"kick":    func(*rapid.T) { s.node().Kick(s.person(), 4003, ""); s.leaveKicked() },
					"kill":    func(*rapid.T) { s.kill() },
					"bury":    func(*rapid.T) { s.bury() },
					"expire":  func(*rapid.T) { s.expire() },
					"calm":    func(*rapid.T) { s.calm(); s.check() },
					"":        func(*rapid.T) { s.lookAtWaits() },
				})
				s.calm()
				s.check()
			})
		})
	}
}

// The same from many goroutines, for the race detector.
func TestRostersOfTwoNodesUnderConcurrentUse(t *testing.T) {
	l := newLinks()
	a, b := l.add("a", 1000), l.add("b", 1000)
	stop := l.run()
	watchers := []*receiver{a.come("A-91", "A-1", "A-2"), b.come("A-92", "A-1", "A-2")}
	var work sync.WaitGroup
	for i := range 6 {
		work.Go(func() {
			n, user := []*node{a, b}[i%2], wire.UserID(fmt.Sprint("A-", i%3))
			for j := range 200 {
				r := session(user)
				known, err := n.Add(r, []wire.UserID{"A-0"})
				if err != nil {
					t.Error(err)
					return
				}
				if known != nil && j%10 == 0 {
					<-known
				}
				n.fast("A-9", "1", "A-0", "A-1", "A-2")
				n.Hub.Send(&Send{From: "A-9", To: []wire.UserID{"A-1"}, Content: []byte("1"), Reference: []byte(`"r"`), Fast: true, Confirm: true})
				n.Remove(r)
			}
		})
	}
	for range 20 {
		l.connect("a", "b")
		a.Kick("A-1", 4003, "")
		b.lists()
	}
	work.Wait()
	stop()
	for _, w := range watchers {
		if there, ok := heardOf(w); !ok || there["A-1"] || there["A-2"] {
			t.Errorf("%s heard %v", w.user, w.told)
		}
	}
	if got := a.lists(); got != b.lists() || strings.Count(got, "\n") != 2 {
		t.Errorf("a knows\n%sb knows\n%s", got, b.lists())
	}
}
