package shards

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// settle lets all nodes act on what they plan, in any order, until none wants
// anything, and returns how many rounds that took.
func settle(t *rapid.T, peers []Peer, seats []seat) (rounds int) {
	for ; rounds < 100; rounds++ {
		acted := false
		for _, i := range rapid.Permutation(indices(len(peers))).Draw(t, "order") {
			self := peers[i].ID
			take, give := plan(self, peers, seats)
			for _, shard := range give {
				if seats[shard].Owner != self {
					t.Fatalf("%s gives up shard %d of %q", self, shard, seats[shard].Owner)
				}
				seats[shard].Owner = ""
			}
			for _, shard := range take {
				if owner := seats[shard].Owner; slices.ContainsFunc(peers, func(p Peer) bool { return p.ID == owner }) {
					t.Fatalf("%s takes shard %d of %s, which is there", self, shard, owner)
				}
				seats[shard] = seat{Owner: self, Term: seats[shard].Term + 1}
			}
			acted = acted || len(take)+len(give) > 0
		}
		if !acted {
			return rounds
		}
	}
	t.Fatalf("no end: %v of %v", seats, peers)
	return rounds
}

func indices(n int) []int {
	list := make([]int, n)
	for i := range list {
		list[i] = i
	}
	return list
}

func TestShardsAreSpreadEvenlyWhoeverComesAndGoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		seats := make([]seat, rapid.IntRange(1, 24).Draw(t, "shards"))
		var peers []Peer
		for step := range rapid.IntRange(1, 6).Draw(t, "steps") {
			for range rapid.IntRange(0, len(peers)).Draw(t, "gone") {
				i := rapid.IntRange(0, len(peers)-1).Draw(t, "which")
				peers = slices.Delete(peers, i, i+1)
			}
			for n := range rapid.IntRange(1, 4).Draw(t, "new") {
				peers = append(peers, Peer{
					ID: fmt.Sprintf("node-%d-%d", step, n), Processor: rapid.IntRange(0, 3).Draw(t, "role") > 0,
					Leaving: rapid.IntRange(0, 5).Draw(t, "leaving") == 0,
				})
			}
			before := slices.Clone(seats)
			settle(t, peers, seats)
			count := map[string]int{}
			for _, p := range peers {
				if p.Processor && !p.Leaving {
					count[p.ID] = 0
				}
			}
			if len(count) == 0 {
				continue
			}
			low, high := len(seats), 0
			for shard, s := range seats {
				if _, may := count[s.Owner]; !may {
					t.Fatalf("shard %d is kept by %q", shard, s.Owner)
				}
				count[s.Owner]++
				if s.Term < before[shard].Term || s.Owner != before[shard].Owner && s.Term == before[shard].Term {
					t.Fatalf("shard %d went from %v to %v", shard, before[shard], s)
				}
			}
			for _, n := range count {
				low, high = min(low, n), max(high, n)
			}
			if high > low+1 {
				t.Fatalf("the shards are spread unevenly: %v", count)
			}
		}
	})
}

func TestNothingMovesWhileAllIsWell(t *testing.T) {
	peers := []Peer{{ID: "a", Processor: true}, {ID: "b", Processor: true}, {ID: "c", Processor: true}}
	seats := []seat{{"a", 1}, {"a", 1}, {"b", 1}, {"b", 1}, {"c", 1}, {"c", 1}, {"a", 1}}
	for _, p := range peers {
		if take, give := plan(p.ID, peers, seats); take != nil || give != nil {
			t.Errorf("%s takes %v and gives %v", p.ID, take, give)
		}
	}
}

func TestUsersAreSpreadOverAllShards(t *testing.T) {
	const shards, users = 6, 60_000
	var count [shards]int
	for n := range users {
		count[ShardOf(wireUser(n), shards)]++
	}
	for shard, n := range count {
		if n < users/shards*9/10 || n > users/shards*11/10 {
			t.Errorf("shard %d has %d of %d users", shard, n, users)
		}
	}
}

func TestAUsersShardNeverChanges(t *testing.T) {
	for user, want := range map[string]int{"ANZ-1": 2, "ANZ-2": 1, "ANZ-123223": 3, "SHOP-9223372036854775807": 2} {
		if got := ShardOf(wireUserOf(user), 6); got != want {
			t.Errorf("%q: %d,", user, got)
		}
	}
}
