package bus

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

func TestMain(m *testing.M) {
	for variable, write := range map[string]func(context.Context, *Bus) error{
		logWriterDir: writeLog, trailWriterDir: writeTrail, tableWriterDir: writeTable,
	} {
		if dir := os.Getenv(variable); dir != "" {
			writeUntilKilled(dir, write)
		}
	}
	// See startRoutes: the server leaves one behind.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).StartRouting"))
}

// open opens a Bus on dir for the test's time. change may alter its options.
func open(t testing.TB, dir string, change ...func(*Options)) *Bus {
	t.Helper()
	opts := Options{Folder: filepath.Join(dir, "jetstream"), Logger: testLogger(t), CallTimeout: time.Minute}
	for _, f := range change {
		f(&opts)
	}
	b, err := Open(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { shut(t, b) })
	return b
}

func shut(t testing.TB, b *Bus) {
	t.Helper()
	if err := b.Close(); err != nil {
		t.Error(err)
	}
}

func shardLog(t testing.TB, b *Bus, shard int) *Log {
	t.Helper()
	l, err := b.Log(t.Context(), shard)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// batch makes size bytes that only sequence seq has.
func batch(seq uint64, size int) []byte {
	var seed [32]byte
	binary.LittleEndian.PutUint64(seed[:], seq)
	b := make([]byte, size)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

// fill appends batches from+1 to last.
func fill(t testing.TB, l *Log, from, last uint64, size int) {
	t.Helper()
	for seq := from + 1; seq <= last; seq++ {
		got, err := l.Append(t.Context(), seq-1, batch(seq, size))
		if err != nil {
			t.Fatal(err)
		}
		if got != seq {
			t.Fatalf("batch %d got sequence %d", seq, got)
		}
	}
}

// wantLog checks that the log is exactly the batches from first to last.
func wantLog(t testing.TB, l *Log, first, last uint64, size int) {
	t.Helper()
	wantBounds(t, l, first, last)
	next := first
	err := l.Replay(t.Context(), first, last, func(seq uint64, b []byte) error {
		if seq != next {
			return fmt.Errorf("sequence %d came when %d was due", seq, next)
		}
		if !bytes.Equal(b, batch(seq, size)) {
			return fmt.Errorf("batch %d differs", seq)
		}
		next++
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if next != last+1 {
		t.Fatalf("the replay ended before %d", next)
	}
}

func wantBounds(t testing.TB, l *Log, first, last uint64) {
	t.Helper()
	f, la, _, err := l.Bounds(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if f != first || la != last {
		t.Fatalf("the log goes from %d to %d, want %d to %d", f, la, first, last)
	}
}

func wantErr(t testing.TB, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("got error %v, want %v", err, want)
	}
}

func TestAppendedBatchesAreReadAndReplayed(t *testing.T) {
	t.Parallel()
	l := shardLog(t, open(t, t.TempDir()), 0)
	wantBounds(t, l, 1, 0)
	fill(t, l, 0, 200, 1000)
	wantLog(t, l, 1, 200, 1000)
	for _, seq := range []uint64{1, 77, 200} {
		got, err := l.Read(t.Context(), seq)
		if err != nil || !bytes.Equal(got, batch(seq, 1000)) {
			t.Fatalf("batch %d: %v", seq, err)
		}
	}
	for _, seq := range []uint64{0, 201} {
		_, err := l.Read(t.Context(), seq)
		wantErr(t, err, mailbox.ErrGone)
	}
}

func TestReplayOfALargeLogKeepsItsOrder(t *testing.T) {
	t.Parallel()
	l := shardLog(t, open(t, t.TempDir()), 0)
	const last, size = 120, 100_000 // several files and many requests
	fill(t, l, 0, last, size)
	wantLog(t, l, 1, last, size)
	n := 0
	err := l.Replay(t.Context(), 50, 110, func(uint64, []byte) error { n++; return nil })
	if err != nil || n != 61 {
		t.Fatalf("%d batches, %v", n, err)
	}
}

func TestReplayEndsWithTheReadersError(t *testing.T) {
	t.Parallel()
	l := shardLog(t, open(t, t.TempDir()), 0)
	fill(t, l, 0, 200, 100)
	stop := errors.New("enough")
	err := l.Replay(t.Context(), 1, 200, func(seq uint64, _ []byte) error {
		if seq == 3 {
			return stop
		}
		return nil
	})
	if err != stop {
		t.Fatalf("got %v", err)
	}
	wantLog(t, l, 1, 200, 100)
}

func TestReplayNamesTheBatchThatIsNotThere(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	l := shardLog(t, b, 0)
	fill(t, l, 0, 50, 100)
	e, err := b.engine()
	if err != nil {
		t.Fatal(err)
	}
	stream, err := e.js.Stream(t.Context(), l.name)
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 20); err != nil {
		t.Fatal(err)
	}
	next := uint64(1)
	err = l.Replay(t.Context(), 1, 50, func(seq uint64, _ []byte) error { next = seq + 1; return nil })
	if want := "replay SB_LOG_0, batch 20: it is missing or damaged on disk: the next one there is 21"; err == nil || err.Error() != want {
		t.Fatalf("got %v", err)
	}
	if next != 20 {
		t.Fatalf("the replay went to %d", next)
	}
	if _, err := l.Read(t.Context(), 20); err == nil || errors.Is(err, mailbox.ErrGone) {
		t.Fatalf("a batch that is missing in the middle was not purged, got %v", err)
	}
	if err := l.Replay(t.Context(), 51, 60, func(uint64, []byte) error { return nil }); err == nil {
		t.Fatal("replayed past the end")
	}
}

func TestPurgeRemovesTheHeadAndNothingElse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	l := shardLog(t, b, 0)
	const last, size = 120, 100_000
	fill(t, l, 0, last, size)
	for _, below := range []uint64{0, 1} {
		if err := l.Purge(t.Context(), below); err != nil {
			t.Fatal(err)
		}
		wantBounds(t, l, 1, last)
	}
	if err := l.Purge(t.Context(), 100); err != nil {
		t.Fatal(err)
	}
	wantLog(t, l, 100, last, size)
	_, err := l.Read(t.Context(), 99)
	wantErr(t, err, mailbox.ErrGone)
	if err := l.Purge(t.Context(), last+2); err == nil {
		t.Fatal("purged past the end")
	}
	shut(t, b)

	l = shardLog(t, open(t, dir), 0)
	wantLog(t, l, 100, last, size)
	fill(t, l, last, last+1, size)
}

func TestAnEmptiedLogCountsOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	l := shardLog(t, b, 0)
	fill(t, l, 0, 20, 100)
	if err := l.Purge(t.Context(), 21); err != nil {
		t.Fatal(err)
	}
	wantBounds(t, l, 21, 20)
	shut(t, b)
	l = shardLog(t, open(t, dir), 0)
	wantBounds(t, l, 21, 20)
	fill(t, l, 20, 30, 100)
	wantLog(t, l, 21, 30, 100)
}

func TestOnlyOneOfTwoWritersAppends(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	one := shardLog(t, b, 0)
	two := &Log{bus: b, name: one.name, subject: one.subject}
	fill(t, one, 0, 3, 100)
	fill(t, two, 3, 4, 100)
	_, err := one.Append(t.Context(), 3, []byte("late"))
	wantErr(t, err, mailbox.ErrFenced)
	_, err = one.Append(t.Context(), 9, []byte("early"))
	wantErr(t, err, mailbox.ErrFenced)
	_, err = one.Append(t.Context(), 0, []byte("as if the log were new"))
	wantErr(t, err, mailbox.ErrFenced)
	wantLog(t, one, 1, 4, 100)
}

func TestShardsHaveLogsOfTheirOwn(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	fill(t, shardLog(t, b, 0), 0, 5, 100)
	fill(t, shardLog(t, b, 7), 0, 3, 50)
	wantLog(t, shardLog(t, b, 0), 1, 5, 100)
	wantLog(t, shardLog(t, b, 7), 1, 3, 50)
	if _, err := b.Log(t.Context(), -1); err == nil {
		t.Fatal("shard -1 was taken")
	}
}

func TestTheLargestBatchIsTakenAndALargerOneRefused(t *testing.T) {
	t.Parallel()
	l := shardLog(t, open(t, t.TempDir()), 0)
	fill(t, l, 0, 1, MaxBatch)
	_, err := l.Append(t.Context(), 1, make([]byte, MaxBatch+1))
	if err == nil || errors.Is(err, mailbox.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	fill(t, l, 1, 3, MaxBatch)
	wantLog(t, l, 1, 3, MaxBatch)
}

func TestAnAppendThatMayNotWaitIsNotSent(t *testing.T) {
	t.Parallel()
	l := shardLog(t, open(t, t.TempDir()), 0)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	_, err := l.Append(ctx, 0, []byte("never"))
	if !errors.Is(err, context.Canceled) || errors.Is(err, mailbox.ErrUnknown) {
		t.Fatalf("got %v", err)
	}
	wantBounds(t, l, 1, 0)
}

func TestAClosedBusRefusesEverything(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	l := shardLog(t, b, 0)
	fill(t, l, 0, 1, 10)
	shut(t, b)
	_, err := l.Append(t.Context(), 1, []byte("late"))
	wantErr(t, err, errStopped)
	_, err = l.Read(t.Context(), 1)
	wantErr(t, err, errStopped)
	_, _, _, err = l.Bounds(t.Context())
	wantErr(t, err, errStopped)
	wantErr(t, l.Replay(t.Context(), 1, 1, nil), errStopped)
	wantErr(t, l.Purge(t.Context(), 1), errStopped)
	wantErr(t, b.Recover(t.Context()), errStopped)
	wantErr(t, b.Health(), errStopped)
}

func TestOpenSaysWhatIsMissingOrWrong(t *testing.T) {
	t.Parallel()
	if _, err := Open(t.Context(), Options{}); err == nil {
		t.Fatal("opened without a folder")
	}
	if _, err := Open(t.Context(), Options{Folder: t.TempDir(), Logger: testLogger(t)}); err == nil {
		t.Fatal("opened where the server would not look")
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Folder: filepath.Join(file, "jetstream"), Logger: slog.New(slog.DiscardHandler)}); err == nil {
		t.Fatal("opened on a file")
	}
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "jetstream"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), Options{Folder: filepath.Join(dir, "jetstream"), Logger: slog.New(slog.DiscardHandler)}); err == nil {
		t.Fatal("opened where a file is in the way")
	} else {
		t.Log(err)
	}
	ctx, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	_, err := Open(ctx, Options{Folder: filepath.Join(t.TempDir(), "jetstream"), Logger: slog.New(slog.DiscardHandler)})
	wantErr(t, err, context.DeadlineExceeded)
	t.Log(err)
}

func TestWarningsOfTheServerReachTheLog(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	j := &serverLines{log: slog.New(slog.NewTextHandler(&lines, nil)), bell: func() {}, said: throttle{now: time.Now}}
	j.Noticef("notice")
	j.Debugf("debug")
	j.Tracef("trace")
	j.Warnf("warn %d", 1)
	j.Errorf("error %d", 2)
	j.Fatalf("fatal %d", 3)
	for _, quiet := range []string{"notice", "debug", "trace"} {
		if bytes.Contains(lines.Bytes(), []byte(quiet)) {
			t.Errorf("%s is no news", quiet)
		}
	}
	for _, loud := range []string{`level=WARN`, `line="warn 1"`, `line="error 2"`, `line="fatal 3"`} {
		if !bytes.Contains(lines.Bytes(), []byte(loud)) {
			t.Errorf("%s is missing in %s", loud, lines.String())
		}
	}
	if j.failure() != "fatal 3" {
		t.Errorf("the reason is %q", j.failure())
	}
}

// Whoever is refused tries again every second: that is said now and then, and of
// each by itself.
func TestWhatIsRepeatedIsSaidNowAndThen(t *testing.T) {
	t.Parallel()
	var lines bytes.Buffer
	now := time.Now()
	j := &serverLines{log: slog.New(slog.NewTextHandler(&lines, nil)), bell: func() {}, said: throttle{now: func() time.Time { return now }}}
	said := func() int {
		defer lines.Reset()
		return bytes.Count(lines.Bytes(), []byte("\n"))
	}
	for range 5 {
		j.Errorf("%s - TLS route handshake error: EOF", "10.0.0.1:4000 - rid:7")
		j.Errorf("%s - TLS route handshake error: EOF", "10.0.0.2:4000 - rid:8")
		j.Errorf("%s - disk %d", "10.0.0.2:4001 - rid:9", 1)
		j.Warnf("Waiting for routing to be established...")
		j.Errorf("%s - authentication error - User %q", "10.0.0.2:4001 - rid:9", userPrefix+"1")
	}
	if n := said(); n != 3 {
		t.Errorf("%d lines, want one for each server and what it is about", n)
	}
	now = now.Add(sayAgain)
	j.Errorf("%s - disk %d", "10.0.0.2:4001 - rid:9", 2)
	if n := said(); n != 1 {
		t.Errorf("%d lines after a while, want 1", n)
	}
	for i := range 2 * mostSaid {
		j.Warnf("%s - full", fmt.Sprintf("10.%d.%d.1:1", i/256, i%256))
	}
	if n := len(j.said.said); n > mostSaid {
		t.Errorf("%d things are remembered", n)
	}
}

// testLogger shows warnings in the test's output.
func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
}
