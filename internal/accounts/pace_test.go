package accounts

import (
	"testing"
	"time"
)

// Of attempts that are made side by side one that looked at the clock earlier may come
// later: it has not to wait for that.
func TestAnAttemptDoesNotWaitForOneThatCameBeforeIt(t *testing.T) {
	t.Parallel()
	p, now := newPace(2), time.Unix(1_800_000_000, 0)
	for i, at := range []time.Time{now.Add(time.Millisecond), now} {
		if wait := p.begin("192.0.2.1", at); wait != 0 {
			t.Errorf("attempt %d waits for %s", i+1, wait)
		}
	}
	if wait := p.begin("192.0.2.1", now); wait != time.Second+time.Millisecond {
		t.Errorf("the one after those that are free waits for %s", wait)
	}
}
