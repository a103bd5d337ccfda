package bus

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/match"
)

// replayedMatches returns what a log has.
func replayedMatches(t *testing.T, l *MatchLog) (list []string, last uint64) {
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

func TestMatchesOfShardsAreLogsOfTheirOwn(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	one, err := b.Matches(t.Context(), 1)
	if err != nil {
		t.Fatal(err)
	}
	two, err := b.Matches(t.Context(), 2)
	if err != nil {
		t.Fatal(err)
	}
	if list, last := replayedMatches(t, one); list != nil || last != 0 {
		t.Fatalf("a new log has %q up to %d", list, last)
	}
	var last [3]uint64
	var before uint64
	for i := range 10 {
		for n, l := range map[int]*MatchLog{1: one, 2: two} {
			before = last[n]
			if last[n], err = l.Append(t.Context(), last[n], fmt.Appendf(nil, "%d of %d", i, n)); err != nil {
				t.Fatal(err)
			}
		}
	}
	if _, err := one.Append(t.Context(), before, []byte("late")); !errors.Is(err, match.ErrFenced) {
		t.Errorf("what follows another batch is answered with %v", err)
	}
	list, end := replayedMatches(t, one)
	if len(list) != 10 || list[0] != "0 of 1" || list[9] != "9 of 1" || end != last[1] {
		t.Errorf("the log has %q up to %d, not %d", list, end, last[1])
	}
	if err := one.Purge(t.Context(), end); err != nil {
		t.Fatal(err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	b = open(t, dir)
	if one, err = b.Matches(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if two, err = b.Matches(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	if list, end := replayedMatches(t, one); !slices.Equal(list, []string{"9 of 1"}) || end != last[1] {
		t.Errorf("after a purge the log has %q up to %d", list, end)
	}
	if list, _ := replayedMatches(t, two); len(list) != 10 {
		t.Errorf("the other log has %q", list)
	}
	if _, err := one.Append(t.Context(), last[1], []byte("next")); err != nil {
		t.Error(err)
	}
}
