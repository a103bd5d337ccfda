package shards

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func drawMessage(t *rapid.T, past bool) *mailbox.Message {
	flag := func(name string) bool { return rapid.Bool().Draw(t, name) }
	m := &mailbox.Message{
		From: "ANZ-1", To: []wire.UserID{"ANZ-2", "ANZ-3"}[:rapid.IntRange(1, 2).Draw(t, "to")],
		Group: flag("group"), Notice: flag("notice"), Confirm: flag("confirm"), Quiet: flag("quiet"), Receipt: flag("receipt"), Presence: flag("presence"),
		Frame: []byte(rapid.String().Draw(t, "frame")), TTL: time.Duration(rapid.IntRange(0, 1000).Draw(t, "ttl")) * time.Second,
		Index: rapid.IntRange(0, 9).Draw(t, "index"), Producer: rapid.SampledFrom([]string{"", "phone"}).Draw(t, "producer"), Seq: rapid.Uint64().Draw(t, "seq"),
	}
	if flag("reference") {
		m.Reference = []byte(`"r"`)
	}
	if past {
		m.ID, m.Via = wire.ID{1, rapid.Byte().Draw(t, "id")}, rapid.SampledFrom([]string{"", "domain-02/a"}).Draw(t, "via")
		m.Place, m.Low = rapid.Uint64().Draw(t, "place"), rapid.Uint64().Draw(t, "low")
		if m.Via != "" && flag("before") {
			m.Before = mailbox.Before{Via: rapid.SampledFrom([]string{"domain-02/a", "domain-02/a@7"}).Draw(t, "before via"), To: rapid.SampledFrom([]wire.UserID{"", "domain3-1"}).Draw(t, "before to"), Place: rapid.Uint64Min(1).Draw(t, "before place")}
		}
		if flag("expires") {
			m.Expires = time.UnixMilli(rapid.Int64Range(1, 1<<42).Draw(t, "at")).UTC()
		}
	}
	return m
}

// What one node says to another about messages, several in a row, is heard as it was
// said, with all that belongs to a message that was in another domain.
func TestMessagesCrossNodesWhole(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var b []byte
		var list []*mailbox.Message
		for range rapid.IntRange(1, 4).Draw(t, "count") {
			m := drawMessage(t, rapid.Bool().Draw(t, "past"))
			b = appendMessage(b, m)
			list = append(list, m)
		}
		r := reader{b: b}
		for i, want := range list {
			if got := r.message(); r.err != nil || !reflect.DeepEqual(got, want) {
				t.Fatalf("message %d is heard as %+v, %v; said was %+v", i, got, r.err, want)
			}
		}
		if len(r.b) > 0 {
			t.Fatalf("%d bytes are left", len(r.b))
		}
	})
}

// Nodes of the version before understand a message that was in no other domain, and
// it costs no byte more.
func TestAMessageWithoutAPastIsSaidAsEver(t *testing.T) {
	m := &mailbox.Message{
		From: "ANZ-1", To: []wire.UserID{"ANZ-2"}, Group: true, Quiet: true, Receipt: true, Frame: []byte("f"), Reference: []byte("r"),
		TTL: time.Second, Index: 3, Producer: "p", Seq: 4,
	}
	want := "\x05ANZ-1\x01\x05ANZ-2\x19\x01f\x01r\xe8\x07\x03\x01p\x04"
	if got := string(appendMessage(nil, m)); got != want {
		t.Errorf("it is said as %q, was %q", got, want)
	}
}

func TestDeliveriesAndSessionsCrossNodesWhole(t *testing.T) {
	for _, want := range []mailbox.Delivery{
		{N: 1, Ord: 300, ID: wire.ID{1}, Frame: []byte("frame")},
		{N: 2, Ord: 300, Fetched: true, ID: wire.ID{1}, Frame: []byte{}},
		{N: 3, Ord: 300, ID: wire.ID{1}, Log: "domain-01/2", Low: 1 << 40, Frame: []byte("frame")},
	} {
		r := reader{b: append(appendDelivery(nil, &want), want.Frame...)}
		if got := r.delivery(); r.err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v is heard as %+v, %v", want, got, r.err)
		}
	}
	for i := range 32 {
		want := mailbox.Session{ID: wire.ID{1}, User: "domain2-1", TellMaster: "ANZ-1", Window: 1 << 20}
		want.Master, want.Ack, want.Push, want.Each, want.Link = i&1 != 0, i&2 != 0, i&4 != 0, i&8 != 0, i&16 != 0
		h := mailbox.Held{Session: want, Mark: 4, NextN: 7, Given: []mailbox.Given{{N: 6, Ord: 9, Size: 3}}, Fetches: []int{}}
		r := reader{b: appendHeld(nil, &h)}
		if got := r.held(); r.err != nil || !reflect.DeepEqual(got, h) {
			t.Errorf("%+v is heard as %+v, %v", h, got, r.err)
		}
	}
}

// A code says whether to try again: without one who asks is told that the server failed.
func TestAKeeperThatTakesTooLongIsATimeOutOnOtherNodesToo(t *testing.T) {
	for what, mayBe := range map[askKind]bool{askMailbox: false, askPeek: false, askClear: true} {
		text, err := json.Marshal(answerTo(question{What: what}, nil, fmt.Errorf("wait for the keeper: %w", context.DeadlineExceeded)))
		if err != nil {
			t.Fatal(err)
		}
		var a answer
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatal(err)
		}
		e, ok := errors.AsType[*wire.Error](a.err())
		if !ok || e.Code != wire.CodeTimeout || e.MayYetArrive != mayBe {
			t.Errorf("%s: %v", what, a.err())
		}
	}
	if a := answerTo(question{What: askClear}, 3, nil); a.err() != nil || string(a.Value) != "3" {
		t.Errorf("got %+v", a)
	}
}
