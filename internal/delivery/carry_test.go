package delivery

import (
	"slices"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestWhatWaitsIsCarriedToItsNewWay(t *testing.T) {
	message := wire.AppendMessage(nil, "A-0", []byte(`1`), nil)
	forward := func(to ...wire.UserID) []byte {
		return wire.AppendForward(nil, &wire.Forward{
			Origin: "d0", From: "A-0", To: to, Hops: 2, Graph: 1, Confirm: true, Reference: []byte(`"r"`), Producer: "p", Seq: 3, Frame: message,
		})
	}
	// It is domain 1 of 0 - 1 - 2; A-9 lives nowhere.
	for _, c := range []struct {
		what  string
		user  wire.UserID // in whose mailbox it waits
		frame []byte
		parts []Part
		stays bool
		told  string // what the sender hears
	}{
		{"a message of one who lives here", "A-1", message, nil, true, ""},
		{"of one who lives nowhere", "A-9", message, nil, true, ""},
		{"of the server's own", "-shard/1", []byte{1, 2}, nil, true, ""},
		{"of one who lives elsewhere", "A-2", message, []Part{{To: []wire.UserID{link(2)}, Group: true}}, false, ""},
		{"a FORWARD on its way", link(2), forward("A-2"), nil, true, ""},
		{"of which some are on their way", link(2), forward("A-2", "A-0", "A-1"), nil, true, ""},
		{"that has come home", link(2), forward("A-1"), []Part{{To: []wire.UserID{"A-1"}, Confirm: true, Frame: message}}, false, ""},
		{"that goes elsewhere", link(7), forward("A-2", "A-0"), []Part{{To: []wire.UserID{link(2)}}, {To: []wire.UserID{link(0)}}}, false, ""},
		{"that can go nowhere", link(7), forward("A-9"), nil, false, wire.CodeNoRoute},
		{"of which some can go nowhere", link(7), forward("A-9", "A-2"), []Part{{To: []wire.UserID{link(2)}}}, false, wire.CodeNoRoute},
	} {
		n := inLine(t, 3)
		parts, ok, err := n.hubs[1].Carry(&Carried{User: c.user, ID: n.newID(), From: "A-0", Group: true, Confirm: true, Reference: []byte(`"r"`), Frame: c.frame})
		n.settle()
		if err != nil || ok == c.stays || len(parts) != len(c.parts) {
			t.Errorf("%s: %+v, %v, %v", c.what, parts, ok, err)
			continue
		}
		for i, p := range parts {
			want := c.parts[i]
			if !slices.Equal(p.To, want.To) || p.Group != want.Group || p.Confirm != want.Confirm {
				t.Errorf("%s: %+v, want %+v", c.what, p, want)
			}
			if want.Frame != nil {
				if string(p.Frame) != string(want.Frame) {
					t.Errorf("%s: %s, want %s", c.what, p.Frame, want.Frame)
				}
				continue
			}
			f, err := wire.ParseForward(p.Frame)
			if err != nil || string(f.Frame) != string(message) || !f.Confirm || string(f.Reference) != `"r"` || f.Hops > 2 {
				t.Errorf("%s: %+v, %v", c.what, f, err)
			}
		}
		told := n.forwards(1, 0)
		if (len(told) > 0) != (c.told != "") || c.told != "" && !strings.Contains(string(told[0].Frame), c.told) {
			t.Errorf("%s: the sender hears %+v", c.what, told)
		}
	}
	n := inLine(t, 2)
	if _, ok, err := n.hubs[1].Carry(&Carried{User: link(0), Frame: []byte(`{"type":"FORWARD","data":{}}`)}); ok || err == nil {
		t.Errorf("what cannot be read: %v, %v", ok, err)
	}
}

// A link's session may be on any node of its domain, and an old one may be left on
// another: one of them gets what there is.
func TestAFastMessageFindsTheLinkOnAnotherNode(t *testing.T) {
	l, a, b := pair()
	a.opts.Domains, a.opts.Domain = elsewhere{}, "here"
	add := func(n *node) *receiver {
		r := session("link_there-1")
		r.transport = "link"
		if _, err := n.Add(r, nil); err != nil {
			t.Fatal(err)
		}
		l.settle()
		return r
	}
	there := add(b)
	s := &Send{From: "A-2", To: []wire.UserID{"A-1", "A-3"}, Group: true, Fast: true, Content: []byte(`1`)}
	a.Hub.Send(s)
	l.settle()
	if len(there.frames) != 1 || s.Sessions != 2 {
		t.Fatalf("the link gets %v, for %d receivers", there.frames, s.Sessions)
	}
	f, err := wire.ParseForward([]byte(there.frames[0]))
	if err != nil || !f.Fast || !slices.Equal(f.To, []wire.UserID{"A-1", "A-3"}) {
		t.Errorf("it gets %+v, %v", f, err)
	}
	here := add(a)
	a.Hub.Send(&Send{From: "A-2", To: []wire.UserID{"A-1"}, Fast: true, Content: []byte(`2`)})
	l.settle()
	if len(there.frames)+len(here.frames) != 2 {
		t.Errorf("the second came %d times", len(there.frames)+len(here.frames)-1)
	}
}
