package socket

import (
	"encoding/binary"
	"unicode/utf8"
)

// First bytes of the frames that the server writes: FIN and opcode, RFC 6455
// section 5.2.
const (
	finText       = 0x81
	finClose      = 0x88
	finPing       = 0x89
	finPong       = 0x8a
	rsv1          = 0x40 // the payload is compressed, RFC 7692
	maxControl    = 125  // bytes in a control frame's payload
	headerReserve = 4    // what beginFrame leaves for the header
)

// beginFrame makes room for a header. The payload is appended after it, then
// endFrame writes the header; start is where the frame begins.
func beginFrame(dst []byte) (out []byte, start int) {
	return append(dst, 0, 0, 0, 0), len(dst)
}

// endFrame writes the header of the frame that begins at start.
func endFrame(dst []byte, start int, first byte) []byte {
	n := len(dst) - start - headerReserve
	switch {
	case n <= maxControl:
		copy(dst[start+2:], dst[start+headerReserve:])
		dst = dst[:len(dst)-2]
		dst[start+1] = byte(n)
	case n <= 0xffff:
		dst[start+1] = 126
		binary.BigEndian.PutUint16(dst[start+2:], uint16(n))
	default:
		dst = append(dst, 0, 0, 0, 0, 0, 0)
		copy(dst[start+10:], dst[start+headerReserve:len(dst)-6])
		dst[start+1] = 127
		binary.BigEndian.PutUint64(dst[start+2:], uint64(n))
	}
	dst[start] = first
	return dst
}

// appendFrame appends a whole frame.
func appendFrame(dst []byte, first byte, payload []byte) []byte {
	dst, start := beginFrame(dst)
	return endFrame(append(dst, payload...), start, first)
}

// appendClose appends a close frame, without a payload when code is 0.
func appendClose(dst []byte, code uint16, reason string) []byte {
	dst, start := beginFrame(dst)
	if code != 0 {
		dst = binary.BigEndian.AppendUint16(dst, code)
		dst = append(dst, clip(reason, maxControl-2)...)
	}
	return endFrame(dst, start, finClose)
}

// clip cuts text to at most n bytes, between characters.
func clip(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// whole says whether b, frames written by this package and maybe the beginning
// of one more, begins with a whole one.
func whole(b []byte) bool {
	if len(b) < 2 || len(b) < headerSize(b[1]) {
		return false
	}
	n := uint64(b[1])
	switch n {
	case 126:
		n = uint64(binary.BigEndian.Uint16(b[2:]))
	case 127:
		n = binary.BigEndian.Uint64(b[2:])
	}
	return uint64(len(b)-headerSize(b[1])) >= n
}

// closeOf reads the payload of a close frame; without one the code is
// closeSilent.
func closeOf(payload []byte) (code uint16, reason string) {
	if len(payload) < 2 {
		return closeSilent, ""
	}
	return binary.BigEndian.Uint16(payload), string(payload[2:])
}

// splitFrame returns the first of the frames in b, all written by this package:
// its first byte, its payload, and what follows.
func splitFrame(b []byte) (first byte, payload, rest []byte) {
	size, n := 2, int(b[1])
	switch n {
	case 126:
		size, n = 4, int(binary.BigEndian.Uint16(b[2:]))
	case 127:
		size, n = 10, int(binary.BigEndian.Uint64(b[2:]))
	}
	return b[0], b[size : size+n], b[size+n:]
}
