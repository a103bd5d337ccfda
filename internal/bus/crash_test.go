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

// writerDir names the folder of the helper process.
const writerDir = "SWITCHBOARD_BUS_TEST_WRITER"

const writerSize = 20_000

// writer appends to the log in dir and prints each sequence that was
// acknowledged, until it is killed.
func writer(dir string) int {
	err := func() error {
		ctx := context.Background()
		b, err := Open(ctx, Options{Folder: filepath.Join(dir, "jetstream"), Logger: slog.New(slog.NewTextHandler(os.Stderr, nil))})
		if err != nil {
			return err
		}
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
	}()
	fmt.Fprintln(os.Stderr, err)
	return 1
}

func TestWhatWasAcknowledgedSurvivesAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	var acknowledged uint64
	var warnings bytes.Buffer
	for round := range 5 {
		child := exec.Command(os.Args[0])
		child.Env = append(os.Environ(), writerDir+"="+dir)
		child.Stderr = os.Stderr
		out, err := child.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewScanner(out)
		for n := 0; lines.Scan(); n++ {
			if acknowledged, err = strconv.ParseUint(lines.Text(), 10, 64); err != nil {
				t.Error(err)
			}
			if n == 150+37*round {
				if err := child.Process.Kill(); err != nil {
					t.Error(err)
				}
			}
		}
		if err := child.Wait(); err == nil {
			t.Fatal("the helper ended by itself")
		}

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
