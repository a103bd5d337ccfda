package audit

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// lines reads what was written.
func lines(t *testing.T, text string) (list []Event) {
	t.Helper()
	for line := range strings.Lines(text) {
		var e Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		list = append(list, e)
	}
	return list
}

func TestEventsAreWrittenAsLinesAndTheFileIsOpenedAnew(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	l, err := Open(Options{File: file, Now: func() time.Time { return time.Unix(1700000000, 0) }})
	if err != nil {
		t.Fatal(err)
	}
	l.Note(Event{Event: "signIn", App: "ANZ", User: "ANZ-1\n\"", Address: "192.0.2.1:5"})
	l.Note(Event{Event: "signInRefused", User: strings.Repeat("é", 500), Code: "BAD_TOKEN", Refusal: true})
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	if err := l.Reopen(); err != nil {
		t.Fatal(err)
	}
	l.Note(Event{Event: "signOut"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(file + ".1")
	if got := lines(t, string(before)); len(got) != 2 || got[0].User != "ANZ-1\n\"" || got[0].Time.Unix() != 1700000000 || len(got[1].User) > longest || got[1].Code != "BAD_TOKEN" {
		t.Errorf("got %s", before)
	}
	after, _ := os.ReadFile(file)
	if got := lines(t, string(after)); len(got) != 1 || got[0].Event != "signOut" {
		t.Errorf("then %s", after)
	}
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v %v", info, err)
	}
}

func TestAFloodOfRefusalsIsCutShortAndSaidToBe(t *testing.T) {
	now := time.Unix(1700000000, 0)
	var out bytes.Buffer
	l, err := Open(Options{File: "-", Out: &out, Now: func() time.Time { return now }})
	if err != nil {
		t.Fatal(err)
	}
	for range 1000 {
		l.Note(Event{Event: "signInRefused", Refusal: true})
	}
	now = now.Add(time.Second)
	l.Note(Event{Event: "signIn"})
	l.Note(Event{Event: "signInRefused", Refusal: true})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	got := lines(t, out.String())
	if len(got) != refusalsASecond+2 || got[refusalsASecond].Missing != 1000-refusalsASecond || got[refusalsASecond+1].Missing != 0 {
		t.Errorf("%d lines, %+v", len(got), got[len(got)-2:])
	}
	if n := testutil.ToFloat64(l.lost); n != 1000-refusalsASecond {
		t.Errorf("counted %v", n)
	}
}

// broken fails until it is mended.
type broken struct {
	bytes.Buffer
	is bool
}

func (b *broken) Write(p []byte) (int, error) {
	if b.is {
		return 0, errors.New("no room")
	}
	return b.Buffer.Write(p)
}

func TestWhatCannotBeWrittenIsSaidOnceAndEndsByItself(t *testing.T) {
	var said bytes.Buffer
	out := &broken{is: true}
	l, err := Open(Options{File: "-", Out: out, Log: slog.New(slog.NewTextHandler(&said, nil))})
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		l.Note(Event{Event: "signIn"})
		if err := l.Reopen(); err != nil { // which waits until it was tried to write it
			t.Fatal(err)
		}
	}
	out.is = false
	l.Note(Event{Event: "signOut"})
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if strings.Count(said.String(), "level=ERROR") != 1 || !strings.Contains(out.String(), "signOut") {
		t.Errorf("said %s, wrote %s", said.String(), out.String())
	}
}

// full is a disk with room for so many bytes.
type full struct {
	bytes.Buffer
	room int
}

func (f *full) Write(p []byte) (int, error) {
	n := min(len(p), f.room)
	f.room -= n
	_, _ = f.Buffer.Write(p[:n])
	if n < len(p) {
		return n, errors.New("no room")
	}
	return n, nil
}

func TestWhatADiskHasNoRoomForIsMissingAndSpoilsNoLine(t *testing.T) {
	out := &full{room: 30}
	l, err := Open(Options{File: "-", Out: out})
	if err != nil {
		t.Fatal(err)
	}
	note := func(event string) {
		t.Helper()
		l.Note(Event{Event: event})
		if err := l.Reopen(); err != nil { // which waits until it was tried to write it
			t.Fatal(err)
		}
	}
	note("cut")
	note("lost")
	out.room = 1000
	note("whole")
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	cut, rest, _ := strings.Cut(out.String(), "\n")
	got := lines(t, rest)
	if len(cut) != 30 || len(got) != 1 || got[0].Event != "whole" || got[0].Missing != 2 {
		t.Errorf("wrote %q", out.String())
	}
	if n := testutil.ToFloat64(l.lost); n != 2 {
		t.Errorf("counted %v", n)
	}
}

func TestALineIsNotWrittenBehindHalfOfOne(t *testing.T) {
	file := filepath.Join(t.TempDir(), "audit.log")
	if err := os.WriteFile(file, []byte(`{"time":"20`), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		l, err := Open(Options{File: file})
		if err != nil {
			t.Fatal(err)
		}
		l.Note(Event{Event: "signIn"})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	text, _ := os.ReadFile(file)
	if _, rest, _ := strings.Cut(string(text), "\n"); len(lines(t, rest)) != 2 {
		t.Errorf("wrote %q", text)
	}
}

func TestWithoutALogNothingIsNoted(t *testing.T) {
	var l *Log
	l.Note(Event{Event: "signIn"})
	if l.Reopen() != nil || l.Close() != nil {
		t.Error("it fails")
	}
	if _, err := Open(Options{File: filepath.Join(t.TempDir(), "no", "where")}); err == nil {
		t.Error("there is a log in no folder")
	}
}
