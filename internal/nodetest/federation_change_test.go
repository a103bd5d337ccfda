package nodetest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

// sendMany sends m1 to mN, RELIABLE, and waits until they are stored.
func (p *Peer) sendMany(to string, from, upTo int) {
	p.t.Helper()
	for i := from; i <= upTo; i++ {
		p.Message(to, fmt.Sprint("m", i), `"reference":"r","confirmationEnabled":false`)
	}
	for range upTo - from + 1 {
		p.Expect("MESSAGE_STORED")
	}
}

// wantSeries fails unless a user gets m1 to mN, and nothing else.
func (p *Peer) wantSeries(from, upTo int) {
	p.t.Helper()
	got := p.contents(upTo - from + 1)
	if !slices.Equal(got, series(from, upTo)) {
		p.t.Errorf("%s: lost, duplicated, reordered: %s\n%q", p.user, tallyOf(got, upTo), got)
	}
}

func TestWhatWaitsTakesANewWayAsSoonAsThereIsOne(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 3})
	f.LinksUp()
	ann, zoe := f.SignIn(0, 1, `{"receipts":true}`), f.SignIn(2, 1, "")
	f.Domains[1].Kill()
	ann.sendMany(zoe.user, 1, 250)
	if n := f.Waiting(0, 1); n != 250 {
		t.Errorf("%d wait", n)
	}
	f.Describe(func(n *Network) { n.Links = append(n.Links, "1-3 cost 5") }) // not the cheapest: a link that is down changes no route
	f.Settled(f.Look(0).Version - 1)
	zoeFrom := f.Look(0).Domains[1]
	if zoeFrom.Next != "domain-02" {
		t.Errorf("%+v", zoeFrom)
	}
	f.Describe(func(n *Network) { n.Links = []string{"1-2", "2-3", "1-3 cost 2"} }) // as cheap, with fewer hops
	zoe.wantSeries(1, 250)
	Eventually(t, "nothing waits", func() bool { return f.Waiting(0, 1)+f.Waiting(0, 2) == 0 })
	if n := f.Domains[0].Metric("switchboard_link_moved_total"); n != 250 {
		t.Errorf("%v moved", n)
	}
	ann.sendMany(zoe.user, 251, 260)
	zoe.wantSeries(251, 260)
	f.Domains[1].Start()
	f.LinksUp()
	if extra := zoe.Barrier(); len(extra) > 0 {
		t.Errorf("%d frames more: %s", len(extra), extra[0].Raw)
	}
}

func TestAUserWhoMovesToAnotherDomainFindsHisMailThere(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 2})
	f.LinksUp()
	ann := f.SignIn(0, 1, `{"receipts":true}`)
	bob, eve := f.User(1, 1), f.SignIn(1, 2, "") // bob is not connected, eve is
	ann.sendMany(bob, 1, 150)
	Eventually(t, "they are at bob's", func() bool { return f.Waiting(0, 1) == 0 })
	before := f.Look(0).Version
	f.Describe(func(n *Network) { n.Starts[1] = 1500 })
	f.Settled(before)
	if code := eve.CloseCode(); code != 1012 {
		t.Errorf("closed with %d", code)
	}
	p := Dial(t, f.Domains[1])
	p.Send(authFrame("app-id-343", eve.user, ""))
	if reply := p.Expect("AUTH_CLIENT_REPLY"); reply.Field("home") != "ws://"+f.Domains[0].Addr+"/ws" {
		t.Errorf("got %s", reply.Raw)
	}
	moved := SignIn(t, f.Domains[0], bob, `{"push":true}`)
	moved.wantSeries(1, 150)
	ann.sendMany(bob, 151, 160)
	moved.wantSeries(151, 160)
}

func TestADomainGoesOnWithoutTheMetaServer(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 3, Later: []int{2}})
	f.Meta.Kill()
	f.Domains[0].Kill()
	f.Domains[0].Start() // with its last good copy
	Eventually(t, "the trouble is shown", func() bool { return f.Look(0).Source.Trouble != "" })
	ann, bob := f.SignIn(0, 1, ""), f.SignIn(1, 1, "")
	ann.Message(bob.user, "hello", `"reference":"r"`)
	bob.Expect("MESSAGE")
	ann.Expect("MESSAGE_CONFIRMATION")

	// A domain that never had a description lets nobody in before it has one.
	late := f.Domains[2]
	ready := late.launch()
	Eventually(t, "it says what it waits for", func() bool {
		return strings.Contains(late.Output(), "no client is let in before the description of all domains is there")
	})
	f.Meta.Start()
	if !late.becomesReady(ready) {
		t.Fatal(late.Output())
	}
	f.LinksUp()
	zoe := f.SignIn(2, 1, "")
	ann.Message(zoe.user, "hello", `"reference":"r"`)
	zoe.Expect("MESSAGE")
	ann.Expect("MESSAGE_CONFIRMATION")
}

func TestWhatANewerDescriptionRoutesWaitsForADomainThatHasAnOlderOne(t *testing.T) {
	t.Parallel()
	var file string
	f := StartFederation(t, FederationOptions{Domains: 2, Later: []int{1}, Meta: func(i int) string {
		if i == 0 {
			return ""
		}
		file = Settings(t, "")
		return file
	}})
	old := Network{URLs: f.Network.URLs, Links: f.Network.Links, Starts: f.Network.Starts}
	writeFile(t, file, old.text()) // one from a file has version 0
	f.Domains[1].Start()
	ann := f.SignIn(0, 1, `{"receipts":true}`)
	bob := f.User(1, 1)
	ann.sendMany(bob, 1, 20)
	Eventually(t, "the link waits, and says for what", func() bool {
		n := f.Look(1).Neighbours[0]
		return n.Receiving.State == "waiting" && strings.Contains(n.Receiving.Why, "version")
	})
	if n := f.Waiting(0, 1); n != 20 {
		t.Errorf("%d wait", n)
	}
	f.Domains[1].Kill()
	f.Domains[1].Args = []string{"--config", Settings(t, "domain: domain-02\nmeta: http://"+f.Meta.Addr+"\n")}
	f.Domains[1].Start()
	SignIn(t, f.Domains[1], bob, `{"push":true}`).wantSeries(1, 20)
}

func TestALinkComesUpByItsSecretAndSaysWhyItDoesNot(t *testing.T) {
	t.Parallel()
	const good, other = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	f := StartFederation(t, FederationOptions{Domains: 3, Links: []string{"1-2", "1-3"}, More: func(i int) string {
		switch i {
		case 0:
			return "links: {secret: " + good + ", secrets: {domain-03: " + other + "}}\n"
		case 1:
			return "links: {secret: " + good + "}\n"
		}
		return "links: {secret: " + good + "}\n" // domain-01 has another one for it
	}})
	Eventually(t, "the link with the secret of both is up, the other says what is wrong", func() bool {
		two, three := f.Look(0).Neighbours[0], f.Look(0).Neighbours[1]
		return two.Receiving.State == "up" && two.Sending.State == "up" &&
			three.Receiving.State == "down" && strings.Contains(three.Receiving.Why, "BAD_TOKEN") && three.Sending.State == "down" && strings.Contains(three.Sending.Why, "BAD_TOKEN")
	})
	if out := f.Domains[0].Output(); !strings.Contains(out, "the link from another domain may not sign in") || strings.Contains(out, good) || strings.Contains(out, other) {
		t.Error(out)
	}
	// A user cannot be a link, nor send to one.
	p := Dial(t, f.Domains[0])
	p.Send(`{"type":"AUTH_CLIENT","data":{"appId":"app-id-343","userId":"ANZ-1","token":"t","options":{"link":true}}}`)
	if reply := p.Expect("AUTH_CLIENT_REPLY"); reply.Field("code") != "UNKNOWN_APP" {
		t.Errorf("got %s", reply.Raw)
	}
	p = Dial(t, f.Domains[0])
	p.Send(`{"type":"AUTH_CLIENT","data":{"appId":"link","userId":"domain2-1","token":"` + good + `"}}`)
	if reply := p.Expect("AUTH_CLIENT_REPLY"); reply.Field("code") != "UNKNOWN_APP" {
		t.Errorf("got %s", reply.Raw)
	}
	ann := f.SignIn(0, 1, "")
	ann.Message("domain2-1", "x", "")
	if e := ann.Expect("DELIVER_FAILED"); e.Field("code") != "UNKNOWN_APP" {
		t.Errorf("got %s", e.Raw)
	}
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A link that is taken away ends, though both domains run, and what waits in front of
// it goes round.
func TestALinkThatIsTakenAwayEnds(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 3, Links: []string{"1-2", "2-3", "1-3"}})
	f.LinksUp()
	ann, bob := f.SignIn(0, 1, `{"receipts":true}`), f.SignIn(1, 1, "")
	ann.sendMany(bob.user, 1, 10)
	bob.wantSeries(1, 10)
	before := f.Look(0).Version
	f.Describe(func(n *Network) { n.Links = []string{"2-3", "1-3"} })
	f.Settled(before)
	ann.sendMany(bob.user, 11, 60)
	bob.wantSeries(11, 60)
	f.LinksUp()
	for i, want := range []int{1, 1, 2} {
		if n := len(f.Look(i).Neighbours); n != want {
			t.Errorf("%s has %d neighbours", domainName(i), n)
		}
		Eventually(t, "no session is left of a link that is no more", func() bool {
			return int(f.Domains[i].Metric("switchboard_socket_link_sessions")) == want
		})
	}
	if p := f.Look(0).Domains[0].Path; !slices.Equal(p, []string{"domain-01", "domain-03", "domain-02"}) {
		t.Errorf("%v", p)
	}
}

// A domain that was never told of a network says so, and can be stopped.
func TestADomainThatWaitsForADescriptionIsNotReadyAndStops(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := &Server{
		t: t, path: Binary(t), Addr: freeAddress(t), Admin: "127.0.0.1:0", Data: filepath.Join(t.TempDir(), "data"),
		Args: []string{"--domain", "domain-01", "--meta", "http://" + freeAddress(t)},
	}
	s.Admin = freeAddress(t)
	s.launch()
	t.Cleanup(s.Kill)
	Eventually(t, "it says what it waits for", func() bool { return strings.Contains(s.Output(), "no client is let in before") })
	if status, body := s.Get("/readyz"); status != 503 || !strings.Contains(body, "waiting for the description of all domains") {
		t.Errorf("%d %s", status, body)
	}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if p, err := TryDial(ctx, t, s); err == nil {
		p.Close()
		t.Error("clients are let in")
	}
	s.Signal(syscall.SIGTERM)
	if code := s.Wait(); code != 0 || strings.Contains(s.Output(), "\nready\n") {
		t.Errorf("ended with %d:\n%s", code, s.Output())
	}
}
