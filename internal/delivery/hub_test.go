package delivery

import (
	"cmp"
	"crypto/rand"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// keeper records what it is asked to keep.
type keeper struct {
	mu       sync.Mutex
	accepted []string
	requests []request
	confirms []string
}

// request is one call of AcceptAll.
type request struct {
	list   []*Send
	frames [][]byte
	once   *Once
}

func (k *keeper) Accept(s *Send, frame []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.accepted = append(k.accepted, fmt.Sprintf("%v %s", s.To, frame))
}

func (k *keeper) AcceptAll(list []*Send, frames [][]byte, once *Once) {
	k.mu.Lock()
	k.requests = append(k.requests, request{list, frames, once})
	k.mu.Unlock()
	for i, s := range list {
		k.Accept(s, frames[i])
	}
}

func (k *keeper) Confirm(sender, receiver wire.UserID, reference []byte) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.confirms = append(k.confirms, fmt.Sprintf("%s %s %s", sender, receiver, reference))
}

// access knows the apps A and B; A may reach B; A-0 is a master user.
type access struct{}

func (access) Known(app string) bool          { return app == "A" || app == "B" }
func (access) MayReach(from, to string) bool  { return from == "A" && to == "B" }
func (access) IsMaster(user wire.UserID) bool { return user == "A-0" }

// receiver is a session that keeps what it gets.
type receiver struct {
	id   wire.ID
	user wire.UserID
	full bool

	transport string // empty: websocket
	address   string // empty: some

	away    time.Duration // since when; 0: it is there
	back    bool          // it comes back before it can be ended
	gaveWay bool

	mu     sync.Mutex
	frames []string
	proofs []func()
	kicks  []uint16
	writes int
	told   []string // of users it watches
}

func newReceiver(t testing.TB, user wire.UserID) *receiver {
	t.Helper()
	id, err := wire.NewID(time.Unix(1, 0), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return &receiver{id: id, user: user}
}

func (r *receiver) ID() wire.ID       { return r.id }
func (r *receiver) User() wire.UserID { return r.user }
func (r *receiver) Address() string   { return cmp.Or(r.address, "192.0.2.1:"+string(r.user)) }
func (r *receiver) Transport() string { return cmp.Or(r.transport, "websocket") }
func (r *receiver) Fast(frame []byte, proof func()) bool {
	if r.full {
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.frames = append(r.frames, string(frame))
	if proof != nil {
		r.proofs = append(r.proofs, proof)
	}
	return true
}
func (r *receiver) Queue(frame []byte, proof func()) bool { return r.Fast(frame, proof) }
func (r *receiver) Write()                                { r.writes++ }
func (r *receiver) Kick(code uint16, _ string)            { r.kicks = append(r.kicks, code) }

func (r *receiver) Presence(user wire.UserID, online bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprint(user, map[bool]string{true: " comes", false: " goes"}[online]))
}

func (r *receiver) Away() (time.Duration, bool) { return r.away, r.away > 0 }
func (r *receiver) GiveWay() bool {
	r.gaveWay = !r.back
	return r.gaveWay
}

// origin records what its sender hears.
type origin struct{ failures []string }

func (o *origin) Stored(wire.ID, []byte) {}
func (o *origin) Failed(e *wire.Error, reference []byte) {
	o.failures = append(o.failures, fmt.Sprintf("%s %s %v %s", e.Kind, e.Code, e.To, reference))
}

func newHub(k *keeper) *Hub {
	return New(Options{Keeper: k, Access: access{}, Sessions: func() int { return 3 }, Group: func() int { return 4 }})
}

func add(t *testing.T, h *Hub, user wire.UserID) *receiver {
	t.Helper()
	r := newReceiver(t, user)
	if _, err := h.Add(r, nil); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestFastReachesEverySessionInOrder(t *testing.T) {
	k := &keeper{}
	h := newHub(k)
	a, b := add(t, h, "A-1"), add(t, h, "A-1")
	for i := range 3 {
		h.Send(&Send{From: "A-2", To: []wire.UserID{"A-1"}, Content: fmt.Append(nil, i), Fast: true})
	}
	want := []string{
		`{"type":"MESSAGE","data":{"from":"A-2","content":0}}`,
		`{"type":"MESSAGE","data":{"from":"A-2","content":1}}`,
		`{"type":"MESSAGE","data":{"from":"A-2","content":2}}`,
	}
	if !slices.Equal(a.frames, want) || !slices.Equal(b.frames, want) {
		t.Fatalf("got %v and %v", a.frames, b.frames)
	}
	if len(k.accepted) > 0 {
		t.Fatalf("FAST messages were kept: %v", k.accepted)
	}
}

func TestFastIsConfirmedOnceByTheFirstProof(t *testing.T) {
	k := &keeper{}
	h := newHub(k)
	a, b := add(t, h, "A-1"), add(t, h, "A-1")
	h.Send(&Send{From: "A-2", To: []wire.UserID{"A-1"}, Content: []byte("1"), Reference: []byte(`"r"`), Fast: true, Confirm: true})
	if len(k.confirms) > 0 {
		t.Fatal("confirmed before a proof")
	}
	b.proofs[0]()
	a.proofs[0]()
	if want := []string{`A-2 A-1 "r"`}; !slices.Equal(k.confirms, want) {
		t.Fatalf("got %v, want %v", k.confirms, want)
	}
	h.Send(&Send{From: "A-2", To: []wire.UserID{"A-1"}, Content: []byte("1"), Reference: []byte(`"r"`), Fast: true, Confirm: true, Group: true})
	h.Send(&Send{From: "A-2", To: []wire.UserID{"A-1"}, Content: []byte("1"), Reference: []byte(`"r"`), Fast: true})
	h.Send(&Send{From: "A-2", To: []wire.UserID{"A-1"}, Content: []byte("1"), Fast: true, Confirm: true})
	if len(a.proofs) != 1 {
		t.Fatal("a group message, one without confirmation or one without reference asked for a proof")
	}
}

func TestFastToAMasterUserGoesToOneSessionPerSender(t *testing.T) {
	h := newHub(&keeper{})
	list := []*receiver{add(t, h, "A-0"), add(t, h, "A-0"), add(t, h, "A-0")}
	for sender := range 60 {
		for range 2 {
			h.Send(&Send{From: wire.UserID(fmt.Sprint("A-", sender+1)), To: []wire.UserID{"A-0"}, Content: []byte("0"), Fast: true})
		}
	}
	total := 0
	for i, r := range list {
		if len(r.frames) == 0 || len(r.frames)%2 != 0 {
			t.Errorf("session %d got %d frames: senders are not shared out, or split", i, len(r.frames))
		}
		total += len(r.frames)
	}
	if total != 120 {
		t.Errorf("%d frames arrived, want 120", total)
	}
}

func TestReceiversOutOfReachAreToldAndTheRestGoesOn(t *testing.T) {
	k := &keeper{}
	h := newHub(k)
	o := &origin{}
	done := 0
	h.Send(&Send{
		From: "A-2", To: []wire.UserID{"X-1", "A-1", "B-1"}, Group: true, Content: []byte("1"), Reference: []byte(`"r"`),
		Origin: o, Done: func() { done++ },
	})
	if want := []string{`DELIVER_FAILED UNKNOWN_APP [X-1] "r"`}; !slices.Equal(o.failures, want) {
		t.Fatalf("got %v, want %v", o.failures, want)
	}
	if len(k.accepted) != 1 || !strings.HasPrefix(k.accepted[0], "[A-1 B-1] ") || done != 0 {
		t.Fatalf("kept %v, done %d times", k.accepted, done)
	}
	h.Send(&Send{From: "B-2", To: []wire.UserID{"A-1"}, Content: []byte("1"), Origin: o, Done: func() { done++ }})
	if last := o.failures[len(o.failures)-1]; last != "GENERAL_ERROR FORBIDDEN [A-1] " || done != 1 || len(k.accepted) != 1 {
		t.Fatalf("got %q, done %d times, kept %v", last, done, k.accepted)
	}
}

// An app that was taken out of the settings lives on in nobody's mailbox.
func TestUsersOfAnAppThatIsGoneReachNobody(t *testing.T) {
	k := &keeper{}
	h := newHub(k)
	gone := add(t, h, "GONE-1")
	o := &origin{}
	for _, fast := range []bool{true, false} {
		h.Send(&Send{From: "GONE-2", To: []wire.UserID{"GONE-1"}, Content: []byte("1"), Fast: fast, Origin: o})
	}
	if want := "DELIVER_FAILED UNKNOWN_APP [GONE-1] "; len(o.failures) != 2 || o.failures[0] != want || o.failures[1] != want {
		t.Errorf("got %v", o.failures)
	}
	if len(gone.frames)+len(k.accepted) > 0 {
		t.Errorf("delivered %v, kept %v", gone.frames, k.accepted)
	}
}

func TestReliableOwnsItsBytes(t *testing.T) {
	k := &keeper{}
	h := newHub(k)
	buf := []byte(`"hello""ref"`)
	h.Send(&Send{From: "A-2", To: []wire.UserID{"A-1"}, Content: buf[:7], Reference: buf[7:]})
	clear(buf)
	if want := `[A-1] {"type":"MESSAGE","data":{"from":"A-2","content":"hello"},"reference":"ref"}`; k.accepted[0] != want {
		t.Fatalf("got %s", k.accepted[0])
	}
}

func TestSessionsOfOneUserAreLimited(t *testing.T) {
	h := newHub(&keeper{})
	first := add(t, h, "A-1")
	add(t, h, "A-1")
	add(t, h, "A-1")
	extra := newReceiver(t, "A-1")
	if _, err := h.Add(extra, nil); err == nil || !strings.Contains(err.Error(), wire.CodeTooMany) || !strings.Contains(err.Error(), "A-1 has 3 sessions already") {
		t.Fatalf("a fourth session was answered with %v", err)
	}
	one := New(Options{Keeper: &keeper{}, Sessions: func() int { return 1 }})
	add(t, one, "A-1")
	if _, err := one.Add(extra, nil); err == nil || !strings.Contains(err.Error(), "A-1 has 1 session already") {
		t.Errorf("a second session was answered with %v", err)
	}
	h.Remove(extra) // not there: nothing happens
	h.Remove(first)
	if _, err := h.Add(extra, nil); err != nil {
		t.Fatal(err)
	}
}

// Those whose clients are away make room, the longest away first; one that comes
// back just then stays.
func TestSessionsWhoseClientsAreAwayMakeRoom(t *testing.T) {
	h := newHub(&keeper{})
	later, there, longest := add(t, h, "A-1"), add(t, h, "A-1"), add(t, h, "A-1")
	later.away, longest.away = 2*time.Second, time.Second
	other := add(t, h, "A-2")
	other.away = time.Millisecond

	add(t, h, "A-1")
	if !longest.gaveWay || later.gaveWay || other.gaveWay || there.gaveWay {
		t.Errorf("longest away %t, later %t, another user's %t, one that is there %t", longest.gaveWay, later.gaveWay, other.gaveWay, there.gaveWay)
	}
	later.back = true
	if _, err := h.Add(newReceiver(t, "A-1"), nil); err == nil {
		t.Error("there was room")
	}
	later.back = false
	extra := add(t, h, "A-1")
	if got := h.Sessions("A-1"); !later.gaveWay || len(got) != 3 || !slices.ContainsFunc(got, func(s Session) bool { return s.ID == extra.id }) {
		t.Errorf("%t, %v", later.gaveWay, got)
	}
}

func TestKickReachesAllSessionsOfTheUser(t *testing.T) {
	h := newHub(&keeper{})
	a, b, other := add(t, h, "A-1"), add(t, h, "A-1"), add(t, h, "A-2")
	if n := h.Kick("A-1", 4003, "closed"); n != 2 || len(a.kicks) != 1 || len(b.kicks) != 1 || len(other.kicks) != 0 {
		t.Fatalf("kicked %d: %v %v %v", n, a.kicks, b.kicks, other.kicks)
	}
	if n := h.Kick("A-9", 4003, "closed"); n != 0 {
		t.Fatalf("kicked %d of nobody", n)
	}
}

func TestRosterUnderConcurrentUse(t *testing.T) {
	h := newHub(&keeper{})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			user := wire.UserID(fmt.Sprint("A-", i%4))
			for range 200 {
				r := newReceiver(t, user)
				if _, err := h.Add(r, nil); err == nil {
					h.Send(&Send{From: "A-9", To: []wire.UserID{user}, Content: []byte("1"), Fast: true})
					h.Remove(r)
				}
			}
		})
	}
	wg.Wait()
	for i := range 4 {
		if n := len(h.roster.of(wire.UserID(fmt.Sprint("A-", i))).here); n != 0 {
			t.Errorf("%d sessions of user %d are left", n, i)
		}
	}
}

func BenchmarkSendFast(b *testing.B) {
	h := newHub(&keeper{})
	r := &sink{receiver: newReceiver(b, "A-1")}
	if _, err := h.Add(r, nil); err != nil {
		b.Fatal(err)
	}
	content := []byte(`"` + strings.Repeat("x", 1000) + `"`)
	b.ReportAllocs()
	for b.Loop() {
		h.Send(&Send{From: "A-1", To: []wire.UserID{"A-1"}, Content: content, Fast: true})
	}
}

type sink struct{ *receiver }

func (sink) Fast([]byte, func()) bool  { return true }
func (sink) Queue([]byte, func()) bool { return true }
