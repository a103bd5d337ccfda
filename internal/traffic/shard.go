package traffic

import (
	"cmp"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

// layer is one of the ways in which a shard keeps what it folds.
type layer uint8

const (
	fine    layer = iota // panes, devices not told apart
	devices              // panes, devices told apart
	coarse               // minutes, made of fine panes that are closed
	layers
)

// Kept says for how long panes, devices and minutes are kept.
const (
	KeptPanes   = 2 * time.Hour
	KeptDevices = time.Hour
	KeptMinutes = 24 * time.Hour
)

// MaxLateness is how late an event may be at most.
const MaxLateness = 5 * time.Minute

// form says how a layer is kept: in a ring of chunks, of which each takes the place of
// what was there before. It is longer than what is kept by what may still be open.
// It is the same for ever: what is stored is found by it.
type form struct {
	width time.Duration // of a slot
	keep  time.Duration
	parts int // into which a slot is divided, so that none is larger than a message may be
	pack  int // slots that follow each other in a chunk
	ring  int // chunks of each part
}

func (l layer) form() form {
	return [layers]form{
		fine:    {Pane, KeptPanes, 1, 6, 130},
		devices: {Pane, KeptDevices, deviceParts, 6, 70},
		coarse:  {minute, KeptMinutes, 1, 10, 150},
	}[l]
}

// Chunks is in how many parts the state of a shard is kept.
const Chunks = 130 + deviceParts*70 + 150

// place is where a slot stands.
type place struct {
	layer layer
	part  uint8
	start int64
}

// pack returns when the first slot begins that is in the same chunk.
func (p place) pack() int64 {
	f := p.layer.form()
	return window.Floor(p.start, f.width*time.Duration(f.pack))
}

// chunk returns the number of the chunk in which a slot is kept.
func (p place) chunk() int {
	first := 0
	for l := range p.layer {
		first += l.form().ring * l.form().parts
	}
	f := p.layer.form()
	n := p.start / (f.width.Milliseconds() * int64(f.pack)) % int64(f.ring)
	return first + int(n)*f.parts + int(p.part)
}

// limits say how much is told apart and what is in time.
type limits struct {
	rules   window.Rules
	groups  int // that a slot tells apart, devices aside
	devices int // and this many with devices, in all parts
}

// due says of a chunk whether it lacks what is folded now, and notes that it changes.
type due func(chunk int) bool

// shard is the state of one shard. It is pure: what it is depends on what was folded.
type shard struct {
	limits    *limits
	watermark int64 // the last event was taken in then
	closed    int64 // panes that begin before this are closed
	slots     map[place]*slot
	chunks    map[int][]place // which slots are in which chunk
	hot       [1 + deviceParts]hot
}

func newShard(l *limits) *shard {
	return &shard{limits: l, slots: make(map[place]*slot), chunks: make(map[int][]place)}
}

// fold folds what the journal has stored together.
func (s *shard) fold(events []Event, lacks due) {
	for i := range events {
		s.watermark = max(s.watermark, events[i].Stored)
	}
	s.close(lacks) // before they take the places of what is not in minutes yet
	for i := range events {
		s.foldOne(&events[i], lacks)
	}
}

func (s *shard) foldOne(e *Event, lacks due) {
	at, key, late := e.At, e.Key, false
	switch s.limits.rules.Judge(e.At, e.Stored) {
	case window.TooLate:
		at, key.Type = e.Stored, tooLate
	case window.Ahead:
		at, key.Type = e.Stored, ahead
	case window.Late:
		late = true
	}
	if e.Brought {
		s.bring(e, at, key, late, lacks)
		return
	}
	start, device := window.Floor(at, Pane), key.Device
	if start < 0 {
		return // before 1970: no clock says so, and such a pane would have no chunk
	}
	key.Device = ""
	if h := s.find(place{fine, 0, start}, &s.hot[0]); lacks(h.chunk) {
		s.at(h).add(key, at, late, e, s.limits.groups)
	}
	if device == "" {
		return
	}
	key.Device = device
	part := partOf(device)
	if h := s.find(place{devices, part, start}, &s.hot[1+part]); lacks(h.chunk) {
		s.at(h).add(key, at, late, e, s.limits.devices/deviceParts)
	}
}

// bring folds an event that was brought, into its minute as well: whatever was made of
// panes is made by now, or is never made of this one's.
func (s *shard) bring(e *Event, at int64, key Key, late bool, lacks due) {
	if at < 0 {
		return
	}
	to := func(l layer, part uint8, key Key, most int) {
		p := place{l, part, window.Floor(at, l.form().width)}
		n := p.chunk()
		if list := s.chunks[n]; len(list) > 0 && list[0].pack() > p.pack() || !lacks(n) {
			return // what is newer has taken the place
		}
		x := s.slots[p]
		if x == nil {
			x = new(slot)
			s.put(p, x)
		}
		if x.brought == nil {
			x.brought = new(slot)
		}
		x.brought.add(key, at, late, e, most)
	}
	device := key.Device
	key.Device = ""
	to(fine, 0, key, s.limits.groups)
	to(coarse, 0, key, s.limits.groups)
	if key.Device = device; device != "" {
		to(devices, partOf(device), key, s.limits.devices/deviceParts)
	}
}

// hot is where the last event of its kind went: mostly the next one goes there, too.
type hot struct {
	place
	chunk int
	slot  *slot // nil: it is to be looked for
}

func (s *shard) find(p place, h *hot) *hot {
	if h.place != p || h.slot == nil {
		*h = hot{place: p, chunk: p.chunk(), slot: s.slots[p]}
	}
	return h
}

// deviceParts is into how many parts devices are divided.
const deviceParts = 4

// partOf divides devices, everywhere and always the same way.
func partOf(device string) uint8 {
	h := uint32(2166136261)
	for i := range len(device) {
		h = (h ^ uint32(device[i])) * 16777619
	}
	return uint8(h % deviceParts)
}

// at returns a slot.
func (s *shard) at(h *hot) *slot {
	if h.slot == nil {
		p, chunk, x := h.place, h.chunk, newSlot()
		s.put(p, x)
		*h = hot{p, chunk, x}
	}
	return h.slot
}

// put takes in a slot. What was in its chunk in an earlier round goes.
func (s *shard) put(p place, x *slot) {
	n := p.chunk()
	if list := s.chunks[n]; len(list) > 0 && list[0].pack() != p.pack() {
		for _, old := range list {
			delete(s.slots, old)
		}
		s.chunks[n] = nil
	}
	if s.slots[p] == nil {
		s.chunks[n] = append(s.chunks[n], p)
	}
	s.slots[p] = x
	clear(s.hot[:])
}

// drop forgets a slot.
func (s *shard) drop(p place) {
	n := p.chunk()
	s.chunks[n] = slices.DeleteFunc(s.chunks[n], func(one place) bool { return one == p })
	delete(s.slots, p)
	clear(s.hot[:])
}

// close sees to what the watermark has passed: panes are sealed, minutes are made, and
// what is old is forgotten; in that order, for nothing may have come for hours.
func (s *shard) close(lacks due) {
	before := window.Floor(s.watermark-s.limits.rules.Lateness.Milliseconds(), Pane)
	if before <= s.closed {
		return
	}
	for p, x := range s.slots {
		for ; x != nil && p.start < before; x = x.brought {
			if x.groups != nil {
				x.seal()
			}
		}
	}
	s.roll(window.Floor(before, minute), lacks)
	for p := range s.slots {
		if f := p.layer.form(); p.start < s.watermark-f.keep.Milliseconds()-f.width.Milliseconds() {
			s.drop(p)
		}
	}
	s.closed = before
}

// roll makes the minutes before a time that are not made yet, of their panes, in
// order: so what a minute has no room for is the same whenever it is made.
func (s *shard) roll(before int64, lacks due) {
	var panes []place
	for p, x := range s.slots {
		if p.layer == fine && p.start < before && x.sealed != nil && !s.slots[minuteOf(p.start)].made() {
			panes = append(panes, p)
		}
	}
	slices.SortFunc(panes, func(a, b place) int { return cmp.Compare(a.start, b.start) })
	for i := 0; i < len(panes); {
		of, m := minuteOf(panes[i].start), newSlot()
		for ; i < len(panes) && minuteOf(panes[i].start) == of; i++ {
			each(s.slots[panes[i]].sealed, func(k Key, a window.Aggregate) { m.group(k, s.limits.groups).Merge(&a) })
		}
		if lacks(of.chunk()) {
			m.seal()
			if there := s.slots[of]; there != nil {
				m.brought = there.brought
			}
			s.put(of, m)
		}
	}
}

// minuteOf is where the minute of a time stands.
func minuteOf(at int64) place { return place{coarse, 0, window.Floor(at, minute)} }
