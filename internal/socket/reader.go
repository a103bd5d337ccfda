package socket

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// readSize is how much is read at once. The buffer is lent while there is
// something to read: an idle connection holds none.
const readSize = 16 << 10

// inbound is what hears what a client sends. The slices are valid during the
// call only.
type inbound interface {
	known() bool // whether the client has signed in
	through()    // what was read is dealt with
	text(message []byte)
	ping(payload []byte)
	pong(payload []byte)
}

// frameReader takes what a client sends apart into frames and messages (RFC
// 6455, section 5), and checks them. What can be refused by its header is
// refused before its payload is read, and what is kept of a frame that has not
// arrived whole is what has arrived of it, never what it says will come.
type frameReader struct {
	*readTerms
	conn    net.Conn
	raw     syscall.RawConn // of conn; nil when it has none, see rawConn
	in      inbound
	deflate bool // messages may be compressed

	early      []byte // arrived together with the handshake
	rest       []byte // the beginning of a frame, until all of it is there
	message    []byte // the fragments of a message, until all of them are there
	fragmented bool   // a message has begun and not ended
	packed     bool   // and is compressed

	until atomic.Int64 // when reading ends, in Unix nanoseconds; 0: it does not
	end   ending       // how the connection ends, once it does
}

// readTerms is what connections have in common that began under the same limits.
type readTerms struct {
	lend    *readBuffers
	inflate *inflaters
	bytes   prometheus.Counter
	limit   int // bytes of a message, also when it is decompressed
	first   int // the same before the client is known
}

// read calls inbound until the connection is lost, the client closes it, or
// sends what it must not. It returns how the session ends.
func (r *frameReader) read() ending {
	if early := r.early; len(early) > 0 {
		r.early = nil
		if !r.took(early) {
			return r.end
		}
	}
	var err error
	if r.raw != nil {
		err = r.raw.Read(r.drain)
	} else {
		err = r.readAll()
	}
	if err != nil {
		r.lost(err)
	}
	return r.end
}

// rawConn returns the connection's descriptor, nil when there is none, or when
// what is read from it is not what the client sent, as with TLS.
func rawConn(conn net.Conn) syscall.RawConn {
	on, ok := conn.(syscall.Conn)
	if !ok {
		return nil
	}
	raw, err := on.SyscallConn()
	if err != nil {
		return nil
	}
	return raw
}

// drain reads what there is, and returns false to be called again when there is
// more. It is where a connection waits: without a buffer.
func (r *frameReader) drain(fd uintptr) (done bool) {
	buf := r.lend.get()
	defer r.lend.put(buf)
	for {
		n, err := syscall.Read(int(fd), *buf)
		switch {
		case n > 0:
			if !r.took((*buf)[:n]) {
				return true
			}
			if until := r.until.Load(); until != 0 && time.Now().UnixNano() >= until {
				r.lost(os.ErrDeadlineExceeded)
				return true
			}
		case err == nil:
			r.lost(io.EOF)
			return true
		case errors.Is(err, syscall.EAGAIN):
			return false
		case !errors.Is(err, syscall.EINTR):
			r.lost(os.NewSyscallError("read", err))
			return true
		}
	}
}

// took deals with what was read. It returns false when the connection ends.
func (r *frameReader) took(p []byte) bool {
	r.bytes.Add(float64(len(p)))
	defer r.in.through()
	return r.feedAside(p)
}

// feedAside is feed on a stack that goes away again, as long as the client is a
// stranger: signing in takes a deep one, and a connection that is silent after it
// keeps the stack that it has.
func (r *frameReader) feedAside(p []byte) (ok bool) {
	if r.in.known() {
		return r.feed(p)
	}
	var done sync.WaitGroup
	var fault any
	done.Go(func() {
		defer func() { fault = recover() }()
		ok = r.feed(p)
	})
	done.Wait()
	if fault != nil {
		panic(fault) // where the session expects it
	}
	return ok
}

// readAll reads a connection that has to be waited for with a buffer in hand.
func (r *frameReader) readAll() error {
	buf := make([]byte, 1<<10)
	for {
		n, err := r.conn.Read(buf)
		if n > 0 && !r.took(buf[:n]) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (r *frameReader) lost(err error) { r.end = ending{code: closeLost, abort: true, cause: err} }

// feed takes what was read, and changes it. It returns false when the
// connection ends.
func (r *frameReader) feed(p []byte) bool {
	if len(r.rest) > 0 {
		after, whole, ok := r.complete(p)
		if !whole {
			return ok
		}
		p = after
	}
	for len(p) > 0 {
		h, ok, bad := r.header(p)
		switch {
		case bad != nil:
			return r.violated(bad)
		case !ok || uint64(len(p)-h.size) < h.length:
			r.rest = append(r.rest, p...)
			return true
		}
		size := h.size + int(h.length)
		if !r.frame(&h, p[h.size:size]) {
			return false
		}
		p = p[size:]
	}
	return true
}

// complete adds to the frame that has begun to arrive what p has of it. Once it is
// whole it is handled, and what follows it is returned; ok is false when the
// connection ends.
func (r *frameReader) complete(p []byte) (after []byte, whole, ok bool) {
	h, known, bad := r.header(r.rest)
	for ; !known; h, known, bad = r.header(r.rest) {
		if len(p) == 0 {
			return nil, false, true
		}
		r.rest, p = append(r.rest, p[0]), p[1:]
	}
	if bad != nil {
		return nil, false, r.violated(bad)
	}
	missing := h.length - uint64(len(r.rest)-h.size)
	if uint64(len(p)) < missing {
		r.rest = append(r.rest, p...)
		return nil, false, true
	}
	frame := append(r.rest, p[:missing]...)
	r.rest = nil
	ok = r.frame(&h, frame[h.size:])
	return p[missing:], ok, ok
}

// header reads a header and checks it in its place. What it says is the same
// until the frame is handled.
func (r *frameReader) header(p []byte) (h header, ok bool, bad *violation) {
	h, ok, bad = readHeader(p, r.deflate)
	if !ok || bad != nil || h.op >= opClose {
		return h, ok, bad
	}
	switch {
	case h.op == opBinary:
		bad = &violation{wire.CloseUnsupported, "only text frames are understood"}
	case r.fragmented != (h.op == opContinuation):
		bad = protocol("a fragment is out of place")
	case h.length > uint64(max(r.allowed()-len(r.message), 0)):
		bad = &violation{wire.CloseTooBig, "the message is larger than the limit"}
	}
	return h, true, bad
}

// allowed is how many bytes a message may have now.
func (r *frameReader) allowed() int {
	if r.first < r.limit && !r.in.known() {
		return r.first
	}
	return r.limit
}

// frame handles a frame that is whole.
func (r *frameReader) frame(h *header, payload []byte) bool {
	h.unmask(payload)
	switch h.op {
	case opPing:
		r.in.ping(payload)
		return true
	case opPong:
		r.in.pong(payload)
		return true
	case opClose:
		return r.closed(payload)
	}
	if h.op == opText {
		r.packed = h.packed
	}
	if h.fin && !r.fragmented {
		return r.deliver(payload)
	}
	r.fragmented = !h.fin
	r.message = append(r.message, payload...)
	if r.fragmented {
		return true
	}
	message := r.message
	r.message = nil
	return r.deliver(message)
}

// deliver hands over a message that is whole.
func (r *frameReader) deliver(message []byte) bool {
	if r.packed {
		unpacked, bad := r.inflate.unpack(message, r.allowed())
		if bad != nil {
			return r.violated(bad)
		}
		defer r.inflate.put(unpacked)
		message = unpacked.bytes()
	}
	if !utf8.Valid(message) {
		return r.violated(&violation{wire.CloseInvalidText, "the text is not UTF-8"})
	}
	r.in.text(message)
	return true
}

// closed takes the client's close frame, which is answered with its own code.
func (r *frameReader) closed(payload []byte) bool {
	if len(payload) == 0 {
		r.end = ending{code: closeSilent, frame: true, abort: true, peer: true}
		return false
	}
	if len(payload) < 2 || !mayClose(binary.BigEndian.Uint16(payload)) {
		return r.violated(protocol("the close frame is malformed"))
	}
	if !utf8.Valid(payload[2:]) {
		return r.violated(&violation{wire.CloseInvalidText, "the reason of the close frame is not UTF-8"})
	}
	code, reason := closeOf(payload)
	r.end = ending{code: code, frame: true, send: code, abort: true, peer: true, said: reason}
	return false
}

// mayClose says whether a client may close with a code, RFC 6455 section 7.4.
func mayClose(code uint16) bool {
	switch {
	case code == 1004, code == closeSilent, code == closeLost:
		return false
	case code >= 1000 && code <= 1014, code >= 3000 && code <= 4999:
		return true
	}
	return false
}

func (r *frameReader) violated(v *violation) bool {
	r.end = fault(v.code, v.reason)
	return false
}

// fault is the ending of a client that sent what it must not. What else it has
// sent is not read as frames any more.
func fault(code uint16, reason string) ending {
	return ending{code: code, frame: true, send: code, reason: reason, unread: true}
}

// readBuffers lends the buffers into which connections are read.
type readBuffers struct{ pool sync.Pool }

func (b *readBuffers) get() *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return p
	}
	p := make([]byte, readSize)
	return &p
}

func (b *readBuffers) put(p *[]byte) { b.pool.Put(p) }
