package socket

import (
	"encoding/binary"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Opcodes, RFC 6455 section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPing         = 0x9
	opPong         = 0xa
)

// header is a client's frame header.
type header struct {
	op     byte
	fin    bool
	packed bool   // RSV1: the message is compressed
	size   int    // bytes of the header itself
	length uint64 // bytes of the payload
	mask   [4]byte
}

// readHeader takes the header that p begins with. It returns false when p is
// too short for it, and a violation for one that RFC 6455 does not allow,
// whatever came before it.
func readHeader(p []byte, deflate bool) (h header, ok bool, bad *violation) {
	if len(p) < 2 || len(p) < headerSize(p[1]) {
		return header{}, false, nil
	}
	code := p[1] & 0x7f
	h = header{
		op: p[0] & 0x0f, fin: p[0]&0x80 != 0, packed: p[0]&rsv1 != 0,
		size: headerSize(p[1]), length: uint64(code),
	}
	switch code {
	case 126:
		h.length = uint64(binary.BigEndian.Uint16(p[2:]))
	case 127:
		h.length = binary.BigEndian.Uint64(p[2:])
	}
	switch {
	case p[0]&0x30 != 0, h.packed && (!deflate || h.op != opText && h.op != opBinary):
		return h, true, protocol("a reserved bit is set")
	case p[1]&0x80 == 0:
		return h, true, protocol("a client's frames are masked")
	case code == 126 && h.length < 126, code == 127 && (h.length <= 0xffff || h.length>>63 != 0):
		return h, true, protocol("the length of a frame is not in its shortest form")
	case h.op > opPong || h.op > opBinary && h.op < opClose:
		return h, true, protocol("unknown opcode")
	case h.op >= opClose && (!h.fin || code > maxControl):
		return h, true, protocol("a control frame is fragmented or too long")
	}
	copy(h.mask[:], p[h.size-4:])
	return h, true, nil
}

// headerSize is how long a header is, from its second byte.
func headerSize(b byte) int {
	size := 2
	switch b & 0x7f {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	if b&0x80 != 0 {
		size += 4
	}
	return size
}

// unmask undoes a client's masking, in place.
func (h *header) unmask(p []byte) {
	key := binary.LittleEndian.Uint32(h.mask[:])
	if key == 0 {
		return
	}
	wide := uint64(key)<<32 | uint64(key)
	for len(p) >= 8 {
		binary.LittleEndian.PutUint64(p, binary.LittleEndian.Uint64(p)^wide)
		p = p[8:]
	}
	for i := range p {
		p[i] ^= h.mask[i&3]
	}
}

// violation is what closes a connection whose client does not keep to the
// protocol.
type violation struct {
	code   uint16
	reason string
}

func protocol(reason string) *violation {
	return &violation{wire.CloseProtocolError, reason}
}
