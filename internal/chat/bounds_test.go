package chat

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// unused is a store, and people, of whom nobody asks anything.
type unused struct {
	Store
	People
}

func (unused) Committers() int { return 1 }

// Of news that come faster than they are handed over so many wait; what is past that is
// dropped and counted, but for who came and went, and how far rooms are is looked for.
func TestNewsThatOverrunALaneAreLookedFor(t *testing.T) {
	c, err := New(Options{Store: unused{}, People: unused{}, App: "chat"})
	if err != nil {
		t.Fatal(err)
	}
	l := c.lanes[0]
	for range laneNews + 10 {
		l.tell(&news{kind: newsMessage})
	}
	l.tell(&news{kind: newsJoined})
	if dropped := testutil.ToFloat64(c.metrics.overrun); len(l.events) != laneNews+1 || dropped != 10 {
		t.Errorf("%d wait, and %v are counted", len(l.events), dropped)
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		l.run(ctx)
	}()
	<-c.peek
	l.tell(&news{kind: newsMessage})
	cancel()
	<-done
	if dropped := testutil.ToFloat64(c.metrics.overrun); dropped != 10 {
		t.Errorf("%v are dropped, with nothing that waits", dropped)
	}
}

// So many messages wait for a committer, and so many bytes of them. What is past that is
// refused and counted, until some are stored.
func TestMoreThanCanBeStoredIsRefused(t *testing.T) {
	for what, x := range map[string]struct {
		content []byte
		most    int
	}{
		"many":  {[]byte("1"), queueJobs},
		"large": {make([]byte, 16<<10), queueBytes / (16<<10 + 256)},
	} {
		c, err := New(Options{Store: unused{}, People: unused{}, App: "chat"})
		if err != nil {
			t.Fatal(err)
		}
		submit := func() bool { return c.submit(&job{content: x.content}) == nil }
		taken := 0
		for taken <= x.most && submit() {
			taken++
		}
		if taken != x.most {
			t.Errorf("%s: %d wait, want %d", what, taken, x.most)
		}
		if e := c.submit(&job{content: x.content}); e == nil || e.Code != wire.CodeBusy || testutil.ToFloat64(c.metrics.refused) != 2 {
			t.Errorf("%s: got %v, and %v are counted", what, e, testutil.ToFloat64(c.metrics.refused))
		}
		stored := len(c.committers[0].next())
		for n := range stored {
			if !submit() {
				t.Fatalf("%s: after %d were stored the %dth is refused", what, stored, n+1)
			}
		}
		if submit() {
			t.Errorf("%s: one more than were stored is taken", what)
		}
	}
}
