package mailbox_test

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const linkUser = wire.UserID("domain2-1")

// linked has a keeper know one link, and that ANZ-7 lives behind it.
func linked(o *mailbox.Options) {
	o.LogName = "domain-01/0"
	o.Limits.LinkBytes, o.Limits.LinkAge = 1<<20, 48*time.Hour
	o.Link = func(user wire.UserID) bool { return user == linkUser }
	o.Abroad = func(n mailbox.Notice) (wire.UserID, []byte, bool) {
		return linkUser, forward(n.From, n.To, n.Frame), n.To == "ANZ-7"
	}
}

func forward(from, to wire.UserID, frame []byte) []byte {
	if !strings.HasPrefix(string(frame), "{") {
		frame = fmt.Appendf(nil, `{"type":"%s"}`, frame)
	}
	return wire.AppendForward(nil, &wire.Forward{
		Origin: "domain-01", From: from, To: []wire.UserID{to}, Hops: 1, Graph: 17, SentAt: time.Unix(1_700_000_000, 0), Frame: frame,
	})
}

// road is the session of a link.
type road struct {
	*device
	list []mailbox.Delivery
}

func (r *road) Deliver(d mailbox.Delivery) {
	r.mu.Lock()
	d.Frame = slices.Clone(d.Frame)
	r.list = append(r.list, d)
	r.mu.Unlock()
	r.device.Deliver(d)
}

func (f *fixture) link() *road {
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	r := &road{device: &device{f: f, id: id, ids: make(map[wire.ID]bool)}}
	f.Open(mailbox.Session{ID: id, User: linkUser, Push: true, Ack: true, Link: true, TellMaster: "ANZ-0", Outlet: r})
	return r
}

// lows returns what the link was told with each delivery, relative to its place.
func (r *road) lows() (list []string) {
	synctest.Wait()
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, d := range r.list {
		list = append(list, fmt.Sprintf("%s %d-%d", d.Log, d.Low, d.Ord))
	}
	return list
}

// sendFar has a message wait for the link.
func (f *fixture) sendFar(name string) {
	f.Accept(&mailbox.Message{
		From: "ANZ-100", To: []wire.UserID{linkUser}, Frame: forward("ANZ-100", "ANZ-7", []byte(name)), Reference: []byte(`"` + name + `"`), Confirm: true, Receipt: true,
		Origin: f.seen, Done: f.seen.note,
	})
}

// A link's session is told which log it is, and below which place nothing comes any
// more: what is proved and in the log, also after a restart. Its proof confirms
// nothing, and nobody hears that it came or went.
func TestALinkIsToldBelowWhichPlaceNothingComesAgain(t *testing.T) {
	log := newMemLog()
	inBubble(t, log, linked, func(f *fixture) {
		r := f.link()
		for _, name := range []string{"a", "b", "c"} {
			f.sendFar(name)
			synctest.Wait()
		}
		if got := fmt.Sprint(r.lows()); got != "[domain-01/0 1-1 domain-01/0 1-2 domain-01/0 1-3]" {
			t.Fatalf("told %s", got)
		}
		f.Prove(r.id, 2)
		r.wantSettled(2)
		f.sendFar("d")
		if got := r.lows(); got[3] != "domain-01/0 3-4" {
			t.Fatalf("told %s", got)
		}
	})
	inBubble(t, log, linked, func(f *fixture) {
		r := f.link()
		if got := fmt.Sprint(r.lows()); got != "[domain-01/0 3-3 domain-01/0 3-4]" {
			t.Fatalf("after a restart told %s", got)
		}
		r.prove()
		r.wantSettled(2)
		f.open("ANZ-0", true).want()
		f.open("ANZ-100", true).want()
	})
}

// What is to be told to somebody in another domain waits for the link to it, in the
// batch of what it tells of; what it tells of is that of a user who lives here.
func TestNoticesForOtherDomainsWaitForTheLink(t *testing.T) {
	inBubble(t, newMemLog(), linked, func(f *fixture) {
		d := f.open("ANZ-2", false)
		id := wire.ID{7}
		f.Accept(&mailbox.Message{
			ID: id, From: "ANZ-7", To: []wire.UserID{"ANZ-2"}, Frame: []byte("hello"), Reference: []byte(`"r"`), Confirm: true,
			Via: "domain-02/0", Place: 5, Low: 5,
		})
		d.want("hello")
		if !d.ids[id] {
			t.Error("it arrives under another ID")
		}
		d.prove()
		d.wantSettled(1)
		r := f.link()
		if r.lows(); len(r.list) != 1 {
			t.Fatalf("%d notices wait for the link", len(r.list))
		}
		got, err := wire.ParseForward(r.list[0].Frame)
		if err != nil || got.To[0] != "ANZ-7" || got.From != "ANZ-2" || string(got.Frame) != `{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r"}}` || r.list[0].ID != id.Derive("confirmation") {
			t.Errorf("the notice is %s, %v", r.list[0].Frame, err)
		}
	})
}

// When a message expires that waits for a link, its sender hears for whom it was.
func TestASenderHearsForWhomItWasThatExpiredOnALink(t *testing.T) {
	inBubble(t, newMemLog(), linked, func(f *fixture) {
		f.sendFar("a")
		time.Sleep(49 * time.Hour)
		f.open("ANZ-100", true).want(`{"type":"DELIVER_FAILED","data":{"code":"EXPIRED","reason":"ANZ-7 did not receive the message in its time","to":"ANZ-7"},"reference":"a"}`)
	})
}

// When the network changes, what waits goes another way: each message once, with its
// ID and end, and what is on its way to a session stays.
func TestWhatWaitsGoesAnotherWay(t *testing.T) {
	log := newMemLog()
	inBubble(t, log, linked, func(f *fixture) {
		for i := range 5 {
			f.send(fmt.Sprint(i), "ANZ-3", 0)
		}
		f.send("one", "ANZ-2", 0)
		f.sendFar("far")
		f.rest()
		users, err := f.Mailboxes(f.Context(), "", 10)
		if err != nil || fmt.Sprint(users) != "[ANZ-2 ANZ-3 domain2-1]" {
			t.Fatalf("mailboxes %v, %v", users, err)
		}
		if users, _ = f.Mailboxes(f.Context(), "ANZ-2", 1); fmt.Sprint(users) != "[ANZ-3]" {
			t.Fatalf("mailboxes behind ANZ-2: %v", users)
		}
		list, more, err := f.Carry(f.Context(), "ANZ-3", 0, 2)
		if err != nil || len(list) != 2 || !more || string(list[0].Frame) != "0" || string(list[1].Reference) != "1" || list[0].From != "ANZ-100" || list[0].Expires.IsZero() {
			t.Fatalf("carried %+v, %t, %v", list, more, err)
		}
		rest, more, _ := f.Carry(f.Context(), "ANZ-3", list[1].Ord, 10)
		if len(rest) != 3 || more {
			t.Fatalf("carried %+v, %t", rest, more)
		}
		var moved []mailbox.Moved
		for _, c := range append(list, rest[0]) {
			moved = append(moved, mailbox.Moved{Carried: c, Parts: []mailbox.Part{{To: []wire.UserID{linkUser}, Frame: forward(c.From, "ANZ-3", c.Frame)}}})
		}
		for i, want := range []int{3, 0} {
			if n, err := f.Move(f.Context(), "ANZ-3", moved); n != want || err != nil {
				t.Fatalf("call %d: %d went another way, %v", i, n, err)
			}
		}
		if err := f.Carried(f.Context(), "ANZ-3", []uint64{rest[1].Ord}); err != nil {
			t.Fatal(err)
		}
		d := f.open("ANZ-3", true)
		d.want("4")
		if list, _, _ := f.Carry(f.Context(), "ANZ-3", 0, 10); len(list) != 0 {
			t.Errorf("what is on its way to a session may be carried: %+v", list)
		}
		if n, err := f.Move(f.Context(), "ANZ-3", []mailbox.Moved{{Carried: rest[2]}}); n != 0 || err != nil {
			t.Errorf("what is on its way to a session went another way: %d, %v", n, err)
		}
	})
	inBubble(t, log, linked, func(f *fixture) {
		r := f.link()
		r.lows()
		var names []string
		for _, d := range r.list {
			got, err := wire.ParseForward(d.Frame)
			if err != nil {
				t.Fatal(err)
			}
			names = append(names, fmt.Sprint(got.To[0], " ", string(got.Frame)))
		}
		want := `[ANZ-7 {"type":"far"} ANZ-3 {"type":"0"} ANZ-3 {"type":"1"} ANZ-3 {"type":"2"}]`
		if fmt.Sprint(names) != want {
			t.Errorf("the link gets %s", names)
		}
		f.open("ANZ-3", true).want("4")
	})
}

// What goes another way and is for users of another shard gets there by the road of
// what shards have for each other, and what had come to them otherwise meanwhile is
// not there twice.
func TestWhatGoesAnotherWayReachesOtherShards(t *testing.T) {
	logs := [2]*memLog{newMemLog(), newMemLog()}
	at := func(shard int) func(*mailbox.Options) {
		return func(o *mailbox.Options) {
			linked(o)
			o.Shard, o.ShardOf = shard, func(user wire.UserID) int {
				if user == linkUser {
					return 0
				}
				return odd(user)
			}
		}
	}
	var list []mailbox.Forwarded
	inBubble(t, logs[0], at(0), func(f *fixture) {
		f.sendFar("a")
		f.sendFar("b")
		synctest.Wait()
		waiting, _, err := f.Carry(f.Context(), linkUser, 0, 10)
		if err != nil || len(waiting) != 2 {
			t.Fatal(waiting, err)
		}
		var moved []mailbox.Moved
		for _, c := range waiting {
			moved = append(moved, mailbox.Moved{Carried: c, Parts: []mailbox.Part{{To: []wire.UserID{"ANZ-7", "ANZ-8"}, Group: true, Frame: c.Reference}}})
		}
		if n, err := f.Move(f.Context(), linkUser, moved); n != 2 || err != nil {
			t.Fatal(n, err)
		}
		f.open("ANZ-8", true).want(`"a"`, `"b"`)
		r := f.relay(1)
		synctest.Wait()
		list = r.list
	})
	inBubble(t, logs[1], at(1), func(f *fixture) {
		f.Accept(&mailbox.Message{ID: list[0].ID, From: "ANZ-100", To: []wire.UserID{"ANZ-7"}, Frame: []byte("a, over a link"), Via: "domain-02/0", Place: 1, Low: 1})
		for range 2 {
			done := make(chan error, 1)
			f.Forward("0", list, func(_ uint64, err error) { done <- err })
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		f.open("ANZ-7", true).want("a, over a link", `"b"`)
	})
}

// An archive has what came over roads, so that what comes again to a cluster, of which
// every keeper has some of the receivers, is not taken a second time.
func TestWhatCameOverRoadsIsCopiedWithALog(t *testing.T) {
	old, logs := newMemLog(), [2]*memLog{newMemLog(), newMemLog()}
	over := func(f *fixture, place uint64, to ...wire.UserID) *mailbox.Message {
		m := &mailbox.Message{ID: wire.ID{byte(place)}, From: "ANZ-77", To: to, Group: true, Frame: fmt.Append(nil, place), Via: "domain-02/0", Place: place, Low: 2}
		f.Accept(m)
		synctest.Wait()
		return m
	}
	inBubble(t, old, nil, func(f *fixture) {
		for place := range uint64(5) {
			over(f, place+1, "ANZ-2", "ANZ-3")
		}
		for _, user := range []wire.UserID{"ANZ-2", "ANZ-3"} {
			d := f.open(user, true)
			synctest.Wait()
			d.prove()
			d.wantSettled(5)
			f.Close(d.id)
		}
	})
	var lists [2]forwarding
	synctest.Test(t, func(t *testing.T) { _, lists, _ = archive(t, old) })
	for shard, log := range logs {
		inBubble(t, log, shardOptions(shard), func(f *fixture) { f.take(lists[shard]) })
		inBubble(t, log, shardOptions(shard), func(f *fixture) {
			user := wire.UserID(fmt.Sprint("ANZ-", 2+shard))
			for place := range uint64(7) {
				if m := over(f, place+1, user); m.Repeated != (place >= 1 && place < 5) {
					t.Errorf("place %d comes again to shard %d: %t", place+1, shard, m.Repeated)
				}
			}
			f.open(user, true).want("1", "6", "7")
		})
	}
}
