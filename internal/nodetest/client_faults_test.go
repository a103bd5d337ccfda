package nodetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime/pprof"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// The Go client when handlers fail and the server is killed or stopped.

func TestAMessageWhoseHandlerFailsComesAgain(t *testing.T) {
	t.Parallel()
	s := Start(t)
	ann := dialFellow(t, s, "ANZ-1", nil)
	var tries atomic.Int32
	bob := dialFellow(t, s, "ANZ-2", func(f *fellow, o *client.Options) {
		o.Ack, o.Push = true, true
		o.OnMessage = func(_ context.Context, m client.Message) error {
			f.messages <- m
			if string(m.Content) == `"two"` && tries.Add(1) < 3 {
				return errors.New("not yet")
			}
			return nil
		}
	})
	for _, word := range []string{"one", "two", "three"} {
		ann.post("ANZ-2", word, client.WithReference(word))
	}
	bob.wantMessage("ANZ-1", `"one"`, "one")
	first := bob.wantMessage("ANZ-1", `"two"`, "two")
	for range 2 { // "three" is not handled before it, and "one" not again
		bob.wantState(client.Disconnected)
		bob.wantState(client.Connected)
		if m := bob.wantMessage("ANZ-1", `"two"`, "two"); m.ID != first.ID {
			t.Errorf("it came again as %s, and was %s", m.ID, first.ID)
		}
	}
	bob.wantMessage("ANZ-1", `"three"`, "three")
	for _, word := range []string{"one", "two", "three"} {
		if got := awaitOne(t, "confirmation", ann.confirmed); got != word {
			t.Errorf("confirmed %q, want %q", got, word)
		}
	}
	bob.quiet()
}

// A handler that takes longer than the server waits for an acknowledgement: the
// connection is lost, the message comes again, and is not handled again.
func TestAHandlerThatBlocksHandlesOnce(t *testing.T) {
	t.Parallel()
	s := Start(t, "--set", "limits.ackTimeout=1s")
	ann := dialFellow(t, s, "ANZ-1", nil)
	release := make(chan struct{})
	bob := dialFellow(t, s, "ANZ-2", func(f *fellow, o *client.Options) {
		o.Ack, o.Push = true, true
		o.OnMessage = func(_ context.Context, m client.Message) error {
			f.messages <- m
			<-release
			return nil
		}
	})
	ann.post("ANZ-2", "slow", client.WithReference("r"))
	bob.wantMessage("ANZ-1", `"slow"`, "r")
	var closed *client.CloseError
	if why := bob.wantState(client.Disconnected); !errors.As(why, &closed) || closed.Code != wire.CloseNotAcknowledged {
		t.Errorf("disconnected for %v", why)
	}
	bob.wantState(client.Connected)
	if n := len(ann.confirmed); n > 0 {
		t.Errorf("%d messages are confirmed that nobody has handled", n)
	}
	close(release)
	awaitOne(t, "the confirmation", ann.confirmed)
	if n := len(bob.messages); n > 0 {
		t.Errorf("%d messages were handled again", n)
	}
}

// What was handled, and not acknowledged when the server died, comes again under
// its ID and is not handled again.
func TestRepeatsAfterAKillAreNotHandledAgain(t *testing.T) {
	t.Parallel()
	const n = 50
	s := Start(t)
	ann := dialFellow(t, s, "ANZ-1", func(_ *fellow, o *client.Options) { o.Receipts, o.Push = true, true })
	begin, killed := make(chan struct{}), make(chan struct{})
	bob := dialFellow(t, s, "ANZ-2", func(f *fellow, o *client.Options) {
		o.Ack, o.Push, o.AckEvery, o.Inbox = true, true, 10*n, 10*n
		o.OnMessage = func(_ context.Context, m client.Message) error {
			f.messages <- m
			switch string(m.Content) {
			case "0":
				<-begin
			case fmt.Sprint(n / 2):
				<-killed
			}
			return nil
		}
	})
	for i := range n {
		ann.post("ANZ-2", i, client.WithReference(fmt.Sprint(i)))
	}
	for range n {
		awaitOne(t, "receipt", ann.stored)
	}
	// All of them have arrived, and wait for the first one's handler.
	Eventually(t, "the last message was sent to the receiver", func() bool {
		return s.Metric(`switchboard_socket_frames_out_total{feature="RELIABLE",type="MESSAGE"}`) == n
	})
	close(begin)
	for i := range n/2 + 1 {
		bob.wantMessage("ANZ-1", fmt.Sprint(i), fmt.Sprint(i))
	}
	s.Kill()
	close(killed)
	bob.wantState(client.Disconnected)
	s.Start()
	bob.wantState(client.Connected)
	for i := range n {
		if got := awaitOne(t, "confirmation", ann.confirmed); got != fmt.Sprint(i) {
			t.Errorf("confirmed %q, want %d", got, i)
		}
	}
	for i := n/2 + 1; i < n; i++ {
		bob.wantMessage("ANZ-1", fmt.Sprint(i), fmt.Sprint(i))
	}
	if more := len(bob.messages); more > 0 {
		t.Errorf("%d messages were handled again", more)
	}
}

// Killed again and again: what was stored is handled once and in order.
func TestClientsLoseNothingWhenTheServerIsKilled(t *testing.T) {
	t.Parallel()
	const n, kills = 3000, 3
	s := Start(t, "--set", "limits.mailboxMessages=100000")
	ann := dialFellow(t, s, "ANZ-1", func(_ *fellow, o *client.Options) { o.Receipts, o.Push = true, true })
	bob := dialFellow(t, s, "ANZ-2", func(_ *fellow, o *client.Options) { o.Ack, o.Push = true, true })
	for i := range n {
		if i%(n/(kills+1)) == n/(kills+1)-1 {
			Eventually(t, "something is stored", func() bool { return len(ann.stored) > i/10 })
			s.Kill()
			s.Start()
		}
		Eventually(t, "the sender is connected", func() bool {
			err := ann.Send(inTime(t), "ANZ-2", i, client.WithReference(fmt.Sprint(i)), client.NoConfirmation())
			if err != nil && !errors.Is(err, client.ErrNotConnected) {
				t.Fatal(err)
			}
			return err == nil
		})
	}
	Eventually(t, "the last message is delivered", func() bool {
		return ann.SendAndWait(inTime(t), "ANZ-2", n) == nil
	})
	stored := make(map[string]bool)
	for range len(ann.stored) {
		stored[<-ann.stored] = true
	}
	last, repeated, reordered := -1, 0, 0
	handled, known := make(map[string]bool), make(map[wire.ID]bool)
	for last < n {
		m := awaitOne(t, "the last message", bob.messages)
		var i int
		if err := json.Unmarshal(m.Content, &i); err != nil {
			t.Fatal(err)
		}
		switch {
		case known[m.ID] || handled[fmt.Sprint(i)]:
			repeated++
		case i < last:
			reordered++
		}
		known[m.ID], handled[fmt.Sprint(i)] = true, true
		last = max(last, i)
	}
	lost := 0
	for reference := range stored {
		var i int
		if _, err := fmt.Sscan(reference, &i); err == nil && !handled[reference] {
			lost++
		}
	}
	t.Logf("%d of %d stored, %d handled: %d lost, %d repeated, %d reordered", len(stored), n, len(handled), lost, repeated, reordered)
	if lost+repeated+reordered > 0 || len(stored) < n/20 {
		t.Error("want none of these, and many messages stored")
	}
}

func TestClientsMoveWhenTheServerStops(t *testing.T) {
	t.Parallel()
	s := Start(t)
	var all []*fellow
	for i := range 6 {
		all = append(all, dialFellow(t, s, wire.UserID(fmt.Sprint("ANZ-", 10+i)), func(_ *fellow, o *client.Options) { o.Ack, o.Push = true, true }))
	}
	old := dialFellow(t, s, "ANZ-2", nil)
	if code := s.Stop(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, s.Output())
	}
	for _, f := range all {
		// It leaves when its time has come, unless the server is faster.
		why := f.wantState(client.Disconnected)
		var closed *client.CloseError
		if !strings.Contains(why.Error(), "asked to connect anew") && (!errors.As(why, &closed) || closed.Code != wire.CloseRestart) {
			t.Errorf("disconnected for %v", why)
		}
	}
	var closed *client.CloseError
	if why := old.wantState(client.Disconnected); !errors.As(why, &closed) || closed.Code != wire.CloseRestart {
		t.Errorf("a client without options was disconnected for %v", why)
	}
	if err := old.Send(inTime(t), "ANZ-10", 1); !errors.Is(err, client.ErrNotConnected) {
		t.Errorf("sending without a connection: %v", err)
	}
	s.Start()
	for _, f := range append(all, old) {
		f.wantState(client.Connected)
	}
	for i, f := range all {
		if err := old.SendAndWait(inTime(t), wire.UserID(fmt.Sprint("ANZ-", 10+i)), "welcome back", client.WithReference("r")); err != nil {
			t.Fatal(err)
		}
		f.wantMessage("ANZ-2", `"welcome back"`, "r")
	}
}

// A client whose token ends comes back with a new one.
func TestAClientComesBackWithANewToken(t *testing.T) {
	t.Parallel()
	k := newKey("ES256")
	s := startWith(t, k.app("JWT"))
	var asked atomic.Int32
	f := dialFellow(t, s, "JWT-1", func(_ *fellow, o *client.Options) {
		o.AppID = "jwt-id"
		o.TokenSource = func(context.Context) (string, error) {
			if asked.Add(1) > 1 {
				return k.good("JWT-1"), nil
			}
			return k.token(map[string]any{"sub": "JWT-1", "exp": soon().Unix()}), nil
		}
	})
	var closed *client.CloseError
	if why := f.wantState(client.Disconnected); !errors.As(why, &closed) || closed.Code != wire.CloseTokenExpired {
		t.Errorf("disconnected for %v", why)
	}
	f.wantState(client.Connected)
	if err := f.SendAndWait(inTime(t), "JWT-1", "here again"); err != nil {
		t.Error(err)
	}
}

func TestCloseLeavesNoGoroutine(t *testing.T) {
	s := Start(t)
	// The last one has closed a channel, and may need a moment to be gone.
	wantNone := func(when string) {
		t.Helper()
		Eventually(t, "no goroutine of the client is left "+when, func() bool { return !strings.Contains(stacks(t), "switchboard/client.") })
	}
	wantNone("before")
	for range 20 {
		f := dialFellow(t, s, "ANZ-1", func(_ *fellow, o *client.Options) { o.Ack, o.Push = true, true })
		f.post("ANZ-1", "to myself")
		awaitOne(t, "the message", f.messages)
		if !strings.Contains(stacks(t), "switchboard/client.") {
			t.Fatal("a client without goroutines: this test looks for the wrong thing")
		}
		f.Close()
		wantNone("after Close")
	}

	lost := dialFellow(t, s, "ANZ-2", func(_ *fellow, o *client.Options) { o.Backoff.Min, o.Backoff.Max = time.Hour, time.Hour })
	s.Kill()
	lost.wantState(client.Disconnected)
	lost.Close() // while it waits to connect again
	wantNone("after Close without a connection")
	if _, err := client.Dial(inTime(t), newFellow(t).options(s, "ANZ-3")); err == nil {
		t.Error("connected to a server that is killed")
	}
	wantNone("after a Dial that failed")
}

// stacks are all goroutines of this process.
func stacks(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	if err := pprof.Lookup("goroutine").WriteTo(&b, 2); err != nil {
		t.Fatal(err)
	}
	return b.String()
}
