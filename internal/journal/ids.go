package journal

import (
	"encoding/binary"
	"hash/maphash"
)

// ids are the last IDs, by their hashes, with where they stand, and hashes of what the
// events were.
type ids struct {
	seed maphash.Seed
	of   map[uint64]content
	ring []idAt
	next int
}

type idAt struct{ id, pos uint64 }

// content is a hash of what an event says, by which another one of the same ID is told
// from the same one again.
type content struct{ what, at uint32 }

// same says whether it is that of the same event: if nobody said when that happened, the
// time does not matter.
func (c content) same(again content, anyTime bool) bool {
	return c.what == again.what && (anyTime || c.at == again.at)
}

func newIDs() ids { return ids{seed: maphash.MakeSeed(), of: make(map[uint64]content)} }

// hash returns that of an event's identity: app, device and ID.
func (d *ids) hash(e *Event) uint64 {
	var h maphash.Hash
	h.SetSeed(d.seed)
	for _, part := range [...]string{e.App, e.Device, e.ID} {
		_, _ = h.WriteString(part) // which does not fail
		_ = h.WriteByte(0)         // nor does this
	}
	return h.Sum64()
}

func (d *ids) content(e *Event) content {
	number := func(n int64) uint32 {
		return uint32(maphash.Bytes(d.seed, binary.LittleEndian.AppendUint64(nil, uint64(n))))
	}
	return content{what: number(e.Amount) ^ uint32(maphash.String(d.seed, string(e.Type))), at: number(e.At)}
}

func (d *ids) has(id uint64) bool {
	_, ok := d.of[id]
	return ok
}

func (d *ids) add(id uint64, is content, pos uint64) {
	if d.has(id) {
		return
	}
	d.of[id] = is
	if len(d.ring) < remembered {
		d.ring = append(d.ring, idAt{id, pos})
		return
	}
	delete(d.of, d.ring[d.next].id)
	d.ring[d.next] = idAt{id, pos}
	d.next = (d.next + 1) % remembered
}

// from returns the position before the oldest of them; of a shard that is at pos.
func (d *ids) from(pos uint64) uint64 {
	switch {
	case len(d.ring) == 0:
		return pos
	case len(d.ring) < remembered:
		return d.ring[0].pos - 1
	}
	return d.ring[d.next].pos - 1
}
