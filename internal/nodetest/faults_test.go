package nodetest

import (
	"syscall"
	"testing"
)

// A receiver that is stopped keeps its connection, and its kernel goes on
// taking what is written: nothing of that is delivered.

func TestAStoppedReceiverThatIsKilledLosesNothing(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {proofTimeout: 5m, ackTimeout: 5m}\n")
	for _, c := range []struct {
		name, user, options string
		n, size             int
	}{
		{"plain", "ANZ-2", "", 100, 100},
		{"more than its window", "ANZ-3", "", 300, 4000},
		{"ack", "ANZ-4", `{"ack":true}`, 300, 4000},
		{"push", "ANZ-5", `{"push":true}`, 300, 4000},
	} {
		t.Run(c.name, func(t *testing.T) {
			ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
			defer ann.Close()
			r := startReceiver(t, s, c.user, c.options)
			r.stop()
			post(t, ann, c.user, "m", 0, c.n, c.size)
			wantNothing(t, "the sender, while the receiver is stopped,", ann)
			r.kill()
			awaitSessions(t, s, 1)
			wantNothing(t, "the sender, after the receiver was killed,", ann)
			awaitWaiting(t, s, c.n)

			bob := SignIn(t, s, c.user, "")
			defer bob.Close()
			missed, left := bob.Fetch(1000)
			wantSeries(t, "fetched", missed, "m", 0, c.n)
			if left != "0" {
				t.Errorf("%s left", left)
			}
			wantConfirmed(t, ann, "m", 0, c.n)
			wantNothing(t, "the sender in the end", ann)
			awaitWaiting(t, s, 0) // before they leave, and what they have not proved stays
		})
		awaitSessions(t, s, 0)
	}
}

// stopped is a server whose sessions are ended when they do not prove within
// seconds, a sender, and a receiver that is stopped and was sent messages.
func stopped(t *testing.T, size int) (s *Server, ann *Peer, r *receiver) {
	t.Helper()
	s = startWith(t, plainApp+"limits: {proofTimeout: 5s}\n")
	ann = SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	r = startReceiver(t, s, "ANZ-2", "")
	r.stop()
	post(t, ann, "ANZ-2", "m", 0, 200, size)
	return s, ann, r
}

func TestAStoppedReceiverIsClosedAndItsMessagesWait(t *testing.T) {
	t.Parallel()
	s, ann, r := stopped(t, 2000)
	awaitMetric(t, s, closesMetric(4004), 1)
	awaitSessions(t, s, 1)
	wantNothing(t, "the sender", ann)
	if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	// What the receiver still reads, and answers, proves nothing any more.
	_ = r.cmd.Wait() // its connection has ended, and so does it: exit code 1
	wantNothing(t, "the sender, after the receiver went on,", ann)

	bob := SignIn(t, s, "ANZ-2", "")
	wantNothing(t, "a new session, unasked,", bob)
	post(t, ann, "ANZ-2", "live", 0, 10, 100)
	wantSeries(t, "live", take(bob, 10), "live", 0, 10)
	wantConfirmed(t, ann, "live", 0, 10)
	missed, left := bob.Fetch(1000)
	wantSeries(t, "fetched", missed, "m", 0, 200)
	if left != "0" {
		t.Errorf("%s left", left)
	}
	wantConfirmed(t, ann, "m", 0, 200)
}

func TestASecondSessionHasWhatTheStoppedOneDidNotProve(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {proofTimeout: 5s}\n")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	r := startReceiver(t, s, "ANZ-2", "")
	second := SignIn(t, s, "ANZ-2", "")
	r.stop()
	post(t, ann, "ANZ-2", "m", 0, 200, 2000)
	wantSeries(t, "the second session", take(second, 200), "m", 0, 200)
	wantConfirmed(t, ann, "m", 0, 200)
	awaitMetric(t, s, closesMetric(4004), 1)
	awaitSessions(t, s, 2)
	wantNothing(t, "the second session, when the stopped one is closed,", second)
	wantNothing(t, "the sender, when the stopped one is closed,", ann)
	awaitWaiting(t, s, 0)
}

func TestASessionThatComesLaterGetsWhatTheStoppedOneHasNotProved(t *testing.T) {
	t.Parallel()
	s, ann, _ := stopped(t, 2000)
	second := SignIn(t, s, "ANZ-2", "") // the messages are on their way to the stopped one
	wantSeries(t, "the second session", take(second, 200), "m", 0, 200)
	wantConfirmed(t, ann, "m", 0, 200)
	awaitMetric(t, s, closesMetric(4004), 1)
	awaitSessions(t, s, 2)
	wantNothing(t, "the second session, when the stopped one is closed,", second)
	wantNothing(t, "the sender, when the stopped one is closed,", ann)
}

func TestAStoppedReceiverThatGoesOnInTimeProves(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {proofTimeout: 5m}\n")
	ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	r := startReceiver(t, s, "ANZ-2", "")
	r.stop()
	post(t, ann, "ANZ-2", "m", 0, 200, 2000)
	wantNothing(t, "the sender", ann)
	if err := r.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	wantConfirmed(t, ann, "m", 0, 200)
	awaitSessions(t, s, 2)
}

// FAST messages to a stopped receiver may be lost; they are not confirmed.
func TestFastToAStoppedReceiverIsNotConfirmed(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {proofTimeout: 5m}\n")
	ann := SignIn(t, s, "ANZ-1", "")
	r := startReceiver(t, s, "ANZ-2", "")
	r.stop()
	for i := range 50 {
		ann.Message("ANZ-2", numbered("f", i, 100), `"feature":"FAST","reference":"r"`)
	}
	wantNothing(t, "the sender, while the receiver is stopped,", ann)
	r.kill()
	awaitSessions(t, s, 1)
	wantNothing(t, "the sender, after the receiver was killed,", ann)
}
