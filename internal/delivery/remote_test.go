package delivery

import (
	"fmt"
	"runtime"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestAnAddressComesBackAsItWas(t *testing.T) {
	for _, address := range []string{
		"192.0.2.1:54321", "[2001:db8::1]:443", "[fe80::1%eth0]:80", "192.0.2.1:080", "[2001:DB8::1]:443", "[::ffff:192.0.2.1]:1", "pipe", "six-by", "eighteen-bytes-yes",
	} {
		r := session("A-1")
		r.address = address
		e, ok := (&scanner{rest: appendEntry(nil, r)}).entry()
		if !ok {
			t.Fatalf("%q makes no entry", address)
		}
		x := e.remote(nil, nil)
		if x.address() != address || x.user() != "A-1" || x.id != r.id || x.transport() != "websocket" {
			t.Errorf("%q comes back as %q of %s, %s", address, x.address(), x.user(), x.transport())
		}
	}
}

// fill has a node hear of many sessions of another, one for each user, and returns
// how many bytes it takes for each.
func fill(t testing.TB, n *node, count int) int {
	heap := func() uint64 {
		var m runtime.MemStats
		runtime.GC()
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := heap()
	n.PeerUp("far")
	n.PeerReceive("far", message(kindBegin, 1))
	for i := range count {
		r := session(wire.UserID(fmt.Sprint("ANZ-", 100_000_000+i*7919%count)))
		r.address = fmt.Sprintf("10.%d.%d.%d:%d", i>>16&255, i>>8&255, i&255, 10_000+i%50_000)
		n.PeerReceive("far", appendEntry(message(kindPart, 1), r))
	}
	n.PeerReceive("far", message(kindEnd, 1, 0))
	after := heap()
	if got := n.roster.far.Load(); got != int64(count) {
		t.Fatalf("%d sessions are known", got)
	}
	return int(after-before) / count
}

// Every node knows every session of all: a million of others should not take more
// than the connections of its own.
func TestASessionElsewhereTakesLittleMemory(t *testing.T) {
	n := newLinks().add("a", 3)
	if bytes := fill(t, n, 100_000); bytes > 150 {
		t.Errorf("%d bytes", bytes)
	}
}

func BenchmarkRemoteSessionMemory(b *testing.B) {
	for _, count := range []int{100_000, 140_000, 500_000} {
		b.Run(fmt.Sprint(count), func(b *testing.B) {
			for b.Loop() {
				b.ReportMetric(float64(fill(b, newLinks().add("a", 3), count)), "B/session")
			}
		})
	}
}

// discard is a Nodes that takes everything.
type discard struct{}

func (discard) Send(string, ...[]byte) bool { return true }

// A FAST message to a user of another node, up to the link; and what that one does
// with it, from the link on.
func BenchmarkSendFastElsewhere(b *testing.B) {
	content := make([]byte, 1000)
	for i := range content {
		content[i] = '1'
	}
	b.Run("send", func(b *testing.B) {
		h := New(Options{Keeper: &keeper{}, Access: access{}, Nodes: discard{}})
		h.PeerUp("far")
		h.PeerReceive("far", message(kindBegin, 1))
		h.PeerReceive("far", appendEntry(message(kindPart, 1), session("A-1")))
		b.ReportAllocs()
		for b.Loop() {
			h.Send(&Send{From: "A-2", To: []wire.UserID{"A-1"}, Content: content, Fast: true})
		}
	})
	b.Run("receive", func(b *testing.B) {
		h := New(Options{Keeper: &keeper{}, Access: access{}, Nodes: discard{}, Sessions: func() int { return 3 }})
		r := &sink{receiver: newReceiver(b, "A-1")}
		if _, err := h.Add(r, nil); err != nil {
			b.Fatal(err)
		}
		h.PeerUp("far")
		m := append(append(message(kindFast, 0, 1, 6), "A-1"...), wire.AppendMessage(nil, "A-2", content, nil)...)
		b.ReportAllocs()
		for b.Loop() {
			h.PeerReceive("far", m)
		}
	})
}

// A session that comes and goes, told to two other nodes.
func BenchmarkComeAndGoWithPeers(b *testing.B) {
	h := New(Options{Keeper: &keeper{}, Access: access{}, Nodes: discard{}, Sessions: func() int { return 3 }})
	h.PeerUp("one")
	h.PeerUp("two")
	r := newReceiver(b, "A-1")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := h.Add(r, nil); err != nil {
			b.Fatal(err)
		}
		h.Remove(r)
		seq := h.out.seq
		h.PeerReceive("one", message(kindAck, seq))
		h.PeerReceive("two", message(kindAck, seq))
	}
}
