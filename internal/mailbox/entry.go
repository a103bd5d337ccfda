package mailbox

import (
	"math"
	"slices"
	"sort"
)

// entry is one waiting message in one user's mailbox: what the keeper
// remembers of it. The body is in the log. 32 bytes.
type entry struct {
	ord     uint64 // its place in the shard's order, for ever
	seq     uint64 // the batch that holds it; changes when it is copied forward
	off     uint32 // where its record's body begins in that batch
	size    uint32 // bytes of its frame
	expires uint32 // Unix seconds, 0 for never
	lane    uint8  // by sender, for users whose messages are shared out
	holders uint8  // sessions that have it and did not prove it; maxHolders at most
	flags   messageFlags
	state   entryState
}

// maxHolders is how many sessions may have one message at a time. Others of the
// user wait until one of them proves it.
const maxHolders = math.MaxUint8

type entryState uint8

const (
	// entryDead is to be passed over; its place is reclaimed later.
	entryDead entryState = 1 << iota
	// entrySettled is proved, and kept only for sessions that lag behind.
	entrySettled
	// entryClaimed is held by a session that fetched it: nobody else gets it.
	entryClaimed
)

func (e *entry) dead() bool    { return e.state&entryDead != 0 }
func (e *entry) settled() bool { return e.state&entrySettled != 0 }
func (e *entry) claimed() bool { return e.state&entryClaimed != 0 }

// waits says whether the entry counts as waiting in the mailbox.
func (e *entry) waits() bool { return e.state&(entryDead|entrySettled) == 0 }

// entries is a user's messages in order. Dead ones stay until they are the
// larger part, so that removing costs no shifting.
type entries struct {
	list []entry
	dead int
}

// at returns the index of the first entry at or after ord.
func (es *entries) at(ord uint64) int {
	n := len(es.list)
	if n == 0 || es.list[n-1].ord < ord {
		return n
	}
	return sort.Search(n, func(i int) bool { return es.list[i].ord >= ord })
}

// find returns the entry at ord unless it is dead or not there. The pointer is
// good until the next add or kill.
func (es *entries) find(ord uint64) *entry {
	if i := es.at(ord); i < len(es.list) && es.list[i].ord == ord && !es.list[i].dead() {
		return &es.list[i]
	}
	return nil
}

// add puts an entry in its place, which is at the end, or near it.
func (es *entries) add(e entry) {
	if n := len(es.list); n == 0 || es.list[n-1].ord < e.ord {
		es.list = append(es.list, e)
		return
	}
	i := es.at(e.ord)
	if es.list[i].ord != e.ord {
		es.list = slices.Insert(es.list, i, e)
		return
	}
	if es.list[i].dead() {
		es.dead--
	}
	es.list[i] = e
}

// merge adds the entries of another list, which has none of the same place but
// dead ones.
func (es *entries) merge(other *entries) {
	list := make([]entry, 0, len(es.list)+len(other.list)-es.dead-other.dead)
	a, b := es.list, other.list
	for len(a) > 0 || len(b) > 0 {
		from := &a
		if len(a) == 0 || len(b) > 0 && b[0].ord < a[0].ord {
			from = &b
		}
		if e := (*from)[0]; !e.dead() {
			list = append(list, e)
		}
		*from = (*from)[1:]
	}
	es.list, es.dead = list, 0
}

// kill removes the entry.
func (es *entries) kill(e *entry) {
	e.state = entryDead
	es.dead++
	for len(es.list) > 0 && es.list[len(es.list)-1].dead() {
		es.list = es.list[:len(es.list)-1]
		es.dead--
	}
	if es.dead > 16 && es.dead*2 > len(es.list) {
		es.list = slices.DeleteFunc(es.list, func(e entry) bool { return e.dead() })
		es.dead = 0
		if cap(es.list) > 4*len(es.list)+64 {
			es.list = slices.Clone(es.list)
		}
	}
}
