package faultfs

import "math/rand/v2"

// Survival says what a power cut leaves of what was not synced.
type Survival int

// What a cut leaves.
const (
	// Nothing: only what was synced.
	Nothing Survival = iota
	// Prefix: the first changes, up to a random one, of which a random part was
	// written: a torn tail.
	Prefix
	// Scattered: any of them. Of a write each page is there or not, the last one
	// perhaps in part; entries are lost in any order, but with the rule
	// Journaled, where only the last ones are.
	Scattered
)

func (s Survival) String() string {
	return [...]string{"nothing", "prefix", "scattered"}[s]
}

// page is what a disk writes or does not.
const page = 4096

// PowerCut takes the power away and returns the disk as it is found afterwards,
// whole and without faults. From that instant no call of a program ends, until
// Remove, so that nobody can tell anyone of a sync that did not happen.
func (d *Disk) PowerCut(chance *rand.Rand, leaves Survival) *Disk {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.off {
		panic("faultfs: the power is off already")
	}
	d.off = true
	close(d.frozen)
	switch leaves {
	case Prefix:
		d.keepPrefix(chance)
	case Scattered:
		d.keepScattered(chance)
	}
	after := New(d.rule, d.size)
	after.root = after.copy(d.root)
	return after
}

// Remove lets the calls that wait on a disk without power fail.
func (d *Disk) Remove() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.off {
		d.off = true
		close(d.frozen)
	}
	select {
	case <-d.removed:
	default:
		close(d.removed)
	}
}

// keepPrefix makes the first unsynced changes safe. mu is held.
func (d *Disk) keepPrefix(chance *rand.Rand) {
	n := chance.IntN(len(d.ops) + 1)
	for i, o := range d.ops {
		switch {
		case i < n:
			o.keep()
		case i == n && len(o.data) > 0:
			torn := *o
			torn.data = o.data[:chance.IntN(len(o.data))]
			torn.keep()
		}
	}
}

// keepScattered makes any of the unsynced changes safe. mu is held.
func (d *Disk) keepScattered(chance *rand.Rand) {
	losing := false // entries, with the rule Journaled
	for _, o := range d.ops {
		switch {
		case o.edits != nil:
			losing = losing && d.rule == Journaled || chance.IntN(3) == 0
			if !losing {
				o.keep()
			}
		case o.trunc:
			if chance.IntN(2) == 0 {
				o.keep()
			}
		default:
			o.keepPages(chance)
		}
	}
}

// keepPages makes any pages of a write safe.
func (o *op) keepPages(chance *rand.Rand) {
	for from := int64(0); from < int64(len(o.data)); {
		to := min(int64(len(o.data)), from+page-(o.at+from)%page)
		part := op{file: o.file, at: o.at + from, data: o.data[from:to]}
		switch chance.IntN(4) {
		case 0, 1:
			part.keep()
		case 2:
			part.data = part.data[:chance.IntN(len(part.data))]
			part.keep()
		}
		from = to
	}
}

// copy makes a node of another disk's that is safe, and all below it.
func (d *Disk) copy(old *node) *node {
	n := d.node(old.dir, old.mode)
	if !old.dir {
		n.content, n.safe = append([]byte(nil), old.safe...), append([]byte(nil), old.safe...)
		d.used += int64(len(n.content))
		return n
	}
	for name, child := range old.safeNaming {
		c := d.copy(child)
		c.name = name
		n.entries[name], n.safeNaming[name] = c, c
	}
	return n
}
