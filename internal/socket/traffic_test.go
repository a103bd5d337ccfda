package socket

import (
	"fmt"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/traffic"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// counted has messages counted by meters.
func counted(m *traffic.Meters) rigOption {
	return func(o *Options) {
		o.Count = func(user wire.UserID, domain string) *traffic.Counter {
			if domain != "" {
				return m.Counter("", domain)
			}
			return m.Counter(user.App(), "here")
		}
	}
}

// told are the sums that meters have, in words.
func told(m *traffic.Meters) string {
	var text []string
	for _, e := range m.Take() {
		text = append(text, fmt.Sprintf("%s/%s/%s: %d of %d", e.App, e.Capability, e.Domain, e.Sums.Count, e.Sums.Sum))
	}
	return strings.Join(text, ", ")
}

func TestMessagesThatASessionIsGivenAreCountedAndNothingElseIs(t *testing.T) {
	m := traffic.NewMeters(nil)
	r := newRig(t, counted(m))
	p := r.join("ANZ-7", "")
	s := r.session()
	fast, reliable, room := string(message(50)), string(message(80)), `{"type":"ROOM_MESSAGE","data":{}}`
	for range 2 {
		if !s.Fast([]byte(fast), nil) {
			t.Fatal("there is no room")
		}
		p.text(fast)
	}
	if !s.Fast([]byte(room), nil) || !s.Fast([]byte(`{"type":"ROOM_READ_BY","data":{}}`), nil) {
		t.Fatal("there is no room")
	}
	p.text(room)
	p.text(`{"type":"ROOM_READ_BY","data":{}}`)
	r.deliver(1, []byte(reliable))
	p.text(reliable)
	s.Presence("ANZ-8", true)
	want := fmt.Sprintf("ANZ/chat/here: 1 of %d, ANZ/message/here: 3 of %d", len(room), 2*len(fast)+len(reliable))
	if got := told(m); got != want {
		t.Errorf("counted %s, want %s", got, want)
	}
}

func TestWhatALinkIsGivenCountsForItsDomain(t *testing.T) {
	m := traffic.NewMeters(nil)
	r := newRig(t, counted(m))
	r.linkUp()
	frame := forward(wire.Forward{})
	r.keeper.opened().Outlet.Deliver(mailbox.Delivery{N: 1, Ord: 7, Low: 5, Log: "a log", Frame: frame})
	if got, want := told(m), fmt.Sprintf("/link/%s: 1 of %d", r.session().identity.domain, len(frame)); got != want || r.session().identity.domain == "" {
		t.Errorf("counted %s, want %s", got, want)
	}
}
