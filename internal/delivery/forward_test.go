package delivery

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// inLine makes domains in a row, each linked to the next; user A-n lives in domain n.
func inLine(t *testing.T, domains int) *network {
	t.Helper()
	cost, homes := map[[2]int]int{}, make([]int, domains)
	for i := range domains {
		homes[i] = i
		if i > 0 {
			cost[[2]int{i - 1, i}] = 1
		}
	}
	return newNetwork(t, domains, charted(domains, cost, homes))
}

// forwards returns what waits for a link.
func (n *network) forwards(from, to int) (list []wire.Forward) {
	for _, l := range n.posts[from].mail[link(to)] {
		f, err := wire.ParseForward(l.frame)
		if err != nil {
			n.t.Fatalf("%s: %v", l.frame, err)
		}
		list = append(list, f)
	}
	return list
}

func only1[T any](t *testing.T, list []T) T {
	t.Helper()
	if len(list) != 1 {
		t.Fatalf("%d of %T, want one: %+v", len(list), list, list)
	}
	return list[0]
}

func TestMessagesReachUsersOfOtherDomains(t *testing.T) {
	n := inLine(t, 3)
	var o outcome
	n.hubs[0].Send(&Send{
		From: "A-0", To: []wire.UserID{"A-2"}, Content: []byte(`{"a": 1}`), Reference: []byte(`"r"`), Confirm: true, Receipt: true,
		Producer: "phone", Seq: 5, Origin: &o, Done: func() { o.done++ },
	})
	if o.stored != 1 || o.done != 1 || len(o.failed) > 0 {
		t.Errorf("its sender heard %+v", o)
	}
	f := only1(t, n.forwards(0, 1))
	if f.Origin != "d0" || f.From != "A-0" || !slices.Equal(f.To, []wire.UserID{"A-2"}) || f.Hops != 1 || f.Graph != 1 || !f.Confirm || f.Producer != "phone" || f.Seq != 5 {
		t.Errorf("domain 0 sent on %+v", f)
	}
	l := n.posts[0].mail[link(1)][0]
	if l.send.Confirm || l.from != "A-0" || string(l.send.Reference) != `"r"` {
		t.Errorf("in the mailbox of the link waits %+v", l.send)
	}
	n.cross(0, 1, 1, 1)
	if f = only1(t, n.forwards(1, 2)); f.Hops != 2 || f.Origin != "d0" || n.posts[1].mail[link(2)][0].id != l.id {
		t.Errorf("domain 1 sent on %+v", f)
	}
	n.drain()
	got := only1(t, n.posts[2].mail["A-2"])
	if s := &got.send; got.id != l.id || s.From != "A-0" || !s.Confirm || s.Producer != "phone" || s.Seq != 5 || s.Past.Via != "d1/log" {
		t.Errorf("domain 2 keeps %+v, %+v", s, s.Past)
	}
	if want := `{"type":"MESSAGE","data":{"from":"A-0","content":{"a": 1}},"reference":"r"}`; string(got.frame) != want {
		t.Errorf("got %s", got.frame)
	}
	// What the receiver's keeper has to tell the sender finds its way back.
	to, frame, ok := n.hubs[2].Wrap(Notice{To: "A-0", From: "A-2", ID: n.newID(), Frame: wire.AppendConfirmation(nil, []byte(`"r"`))})
	if !ok || to != link(1) {
		t.Fatalf("wrapped for %q, %v", to, ok)
	}
	n.posts[2].put(to, &letter{id: n.newID(), frame: frame})
	n.drain()
	if back := only1(t, n.posts[0].mail["A-0"]); !back.send.Notice || string(back.frame) != `{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r"}}` {
		t.Errorf("the sender gets %s, %+v", back.frame, back.send)
	}
	if _, frame, _ := n.hubs[2].Wrap(Notice{To: "A-0", Frame: []byte(`{}`)}); frame == nil {
		t.Error("a notice about nobody is not wrapped")
	} else if _, err := wire.ParseForward(frame); err != nil {
		t.Errorf("a notice about nobody: %v", err)
	}
	if _, _, ok := n.hubs[2].Wrap(Notice{To: "A-2", From: "A-0"}); ok {
		t.Error("a notice for one who lives here is sent away")
	}
}

// A group is split where the paths part, and its sender hears of it as of one.
func TestAGroupIsSplitWherePathsPart(t *testing.T) {
	// 0 - 1 - 2
	//      \- 3
	cost := map[[2]int]int{{0, 1}: 1, {1, 2}: 1, {1, 3}: 1}
	n := newNetwork(t, 4, charted(4, cost, []int{0, 1, 2, 3, 2}))
	var o outcome
	n.hubs[0].Send(&Send{
		From: "A-0", To: []wire.UserID{"A-3", "A-0", "A-2", "A-1", "A-4"}, Group: true, Content: []byte(`1`), Reference: []byte(`"r"`),
		Receipt: true, Confirm: true, Origin: &o, Done: func() { o.done++ },
	})
	if o.stored != 1 || o.done != 1 {
		t.Errorf("its sender heard %+v", o)
	}
	f := only1(t, n.forwards(0, 1))
	if !slices.Equal(f.To, []wire.UserID{"A-3", "A-2", "A-1", "A-4"}) || !f.Group || f.Confirm {
		t.Errorf("sent on as %+v", f)
	}
	n.cross(0, 1, 1, 1)
	if f := only1(t, n.forwards(1, 2)); !slices.Equal(f.To, []wire.UserID{"A-2", "A-4"}) {
		t.Errorf("to domain 2 goes %+v", f)
	}
	if f := only1(t, n.forwards(1, 3)); !slices.Equal(f.To, []wire.UserID{"A-3"}) {
		t.Errorf("to domain 3 goes %+v", f)
	}
	n.drain()
	for i, home := range []int{0, 1, 2, 3, 2} {
		only1(t, n.posts[home].mail[user(i)])
	}
}

func TestAVeryLargeGroupIsSeveralForwards(t *testing.T) {
	homes := slices.Repeat([]int{1}, 2_500)
	homes[0] = 0
	n := newNetwork(t, 2, charted(2, map[[2]int]int{{0, 1}: 1}, homes))
	var to []wire.UserID
	for i := range homes {
		to = append(to, user(i))
	}
	var o outcome
	n.hubs[0].Send(&Send{From: "A-0", To: to, Group: true, Content: []byte(`1`), Receipt: true, Producer: "p", Seq: 1, Origin: &o, Done: func() { o.done++ }})
	list := n.forwards(0, 1)
	if len(list) != 3 || len(list[0].To) != 1000 || len(list[2].To) != 499 || o.stored != 1 || o.done != 1 {
		t.Errorf("%d forwards, and the sender heard %+v", len(list), o)
	}
	n.drain()
	for _, u := range to[1:] {
		only1(t, n.posts[1].mail[u])
	}
}

// Failures name those whom the message was for, and never a link.
func TestFailuresNameTheReceivers(t *testing.T) {
	n := inLine(t, 3)
	n.posts[0].full[link(1)] = true
	var o outcome
	n.hubs[0].Send(&Send{From: "A-0", To: []wire.UserID{"A-1", "A-0", "A-2"}, Group: true, Content: []byte(`1`), Receipt: true, Origin: &o, Done: func() { o.done++ }})
	if o.stored != 1 || o.done != 1 || !slices.Equal(o.failed, []wire.UserID{"A-1", "A-2"}) || !slices.Equal(o.codes, []string{wire.CodeMailboxFull}) {
		t.Errorf("some: %+v", o)
	}
	o = outcome{}
	n.posts[0].down = func(wire.UserID) bool { return true }
	n.hubs[0].Send(&Send{From: "A-0", To: []wire.UserID{"A-2"}, Content: []byte(`1`), Receipt: true, Origin: &o, Done: func() { o.done++ }})
	if o.stored != 0 || o.done != 1 || !slices.Equal(o.failed, []wire.UserID{"A-2"}) || !slices.Equal(o.codes, []string{wire.CodeStoreDown}) {
		t.Errorf("all: %+v", o)
	}
}

func TestNobodyKnowsTheWay(t *testing.T) {
	n := newNetwork(t, 2, charted(2, nil, []int{0, 1, -1}))
	var o outcome
	for _, fast := range []bool{false, true} {
		n.hubs[0].Send(&Send{From: "A-0", To: []wire.UserID{"A-1", "A-2", "A-99"}, Group: true, Content: []byte(`1`), Fast: fast, Origin: &o, Done: func() { o.done++ }})
	}
	n.hubs[0].SendAll([]*Send{{From: "A-0", To: []wire.UserID{"A-2"}, Content: []byte(`1`), Origin: &o, Done: func() { o.done++ }}}, nil)
	if o.done != 3 || !slices.Equal(o.failed, []wire.UserID{"A-1", "A-2", "A-99", "A-2"}) || !slices.Equal(o.codes, []string{wire.CodeNoRoute, wire.CodeNoRoute}) {
		t.Errorf("%+v", o)
	}
}

func TestAMessageCrossesTenLinksAtMost(t *testing.T) {
	n := inLine(t, 12)
	for _, to := range []wire.UserID{"A-10", "A-11"} {
		n.hubs[0].Send(&Send{From: "A-0", To: []wire.UserID{to}, Content: []byte(`1`), Reference: []byte(`"r"`)})
	}
	n.drain()
	if l := n.posts[10].mail["A-10"]; len(l) != 1 {
		t.Errorf("over ten links came %d messages", len(l))
	}
	told := only1(t, n.posts[0].mail["A-0"])
	for _, part := range []string{`"DELIVER_FAILED"`, `"TOO_MANY_HOPS"`, `"to":"A-11"`, `"reference":"r"`} {
		if !strings.Contains(string(told.frame), part) {
			t.Errorf("the sender hears %s, without %s", told.frame, part)
		}
	}
	if len(n.posts[11].mail["A-11"]) > 0 {
		t.Error("over eleven links something came")
	}
}

// came gives a hub what comes from a neighbour.
func (n *network) came(to, from int, f wire.Forward) (err error) {
	f.Origin, f.Hops, f.Graph, f.Log = name(from), 1, uint64(n.at[to]), "log"
	if !f.Fast && f.ID.IsZero() {
		f.ID, f.Place = n.newID(), n.ids
	}
	err = fmt.Errorf("no answer")
	n.hubs[to].Forward(&f, Neighbour{Domain: name(from), Link: link(from)}, func(e error) { err = e })
	n.settle()
	return err
}

// What would go back whence it came is told to its sender, and goes round no more.
func TestNothingGoesBackWhenceItCame(t *testing.T) {
	n := inLine(t, 3)
	f := wire.Forward{From: "A-0", To: []wire.UserID{"A-0"}, Frame: wire.AppendMessage(nil, "A-0", []byte(`1`), nil)}
	if err := n.came(1, 0, f); err != nil {
		t.Fatal(err)
	}
	back := only1(t, n.forwards(1, 0))
	if !back.Notice || !strings.Contains(string(back.Frame), `"NO_ROUTE"`) {
		t.Errorf("back goes %+v", back)
	}
	// By a newer description it may.
	n.charts, n.at[1] = append(n.charts, n.charts[1]), 2
	f.Graph, f.ID, f.Place, f.Log, f.Hops, f.Origin = 1, n.newID(), 99, "log", 1, "d0"
	n.hubs[1].Forward(&f, Neighbour{Domain: "d0", Link: link(0)}, func(error) {})
	if list := n.forwards(1, 0); len(list) != 2 || list[1].Notice || list[1].Graph != 2 {
		t.Errorf("by a newer description back goes %+v", list)
	}
}

// A neighbour is not believed blindly.
func TestWhatANeighbourSendsIsChecked(t *testing.T) {
	message := func(from wire.UserID) []byte { return wire.AppendMessage(nil, from, []byte(`1`), nil) }
	for _, c := range []struct {
		what string
		f    wire.Forward
		code string // as which it is refused; empty: it is taken
	}{
		{"a message", wire.Forward{From: "A-0", To: []wire.UserID{"A-1"}, Frame: message("A-0")}, ""},
		{"of another sender", wire.Forward{From: "A-0", To: []wire.UserID{"A-1"}, Frame: message("A-3")}, wire.CodeForbidden},
		{"of another app", wire.Forward{From: "B-1", To: []wire.UserID{"A-1"}, Frame: message("B-1")}, wire.CodeForbidden},
		{"for an app that is unknown", wire.Forward{From: "A-0", To: []wire.UserID{"C-1"}, Frame: message("A-0")}, wire.CodeUnknownApp},
		{"no message", wire.Forward{From: "A-0", To: []wire.UserID{"A-1"}, Frame: []byte(`{"type":"AUTH_CLIENT_REPLY"}`)}, wire.CodeForbidden},
		{"a confirmation", wire.Forward{From: "B-1", To: []wire.UserID{"A-1"}, Notice: true, Frame: wire.AppendConfirmation(nil, []byte(`"r"`))}, ""},
		{"a confirmation that is no notice", wire.Forward{From: "A-0", To: []wire.UserID{"A-1"}, Frame: wire.AppendConfirmation(nil, []byte(`"r"`))}, wire.CodeForbidden},
		{"a notice that is a message", wire.Forward{From: "A-0", To: []wire.UserID{"A-1"}, Notice: true, Frame: message("A-0")}, wire.CodeForbidden},
		{"a message with an ID of its own", wire.Forward{From: "A-0", To: []wire.UserID{"A-1"}, Frame: wire.AppendPlace(nil, message("A-0"), wire.ID{6: 0x70, 8: 0x80}, "l", 1, 1)}, wire.CodeForbidden},
		{"a link's notice in a FORWARD", wire.Forward{From: "A-0", To: []wire.UserID{"A-1"}, Frame: []byte(`{"type":"FORWARD"}`)}, wire.CodeForbidden},
	} {
		n := inLine(t, 2)
		// C-1 lives here, too, by its number.
		if err := n.came(1, 0, c.f); err != nil {
			t.Errorf("%s: %v", c.what, err)
		}
		kept := n.posts[1].mail[c.f.To[0]]
		if (len(kept) == 1) != (c.code == "") {
			t.Errorf("%s: %d kept", c.what, len(kept))
		}
		told := n.forwards(1, 0)
		told = append(told, n.local(1, c.f.From)...)
		switch {
		case c.code == "" || c.f.Notice:
			if len(told) > 0 {
				t.Errorf("%s: the sender hears %s", c.what, told[0].Frame)
			}
		case len(told) != 1 || !strings.Contains(string(told[0].Frame), c.code):
			t.Errorf("%s: the sender hears %+v", c.what, told)
		}
	}
}

// The user of a link is nobody: neither is what comes from it passed on, nor does a
// refusal come where another domain finds it, which would close its link for that.
func TestWhatComesFromTheUserOfALinkIsToldToNobody(t *testing.T) {
	for _, to := range []wire.UserID{"A-1", "A-2", "A-0", "C-1"} {
		for _, fast := range []bool{false, true} {
			n := inLine(t, 3)
			f := wire.Forward{From: link(2), To: []wire.UserID{to}, Fast: fast, Frame: wire.AppendMessage(nil, link(2), []byte(`1`), nil)}
			if err := n.came(1, 0, f); err != nil {
				t.Errorf("for %s: %v", to, err)
			}
			for user, kept := range n.posts[1].mail {
				t.Errorf("for %s, FAST %t: %s has %s", to, fast, user, kept[0].frame)
			}
		}
	}
}

// local returns what a domain keeps for a user of its own.
func (n *network) local(domain int, user wire.UserID) (list []wire.Forward) {
	for _, l := range n.posts[domain].mail[user] {
		list = append(list, wire.Forward{Frame: l.frame})
	}
	return list
}

func TestAFullMailboxElsewhereIsToldToTheSender(t *testing.T) {
	n := inLine(t, 3)
	n.posts[2].full["A-2"] = true
	n.hubs[0].Send(&Send{From: "A-0", To: []wire.UserID{"A-2"}, Content: []byte(`1`), Reference: []byte(`"r"`)})
	n.hubs[0].Send(&Send{From: "A-0", To: []wire.UserID{"A-2"}, Content: []byte(`2`), Reference: []byte(`"s"`), Quiet: true})
	n.drain()
	told := only1(t, n.posts[0].mail["A-0"])
	var got struct {
		Type, Reference string
		Data            struct{ Code, To string }
	}
	if err := json.Unmarshal(told.frame, &got); err != nil || got.Type != "DELIVER_FAILED" || got.Data.Code != "MAILBOX_FULL" || got.Data.To != "A-2" || got.Reference != "r" {
		t.Errorf("the sender hears %s", told.frame)
	}
}

// Nobody acknowledges what cannot be stored at present; and it is stored once when it
// comes again.
func TestWhatCannotBeStoredComesAgain(t *testing.T) {
	n := inLine(t, 3)
	n.hubs[0].Send(&Send{From: "A-0", To: []wire.UserID{"A-1", "A-2"}, Group: true, Content: []byte(`1`)})
	n.posts[1].down = isLink
	n.cross(0, 1, 1, 1)
	if len(n.forwards(0, 1)) != 1 || len(n.posts[1].mail["A-1"]) != 1 {
		t.Fatal("it was acknowledged, or refused to those who could have it")
	}
	n.posts[1].down = nil
	n.drain()
	only1(t, n.posts[1].mail["A-1"])
	only1(t, n.posts[2].mail["A-2"])
}

func TestTheMasterUserClosesSessionsOfOtherDomains(t *testing.T) {
	n := inLine(t, 3)
	there := newReceiver(t, "A-2")
	if _, err := n.hubs[2].Add(there, nil); err != nil {
		t.Fatal(err)
	}
	n.hubs[0].Dismiss("A-0", "A-2", nil)
	n.drain()
	if !slices.Equal(there.kicks, []uint16{wire.CloseByMaster}) {
		t.Errorf("closed with %v", there.kicks)
	}
	if len(n.posts[2].mail["A-2"]) > 0 {
		t.Error("the order waits in the mailbox, too")
	}
	// No other user may.
	f := wire.Forward{From: "A-1", To: []wire.UserID{"A-2"}, Frame: wire.AppendClose(nil, "A-2")}
	if err := n.came(2, 1, f); err != nil || len(there.kicks) != 1 {
		t.Errorf("closed with %v, %v", there.kicks, err)
	}
	here := newReceiver(t, "A-0")
	if _, err := n.hubs[0].Add(here, nil); err != nil {
		t.Fatal(err)
	}
	n.hubs[0].Dismiss("A-0", "A-0", nil)
	if len(here.kicks) != 1 {
		t.Error("its own domain does not close")
	}
	var o outcome
	if n.hubs[0].Dismiss("A-0", "A-77", &o); !slices.Equal(o.codes, []string{wire.CodeNoRoute}) {
		t.Errorf("for a user who lives nowhere: %+v", o)
	}
}

// What a master user has closed never comes over a link to the domain where he lives:
// a neighbour that says so closes nothing, here or behind it, and nobody is told.
func TestANeighbourClosesNothingInTheNameOfAUserWhoLivesHere(t *testing.T) {
	for _, to := range []wire.UserID{"A-0", "A-1", "A-2"} {
		n := inLine(t, 3)
		var all []*receiver
		for i, hub := range n.hubs {
			all = append(all, newReceiver(t, user(i)))
			if _, err := hub.Add(all[i], nil); err != nil {
				t.Fatal(err)
			}
		}
		f := wire.Forward{From: "A-0", To: []wire.UserID{to}, Frame: wire.AppendClose(nil, to)}
		if err := n.came(0, 1, f); err != nil {
			t.Errorf("for %s: %v", to, err)
		}
		if refused := testutil.ToFloat64(n.hubs[0].failedForward.WithLabelValues(wire.CodeForbidden)); refused != 1 {
			t.Errorf("for %s: %v are counted as refused", to, refused)
		}
		for who, list := range n.posts[0].mail {
			t.Errorf("for %s: %s has %s", to, who, list[0].frame)
		}
		for _, r := range all {
			if len(r.kicks) > 0 {
				t.Errorf("for %s: closed with %v", to, r.kicks)
			}
		}
	}
}

// linked gives each link a session, and hands over what comes there.
func (n *network) linked(t *testing.T) {
	t.Helper()
	for from := range n.hubs {
		for to := range n.hubs {
			if n.charts[1].next[from][to] != to {
				continue
			}
			r := newReceiver(t, link(to))
			if _, err := n.hubs[from].Add(&passer{r, n, from, to}, nil); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// passer is a link's session: what it gets is at the other end at once.
type passer struct {
	*receiver
	n        *network
	from, to int
}

func (p *passer) Fast(frame []byte, proof func()) bool {
	if p.full {
		return false
	}
	f, err := wire.ParseForward(slices.Clone(frame))
	if err != nil || !f.Fast || proof != nil {
		p.n.t.Fatalf("%s: %v", frame, err)
	}
	p.n.hubs[p.to].Forward(&f, Neighbour{Domain: name(p.from), Link: link(p.from)}, func(err error) {
		if err != nil {
			p.n.t.Fatalf("%v", err)
		}
	})
	return true
}

func (p *passer) Queue(frame []byte, proof func()) bool { return p.Fast(frame, proof) }

func TestFastMessagesCrossLinksAndAreConfirmed(t *testing.T) {
	n := inLine(t, 3)
	n.linked(t)
	here, there := newReceiver(t, "A-0"), newReceiver(t, "A-2")
	for i, r := range map[int]*receiver{0: here, 2: there} {
		if _, err := n.hubs[i].Add(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	s := &Send{From: "A-0", To: []wire.UserID{"A-2"}, Fast: true, Content: []byte(`1`), Reference: []byte(`"r"`), Confirm: true}
	n.hubs[0].Send(s)
	if want := `{"type":"MESSAGE","data":{"from":"A-0","content":1},"reference":"r"}`; !slices.Equal(there.frames, []string{want}) || s.Sessions != 1 {
		t.Fatalf("there came %v, on %d sessions", there.frames, s.Sessions)
	}
	there.proofs[0]()
	n.drain()
	if got := only1(t, n.posts[0].mail["A-0"]); !got.send.Notice || string(got.frame) != `{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r"}}` {
		t.Errorf("the sender gets %s", got.frame)
	}
	n.hubs[0].Send(&Send{From: "A-0", To: []wire.UserID{"A-2", "A-0", "A-1"}, Group: true, Fast: true, Content: []byte(`2`)})
	if len(there.frames) != 2 || len(here.frames) != 1 || len(there.proofs) != 1 {
		t.Errorf("of a group there came %v, here %v", there.frames, here.frames)
	}
}

// A FAST message over a link that is down is dropped and counted.
func TestAFastMessageWithoutALinkIsDroppedAndCounted(t *testing.T) {
	n := inLine(t, 2)
	s := &Send{From: "A-0", To: []wire.UserID{"A-1"}, Fast: true, Content: []byte(`1`)}
	n.hubs[0].Send(s)
	if got := count(n.hubs[0].droppedAway); got != 1 || s.Sessions != 0 || len(n.waiting()) > 0 {
		t.Errorf("counted %v, on %d sessions, %v", got, s.Sessions, n.waiting())
	}
}

// The parts of a request that counts once are known one by one, and in order for
// each place.
func TestPartsOfARequestThatCountsOnce(t *testing.T) {
	n := inLine(t, 3)
	k := &keeper{}
	n.hubs[1].opts.Keeper = k
	once := &Once{Key: [16]byte{1}, Print: 7, Count: 5}
	var list []*Send
	for i, to := range [][]wire.UserID{{"A-1"}, {"A-2"}, {"A-1", "A-2", "A-0"}, {"A-2"}, {"A-1"}} {
		list = append(list, &Send{From: "A-1", To: to, Group: len(to) > 1, Content: []byte(`1`), Index: i})
	}
	n.hubs[1].SendAll(list, once)
	places := map[wire.UserID][]int{}
	keys := map[[16]byte]map[int]bool{}
	for _, r := range k.requests {
		if r.once.Print != 7 || r.once.Count != 5 {
			t.Errorf("a part is asked for as %+v", r.once)
		}
		if keys[r.once.Key] == nil {
			keys[r.once.Key] = map[int]bool{}
		}
		for _, s := range r.list {
			place := s.To[0]
			places[place] = append(places[place], s.Index)
			if keys[r.once.Key][s.Index] {
				t.Errorf("two parts of message %d are known as one", s.Index)
			}
			keys[r.once.Key][s.Index] = true
			if whole := s.Index != 2; whole != (r.once.Key == once.Key) {
				t.Errorf("message %d is known as %x", s.Index, r.once.Key)
			}
		}
	}
	if got := fmt.Sprint(places); got != "map[A-1:[0 2 4] link_d0-1:[2] link_d2-1:[1 2 3]]" {
		t.Errorf("at the places arrive %s", got)
	}
}

// The parts of an outbox's message are known one by one, too.
func TestPartsOfAnOutbox(t *testing.T) {
	n := inLine(t, 3)
	names := map[string]bool{}
	n.hubs[1].Send(&Send{From: "A-1", To: []wire.UserID{"A-0", "A-1", "A-2"}, Group: true, Content: []byte(`1`), Producer: "p", Seq: 3})
	for _, box := range n.posts[1].mail {
		s := only1(t, box).send
		if s.Seq != 3 || s.Producer == "p" || names[s.Producer] {
			t.Errorf("a part is known as %q %d", s.Producer, s.Seq)
		}
		names[s.Producer] = true
	}
	for _, f := range append(n.forwards(1, 0), n.forwards(1, 2)...) {
		if f.Producer != "" {
			t.Errorf("a part of a group goes on as %q", f.Producer)
		}
	}
}

func TestATTLGoesWithTheMessage(t *testing.T) {
	n := inLine(t, 2)
	n.hubs[0].Send(&Send{From: "A-0", To: []wire.UserID{"A-1"}, Content: []byte(`1`), TTL: 5e9})
	f := only1(t, n.forwards(0, 1))
	if f.Expires.Sub(f.SentAt) != 5e9 || n.posts[0].mail[link(1)][0].send.TTL != 5e9 {
		t.Errorf("it goes as %+v", f)
	}
	n.drain()
	if s := only1(t, n.posts[1].mail["A-1"]).send; !s.Past.Expires.Equal(f.Expires) {
		t.Errorf("it expires at %v", s.Past.Expires)
	}
}
