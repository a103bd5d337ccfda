package shards

import (
	"bytes"
	"io"
	"log/slog"
	"slices"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// spoken is what an office says to other nodes.
type spoken struct {
	to      string
	message []byte
}

type recorder struct{ said []spoken }

func (r *recorder) Send(node string, parts ...[]byte) bool {
	r.said = append(r.said, spoken{node, bytes.Join(parts, nil)})
	return true
}

// heard returns the kinds of what a node was told, and the last message.
func (r *recorder) heard(node string) (kinds []kind, last []byte) {
	for _, s := range r.said {
		if s.to == node {
			kinds, last = append(kinds, kind(s.message[1])), s.message
		}
	}
	return kinds, last
}

// failing counts what failed.
type failing struct{ n *int }

func (f failing) Stored(wire.ID, []byte)     {}
func (f failing) Failed(*wire.Error, []byte) { *f.n++ }

// A node that neither gives a shard up nor takes it goes to the new keeper as soon
// as the old one says that it is gone, and what reached the old one too late goes
// with it: nobody waits, and no outcome is unknown. It does not matter who is heard
// first.
func TestANodeFollowsAShardThatMovesBetweenOthersAtOnce(t *testing.T) {
	for _, goneFirst := range []bool{true, false} {
		links := &recorder{}
		o, err := New(Options{Self: "c", Shards: 1, Links: links, Logger: slog.New(slog.NewTextHandler(io.Discard, nil))})
		if err != nil {
			t.Fatal(err)
		}
		failed := 0
		send := func(text string) {
			o.Accept(&mailbox.Message{From: "ANZ-1", To: []wire.UserID{"ANZ-2"}, Frame: []byte(text), Origin: failing{&failed}})
		}
		o.Receive("a", begin(nil, kindReady, 0, 1))
		conv := o.desks[0].far.conv
		send("first")
		send("second")
		o.Receive("a", append(begin(nil, kindDone, 0, conv), 1, 0, 0)) // the first is stored
		gone, ready := begin(nil, kindGone, 0, conv), begin(nil, kindReady, 0, 2)
		if goneFirst {
			o.Receive("a", gone)
			send("third")
			o.Receive("b", ready)
		} else {
			o.Receive("b", ready)
			send("third")
			o.Receive("a", gone)
		}
		kinds, last := links.heard("b")
		if want := []kind{kindHello, kindRegistered, kindAccept, kindAccept}; !slices.Equal(kinds, want) || !bytes.Contains(last, []byte("third")) {
			t.Errorf("gone first %t: the new keeper is told %v, at last %q; it should be %v", goneFirst, kinds, last, want)
		}
		if second := links.said[len(links.said)-2].message; !bytes.Contains(second, []byte("second")) {
			t.Errorf("gone first %t: before that it gets %q", goneFirst, second)
		}
		if failed != 0 {
			t.Errorf("gone first %t: %d messages failed", goneFirst, failed)
		}
	}
}
