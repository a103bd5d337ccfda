package socket

import (
	"encoding/binary"
	"io"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Opcodes, RFC 6455 section 5.2.
const (
	opContinuation = 0x0
	opText         = 0x1
	opBinary       = 0x2
	opClose        = 0x8
	opPong         = 0xa
)

// violation is a frame header that closes the connection.
type violation struct {
	code   uint16
	reason string
}

func (v *violation) Error() string { return v.reason }

// guard stands between the connection and the frame reader and looks at each
// frame's header as it passes. It stops what the reader would mistake: lengths
// with the top bit set, reserved bits on a connection with compression, headers
// that are longer than they need be; and what can be refused before its payload
// is read: binary frames, and messages above the limit.
type guard struct {
	src     io.Reader
	early   []byte // arrived together with the handshake
	bytes   prometheus.Counter
	limit   int64 // bytes of a message
	first   int64 // the same before joined says that the client is known
	joined  func() bool
	deflate bool

	head       [14]byte
	have       int   // bytes of the header in head
	skip       int64 // payload bytes until the next header
	fragmented bool  // a message has begun and not ended
	message    int64 // its bytes so far

	broken *violation // what the peer did wrong; everything before it was passed on
	err    error      // why nothing more can be read
}

// Read is for one goroutine.
func (g *guard) Read(p []byte) (int, error) {
	if g.broken != nil {
		return 0, g.broken
	}
	n, err := g.read(p)
	g.bytes.Add(float64(n))
	for at := 0; at < n; {
		if g.skip > 0 {
			step := min(g.skip, int64(n-at))
			g.skip -= step
			at += int(step)
			continue
		}
		start := at
		at += g.header(p[at:n])
		if g.broken != nil {
			if start == 0 {
				return 0, g.broken
			}
			return start, nil
		}
	}
	if n == 0 && err != nil {
		g.err = err
	}
	return n, err
}

func (g *guard) read(p []byte) (int, error) {
	if len(g.early) == 0 {
		return g.src.Read(p)
	}
	n := copy(p, g.early)
	if g.early = g.early[n:]; len(g.early) == 0 {
		g.early = nil
	}
	return n, nil
}

// header takes as much of a header as there is and returns how many bytes.
func (g *guard) header(p []byte) int {
	used := 0
	for used < len(p) {
		g.head[g.have] = p[used]
		g.have++
		used++
		if g.have >= 2 && g.have == headerSize(g.head[1]) {
			g.have = 0
			g.broken = g.check()
			break
		}
	}
	return used
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

// check looks at a whole header.
func (g *guard) check() *violation {
	first, code := g.head[0], g.head[1]&0x7f
	op, fin := first&0x0f, first&0x80 != 0
	size := uint64(code)
	switch code {
	case 126:
		size = uint64(binary.BigEndian.Uint16(g.head[2:]))
	case 127:
		size = binary.BigEndian.Uint64(g.head[2:])
	}
	switch {
	case first&0x30 != 0, first&rsv1 != 0 && (!g.deflate || op != opText && op != opBinary):
		return protocol("a reserved bit is set")
	case g.head[1]&0x80 == 0:
		return protocol("a client's frames are masked")
	case code == 126 && size < 126, code == 127 && (size <= 0xffff || size>>63 != 0):
		return protocol("the length of a frame is not in its shortest form")
	}
	if op >= opClose {
		switch {
		case op > opPong:
			return protocol("unknown opcode")
		case !fin || code > maxControl:
			return protocol("a control frame is fragmented or too long")
		}
		g.skip = int64(size)
		return nil
	}
	return g.data(op, fin, size)
}

// data looks at the header of a data frame.
func (g *guard) data(op byte, fin bool, size uint64) *violation {
	switch {
	case op == opBinary:
		return &violation{wire.CloseUnsupported, "only text frames are understood"}
	case op > opBinary:
		return protocol("unknown opcode")
	case g.fragmented != (op == opContinuation):
		return protocol("a fragment is out of place")
	case size > uint64(max(g.allowed()-g.message, 0)):
		return &violation{wire.CloseTooBig, "the message is larger than the limit"}
	}
	g.fragmented = !fin
	g.message += int64(size)
	if fin {
		g.message = 0
	}
	g.skip = int64(size)
	return nil
}

// allowed is how many bytes a message may have now.
func (g *guard) allowed() int64 {
	if g.first < g.limit && !g.joined() {
		return g.first
	}
	return g.limit
}

func protocol(reason string) *violation {
	return &violation{wire.CloseProtocolError, reason}
}
