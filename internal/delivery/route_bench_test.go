package delivery

import (
	"fmt"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// nowhere keeps nothing.
type nowhere struct{}

func (nowhere) Accept(*Send, []byte)                     {}
func (nowhere) AcceptAll([]*Send, [][]byte, *Once)       {}
func (nowhere) Confirm(wire.UserID, wire.UserID, []byte) {}

// deaf is a session that takes everything.
type deaf struct{ *receiver }

func (deaf) Fast([]byte, func()) bool { return true }

// elsewhere has even numbers live here, and odd ones in another domain.
type elsewhere struct{}

func (elsewhere) Next(user wire.UserID) Hop {
	if user[len(user)-1]%2 == 0 {
		return Hop{Local: true, Graph: 1}
	}
	return Hop{Domain: "there", Link: "link_there-1", Graph: 1}
}

func hubOf(tb testing.TB, domains Domains) *Hub {
	tb.Helper()
	h := New(Options{
		Keeper: nowhere{}, Access: access{}, Sessions: func() int { return 16 }, Group: func() int { return 100 }, Domains: domains, Domain: "here",
	})
	for _, u := range []wire.UserID{"A-2", "link_there-1"} {
		if _, err := h.Add(deaf{newReceiver(tb, u)}, nil); err != nil {
			tb.Fatal(err)
		}
	}
	return h
}

func sending(h *Hub, to []wire.UserID, fast bool) func() {
	content, reference := make([]byte, 1000), []byte(`"r"`)
	for i := range content {
		content[i] = '1'
	}
	list := make([]wire.UserID, len(to))
	return func() {
		copy(list, to)
		h.Send(&Send{From: "A-4", To: list, Content: content, Reference: reference, Fast: fast, Group: len(to) > 1})
	}
}

// Who lives here costs no memory for it, whether there are domains or not.
func TestDomainsCostNoMemoryForThoseWhoLiveHere(t *testing.T) {
	for _, fast := range []bool{false, true} {
		for _, to := range [][]wire.UserID{{"A-2"}, {"A-2", "A-6", "A-8"}} {
			alone := testing.AllocsPerRun(200, sending(hubOf(t, nil), to, fast))
			among := testing.AllocsPerRun(200, sending(hubOf(t, elsewhere{}), to, fast))
			if among > alone {
				t.Errorf("fast %v, to %v: %v allocations with domains, %v without", fast, to, among, alone)
			}
		}
	}
}

func BenchmarkSend(b *testing.B) {
	for _, fast := range []bool{false, true} {
		for _, c := range []struct {
			name    string
			domains Domains
			to      []wire.UserID
		}{
			{"alone", nil, []wire.UserID{"A-2"}},
			{"here", elsewhere{}, []wire.UserID{"A-2"}},
			{"there", elsewhere{}, []wire.UserID{"A-1"}},
			{"group", elsewhere{}, []wire.UserID{"A-1", "A-2", "A-3", "A-6"}},
		} {
			b.Run(fmt.Sprintf("fast=%v/%s", fast, c.name), func(b *testing.B) {
				send := sending(hubOf(b, c.domains), c.to, fast)
				b.ReportAllocs()
				for b.Loop() {
					send()
				}
			})
		}
	}
}

// What comes over a link for one user, on its way through and at its end.
func BenchmarkForward(b *testing.B) {
	for _, to := range []wire.UserID{"A-1", "A-2"} {
		b.Run(fmt.Sprint(elsewhere{}.Next(to).Local), func(b *testing.B) {
			h := hubOf(b, elsewhere{})
			f := wire.Forward{
				Origin: "far", From: "A-3", To: []wire.UserID{to}, Hops: 1, Graph: 1, Log: "log", Place: 1,
				Frame: wire.AppendMessage(nil, "A-3", make([]byte, 0), nil),
			}
			f.Frame = wire.AppendMessage(nil, "A-3", []byte(`"`+fmt.Sprintf("%01000d", 1)+`"`), nil)
			b.ReportAllocs()
			for b.Loop() {
				h.Forward(&f, Neighbour{Domain: "far", Link: "link_far-1"}, func(error) {})
			}
		})
	}
}
