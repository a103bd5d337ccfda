package nodetest

import (
	"strings"
	"testing"
)

// kinds adds up what a node shows by capability, domain and app.
func (s *Server) kinds(key string) map[string]uint64 {
	s.t.Helper()
	counts := map[string]uint64{}
	for _, w := range s.exchanged(key, "type=traffic&by=capability,domain,app").Windows {
		for _, g := range w.Groups {
			counts[*g.Capability+" "+*g.Domain+" "+*g.App] += g.Count
		}
	}
	return counts
}

func TestWhatGoesToAnotherDomainCountsAsALinksHereAndAsAMessageThere(t *testing.T) {
	t.Parallel()
	f := StartFederation(t, FederationOptions{Domains: 2})
	f.LinksUp()
	ann, bob := f.SignIn(0, 1, ""), f.SignIn(1, 1, "")
	const sent = 5
	for i := range sent {
		feature := []string{"FAST", "RELIABLE"}[i%2]
		ann.Message(bob.user, "hello", `"feature":"`+feature+`"`)
		bob.Expect("MESSAGE")
	}
	for i, want := range []string{"link domain-02 ", "message domain-02 ANZ"} {
		s := f.Domains[i]
		_, key := s.NewKey(`{"admin":true}`)
		Eventually(t, "all that was handed over is counted", func() bool { return s.kinds(key)[want] >= sent })
		if got := s.kinds(key); got[want] != sent || got["message domain-01 ANZ"] != 0 {
			t.Errorf("domain %d: counted are %v, not %d of %q", i+1, got, sent, want)
		}
	}
}

func TestMessagesOfRoomsCountAsChat(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn)
	ada, bob := s.signUp("ada"), s.signUp("bob")
	a, b := socketOf(t, s, ada), socketOf(t, s, bob)
	room := s.want(201, "POST", "/v1/rooms", ada.access, `{"name":"tea","public":true}`).Field("id")
	b.ask("ROOM_JOIN", `{"room":"`+room+`"}`)
	const sent = 4
	for range sent {
		if f := b.ask("ROOM_SEND", `{"room":"`+room+`","content":"ciao"}`); f.Type != "ROOM_SENT" {
			t.Fatalf("got %s", f.Raw)
		}
		a.until("ROOM_MESSAGE")
	}
	_, key := s.NewKey(`{"admin":true}`)
	chat := func() (n uint64) {
		for what, count := range s.kinds(key) {
			if strings.HasPrefix(what, "chat ") {
				n += count
			}
		}
		return n
	}
	Eventually(t, "all messages of the room are counted", func() bool { return chat() >= sent })
	if n := chat(); n != sent {
		t.Errorf("%d messages of rooms are counted, not %d: %v", n, sent, s.kinds(key))
	}
}
