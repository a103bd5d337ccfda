package journal

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
)

// DevicesKind is the name of the projection that every Room has: the states of devices.
const DevicesKind = "devices"

const deviceChunks = 64

// State is what the events of one device say, as far as they are of one app.
type State struct {
	App    string // empty: of none
	Events int64  // how many there were

	Opened, Closed, Matched, Unmatched, BytesSent, BytesReceived int64

	At     int64 // the latest time that an event has
	Stored int64 // when the last one was stored
}

// Open is how many connections the device has.
func (s *State) Open() int64 { return max(0, s.Opened-s.Closed) }

// fold takes in an event.
func (s *State) fold(e *Event) {
	if e.Before != nil {
		before := *e.Before
		before.At, before.Stored = e.At, e.Stored
		s.add(&before)
		return
	}
	s.Events = plus(s.Events, 1)
	s.At, s.Stored = max(s.At, e.At), max(s.Stored, e.Stored)
	switch e.Type {
	case ConnectionsOpen:
		s.Opened = plus(s.Opened, e.Amount)
	case ConnectionsClosed:
		s.Closed = plus(s.Closed, e.Amount)
	case Matched:
		s.Matched = plus(s.Matched, e.Amount)
	case Unmatched:
		s.Unmatched = plus(s.Unmatched, e.Amount)
	case BytesSent:
		s.BytesSent = plus(s.BytesSent, e.Amount)
	case BytesReceived:
		s.BytesReceived = plus(s.BytesReceived, e.Amount)
	}
}

// plus adds, and stays at the largest number that every reader of JSON takes.
func plus(a, b int64) int64 { return min(a+b, MaxAmount) }

// add takes in the state of the same device that is of another app.
func (s *State) add(o *State) {
	s.Events, s.Opened, s.Closed = plus(s.Events, o.Events), plus(s.Opened, o.Opened), plus(s.Closed, o.Closed)
	s.Matched, s.Unmatched = plus(s.Matched, o.Matched), plus(s.Unmatched, o.Unmatched)
	s.BytesSent, s.BytesReceived = plus(s.BytesSent, o.BytesSent), plus(s.BytesReceived, o.BytesReceived)
	s.At, s.Stored = max(s.At, o.At), max(s.Stored, o.Stored)
}

// devices are the states of a shard's devices: by name, and of each name by app.
type devices struct {
	chunks [deviceChunks]map[string][]State
	count  int            // of states
	apps   map[string]int // how many of them each app has
	keep   int64          // how long one stays of which nothing comes, in milliseconds
}

func newDevices(keep int64) *devices { return &devices{apps: make(map[string]int), keep: keep} }

// chunkOf is the chunk of a device. It is the same for ever.
func chunkOf(device string) int {
	h := fnv.New32a()
	_, _ = h.Write([]byte(device)) // which does not fail
	return int(h.Sum32() % deviceChunks)
}

// Fold implements Projection.
func (d *devices) Fold(_ uint64, events []Event, due func(chunk int) bool) {
	for i := range events {
		e := &events[i]
		if e.Device == "" || e.Type == Traffic {
			continue
		}
		if c := chunkOf(e.Device); due(c) {
			d.state(c, e.Device, e.App).fold(e)
		}
	}
}

// state returns the state of a device, which is made when there is none.
func (d *devices) state(c int, device, app string) *State {
	of := d.chunks[c][device]
	for i := range of {
		if of[i].App == app {
			return &of[i]
		}
	}
	if d.chunks[c] == nil {
		d.chunks[c] = make(map[string][]State)
	}
	of = append(of[:len(of):len(of)], State{App: app})
	d.chunks[c][device] = of
	d.count++
	d.apps[app]++
	return &of[len(of)-1]
}

// find returns the state of a device: of one app, or of all together.
func (d *devices) find(app string, any bool, device string) (all State, ok bool) {
	for _, s := range d.chunks[chunkOf(device)][device] {
		if any || s.App == app {
			if !ok {
				all.App = s.App
			}
			all.add(&s)
			ok = true
		}
	}
	return all, ok
}

// known says whether there is a state that an event belongs to.
func (d *devices) known(e *Event) bool {
	return slices.ContainsFunc(d.chunks[chunkOf(e.Device)][e.Device], func(s State) bool { return s.App == e.App })
}

// Tick implements Projection: devices go of which nothing was stored for long.
func (d *devices) Tick(now int64, due func(chunk int) bool) {
	for c, chunk := range d.chunks {
		for name, of := range chunk {
			old := func(s State) bool { return s.Stored < now-d.keep }
			if !slices.ContainsFunc(of, old) || !due(c) {
				continue
			}
			for i := range of {
				if old(of[i]) {
					d.forget(of[i].App)
				}
			}
			left := slices.DeleteFunc(of, old)
			if chunk[name] = left; len(left) == 0 {
				delete(chunk, name)
			}
		}
	}
}

// forget counts one state less of an app.
func (d *devices) forget(app string) {
	d.count--
	if d.apps[app]--; d.apps[app] == 0 {
		delete(d.apps, app)
	}
}

const devicesVersion = 1

// Save implements Projection.
func (d *devices) Save(c int) []byte {
	b := binary.AppendUvarint([]byte{devicesVersion}, uint64(len(d.chunks[c])))
	for _, name := range slices.Sorted(maps.Keys(d.chunks[c])) {
		of := d.chunks[c][name]
		b = binary.AppendUvarint(putText(b, name), uint64(len(of)))
		for i := range of {
			b = putText(b, of[i].App)
			for _, n := range of[i].numbers() {
				b = binary.AppendVarint(b, *n)
			}
		}
	}
	return b
}

// numbers are those of a state, in the order in which they are kept.
func (s *State) numbers() []*int64 {
	return append(s.counts(), &s.At, &s.Stored)
}

// counts are those of its numbers that events add to.
func (s *State) counts() []*int64 {
	return []*int64{&s.Events, &s.Opened, &s.Closed, &s.Matched, &s.Unmatched, &s.BytesSent, &s.BytesReceived}
}

// Load implements Projection.
func (d *devices) Load(c int, state []byte) error {
	r := reader{rest: state}
	if v := r.byte(); v != devicesVersion {
		return fmt.Errorf("states of devices are of version %d", v)
	}
	for n := r.uint(); n > 0 && !r.bad; n-- {
		name := r.text()
		for m := r.uint(); m > 0 && !r.bad; m-- {
			s := d.state(c, name, r.text())
			for _, n := range s.numbers() {
				*n = r.int()
			}
		}
	}
	if !r.end() {
		return fmt.Errorf("states of devices are cut off")
	}
	return nil
}

// End implements Projection.
func (d *devices) End() {}
