package journal

import (
	"encoding/binary"
	"fmt"
)

// Kind is a kind of projection: what each shard has one of.
type Kind struct {
	Name   string // of letters and digits; part of the names of checkpoints
	Chunks int    // in how many parts it is kept
	// New makes one that knows nothing, in the place of an earlier one of the shard, if
	// there was any, of which End is not called then.
	New func(shard int) Projection
}

// Projection is what is folded from the events of one shard, in parts that are kept
// one by one. The owner calls its methods one at a time.
type Projection interface {
	// Fold takes in a batch, which stands at pos in the journal. What an event changes
	// in a chunk is to be done only if due of the chunk says so: otherwise the chunk has
	// it already. due also notes that the chunk changes. The events are not to be kept.
	Fold(pos uint64, events []Event, due func(chunk int) bool)
	// Load takes in a chunk as Save returned it, before anything is folded.
	Load(chunk int, state []byte) error
	// Save returns a chunk as it is.
	Save(chunk int) []byte
	// Tick is called now and then, with the clock's time in Unix milliseconds; it may
	// change chunks, which due notes.
	Tick(now int64, due func(chunk int) bool)
	// End is called when this node keeps the shard no more.
	End()
}

// held is a projection with how far each chunk is.
type held struct {
	kind   Kind
	of     Projection
	chunks []chunk
}

// chunk is how far one part of a projection is, and what is kept of it.
type chunk struct {
	has   uint64 // the position up to which it has everything
	dirty bool   // it has changed since it was kept
	since int64  // then: from when on, in Unix milliseconds
	from  uint64 // and how many bytes had been stored in the shard then
	seq   uint64 // of what is kept; 0 for nothing
	size  int    // of that, in bytes
}

// kept is a chunk as it is in the store: the position up to which it has everything
// comes first.
func encodeKept(has uint64, state []byte) []byte {
	return append(binary.BigEndian.AppendUint64(make([]byte, 0, 8+len(state)), has), state...)
}

func decodeKept(b []byte) (has uint64, state []byte, err error) {
	if len(b) < 8 {
		return 0, nil, fmt.Errorf("a checkpoint has only %d bytes", len(b))
	}
	return binary.BigEndian.Uint64(b), b[8:], nil
}

// summary is the checkpoint of a shard as a whole. It is written after chunks, and
// says of each which one it was, and how far that counted then: one that did not
// change has everything that came meanwhile.
type summary struct {
	pos     uint64 // how far the shard was
	ids     uint64 // the position before the first whose IDs are remembered
	stored  int64
	sources map[string]source
	floors  map[string][]floor // by the name of the kind
}

type floor struct{ has, seq uint64 }

// source is one node that sends events, as the owner knows it.
type source struct {
	number uint64 // of the last request that was stored
	at     int64  // when that was
}

const summaryVersion = 1

func (s *summary) encode() []byte {
	b := []byte{summaryVersion}
	for _, n := range []uint64{s.pos, s.ids, uint64(s.stored), uint64(len(s.sources))} {
		b = binary.AppendUvarint(b, n)
	}
	for name, of := range s.sources {
		b = binary.AppendVarint(binary.AppendUvarint(putText(b, name), of.number), of.at)
	}
	b = binary.AppendUvarint(b, uint64(len(s.floors)))
	for name, list := range s.floors {
		b = binary.AppendUvarint(putText(b, name), uint64(len(list)))
		for _, f := range list {
			b = binary.AppendUvarint(binary.AppendUvarint(b, f.has), f.seq)
		}
	}
	return b
}

func decodeSummary(b []byte) (s summary, err error) {
	r := reader{rest: b}
	if v := r.byte(); v != summaryVersion {
		return s, fmt.Errorf("a checkpoint is of version %d", v)
	}
	s.pos, s.ids, s.stored = r.uint(), r.uint(), int64(r.uint())
	s.sources, s.floors = make(map[string]source), make(map[string][]floor)
	for n := r.uint(); n > 0 && !r.bad; n-- {
		name := r.text()
		s.sources[name] = source{number: r.uint(), at: r.int()}
	}
	for n := r.uint(); n > 0 && !r.bad; n-- {
		name := r.text()
		var list []floor
		for m := r.uint(); m > 0 && !r.bad; m-- {
			list = append(list, floor{has: r.uint(), seq: r.uint()})
		}
		s.floors[name] = list
	}
	if !r.end() {
		return s, fmt.Errorf("a checkpoint is cut off")
	}
	return s, nil
}
