package match

import (
	"math/rand/v2"
	"testing"
)

// Whoever comes is not compared with all who wait: with ten times as many of them about as
// many are looked at, for each kind of criteria by which they differ.
func TestTheCostOfAMatchDoesNotGrowWithThoseWhoWait(t *testing.T) {
	const turns = 300
	for name, draw := range criteria() {
		looked := func(waiting int) int {
			c := newCrowd(draw)
			c.fill(t, waiting)
			random := rand.New(rand.NewPCG(1, 2))
			before, made := c.core.search.looked, c.core.counts.made
			for range turns {
				at := random.IntN(waiting)
				c.enter(t, c.free[at], 2)
				c.enter(t, c.next, 2)
				c.free[at] = c.next
				c.next++
			}
			if got := c.core.counts.made - made; got != turns {
				t.Fatalf("%s: %d matches, not %d", name, got, turns)
			}
			return (c.core.search.looked - before) / turns
		}
		few, many := looked(1500), looked(15_000)
		t.Logf("%s: %d are looked at for a match with 1500 waiting, %d with 15 000", name, few, many)
		if many > 2*few+20 {
			t.Errorf("%s: %d are looked at for a match with 1500 waiting, %d with 15 000", name, few, many)
		}
	}
}

// However many matches are made while a batch is on its way, one more holds them all.
func TestManyMatchesShareAWrite(t *testing.T) {
	const pairs = 1000
	c := newCrowd(criteria()["key"])
	for i := range pairs {
		c.enter(t, i, 2)
		c.enter(t, i, 2)
	}
	c.settle()
	if c.core.counts.made != pairs || c.seq > 2 {
		t.Errorf("%d matches, not %d, in %d writes", c.core.counts.made, pairs, c.seq)
	}
}
