package node

import (
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/shards"
)

// standingAt is what a node knows of shards at a time.
type standingAt struct {
	after    time.Duration
	unserved []int
	cutOff   bool
	ready    bool
}

func judge(t *testing.T, steps []standingAt) {
	t.Helper()
	var l lapses
	at := time.Now()
	for _, s := range steps {
		if got := l.look(s.unserved, !s.cutOff, at.Add(s.after)); got != s.ready {
			t.Errorf("after %s, without keepers %v, cut off %v: ready is %v", s.after, s.unserved, s.cutOff, got)
		}
	}
}

func TestAShardWithoutAKeeperMakesANodeUnreadyWhenItLastsAndAtTheStart(t *testing.T) {
	judge(t, []standingAt{
		{after: 0, unserved: []int{0, 1}},
		{after: time.Second, unserved: []int{1}}, // it was never ready
		{after: 2 * time.Second, ready: true},
		{after: 3 * time.Second, unserved: []int{1, 4}, ready: true},
		{after: 11 * time.Second, unserved: []int{4}, ready: true},
		{after: 12 * time.Second, unserved: []int{1, 4}, ready: true}, // 1 had a keeper meanwhile
		{after: 3*time.Second + shards.Patience - 1, unserved: []int{1, 4}, ready: true},
		{after: 3*time.Second + shards.Patience, unserved: []int{1, 4}},
		{after: 4*time.Second + shards.Patience, unserved: []int{1}}, // 1 alone would not matter yet
		{after: 13*time.Second + shards.Patience, ready: true},
		{after: 14*time.Second + shards.Patience, unserved: []int{4}, ready: true},
	})
}

func TestANodeThatWasCutOffIsReadyWhenAllShardsAreServed(t *testing.T) {
	judge(t, []standingAt{
		{after: 0, ready: true},
		{after: time.Second, cutOff: true},
		{after: 2 * time.Second, unserved: []int{1}, cutOff: true},
		{after: 3 * time.Second, unserved: []int{1}},
		{after: 4 * time.Second, ready: true},
		{after: 5 * time.Second, unserved: []int{1}, ready: true},
	})
}
