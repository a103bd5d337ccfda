package bus

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/nearby"
)

// replayedPositions returns what a log has.
func replayedPositions(t *testing.T, l *PositionLog) (list []string, last uint64) {
	t.Helper()
	last, err := l.Replay(t.Context(), func(_ uint64, batch []byte) error {
		list = append(list, string(batch))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return list, last
}

func TestPositionsGoByThemselvesAndTheirLogGoesOn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const age = 2 * time.Second
	b := open(t, dir)
	one, err := b.Positions(t.Context(), 1, age)
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.Positions(t.Context(), 2, age)
	if err != nil {
		t.Fatal(err)
	}
	first, err := one.Append(t.Context(), 0, []byte("a"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := one.Append(t.Context(), 0, []byte("late")); !errors.Is(err, nearby.ErrFenced) {
		t.Errorf("what follows another batch is answered with %v", err)
	}
	if list, last := replayedPositions(t, two); list != nil || last != 0 {
		t.Errorf("the log of another shard has %q up to %d", list, last)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir)
	if one, err = b.Positions(t.Context(), 1, age); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(30 * time.Second); ; {
		list, last := replayedPositions(t, one)
		if list == nil && last == 0 {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("the log still has %q", list)
		}
	}
	if _, err := one.Append(t.Context(), first, []byte("b")); !errors.Is(err, nearby.ErrFenced) {
		t.Errorf("what follows a batch that is gone is answered with %v: who writes is to look where the log ends", err)
	}
	if second, err := one.Append(t.Context(), 0, []byte("b")); err != nil || second <= first {
		t.Errorf("a log of which all is gone takes the next batch at %d, %v", second, err)
	}
}
