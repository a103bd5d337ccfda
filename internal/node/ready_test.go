package node

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/shards"
)

func TestAShardWithoutAKeeperMattersWhenItLastsAndAtTheStart(t *testing.T) {
	var l lapses
	at := time.Now()
	look := func(after time.Duration, unserved ...int) string {
		brief, long := l.look(unserved, at.Add(after))
		return fmt.Sprint(brief, long)
	}
	for _, step := range []struct {
		after    time.Duration
		unserved []int
		want     string
	}{
		{0, []int{0, 1}, "[] [0 1]"},
		{time.Second, []int{1}, "[] [1]"}, // it was never whole
		{2 * time.Second, nil, "[] []"},
		{3 * time.Second, []int{1, 4}, "[1 4] []"},
		{10 * time.Second, []int{1, 4}, "[1 4] []"},
		{11 * time.Second, []int{4}, "[4] []"},
		{12 * time.Second, []int{1, 4}, "[1 4] []"}, // 1 had a keeper meanwhile
		{3*time.Second + shards.Patience, []int{1, 4}, "[1] [4]"},
		{12*time.Second + shards.Patience, []int{1, 4}, "[] [1 4]"},
		{13*time.Second + shards.Patience, nil, "[] []"},
		{14*time.Second + shards.Patience, []int{4}, "[4] []"},
	} {
		if got := look(step.after, step.unserved...); got != step.want {
			t.Errorf("after %s, without keepers %v: %s, want %s", step.after, step.unserved, got, step.want)
		}
	}
}
