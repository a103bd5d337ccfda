package nodetest

import (
	"fmt"
	"strings"
	"testing"
)

// What has no room in front of a link that is down, or whose time is over there, is
// told to its sender, with who was to get it; that it is a link which was full is
// nobody's business.
func TestWhatHasNoRoomOrNoTimeInFrontOfALinkIsToldToItsSender(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 3, More: func(i int) string {
		if i == 1 { // the mailbox of the link to domain-03
			return "limits: {linkBytes: 1MiB, minDiskFree: 64MiB}\n"
		}
		return "limits: {minDiskFree: 64MiB}\n"
	}})
	f.LinksUp()
	ann, mid := f.SignIn(0, 1, ""), f.SignIn(1, 1, "")
	f.Domains[2].Kill()
	big := strings.Repeat("x", 50<<10)

	// From the domain in front of the link.
	full := 0
	for i := range 30 {
		mid.Message(f.User(2, 2), big, fmt.Sprintf(`"reference":"m%d","confirmationEnabled":false`, i))
	}
	for full == 0 {
		e := mid.Expect("DELIVER_FAILED")
		if e.Field("code") != "MAILBOX_FULL" || e.Field("to") != f.User(2, 2) || strings.Contains(e.Raw, "domain3-1") {
			t.Fatalf("got %s", e.Raw)
		}
		full++
	}
	// From one behind it: a link that waited would have a ring of domains wait for ever.
	ann.Message(f.User(2, 3), big, `"reference":"far","confirmationEnabled":false`)
	e := ann.Expect("DELIVER_FAILED")
	if e.Field("code") != "MAILBOX_FULL" || e.Field("to") != f.User(2, 3) || string(e.Reference) != `"far"` || strings.Contains(e.Raw, "domain3-1") {
		t.Errorf("got %s", e.Raw)
	}
	ann.Message(mid.user, "the link in between goes on", `"confirmationEnabled":false`)
	for got := ""; got != "the link in between goes on"; {
		if m := mid.Next(); m.Type == "MESSAGE" {
			got = m.Field("content")
		}
	}

	// Its time is over while it waits in another domain than its sender's.
	f.Domains[2].Start()
	Eventually(t, "all is on its way", func() bool { return f.Waiting(1, 2) == 0 })
	f.Domains[2].Kill()
	ann.Message(f.User(2, 4), "soon", `"reference":"late","ttl":2,"confirmationEnabled":false`)
	if e := ann.Expect("DELIVER_FAILED"); e.Field("code") != "EXPIRED" || e.Field("to") != f.User(2, 4) || string(e.Reference) != `"late"` {
		t.Errorf("got %s", e.Raw)
	}
}

func TestTheHTTPInterfaceSendsToOtherDomains(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 2})
	f.LinksUp()
	bob, cid := f.SignIn(1, 1, ""), f.SignIn(0, 2, "")
	body := fmt.Sprintf(`{"from":"ANZ-5","to":[%q,%q],"content":{"text":"from the backend"}}`, bob.user, cid.user)
	var first Answer
	for i := range 2 { // a request that is sent again counts once
		a := f.Domains[0].CallControl("POST", "/v1/messages", body, "Idempotency-Key", "once")
		if a.Status/100 != 2 {
			t.Fatalf("%d %s", a.Status, a.Body)
		}
		if i == 0 {
			first = a
		} else if a.Body != first.Body {
			t.Errorf("answered %s, and then %s", first.Body, a.Body)
		}
	}
	for _, p := range []*Peer{bob, cid} {
		if m := p.Expect("MESSAGE"); m.Field("from") != "ANZ-5" || m.Field("content") != `{"text":"from the backend"}` {
			t.Errorf("%s got %s", p.user, m.Raw)
		}
	}
	ann := f.SignIn(0, 1, "")
	ann.Message(bob.user, "last", "")
	if m := bob.Expect("MESSAGE"); m.Field("content") != "last" {
		t.Errorf("it came twice: %s", m.Raw)
	}
}
