package nodetest

import (
	"fmt"
	"sync"
	"testing"
	"time"
)

// collectOften has the servers that a test starts collect garbage as often as Go
// does by itself, so that what they have resident says what they need.
func collectOften(t *testing.T) {
	t.Helper()
	t.Setenv("GOGC", "100")
}

// sampleRSS looks at the server's memory until stop is called, which returns the
// most that was seen.
func sampleRSS(s *Server) (stop func() int64) {
	done, most := make(chan struct{}), s.RSS()
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				most = max(most, s.RSS())
			}
		}
	})
	return func() int64 {
		close(done)
		wg.Wait()
		return most
	}
}

// talk has two users exchange messages one after the other, as often as neighbours
// do, until stop is called, which fails unless each arrived and was confirmed, and
// returns how many there were and the longest wait.
func talk(t *testing.T, s *Server) (stop func() (n int, longest time.Duration)) {
	t.Helper()
	carol, dave := SignIn(t, s, "ANZ-71", ""), SignIn(t, s, "ANZ-72", "")
	done := make(chan struct{})
	var n int
	var longest time.Duration
	var failure error
	var wg sync.WaitGroup
	wg.Go(func() {
		rest := time.NewTicker(neighbourPause)
		defer rest.Stop()
		for ; !isClosed(done) && failure == nil; n++ {
			<-rest.C
			began := time.Now()
			failure = exchange(carol, dave, n)
			longest = max(longest, time.Since(began))
		}
	})
	return func() (int, time.Duration) {
		t.Helper()
		close(done)
		wg.Wait()
		if failure != nil {
			t.Errorf("while another receiver was slow, after %d messages: %v", n, failure)
		}
		return n, longest
	}
}

// exchange sends one message FAST and one RELIABLE, and waits for both and for
// the confirmation.
func exchange(from, to *Peer, n int) error {
	for _, more := range []string{`"feature":"FAST"`, fmt.Sprintf(`"reference":"%d"`, n)} {
		if err := from.TrySend(fmt.Sprintf(`{"type":"MESSAGE","data":{"to":%q,"content":%q},%s}`, to.user, numbered("talk", n, 100), more)); err != nil {
			return err
		}
		f, err := to.TryNext()
		if err != nil {
			return err
		}
		if _, i := number(f); i != n {
			return fmt.Errorf("got %s, want message %d", f.Raw, n)
		}
	}
	f, err := from.TryNext()
	if err == nil && (f.Type != "MESSAGE_CONFIRMATION" || f.Field("reference") != fmt.Sprint(n)) {
		err = fmt.Errorf("got %s, want the confirmation of %d", f.Raw, n)
	}
	return err
}

// floodSize is the size of each message that is sent to a receiver that does
// not read.
const floodSize = 60_000

// floodFrames is how many make about 100 MB; fewer with -short, and where the
// race detector makes it long.
func floodFrames() int {
	if testing.Short() || raceEnabled {
		return 400
	}
	return 1700
}

// floodFast sends n FAST messages of a series.
func floodFast(p *Peer, to, series string, n int) {
	p.t.Helper()
	for i := range n {
		p.Send(floodFrame(to, series, i, `"feature":"FAST"`))
	}
	p.Barrier()
}

// floodFrame is one message of a flood.
func floodFrame(to, series string, i int, more string) string {
	return `{"type":"MESSAGE","data":{"to":"` + to + `","content":"` + numbered(series, i, floodSize) + `"},` + more + `}`
}

// floodReliable sends the messages first to last-1 of a series, RELIABLE,
// without confirmation, and returns when they are stored.
func floodReliable(t *testing.T, p *Peer, to, series string, first, last int) {
	t.Helper()
	for i := first; i < last; i++ {
		p.Send(floodFrame(to, series, i, fmt.Sprintf(`"confirmationEnabled":false,"reference":"%s %d"`, series, i)))
	}
	awaitStored(t, p, series, first, last)
}

// memory is how much the server may grow however much is sent to a receiver that
// does not read, in bytes. Measured: 60 MiB, after 100 MB as after 600, half of
// it what the garbage collector leaves until it runs. The server holds 17 MiB of
// batches (the keeper's cache and the one in flight), a block or two of the
// message store, and 1 MiB in the session's queue.
const memory = 96 * mib

// Three times 100 MB are sent, more than the memory that is allowed, to a receiver that does not read.
func TestAReceiverThatDoesNotReadCostsBoundedMemory(t *testing.T) {
	Alone(t, ReasonMemory)
	collectOften(t)
	s := StartShipped(t, "--config", Settings(t, plainApp+"limits: {proofTimeout: 5m, mailboxBytes: 1GiB}\n"))
	ann, bob := SignIn(t, s, "ANZ-1", `{"receipts":true}`), SignIn(t, s, "ANZ-2", "")
	base, n := s.RSS(), floodFrames()
	if raceEnabled {
		n = 1000 // the program has no detector here, but this test has
	}
	stopRSS, stopTalk := sampleRSS(s), talk(t, s)

	bob.Freeze()
	floodFast(ann, "ANZ-2", "fast", n)
	afterFast := s.RSS()
	dropped := int(s.Metric(`switchboard_fast_dropped_total{reason="queue_full"}`))
	floodReliable(t, ann, "ANZ-2", "m", 0, n)
	afterReliable := s.RSS()
	floodReliable(t, ann, "ANZ-2", "m", n, 2*n)
	exchanges, longest := stopTalk()
	most := stopRSS()
	t.Logf("RSS %d MiB before, %d after %d MB FAST, %d after as much RELIABLE, %d after twice as much, at most %d", base/mib,
		afterFast/mib, n*floodSize/1_000_000, afterReliable/mib, s.RSS()/mib, most/mib)
	t.Logf("%d of %d FAST dropped; others meanwhile: %d exchanges, the longest took %s", dropped, n, exchanges, longest)
	if most-base > memory {
		t.Errorf("memory grew by %d MiB while %d MB were sent, more than %d MiB", (most-base)/mib, 3*n*floodSize/1_000_000, memory/mib)
	}
	if exchanges == 0 {
		t.Error("others were not served")
	}

	bob.Thaw()
	fast, reliable := 0, 0
	for last := -1; reliable < 2*n; {
		series, i := number(bob.Expect("MESSAGE"))
		switch {
		case series == "m" && i == reliable:
			reliable++
		case series == "fast" && i > last:
			fast++
			last = i
		default:
			t.Fatalf("message %d of %s came after %d RELIABLE and %d FAST", i, series, reliable, fast)
		}
	}
	wantNothing(t, "the receiver in the end", bob)
	awaitWaiting(t, s, 0)
	if fast+dropped != n || dropped == 0 {
		t.Errorf("%d FAST arrived and %d were counted as dropped, of %d", fast, dropped, n)
	}
	t.Logf("RELIABLE: lost 0, duplicated 0, reordered 0 of %d; FAST: lost %d, all counted, duplicated 0, reordered 0 of %d", 2*n, dropped, n)
}

func TestAReceiverThatDoesNotReadIsClosedAndItsMessagesWait(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {mailboxBytes: 1GiB}\n") // and the default proofTimeout
	ann, bob := SignIn(t, s, "ANZ-1", `{"receipts":true}`), SignIn(t, s, "ANZ-2", "")
	n, stopTalk := floodFrames(), talk(t, s)
	bob.Freeze()
	floodFast(ann, "ANZ-2", "fast", n)
	floodReliable(t, ann, "ANZ-2", "m", 0, n)
	awaitMetric(t, s, closesMetric(4004), 1)
	awaitSessions(t, s, 3)
	exchanges, longest := stopTalk()
	t.Logf("others meanwhile: %d exchanges, the longest took %s", exchanges, longest)

	bob.Thaw() // it reads what had been written to it, and proves too late
	var before []int
	for {
		f, err := bob.TryNext()
		if err != nil {
			break
		}
		if series, i := number(f); series == "m" {
			before = append(before, i)
		}
	}
	if len(before) >= n || descents(before) > 0 {
		t.Errorf("the closed session got %v", before)
	}
	again := SignIn(t, s, "ANZ-2", "")
	request(again, 2000)
	got, _, left := fetched(again, "m")
	if descents(got) > 0 || len(got) != n || got[0] != 0 || got[n-1] != n-1 || left != 0 {
		t.Errorf("%d of %d came back, %d left", len(got), n, left)
	}
	awaitWaiting(t, s, 0)
	t.Logf("RELIABLE: lost 0, duplicated on one session 0, reordered 0 of %d", n)
}

func TestAReceiverThatDoesNotReadFillsItsMailbox(t *testing.T) {
	t.Parallel()
	s := startWith(t, plainApp+"limits: {proofTimeout: 5m, mailboxBytes: 8MiB}\n")
	ann, bob := SignIn(t, s, "ANZ-1", `{"receipts":true}`), SignIn(t, s, "ANZ-2", "")
	n, stopTalk := floodFrames(), talk(t, s)
	bob.Freeze()
	for i := range n {
		send(ann, "ANZ-2", numbered("m", i, floodSize), fmt.Sprint(i))
	}
	// Refusals come at once, receipts after the sync: each kind in its order.
	stored, refused := 0, 0
	for range n {
		f := ann.Next()
		switch {
		case f.Type == "MESSAGE_STORED" && f.Field("reference") == fmt.Sprint(stored):
			stored++
		case f.Type == "DELIVER_FAILED" && f.Field("code") == "MAILBOX_FULL" && f.Field("to") == "ANZ-2":
			refused++
		default:
			t.Fatalf("got %s after %d receipts and %d refusals", f.Raw, stored, refused)
		}
	}
	if most := 8 * mib / floodSize; stored < most-1 || stored > most {
		t.Errorf("%d messages were taken, the mailbox has room for %d", stored, most)
	}
	exchanges, longest := stopTalk()
	t.Logf("%d of %d messages taken; others meanwhile: %d exchanges, the longest took %s", stored, n, exchanges, longest)
	bob.Thaw()
	wantSeries(t, "what was taken", take(bob, stored), "m", 0, stored)
	post(t, ann, "ANZ-2", "then", 0, 5, 100)
	wantSeries(t, "then", take(bob, 5), "then", 0, 5)
}
