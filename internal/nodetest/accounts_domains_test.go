package nodetest

import (
	"fmt"
	"strings"
	"testing"
)

// Accounts of each domain get the numbers that the description gives it, and no others;
// their tokens, and their rooms, are good there only.
func TestEachDomainGivesItsOwnNumbersToAccounts(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 2, More: func(int) string { return "chat: {enabled: true}\n" }})
	first, second := f.Domains[0], f.Domains[1]
	up := func(s *Server, name string) Answer {
		return s.Call("POST", "/v1/accounts", "", credentials(name, aPassword))
	}
	before := max(f.Look(0).Version, f.Look(1).Version)
	f.Describe(func(n *Network) {
		n.Apps = "  - appName: chat\n    appId: chat\n    authEnabled: false\n    userDistributions:\n" +
			"      - {domainName: domain-02, from: 0, to: 4}\n      - {domainName: domain-01, from: 5, to: 6}\n      - {domainName: domain-02, from: 7}\n"
	})
	f.Settled(before)
	for i, want := range []string{"chat-5", "chat-6", ""} {
		if a := up(first, fmt.Sprint("first", i)); a.Field("userId") != want || want == "" && a.Code() != "NO_NUMBERS" {
			t.Errorf("the first domain gives %d %s, not %q", a.Status, a.Body, want)
		}
	}
	ada := first.signInAs("first0", aPassword)
	for i, want := range []string{"chat-1", "chat-2", "chat-3", "chat-4", "chat-7"} {
		if a := up(second, fmt.Sprint("second", i)); a.Field("userId") != want {
			t.Errorf("the second domain gives %d %s, not %s", a.Status, a.Body, want)
		}
	}
	bob := second.signInAs("second0", aPassword)
	if a := second.Call("GET", "/v1/accounts/me", ada.access, ""); a.Status != 401 || a.Code() != "BAD_TOKEN" {
		t.Errorf("the other domain's token: got %d %s", a.Status, a.Body)
	}
	room := first.want(201, "POST", "/v1/rooms", ada.access, `{"name":"tea","public":true}`).Field("id")
	a := second.want(421, "GET", "/v1/rooms/"+room+"@domain-01", bob.access, "")
	if a.Code() != "WRONG_DOMAIN" || !strings.Contains(a.Field("home"), first.Addr) {
		t.Errorf("a room of the other domain: got %s", a.Body)
	}
	q := socketOf(t, second, bob)
	if e := q.ask("ROOM_JOIN", `{"room":"`+room+`@domain-01"}`); e.Field("code") != "WRONG_DOMAIN" || !strings.Contains(e.Field("home"), first.Addr) {
		t.Errorf("on the socket: got %s", e.Raw)
	}
	first.want(200, "GET", "/v1/rooms/"+room+"@domain-01", ada.access, "")
}
