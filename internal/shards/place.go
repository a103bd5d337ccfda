package shards

import (
	"hash/fnv"
	"slices"
)

// Peer is a node as the placing of shards sees it.
type Peer struct {
	ID        string
	Processor bool // it may keep shards
	Leaving   bool // it gives up those that it has
	Dead      bool // it has not been heard of for long
}

// seat is a row of the table of shards: who keeps one.
type seat struct {
	Owner string `json:"owner"` // a node's ID; empty: nobody, and any may take it
	Term  uint64 `json:"term"`  // rises with each owner
}

// plan says which shards a node is to take, and which to give up. All nodes come
// to the same plan for all of them when they see the same; when they do not, two
// may want one shard, and the table lets one have it.
//
// A shard whose owner is gone goes to the node that has the fewest. When all have
// owners, one that has at least two more than another gives one up, one at a time.
func plan(self string, peers []Peer, seats []seat) (take, give []int) {
	count := make(map[string]int) // of those that may take some
	alive := make(map[string]bool)
	leaving := false
	for _, p := range peers {
		if p.Dead {
			continue
		}
		alive[p.ID] = true
		if p.Processor && !p.Leaving {
			count[p.ID] = 0
		}
		leaving = leaving || p.Leaving && p.ID == self
	}
	var free []int
	for shard, s := range seats {
		switch _, takes := count[s.Owner]; {
		case s.Owner == "" || !alive[s.Owner]:
			free = append(free, shard)
		case s.Owner == self && leaving:
			give = append(give, shard)
		case takes:
			count[s.Owner]++
		}
	}
	if len(count) == 0 {
		return nil, give
	}
	for _, shard := range free {
		to := fewest(count, shard)
		count[to]++
		if to == self {
			take = append(take, shard)
		}
	}
	if len(free) > 0 || len(give) > 0 {
		return take, give
	}
	low := count[fewest(count, 0)]
	if mine, takes := count[self]; takes && mine >= low+2 && self == most(count) {
		for shard := len(seats) - 1; shard >= 0; shard-- {
			if seats[shard].Owner == self {
				return nil, []int{shard}
			}
		}
	}
	return nil, nil
}

// fewest returns the node that has the fewest shards; of several, one that
// depends on the shard.
func fewest(count map[string]int, shard int) string {
	return choose(count, func(a, b string) bool {
		if count[a] != count[b] {
			return count[a] < count[b]
		}
		return rank(a, shard) > rank(b, shard)
	})
}

// most returns the node that has the most; of several, the first by its ID.
func most(count map[string]int) string {
	return choose(count, func(a, b string) bool { return count[a] > count[b] })
}

// choose returns the node that comes before all others; of equals the first by
// its ID.
func choose(count map[string]int, before func(a, b string) bool) string {
	ids := make([]string, 0, len(count))
	for id := range count {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	best := ids[0]
	for _, id := range ids[1:] {
		if before(id, best) {
			best = id
		}
	}
	return best
}

func rank(node string, shard int) uint64 {
	h := fnv.New64a()
	h.Write([]byte(node))
	h.Write([]byte{byte(shard), byte(shard >> 8)})
	sum := h.Sum64()
	return sum ^ sum>>29
}
