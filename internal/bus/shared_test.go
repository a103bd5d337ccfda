package bus

import (
	"context"
	"testing"
	"testing/synctest"
	"time"
)

// Servers that do not lead say nothing when they are asked, and neither does one that
// has died.
func TestWhoReadsAsksAgainSoonForALeaderMayHaveDied(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &engine{opts: &Options{Cluster: &Cluster{}}, failed: make(chan struct{})}
		began, asked := time.Now(), 0
		var longest time.Duration
		ask := func(ctx context.Context) error {
			asked++
			from := time.Now()
			if from.Sub(began) > time.Minute {
				return nil
			}
			<-ctx.Done()
			longest = max(longest, time.Since(from))
			if asked == 2 && time.Since(began) > waitStep/2 {
				t.Errorf("it was asked for the third time after %s", time.Since(began))
			}
			return ctx.Err()
		}
		if err := e.promptly(t.Context(), ask); err != nil {
			t.Fatal(err)
		}
		if longest != waitStep || asked > 40 {
			t.Errorf("it was asked %d times in a minute; the longest step was %s, not %s", asked, longest, waitStep)
		}
	})
}
