package bus

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/webhooks"
)

var (
	billing = webhooks.Name{App: "ANZ", Name: "billing"}
	audit   = webhooks.Name{App: "ANZ", Name: "audit-2"}
)

func trail(t testing.TB, b *Bus, l TrailLimits) *Trail {
	t.Helper()
	tr, err := b.Trail(t.Context(), l)
	if err != nil {
		t.Fatal(err)
	}
	return tr
}

// roomy are limits that no test reaches.
func roomy() TrailLimits { return TrailLimits{Age: time.Hour, Bytes: 1 << 30} }

// write stores a record behind the one numbered last.
func (tr *Trail) write(t testing.TB, of webhooks.Name, last uint64, record string) uint64 {
	t.Helper()
	number, err := tr.Append(t.Context(), of, last, []byte(record))
	if err != nil {
		t.Fatal(err)
	}
	return number
}

// wantRecord checks what a call returned.
func wantRecord(t testing.TB, number uint64, record []byte, err error, want string) {
	t.Helper()
	got := fmt.Sprintf("%d %s", number, record)
	if errors.Is(err, webhooks.ErrGone) {
		got = "gone"
	} else if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestATrailIsReadByWebhookInBothDirections(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	tr := trail(t, b, roomy())
	ctx := t.Context()
	n, text, err := tr.Last(ctx, billing)
	wantRecord(t, n, text, err, "0 ")
	began := time.Now()
	first := tr.write(t, billing, 0, "a")
	tr.write(t, audit, 0, "b")
	middle := time.Now()
	second := tr.write(t, billing, first, "c")
	if first != 1 || second != 3 {
		t.Fatalf("they are numbered %d and %d", first, second)
	}
	check := func(tr *Trail) {
		t.Helper()
		n, text, err := tr.Last(ctx, billing)
		wantRecord(t, n, text, err, "3 c")
		n, text, err = tr.Last(ctx, audit)
		wantRecord(t, n, text, err, "2 b")
		n, text, err = tr.From(ctx, billing, 0)
		wantRecord(t, n, text, err, "1 a")
		n, text, err = tr.From(ctx, billing, 2)
		wantRecord(t, n, text, err, "3 c")
		n, text, err = tr.From(ctx, billing, 4)
		wantRecord(t, n, text, err, "gone")
		n, text, err = tr.From(ctx, webhooks.Name{App: "ANZ", Name: "none"}, 1)
		wantRecord(t, n, text, err, "gone")
		n, text, err = tr.Since(ctx, billing, began.Add(-time.Hour))
		wantRecord(t, n, text, err, "1 a")
		n, text, err = tr.Since(ctx, billing, middle)
		wantRecord(t, n, text, err, "3 c")
		n, text, err = tr.Since(ctx, billing, time.Now().Add(time.Hour))
		wantRecord(t, n, text, err, "gone")
		for number, want := range map[uint64]string{0: "gone", 1: "1 a", 2: "2 b", 3: "3 c", 4: "gone"} {
			text, err = tr.Read(ctx, number)
			wantRecord(t, number, text, err, want)
		}
	}
	check(tr)
	shut(t, b)
	check(trail(t, open(t, dir), roomy()))
}

func TestATrailHasOneWriterAWebhook(t *testing.T) {
	t.Parallel()
	tr := trail(t, open(t, t.TempDir()), roomy())
	first := tr.write(t, billing, 0, "a")
	for _, last := range []uint64{0, first + 1} {
		_, err := tr.Append(t.Context(), billing, last, []byte("b"))
		wantErr(t, err, webhooks.ErrFollowed)
	}
	for _, of := range []webhooks.Name{{App: "A.B", Name: "x"}, {App: "A", Name: "*"}, {App: "A", Name: ">"}, {App: "", Name: "x"}, {}} {
		if _, err := tr.Append(t.Context(), of, 0, []byte("b")); err == nil {
			t.Errorf("%q has a history", of)
		}
		if _, _, err := tr.Last(t.Context(), of); err == nil {
			t.Errorf("the history of %q is read", of)
		}
	}
}

func TestTheOldestRecordsGoByBytesAndByAge(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	tr := trail(t, b, TrailLimits{Age: time.Hour, Bytes: 1 << 20})
	last := uint64(0)
	for range 300 {
		last = tr.write(t, billing, last, string(bytes.Repeat([]byte("x"), 10_000)))
	}
	first, _, err := tr.From(t.Context(), billing, 0)
	if err != nil || first < 150 || first > 250 {
		t.Fatalf("it begins at %d, %v", first, err)
	}
	if _, err := tr.Read(t.Context(), first-1); !errors.Is(err, webhooks.ErrGone) {
		t.Errorf("what has gone: %v", err)
	}
	// Less of it may be kept at any time, and what has gone is no damage.
	trail(t, b, TrailLimits{Age: time.Hour, Bytes: 200_000})
	if now, _, err := tr.From(t.Context(), billing, 0); err != nil || now <= first {
		t.Errorf("it begins at %d, %v", now, err)
	}
	shut(t, b)
	b = open(t, dir)
	tr = trail(t, b, TrailLimits{Age: 200 * time.Millisecond, Bytes: 1 << 20})
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(time.Minute); ; <-tick.C {
		n, _, err := tr.Last(t.Context(), billing)
		if err == nil && n == 0 {
			break
		}
		if err != nil || time.Now().After(end) {
			t.Fatalf("record %d is still there, %v", n, err)
		}
	}
	// Numbers go on, and the writer finds that it begins anew.
	_, err = tr.Append(t.Context(), billing, last, []byte("y"))
	wantErr(t, err, webhooks.ErrFollowed)
	if n := tr.write(t, billing, 0, "y"); n != last+1 {
		t.Errorf("the next one is %d", n)
	}
	shut(t, b)
	trail(t, open(t, dir), roomy())
}

func TestATrailGoesOnAfterARecovery(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	tr := trail(t, b, roomy())
	first := tr.write(t, billing, 0, "a")
	e, err := b.engine()
	if err != nil {
		t.Fatal(err)
	}
	e.fail(errors.New("the disk went away"))
	if _, err := tr.Append(t.Context(), billing, first, []byte("b")); err == nil {
		t.Error("it appends to a server that has failed")
	}
	if err := b.Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n := tr.write(t, billing, first, "b"); n != first+1 {
		t.Errorf("the next one is %d", n)
	}
}

func TestAFullDiskTakesNoRecord(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir(), func(o *Options) { o.Reserve = 1 << 20 })
	tr := trail(t, b, roomy())
	b.opts.Reserve = 1 << 62
	if _, err := tr.Append(t.Context(), billing, 0, []byte("a")); err == nil {
		t.Error("it is stored")
	}
}

// trailWriterDir is the variable of who writes a trail.
const trailWriterDir = "SWITCHBOARD_BUS_TEST_TRAIL_WRITER"

// fleeting are limits that have what the helper writes go all the time, by bytes
// and by age.
func fleeting() TrailLimits { return TrailLimits{Age: 300 * time.Millisecond, Bytes: 1 << 20} }

// writeTrail appends records, the oldest of which go.
func writeTrail(ctx context.Context, b *Bus) error {
	tr, err := b.Trail(ctx, fleeting())
	if err != nil {
		return err
	}
	for {
		last, _, err := tr.Last(ctx, billing)
		if err == nil {
			last, err = tr.Append(ctx, billing, last, batch(last+1, writerSize))
		}
		if errors.Is(err, webhooks.ErrFollowed) {
			continue // what was the last has gone in between
		}
		if err != nil {
			return err
		}
		fmt.Println(last)
	}
}

func TestATrailSurvivesAKillWhileItsOldestGo(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for round := range 5 {
		acknowledged := acknowledgedUntilKill(t, trailWriterDir, dir, 300+137*round)
		b := open(t, dir)
		tr := trail(t, b, roomy())
		last, _, err := tr.Last(t.Context(), billing)
		// What was acknowledged is there, or its time was over.
		if err != nil || last != 0 && last != acknowledged && last != acknowledged+1 {
			t.Fatalf("round %d: %d was acknowledged last, the trail ends at %d, %v", round, acknowledged, last, err)
		}
		if number, err := tr.Append(t.Context(), billing, last, []byte("after")); err != nil || number <= acknowledged {
			t.Fatalf("round %d: %d was acknowledged last, the next one is %d, %v", round, acknowledged, number, err)
		}
		shut(t, b)
	}
}
