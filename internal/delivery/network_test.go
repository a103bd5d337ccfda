package delivery

import (
	"encoding/binary"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// A network of hubs in memory. What their keepers promise each other's links is
// modelled here: a mailbox keeps order, a place of a road is taken once, and so is a
// message for a user that came by two roads.

// fatal is what a test and a property have in common.
type fatal interface{ Fatalf(string, ...any) }

// letter waits in a mailbox.
type letter struct {
	ord   uint64
	id    wire.ID
	from  wire.UserID
	send  Send // what the keeper was told of it
	frame []byte
}

// post keeps the messages of one domain.
type post struct {
	net    *network
	domain int
	ord    uint64
	mail   map[wire.UserID][]*letter
	roads  map[string]map[uint64]string
	recent map[string]bool
	outbox map[string]bool
	down   func(to wire.UserID) bool // the store does not take what is for some
	full   map[wire.UserID]bool
}

func (p *post) Accept(s *Send, frame []byte) {
	p.accept(s, frame)
	if s.Done != nil {
		s.Done()
	}
}

func (p *post) AcceptAll(list []*Send, frames [][]byte, _ *Once) {
	for i, s := range list {
		p.Accept(s, frames[i])
	}
}

func (p *post) Confirm(sender, receiver wire.UserID, reference []byte) {
	p.Accept(&Send{From: receiver, To: []wire.UserID{sender}, Notice: true}, wire.AppendConfirmation(nil, reference))
}

func (p *post) accept(s *Send, frame []byte) {
	fail := func(code string, to []wire.UserID) {
		if s.Origin != nil {
			s.Origin.Failed(&wire.Error{Kind: wire.KindDeliverFailed, Code: code, Reason: code, To: to}, s.Reference)
		}
	}
	if p.down != nil && p.down(s.To[0]) {
		fail(wire.CodeStoreDown, s.To)
		return
	}
	id := p.net.newID()
	if s.Past != nil && !s.Past.ID.IsZero() {
		id = s.Past.ID
	}
	over := s.Past != nil && s.Past.Via != ""
	if over && p.taken(s) {
		p.stored(s, id)
		return
	}
	outbox := fmt.Sprint(s.From, " ", s.Producer, " ", s.Seq)
	known := s.Producer != "" && p.outbox[outbox]
	p.outbox[outbox] = true
	var full []wire.UserID
	for _, to := range s.To {
		memory := fmt.Sprint(id, to)
		switch {
		case known, over && p.recent[memory]:
		case p.full[to]:
			full = append(full, to)
		default:
			p.put(to, &letter{id: id, from: s.From, send: *s, frame: slices.Clone(frame)})
			if over && !isLink(to) {
				p.recent[memory] = true
			}
		}
	}
	if len(full) > 0 {
		fail(wire.CodeMailboxFull, full)
	}
	if len(full) < len(s.To) {
		p.stored(s, id)
	}
}

func (p *post) put(to wire.UserID, l *letter) {
	p.ord++
	l.ord = p.ord
	p.mail[to] = append(p.mail[to], l)
}

func (p *post) stored(s *Send, id wire.ID) {
	if s.Receipt && s.Origin != nil {
		s.Origin.Stored(id, s.Reference)
	}
}

// taken notes that a message came over a road, and says whether it has before.
func (p *post) taken(s *Send) bool {
	road := s.Past.Via
	if isLink(s.To[0]) {
		road += " " + string(s.To[0])
	}
	if s.Past.Place < s.Past.Low {
		p.net.t.Fatalf("place %d came over %s, where nothing below %d comes any more", s.Past.Place, road, s.Past.Low)
	}
	print := fmt.Sprint(s.Past.ID, s.To)
	places := p.roads[road]
	if places == nil {
		places = map[uint64]string{}
		p.roads[road] = places
	}
	if places[s.Past.Place] == print {
		return true
	}
	places[s.Past.Place] = print
	return false
}

func isLink(user wire.UserID) bool { return strings.HasPrefix(string(user), "link_") }

// chart is one version of the network's description.
type chart struct {
	next  [][]int // next[from][to]: the neighbour, -1 for none
	homes []int   // of user A-n; -1: nobody knows
}

// network is several domains.
type network struct {
	t      fatal
	charts []chart // by version, from 1
	at     []int   // which version each domain has
	hubs   []*Hub
	posts  []*post
	ids    uint64
	later  []func() // what After was asked for
}

// seen is the network as one domain knows it.
type seen struct {
	net    *network
	domain int
}

func (s seen) Next(user wire.UserID) Hop {
	version := s.net.at[s.domain]
	c := &s.net.charts[version]
	h := Hop{Graph: uint64(version)}
	if n := int(user.Number()); n < len(c.homes) && c.homes[n] >= 0 {
		home := c.homes[n]
		h.Domain, h.Local = name(home), home == s.domain
		if next := c.next[s.domain][home]; !h.Local && next >= 0 {
			h.Link = link(next)
		}
	}
	return h
}

func name(domain int) string      { return fmt.Sprintf("d%d", domain) }
func link(domain int) wire.UserID { return wire.UserID(fmt.Sprintf("link_d%d-1", domain)) }
func user(n int) wire.UserID      { return wire.UserID(fmt.Sprintf("A-%d", n)) }

func newNetwork(t fatal, domains int, first chart) *network {
	n := &network{t: t, charts: []chart{{}, first}, at: slices.Repeat([]int{1}, domains)}
	for i := range domains {
		p := &post{
			net: n, domain: i, mail: map[wire.UserID][]*letter{}, roads: map[string]map[uint64]string{},
			recent: map[string]bool{}, outbox: map[string]bool{}, full: map[wire.UserID]bool{},
		}
		n.posts = append(n.posts, p)
		n.hubs = append(n.hubs, New(Options{
			Keeper: p, Access: access{}, Sessions: func() int { return 16 }, Group: func() int { return 10_000 },
			Domain: name(i), Domains: seen{n, i}, Now: func() time.Time { return time.Unix(1_000, 0) },
			After: func(_ time.Duration, f func()) func() {
				n.later = append(n.later, f)
				return func() {}
			},
		}))
	}
	return n
}

func (n *network) newID() (id wire.ID) {
	n.ids++
	binary.BigEndian.PutUint64(id[8:], n.ids)
	id[6], id[8] = 0x70, 0x80
	return id
}

// settle does what was put off.
func (n *network) settle() {
	for len(n.later) > 0 {
		f := n.later[0]
		n.later = n.later[1:]
		f()
	}
}

// waiting returns the links that have something waiting: from whom, to whom.
func (n *network) waiting() (list [][2]int) {
	for from, p := range n.posts {
		for to := range n.posts {
			if len(p.mail[link(to)]) > 0 {
				list = append(list, [2]int{from, to})
			}
		}
	}
	return list
}

// cross lets most of what waits for a link cross it, of which the first proved are
// proved, and the rest is not. It returns how many came.
func (n *network) cross(from, to, most, proved int) (came int) {
	box := n.posts[from].mail[link(to)]
	low := box[0].ord
	good := true
	for i, l := range box[:min(most, len(box))] {
		frame := wire.AppendPlace(nil, l.frame, l.id, "log", l.ord, low)
		f, err := wire.ParseForward(frame)
		if err != nil {
			n.t.Fatalf("%s: %v", frame, err)
		}
		if f.Graph > uint64(n.at[to]) {
			break // it is held until this domain has caught up
		}
		answers, failed := 0, error(nil)
		n.hubs[to].Forward(&f, Neighbour{Domain: name(from), Link: link(from)}, func(err error) { answers++; failed = err })
		n.settle()
		if answers != 1 {
			n.t.Fatalf("%s: %d answers", frame, answers)
		}
		came++
		good = good && failed == nil
		if good && i < proved {
			n.posts[from].mail[link(to)] = n.posts[from].mail[link(to)][1:]
		}
	}
	return came
}

// crossDown lets something cross a link into a domain that cannot store all of it.
func (n *network) crossDown(t *rapid.T, down func(wire.UserID) bool) {
	list := n.waiting()
	if len(list) == 0 {
		t.Skip()
	}
	l := rapid.SampledFrom(list).Draw(t, "link")
	p := n.posts[l[1]]
	p.down = down
	n.cross(l[0], l[1], 1, 1) // a link whose first is not taken hands over no more
	p.down = nil
}

// drain lets everything arrive.
func (n *network) drain() {
	for steps := 0; ; steps++ {
		list := n.waiting()
		if len(list) == 0 {
			return
		}
		if steps > 10_000 {
			n.t.Fatalf("messages go round and round")
		}
		for _, l := range list {
			n.cross(l[0], l[1], 1000, 1000)
		}
	}
}

// carry moves what waits in a domain whose description has changed.
func (n *network) carry(domain int) {
	p := n.posts[domain]
	for _, user := range slices.Sorted(maps.Keys(p.mail)) {
		var stay []*letter
		for _, l := range p.mail[user] {
			parts, ok, err := n.hubs[domain].Carry(&Carried{
				User: user, ID: l.id, From: l.from, Group: l.send.Group, Notice: l.send.Notice, Quiet: l.send.Quiet,
				Confirm: l.send.Confirm, Reference: l.send.Reference, Frame: l.frame,
			})
			n.settle()
			if err != nil {
				n.t.Fatalf("%v", err)
			}
			if !ok {
				stay = append(stay, l)
				continue
			}
			delete(p.recent, fmt.Sprint(l.id, user))
			for _, part := range parts {
				for _, to := range part.To {
					if to == user {
						n.t.Fatalf("a message is carried to where it was")
					}
					if p.recent[fmt.Sprint(l.id, to)] {
						continue
					}
					moved := l.send
					moved.Group, moved.Confirm = part.Group, part.Confirm
					p.put(to, &letter{id: l.id, from: l.from, send: moved, frame: part.Frame})
					if !isLink(to) {
						p.recent[fmt.Sprint(l.id, to)] = true
					}
				}
			}
		}
		p.mail[user] = stay
	}
}

// charted finds the next steps: least cost, then fewest hops, then by name.
func charted(domains int, cost map[[2]int]int, homes []int) chart {
	type path struct {
		cost  int
		steps []int
	}
	better := func(a, b *path) bool {
		switch {
		case b == nil:
			return true
		case a.cost != b.cost:
			return a.cost < b.cost
		case len(a.steps) != len(b.steps):
			return len(a.steps) < len(b.steps)
		}
		return slices.Compare(a.steps, b.steps) < 0
	}
	c := chart{homes: homes, next: make([][]int, domains)}
	for from := range domains {
		best := make([]*path, domains)
		var walk func(p path)
		walk = func(p path) {
			here := p.steps[len(p.steps)-1]
			if !better(&p, best[here]) {
				return
			}
			best[here] = &path{p.cost, slices.Clone(p.steps)}
			for to := range domains {
				if w, ok := cost[[2]int{min(here, to), max(here, to)}]; ok && to != here && !slices.Contains(p.steps, to) {
					walk(path{p.cost + w, append(slices.Clone(p.steps), to)})
				}
			}
		}
		walk(path{0, []int{from}})
		c.next[from] = make([]int, domains)
		for to, p := range best {
			c.next[from][to] = -1
			if p != nil && len(p.steps) > 1 {
				c.next[from][to] = p.steps[1]
			}
		}
	}
	return c
}

// drawn makes a connected network with users.
func drawn(t *rapid.T, domains, users int) chart {
	cost := map[[2]int]int{}
	for to := 1; to < domains; to++ {
		from := rapid.IntRange(0, to-1).Draw(t, "tree")
		cost[[2]int{from, to}] = rapid.IntRange(1, 3).Draw(t, "cost")
	}
	for range rapid.IntRange(0, domains).Draw(t, "more links") {
		a, b := rapid.IntRange(0, domains-1).Draw(t, "a"), rapid.IntRange(0, domains-1).Draw(t, "b")
		if a != b {
			cost[[2]int{min(a, b), max(a, b)}] = rapid.IntRange(1, 3).Draw(t, "cost")
		}
	}
	homes := make([]int, users)
	for i := range homes {
		homes[i] = rapid.IntRange(0, domains-1).Draw(t, "home")
	}
	return charted(domains, cost, homes)
}

// got returns what waits for a user, by where.
func (n *network) got(user wire.UserID) map[int][]string {
	all := map[int][]string{}
	for i, p := range n.posts {
		for _, l := range p.mail[user] {
			all[i] = append(all[i], string(l.frame))
		}
	}
	return all
}

// outcome is the sender's side of a message.
type outcome struct {
	stored, done int
	failed       []wire.UserID
	codes        []string
}

func (o *outcome) Stored(wire.ID, []byte) { o.stored++ }
func (o *outcome) Failed(e *wire.Error, _ []byte) {
	o.failed, o.codes = append(o.failed, e.To...), append(o.codes, e.Code)
}

const users = 8

// sent sends a message from where its sender lives, to some.
func (n *network) sent(t *rapid.T, number int) (to []wire.UserID, from int, frame string) {
	from = rapid.IntRange(0, users-1).Draw(t, "from")
	to = rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) wire.UserID { return user(rapid.IntRange(0, users-1).Draw(t, "to")) }), 1, users, rapid.ID).Draw(t, "receivers")
	content := fmt.Appendf(nil, "%d", number)
	var o outcome
	s := &Send{
		From: user(from), To: slices.Clone(to), Group: len(to) > 1 || rapid.Bool().Draw(t, "group"),
		Content: content, Receipt: true, Origin: &o, Done: func() { o.done++ },
	}
	home := n.charts[len(n.charts)-1].homes[from]
	if rapid.Bool().Draw(t, "with others") {
		n.hubs[home].SendAll([]*Send{s}, nil)
	} else {
		n.hubs[home].Send(s)
	}
	if o.stored != 1 || o.done != 1 || len(o.failed) > 0 {
		t.Fatalf("stored %d times, done %d times, failed for %v", o.stored, o.done, o.failed)
	}
	return to, from, string(wire.AppendMessage(nil, user(from), content, nil))
}

// While the description stays, everything that was sent reaches the mailboxes of its
// receivers, where they live, once and in order, whatever links hand over again.
func TestEveryMessageReachesItsReceiversOnceAndInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		domains := rapid.IntRange(1, 6).Draw(t, "domains")
		n := newNetwork(t, domains, drawn(t, domains, users))
		want := map[wire.UserID]map[int][]string{} // by receiver and sender
		number := 0
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				number++
				to, from, frame := n.sent(t, number)
				for _, u := range to {
					if want[u] == nil {
						want[u] = map[int][]string{}
					}
					want[u][from] = append(want[u][from], frame)
				}
			},
			"cross": func(t *rapid.T) {
				list := n.waiting()
				if len(list) == 0 {
					t.Skip()
				}
				l := rapid.SampledFrom(list).Draw(t, "link")
				n.cross(l[0], l[1], rapid.IntRange(1, 5).Draw(t, "most"), rapid.IntRange(0, 5).Draw(t, "proved"))
			},
			"cross while the store is down": func(t *rapid.T) { n.crossDown(t, func(wire.UserID) bool { return true }) },
		})
		n.drain()
		for i := range users {
			got := n.got(user(i))
			home := n.charts[1].homes[i]
			for at := range got {
				if at != home {
					t.Fatalf("%s lives in %s, and something waits in %s: %v", user(i), name(home), name(at), got[at])
				}
			}
			count := 0
			for from, list := range want[user(i)] {
				prefix := fmt.Sprintf(`{"type":"MESSAGE","data":{"from":"%s",`, user(from))
				var mine []string
				for _, frame := range got[home] {
					if strings.HasPrefix(frame, prefix) {
						mine = append(mine, frame)
					}
				}
				if !slices.Equal(mine, list) {
					t.Fatalf("from %s to %s:\ngot  %v\nwant %v", user(from), user(i), mine, list)
				}
				count += len(list)
			}
			if count != len(got[home]) {
				t.Fatalf("%s got %d messages, want %d", user(i), len(got[home]), count)
			}
		}
	})
}

// Whatever becomes of the description meanwhile, with domains that hear of it one
// after the other and users who move, nothing goes missing, nothing arrives twice,
// and all is where its receiver lives in the end.
func TestNothingGoesMissingWhenTheNetworkChanges(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		domains := rapid.IntRange(2, 6).Draw(t, "domains")
		n := newNetwork(t, domains, drawn(t, domains, users))
		want := map[wire.UserID][]string{}
		number := 0
		t.Repeat(map[string]func(*rapid.T){
			"send": func(t *rapid.T) {
				number++
				to, _, frame := n.sent(t, number)
				for _, u := range to {
					want[u] = append(want[u], frame)
				}
			},
			"cross": func(t *rapid.T) {
				list := n.waiting()
				if len(list) == 0 {
					t.Skip()
				}
				l := rapid.SampledFrom(list).Draw(t, "link")
				n.cross(l[0], l[1], rapid.IntRange(1, 5).Draw(t, "most"), rapid.IntRange(0, 5).Draw(t, "proved"))
			},
			"cross while users' mailboxes are down": func(t *rapid.T) { n.crossDown(t, func(to wire.UserID) bool { return !isLink(to) }) },
			"cross while a link's mailbox is down": func(t *rapid.T) {
				down := link(rapid.IntRange(0, domains-1).Draw(t, "down"))
				n.crossDown(t, func(to wire.UserID) bool { return to == down })
			},
			"change": func(t *rapid.T) { n.charts = append(n.charts, drawn(t, domains, users)) },
			"hear": func(t *rapid.T) {
				domain := rapid.IntRange(0, domains-1).Draw(t, "domain")
				n.at[domain] = len(n.charts) - 1
				n.carry(domain)
			},
		})
		for range 3 * domains { // a message may cross while others hear of it
			for i := range n.at {
				n.at[i] = len(n.charts) - 1
				n.carry(i)
			}
			n.drain()
		}
		last := n.charts[len(n.charts)-1]
		for i := range users {
			got := n.got(user(i))
			for at := range got {
				if at != last.homes[i] {
					t.Fatalf("%s lives in %s, and something waits in %s: %v", user(i), name(last.homes[i]), name(at), got[at])
				}
			}
			have := slices.Sorted(slices.Values(got[last.homes[i]]))
			if slices.Sort(want[user(i)]); !slices.Equal(have, want[user(i)]) {
				t.Fatalf("to %s:\ngot  %v\nwant %v", user(i), have, want[user(i)])
			}
		}
	})
}
