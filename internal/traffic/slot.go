package traffic

import "github.com/seed-3d8c1042/switchboard/internal/window"

// slot is what there is at a place. Its groups are encoded while nobody adds to them.
type slot struct {
	groups map[Key]*window.Aggregate
	apps   map[string]int // how many of the groups each app has, rests aside
	rests  int            // how many are rests
	sealed []byte         // the groups when there is no map; never changed
	// brought is what was brought, by itself: it changes when all else here is closed, and
	// minutes have it beside what is made of panes. Nil: there is nothing.
	brought *slot
}

// made says whether it is a minute that is made of its panes.
func (x *slot) made() bool { return x != nil && x.sealed != nil }

func newSlot() *slot {
	return &slot{groups: make(map[Key]*window.Aggregate), apps: make(map[string]int)}
}

func (x *slot) add(key Key, at int64, late bool, e *Event, most int) {
	if x.groups == nil {
		open := newSlot()
		each(x.sealed, func(k Key, a window.Aggregate) { *open.put(k) = a })
		open.brought = x.brought
		*x = *open
	}
	a := x.group(key, most)
	if e.Sums != nil {
		moved := e.Sums.Moved(at)
		a.Merge(&moved)
	} else {
		a.Add(at, e.Amount)
	}
	if late {
		a.Late++
	}
}

// group returns a slot's group, or the rest to which it belongs when there is no room:
// that of its app or, when there are too many rests as well, that of all.
func (x *slot) group(key Key, most int) *window.Aggregate {
	if a := x.groups[key]; a != nil {
		return a
	}
	if key.isRest() || !x.room(key.App, most) {
		key = key.rest()
		if x.groups[key] == nil && x.rests >= most/8 {
			key.Capability, key.Domain = Other, Other
		}
		if x.groups[key] == nil && x.rests >= most/4 {
			key.App = Other
		}
	}
	if a := x.groups[key]; a != nil {
		return a
	}
	return x.put(key)
}

// room says whether one more group of an app is told apart. The last tenth is for apps
// that have fewer than there is room left, so that one does not use it up for others.
func (x *slot) room(app string, most int) bool {
	left := most - (len(x.groups) - x.rests)
	return left > most/10 || x.apps[app] < left
}

// put makes a group that is not there.
func (x *slot) put(key Key) *window.Aggregate {
	a := new(window.Aggregate)
	x.groups[key] = a
	if key.isRest() {
		x.rests++
	} else {
		x.apps[key.App]++
	}
	return a
}

// rest returns what a key counts as when it is not told apart: of its app, and when
// devices are told apart of its capability and domain, too.
func (k Key) rest() Key {
	if k.Device != "" {
		k.Device = Other
		return k
	}
	k.Capability, k.Domain = Other, Other
	return k
}

func (k Key) isRest() bool { return k == k.rest() }
