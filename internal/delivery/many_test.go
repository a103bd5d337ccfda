package delivery

import (
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
