package relay

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

func TestSlicesAreNamedByTheDayAndTheSlotInIt(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		at, unit time.Duration // since 1970
		want     string
		end      time.Duration
	}{
		{0, 5 * time.Second, "0.0", time.Millisecond},
		{time.Millisecond, 5 * time.Second, "0.1", 5001 * time.Millisecond},
		{5 * time.Second, 5 * time.Second, "0.1", 5001 * time.Millisecond},
		{5001 * time.Millisecond, 5 * time.Second, "0.2", 10_001 * time.Millisecond},
		{20_000*day - time.Millisecond, 5 * time.Second, "19999.17280", 20_000 * day},
		{20_000 * day, 5 * time.Second, "20000.0", 20_000*day + time.Millisecond},
		{20_000*day + 7*time.Hour, 24 * time.Hour, "20000.1", 20_001 * day},
		{86_399 * time.Second, 7 * time.Second, "0.12343", day},
		{3 * time.Millisecond, time.Millisecond, "0.3", 4 * time.Millisecond},
	} {
		n := sliceOf(time.Unix(0, 0).Add(c.at), c.unit)
		if got, end := n.file("", ""), n.end(c.unit).Sub(time.Unix(0, 0)); got != c.want || end != c.end {
			t.Errorf("%s in units of %s: %s until %s, not %s until %s", c.at, c.unit, got, end, c.want, c.end)
		}
	}
}

// making is a maker that runs on a spool of its own, fed by a pipe.
type making struct {
	t      *testing.T
	spool  string
	feed   *io.PipeWriter
	cancel context.CancelFunc
	ended  chan error
}

func startMaking(t *testing.T, dir string, change func(*MakerSettings, *MakerOptions)) *making {
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	m := &making{t: t, spool: dir, feed: w, cancel: cancel, ended: make(chan error, 1)}
	s := DefaultMaker()
	s.Spool, s.Prefix, s.Record = dir, "x-", 20
	o := MakerOptions{In: r, Log: quiet()}
	o.Load = func() (MakerSettings, error) { return s, nil }
	if change != nil {
		change(&s, &o)
	}
	go func() { m.ended <- RunMaker(ctx, o) }()
	return m
}

func (m *making) write(text string) {
	m.t.Helper()
	if _, err := io.WriteString(m.feed, text); err != nil {
		m.t.Fatal(err)
	}
}

// files returns what is in the spool, as "name: content".
func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		if e.Type().IsRegular() {
			b, err := os.ReadFile(filepath.Join(dir, e.Name()))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, fmt.Sprintf("%s: %s", e.Name(), b))
		}
	}
	return list
}

func (m *making) expect(want ...string) {
	m.t.Helper()
	if got := files(m.t, m.spool); !slices.Equal(got, want) {
		m.t.Errorf("there are %q, not %q", got, want)
	}
}

// The bubble's clock begins with a day: 10957 days after 1970.
func TestRecordsOfASliceAreOneFileThatIsSeenWhenTheSliceIsOver(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Second)
		m := startMaking(t, dir, nil)
		m.write("one\n\ntw")
		m.write("o\n" + strings.Repeat("large", 5) + "\nthree\n")
		synctest.Wait()
		m.expect()
		time.Sleep(4 * time.Second)
		m.expect()
		time.Sleep(100 * time.Millisecond) // of the bubble
		m.expect("x-10957.1.bucket: one\ntwo\nthree\n")
		m.write("four\nfive")
		synctest.Wait()
		time.Sleep(20 * time.Second)
		_ = m.feed.Close()
		if err := <-m.ended; err != nil {
			t.Error(err)
		}
		m.expect("x-10957.1.bucket: one\ntwo\nthree\n", "x-10957.2.bucket: four\n", "x-10957.6.bucket: five\n")
		m.cancel()
	})
}

func TestAfterAKillSlicesThatAreOverArePublishedAndThatOfNowGoesOn(t *testing.T) {
	dir := t.TempDir()
	own := filepath.Join(dir, ".switchboard", "maker")
	if err := os.MkdirAll(own, 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"x-10956.7.bucket": "a\nb\nhalf", "other": "c\n", "x-10957.1.bucket": "d\n", "x-10956.9.bucket": "half"} {
		if err := os.WriteFile(filepath.Join(own, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Second)
		m := startMaking(t, dir, nil)
		synctest.Wait()
		m.expect("other: c\n", "x-10956.7.bucket: a\nb\n")
		m.write("e\nhalf")
		synctest.Wait() // it has read that
		m.cancel()      // the input goes on; what is whole is published
		if err := <-m.ended; err != nil {
			t.Error(err)
		}
		m.expect("other: c\n", "x-10956.7.bucket: a\nb\n", "x-10957.1.bucket: d\ne\n")
		_ = m.feed.Close()
	})
}

func TestAClockThatGoesBackOverwritesNothing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Second)
		var mu sync.Mutex
		back := time.Duration(0)
		m := startMaking(t, dir, func(_ *MakerSettings, o *MakerOptions) {
			o.Now = func() time.Time { mu.Lock(); defer mu.Unlock(); return time.Now().Add(-back) }
		})
		m.write("one\n")
		time.Sleep(6 * time.Second)
		m.write("two\n")
		synctest.Wait()
		mu.Lock()
		back = 6 * time.Second
		mu.Unlock()
		m.write("three\n")
		_ = m.feed.Close()
		if err := <-m.ended; err != nil {
			t.Error(err)
		}
		m.expect("x-10957.1.bucket: one\n", "x-10957.1.f6936912.bucket: three\n", "x-10957.2.bucket: two\n")
		m.cancel()
	})
}

// fullBench has no room for a while.
type fullBench struct {
	bench
	mu   sync.Mutex
	full int // so many writes fail
	seen int
}

func (b *fullBench) Open(name string) (draft, error) {
	d, err := b.bench.Open(name)
	return fullDraft{d, b}, err
}

type fullDraft struct {
	draft
	b *fullBench
}

func (d fullDraft) Append(records []byte) error {
	d.b.mu.Lock()
	defer d.b.mu.Unlock()
	if d.b.full != 0 {
		d.b.full--
		d.b.seen++
		return fmt.Errorf("%w: as a test has it", spool.ErrFull)
	}
	return d.draft.Append(records)
}

func benchWith(full *fullBench) func(string) (bench, error) {
	return func(dir string) (bench, error) {
		d, err := spool.OpenDrafts(dir)
		full.bench = drafts{d}
		return full, err
	}
}

func TestAFullDiskHoldsTheInputBackAndLosesNothing(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		full := &fullBench{full: 30}
		m := startMaking(t, dir, func(s *MakerSettings, o *MakerOptions) {
			o.open, s.Unit = benchWith(full), 24*time.Hour
		})
		var want strings.Builder
		for i := range 500 {
			fmt.Fprintf(&want, "record %d\n", i)
			m.write(fmt.Sprintf("record %d\n", i))
		}
		_ = m.feed.Close()
		if err := <-m.ended; err != nil || full.seen != 30 {
			t.Error(err, full.seen)
		}
		var got bytes.Buffer
		for _, f := range files(t, dir) {
			_, content, _ := strings.Cut(f, ": ")
			got.WriteString(content)
		}
		if got.String() != want.String() {
			t.Errorf("there are %d bytes, not %d", got.Len(), want.Len())
		}
		m.cancel()
	})
}

func TestAMakerThatIsStoppedWhileTheDiskIsFullSaysWhatIsLost(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		m := startMaking(t, dir, func(_ *MakerSettings, o *MakerOptions) { o.open = benchWith(&fullBench{full: -1}) })
		m.write("one\n")
		m.write("two\nthree\n")
		time.Sleep(time.Minute)
		m.cancel()
		if err := <-m.ended; err == nil || !strings.Contains(err.Error(), "3 records that were read cannot be written") || !errors.Is(err, spool.ErrFull) {
			t.Error(err)
		}
		_ = m.feed.Close()
	})
}

func TestRecordsComeOverHTTPAndAreSafeWhenTheyAreAnswered(t *testing.T) {
	dir, secret := t.TempDir(), filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(secret, []byte("a-secret-of-one-word\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	full, out := &fullBench{}, newStart()
	m := startMaking(t, dir, func(s *MakerSettings, o *MakerOptions) {
		s.Listen, s.Admin, s.Unit, s.SecretFile = "127.0.0.1:0", "127.0.0.1:0", 24*time.Hour, secret
		o.open, o.Out = benchWith(full), out
		o.Now = func() time.Time { return time.Unix(1_700_000_000, 0) }
	})
	at := out.wait(t, m.ended)
	send := func(method, path, body string, headers ...string) string {
		r := request(t, method, at["listen"]+path, append([]string{"Authorization", "Bearer a-secret-of-one-word"}, headers...)...)
		r.Body = io.NopCloser(strings.NewReader(body))
		status, text := get(t, r)
		code, _, _ := strings.Cut(text, ":")
		return fmt.Sprint(status, " ", code)
	}
	var sending sync.WaitGroup
	for i := range 20 {
		sending.Go(func() {
			if got := send(http.MethodPost, "/records", fmt.Sprintf("record %02d\nmore", i)); got != "200 success" {
				t.Error(got)
			}
		})
	}
	sending.Wait()
	kept, err := os.ReadFile(filepath.Join(dir, ".switchboard", "maker", "x-19675.1.bucket"))
	if err != nil || bytes.Count(kept, []byte("\nmore\n")) != 20 {
		t.Errorf("%q %v", kept, err)
	}
	full.mu.Lock()
	full.full = 1
	full.mu.Unlock()
	for _, c := range []struct{ want, got string }{
		{"503 FULL", send(http.MethodPut, "/", "a\n")},
		{"200 success", send(http.MethodPut, "/", "a\n")},
		{"200 success", send(http.MethodPost, "/records", "\n\n")},
		{"413 TOO_LARGE", send(http.MethodPost, "/records", "b\n"+strings.Repeat("c", 21)+"\n")},
		{"413 TOO_LARGE", send(http.MethodPost, "/records", strings.Repeat("c\n", 1<<19+100))},
		{"405 METHOD", send(http.MethodGet, "/records", "")},
		{"404 NOT_FOUND", send(http.MethodPut, "/file.csv", "a\n")},
		{"403 ORIGIN", send(http.MethodPost, "/", "a\n", "Origin", "http://elsewhere.example")},
		{"401 SECRET", send(http.MethodPost, "/", "a\n", "Authorization", "Bearer another")},
	} {
		if c.got != c.want {
			t.Errorf("%s, not %s", c.got, c.want)
		}
	}
	_, metrics := get(t, request(t, http.MethodGet, at["admin"]+"/metrics", "Authorization", "Bearer a-secret-of-one-word"))
	for _, line := range []string{"switchboard_relay_records_total 41", `switchboard_relay_refused_total{code="TOO_LARGE"} 2`, "switchboard_relay_waiting_files 1"} {
		if !strings.Contains(metrics, line+"\n") {
			t.Errorf("/metrics lacks %s", line)
		}
	}
	m.cancel()
	if err := <-m.ended; err != nil {
		t.Error(err)
	}
	if got := files(t, dir); len(got) != 1 || !strings.HasPrefix(got[0], "x-19675.1.bucket: ") || strings.Count(got[0], "\n") != 41 {
		t.Errorf("published is %q", got)
	}
}

func TestNewSettingsOfAMakerHoldFromTheNextRecordOn(t *testing.T) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(time.Second)
		reload := make(chan struct{})
		var mu sync.Mutex
		var s MakerSettings
		var bad error
		m := startMaking(t, dir, func(first *MakerSettings, o *MakerOptions) {
			s, o.Reload = *first, reload
			o.Load = func() (MakerSettings, error) { mu.Lock(); defer mu.Unlock(); return s, bad }
		})
		again := func(change func()) {
			synctest.Wait() // until what was written before is taken
			mu.Lock()
			change()
			mu.Unlock()
			reload <- struct{}{}
			synctest.Wait()
		}
		m.write("one\n")
		again(func() { s.Suffix, bad = ".bad", errors.New("bad") })
		m.write("two\n")
		again(func() { s.Suffix, s.Spool, bad = ".day", filepath.Join(dir, "elsewhere"), nil })
		m.write("three\n")
		again(func() { s.Listen = "127.0.0.1:0" }) // takes a restart
		m.write("four\n")
		_ = m.feed.Close()
		if err := <-m.ended; err != nil {
			t.Error(err)
		}
		m.expect("x-10957.1.bucket: one\ntwo\n", "x-10957.1.day: three\nfour\n")
		m.cancel()
	})
}
