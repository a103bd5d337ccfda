package mailbox_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestNothingHappensBeforeTheBatchIsSynced(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		d := f.open("ANZ-1", false)
		synctest.Wait()
		open := f.log.block()
		f.send("a", "ANZ-1", 0)
		f.send("b", "ANZ-1", 0)
		f.wantStored()
		d.want()
		f.wantDone(0)
		open()
		f.wantStored("a", "b")
		d.want("a", "b")
		f.wantDone(2)
		d.prove()
		d.wantSettled(2)
	})
}

// A message that comes alone is stored at once, on whatever it follows. Where
// many come together the next batch waits for more, and proofs, for which nobody
// waits, wait for longer; but neither for ever.
func TestBatchesGatherWhatCanWait(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		d := f.open("ANZ-1", false)
		time.Sleep(time.Second)
		appends := f.log.count(&f.log.appends)
		stored := func(what string, n int) {
			t.Helper()
			synctest.Wait()
			if got := f.log.count(&f.log.appends) - appends; got != n {
				t.Fatalf("%s: %d batches are stored, want %d", what, got, n)
			}
		}
		for i := range 3 {
			f.send(fmt.Sprint(i), "ANZ-1", 0)
			stored("one after the other, alone", i+1)
		}
		d.prove()
		stored("proofs", 3)
		time.Sleep(5 * time.Millisecond)
		stored("proofs, a little later", 4)
		f.send("a", "ANZ-1", 0)
		stored("a message after proofs", 5)
		d.prove()
		f.send("b", "ANZ-1", 0)
		stored("a message that takes proofs along", 6)
		for range 3 {
			f.send("c", "ANZ-1", 0)
		}
		stored("three together", 7)
		f.send("d", "ANZ-1", 0)
		stored("one after three", 7)
		time.Sleep(time.Millisecond)
		stored("one after three, a little later", 8)
	})
}

// A batch whose append was not answered may be stored or not. Either way its
// senders are told so, those after it that theirs was not stored, and sessions
// go on as if nothing had been.
func TestAnUnansweredAppend(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored=%t", stored), func(t *testing.T) {
			inBubble(t, newMemLog(), nil, func(f *fixture) {
				d := f.open("ANZ-1", false)
				f.send("before", "ANZ-1", 0)
				d.want("before")
				open := f.log.block()
				f.log.fail(outcome{mailbox.ErrUnknown, stored})
				f.send("in flight", "ANZ-1", 0)
				synctest.Wait()
				f.send("behind", "ANZ-1", 0)
				synctest.Wait()
				open()
				f.wantFailed("in flight", wire.CodeTimeout, true)
				f.wantFailed("behind", wire.CodeStoreDown, false)
				f.wantDone(3)
				if !f.Ready() {
					f.Fatal("the log is back, but the keeper is not ready")
				}
				f.send("after", "ANZ-1", 0)
				if stored {
					d.want("before", "in flight", "after")
				} else {
					d.want("before", "after")
				}
				d.prove()
				d.wantSettled(d.n)
				second := f.open("ANZ-1", true)
				second.want() // everything is proved
			})
		})
	}
}

func TestAProofThatWasLostIsWrittenAgain(t *testing.T) {
	log := newMemLog()
	inBubble(t, log, nil, func(f *fixture) {
		d := f.open("ANZ-1", false)
		f.send("a", "ANZ-1", 0)
		d.want("a")
		f.log.fail(outcome{mailbox.ErrUnknown, false})
		d.prove()
		d.wantSettled(1)
	})
	inBubble(t, log, nil, func(f *fixture) { f.open("ANZ-1", true).want() })
}

// A log without room says so at every append. The keeper reads it anew once a
// second, and no more often.
func TestAFullDisk(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		d := f.open("ANZ-1", false)
		f.send("a", "ANZ-1", 0)
		d.want("a")
		full := outcome{mailbox.ErrFull, false}
		f.log.fail(full, full, full, full, full)
		f.send("b", "ANZ-1", 0)
		f.wantFailed("b", wire.CodeStoreFull, false)
		if f.Ready() {
			f.Fatal("ready, though nothing can be stored")
		}
		f.send("c", "ANZ-1", 0)
		f.wantFailed("c", wire.CodeStoreDown, false)
		before := f.log.count(&f.log.bounds)
		time.Sleep(10 * time.Second)
		if n := f.log.count(&f.log.bounds) - before; n < 3 || n > 5 {
			f.Fatalf("the log was read anew %d times", n)
		}
		f.send("d", "ANZ-1", 0)
		f.wantStored("a", "d")
		d.want("a", "d")
	})
}

// Another keeper has written: this one reads the log anew and goes on behind it.
func TestAFence(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		d := f.open("ANZ-1", false)
		synctest.Wait()
		other, err := mailbox.Open(f.Context(), options(f.log))
		if err != nil {
			f.Fatal(err)
		}
		ctx, cancel := context.WithCancel(f.Context())
		cancel()
		if err := other.Run(ctx); err != nil { // takes over and stops
			f.Fatal(err)
		}
		f.send("a", "ANZ-1", 0)
		f.wantFailed("a", wire.CodeStoreDown, false)
		f.send("b", "ANZ-1", 0)
		d.want("b")
	})
}

func TestALogThatDoesNotComeBackAtOnce(t *testing.T) {
	var broken atomic.Bool
	change := func(o *mailbox.Options) {
		o.Recover = func(context.Context) error {
			if broken.Load() {
				return errors.New("still broken")
			}
			return nil
		}
	}
	inBubble(t, newMemLog(), change, func(f *fixture) {
		d := f.open("ANZ-1", false)
		f.send("a", "ANZ-1", 0)
		d.want("a")
		broken.Store(true)
		f.log.fail(outcome{errors.New("the disk is on fire"), false})
		f.send("b", "ANZ-1", 0)
		f.wantFailed("b", wire.CodeStoreDown, false)
		gone := f.open("ANZ-2", false)
		stays := f.open("ANZ-3", false)
		f.Close(gone.id)
		d.prove()
		time.Sleep(5 * time.Second)
		f.send("c", "ANZ-1", 0)
		f.wantFailed("c", wire.CodeStoreDown, false)
		broken.Store(false)
		time.Sleep(2 * time.Second)
		d.wantSettled(1)
		f.send("d", "ANZ-3", 0)
		stays.want("d")
		gone.want()
	})
}

func TestStoppingWhileTheLogIsDown(t *testing.T) {
	change := func(o *mailbox.Options) { o.Recover = func(context.Context) error { return errors.New("broken") } }
	inBubble(t, newMemLog(), change, func(f *fixture) {
		f.log.fail(outcome{mailbox.ErrUnknown, false})
		f.send("a", "ANZ-1", 0)
		f.wantFailed("a", wire.CodeTimeout, true)
		begin := time.Now()
		f.stop()
		if took := time.Since(begin); took > 0 {
			f.Fatalf("stopping took %s", took)
		}
		f.send("b", "ANZ-1", 0)
		f.wantFailed("b", wire.CodeStoreDown, false)
		f.wantDone(2)
	})
}

// Below its minimum the disk is kept for proofs; when there is room again,
// messages are taken again.
func TestALowDisk(t *testing.T) {
	var free atomic.Uint64
	free.Store(99)
	change := func(o *mailbox.Options) {
		o.MinFree = 100
		o.Free = func() (uint64, error) { return free.Load(), nil }
	}
	inBubble(t, newMemLog(), change, func(f *fixture) {
		d := f.open("ANZ-1", false)
		f.send("first", "ANZ-1", 0) // from the start on, not only from the first look after it
		f.wantFailed("first", wire.CodeStoreFull, false)
		free.Store(1000)
		time.Sleep(1100 * time.Millisecond)
		f.send("a", "ANZ-1", 0)
		d.want("a")
		free.Store(99)
		time.Sleep(1100 * time.Millisecond)
		f.send("b", "ANZ-1", 0)
		f.wantFailed("b", wire.CodeStoreFull, false)
		d.prove()
		d.wantSettled(1)
		free.Store(100)
		time.Sleep(1100 * time.Millisecond)
		f.send("c", "ANZ-1", 0)
		d.want("a", "c")
		f.SetLimits(limits(), 101)
		f.send("d", "ANZ-1", 0)
		f.wantFailed("d", wire.CodeStoreFull, false)
		small := limits()
		small.Messages = 1
		f.SetLimits(small, 0)
		f.send("e", "ANZ-1", 0)
		f.wantFailed("e", wire.CodeMailboxFull, false)
		f.wantDone(6)
	})
}

func TestOverload(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		open := f.log.block()
		const size = 1 << 20
		for i := range 70 {
			f.send(fmt.Sprint(i), wire.UserID(fmt.Sprintf("ANZ-%d", i)), size)
		}
		synctest.Wait()
		f.wantFailed("63", wire.CodeOverloaded, false)
		f.wantFailed("69", wire.CodeOverloaded, false)
		f.wantDone(7)
		open()
		f.wantDone(70)
		f.send("after", "ANZ-200", 0)
		f.wantDone(71)
		f.seen.mu.Lock()
		defer f.seen.mu.Unlock()
		if len(f.seen.stored) != 64 || len(f.seen.failed) != 7 {
			f.Fatalf("%d stored, %d failed", len(f.seen.stored), len(f.seen.failed))
		}
	})
}

// What was posted before the stop is stored; a log of which nothing is needed is
// nearly empty afterwards; what waits is there at the next start.
func TestStopping(t *testing.T) {
	log := newMemLog()
	inBubble(t, log, nil, func(f *fixture) {
		d := f.open("ANZ-1", false)
		for i := range 200 {
			f.send(fmt.Sprint("proved ", i), "ANZ-1", 2000)
			synctest.Wait()
			d.prove()
		}
		f.Close(d.id)
		f.send("last", "ANZ-2", 0)
		f.stop()
		f.wantDone(201)
	})
	if n := uint64(len(log.batches)) - log.first; n > 3 {
		t.Fatalf("%d batches are left", n+1)
	}
	inBubble(t, log, nil, func(f *fixture) {
		f.open("ANZ-1", true).want()
		f.open("ANZ-2", true).want("last")
	})
}

// A log that does not answer keeps nobody from stopping for ever; senders hear
// what is known of their messages.
func TestStoppingWithALogThatHangs(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		f.log.block()
		f.send("in flight", "ANZ-1", 0)
		synctest.Wait()
		f.send("behind", "ANZ-1", 0)
		begin := time.Now()
		f.stop()
		if took := time.Since(begin); took > 21*time.Second {
			f.Fatalf("stopping took %s", took)
		}
		f.wantFailed("in flight", wire.CodeTimeout, true)
		f.wantFailed("behind", wire.CodeStoreDown, false)
		f.wantDone(2)
	})
}

// cold returns a log in which messages a, b and c wait for ANZ-1, each in a
// batch of its own, and the sequence of b's.
func cold(t *testing.T) (*memLog, uint64) {
	t.Helper()
	log := newMemLog()
	inBubble(t, log, nil, func(f *fixture) {
		for _, name := range []string{"a", "b", "c"} {
			f.send(name, "ANZ-1", 0)
			synctest.Wait()
		}
	})
	for i, b := range log.batches {
		if bytes.Contains(b, []byte(`ANZ-100`)) && bytes.HasSuffix(b, []byte{1, 'b', 1, 'b'}) {
			return log, uint64(i + 1)
		}
	}
	t.Fatal("message b is not in the log")
	return nil, 0
}

// A batch that cannot be read is tried five times, then passed over, and tried
// again a minute later.
func TestABatchThatCannotBeRead(t *testing.T) {
	log, b := cold(t)
	inBubble(t, log, nil, func(f *fixture) {
		broken := true
		log.mu.Lock()
		log.readErr = func(seq uint64) error {
			if broken && seq == b {
				return errors.New("a bad sector")
			}
			return nil
		}
		log.mu.Unlock()
		d := f.open("ANZ-1", true)
		d.want("a")
		time.Sleep(6 * time.Second)
		d.want("a", "c")
		d.prove()
		d.wantSettled(2)
		log.mu.Lock()
		broken = false
		log.mu.Unlock()
		time.Sleep(30 * time.Second)
		d.want("a", "c")
		time.Sleep(40 * time.Second)
		d.want("a", "c", "b")
		d.prove()
		d.wantSettled(3)
	})
}

// While the log does not answer at all, nothing is passed over: it would come out
// of order when the log is back.
func TestALogThatDoesNotAnswerChangesNoOrder(t *testing.T) {
	log, b := cold(t)
	inBubble(t, log, nil, func(f *fixture) {
		away := errors.New("the log does not answer")
		fail := func(err error) {
			log.mu.Lock()
			defer log.mu.Unlock()
			log.boundErr = err
			log.readErr = func(seq uint64) error {
				if seq >= b {
					return err
				}
				return nil
			}
		}
		fail(away)
		d := f.open("ANZ-1", true)
		d.want("a")
		time.Sleep(10 * time.Minute)
		d.want("a")
		fail(nil)
		time.Sleep(2 * time.Second)
		d.want("a", "b", "c")
	})
}

func TestABatchThatIsDamaged(t *testing.T) {
	log, b := cold(t)
	inBubble(t, log, nil, func(f *fixture) {
		log.mu.Lock()
		good := log.batches[b-1]
		bad := slices.Clone(good)
		bad[len(bad)-1] ^= 1
		log.batches[b-1] = bad
		log.mu.Unlock()
		d := f.open("ANZ-1", false)
		f.Fetch(d.id, 10)
		d.want("a")
		time.Sleep(6 * time.Second)
		d.want("a", "c")
		d.wantLeft(0)
		log.mu.Lock()
		log.batches[b-1] = good
		log.mu.Unlock()
		time.Sleep(70 * time.Second)
		f.Fetch(d.id, 10)
		d.want("a", "c", "b")
		d.wantLeft(0, 0)
	})
	inBubble(t, log, nil, func(f *fixture) { f.open("ANZ-1", true).want("a", "b", "c") })
}

// A batch that is not in the log though it matters is a loss; it does not stop
// the rest, nor the log from being trimmed.
func TestABatchThatIsGone(t *testing.T) {
	log, b := cold(t)
	inBubble(t, log, nil, func(f *fixture) {
		log.mu.Lock()
		log.readErr = func(seq uint64) error {
			if seq == b {
				return mailbox.ErrGone
			}
			return nil
		}
		log.mu.Unlock()
		d := f.open("ANZ-1", true)
		d.want("a", "c")
		d.prove()
		d.wantSettled(2)
		f.Close(d.id)
		synctest.Wait()
		log.mu.Lock()
		log.readErr = nil
		log.mu.Unlock()
	})
	if log.first <= b {
		t.Fatalf("the log still begins at %d, the lost batch was %d", log.first, b)
	}
}

func TestASessionHasAFewFetchesAtATime(t *testing.T) {
	log, _ := cold(t)
	inBubble(t, log, nil, func(f *fixture) {
		log.mu.Lock()
		log.readErr = func(uint64) error { return errors.New("slow") }
		log.mu.Unlock()
		d := f.open("ANZ-1", false)
		for i := range 9 {
			if ok := f.Fetch(d.id, 1); ok != (i < 8) {
				f.Fatalf("fetch %d: %t", i+1, ok)
			}
		}
		d.wantLeft()
		log.mu.Lock()
		log.readErr = nil
		log.mu.Unlock()
		time.Sleep(2 * time.Second)
		d.want("a", "b", "c")
		d.wantLeft(2, 1, 0, 0, 0, 0, 0, 0)
		for range 8 {
			if !f.Fetch(d.id, 1) {
				f.Fatal("the fetches are done, but no more are taken")
			}
		}
		f.Close(d.id)
		for range 20 { // of a session that is gone: no trace is kept
			f.Fetch(d.id, 1)
			synctest.Wait()
		}
		if !f.Fetch(d.id, 1) {
			f.Fatal("fetches of a closed session are still counted")
		}
	})
}

// The log stays within what may be dead weight in it (32 MiB, and 16 MiB between
// two purges) however much flows through it, also after purges that failed, and
// a stop leaves next to nothing.
func TestTheHeadOfTheLogGoes(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		pour := func() {
			d := f.open("ANZ-1", false)
			for i := range 800 {
				f.send(fmt.Sprint(i), "ANZ-1", 60_000)
				synctest.Wait()
				d.prove()
			}
			synctest.Wait()
			f.Close(d.id)
			synctest.Wait()
		}
		f.log.refusePurges(errors.New("not now"))
		pour()
		if _, poured := f.log.holds(); poured < 800*60_000 {
			f.Fatalf("the log holds %d bytes though no purge succeeds", poured)
		}
		f.log.refusePurges(nil)
		pour()
		if _, left := f.log.holds(); left > 52<<20 {
			f.Errorf("the log holds %d bytes", left)
		}
		f.stop()
		if batches, left := f.log.holds(); batches > 3 || left > 10_000 {
			f.Errorf("after the stop the log holds %d batches, %d bytes", batches, left)
		}
	})
}

func TestMetricsAreRegisteredOnce(t *testing.T) {
	registry := prometheus.NewRegistry()
	inBubble(t, newMemLog(), func(o *mailbox.Options) { o.Metrics = registry }, func(f *fixture) {
		d := f.open("ANZ-1", false)
		f.send("a", "ANZ-1", 0)
		d.want("a")
		families, err := registry.Gather()
		if err != nil {
			f.Fatal(err)
		}
		text := fmt.Sprint(families)
		for _, want := range []string{"switchboard_mailbox_messages", "switchboard_log_sync_seconds", "switchboard_reliable_handed_total"} {
			if !strings.Contains(text, want) {
				f.Errorf("%s is missing", want)
			}
		}
		opts := options(newMemLog())
		opts.Metrics = registry
		if _, err := mailbox.Open(t.Context(), opts); err == nil {
			t.Fatal("a second keeper registered the same metrics")
		}
	})
	opts := options(newMemLog())
	opts.Metrics = registry
	if _, err := mailbox.Open(t.Context(), opts); err != nil {
		t.Fatalf("the metrics of a keeper that has ended are in the way: %v", err)
	}
}
