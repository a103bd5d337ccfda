package bus

import (
	"context"
	"errors"
	"sync"
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
		began := time.Now()
		var mu sync.Mutex
		var asked []time.Duration
		ask := func(ctx context.Context) (string, error) {
			mu.Lock()
			asked = append(asked, time.Since(began))
			mu.Unlock()
			if time.Since(began) > time.Minute {
				return "here", nil
			}
			<-ctx.Done()
			return "", ctx.Err()
		}
		if got, err := promptly(t.Context(), e, ask); got != "here" || err != nil {
			t.Fatal(got, err)
		}
		synctest.Wait()
		last := len(asked) - 1
		if asked[1] > waitStep/8 || asked[2] > waitStep/2 || asked[last]-asked[last-1] != waitStep || len(asked) > 40 {
			t.Errorf("it was asked after %s", asked)
		}
	})
}

// An answer that takes longer than it is waited for before the next is asked counts.
func TestAnAnswerThatIsSlowIsWaitedForThoughItIsAskedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := &engine{opts: &Options{Cluster: &Cluster{}}, failed: make(chan struct{})}
		ask := func(ctx context.Context) (string, error) {
			select {
			case <-time.After(3 * waitStep):
				return "large", nil
			case <-ctx.Done():
				return "", ctx.Err()
			}
		}
		began := time.Now()
		if got, err := promptly(t.Context(), e, ask); got != "large" || err != nil || time.Since(began) != 3*waitStep {
			t.Errorf("got %q, %v after %s", got, err, time.Since(began))
		}
		short, cancel := context.WithTimeout(t.Context(), waitStep)
		defer cancel()
		if _, err := promptly(short, e, ask); !errors.Is(err, context.DeadlineExceeded) || !passing(err) {
			t.Errorf("got %v", err)
		}
	})
}
