package nodetest

import (
	"fmt"
	"slices"
	"testing"
)

// backends returns an app's own server for each node, all with one key, which was
// made on the first.
func backends(g ground) []*backend {
	g.Helper()
	list := []*backend{newBackend(g.T, g.Nodes[0])}
	for _, n := range g.Nodes[1:] {
		b := *list[0]
		b.s, b.addr = n, n.Addr
		awaitStatus(g.T, &b, "GET", "/v1/users?app=ANZ", 200) // the key is on its way
		list = append(list, &b)
	}
	return list
}

// awaitStatus makes a call until it is answered with a status.
func awaitStatus(t *testing.T, b *backend, method, path string, status int) {
	t.Helper()
	Eventually(t, fmt.Sprintf("%s %s on %s is answered with %d", method, path, b.addr, status), func() bool {
		a, err := b.try(method, path, "", "")
		return err == nil && a.Status == status
	})
}

// usersOf returns the user IDs of a list, in its order.
func usersOf(list []entry) (users []string) {
	for _, e := range list {
		users = append(users, e.UserID)
	}
	return users
}

func listsOfAll(g ground) {
	all := backends(g)
	var want []string
	var peers []*Peer
	sessions := make(map[string]int)
	for u := range 60 {
		user := g.id(1000 + u)
		want = append(want, user)
		for k := range 1 + u%3 {
			peers = append(peers, SignIn(g.T, g.Nodes[(u+k)%3], user, ""))
			sessions[user]++
		}
	}
	for i, b := range all {
		list, pages := b.walk("/v1/users?app=ANZ&limit=7", "users", func() {})
		if got := usersOf(list); !slices.Equal(sorted(got), sorted(want)) || pages != (len(want)+6)/7 {
			g.Errorf("node %d lists %d users on %d pages: %v", i+1, len(got), pages, got)
		}
		list, _ = b.walk("/v1/sessions?app=ANZ&limit=11", "sessions", func() {})
		got, ids := make(map[string]int), make(map[string]bool)
		for _, e := range list {
			got[e.UserID]++
			ids[e.ID] = true
		}
		if fmt.Sprint(got) != fmt.Sprint(sessions) || len(ids) != len(peers) {
			g.Errorf("node %d lists %d sessions, want %d: %v", i+1, len(ids), len(peers), got)
		}
		if a := b.want(200, "GET", "/v1/users/"+g.id(1002), ""); a.Field("online") != "true" || a.Field("sessions") != "3" {
			g.Errorf("node %d says of a user with sessions on three nodes %s", i+1, a.Body)
		}
	}
	for _, p := range peers {
		p.Close()
	}
	for _, b := range all {
		Eventually(g.T, "nobody is left", func() bool {
			list, _ := b.walk("/v1/users?app=ANZ", "users", func() {})
			return len(list) == 0
		})
	}
}

func sorted(list []string) []string {
	list = slices.Clone(list)
	slices.Sort(list)
	return list
}

func sendAnywhere(g ground) {
	all := backends(g)
	for u := range 12 {
		user := g.id(200 + u)
		p := SignIn(g.T, g.Nodes[u%3], user, `{"ack":true}`)
		for i, b := range all {
			a := b.want(201, "POST", messagesPath, fmt.Sprintf(`{"from":%q,"to":%q,"content":"sure %d"}`, g.id(1), user, i))
			if f := p.Expect("MESSAGE"); f.ID != a.Field("id") || f.Field("content") != fmt.Sprint("sure ", i) {
				g.Errorf("the answer is %s, the frame %s", a.Body, f.Raw)
			} else {
				p.Send(fmt.Sprintf(`{"type":"MESSAGE_ACK","data":{"id":%q}}`, f.ID))
			}
			a = b.want(202, "POST", messagesPath, fmt.Sprintf(`{"from":%q,"to":%q,"content":"fast %d","feature":"FAST"}`, g.id(1), user, i))
			if f := p.Expect("MESSAGE"); f.Field("content") != fmt.Sprint("fast ", i) || a.Field("sessions") != "1" {
				g.Errorf("the answer is %s, the frame %s", a.Body, f.Raw)
			}
		}
	}
}

func broadcastToAll(g ground) {
	all := backends(g)
	var peers []*Peer
	for u := range 30 {
		peers = append(peers, SignIn(g.T, g.Nodes[u%3], g.id(200+u/2), ""))
	}
	for i, b := range all {
		for _, feature := range []string{"FAST", "RELIABLE"} {
			content := fmt.Sprint(feature, " from ", i+1)
			a := b.want(202, "POST", broadcastsPath, fmt.Sprintf(`{"from":%q,"content":%q,"feature":%q}`, g.id(1), content, feature))
			if a.Field("receivers") != "15" {
				g.Errorf("node %d answers %s", i+1, a.Body)
			}
			for _, p := range peers {
				if f := p.Expect("MESSAGE"); f.Field("content") != content {
					g.Errorf("%s got %s", p.user, f.Raw)
				}
			}
		}
	}
}

func closeFromAnywhere(g ground) {
	for i, b := range backends(g) {
		user := g.id(200 + i)
		peers := g.onEach(user, "")
		list, _ := b.walk("/v1/users/"+user+"/sessions", "sessions", func() {})
		if len(list) != 3 {
			g.Fatalf("node %d lists %d sessions", i+1, len(list))
		}
		if a := b.want(200, "DELETE", "/v1/users/"+user+"/sessions/"+list[0].ID, ""); a.Field("closed") != "1" {
			g.Errorf("got %s", a.Body)
		}
		Eventually(g.T, "one session has ended", func() bool {
			n := 0
			for _, p := range peers {
				if isClosed(p.closed) {
					n++
				}
			}
			return n == 1
		})
		Eventually(g.T, "two are listed", func() bool { // its client may know before other nodes do
			list, _ := b.walk("/v1/users/"+user+"/sessions", "sessions", func() {})
			return len(list) == 2
		})
		if a := b.want(200, "DELETE", "/v1/users/"+user+"/sessions", ""); a.Field("closed") != "2" {
			g.Errorf("got %s", a.Body)
		}
		for _, p := range peers {
			p.CloseCode()
		}
	}
}

func mailboxesFromAnywhere(g ground) {
	all := backends(g)
	for u := range 6 {
		user := g.id(200 + u)
		post(g.T, SignIn(g.T, g.Nodes[u%3], g.id(100+u), `{"receipts":true}`), user, "m", 0, 30, 100)
		for i, b := range all {
			list, _ := b.walk("/v1/users/"+user+"/mailbox/messages?limit=7", "messages", func() {})
			if len(list) != 30 {
				g.Errorf("node %d shows %d messages", i+1, len(list))
			}
			if a := b.want(200, "GET", "/v1/users/"+user+"/mailbox", ""); a.Field("messages") != "30" {
				g.Errorf("node %d says %s", i+1, a.Body)
			}
		}
		if a := all[(u+1)%3].want(200, "DELETE", "/v1/users/"+user+"/mailbox/messages", ""); a.Field("removed") != "30" {
			g.Errorf("got %s", a.Body)
		}
		for i, b := range all {
			if a := b.want(200, "GET", "/v1/users/"+user+"/mailbox", ""); a.Field("messages") != "0" {
				g.Errorf("node %d says %s", i+1, a.Body)
			}
		}
	}
}

// A key that is made on one node is good on all, and when it is revoked on any it
// is good on none.
func keysEverywhere(g ground) {
	for i, n := range g.Nodes {
		id, key := n.NewKey(`{"app":"ANZ","scopes":["users:read"]}`)
		for _, n := range g.Nodes {
			Eventually(g.T, "the key is good", func() bool { return n.Call("GET", "/v1/users", key, "").Status == 200 })
		}
		if a := g.Nodes[(i+1)%3].CallControl("DELETE", "/v1/keys/"+id, ""); a.Status > 299 {
			g.Fatalf("revoke: %d %s", a.Status, a.Body)
		}
		for _, n := range g.Nodes {
			Eventually(g.T, "the key is good no more", func() bool { return n.Call("GET", "/v1/users", key, "").Code() == "KEY_INVALID" })
		}
	}
}

// A request with an Idempotency-Key that is sent again, to another node, is carried
// out once, also when the first node was killed meanwhile.
func TestARequestIsSentAgainToAnotherNodeAndCarriedOutOnce(t *testing.T) {
	t.Parallel()
	c := three(t, plainApp)
	all := backends(ground{t, c, 0})
	const users = 12
	body := func(u int) string {
		return fmt.Sprintf(`{"from":"ANZ-1","to":"ANZ-%d","content":"once","reference":"r"}`, 200+u)
	}
	ids := make([]string, users)
	for u := range users {
		a, err := all[0].try("POST", messagesPath, body(u), fmt.Sprint("order-", u))
		if err != nil || a.Status != 201 {
			t.Fatalf("%d %s, %v", a.Status, a.Body, err)
		}
		ids[u] = a.Field("id")
	}
	again := func(b *backend) {
		t.Helper()
		for u := range users {
			Eventually(t, "the request is answered", func() bool {
				a, err := b.try("POST", messagesPath, body(u), fmt.Sprint("order-", u))
				if err != nil || a.Status != 201 {
					return false
				}
				if a.Field("id") != ids[u] {
					t.Errorf("the first answer was %s, this one is %s", ids[u], a.Body)
				}
				return true
			})
		}
	}
	again(all[1])
	c.Nodes[0].Kill()
	again(all[2])
	for u := range users {
		missed, _ := fetchOn(t, c.Nodes[1], fmt.Sprint("ANZ-", 200+u))
		if len(missed) != 1 {
			t.Errorf("user %d got %d messages", u, len(missed))
		}
	}
}

// fetchOn returns what waits for a user, as soon as a node lets it in.
func fetchOn(t *testing.T, n *Server, user string) (missed []Frame, left string) {
	t.Helper()
	Eventually(t, user+" signs in", func() bool {
		p, err := TryDial(t.Context(), t, n)
		if err != nil || p.TrySignIn("app-id-343", user, "") != nil {
			return false
		}
		defer p.Close()
		missed, left = p.Fetch(1000)
		return true
	})
	return missed, left
}

// Of what happens on three nodes a webhook hears once, and of the sessions of one
// that is killed, too.
func TestWebhooksHearOfEachEventOnceWhereverItHappens(t *testing.T) {
	t.Parallel()
	b := startHookServer(t)
	c := three(t, hookSettings(b.url(), "", "connected", "disconnected", "delivered"))
	const users = 24
	total := 0
	var peers []*Peer
	for u := range users {
		peers = append(peers, SignIn(t, c.Nodes[u%3], fmt.Sprint("ANZ-", 200+u), ""))
	}
	total += users
	for u, p := range peers {
		to := (u + 1) % users
		p.Message(fmt.Sprint("ANZ-", 200+to), "x", fmt.Sprintf(`"reference":"%d"`, u))
		peers[to].Expect("MESSAGE")
		wantConfirmation(t, p, fmt.Sprint(u))
	}
	total += users
	b.await(total)
	if n := len(b.heard) - total; n != 0 {
		t.Errorf("%d events came again, and nothing had gone wrong", n)
	}
	c.Nodes[1].Kill()
	total += users / 3
	b.await(total)
	// Behind whatever may still be said of them, everybody comes and goes.
	for u := range users {
		if u%3 == 1 {
			SignIn(t, c.Nodes[0], fmt.Sprint("ANZ-", 200+u), "").Close()
			total += 2
		}
	}
	list := b.await(total)
	told := make(map[string]string)
	for _, e := range list {
		told[e.Data.SessionID] += e.Type + " "
	}
	for id, events := range told {
		if id != "" && events != "connected " && events != "connected disconnected " {
			t.Errorf("of session %s was told: %s", id, events)
		}
	}
}
