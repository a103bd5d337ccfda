package nodetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// contents returns what n messages say, in the order in which they came; those that
// are no messages are passed over.
func (p *Peer) contents(n int) (list []string) {
	p.t.Helper()
	return p.contentsAnd(n, func(Frame) {})
}

// contentsAnd is contents, and hands over what is passed over.
func (p *Peer) contentsAnd(n int, others func(Frame)) (list []string) {
	p.t.Helper()
	for len(list) < n {
		if f := p.Next(); f.Type == "MESSAGE" {
			list = append(list, f.Field("content"))
		} else {
			others(f)
		}
	}
	return list
}

func series(from, to int) (list []string) {
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprint("m", i))
	}
	return list
}

func TestUsersOfTwoDomainsTalkToEachOther(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 2, Master: "ANZ-1500"})
	f.LinksUp()
	ann, bob := f.SignIn(0, 1, `{"receipts":true}`), f.SignIn(1, 1, "")

	// RELIABLE, with a receipt and a confirmation.
	ann.Message(bob.user, "hello", `"reference":"r1"`)
	got := bob.Expect("MESSAGE")
	if got.Field("from") != ann.user || got.Field("content") != "hello" || string(got.Reference) != `"r1"` {
		t.Errorf("got %s", got.Raw)
	}
	if r := ann.Expect("MESSAGE_STORED"); r.Field("reference") != "r1" {
		t.Errorf("got %s", r.Raw)
	}
	if r := ann.Expect("MESSAGE_CONFIRMATION"); r.Field("reference") != "r1" {
		t.Errorf("got %s", r.Raw)
	}

	// FAST, with a confirmation, the other way.
	bob.Message(ann.user, "quick", `"feature":"FAST","reference":"r2"`)
	if got := ann.Expect("MESSAGE"); got.Field("content") != "quick" {
		t.Errorf("got %s", got.Raw)
	}
	if r := bob.Expect("MESSAGE_CONFIRMATION"); r.Field("reference") != "r2" {
		t.Errorf("got %s", r.Raw)
	}

	// Who is there in another domain is not known here, which is said.
	eve := f.SignIn(0, 3, fmt.Sprintf(`{"presence":[%q,%q]}`, ann.user, bob.user))
	var told []string
	for range 2 {
		f := eve.Next()
		told = append(told, f.Type+" "+f.Field("userId")+f.Field("to"))
	}
	slices.Sort(told)
	if want := []string{fmt.Sprintf(`GENERAL_ERROR [%q]`, bob.user), "USER_CONNECTED " + ann.user}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}

	// A group in both domains, one of whom lives nowhere that is known, and is told of.
	cid, dan := f.SignIn(0, 2, ""), f.SignIn(1, 2, "")
	ann.Send(fmt.Sprintf(`{"type":"GROUP_MESSAGE","data":{"to":[%q,%q,%q,"NOPE-1"],"content":"all"},"reference":"r3"}`, cid.user, bob.user, dan.user))
	for _, p := range []*Peer{bob, cid, dan} {
		if got := p.Expect("MESSAGE"); got.Field("content") != "all" || got.Field("from") != ann.user {
			t.Errorf("%s got %s", p.user, got.Raw)
		}
	}
	if e := ann.Expect("DELIVER_FAILED"); e.Field("code") != "UNKNOWN_APP" || !strings.Contains(e.Raw, "NOPE-1") {
		t.Errorf("got %s", e.Raw)
	}
	if r := ann.Expect("MESSAGE_STORED"); r.Field("reference") != "r3" {
		t.Errorf("got %s", r.Raw)
	}

	// The master user, who lives in domain-02, hears of who comes and goes in domain-01,
	// and closes a session there.
	master := SignIn(t, f.Domains[1], "ANZ-1500", `{"push":true}`)
	for known := false; !known; {
		e := master.Expect("USER_CONNECTED")
		known = e.Field("userId") == ann.user
	}
	master.Send(fmt.Sprintf(`{"type":"CLOSE_CONNECTION","data":{"userId":%q}}`, cid.user))
	if code := cid.CloseCode(); code != 4003 {
		t.Errorf("closed with %d", code)
	}
	for gone := false; !gone; {
		e := master.Next()
		gone = e.Type == "USER_DISCONNECTED" && e.Field("userId") == cid.user
	}
	ann.Send(fmt.Sprintf(`{"type":"CLOSE_CONNECTION","data":{"userId":%q}}`, bob.user))
	if e := ann.Expect("GENERAL_ERROR"); e.Field("code") != "FORBIDDEN" {
		t.Errorf("got %s", e.Raw)
	}

	if out := f.Domains[1].Output(); strings.Contains(out, "no client is let in") {
		t.Errorf("a meta server that is there is a false alarm:\n%s", out)
	}

	// What an operator sees of it stands on the page.
	page := ReadCheckout(t, "docs/domains.md")
	_, metrics := f.Domains[0].Get("/metrics")
	names := 0
	for line := range strings.Lines(metrics) {
		name, ok := strings.CutPrefix(line, "# TYPE switchboard_link_")
		if name, _, _ = strings.Cut(name, " "); !ok {
			continue
		}
		names++
		if !strings.Contains(page, "`switchboard_link_"+name+"`") && !strings.Contains(page, "`_"+name+"`") {
			t.Errorf("docs/domains.md lacks switchboard_link_%s", name)
		}
	}
	if names < 5 { // some come with their first value
		t.Errorf("%d metrics of links", names)
	}
	for line := range strings.Lines(f.Domains[0].Output()) {
		_, message, ok := strings.Cut(line, `msg="the link`)
		if message, _, _ = strings.Cut(message, `"`); ok && !strings.Contains(page, "`the link"+message+"`") {
			t.Errorf("docs/domains.md lacks the line: the link%s", message)
		}
	}
}

func TestAUserIsToldWhereHeLives(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 2})
	p := Dial(t, f.Domains[0])
	p.Send(authFrame("app-id-343", f.User(1, 1), ""))
	reply := p.Expect("AUTH_CLIENT_REPLY")
	if reply.Field("code") != "WRONG_DOMAIN" || reply.Field("home") != "ws://"+f.Domains[1].Addr+"/ws" {
		t.Errorf("got %s", reply.Raw)
	}
	if code := p.CloseCode(); code != 4002 {
		t.Errorf("closed with %d", code)
	}

	// The same by HTTP, and what the Go client makes of it.
	path := "/v1/events?appId=app-id-343&userId=" + f.User(1, 1)
	if a := f.Domains[0].Call("GET", path, "", ""); a.Status != 421 || !strings.Contains(a.Body, `"home":"ws://`+f.Domains[1].Addr+`/ws"`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	a := f.Domains[0].CallControl("GET", "/v1/users/"+f.User(1, 1), "")
	if a.Status != 421 || !strings.Contains(a.Body, `"home":"ws://`+f.Domains[1].Addr+`/ws"`) || !strings.Contains(a.Body, `"domain":"domain-02"`) {
		t.Errorf("%d %s", a.Status, a.Body)
	}
	_, err := client.Dial(t.Context(), client.Options{
		URL: "ws://" + f.Domains[0].Addr + "/ws", AppID: "app-id-343", UserID: wire.UserID(f.User(1, 1)),
		OnMessage: func(context.Context, client.Message) error { return nil },
	})
	if refused, ok := errors.AsType[*wire.Error](err); !ok || refused.Home != "ws://"+f.Domains[1].Addr+"/ws" {
		t.Errorf("got %v", err)
	}
}

// What is sent while the other domain is away waits, and what is killed on either
// side of the link loses nothing, and brings nothing twice or out of order.
func TestADomainThatIsKilledAndComesBackLosesNothing(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 2})
	f.LinksUp()
	ann := f.SignIn(0, 1, `{"receipts":true,"producer":"p"}`)
	bob := f.User(1, 1)
	const each = 200
	sent := 0
	send := func() {
		t.Helper()
		for range each {
			sent++
			ann.Message(bob, fmt.Sprint("m", sent), fmt.Sprintf(`"reference":"r%d","seq":%d,"confirmationEnabled":false`, sent, sent))
		}
	}
	stored := func() {
		t.Helper()
		for range each {
			ann.Expect("MESSAGE_STORED")
		}
	}

	send() // while the link is up
	f.Domains[1].Kill()
	send() // while it is down
	for range 2 {
		stored()
	}
	f.Domains[1].Start()
	send() // while it comes back
	stored()
	f.Domains[0].Kill() // the origin, which has what waits
	f.Domains[0].Start()
	f.LinksUp()
	Eventually(t, "all has crossed the link", func() bool { return f.Waiting(0, 1) == 0 })
	f.Domains[1].Kill() // with all of it
	f.Domains[1].Start()

	got := SignIn(t, f.Domains[1], bob, `{"push":true}`).contents(sent)
	t.Logf("%d messages, lost, duplicated, reordered: %s", sent, tallyOf(got, sent))
	if !slices.Equal(got, series(1, sent)) {
		t.Errorf("got %q", got)
	}
}

// tallyOf counts what of m1 to mN is lost, twice, and behind a later one.
func tallyOf(got []string, n int) string {
	seen, last := make(map[string]int), 0
	lost, twice, behind := 0, 0, 0
	for _, m := range got {
		var i int
		if _, err := fmt.Sscanf(m, "m%d", &i); err == nil && i < last {
			behind++
		} else {
			last = i
		}
		if seen[m]++; seen[m] > 1 {
			twice++
		}
	}
	for _, m := range series(1, n) {
		if seen[m] == 0 {
			lost++
		}
	}
	return fmt.Sprintf("%d, %d, %d", lost, twice, behind)
}

func TestMessagesCrossADomainInBetween(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 3})
	f.LinksUp()
	if l := f.Look(0).Links; len(l) != 2 || l[1].N1 != "domain-02" || l[1].N2 != "domain-03" || l[1].Cost != 1 {
		t.Errorf("a domain says of the links of all: %+v", l)
	}
	ann, zoe := f.SignIn(0, 1, ""), f.SignIn(2, 1, "")
	ann.Message(zoe.user, "over two links", `"reference":"r1"`)
	if got := zoe.Expect("MESSAGE"); got.Field("content") != "over two links" || got.Field("from") != ann.user {
		t.Errorf("got %s", got.Raw)
	}
	if r := ann.Expect("MESSAGE_CONFIRMATION"); r.Field("reference") != "r1" {
		t.Errorf("got %s", r.Raw)
	}
	ann.Message(zoe.user, "quick", `"feature":"FAST","reference":"r2"`)
	if got := zoe.Expect("MESSAGE"); got.Field("content") != "quick" {
		t.Errorf("got %s", got.Raw)
	}
	ann.Expect("MESSAGE_CONFIRMATION")

	// The one in between is away: what is RELIABLE waits for it, what is FAST is dropped
	// and counted.
	f.Domains[1].Kill()
	dropped := `switchboard_fast_dropped_total{reason="domain_unreachable"}`
	Eventually(t, "FAST messages are dropped", func() bool {
		ann.Message(zoe.user, "lost", `"feature":"FAST"`)
		return f.Domains[0].Metric(dropped) > 0
	})
	for i := 1; i <= 100; i++ {
		ann.Message(zoe.user, fmt.Sprint("m", i), `"confirmationEnabled":false`)
	}
	Eventually(t, "they wait", func() bool { return f.Waiting(0, 1) == 100 })
	if n := f.Look(0).Neighbours[0]; n.Sending.State != "down" || n.Receiving.State != "down" || n.Receiving.Why == "" {
		t.Errorf("%+v", n)
	}
	f.Domains[1].Start()
	if got := zoe.contents(100); !slices.Equal(got, series(1, 100)) {
		t.Errorf("got %q", got)
	}

	// Killed with messages on their way through it.
	for i := 101; i <= 600; i++ {
		ann.Message(zoe.user, fmt.Sprint("m", i), `"confirmationEnabled":false`)
		if i == 300 {
			f.Domains[1].Kill()
			f.Domains[1].Start()
		}
	}
	got := zoe.contents(500)
	if !slices.Equal(got, series(101, 600)) {
		t.Errorf("lost, duplicated, reordered: %s", tallyOf(got, 600))
	}
	f.LinksUp()
	Eventually(t, "nothing waits any more", func() bool { return f.Waiting(0, 1)+f.Waiting(1, 2) == 0 })
	if extra := zoe.Barrier(); len(extra) > 0 {
		t.Errorf("%d frames more: %s", len(extra), extra[0].Raw)
	}
}

// A domain may have any name, if the description says as whom it signs in at its
// neighbours.
func TestADomainSignsInAsItsEntrySays(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 2, Later: []int{0, 1}})
	text := strings.ReplaceAll(f.Network.text(), "domain-02", "eu-west.2")
	text = strings.Replace(text, "{name: eu-west.2,", "{name: eu-west.2, linkUser: WEST-5,", 1)
	writeFile(t, f.Meta.File, text)
	f.Domains[1].Args = []string{"--meta", "http://" + f.Meta.Addr, "--domain", "eu-west.2"}
	f.Domains[0].Start()
	f.Domains[1].Start()
	ann, bob := f.SignIn(0, 1, ""), f.SignIn(1, 1, "")
	ann.Message(bob.user, "hello", `"reference":"r"`)
	bob.Expect("MESSAGE")
	ann.Expect("MESSAGE_CONFIRMATION")
	if _, text := f.Domains[0].Get("/metrics"); !strings.Contains(text, `switchboard_link_up{domain="eu-west.2"} 1`) {
		t.Error(text)
	}
}
