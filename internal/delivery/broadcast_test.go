package delivery

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// storing is a keeper that stores what it gets, as the test says.
type storing struct {
	keeper
	outcome func(s *Send, once *Once) *wire.Error // nil: stored
	silent  bool                                  // nobody hears of anything
}

func (k *storing) AcceptAll(list []*Send, frames [][]byte, once *Once) {
	k.keeper.AcceptAll(list, frames, once)
	for _, s := range list {
		if k.silent {
			return
		}
		var e *wire.Error
		if k.outcome != nil {
			e = k.outcome(s, once)
		}
		if e != nil {
			s.Origin.Failed(e, s.Reference)
		}
		if e == nil || len(e.To) < len(s.To) {
			s.Origin.Stored(wire.ID{}, s.Reference)
		}
		s.Done()
	}
}

// crowd is a hub with nine users of app A, one of whom has two sessions.
func crowd(t *testing.T, k Keeper) (*Hub, []*receiver) {
	h := New(Options{Keeper: k, Access: access{}, Sessions: func() int { return 3 }, Group: func() int { return 4 }})
	var list []*receiver
	for i := range 9 {
		list = append(list, add(t, h, wire.UserID(fmt.Sprint("A-", i))))
	}
	return h, append(list, add(t, h, "A-3"))
}

func TestAFastBroadcastReachesEverySessionOfTheApp(t *testing.T) {
	h, list := crowd(t, &keeper{})
	other := add(t, h, "B-1")
	list[5].full = true
	r, err := h.Broadcast(t.Context(), &Send{From: "A-0", Content: []byte("1"), Fast: true}, nil)
	if err != nil || r != (Reached{Receivers: 9, Sessions: 9}) {
		t.Errorf("reached %+v, %v", r, err)
	}
	for _, x := range list {
		switch {
		case x.full:
		case len(x.frames) != 1 || x.frames[0] != `{"type":"MESSAGE","data":{"from":"A-0","content":1}}` || x.writes != 1:
			t.Errorf("%s got %v in %d writes", x.user, x.frames, x.writes)
		}
	}
	if len(other.frames) > 0 {
		t.Errorf("another app's user got %v", other.frames)
	}
}

func TestAReliableBroadcastIsKeptInRecordsOfManyReceivers(t *testing.T) {
	k := &storing{}
	h, _ := crowd(t, k)
	once := &Once{Key: [16]byte{1}, Print: 7, Count: 1}
	r, err := h.Broadcast(t.Context(), &Send{From: "A-0", Content: []byte("2"), Reference: []byte(`"r"`)}, once)
	if err != nil || r != (Reached{Receivers: 9}) {
		t.Fatalf("reached %+v, %v", r, err)
	}
	const frame = ` {"type":"MESSAGE","data":{"from":"A-0","content":2},"reference":"r"}`
	want := []string{"[A-0 A-1 A-2 A-3]" + frame, "[A-4 A-5 A-6 A-7]" + frame, "[A-8]" + frame}
	if !slices.Equal(k.accepted, want) {
		t.Errorf("kept %v", k.accepted)
	}
	keys := make(map[[16]byte]bool)
	for _, x := range k.requests {
		keys[x.once.Key] = true
		if !x.list[0].Group || x.once.Print != 7 || x.once.Count != 1 {
			t.Errorf("a part is %+v, %+v", x.list[0], x.once)
		}
	}
	if len(keys) != 3 {
		t.Errorf("three parts have %d keys", len(keys))
	}
}

// Full mailboxes do not stop the rest, a store that takes nothing does.
func TestABroadcastTellsWhoDoesNotGetIt(t *testing.T) {
	k := &storing{}
	h, _ := crowd(t, k)
	k.outcome = func(s *Send, _ *Once) *wire.Error {
		switch s.To[0] {
		case "A-0":
			return &wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeMailboxFull, To: s.To[1:2]}
		case "A-4":
			return &wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeStoreFull, To: s.To}
		}
		return nil
	}
	o := &origin{}
	r, err := h.Broadcast(t.Context(), &Send{From: "A-0", Content: []byte("2"), Origin: o}, nil)
	if err != nil || r != (Reached{Receivers: 3}) {
		t.Errorf("reached %+v, %v", r, err)
	}
	want := []string{"DELIVER_FAILED MAILBOX_FULL [A-1] ", "DELIVER_FAILED STORE_FULL [A-4 A-5 A-6 A-7 A-8] "}
	if !slices.Equal(o.failures, want) || len(k.requests) != 2 {
		t.Errorf("refused %v in %d parts", o.failures, len(k.requests))
	}
}

// Between two attempts users come and go, so that the parts are others. Nobody
// gets the message twice.
func TestABroadcastThatIsRepeatedReachesNobodyAgain(t *testing.T) {
	k := &storing{}
	known := make(map[[16]byte]bool)
	k.outcome = func(s *Send, once *Once) *wire.Error {
		s.Repeated = known[once.Key]
		known[once.Key] = true
		return nil
	}
	h, list := crowd(t, k)
	once := &Once{Key: [16]byte{1}, Count: 1}
	send := func() *Send { return &Send{From: "A-0", Content: []byte("2")} }
	if r, err := h.Broadcast(t.Context(), send(), once); err != nil || r.Receivers != 9 || r.Repeated {
		t.Fatalf("reached %+v, %v", r, err)
	}
	h.Remove(list[0])
	before := len(k.requests)
	if r, err := h.Broadcast(t.Context(), send(), once); err != nil || r != (Reached{Repeated: true}) || len(k.requests) != before+1 {
		t.Errorf("repeated, it reached %+v, %v", r, err)
	}
	if r, err := h.Broadcast(t.Context(), send(), &Once{Key: [16]byte{2}, Count: 1}); err != nil || r.Receivers != 8 {
		t.Errorf("another one reached %+v, %v", r, err)
	}
}

func TestABroadcastWaitsNoLongerThanItMay(t *testing.T) {
	h, _ := crowd(t, &storing{silent: true})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := h.Broadcast(ctx, &Send{From: "A-0", Content: []byte("2")}, nil); !errors.Is(err, context.Canceled) {
		t.Errorf("it ended with %v", err)
	}
}

func TestABroadcastToNobodyIsDoneAtOnce(t *testing.T) {
	k := &keeper{}
	h := newHub(k)
	o := &origin{}
	for _, s := range []*Send{{From: "A-0"}, {From: "A-0", Fast: true}, {From: "GONE-1"}} {
		s.Content, s.Origin = []byte("1"), o
		if r, err := h.Broadcast(t.Context(), s, nil); err != nil || r != (Reached{}) {
			t.Errorf("reached %+v, %v", r, err)
		}
	}
	if len(k.requests) > 0 || !slices.Equal(o.failures, []string{"DELIVER_FAILED UNKNOWN_APP [GONE-1] "}) {
		t.Errorf("kept %v, refused %v", k.requests, o.failures)
	}
}
