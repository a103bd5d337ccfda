package nearby

import (
	"cmp"
	"math"
	"slices"
	"time"
)

// parts is in how many parts the time to live is divided.
const parts = 256

// dues says when users of a crowd expire. It has each slot once; one of which there was
// news since is put elsewhere when its time comes: so news costs nothing here.
type dues struct {
	ttl   int64              // milliseconds
	wide  int64              // a part of it
	later map[int64][]uint32 // by the part of time in which they were to expire
	first int64              // the first of these
	soon  []uint32           // those of a part that has begun, the first to expire last
	part  int64              // which
}

func newDues(ttl time.Duration) dues {
	ms := ttl.Milliseconds()
	return dues{ttl: ms, wide: max(1, ms/parts), later: make(map[int64][]uint32), first: math.MaxInt64}
}

// add has a slot expire, of which there was news at a time.
func (d *dues) add(slot uint32, taken int64) {
	part := (taken + d.ttl) / d.wide
	d.later[part] = append(d.later[part], slot)
	d.first = min(d.first, part)
}

// next returns when to look again; false: there is nobody.
func (d *dues) next(w *crowd) (at int64, ok bool) {
	if n := len(d.soon); n > 0 {
		return w.at(d.soon[n-1]).taken + d.ttl, true
	}
	return d.first * d.wide, len(d.later) > 0
}

// take returns a slot that has expired, the first of them; 0 for none.
func (d *dues) take(w *crowd, now int64) (slot uint32) {
	for {
		n := len(d.soon)
		if n == 0 {
			if len(d.later) == 0 || d.first*d.wide > now {
				return 0
			}
			d.begin(w)
			continue
		}
		slot := d.soon[n-1]
		switch taken := w.at(slot).taken; {
		case (taken+d.ttl)/d.wide > d.part: // there was news
			d.add(slot, taken)
		case taken+d.ttl > now:
			return 0
		default:
			d.soon = d.soon[:n-1]
			return slot
		}
		d.soon = d.soon[:n-1]
	}
}

// begin has the first part begin.
func (d *dues) begin(w *crowd) {
	list := d.later[d.first]
	delete(d.later, d.first)
	d.part, d.soon = d.first, list[:0]
	d.first = math.MaxInt64
	for part := range d.later {
		d.first = min(d.first, part)
	}
	for _, slot := range list {
		if taken := w.at(slot).taken; (taken+d.ttl)/d.wide > d.part {
			d.add(slot, taken)
		} else {
			d.soon = append(d.soon, slot)
		}
	}
	slices.SortFunc(d.soon, func(a, b uint32) int {
		if by := cmp.Compare(w.at(b).taken, w.at(a).taken); by != 0 {
			return by
		}
		return cmp.Compare(b, a)
	})
}

// again begins anew with all of a crowd, of whom nobody was heard later than now.
func (d *dues) again(w *crowd, now int64) {
	clear(d.later)
	d.first, d.soon = math.MaxInt64, nil
	for slot := uint32(1); slot <= w.used; slot++ {
		if e := w.at(slot); e.taken != 0 {
			e.taken = min(e.taken, now)
			d.add(slot, e.taken)
		}
	}
}
