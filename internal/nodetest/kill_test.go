package nodetest

import (
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"testing"
	"time"
)

// seed returns the seed of a test's chances, and prints it. NODETEST_SEED sets
// it.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := uint64(time.Now().UnixNano())
	if text := os.Getenv("NODETEST_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("NODETEST_SEED=%d", n)
	return n
}

// The server is killed again and again while messages flow. Those whose receipt
// had come arrive, in order, once; those that were on their way may.
func TestKilledAgainAndAgainNothingStoredIsLost(t *testing.T) {
	t.Parallel()
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	load := int64(5000) // receipts in one life of the server, at most
	if raceEnabled {
		rounds, load = min(rounds, 10), 1000
	}
	chance := rand.New(rand.NewPCG(seed(t), 1))
	s := startWith(t, plainApp+"limits: {mailboxMessages: 1000000, mailboxBytes: 4GiB}\n")
	l := newLoad(t, s, chance.Uint64(), 4, "plain", "twin", "push", "ack", "ack", "late")
	for round := range rounds {
		// Most kills come in the thick of it, some while everybody signs in and
		// fetches.
		goal, pause := l.stored.Load()+1+chance.Int64N(load), Patience
		if round%4 == 3 {
			pause = time.Duration(chance.Int64N(int64(200 * time.Millisecond)))
		}
		never := make(chan struct{})
		var running sync.WaitGroup
		running.Go(func() { l.run(never) })
		l.awaitStored(goal, time.After(pause))
		s.Kill()
		running.Wait()
		if round%3 == 2 { // and once more before it is back
			killWhileStarting(t, s, time.Duration(chance.Int64N(int64(80*time.Millisecond))))
		}
		s.Start()
	}
	l.drain()
	l.judge(rounds)
	l.wantNoneRefused()
}

// Killed in the middle of its start, the first one in an empty folder included,
// the server starts the next time, with all that it had.
func TestKilledWhileItStartsItStartsAgain(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	rounds := 15
	if testing.Short() {
		rounds = 3
	}
	chance := rand.New(rand.NewPCG(seed(t), 7))
	config := Settings(t, plainApp)
	for range rounds {
		s := &Server{t: t, path: Binary(t), Addr: "127.0.0.1:0", Admin: "127.0.0.1:0", Data: t.TempDir(), Args: []string{"--config", config}}
		killing := func() {
			for range 1 + chance.IntN(3) {
				killWhileStarting(t, s, time.Duration(chance.Int64N(int64(60*time.Millisecond))))
			}
		}
		killing()
		s.Start()
		t.Cleanup(s.Kill)
		post(t, SignIn(t, s, "ANZ-1", `{"receipts":true}`), "ANZ-2", "m", 0, 200, 100)
		s.Kill()
		killing()
		s.Start()
		missed, left := SignIn(t, s, "ANZ-2", "").Fetch(1000)
		wantSeries(t, "after the kills", missed, "m", 0, 200)
		if left != "0" {
			t.Errorf("%s left", left)
		}
		s.Kill()
	}
}

// killWhileStarting starts the server's program again and kills it after a
// while, whatever it has come to.
func killWhileStarting(t *testing.T, s *Server, after time.Duration) {
	t.Helper()
	var commands []*exec.Cmd
	for _, n := range s.Nodes() {
		cmd := n.command()
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		commands = append(commands, cmd)
	}
	<-time.After(after)
	for _, cmd := range commands {
		if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
			t.Error(err)
		}
		_ = cmd.Wait() // killed: always an error
	}
}

// drain lets everybody have what waits, without anything new, and then ends all
// connections.
func (l *load) drain() {
	l.t.Helper()
	quiet := make(chan struct{})
	close(quiet)
	var running sync.WaitGroup
	running.Go(func() { l.run(quiet) })
	sessions := len(l.senders) + len(l.logs)
	for _, book := range l.logs {
		if book.kind == "twin" {
			sessions++
		}
	}
	awaitSessions(l.t, l.s, sessions)
	awaitWaiting(l.t, l.s, 0)
	for _, c := range l.clients {
		c.Close()
	}
	l.s.Kill()
	running.Wait()
}

// judge compares what was sent with what arrived.
func (l *load) judge(faults int) {
	t := l.t
	t.Helper()
	t.Logf("%d faults, %d messages stored for certain", faults, l.stored.Load())
	seen := make(map[string]bool)
	for _, book := range l.logs {
		if seen[book.kind] {
			continue
		}
		seen[book.kind] = true
		reliable, fast := l.tally(book.kind, false), l.tally(book.kind, true)
		t.Logf("RELIABLE, %-5s: %s", book.kind, reliable)
		t.Logf("FAST,     %-5s: %s", book.kind, fast)
		if reliable.lost+reliable.duplicate+reliable.reordered+reliable.unsent+reliable.refused > 0 {
			t.Errorf("RELIABLE to %s clients: %+v", book.kind, reliable)
		}
		if fast.duplicate+fast.reordered+fast.unsent > 0 || fast.again > 0 && book.kind != "twin" {
			t.Errorf("FAST to %s clients: %+v", book.kind, fast)
		}
		if book.kind == "ack" && reliable.again > 0 {
			t.Errorf("%d messages came again to an application with ack", reliable.again)
		}
		if reliable.certain == 0 {
			t.Errorf("no message to %s clients was stored", book.kind)
		}
	}
	confirmed, missing, wrong, again := l.confirmations()
	t.Logf("MESSAGE_CONFIRMATION : lost %d, wrong %d  (came %d, again on a later session %d)", missing, wrong, confirmed, again)
	if missing+wrong > 0 {
		t.Errorf("%d confirmations are missing, %d are wrong", missing, wrong)
	}
}

// refusals counts the messages that were refused, by code.
func (l *load) refusals() map[string]int {
	codes := make(map[string]int)
	for _, s := range l.senders {
		for _, f := range s.fates {
			if f.refused != "" {
				codes[f.refused]++
			}
		}
	}
	return codes
}

// wantNoneRefused fails if any message was refused.
func (l *load) wantNoneRefused() {
	l.t.Helper()
	for _, s := range l.senders {
		for n, f := range s.fates {
			if f.refused != "" {
				l.t.Errorf("message %d of %s was refused: %s", n, s.user, f.refused)
			}
		}
	}
}
