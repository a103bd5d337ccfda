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

// Versions of chunks' form.
const (
	version        = 1
	versionBrought = 2 // beside the content of each slot there is what was brought
)

// save returns what is kept of a chunk; nothing when there is nothing in it.
func (s *shard) save(chunk int) []byte {
	list := s.chunks[chunk]
	if len(list) == 0 {
		return nil
	}
	form := byte(version)
	if slices.ContainsFunc(list, func(p place) bool { return s.slots[p].brought != nil }) {
		form = versionBrought
	}
	b := []byte{form, byte(list[0].layer), list[0].part}
	for _, p := range list {
		x := s.slots[p]
		b = appendContent(binary.AppendVarint(b, p.start), x.content())
		switch {
		case form == version:
		case x.brought == nil:
			b = appendContent(b, nil)
		default:
			b = appendContent(b, x.brought.content())
		}
	}
	return sum(b)
}

func appendContent(dst, content []byte) []byte {
	return append(binary.AppendUvarint(dst, uint64(len(content))), content...)
}

// cutContent returns a copy of what appendContent has written; nil of nothing.
func cutContent(src []byte) (content, rest []byte, err error) {
	n, size := binary.Uvarint(src)
	if size <= 0 || n > uint64(len(src)-size) {
		return nil, nil, errBroken
	}
	if n > 0 {
		content = bytes.Clone(src[size : size+int(n)])
	}
	return content, src[size+int(n):], nil
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
	if state[0] != version && state[0] != versionBrought {
		return fmt.Errorf("it is of form %d, which this program does not know", state[0])
	}
	p, rest := place{layer: layer(state[1]), part: state[2]}, state[3:n]
	if p.layer >= layers {
		return errBroken
	}
	for len(rest) > 0 {
		start, size := binary.Varint(rest)
		if size <= 0 || start < 0 {
			return errBroken
		}
		x, err := new(slot), error(nil)
		if x.sealed, rest, err = cutContent(rest[size:]); err != nil {
			return err
		}
		if state[0] == versionBrought {
			var brought []byte
			if brought, rest, err = cutContent(rest); err != nil {
				return err
			}
			if brought != nil {
				x.brought = &slot{sealed: brought}
			}
		}
		if p.start = start; p.chunk() != chunk {
			return errBroken
		}
		s.put(p, x)
	}
	return nil
}
