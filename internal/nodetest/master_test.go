package nodetest

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// master is the master user of the demo app.
const master = "ANZ-123223"

// notice is one USER_CONNECTED or USER_DISCONNECTED.
type notice struct {
	user string
	came bool
}

// notices returns those among the frames, and fails on anything else.
func notices(t *testing.T, frames []Frame) []notice {
	t.Helper()
	var list []notice
	for _, f := range frames {
		if f.Type != "USER_CONNECTED" && f.Type != "USER_DISCONNECTED" {
			t.Fatalf("got %s among notices", f.Raw)
		}
		list = append(list, notice{f.Field("userId"), f.Type == "USER_CONNECTED"})
	}
	return list
}

// noticesOf takes so many notices. What is told of one user is in order; it is sorted by
// user, since of several nobody promises one.
func noticesOf(t *testing.T, p *Peer, n int) []notice {
	t.Helper()
	var frames []Frame
	for range n {
		frames = append(frames, p.Next())
	}
	list := notices(t, frames)
	slices.SortStableFunc(list, func(a, b notice) int { return strings.Compare(a.user, b.user) })
	return list
}

func TestTheMasterIsToldOfEverySession(t *testing.T) {
	t.Parallel()
	s := Start(t)
	m := SignIn(t, s, master, "")
	one, two := SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-1", "")
	other := SignIn(t, s, "ANZ-2", "")
	got := noticesOf(t, m, 3)
	second := SignIn(t, s, master, "") // of the master's own sessions nobody is told
	second.Close()
	awaitSessions(t, s, 4) // or it would have its share of what follows
	two.Close()
	awaitSessions(t, s, 3)
	other.Abort()
	awaitSessions(t, s, 2)
	one.Close()
	awaitSessions(t, s, 1)
	got = append(got, noticesOf(t, m, 3)...)
	want := []notice{{"ANZ-1", true}, {"ANZ-1", true}, {"ANZ-2", true}, {"ANZ-1", false}, {"ANZ-1", false}, {"ANZ-2", false}}
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	wantNothing(t, "the master in the end", m)
}

// Across kills of the server each session that began is told of once, and each
// end once; ends that the kill caused come when the server is back.
func TestTheMasterIsToldOnceAcrossKills(t *testing.T) {
	t.Parallel()
	const users = 5
	rounds := 8
	if testing.Short() {
		rounds = 3
	}
	chance := rand.New(rand.NewPCG(seed(t), 2))
	s := Start(t)
	began := make(map[string]int) // sessions that were let in, by user
	for range rounds {
		var open []*Peer
		for i := range users {
			user := fmt.Sprint("ANZ-", i+1)
			for range 1 + chance.IntN(3) {
				open = append(open, SignIn(t, s, user, ""))
				began[user]++
			}
		}
		for _, p := range open {
			switch chance.IntN(3) {
			case 0:
				p.Close()
			case 1:
				p.Abort()
			}
		}
		// A user's sessions are in the log once a later message for that user is: one
		// that is let in but killed before that may not be told of at all.
		p := SignIn(t, s, "ANZ-99", `{"receipts":true}`)
		began["ANZ-99"]++
		for user := range began {
			send(p, user, "x", "r")
			if f := after(p, "MESSAGE"); f.Type != "MESSAGE_STORED" { // it gets its own, too
				t.Fatalf("got %s", f.Raw)
			}
		}
		s.Kill()
		s.Start()
	}
	s.Kill()
	s.Start() // nothing was open: no further ends
	m := SignIn(t, s, master, `{"push":true,"ack":true}`)
	total := wantNotices(t, m, began)
	wantNothing(t, "the master in the end", m)
	t.Logf("%d sessions in %d lives of the server: lost 0, duplicated 0", total, rounds)
}

// wantNotices fails unless the next frames tell once of each beginning and once
// of each end of the sessions, by user, the beginning first. It returns how many
// sessions there were.
func wantNotices(t *testing.T, m *Peer, sessions map[string]int) (total int) {
	t.Helper()
	for _, n := range sessions {
		total += n
	}
	open, ended, ids := make(map[string]int), make(map[string]int), make(map[string]bool)
	for range 2 * total {
		f := m.Next()
		if ids[f.ID] || f.ID == "" {
			t.Fatalf("the ID of %s is missing or came before", f.Raw)
		}
		ids[f.ID] = true
		n := notices(t, []Frame{f})[0]
		if n.came {
			open[n.user]++
			continue
		}
		ended[n.user]++
		if open[n.user]--; open[n.user] < 0 {
			t.Fatalf("%s left more often than it came", n.user)
		}
	}
	for user, n := range sessions {
		if ended[user] != n || open[user] != 0 {
			t.Errorf("%s had %d sessions: %d ends were told, %d more beginnings", user, n, ended[user], open[user])
		}
	}
	return total
}

// A session of the master's that is there when the server is killed gets what
// it had not proved on its next session, and no end twice.
func TestTheMasterThatWasThereIsToldOfEndsAfterTheKill(t *testing.T) {
	t.Parallel()
	s := Start(t)
	m := SignIn(t, s, master, `{"push":true}`)
	for i := range 20 {
		SignIn(t, s, fmt.Sprint("ANZ-", i+1), "")
		m.Expect("USER_CONNECTED")
	}
	round(m)
	awaitWaiting(t, s, 0)
	s.Kill()
	for range 3 {
		s.Start()
		s.Kill()
	}
	s.Start()
	m = SignIn(t, s, master, `{"push":true}`)
	// What it had proved moments before may come again, and is no end.
	got := notices(t, slices.DeleteFunc(round(m), func(f Frame) bool { return f.Type != "USER_DISCONNECTED" }))
	slices.SortFunc(got, func(a, b notice) int { return strings.Compare(a.user, b.user) })
	var want []notice
	for i := range 20 {
		want = append(want, notice{fmt.Sprint("ANZ-", i+1), false})
	}
	slices.SortFunc(want, func(a, b notice) int { return strings.Compare(a.user, b.user) })
	if !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

const masterSenders, masterMessages = 40, 25

// shared has many users write to the master at once, and returns when all is
// stored.
func shared(t *testing.T, s *Server, series string) {
	t.Helper()
	var list []*Peer
	for i := range masterSenders {
		list = append(list, SignIn(t, s, fmt.Sprint("ANZ-", i+1), `{"receipts":true}`))
	}
	for n := range masterMessages {
		for _, p := range list {
			send(p, master, numbered(series, n, 50), fmt.Sprint(series, " ", n))
		}
	}
	for _, p := range list {
		awaitStored(t, p, series, 0, masterMessages)
	}
}

// bySender returns the numbers of a series by sender.
func bySender(frames []Frame, series string) map[string][]int {
	got := make(map[string][]int)
	for _, f := range frames {
		if tag, n := number(f); tag == series {
			got[f.Field("from")] = append(got[f.Field("from")], n)
		}
	}
	return got
}

func TestSessionsOfTheMasterShareTheWorkBySender(t *testing.T) {
	t.Parallel()
	s := Start(t)
	list := []*Peer{SignIn(t, s, master, ""), SignIn(t, s, master, ""), SignIn(t, s, master, "")}
	shared(t, s, "m")
	awaitWaiting(t, s, 0)
	owner := make(map[string]int)
	for i, p := range list {
		got := bySender(p.Barrier(), "m")
		t.Logf("session %d serves %d of %d senders", i, len(got), masterSenders)
		if len(got) == 0 {
			t.Errorf("session %d has no part of the work", i)
		}
		for from, numbers := range got {
			if other, taken := owner[from]; taken {
				t.Errorf("%s is served by sessions %d and %d", from, other, i)
			}
			owner[from] = i
			if !slices.Equal(numbers, sequence(0, masterMessages)) {
				t.Errorf("%s: session %d got %v", from, i, numbers)
			}
		}
	}
	if len(owner) != masterSenders {
		t.Errorf("%d senders were served", len(owner))
	}
}

func TestWhatOneSessionOfTheMasterDoesNotProveGoesToAnother(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		end  func(p *Peer)
	}{
		{"its connection breaks", (*Peer).Abort},
		{"it answers no ping", func(*Peer) {}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := startWith(t, "limits: {proofTimeout: 5s}\n")
			one, two := SignIn(t, s, master, ""), SignIn(t, s, master, "")
			two.Silence(true)
			shared(t, s, "m")
			c.end(two)
			awaitSessions(t, s, 1+masterSenders)
			awaitWaiting(t, s, 0)
			before := bySender(rest(two), "m")
			if len(before) == 0 {
				t.Error("the silent session had no part of the work")
			}
			got := bySender(one.Barrier(), "m")
			for i := range masterSenders {
				from := fmt.Sprint("ANZ-", i+1)
				if !slices.Equal(got[from], sequence(0, masterMessages)) {
					t.Errorf("%s: %v came to the session that is left, in this order", from, got[from])
				}
			}
		})
	}
}

// Sessions of the master's join and break while messages flow: that costs no
// message, and no sender's order.
func TestSessionsOfTheMasterMayComeAndGo(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(seed(t), 3))
	s := Start(t)
	var gone []*Peer
	here := []*Peer{SignIn(t, s, master, "")}
	ann, bob := SignIn(t, s, "ANZ-1", `{"receipts":true}`), SignIn(t, s, "ANZ-2", `{"receipts":true}`)
	const rounds, each = 60, 20
	for i := range rounds {
		for n := i * each; n < (i+1)*each; n++ {
			send(ann, master, numbered("m", n, 50), fmt.Sprint("m ", n))
			send(bob, master, numbered("m", n, 50), fmt.Sprint("m ", n))
		}
		if len(here) == 1 || len(here) < 4 && chance.IntN(2) == 0 {
			here = append(here, SignIn(t, s, master, ""))
		} else {
			k := chance.IntN(len(here))
			here[k].Abort()
			gone = append(gone, here[k])
			here = slices.Delete(here, k, k+1)
		}
		awaitStored(t, ann, "m", i*each, (i+1)*each)
		awaitStored(t, bob, "m", i*each, (i+1)*each)
	}
	awaitSessions(t, s, 2+len(here))
	awaitWaiting(t, s, 0)
	all := make(map[string][]int)
	for i, p := range append(gone, here...) {
		for from, numbers := range bySender(rest(p), "m") {
			if once, repeats := unique(numbers); repeats > 0 || descents(once) > 0 {
				t.Errorf("%s: session %d got %v", from, i, numbers)
			}
			all[from] = append(all[from], numbers...)
		}
	}
	for from, numbers := range all {
		once, again := unique(numbers)
		slices.Sort(once)
		if !slices.Equal(once, sequence(0, rounds*each)) {
			t.Errorf("%s: %d of %d messages came", from, len(once), rounds*each)
		}
		t.Logf("%s: lost 0, duplicated on one session 0, reordered 0, again on another session %d", from, again)
	}
}

// rest returns what a peer has read and Next has not returned.
func rest(p *Peer) []Frame {
	p.mu.Lock()
	defer p.mu.Unlock()
	frames := p.frames
	p.frames = nil
	return frames
}

func TestOnlyTheMasterClosesConnections(t *testing.T) {
	t.Parallel()
	s := startWith(t, `
apps:
  - {appName: ANZ, appId: app-id-343, masterUserId: ANZ-123223, authEnabled: false}
  - {appName: SHOP, appId: shop-id, masterUserId: SHOP-1, authEnabled: false}
`)
	m, ann := SignIn(t, s, master, ""), SignIn(t, s, "ANZ-1", "")
	shop := Dial(t, s)
	if err := shop.TrySignIn("shop-id", "SHOP-1", ""); err != nil {
		t.Fatal(err)
	}
	victims := []*Peer{SignIn(t, s, "ANZ-2", ""), SignIn(t, s, "ANZ-2", `{"ack":true}`)}
	noticesOf(t, m, 3)
	closing := func(user string) string {
		return fmt.Sprintf(`{"type":"CLOSE_CONNECTION","data":{"userId":%q},"reference":"c"}`, user)
	}
	for _, p := range []*Peer{ann, victims[0], shop} {
		p.Send(closing("ANZ-2"))
		if f := p.Expect("GENERAL_ERROR"); f.Field("code") != "FORBIDDEN" || string(f.Reference) != `"c"` {
			t.Errorf("got %s", f.Raw)
		}
	}
	m.Send(closing("SHOP-1"))
	if f := m.Expect("GENERAL_ERROR"); f.Field("code") != "FORBIDDEN" {
		t.Errorf("got %s", f.Raw)
	}
	for data, code := range map[string]string{`{}`: "MISSING_FIELD", `{"userId":7}`: "BAD_FIELD", `{"userId":"ANZ"}`: "BAD_FIELD"} {
		m.Send(`{"type":"CLOSE_CONNECTION","data":` + data + `}`)
		if f := m.Expect("INVALID_MESSAGE"); f.Field("code") != code {
			t.Errorf("%s is answered with %s", data, f.Raw)
		}
	}

	ann.Message("ANZ-2", "before the end", `"reference":"r"`)
	wantConfirmation(t, ann, "r")
	m.Send(closing("ANZ-2"))
	for _, p := range victims {
		if f := p.Expect("MESSAGE"); f.Field("content") != "before the end" {
			t.Errorf("got %s", f.Raw)
		}
		if code := p.CloseCode(); code != 4003 {
			t.Errorf("closed with %d", code)
		}
	}
	awaitSessions(t, s, 3)
	if got := noticesOf(t, m, 2); !slices.Equal(got, []notice{{"ANZ-2", false}, {"ANZ-2", false}}) {
		t.Errorf("the master is told %v", got)
	}
	m.Send(closing("ANZ-2")) // has no session: nothing happens
	wantNothing(t, "the master", m)
	wantNothing(t, "who was not meant", ann)
	SignIn(t, s, "ANZ-2", "") // it may come back
	m.Send(closing(master))   // the master's own sessions too
	if code := m.CloseCode(); code != 4003 {
		t.Errorf("the master is closed with %d", code)
	}
}
