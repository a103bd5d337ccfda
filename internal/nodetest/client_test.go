package nodetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// The Go client against the real binary. What it does when a server does not
// keep to the protocol is tested in its own package.

// fellow is a client whose handlers put what they are told into channels.
type fellow struct {
	*client.Client
	t         *testing.T
	messages  chan client.Message
	confirmed chan string
	stored    chan string
	presence  chan string // "ANZ-1 comes", "ANZ-1 goes"
	errors    chan *wire.Error
	states    chan stateChange
}

type stateChange struct {
	state client.State
	why   error
}

// told is how much may be put into a fellow's channels.
const told = 10_000

func newFellow(t *testing.T) *fellow {
	return &fellow{
		t: t, messages: make(chan client.Message, told), confirmed: make(chan string, told), stored: make(chan string, told),
		presence: make(chan string, told), errors: make(chan *wire.Error, told), states: make(chan stateChange, told),
	}
}

// options are those of a user of the demo app, with the fellow's handlers.
func (f *fellow) options(s *Server, user wire.UserID) client.Options {
	return client.Options{
		URL: "ws://" + s.Addr + "/ws", AppID: "app-id-343", UserID: user,
		OnMessage: func(_ context.Context, m client.Message) error {
			f.messages <- m
			return nil
		},
		OnConfirmation: func(reference string) { f.confirmed <- reference },
		OnStored:       func(reference string) { f.stored <- reference },
		OnPresence: func(user wire.UserID, online bool) {
			f.presence <- fmt.Sprint(user, map[bool]string{true: " comes", false: " goes"}[online])
		},
		OnError:  func(e *wire.Error, _ string) { f.errors <- e },
		OnState:  func(state client.State, why error) { f.states <- stateChange{state, why} },
		Backoff:  client.Backoff{Min: 20 * time.Millisecond, Max: 200 * time.Millisecond},
		Compress: true,
	}
}

// dialFellow connects one; change, unless nil, changes its options.
func dialFellow(t *testing.T, s *Server, user wire.UserID, change func(*fellow, *client.Options)) *fellow {
	t.Helper()
	f := newFellow(t)
	o := f.options(s, user)
	if change != nil {
		change(f, &o)
	}
	var err error
	if f.Client, err = client.Dial(inTime(t), o); err != nil {
		t.Fatalf("dial: %v\n%s", err, s.Output())
	}
	t.Cleanup(f.Close)
	if got := awaitOne(t, "the state after Dial", f.states); got.state != client.Connected {
		t.Fatalf("state %v, %v", got.state, got.why)
	}
	return f
}

// inTime is a context that ends when the test has waited too long.
func inTime(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	t.Cleanup(cancel)
	return ctx
}

// awaitOne takes the next value of a channel.
func awaitOne[T any](t *testing.T, what string, from <-chan T) T {
	t.Helper()
	select {
	case v := <-from:
		return v
	case <-time.After(Patience):
		t.Fatalf("did not come: %s", what)
		panic("unreachable")
	}
}

// post sends a message to somebody, or fails the test.
func (f *fellow) post(to wire.UserID, content any, options ...client.SendOption) {
	f.t.Helper()
	if err := f.Send(inTime(f.t), to, content, options...); err != nil {
		f.t.Fatalf("send: %v", err)
	}
}

func (f *fellow) wantMessage(from wire.UserID, content, reference string) client.Message {
	f.t.Helper()
	m := awaitOne(f.t, "message "+content, f.messages)
	if m.From != from || string(m.Content) != content || m.Reference != reference {
		f.t.Fatalf("got %s %s %q, want %s %s %q", m.From, m.Content, m.Reference, from, content, reference)
	}
	return m
}

func (f *fellow) wantState(want client.State) error {
	f.t.Helper()
	got := awaitOne(f.t, "state "+want.String(), f.states)
	if got.state != want {
		f.t.Fatalf("state %v, %v; want %v", got.state, got.why, want)
	}
	return got.why
}

// quiet fails if anything was told that nobody looked at.
func (f *fellow) quiet() {
	f.t.Helper()
	if n := len(f.messages) + len(f.confirmed) + len(f.stored) + len(f.presence) + len(f.errors) + len(f.states); n > 0 {
		f.t.Errorf("%d things were told beyond those expected: %d messages, %d confirmations, %d receipts, %d presence, %d errors, %d states",
			n, len(f.messages), len(f.confirmed), len(f.stored), len(f.presence), len(f.errors), len(f.states))
	}
}

func TestClientsTalk(t *testing.T) {
	t.Parallel()
	s := Start(t)
	for _, c := range []struct {
		name   string
		change func(*fellow, *client.Options)
	}{
		{"plain", nil},
		{"ack", func(_ *fellow, o *client.Options) { o.Ack = true }},
		{"all", func(_ *fellow, o *client.Options) { o.Ack, o.Push = true, true }},
	} {
		t.Run(c.name, func(t *testing.T) {
			ann := dialFellow(t, s, "ANZ-1", func(_ *fellow, o *client.Options) { o.Receipts = true })
			bob, cid := dialFellow(t, s, "ANZ-2", c.change), dialFellow(t, s, "ANZ-3", c.change)

			ann.post("ANZ-2", json.RawMessage(`{ "a" : [1, 2.50, "\u00e9\/"],"b":null }`), client.WithReference("r\x00\"1"))
			m := bob.wantMessage("ANZ-1", `{ "a" : [1, 2.50, "\u00e9\/"],"b":null }`, "r\x00\"1")
			if m.ID.IsZero() == (c.name != "plain") {
				t.Errorf("the message has the ID %s", m.ID)
			}
			if got := awaitOne(t, "receipt", ann.stored) + awaitOne(t, "confirmation", ann.confirmed); got != "r\x00\"1r\x00\"1" {
				t.Errorf("told of %q", got)
			}
			ann.post("ANZ-2", "no confirmation", client.WithReference("r2"), client.NoConfirmation())
			bob.wantMessage("ANZ-1", `"no confirmation"`, "r2")
			awaitOne(t, "receipt", ann.stored)

			if err := ann.SendGroup(inTime(t), []wire.UserID{"ANZ-2", "ANZ-3", "ANZ-2"}, "all", client.WithReference("g")); err != nil {
				t.Fatal(err)
			}
			bob.wantMessage("ANZ-1", `"all"`, "g")
			cid.wantMessage("ANZ-1", `"all"`, "g")
			awaitOne(t, "receipt of the group message", ann.stored)

			ann.post("ANZ-2", 42, client.Fast(), client.WithReference("f"))
			if m := bob.wantMessage("ANZ-1", `42`, "f"); !m.ID.IsZero() {
				t.Errorf("a FAST message has the ID %s", m.ID)
			}
			if got := awaitOne(t, "confirmation of a FAST message", ann.confirmed); got != "f" {
				t.Errorf("confirmed %q", got)
			}
			large := strings.Repeat("long ", 10_000)
			if err := ann.SendAndWait(inTime(t), "ANZ-2", large); err != nil {
				t.Fatal(err)
			}
			if m := awaitOne(t, "the large message", bob.messages); m.Reference == "" || string(m.Content) != `"`+large+`"` {
				t.Errorf("the large message came with %d bytes and the reference %q", len(m.Content), m.Reference)
			}
			awaitOne(t, "receipt of the large message", ann.stored)
			for _, f := range []*fellow{ann, bob, cid} {
				f.Close()
				f.wantState(client.Closed)
				f.quiet()
			}
		})
	}
}

func TestAClientWatchesOthers(t *testing.T) {
	t.Parallel()
	s := Start(t)
	bob := dialFellow(t, s, "ANZ-2", nil)
	ann := dialFellow(t, s, "ANZ-1", func(_ *fellow, o *client.Options) { o.Presence = []wire.UserID{"ANZ-2", "ANZ-3"} })
	wantPresence := func(want string) {
		t.Helper()
		if got := awaitOne(t, want, ann.presence); got != want {
			t.Errorf("told %q, want %q", got, want)
		}
	}
	wantPresence("ANZ-2 comes")
	cid := dialFellow(t, s, "ANZ-3", nil)
	wantPresence("ANZ-3 comes")
	bob.Close()
	wantPresence("ANZ-2 goes")
	cid.Close()
	wantPresence("ANZ-3 goes")
	ann.quiet()
}

func TestAClientFetchesWhatItMissed(t *testing.T) {
	t.Parallel()
	s := Start(t)
	ann := dialFellow(t, s, "ANZ-1", func(_ *fellow, o *client.Options) { o.Receipts = true })
	for i := range 25 {
		ann.post("ANZ-2", i, client.WithReference(fmt.Sprint(i)))
	}
	for range 25 {
		awaitOne(t, "receipt", ann.stored)
	}
	bob := dialFellow(t, s, "ANZ-2", func(_ *fellow, o *client.Options) { o.Ack = true })
	next := 0
	for _, left := range []int{15, 5, 0, 0} {
		got, err := bob.FetchMissing(inTime(t), 10)
		if err != nil || got != left {
			t.Fatalf("%d left, %v; want %d", got, err, left)
		}
		for range len(bob.messages) { // FetchMissing has waited for their handlers
			bob.wantMessage("ANZ-1", fmt.Sprint(next), fmt.Sprint(next))
			next++
		}
	}
	if next != 25 {
		t.Errorf("%d messages were fetched", next)
	}
	for i := range 25 {
		if got := awaitOne(t, "confirmation", ann.confirmed); got != fmt.Sprint(i) {
			t.Errorf("confirmed %q, want %d", got, i)
		}
	}
	bob.quiet()
}

func TestErrorsComeAsTheyAre(t *testing.T) {
	t.Parallel()
	s := startWith(t, codesOfTwoApps+"limits: {mailboxMessages: 1, groupReceivers: 3}\n")
	ann := dialFellow(t, s, "ANZ-1", func(_ *fellow, o *client.Options) { o.Receipts = true })
	wantError := func(e *wire.Error, kind, code string, to ...wire.UserID) {
		t.Helper()
		if e.Kind != kind || e.Code != code || e.Reason == "" || fmt.Sprint(e.To) != fmt.Sprint(to) || e.MayYetArrive {
			t.Errorf("got %+v, want %s %s %v", e, kind, code, to)
		}
	}
	var e *wire.Error
	if err := ann.SendAndWait(inTime(t), "XYZ-1", 1); !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	wantError(e, wire.KindDeliverFailed, wire.CodeUnknownApp, "XYZ-1")
	if err := ann.SendAndWait(inTime(t), "SHOP-1", 1); !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	wantError(e, wire.KindGeneralError, wire.CodeForbidden, "SHOP-1")

	ann.post("ANZ-2", 1, client.WithReference("first"))
	awaitOne(t, "receipt", ann.stored)
	ann.post("ANZ-2", 2, client.WithReference("second"))
	wantError(awaitOne(t, "an error", ann.errors), wire.KindDeliverFailed, wire.CodeMailboxFull, "ANZ-2")
	if err := ann.SendGroup(inTime(t), []wire.UserID{"ANZ-2", "XYZ-1", "ANZ-1"}, 3); err != nil {
		t.Fatal(err)
	}
	wantError(awaitOne(t, "an error", ann.errors), wire.KindDeliverFailed, wire.CodeUnknownApp, "XYZ-1")
	e = awaitOne(t, "an error", ann.errors)
	wantError(e, wire.KindDeliverFailed, wire.CodeMailboxFull, "ANZ-2")
	if !e.Group {
		t.Errorf("%+v is of a group message", e)
	}
	ann.wantMessage("ANZ-1", `3`, "")
	if err := ann.SendGroup(inTime(t), []wire.UserID{"ANZ-2", "ANZ-3", "ANZ-4", "ANZ-5"}, 4); err != nil {
		t.Fatal(err)
	}
	wantError(awaitOne(t, "an error", ann.errors), wire.KindInvalidMessage, wire.CodeTooManyReceivers)
	if err := ann.CloseConnection(inTime(t), "ANZ-2"); err != nil {
		t.Fatal(err)
	}
	wantError(awaitOne(t, "an error", ann.errors), wire.KindGeneralError, wire.CodeForbidden)
	ann.quiet()

	o := newFellow(t).options(s, "ANZ-5")
	o.AppID = "wrong"
	if _, err := client.Dial(inTime(t), o); !errors.As(err, &e) {
		t.Fatalf("got %v", err)
	}
	wantError(e, wire.KindAuthReply, wire.CodeWrongAppID)
}

// codesOfTwoApps are two apps that may not reach each other; ANZ-100 is a master
// user.
const codesOfTwoApps = `
apps:
  - {appName: ANZ, appId: app-id-343, masterUserId: ANZ-100, authEnabled: false}
  - {appName: SHOP, appId: shop-id, authEnabled: false}
`

func TestWhoIsClosedByTheMasterStaysAway(t *testing.T) {
	t.Parallel()
	s := startWith(t, codesOfTwoApps)
	master, bob := dialFellow(t, s, "ANZ-100", nil), dialFellow(t, s, "ANZ-2", nil)
	if err := master.CloseConnection(inTime(t), "ANZ-2"); err != nil {
		t.Fatal(err)
	}
	awaitOne(t, "the end of the client", bob.Done())
	var closed *client.CloseError
	if !errors.As(bob.Err(), &closed) || closed.Code != wire.CloseByMaster {
		t.Errorf("closed for %v", bob.Err())
	}
	if err := bob.Send(inTime(t), "ANZ-1", 1); !errors.Is(err, client.ErrClosed) {
		t.Errorf("sending then: %v", err)
	}
}
