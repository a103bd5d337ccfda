package delivery

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestASessionIsKnownOnEveryNodeWithWhereItIs(t *testing.T) {
	l, a, b := pair()
	one := a.come("A-1")
	two := session("A-1")
	two.transport = "sse"
	if _, err := b.Add(two, nil); err != nil {
		t.Fatal(err)
	}
	l.settle()
	if got := b.Online("A-1"); got.Sessions != 2 || a.lists() != b.lists() {
		t.Fatalf("a knows\n%sb knows\n%s", a.lists(), b.lists())
	}
	for _, s := range b.Sessions("A-1") {
		if s.ID == one.id && (s.Node != "a" || s.Address != one.Address() || s.Transport != "websocket") {
			t.Errorf("b knows %+v", s)
		}
	}
	a.Remove(one)
	l.settle()
	if got := b.Sessions("A-1"); len(got) != 1 || got[0].ID != two.id || got[0].Node != "" {
		t.Errorf("b knows %v", got)
	}
	b.Remove(two)
	l.settle()
	if a.lists() != "" || b.lists() != "" {
		t.Errorf("a knows %q, b %q", a.lists(), b.lists())
	}
}

// Whoever begins a session waits until the others know of it, or for a moment.
func TestASessionIsKnownWhenAllNodesHaveSaidSo(t *testing.T) {
	alone := newHub(&keeper{})
	if known, err := alone.Add(newReceiver(t, "A-1"), nil); known != nil || err != nil {
		t.Fatal("a node that is alone has something to wait for")
	}
	l, a, b := pair()
	c := l.add("c", 3)
	l.settle()
	users := 0
	add := func() <-chan struct{} {
		users++
		known, err := a.Add(session(wire.UserID(fmt.Sprint("A-", users))), nil)
		if err != nil {
			t.Fatal(err)
		}
		return known
	}
	known := add()
	l.step("a", "b")
	l.step("b", "a")
	if closed(known) {
		t.Fatal("known before c has it")
	}
	l.settle()
	if !closed(known) || b.Online("A-1").Sessions != 1 || c.Online("A-1").Sessions != 1 {
		t.Fatal("not known, though both nodes have it")
	}

	known = add()
	l.step("a", "b")
	l.step("b", "a")
	l.cut("a", "c")
	l.step("c", "a")
	if !closed(known) {
		t.Error("a node whose link is down is waited for")
	}

	known, later := add(), add()
	a.expire()
	if !closed(known) || !closed(later) {
		t.Error("it is waited for without end")
	}
	b.PeerGone("a")
	a.PeerGone("b")
	if known := add(); known != nil {
		t.Error("there is nobody left to wait for")
	}
}

// A node that is only being told of all sessions does not know of one because it
// has heard of a later one.
func TestANodeIsWaitedForUntilItHasBeenToldOfAll(t *testing.T) {
	l := newLinks()
	a, _, _ := l.add("a", 3), l.add("b", 3), l.add("c", 3)
	l.settle()
	var users []wire.UserID // in the order in which a tells of them
	for i := range 1000 {
		users = append(users, wire.UserID(fmt.Sprint("A-", i)))
	}
	slices.SortFunc(users, func(x, y wire.UserID) int {
		return cmp.Compare(maphash.String(a.roster.seed, string(x))%rosterShards, maphash.String(a.roster.seed, string(y))%rosterShards)
	})
	a.turn = 1
	a.come(users[0])
	l.settle()
	l.cut("a", "c")
	l.settle()
	known, err := a.Add(session(users[999]), nil) // waits for b
	if err != nil {
		t.Fatal(err)
	}
	l.connect("a", "c")
	for l.step("c", "a") {
	}
	a.come(users[1])
	for l.step("a", "c") {
	}
	for l.step("a", "b") || l.step("b", "a") || l.step("c", "a") {
	}
	if closed(known) {
		t.Error("not waited for c, which does not know of the session")
	}
	l.settle()
	if !closed(known) {
		t.Error("waited for on")
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func TestFastReachesSessionsOnEveryNodeInOrder(t *testing.T) {
	l, a, b := pair()
	c := l.add("c", 3)
	sessions := []*receiver{a.come("A-1"), b.come("A-1"), b.come("A-1"), c.come("A-1")}
	other := b.come("A-2")
	l.settle()
	for i := range 3 {
		if n := a.fast("A-9", fmt.Sprint(i), "A-1"); n != 4 {
			t.Errorf("queued on %d sessions", n)
		}
	}
	l.settle()
	want := []string{
		`{"type":"MESSAGE","data":{"from":"A-9","content":0}}`,
		`{"type":"MESSAGE","data":{"from":"A-9","content":1}}`,
		`{"type":"MESSAGE","data":{"from":"A-9","content":2}}`,
	}
	for i, r := range sessions {
		if !slices.Equal(r.frames, want) {
			t.Errorf("session %d got %v", i, r.frames)
		}
	}
	if len(other.frames) > 0 {
		t.Errorf("another user got %v", other.frames)
	}
}

func TestAGroupIsOneMessageForEachNode(t *testing.T) {
	l, a, b := pair()
	var group []wire.UserID
	var list []*receiver
	for i := range 2*branchReceivers + 5 {
		user := wire.UserID(fmt.Sprint("A-", i+1))
		group = append(group, user)
		list = append(list, b.come(user))
	}
	mine := a.come("A-1")
	l.settle()
	if n := a.fast("A-9", "1", group...); n != len(group)+1 {
		t.Errorf("queued on %d sessions", n)
	}
	if n := len(l.wires[[2]string{"a", "b"}].events); n != 3 {
		t.Errorf("b gets %d messages", n)
	}
	l.settle()
	for _, r := range append(list, mine) {
		if len(r.frames) != 1 {
			t.Fatalf("%s got %d frames", r.user, len(r.frames))
		}
	}
}

func TestFastThatReachesNobodyElsewhereIsCounted(t *testing.T) {
	l, a, b := pair()
	gone := b.come("A-1")
	l.settle()
	l.cut("a", "b")
	a.fast("A-9", "1", "A-1")
	if n := count(a.droppedLink); n != 1 {
		t.Errorf("%v were dropped", n)
	}
	l.connect("a", "b")
	l.settle()
	b.Remove(gone)
	if n := a.fast("A-9", "2", "A-1"); n != 1 { // a does not know yet
		t.Errorf("queued on %d", n)
	}
	l.settle()
	if n := count(b.droppedAbsent); n != 1 || len(gone.frames) > 0 {
		t.Errorf("%v were absent; the session that is over got %v", n, gone.frames)
	}
}

// Sessions on three nodes prove the same message: its sender hears once.
func TestFastIsConfirmedOnceWhoeverProvesItFirst(t *testing.T) {
	for _, first := range []int{0, 1, 2} {
		l, a, b := pair()
		c := l.add("c", 3)
		list := []*receiver{a.come("A-1"), b.come("A-1"), b.come("A-1"), c.come("A-1")}
		l.settle()
		a.Hub.Send(&Send{From: "A-9", To: []wire.UserID{"A-1"}, Content: []byte("1"), Reference: []byte(`"r"`), Fast: true, Confirm: true})
		l.settle()
		if len(a.keeper.confirms) > 0 {
			t.Fatal("confirmed before a proof")
		}
		list[first].proofs[0]()
		l.settle()
		for _, r := range list {
			r.proofs[0]()
		}
		l.settle()
		if want := []string{`A-9 A-1 "r"`}; !slices.Equal(a.keeper.confirms, want) || len(b.keeper.confirms)+len(c.keeper.confirms) > 0 {
			t.Errorf("a confirmed %v, b %v, c %v", a.keeper.confirms, b.keeper.confirms, c.keeper.confirms)
		}
		if n := a.tokens.order.Len() + len(a.tokens.byToken); n > 0 {
			t.Errorf("%d tokens are left", n)
		}
	}
}

func TestAMasterUserHasOneSessionForEachSenderInTheWholeCluster(t *testing.T) {
	l, a, b := pair()
	list := []*receiver{a.come("A-0"), b.come("A-0"), b.come("A-0")}
	l.settle()
	for sender := range 60 {
		for _, from := range []*node{a, b, a} {
			if n := from.fast(wire.UserID(fmt.Sprint("A-", sender+1)), "0", "A-0"); n != 1 {
				t.Fatalf("queued on %d sessions", n)
			}
			l.settle()
		}
	}
	total := 0
	for i, r := range list {
		if len(r.frames) == 0 || len(r.frames)%3 != 0 {
			t.Errorf("session %d got %d frames: senders are not shared out, or split", i, len(r.frames))
		}
		total += len(r.frames)
	}
	if total != 180 {
		t.Errorf("%d frames arrived", total)
	}
	for _, r := range list {
		r.frames = nil
	}
	if _, err := a.Broadcast(t.Context(), &Send{From: "A-5", Content: []byte("1"), Fast: true}, nil); err != nil {
		t.Fatal(err)
	}
	l.settle()
	if n := len(list[0].frames) + len(list[1].frames) + len(list[2].frames); n != 1 {
		t.Errorf("a broadcast reached %d sessions", n)
	}
}

// A hash that differs between two processes would send one sender's messages to
// several sessions. (The number is the function's promise.)
func TestTheChoiceOfASessionIsTheSameInEveryProcess(t *testing.T) {
	id, err := wire.ParseID("0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081")
	if got := choice(id, "ANZ-7"); err != nil || got != 0x1e366f1b14e1ba33 {
		t.Errorf("%#x, %v", got, err)
	}
}

func TestABroadcastReachesEveryNodeOnce(t *testing.T) {
	l, a, b := pair()
	var list []*receiver
	for i := range audiencePage + 500 {
		n := []*node{a, b}[i%2]
		list = append(list, n.come(wire.UserID(fmt.Sprint("A-", i+1))))
	}
	list = append(list, b.come("A-1"), a.come("A-2"))
	other := b.come("B-1")
	l.settle()
	r, err := a.Broadcast(t.Context(), &Send{From: "A-3", Content: []byte("1"), Fast: true}, nil)
	if err != nil || r != (Reached{Receivers: audiencePage + 500, Sessions: len(list)}) {
		t.Errorf("reached %+v, %v", r, err)
	}
	if n := len(l.wires[[2]string{"a", "b"}].events); n != 2 {
		t.Errorf("b gets %d messages", n)
	}
	l.settle()
	for _, x := range list {
		if len(x.frames) != 1 {
			t.Fatalf("%s got %d frames", x.user, len(x.frames))
		}
	}
	if len(other.frames) > 0 {
		t.Errorf("another app's user got %v", other.frames)
	}
	k := &storing{}
	a.opts.Keeper = k
	if r, err := a.Broadcast(t.Context(), &Send{From: "A-3", Content: []byte("1")}, nil); err != nil || r.Receivers != audiencePage+500 {
		t.Errorf("a RELIABLE one reached %+v, %v", r, err)
	}
}

func TestSessionsAreClosedOnEveryNode(t *testing.T) {
	l, a, b := pair()
	c := l.add("c", 3)
	list := []*receiver{a.come("A-1"), b.come("A-1"), c.come("A-1")}
	other := b.come("A-2")
	l.settle()
	if n := a.Kick("A-1", 4003, "out"); n != 3 {
		t.Errorf("kicked %d", n)
	}
	l.settle()
	for i, r := range list {
		if !slices.Equal(r.kicks, []uint16{4003}) {
			t.Errorf("session %d was closed with %v", i, r.kicks)
		}
	}
	if !a.Close("A-2", other.id, 1000, "") || a.Close("A-2", list[1].id, 1000, "") {
		t.Error("one session was not found, or that of another user was")
	}
	l.settle()
	if !slices.Equal(other.kicks, []uint16{1000}) {
		t.Errorf("closed with %v", other.kicks)
	}
	b.CloseAll(1012, "lost")
	if len(list[1].kicks) != 2 || len(other.kicks) != 2 || len(list[0].kicks) != 1 {
		t.Error("not all sessions of the node were closed, or another node's")
	}
}

// An order to close that is lost with its link is given again, until the session
// is over.
func TestAnOrderToCloseIsNotLostWithItsLink(t *testing.T) {
	l, a, b := pair()
	one := b.come("A-1")
	l.settle()
	a.Kick("A-1", 4003, "out")
	l.connect("a", "b")
	l.settle()
	if !slices.Equal(one.kicks, []uint16{4003}) {
		t.Fatalf("closed with %v", one.kicks)
	}
	b.Remove(one)
	next := b.come("A-1")
	l.connect("a", "b")
	l.settle()
	if len(one.kicks) != 1 || len(next.kicks) != 0 || len(a.peers.get("b").closes) != 0 {
		t.Errorf("closed %v, the user's next session %v, %d orders are left", one.kicks, next.kicks, len(a.peers.get("b").closes))
	}
}

func TestSessionsOfOneUserAreLimitedOverAllNodes(t *testing.T) {
	l, a, b := pair()
	first := a.come("A-1")
	a.come("A-1")
	b.come("A-1")
	l.settle()
	if _, err := b.Add(session("A-1"), nil); err == nil || !strings.Contains(err.Error(), "A-1 has 3 sessions already") {
		t.Fatalf("a fourth session was answered with %v", err)
	}
	a.Remove(first)
	l.settle()
	b.come("A-1")
}

// Streams whose clients are away make room, also for a session on another node:
// one for one.
// Nodes that add sessions at one moment do not know of each other's. Once they do,
// all of them choose the same ones that are too many.
func TestOfSessionsThatBeginAtOneMomentOnlySoManyStay(t *testing.T) {
	l, a, b := pair() // 3 sessions each user may have
	begun := make(map[*node][]*receiver)
	for range 3 {
		for _, n := range []*node{a, b} {
			s := session("A-1")
			if _, err := n.Add(s, nil); err != nil {
				t.Fatal(err)
			}
			begun[n] = append(begun[n], s)
		}
	}
	l.settle()
	stay := 0
	for n, list := range begun {
		for _, s := range list {
			if err := n.Surplus(s); err == nil {
				stay++
			} else if !strings.Contains(err.Error(), "A-1 has 3 sessions already") {
				t.Error(err)
			}
		}
	}
	if stay != 3 {
		t.Errorf("%d sessions stay", stay)
	}
}

func TestSessionsElsewhereMakeRoom(t *testing.T) {
	l, a, b := pair()
	b.come("A-1")
	away := []*receiver{session("A-1"), session("A-1")}
	for i, r := range away {
		r.transport, r.away = "sse", time.Duration(2-i)
		if _, err := b.Add(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	l.settle()
	a.asks = l.settle
	for i := range away {
		if _, err := a.Add(session("A-1"), nil); err != nil {
			t.Fatal(err)
		}
		if longest := away[1-i]; !longest.gaveWay || i == 0 && away[0].gaveWay {
			t.Error("another session made room than that whose client has been away for longest")
		}
	}
	if _, err := a.Add(session("A-1"), nil); err == nil {
		t.Error("there was room")
	}
	l.settle()
	if a.lists() != b.lists() || a.Online("A-1").Sessions != 3 {
		t.Errorf("a knows\n%sb knows\n%s", a.lists(), b.lists())
	}
}

// A node that does not answer cannot hold up a sign-in.
func TestRoomElsewhereIsNotWaitedForWithoutEnd(t *testing.T) {
	l, a, b := pair()
	for range 3 {
		r := session("A-1")
		r.transport, r.away = "sse", 1
		if _, err := b.Add(r, nil); err != nil {
			t.Fatal(err)
		}
	}
	l.settle()
	a.asks = a.expire
	if _, err := a.Add(session("A-1"), nil); err == nil {
		t.Error("there was room")
	}
	l.cut("a", "b")
	if _, err := a.Add(session("A-1"), nil); err == nil {
		t.Error("there was room")
	}
}

// What a node's death, its links' trouble and a second session mean for those who
// watch its users.
func TestWatchersHearEachComingAndGoingOnce(t *testing.T) {
	l, a, b := pair()
	there := b.come("A-1")
	l.settle()
	watcher := a.come("A-9", "A-1", "A-2", "A-9", "A-1")
	hear := func(want ...string) {
		t.Helper()
		l.settle()
		slices.Sort(watcher.told) // of several users
		if got := watcher.told; !slices.Equal(got, want) {
			t.Fatalf("heard %v, not %v", got, want)
		}
		watcher.told = nil
	}
	hear("A-1 comes", "A-9 comes")
	two := a.come("A-1")
	b.Remove(there)
	hear()
	a.Remove(two)
	hear("A-1 goes")

	b.come("A-1")
	b.come("A-2")
	hear("A-1 comes", "A-2 comes")
	l.cut("a", "b")
	hear()
	l.connect("a", "b")
	hear()
	l.kill("b")
	hear()
	a.PeerGone("b")
	hear("A-1 goes", "A-2 goes")
	a.PeerGone("b")
	hear()

	a.Remove(watcher)
	a.come("A-2")
	hear()
	for i := range a.roster.shards {
		if s := &a.roster.shards[i]; len(s.watched)+len(s.watches) > 0 {
			t.Errorf("%v and %v are left", s.watched, s.watches)
		}
	}
}

// What happened while a link was down is heard when it is up again.
func TestARosterIsComparedWhenALinkIsUpAgain(t *testing.T) {
	l, a, b := pair()
	goes, changes := b.come("A-1"), b.come("A-2")
	l.settle()
	watcher := a.come("A-9", "A-1", "A-2", "A-3")
	watcher.told = nil
	l.cut("a", "b")
	b.Remove(goes)
	b.Remove(changes)
	b.come("A-2")
	b.come("A-3")
	l.settle()
	if len(watcher.told) > 0 || a.Online("A-1").Sessions != 1 {
		t.Fatalf("heard %v over a link that is down", watcher.told)
	}
	l.connect("a", "b")
	l.settle()
	slices.Sort(watcher.told)
	if want := []string{"A-1 goes", "A-3 comes"}; !slices.Equal(watcher.told, want) || a.lists() != b.lists() {
		t.Errorf("heard %v\na knows\n%sb knows\n%s", watcher.told, a.lists(), b.lists())
	}
}

// A snapshot is as long as it is: no more than a part of it waits to be sent.
func TestASnapshotIsSentInTurns(t *testing.T) {
	l := newLinks()
	a := l.add("a", 3)
	const users = 30_000
	for i := range users {
		a.come(wire.UserID(fmt.Sprint("A-", 1_000_000+i)))
	}
	b := l.add("b", 3)
	most := 0
	for busy := true; busy; {
		busy = l.step("a", "b")
		for l.step("b", "a") {
			busy = true
		}
		waits := 0
		for _, e := range l.wires[[2]string{"a", "b"}].events {
			waits += len(e.message)
		}
		most = max(most, waits)
	}
	if n := b.roster.far.Load(); n != users || most > turnBytes+partBytes || b.lists() != a.lists() {
		t.Errorf("%d sessions arrived, %d bytes waited", n, most)
	}
}

func TestTokensOfProofsAreBounded(t *testing.T) {
	now := time.Unix(1000, 0)
	h := New(Options{Keeper: &keeper{}, Access: access{}, Now: func() time.Time { return now }})
	open := func(reference int) *confirmation {
		c := &confirmation{h: h, reference: make([]byte, reference)}
		h.tokens.open(c)
		return c
	}
	first := open(1)
	for range maxTokens {
		open(1)
	}
	if n := count(h.unconfirmed); n != 1 || h.tokens.close(first.token) != nil || h.tokens.order.Len() != maxTokens {
		t.Errorf("%v forgotten, %d left", n, h.tokens.order.Len())
	}
	open(tokenBytes)
	if h.tokens.order.Len() != 1 || h.tokens.bytes != tokenBytes {
		t.Errorf("%d left of %d bytes", h.tokens.order.Len(), h.tokens.bytes)
	}
	before := count(h.unconfirmed)
	now = now.Add(tokenTime + 1)
	last := open(5)
	if count(h.unconfirmed) != before || h.tokens.close(last.token) != last || h.tokens.close(last.token) != nil || h.tokens.bytes != 0 || len(h.tokens.byToken) != 0 {
		t.Errorf("%d tokens of %d bytes are left", len(h.tokens.byToken), h.tokens.bytes)
	}
}

// Nodes of different versions work side by side in one cluster.
func TestWhatANewerNodeSaysBesidesIsIgnored(t *testing.T) {
	l, a, b := pair()
	say := func(bytes ...byte) { b.Send("a", bytes); l.settle() }
	say(encoding, 200, 1, 2, 3)
	x := session("A-1")
	say(append(message(kindChange, 7), appendEntry([]byte{99}, x)...)...)
	say(append(message(kindAck, 0), "more"...)...)
	if n := count(a.badMessages); n != 0 || a.lists() != "" {
		t.Errorf("%v were bad; a knows %q", n, a.lists())
	}
	say(encoding+1, kindChange, 7)
	say()
	if n := count(a.badMessages); n != 2 {
		t.Errorf("%v were bad", n)
	}
}

func FuzzWhatNodesSay(f *testing.F) {
	x := session("A-1")
	x.transport = "sse"
	entry := appendEntry(nil, x)
	for _, m := range [][]byte{
		message(kindBegin, 3), append(message(kindPart, 3), entry...), message(kindTurn, 3), message(kindMore, 1), message(kindEnd, 3, 9),
		append(append(message(kindChange, 4), opJoin), entry...), append(append(message(kindChange, 4), opLeave), entry...), message(kindAck, 5),
		append(message(kindFast, 1, 2), "\x06A-1\x06A-2frame"...), message(kindProof, 1), append(message(kindAll), "\x00\x03A-9\x00frame"...),
		append(append(appendText(message(kindClose, 4003), "A-1"), x.id[:]...), "why"...), appendText(message(kindRoom, 1), "A-1"), message(kindRoomed, 1, 1),
	} {
		f.Add(m, m)
	}
	f.Fuzz(func(t *testing.T, one, two []byte) {
		l, a, b := pair()
		a.come("A-1", "A-2")
		a.PeerReceive("b", message(kindBegin, 3))
		a.PeerReceive("b", one)
		a.PeerReceive("b", two)
		for _, u := range []wire.UserID{"A-1", "A-2"} {
			a.Sessions(u)
		}
		l.connect("a", "b")
		l.settle()
		if a.lists() != b.lists() || a.roster.far.Load() != 0 {
			t.Errorf("a knows\n%sb knows\n%s", a.lists(), b.lists())
		}
	})
}

func count(c prometheus.Counter) float64 { return testutil.ToFloat64(c) }
