package wire_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

var noon = time.Date(2026, 11, 20, 12, 0, 0, 345e6, time.UTC)

func newID(t *testing.T, now time.Time, random string) wire.ID {
	t.Helper()
	id, err := wire.NewID(now, strings.NewReader(random))
	if err != nil {
		t.Fatal(err)
	}
	return id
}

func TestAnIDIsAUUIDv7(t *testing.T) {
	id := newID(t, noon, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	if got, want := id.String(), "01a1f8d3-eb59-7fff-bfff-ffffffffffff"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if !id.Time().Equal(noon) {
		t.Errorf("its time is %v", id.Time())
	}
	if id.IsZero() || !(wire.ID{}).IsZero() {
		t.Error("IsZero is wrong")
	}
}

func TestIDsSortByTime(t *testing.T) {
	var texts []string
	for i := range 50 {
		texts = append(texts, newID(t, noon.Add(time.Duration(i)*time.Millisecond), strings.Repeat(string(rune('z'-i/2)), 10)).String())
	}
	if !slices.IsSorted(texts) {
		t.Error("they do not")
	}
}

func TestAnIDHasOneSpelling(t *testing.T) {
	id := newID(t, noon, "0123456789")
	text := id.String()
	if back, err := wire.ParseID(text); err != nil || back != id {
		t.Errorf("%s came back as %s, error %v", text, back, err)
	}
	for _, bad := range []string{
		"", text[:35], text + "0", strings.ToUpper(text), "{" + text[1:],
		strings.ReplaceAll(text, "-", "0"), strings.Replace(text, "-", "", 1) + "0",
		"g" + text[1:], text[:35] + "g", text[:14] + "4" + text[15:], text[:19] + "c" + text[20:],
		"00000000-0000-0000-0000-000000000000",
	} {
		if got, err := wire.ParseID(bad); err == nil {
			t.Errorf("%q was accepted as %s", bad, got)
		}
	}
}

func TestADerivedIDIsAlwaysTheSame(t *testing.T) {
	id := newID(t, noon, "0123456789")
	gone := id.Derive("gone")
	if gone != id.Derive("gone") {
		t.Error("it is not")
	}
	if gone == id || gone == id.Derive("come") || gone == newID(t, noon, "0123456780").Derive("gone") {
		t.Error("different origins give the same ID")
	}
	if !gone.Time().Equal(noon) {
		t.Errorf("its time is %v", gone.Time())
	}
	if _, err := wire.ParseID(gone.String()); err != nil {
		t.Error(err)
	}
	// Stored by old versions: it must never change.
	if got, want := gone.String(), "01a1f8d3-eb59-7700-9ce8-7ae5df80685a"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestAnIDNeedsRandomness(t *testing.T) {
	broken := errors.New("broken")
	if _, err := wire.NewID(noon, iotest.ErrReader(broken)); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if _, err := wire.NewID(noon, strings.NewReader("short")); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

func TestAnIDIsTextInJSON(t *testing.T) {
	id := newID(t, noon, "0123456789")
	b, err := json.Marshal(id)
	if err != nil || !bytes.Equal(b, []byte(`"`+id.String()+`"`)) {
		t.Fatalf("%s, %v", b, err)
	}
	var back wire.ID
	if err := json.Unmarshal(b, &back); err != nil || back != id {
		t.Errorf("came back as %s, %v", back, err)
	}
	if err := json.Unmarshal([]byte(`"nonsense"`), &back); err == nil || back != id {
		t.Errorf("nonsense gave %s, %v", back, err)
	}
}

func FuzzID(f *testing.F) {
	f.Add("019aa125-cf59-7fff-bfff-ffffffffffff")
	f.Fuzz(func(t *testing.T, s string) {
		if id, err := wire.ParseID(s); err == nil && id.String() != s {
			t.Fatalf("%q was read as %s", s, id)
		}
	})
}
