package journal

import (
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

const (
	// remembered is how many IDs of a shard are remembered, so that the same one again
	// is stored once.
	remembered = 100_000
	// mostSources is of how many nodes it is remembered how far they have come: those
	// that were heard of last.
	mostSources = 1000
	// maxBatch is how many bytes a batch has, unless a single request is larger.
	maxBatch = 256 << 10
)

// core is a shard's owner without its world. Its methods change it by what they are
// given, and nothing else.
type core struct {
	shard   int
	pos     uint64 // of the last batch that it has taken in
	stored  int64  // the latest time at which an event was stored
	bytes   uint64 // stored since it began
	sources map[string]source
	ids     ids
	devices *devices
	kinds   []*held // the first are the devices
}

func newCore(shard int, keep int64, kinds []Kind) *core {
	c := &core{shard: shard, sources: make(map[string]source), ids: newIDs(), devices: newDevices(keep)}
	own := Kind{Name: DevicesKind, Chunks: deviceChunks}
	c.kinds = append(c.kinds, &held{kind: own, of: c.devices, chunks: make([]chunk, deviceChunks)})
	for _, k := range kinds {
		c.kinds = append(c.kinds, &held{kind: k, of: k.New(shard), chunks: make([]chunk, k.Chunks)})
	}
	return c
}

// batch is what is to be stored next.
type batch struct {
	data    []byte // as it is stored
	events  []Event
	sources map[string]uint64 // with the number that each has come to
	ids     map[uint64]content
	fresh   map[string]int // states of devices that it brings, by app
	brings  int            // of all apps together
	now     int64
}

// form begins a batch at a time.
func (c *core) form(now int64) *batch {
	return &batch{sources: make(map[string]uint64), ids: make(map[uint64]content), fresh: make(map[string]int), now: max(now, c.stored)}
}

// verdict is which events of a request are not stored, by their indexes, and how many
// were before.
type verdict struct {
	refused   []int // there is no room for their devices
	conflicts []int // others have their IDs
	repeated  int
}

// admit puts a request into a batch, with room for so many devices. A request that was
// stored before, or an event with an ID that was, is passed over: it is as good as stored.
func (c *core) admit(b *batch, q *request, most int) (v verdict) {
	again := c.has(q) || q.number <= b.sources[q.source]
	if !again {
		b.sources[q.source] = q.number
	}
	if q.imported {
		most = math.MaxInt // they were taken in before
	}
	for i := range q.events {
		e := &q.events[i]
		id, now := c.ids.hash(e), c.ids.content(e)
		was, known := c.ids.of[id]
		if !known {
			was, known = b.ids[id]
		}
		switch {
		case known && !was.same(now, e.Filled):
			v.conflicts = append(v.conflicts, i)
		case known:
			v.repeated++
		case again && c.fits(b, e.App, most): // it is forgotten
			v.repeated++
		case again, !c.room(b, e, most):
			v.refused = append(v.refused, i)
		default:
			b.add(e, id, now, q.imported)
		}
	}
	return v
}

// room makes room for the state of an event's device; false when there is none.
func (c *core) room(b *batch, e *Event, most int) bool {
	if e.Device == "" || e.Type == Traffic || c.devices.known(e) {
		return true
	}
	if !c.fits(b, e.App, most) {
		return false
	}
	b.fresh[e.App]++ // once more for each event of the same device: near the limit only
	b.brings++
	return true
}

// fits says whether there is room for one more device of an app. The last tenth of it is
// for apps that have fewer devices than there is room left, so that none has all of it.
func (c *core) fits(b *batch, app string, most int) bool {
	left := most - c.devices.count - b.brings
	return left > most/10 || left > 0 && c.devices.apps[app]+b.fresh[app] < left
}

// add adds an event to the batch.
func (b *batch) add(e *Event, id uint64, is content, imported bool) {
	b.ids[id] = is
	b.events = append(b.events, *e)
	last := &b.events[len(b.events)-1]
	if imported {
		last.Imported = b.now
	} else {
		last.Stored = b.now
	}
	b.data = appendLine(b.data, last)
}

// has says whether a request is stored.
func (c *core) has(q *request) bool { return q.number <= c.sources[q.source].number }

// apply takes in a batch that is stored at pos, whoever wrote it.
func (c *core) apply(pos uint64, sources map[string]uint64, events []Event, size int) {
	c.pos = max(c.pos, pos)
	c.bytes += uint64(size)
	for i := range events {
		c.stored = max(c.stored, events[i].Stored, events[i].Imported)
		e := &events[i]
		c.ids.add(c.ids.hash(e), c.ids.content(e), pos)
	}
	for name, number := range sources {
		c.sources[name] = source{number: max(number, c.sources[name].number), at: c.stored}
	}
	c.forgetSources()
	for _, h := range c.kinds {
		h.of.Fold(pos, events, c.due(h, pos))
		for i := range h.chunks {
			h.chunks[i].has = max(h.chunks[i].has, pos)
		}
	}
}

// due returns what tells a projection whether a chunk lacks what is at pos.
func (c *core) due(h *held, pos uint64) func(int) bool {
	return func(i int) bool {
		k := &h.chunks[i]
		if k.has >= pos {
			return false
		}
		k.touch(c)
		return true
	}
}

func (k *chunk) touch(c *core) {
	if !k.dirty {
		k.dirty, k.since, k.from = true, c.stored, c.bytes
	}
}

// tick lets projections forget what is old.
func (c *core) tick(now int64) {
	for _, h := range c.kinds {
		h.of.Tick(now, func(i int) bool {
			h.chunks[i].touch(c)
			return true
		})
	}
}

// forgetSources forgets the nodes of which nothing was heard for longest.
func (c *core) forgetSources() {
	if len(c.sources) <= mostSources {
		return
	}
	names := slices.SortedFunc(maps.Keys(c.sources), func(a, b string) int {
		return int(c.sources[a].at - c.sources[b].at)
	})
	for _, name := range names[:len(names)-mostSources*9/10] {
		delete(c.sources, name)
	}
}

// summary returns the checkpoint of the whole.
func (c *core) summary() summary {
	s := summary{pos: c.pos, ids: c.ids.from(c.pos), stored: c.stored, sources: c.sources, floors: make(map[string][]floor)}
	for _, h := range c.kinds {
		list := make([]floor, len(h.chunks))
		for i, k := range h.chunks {
			if list[i].seq = k.seq; !k.dirty {
				list[i].has = c.pos
			}
		}
		s.floors[h.kind.Name] = list
	}
	return s
}

// begin takes in the checkpoint of the whole, and then each chunk is given to load.
func (c *core) begin(s summary) {
	c.stored, c.pos = s.stored, s.pos
	maps.Copy(c.sources, s.sources)
}

// load takes in a chunk that is kept under seq; nil when there is none. The summary
// says how far it counts.
func (c *core) load(h *held, i int, seq uint64, kept []byte, s summary) error {
	k := &h.chunks[i]
	if list := s.floors[h.kind.Name]; i < len(list) {
		if seq < list[i].seq {
			return fmt.Errorf("chunk %d of %s is older than the checkpoint says", i, h.kind.Name)
		}
		k.has = list[i].has
	}
	k.seq = seq
	if seq == 0 {
		return nil
	}
	has, state, err := decodeKept(kept)
	if err == nil {
		err = h.of.Load(i, state)
	}
	if err != nil {
		return fmt.Errorf("load chunk %d of %s: %w", i, h.kind.Name, err)
	}
	k.has, k.size = max(k.has, has), len(state)
	return nil
}

// lacks returns the position behind which the journal has to be read anew: of the chunk
// that is least far, or of the IDs that are to be remembered.
func (c *core) lacks(s summary) uint64 {
	pos := s.ids
	for _, h := range c.kinds {
		for _, k := range h.chunks {
			pos = min(pos, k.has)
		}
	}
	return pos
}

// head writes which sources have come how far with a batch: it is stored beside it.
func head(sources map[string]uint64) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(sources)) {
		fmt.Fprintf(&b, "%s=%d,", name, sources[name])
	}
	return strings.TrimSuffix(b.String(), ",")
}

func parseHead(text string) (map[string]uint64, error) {
	sources := make(map[string]uint64)
	for part := range strings.SplitSeq(text, ",") {
		if part == "" {
			continue
		}
		name, digits, _ := strings.Cut(part, "=")
		number, err := strconv.ParseUint(digits, 10, 64)
		if err != nil || name == "" {
			return nil, fmt.Errorf("the sources of a batch are %q", text)
		}
		sources[name] = number
	}
	return sources, nil
}
