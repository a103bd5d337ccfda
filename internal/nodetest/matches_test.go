package nodetest

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestUsersAreMatchedOnTheMainSocket(t *testing.T) {
	t.Parallel()
	onOneAndOnThree(t, anyApps+"matching: {patience: 300ms}\n", []groundTest{
		{"a pair is matched, talks and parts", pairOnSockets},
		{"a request is canceled, times out, and ends with its session", requestsEnd},
		{"one request of a user in a pool at a time", onePerPool},
		{"keys, gestures, places and properties have to fit", criteriaFit},
		{"a group forms, and goes on while two are left", groupOnSockets},
		{"what is RELIABLE waits in the mailbox", reliableInMatches},
		{"what users do is in the journal of their app", usersInTheJournal},
		{"what is wrong is refused by name", wrongMatchFrames},
	})
}

// pool is the name of a pool of the test's own.
func (g ground) pool(name string) string { return fmt.Sprintf("%s-%d", name, g.first) }

// user is one of the test's own users, signed in on a node.
func (g ground) user(n, i int, options string) *Peer {
	g.Helper()
	return SignIn(g.T, g.Nodes[n], g.id(i), options)
}

// request has a user take part in a pool, and returns its ticket. more is added to data.
func (g ground) request(p *Peer, pool, more string) (ticket string) {
	g.Helper()
	if more != "" {
		more = "," + more
	}
	f := p.ask("MATCH_REQUEST", fmt.Sprintf(`{"pool":%q%s}`, g.pool(pool), more))
	if f.Type != "MATCH_WAITING" || f.Field("ticket") == "" || f.Field("pool") != g.pool(pool) {
		g.Fatalf("asked to take part in %s: %s", pool, f.Raw)
	}
	return f.Field("ticket")
}

// refused sends a frame that is refused with a code.
func (g ground) refused(p *Peer, kind, data, want string) Frame {
	g.Helper()
	f := p.ask(kind, data)
	if got := f.Type + " " + f.Field("code"); got != want {
		g.Errorf("%s %s: got %s, not %s", kind, data, f.Raw, want)
	}
	return f
}

// matched expects to be matched with some users, and returns the match.
func (g ground) matchedWith(p *Peer, ticket string, users ...int) (match string) {
	g.Helper()
	f := p.Expect("MATCHED")
	for _, i := range users {
		if !strings.Contains(f.Field("peers"), `"`+g.id(i)+`"`) {
			g.Fatalf("%s is not matched with %s: %s", p.user, g.id(i), f.Raw)
		}
	}
	if f.Field("ticket") != ticket || strings.Count(f.Field("peers"), "ANZ") != len(users) || string(f.Reference) != `"asked"` {
		g.Fatalf("%s, with ticket %s: %s", p.user, ticket, f.Raw)
	}
	return f.Field("match")
}

func inMatch(match, more string) string { return fmt.Sprintf(`{"match":%q%s}`, match, more) }

func pairOnSockets(g ground) {
	a, b := g.user(0, 1, ""), g.user(1, 2, "")
	ta := g.request(a, "pair", `"properties":{"level":5}`)
	tb := g.request(b, "pair", `"properties":{"langs":["de","en"],"name":"bob"}`)
	match := g.matchedWith(a, ta, 2)
	f := b.Expect("MATCHED")
	if f.Field("match") != match || f.Field("ticket") != tb || f.Field("properties") != fmt.Sprintf(`{%q:{"level":5}}`, g.id(1)) {
		g.Fatalf("the other was told %s", f.Raw)
	}
	for i := range 20 {
		a.Send(fmt.Sprintf(`{"type":"MATCH_MESSAGE","data":%s}`, inMatch(match, fmt.Sprintf(`,"content":{"n": %d}`, i))))
	}
	for i := range 20 {
		f := b.Expect("MATCH_MESSAGE")
		if f.Field("match") != match || f.Field("from") != g.id(1) || f.Field("content") != fmt.Sprintf(`{"n": %d}`, i) {
			g.Fatalf("message %d is %s", i, f.Raw)
		}
	}
	b.Send(`{"type":"MATCH_MESSAGE","data":` + inMatch(match, `,"content":"hi","to":["`+g.id(1)+`"]`) + `}`)
	if f := a.Expect("MATCH_MESSAGE"); f.Field("content") != "hi" {
		g.Errorf("got %s", f.Raw)
	}
	if f := a.ask("MATCH_LEAVE", inMatch(match, "")); f.Type != "MATCH_LEFT" || f.Field("match") != match || f.Field("reason") != "" {
		g.Errorf("leaving: %s", f.Raw)
	}
	if f := b.Expect("MATCH_PEER_LEFT"); f.Field("match") != match || f.Field("peer") != g.id(1) || f.Field("ended") != "true" {
		g.Errorf("the other was told %s", f.Raw)
	}
	g.refused(a, "MATCH_LEAVE", inMatch(match, ""), "GENERAL_ERROR NOT_FOUND")
	g.refused(a, "MATCH_MESSAGE", inMatch(match, `,"content":1`), "GENERAL_ERROR NOT_FOUND")
	g.refused(b, "MATCH_MESSAGE", inMatch(match, `,"content":1`), "GENERAL_ERROR NOT_FOUND")
	ta, tb = g.request(a, "pair", ""), g.request(b, "pair", "")
	g.matchedWith(a, ta, 2)
	g.matchedWith(b, tb, 1)
}

func requestsEnd(g ground) {
	a, b := g.user(0, 1, ""), g.user(1, 2, "")
	ticket := g.request(a, "ends", "")
	if f := a.ask("MATCH_CANCEL", `{"ticket":"`+ticket+`"}`); f.Type != "MATCH_CANCELED" || f.Field("ticket") != ticket || f.Field("reason") != "" {
		g.Errorf("canceling: %s", f.Raw)
	}
	g.refused(a, "MATCH_CANCEL", `{"ticket":"`+ticket+`"}`, "GENERAL_ERROR NOT_FOUND")
	ticket = g.request(b, "ends", `"timeout":0.2`)
	if f := b.Expect("MATCH_TIMEOUT"); f.Field("ticket") != ticket || string(f.Reference) != `"asked"` {
		g.Errorf("got %s", f.Raw)
	}
	g.request(a, "ends", "")
	a.Abort()
	c := g.user(2, 3, "")
	Eventually(g.T, "the ticket of a session that is gone is gone", func() bool {
		ticket := g.request(c, "ends", `"timeout":0.1`)
		f := c.Next()
		if f.Type == "MATCHED" {
			c.ask("MATCH_LEAVE", inMatch(f.Field("match"), ""))
		}
		return f.Type == "MATCH_TIMEOUT" && f.Field("ticket") == ticket
	})
	tb, tc := g.request(b, "ends", ""), g.request(c, "ends", "")
	match := g.matchedWith(b, tb, 3)
	g.matchedWith(c, tc, 2)
	c.Abort()
	if f := b.Expect("MATCH_PEER_LEFT"); f.Field("match") != match || f.Field("ended") != "true" {
		g.Errorf("got %s", f.Raw)
	}
}

func onePerPool(g ground) {
	a, same := g.user(0, 1, ""), g.user(1, 1, "")
	ticket := g.request(a, "one", "")
	data := fmt.Sprintf(`{"pool":%q}`, g.pool("one"))
	if f := g.refused(a, "MATCH_REQUEST", data, "GENERAL_ERROR CONFLICT"); !strings.Contains(f.Field("reason"), "the user waits") || !strings.Contains(f.Field("reason"), "MATCH_CANCEL") {
		g.Errorf("got %s", f.Raw)
	}
	g.request(a, "another", "") // which is another pool
	same.Send(`{"type":"MATCH_REQUEST","data":` + data + `,"reference":"x"}`)
	if f := same.until("GENERAL_ERROR"); f.Field("code") != "CONFLICT" {
		g.Errorf("another session of the user: %s", f.Raw)
	}
	b := g.user(2, 2, "")
	tb := g.request(b, "one", "")
	g.matchedWith(a, ticket, 2)
	g.matchedWith(b, tb, 1)
	if f := g.refused(a, "MATCH_REQUEST", data, "GENERAL_ERROR CONFLICT"); !strings.Contains(f.Field("reason"), "MATCH_LEAVE") { // a match lives
		g.Errorf("got %s", f.Raw)
	}
	shop := Dial(g.T, g.Nodes[0])
	if err := shop.TrySignIn("shop-id", "SHOP-2", ""); err != nil {
		g.Fatal(err)
	}
	g.request(shop, "one", "") // pools are of an app
	c := g.user(1, 3, "")
	g.request(c, "one", "")
	wantNothing(g.T, "a user of another app", shop)
}

func criteriaFit(g ground) {
	n := 10
	// pair has two users ask, and says whether they were matched.
	pair := func(what, one, two string, want bool) {
		g.Helper()
		n += 2
		a, b := g.user(n%3, n, ""), g.user((n+1)%3, n+1, "")
		pool := fmt.Sprint("fit-", n)
		ta, tb := g.request(a, pool, one), g.request(b, pool, two)
		if want {
			g.matchedWith(a, ta, n+1)
			g.matchedWith(b, tb, n)
		} else if fa, fb := a.Expect("MATCH_TIMEOUT"), b.Expect("MATCH_TIMEOUT"); fa.Field("ticket") != ta || fb.Field("ticket") != tb {
			g.Errorf("%s: %s, %s", what, fa.Raw, fb.Raw)
		}
		a.Abort()
		b.Abort()
	}
	const brief = `,"timeout":0.3`
	frankfurt, offenbach, berlin := `"lat":50.11,"lon":8.68`, `"lat":50.10,"lon":8.76`, `"lat":52.52,"lon":13.40`
	pair("near", frankfurt+`,"radius":10000`, offenbach+`,"radius":10000`, true)
	pair("one asks for less", frankfurt+`,"radius":10000`+brief, offenbach+`,"radius":1000`+brief, false)
	pair("far", frankfurt+`,"radius":100000`+brief, berlin+brief, false)
	pair("across the date line", `"lat":0,"lon":179.99,"radius":5000`, `"lat":0,"lon":-179.99`, true)
	pair("nowhere", frankfurt+`,"radius":100000`+brief, `"key":"k"`+brief, false)
	pair("the same key", `"key":"k\u0031"`, `"key":"k1"`, true)
	pair("another key", `"key":"k1"`+brief, `"key":"k2"`+brief, false)
	pair("bumps", `"gesture":"bump"`, `"gesture":"bump"`, true)
	pair("opposite swipes", `"gesture":"swipe-left"`, `"gesture":"swipe-right"`, true)
	pair("a bump and a swipe", `"gesture":"bump"`+brief, `"gesture":"swipe-down"`+brief, false)
	pair("the same swipe", `"gesture":"swipe-up"`+brief, `"gesture":"swipe-up"`+brief, false)
	pair("mutual", `"properties":{"level":5},"query":{"level":{"min":3,"max":8}}`, `"properties":{"level":8},"query":{"level":5}`, true)
	pair("not mutual", `"properties":{"level":5},"query":{"level":{"min":3,"max":8}}`+brief, `"properties":{"level":8},"query":{"level":6}`+brief, false)
	pair("sets", `"properties":{"langs":["de","fr"]},"query":{"mode":"ranked"}`, `"properties":{"mode":"ranked"},"query":{"langs":{"any":["fr","it"]}}`, true)
	pair("it widens", `"properties":{"level":1}`, `"query":{"level":{"min":5}},"widen":{"over":0.3,"query":{"level":{"min":0}}}`, true)
}

func groupOnSockets(g ground) {
	var all []*Peer
	var tickets []string
	for i := range 3 {
		all = append(all, g.user(i, i+1, ""))
		tickets = append(tickets, g.request(all[i], "group", `"min":3,"max":4`))
	}
	// A fourth does not come, so three are matched when they have been patient.
	match := g.matchedWith(all[0], tickets[0], 2, 3)
	g.matchedWith(all[1], tickets[1], 1, 3)
	g.matchedWith(all[2], tickets[2], 1, 2)
	all[0].Send(`{"type":"MATCH_MESSAGE","data":` + inMatch(match, `,"content":"all"`) + `}`)
	all[0].Send(`{"type":"MATCH_MESSAGE","data":` + inMatch(match, `,"content":"one","to":["`+g.id(3)+`"]`) + `}`)
	all[1].Expect("MATCH_MESSAGE")
	for _, want := range []string{"all", "one"} {
		if f := all[2].Expect("MATCH_MESSAGE"); f.Field("content") != want {
			g.Errorf("got %s, not %s", f.Raw, want)
		}
	}
	all[0].ask("MATCH_LEAVE", inMatch(match, ""))
	for _, p := range all[1:] {
		if f := p.Expect("MATCH_PEER_LEFT"); f.Field("peer") != g.id(1) || f.Field("ended") != "false" {
			g.Errorf("got %s", f.Raw)
		}
	}
	f := g.refused(all[1], "MATCH_MESSAGE", inMatch(match, `,"content":1,"to":["`+g.id(1)+`"]`), "INVALID_MESSAGE BAD_FIELD")
	if !strings.Contains(f.Field("reason"), "data.to names "+g.id(1)+", who is no other member") {
		g.Errorf("got %s", f.Raw)
	}
	all[1].Send(`{"type":"MATCH_MESSAGE","data":` + inMatch(match, `,"content":"two"`) + `}`)
	if f := all[2].Expect("MATCH_MESSAGE"); f.Field("content") != "two" {
		g.Errorf("got %s", f.Raw)
	}
}

func TestAnAppsKeySeesWhatItsUsersDoInMatches(t *testing.T) {
	t.Parallel()
	s := startWith(t, anyApps)
	a, b := SignIn(t, s, "ANZ-1", ""), SignIn(t, s, "ANZ-2", "")
	a.ask("MATCH_REQUEST", `{"pool":"p"}`)
	b.ask("MATCH_REQUEST", `{"pool":"p"}`)
	b.Expect("MATCHED")
	for app, want := range map[string]int{"ANZ": 1, "SHOP": 0} {
		_, key := s.NewKey(`{"app":"` + app + `","scopes":["journal:read"]}`)
		Eventually(t, app+" sees its own", func() bool {
			page := s.Call("GET", "/v1/journal?device=ANZ-2", key, "").Body
			return strings.HasPrefix(page, "{") && strings.Count(page, `"type":"matched"`) == want
		})
	}
}

// Of three in a match the mailbox of one is full: what is said to it alone is refused,
// and counts for nobody, what is said to both counts for the other one.
func TestWhatIsRefusedInAMatchIsNotCounted(t *testing.T) {
	t.Parallel()
	s := startWith(t, anyApps+"limits: {mailboxMessages: 1}\n")
	_, key := s.NewKey(`{"app":"ANZ","scopes":["journal:read"]}`)
	a, full, c := SignIn(t, s, "ANZ-1", `{"receipts":true}`), SignIn(t, s, "ANZ-2", `{"ack":true}`), SignIn(t, s, "ANZ-3", "")
	for _, p := range []*Peer{a, full, c} {
		p.ask("MATCH_REQUEST", `{"pool":"p","min":3,"max":3}`)
	}
	match := a.until("MATCHED").Field("match")
	say := func(reference, to string) {
		a.Send(fmt.Sprintf(`{"type":"MATCH_MESSAGE","data":%s,"feature":"RELIABLE","reference":%q}`, inMatch(match, `,"content":"12345","to":`+to), reference))
	}
	say("1", `["ANZ-2"]`)
	a.until("MESSAGE_STORED")
	say("2", `["ANZ-2"]`)
	if f := a.until("DELIVER_FAILED"); f.Field("code") != "MAILBOX_FULL" {
		t.Fatalf("got %s", f.Raw)
	}
	say("3", `["ANZ-2","ANZ-3"]`)
	a.until("DELIVER_FAILED")
	a.until("MESSAGE_STORED")
	for device, want := range map[string]string{"ANZ-1": "10 0", "ANZ-2": "0 5", "ANZ-3": "0 5"} {
		var got string
		Eventually(t, device+" is in the journal with bytes", func() bool {
			state := s.Call("GET", "/v1/journal/devices/"+device, key, "")
			got = state.Field("bytesSent") + " " + state.Field("bytesReceived")
			return len(got) >= len(want) && got != "0 0"
		})
		if device == "ANZ-1" {
			Eventually(t, "both that were stored are counted", func() bool {
				got = s.Call("GET", "/v1/journal/devices/"+device, key, "").Field("bytesSent") + " 0"
				return len(got) >= len(want)
			})
		}
		if got != want {
			t.Errorf("%s has sent and received %s bytes, not %s", device, got, want)
		}
	}
}

func reliableInMatches(g ground) {
	a, b, aside := g.user(0, 1, `{"receipts":true}`), g.user(1, 2, `{"ack":true}`), g.user(2, 2, "")
	ta := g.request(a, "reliable", "")
	tb := g.request(b, "reliable", "")
	match := g.matchedWith(a, ta, 2)
	g.matchedWith(b, tb, 1)
	send := func(reference string) {
		a.Send(fmt.Sprintf(`{"type":"MATCH_MESSAGE","data":%s,"feature":"RELIABLE","reference":%q}`, inMatch(match, `,"content":"keep this"`), reference))
	}
	send("r1")
	f := b.Expect("MATCH_MESSAGE")
	if f.ID == "" || f.Field("match") != match || f.Field("from") != g.id(1) || f.Field("content") != "keep this" || string(f.Reference) != `"r1"` {
		g.Errorf("got %s", f.Raw)
	}
	// It is a message to the user: all of its sessions have it; only that in the match answers.
	if f := aside.Expect("MATCH_MESSAGE"); f.Field("content") != "keep this" {
		g.Errorf("another session got %s", f.Raw)
	}
	for _, feature := range []string{"FAST", "RELIABLE"} {
		aside.Send(fmt.Sprintf(`{"type":"MATCH_MESSAGE","data":%s,"feature":%q,"reference":"no"}`, inMatch(match, `,"content":1`), feature))
		if f := aside.Expect("GENERAL_ERROR"); f.Field("code") != "NOT_FOUND" || !strings.Contains(f.Field("reason"), "another session") {
			g.Errorf("its answer is refused with %s", f.Raw)
		}
	}
	aside.Close()
	b.Send(`{"type":"MESSAGE_ACK","data":{"id":"` + f.ID + `"}}`)
	var got []string
	for range 2 {
		f := a.Next()
		got = append(got, f.Type+" "+f.Field("reference"))
	}
	slices.Sort(got)
	if want := []string{"MESSAGE_CONFIRMATION r1", "MESSAGE_STORED r1"}; !slices.Equal(got, want) {
		g.Errorf("the sender was told %v", got)
	}
	b.Silence(true)
	send("r2")
	b.Expect("MATCH_MESSAGE") // which it does not acknowledge
	b.Abort()
	a.until("MATCH_PEER_LEFT")
	again := g.user(2, 2, "")
	missed, _ := again.Fetch(10)
	if len(missed) != 1 || missed[0].Type != "MATCH_MESSAGE" || missed[0].Field("match") != match || string(missed[0].Reference) != `"r2"` {
		g.Errorf("in the mailbox there were %v", missed)
	}
}

func usersInTheJournal(g ground) {
	app, _, _ := strings.Cut(g.id(1), "-")
	_, key := g.Nodes[0].NewKey(fmt.Sprintf(`{"app":%q,"scopes":["journal:read"]}`, app))
	a, b := g.user(0, 1, ""), g.user(1, 2, "")
	ta := g.request(a, "journaled", "")
	tb := g.request(b, "journaled", "")
	match := g.matchedWith(a, ta, 2)
	g.matchedWith(b, tb, 1)
	a.Send(`{"type":"MATCH_MESSAGE","data":` + inMatch(match, `,"content":"ciao"`) + `}`)
	b.Expect("MATCH_MESSAGE")
	a.Send(`{"type":"MATCH_MESSAGE","feature":"RELIABLE","data":` + inMatch(match, `,"content":"a domani"`) + `}`)
	b.Expect("MATCH_MESSAGE")
	for i, fields := range map[int]map[string]string{
		1: {"matched": "1", "bytesSent": "12", "bytesReceived": "0"},
		2: {"matched": "1", "bytesSent": "0", "bytesReceived": "12"},
	} {
		var state Answer
		Eventually(g.T, "the app's key sees what "+g.id(i)+" did", func() bool {
			state = g.Nodes[i%len(g.Nodes)].Call("GET", "/v1/journal/devices/"+g.id(i), key, "")
			return !slices.ContainsFunc([]string{"matched", "bytesSent", "bytesReceived"}, func(f string) bool { return state.Field(f) != fields[f] })
		})
	}
	page := g.Nodes[0].Call("GET", "/v1/journal?device="+g.id(1), key, "")
	if !strings.Contains(page.Body, `"app":"`+app+`"`) {
		g.Errorf("the journal has %s", page.Body)
	}
}

func wrongMatchFrames(g ground) {
	a := g.user(0, 1, "")
	bad := func(kind, data, field string) {
		g.Helper()
		if f := g.refused(a, kind, data, "INVALID_MESSAGE BAD_FIELD"); !strings.Contains(f.Field("reason"), field) {
			g.Errorf("%s %s: the reason does not name %s: %s", kind, data, field, f.Raw)
		}
	}
	g.refused(a, "MATCH_REQUEST", `{}`, "INVALID_MESSAGE MISSING_FIELD")
	bad("MATCH_REQUEST", `{"pool":"p","lat":91,"lon":0}`, "data.lat")
	bad("MATCH_REQUEST", `{"pool":"p","lat":90,"lon":-180.1}`, "data.lon")
	bad("MATCH_REQUEST", `{"pool":"p","lat":"1","lon":0}`, "data.lat")
	bad("MATCH_REQUEST", `{"pool":"p","gesture":"wave"}`, "data.gesture")
	bad("MATCH_REQUEST", `{"pool":"p","max":9}`, "data.max")
	bad("MATCH_REQUEST", `{"pool":"p","gesture":"swipe-left","min":3}`, "data")
	bad("MATCH_REQUEST", `{"pool":"p","properties":{"a":true}}`, "data.properties.a")
	bad("MATCH_REQUEST", `{"pool":"p","properties":{"a":1,"a":2}}`, "data.properties.a")
	bad("MATCH_REQUEST", `{"pool":"p","query":{"a":{"min":2,"max":1}}}`, "data.query.a")
	bad("MATCH_REQUEST", `{"pool":"p","query":{"a":{"like":"x"}}}`, "data.query.a")
	bad("MATCH_REQUEST", `{"pool":"p","widen":{"over":1,"query":{"b":{"min":1}}}}`, "data.widen.query.b")
	bad("MATCH_REQUEST", `{"pool":"p","timeout":-1}`, "data.timeout")
	bad("MATCH_REQUEST", `{"pool":"p","timeout":601}`, "data.timeout has to be at most 600 seconds")
	bad("MATCH_REQUEST", `{"pool":"p","radiuss":5}`, "data.radiuss")
	bad("MATCH_MESSAGE", `{"match":"x","content":1}`, "data.match")
	bad("MATCH_CANCEL", `{"ticket":"x"}`, "data.ticket")
	const nobodys = `"0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081"`
	g.refused(a, "MATCH_CANCEL", `{"ticket":`+nobodys+`}`, "GENERAL_ERROR NOT_FOUND")
	g.refused(a, "MATCH_LEAVE", `{"match":`+nobodys+`}`, "GENERAL_ERROR NOT_FOUND")
	g.refused(a, "MATCH_MESSAGE", `{"match":`+nobodys+`,"content":1}`, "GENERAL_ERROR NOT_FOUND")
	for i := range 16 {
		g.request(a, fmt.Sprint("many-", i), "")
	}
	g.refused(a, "MATCH_REQUEST", `{"pool":"one too many"}`, "GENERAL_ERROR TOO_MANY")
}

func TestAServerThatMatchesNobodySaysSo(t *testing.T) {
	t.Parallel()
	p := SignIn(t, startWith(t, demoApps+"matching: {enabled: false}\n"), "ANZ-1", "")
	if f := p.ask("MATCH_REQUEST", `{"pool":"p"}`); f.Type != "GENERAL_ERROR" || f.Field("code") != "MATCHING_OFF" {
		t.Errorf("got %s", f.Raw)
	}
}
