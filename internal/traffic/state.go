package traffic

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"slices"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

// seal encodes the groups of a slot, in order.
func (x *slot) seal() {
	x.sealed = appendGroups(nil, x.groups)
	x.groups, x.apps = nil, nil
}

// content returns a slot's groups as they are encoded.
func (x *slot) content() []byte {
	if x.groups == nil {
		return x.sealed
	}
	return appendGroups(nil, x.groups)
}

func appendGroups(dst []byte, groups map[Key]*window.Aggregate) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(groups)))
	for _, k := range slices.SortedFunc(maps.Keys(groups), compareKeys) {
		dst = groups[k].Append(appendKey(dst, k))
	}
	return dst
}

func compareKeys(a, b Key) int {
	return cmp.Or(
		cmp.Compare(a.Type, b.Type), cmp.Compare(a.App, b.App), cmp.Compare(a.Capability, b.Capability),
		cmp.Compare(a.Domain, b.Domain), cmp.Compare(a.Device, b.Device),
	)
}

func appendKey(dst []byte, k Key) []byte {
	for _, s := range []string{k.Type, k.App, k.Capability, k.Domain, k.Device} {
		dst = binary.AppendUvarint(dst, uint64(len(s)))
		dst = append(dst, s...)
	}
	return dst
}

// each goes through groups that this program has encoded, and that a checksum has
// guarded wherever they were since.
func each(sealed []byte, do func(Key, window.Aggregate)) {
	n, size := binary.Uvarint(sealed)
	rest, err := sealed[max(size, 0):], error(nil)
	for i := uint64(0); i < n; i++ {
		var k Key
		var a window.Aggregate
		if k, rest, err = cutKey(rest); err == nil {
			a, rest, err = window.Decode(rest)
		}
		if err != nil {
			panic(fmt.Sprintf("traffic: group %d of %d: %v", i, n, err))
		}
		do(k, a)
	}
}

var errBroken = errors.New("it is broken")

func cutKey(src []byte) (k Key, rest []byte, err error) {
	for _, s := range []*string{&k.Type, &k.App, &k.Capability, &k.Domain, &k.Device} {
		n, size := binary.Uvarint(src)
		if size <= 0 || n > uint64(len(src)-size) {
			return k, nil, errBroken
		}
		*s, src = string(src[size:size+int(n)]), src[size+int(n):]
	}
	return k, src, nil
}

// version is that of chunks' form.
const version = 1

// save returns what is kept of a chunk; nothing when there is nothing in it.
func (s *shard) save(chunk int) []byte {
	list := s.chunks[chunk]
	if len(list) == 0 {
		return nil
	}
	b := []byte{version, byte(list[0].layer), list[0].part}
	for _, p := range list {
		content := s.slots[p].content()
		b = binary.AppendVarint(b, p.start)
		b = binary.AppendUvarint(b, uint64(len(content)))
		b = append(b, content...)
	}
	return sum(b)
}

func sum(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)) }

// load takes in what was kept of a chunk.
func (s *shard) load(chunk int, state []byte) error {
	if len(state) == 0 {
		return nil
	}
	n := len(state) - 4
	if n < 3 || !bytes.Equal(sum(state[:n:n])[n:], state[n:]) {
		return errBroken
	}
	if state[0] != version {
		return fmt.Errorf("it is of form %d, which this program does not know", state[0])
	}
	p, rest := place{layer: layer(state[1]), part: state[2]}, state[3:n]
	if p.layer >= layers {
		return errBroken
	}
	for len(rest) > 0 {
		start, size := binary.Varint(rest)
		length, more := binary.Uvarint(rest[max(size, 0):])
		if size <= 0 || more <= 0 || length > uint64(len(rest)-size-more) {
			return errBroken
		}
		p.start, rest = start, rest[size+more:]
		if start < 0 || p.chunk() != chunk {
			return errBroken
		}
		s.put(p, &slot{sealed: bytes.Clone(rest[:length])})
		rest = rest[length:]
	}
	return nil
}
