package bus

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

// These tests kill a process while it writes. It is this program once more: a
// variable in its environment says what it writes, see TestMain, and names its
// folder.

// logWriterDir is the variable of who writes a log.
const logWriterDir = "SWITCHBOARD_BUS_TEST_WRITER"

const writerSize = 20_000

// writeUntilKilled has the process that is to be killed write to a Bus of its
// own. It prints what was acknowledged, a line each.
func writeUntilKilled(dir string, write func(context.Context, *Bus) error) {
	ctx := context.Background()
	b, err := Open(ctx, Options{Folder: filepath.Join(dir, "jetstream"), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
	if err == nil {
		err = write(ctx, b)
	}
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

// killWriter starts a process that writes, and kills it when it has printed more
// than so many lines, each of which is handed to f; also those that come yet.
func killWriter(t *testing.T, environment []string, after int, f func(line string)) {
	t.Helper()
	child := exec.Command(os.Args[0])
	child.Env = append(os.Environ(), environment...)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	must(t, err)
	must(t, child.Start())
	lines := bufio.NewScanner(out)
	for n := 0; lines.Scan(); n++ {
		f(lines.Text())
		if n == after {
			must(t, child.Process.Kill())
		}
	}
	if err := child.Wait(); err == nil || child.ProcessState.Exited() {
		t.Fatalf("the helper ended by itself: %v", err)
	}
}

// acknowledgedUntilKill returns the last number that a process printed that
// writes to dir and was killed.
func acknowledgedUntilKill(t *testing.T, variable, dir string, after int) (number uint64) {
	t.Helper()
	killWriter(t, []string{variable + "=" + dir}, after, func(line string) {
		var err error
		if number, err = strconv.ParseUint(line, 10, 64); err != nil {
			t.Error(err)
		}
	})
	return number
}

// writeLog appends batches.
func writeLog(ctx context.Context, b *Bus) error {
	l, err := b.Log(ctx, 0)
	if err != nil {
		return err
	}
	_, last, _, err := l.Bounds(ctx)
	if err != nil {
		return err
	}
	for {
		if last, err = l.Append(ctx, last, batch(last+1, writerSize)); err != nil {
			return err
		}
		fmt.Println(last)
		if last%100 == 0 { // the head goes, as a keeper's does
			if err := l.Purge(ctx, last-50); err != nil {
				return err
			}
		}
	}
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var warnings bytes.Buffer
	for round := range 5 {
		acknowledged := acknowledgedUntilKill(t, logWriterDir, dir, 150+37*round)
		b := open(t, dir, func(o *Options) {
			o.Logger = slog.New(slog.NewJSONHandler(&warnings, &slog.HandlerOptions{Level: slog.LevelWarn}))
		})
		l := shardLog(t, b, 0)
		first, last, _, err := l.Bounds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if last < acknowledged || last > acknowledged+1 {
			t.Fatalf("%d was acknowledged last, the log ends at %d", acknowledged, last)
		}
		wantLog(t, l, first, last, writerSize)
		t.Logf("round %d: acknowledged %d, log from %d to %d", round, acknowledged, first, last)
		shut(t, b)
	}
	wantDocumented(t, warnings.String())
}

// wantDocumented compares what was logged with the lines that
// docs/operations.md calls normal after a kill.
func wantDocumented(t *testing.T, logged string) {
	t.Helper()
	docs, err := os.ReadFile("../../docs/operations.md")
	if err != nil {
		t.Fatal(err)
	}
	var normal []string
	for _, m := range regexp.MustCompile("`(Filestore \\[SB_LOG_0\\] [^`]+)`").FindAllSubmatch(docs, -1) {
		normal = append(normal, string(m[1]))
	}
	for line := range strings.Lines(logged) {
		if !slices.ContainsFunc(normal, func(n string) bool { return strings.Contains(line, `"line":"`+n) }) {
			t.Errorf("docs/operations.md does not know of this line after a kill: %s", line)
		}
	}
}

func TestRecoverStartsAFailedServerAnew(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	l := shardLog(t, b, 0)
	fill(t, l, 0, 10, 1000)
	if err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	before := b.current.Load()
	if err := b.Recover(t.Context()); err != nil || b.current.Load() != before {
		t.Fatalf("a healthy server was started anew: %v", err)
	}

	before.srv.Shutdown()
	_, err := l.Append(t.Context(), 10, batch(11, 1000))
	if err == nil {
		t.Fatal("appended to a server that is gone")
	}
	t.Log(err)
	if err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if b.current.Load() == before {
		t.Fatal("the server is still the old one")
	}
	wantLog(t, l, 1, 10, 1000)
	fill(t, l, 10, 20, 1000)
	wantLog(t, l, 1, 20, 1000)
}

func TestAnAppendUnderWayDuringARecoveryIsUnknownOrStored(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	l := shardLog(t, b, 0)
	last := uint64(0)
	for range 3 {
		results := make(chan error, 1)
		started := make(chan struct{})
		go func() {
			for n := 0; ; n++ {
				if n == 20 {
					close(started)
				}
				seq, err := l.Append(context.Background(), last, batch(last+1, 5000))
				if err != nil {
					results <- err
					return
				}
				last = seq
			}
		}()
		<-started
		b.current.Load().fail(errors.New("as if a disk had failed"))
		err := <-results
		if !errors.Is(err, mailbox.ErrUnknown) {
			t.Logf("refused before it was sent: %v", err)
		}
		if err := b.Recover(t.Context()); err != nil {
			t.Fatal(err)
		}
		_, end, _, err := l.Bounds(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if end < last || end > last+1 {
			t.Fatalf("%d was acknowledged, the log ends at %d", last, end)
		}
		wantLog(t, l, 1, end, 5000)
		last = end
	}
}
