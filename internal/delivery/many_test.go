package delivery

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestARequestOfManyKeepsItsOrderAndGoesToTheKeeperInOne(t *testing.T) {
	k := &keeper{}
	h := newHub(k)
	a := add(t, h, "A-1")
	o := &origin{}
	done := make([]int, 6)
	buf := []byte(`0123"r"`)
	message := func(i int, to wire.UserID, fast bool) *Send {
		return &Send{
			From: "A-2", To: []wire.UserID{to}, Content: buf[i%4 : i%4+1], Reference: buf[4:], Fast: fast,
			Index: i, Origin: o, Done: func() { done[i]++ },
		}
	}
	list := []*Send{
		message(0, "A-1", true), message(1, "A-1", false), message(2, "X-1", false),
		message(3, "B-1", false), message(4, "A-1", true), message(5, "A-9", true),
	}
	all := slices.Clone(list)
	once := &Once{Count: 6}
	h.SendAll(list, once)
	clear(buf)
	want := []string{
		`{"type":"MESSAGE","data":{"from":"A-2","content":0},"reference":"r"}`,
		`{"type":"MESSAGE","data":{"from":"A-2","content":0},"reference":"r"}`,
	}
	if !slices.Equal(a.frames, want) || a.writes != 1 {
		t.Errorf("FAST brought %v in %d writes", a.frames, a.writes)
	}
	if all[0].Sessions != 1 || all[5].Sessions != 0 {
		t.Errorf("queued on %d sessions and on %d", all[0].Sessions, all[5].Sessions)
	}
	if len(k.requests) != 1 || k.requests[0].once != once {
		t.Fatalf("the keeper got %d requests", len(k.requests))
	}
	wantKept := []string{
		`[A-1] {"type":"MESSAGE","data":{"from":"A-2","content":1},"reference":"r"}`,
		`[B-1] {"type":"MESSAGE","data":{"from":"A-2","content":3},"reference":"r"}`,
	}
	r := k.requests[0]
	if !slices.Equal(k.accepted, wantKept) || r.list[0].Index != 1 || r.list[1].Index != 3 || string(r.list[1].Reference) != `"r"` {
		t.Errorf("kept %v", k.accepted)
	}
	if want := []string{`DELIVER_FAILED UNKNOWN_APP [X-1] "r"`}; !slices.Equal(o.failures, want) {
		t.Errorf("refused %v, want %v", o.failures, want)
	}
	if !slices.Equal(done, []int{1, 0, 1, 0, 1, 1}) {
		t.Errorf("done %v times", done)
	}
	for i := range r.frames {
		_ = append(r.frames[i], "over the edge"...)
	}
	if got := string(r.frames[1]); !strings.HasPrefix(got, `{"type":"MESSAGE"`) {
		t.Errorf("one frame can write over the next: %s", got)
	}
}

func TestARequestWithNothingToKeepDoesNotReachTheKeeper(t *testing.T) {
	k := &keeper{}
	h := newHub(k)
	h.SendAll([]*Send{{From: "A-2", To: []wire.UserID{"A-1"}, Content: []byte("1"), Fast: true}}, nil)
	if len(k.requests) > 0 {
		t.Errorf("the keeper got %v", k.requests)
	}
}

func TestABroadcastReachesEveryConnectedUserOfTheApp(t *testing.T) {
	k := &keeper{}
	h := newHub(k)
	var list []*receiver
	for i := range 9 {
		list = append(list, add(t, h, wire.UserID(fmt.Sprint("A-", i))))
	}
	other := add(t, h, "B-1")
	again := add(t, h, "A-3")
	done := 0
	fast := &Send{From: "A-0", Content: []byte("1"), Fast: true, Done: func() { done++ }}
	if n := h.Broadcast(fast, nil); n != 9 || fast.Sessions != 10 || done != 1 {
		t.Errorf("FAST reached %d users on %d sessions, done %d times", n, fast.Sessions, done)
	}
	for _, r := range append(list, again) {
		if len(r.frames) != 1 || r.frames[0] != `{"type":"MESSAGE","data":{"from":"A-0","content":1}}` || r.writes != 1 {
			t.Errorf("%s got %v in %d writes", r.user, r.frames, r.writes)
		}
	}
	if len(other.frames) > 0 {
		t.Errorf("another app's user got %v", other.frames)
	}

	once := &Once{}
	n := h.Broadcast(&Send{From: "A-0", Content: []byte("2"), Reference: []byte(`"r"`), Done: func() { done++ }}, once)
	if n != 9 || len(k.requests) != 1 || k.requests[0].once != once {
		t.Fatalf("RELIABLE reached %d users in %d requests", n, len(k.requests))
	}
	const frame = ` {"type":"MESSAGE","data":{"from":"A-0","content":2},"reference":"r"}`
	want := []string{"[A-0 A-1 A-2 A-3]" + frame, "[A-4 A-5 A-6 A-7]" + frame, "[A-8]" + frame}
	if !slices.Equal(k.accepted, want) {
		t.Errorf("kept %v", k.accepted)
	}
	for i, s := range k.requests[0].list {
		if !s.Group || s.Index != i || string(s.Reference) != `"r"` {
			t.Errorf("part %d is %+v", i, s)
		}
		if done != 1 {
			t.Errorf("done before part %d", i)
		}
		s.Done()
	}
	if done != 2 {
		t.Errorf("done %d times", done)
	}
}

func TestABroadcastToNobodyIsDoneAtOnce(t *testing.T) {
	k := &keeper{}
	h := newHub(k)
	o := &origin{}
	done := 0
	for _, s := range []*Send{{From: "A-0"}, {From: "A-0", Fast: true}, {From: "GONE-1"}} {
		s.Content, s.Origin, s.Done = []byte("1"), o, func() { done++ }
		if n := h.Broadcast(s, nil); n != 0 {
			t.Errorf("reached %d users", n)
		}
	}
	if done != 3 || len(k.requests) > 0 || !slices.Equal(o.failures, []string{"DELIVER_FAILED UNKNOWN_APP [GONE-1] "}) {
		t.Errorf("done %d times, kept %v, refused %v", done, k.requests, o.failures)
	}
}
