package load

import (
	"encoding/binary"
	"errors"
	"math"
)

// Opcodes of WebSocket frames (RFC 6455, 5.2).
const (
	opText  = 1
	opClose = 8
	opPing  = 9
	opPong  = 10
)

const (
	fin    = 0x80
	masked = 0x80
)

// maxFrame is more than a server sends in one frame.
const maxFrame = 64 << 20

var (
	errFragment = errors.New("the server sent a message in fragments, which this generator does not read")
	errReserved = errors.New("the server sent a frame that is no WebSocket frame, or compressed though that was not offered")
	errTooLarge = errors.New("the server sent a frame of more than 64 MiB")
)

// appendHeader appends the header of a client's frame of n bytes. The frame is
// masked, as it must be, with the key 0: legal, and free here, while the server
// has the work of unmasking as with any other key.
func appendHeader(dst []byte, op byte, n int) []byte {
	switch {
	case n < 126:
		dst = append(dst, fin|op, masked|byte(n))
	case n <= math.MaxUint16:
		dst = append(dst, fin|op, masked|126, byte(n>>8), byte(n))
	default:
		dst = append(dst, fin|op, masked|127)
		dst = binary.BigEndian.AppendUint64(dst, uint64(n))
	}
	return append(dst, 0, 0, 0, 0)
}

// appendFrame appends a client's frame.
func appendFrame(dst []byte, op byte, payload []byte) []byte {
	return append(appendHeader(dst, op, len(payload)), payload...)
}

// nextFrame reads the server's frame at the beginning of b. size is how long it
// is in all, 0 while it is not complete.
func nextFrame(b []byte) (op byte, payload []byte, size int, err error) {
	if len(b) < 2 {
		return 0, nil, 0, nil
	}
	op = b[0] & 0x0f
	switch {
	case b[0]&0x70 != 0 || b[1]&masked != 0 || op > opPong || (op > 2 && op < opClose):
		return 0, nil, 0, errReserved
	case b[0]&fin == 0 || op == 0:
		return 0, nil, 0, errFragment
	}
	n, head := int(b[1]), 2
	switch {
	case n == 126:
		if head = 4; len(b) < head {
			return 0, nil, 0, nil
		}
		n = int(binary.BigEndian.Uint16(b[2:]))
	case n == 127:
		if head = 10; len(b) < head {
			return 0, nil, 0, nil
		}
		long := binary.BigEndian.Uint64(b[2:])
		if long > maxFrame {
			return 0, nil, 0, errTooLarge
		}
		n = int(long)
	}
	if len(b) < head+n {
		return 0, nil, 0, nil
	}
	return op, b[head : head+n], head + n, nil
}
