package nodetest

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// entry is one of a list: a user, a session or a message that waits.
type entry struct {
	UserID, ID, Address, Transport, StoredAt string
	Since                                    time.Time
	Frame                                    json.RawMessage
}

// walk reads a list to its end, page by page; between is called before each page
// but the first.
func (b *backend) walk(path, member string, between func()) (all []entry, pages int) {
	b.s.t.Helper()
	join := map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")]
	for next := ""; ; between() {
		var page map[string]json.RawMessage
		a := b.want(200, "GET", path+next, "")
		if err := json.Unmarshal([]byte(a.Body), &page); err != nil {
			b.s.t.Fatal(err)
		}
		var list []entry
		if err := json.Unmarshal(page[member], &list); err != nil {
			b.s.t.Fatalf("%s: %v", a.Body, err)
		}
		all = append(all, list...)
		pages++
		cursor := a.Field("next")
		if cursor == "" {
			return all, pages
		}
		next = join + "cursor=" + cursor
	}
}

// Whoever stays is on exactly one page, whatever others do between two pages and
// at the same time.
func TestListsWhileUsersComeAndGo(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	b := newBackend(t, s)
	const staying = 40
	want := make(map[string]bool)
	for i := range staying {
		user := fmt.Sprint("ANZ-", 1000+i*7)
		SignIn(t, s, user, "")
		want[user] = true
	}
	stop := make(chan struct{})
	var churn sync.WaitGroup
	for k := range 4 {
		churn.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				p, err := TryDial(t.Context(), t, s)
				if err != nil {
					t.Error(err)
					return
				}
				if err := p.TrySignIn("app-id-343", fmt.Sprint("ANZ-", 1000+(n*13+k*71)%300), ""); err != nil {
					t.Error(err)
				}
				p.Abort()
			}
		})
	}
	deadline := time.Now().Add(3 * time.Second)
	walks := 0
	for ; walks < 20 || time.Now().Before(deadline) && walks < 200; walks++ {
		for path, member := range map[string]string{"/v1/users?limit=7": "users", "/v1/sessions?limit=7": "sessions"} {
			list, _ := b.walk(path, member, func() {})
			seen := make(map[string]int)
			var order []string
			for _, e := range list {
				seen[e.UserID+" "+e.ID]++
				order = append(order, e.UserID)
			}
			if !slices.IsSorted(order) {
				t.Errorf("%s is out of order", path)
			}
			for what, n := range seen {
				if n > 1 {
					t.Errorf("%s: %s was listed %d times", path, what, n)
				}
			}
			for user := range want {
				if !slices.Contains(order, user) {
					t.Errorf("%s: %s stayed, and was skipped", path, user)
				}
			}
		}
	}
	close(stop)
	churn.Wait()
	awaitSessions(t, s, staying)
	list, pages := b.walk("/v1/users?limit=7", "users", func() {})
	if len(list) != staying || pages != (staying+6)/7 {
		t.Errorf("%d users on %d pages", len(list), pages)
	}
	t.Logf("%d walks through both lists", walks)
}

func TestAUserAndItsSessionsAreShownAndClosed(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	b := newBackend(t, s)
	before := time.Now().Add(-time.Second)
	bob, twin := SignIn(t, s, "ANZ-7", ""), SignIn(t, s, "ANZ-7", "")
	if a := b.want(200, "GET", "/v1/users/ANZ-7", ""); a.Field("online") != "true" || a.Field("sessions") != "2" || a.Field("mailbox") != `{"messages":0,"bytes":0}` {
		t.Errorf("got %s", a.Body)
	}
	list, _ := b.walk("/v1/users/ANZ-7/sessions", "sessions", func() {})
	if len(list) != 2 {
		t.Fatalf("listed %v", list)
	}
	for _, e := range list {
		if e.UserID != "ANZ-7" || e.Transport != "websocket" || !strings.HasPrefix(e.Address, "127.0.0.1:") || e.Since.Before(before) || e.Since.After(time.Now().Add(time.Second)) {
			t.Errorf("listed %+v", e)
		}
	}
	if a := b.want(200, "DELETE", "/v1/users/ANZ-7/sessions/"+list[0].ID, ""); a.Body != `{"closed":1}`+"\n" {
		t.Errorf("got %s", a.Body)
	}
	if code := bob.CloseCode(); code != 1000 {
		t.Errorf("closed with %d", code)
	}
	wantNothing(t, "the other session", twin)
	awaitSessions(t, s, 1)
	b.want(404, "DELETE", "/v1/users/ANZ-7/sessions/"+list[0].ID, "")
	if a := b.want(200, "DELETE", "/v1/users/ANZ-7/sessions", ""); a.Body != `{"closed":1}`+"\n" {
		t.Errorf("got %s", a.Body)
	}
	if code := twin.CloseCode(); code != 1000 {
		t.Errorf("closed with %d", code)
	}
	awaitSessions(t, s, 0)
	if a := b.want(200, "GET", "/v1/users/ANZ-7", ""); a.Field("online") != "false" || a.Field("since") != "" {
		t.Errorf("got %s", a.Body)
	}
}

// A stream of events is a session like any other: it is listed, gets what is sent
// and broadcast, and is closed.
func TestAStreamOfEventsIsListedSentToAndClosed(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	b := newBackend(t, s)
	bob := SignIn(t, s, "ANZ-7", "")
	l := Listen(t, s.Addr, "ANZ-7", "")
	defer l.Close()
	l.Expect("AUTH_CLIENT_REPLY")
	list, _ := b.walk("/v1/sessions", "sessions", func() {})
	// Those of one millisecond stand in any order.
	if len(list) == 2 && list[0].Transport == "sse" {
		list[0], list[1] = list[1], list[0]
	}
	if len(list) != 2 || list[0].Transport+list[1].Transport != "websocketsse" || !strings.HasPrefix(list[1].Address, "127.0.0.1:") {
		t.Fatalf("listed %+v", list)
	}
	for _, c := range []struct {
		status           int
		path, body, want string
	}{
		{201, messagesPath, `{"to":"ANZ-7","from":"ANZ-1","content":"one"}`, "one"},
		{202, messagesPath, `{"to":"ANZ-7","from":"ANZ-1","content":"two","feature":"FAST"}`, "two"},
		{202, broadcastsPath, `{"from":"ANZ-1","content":"three\n","feature":"FAST"}`, "three\n"},
		{201, messagesPath, "{\"to\":\"ANZ-7\",\"from\":\"ANZ-1\",\"content\":[\n\"four\"\n]}", "[\n\"four\"\n]"},
	} {
		a := b.want(c.status, "POST", c.path, c.body)
		if c.path == broadcastsPath && a.Body != `{"receivers":1,"sessions":2}`+"\n" {
			t.Errorf("got %s", a.Body)
		}
		if f := bob.Expect("MESSAGE"); f.Field("content") != c.want {
			t.Errorf("the socket got %s", f.Raw)
		}
		if f := l.Expect("MESSAGE"); f.Field("content") != c.want {
			t.Errorf("the stream got %s, want %q", f.Raw, c.want)
		}
	}
	if a := b.want(200, "DELETE", "/v1/users/ANZ-7/sessions/"+list[1].ID, ""); a.Body != `{"closed":1}`+"\n" {
		t.Errorf("got %s", a.Body)
	}
	for f := l.Next(); f.Event != "close"; f = l.Next() {
		t.Errorf("the stream got %s", f.Raw)
	}
	wantNothing(t, "the socket", bob)
}

// What waits is shown as it will be fetched, page by page, over a restart too.
func TestAMailboxIsShownAsItWillBeFetched(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp)
	b := newBackend(t, s)
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	post(t, ann, "ANZ-7", "socket", 0, 30, 50)
	for i := range 30 {
		b.want(201, "POST", messagesPath, fmt.Sprintf(`{"to":"ANZ-7","from":"ANZ-2","content":%q,"ttl":1000}`, numbered("http", i, 50)))
	}
	list, pages := b.walk("/v1/users/ANZ-7/mailbox/messages?limit=7", "messages", func() {
		s.Kill()
		s.Start()
	})
	if len(list) != 60 || pages != 9 {
		t.Fatalf("%d messages on %d pages", len(list), pages)
	}
	box := b.want(200, "GET", "/v1/users/ANZ-7/mailbox", "")
	size := 0
	for _, e := range list {
		size += len(e.Frame)
	}
	if want := fmt.Sprintf(`{"messages":60,"bytes":%d,"oldest":%q}`+"\n", size, list[0].StoredAt); box.Body != want {
		t.Errorf("got %s, want %s", box.Body, want)
	}
	bob := SignIn(t, s, "ANZ-7", "")
	missed, _ := bob.Fetch(100)
	for i, f := range missed {
		if f.Raw != string(list[i].Frame) {
			t.Errorf("fetched %s, was shown %s", f.Raw, list[i].Frame)
		}
	}
	Eventually(t, "nothing waits", func() bool {
		return b.want(200, "GET", "/v1/users/ANZ-7/mailbox", "").Body == `{"messages":0,"bytes":0}`+"\n"
	})
}

// A mailbox is emptied while a session fetches from it: each message goes to the
// session or is removed, none both and none neither; and what is answered stays
// so when the server is killed.
func TestAMailboxIsEmptiedWhileASessionFetches(t *testing.T) {
	t.Parallel()
	s := startWith(t, roomyApp)
	b := newBackend(t, s)
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	rounds, most := 6, 600
	if testing.Short() {
		rounds = 2
	}
	for round := range rounds {
		series := fmt.Sprint("r", round)
		post(t, ann, "ANZ-7", series, 0, most, 2000)
		bob := SignIn(t, s, "ANZ-7", "")
		bob.Send(fmt.Sprintf(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":%d}}`, most))
		fetched := []Frame{bob.Next()} // it has begun
		var removed int
		a := b.want(200, "DELETE", "/v1/users/ANZ-7/mailbox/messages", "")
		if _, err := fmt.Sscanf(a.Body, `{"removed":%d}`, &removed); err != nil {
			t.Fatal(a.Body)
		}
		for f := bob.Next(); f.Type != "FETCH_MISSING_MESSAGES_COMPLETE"; f = bob.Next() {
			fetched = append(fetched, f)
		}
		for i, f := range fetched {
			if got, n := number(f); got != series || n != i {
				t.Fatalf("round %d: message %d is %.80s", round, i, f.Raw)
			}
		}
		t.Logf("%d were fetched, %d removed", len(fetched), removed)
		if len(fetched)+removed != most || removed == 0 {
			t.Errorf("round %d: of %d messages %d were fetched and %d removed", round, most, len(fetched), removed)
		}
		Eventually(t, "what was fetched is proved", func() bool {
			return b.want(200, "GET", "/v1/users/ANZ-7/mailbox", "").Field("messages") == "0"
		})
		post(t, ann, "ANZ-8", series, 0, 50, 100)
		if a := b.want(200, "DELETE", "/v1/users/ANZ-8/mailbox/messages", ""); a.Body != `{"removed":50}`+"\n" {
			t.Errorf("got %s", a.Body)
		}
		s.Kill()
		s.Start()
		for _, user := range []string{"ANZ-7", "ANZ-8"} {
			if a := b.want(200, "GET", "/v1/users/"+user+"/mailbox", ""); a.Field("messages") != "0" {
				t.Errorf("round %d: after a kill %s has %s", round, user, a.Body)
			}
		}
		ann = SignIn(t, s, "ANZ-1", `{"receipts":true}`)
		for left := "1"; left != "0"; {
			_, left = ann.Fetch(2000) // its confirmations
		}
	}
	if n := s.Metric("switchboard_reliable_cleared_total"); n != 0 {
		t.Errorf("%v are counted of a process that cleared nothing", n)
	}
	post(t, ann, "ANZ-8", "last", 0, 3, 10)
	b.want(200, "DELETE", "/v1/users/ANZ-8/mailbox/messages", "")
	if n := s.Metric("switchboard_reliable_cleared_total"); n != 3 {
		t.Errorf("%v are counted, want 3", n)
	}
}
