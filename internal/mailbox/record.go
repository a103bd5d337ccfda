package mailbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// A batch is what the log stores under one sequence:
//
//	version  1 byte
//	checksum 4 bytes, CRC-32C of all that follows, little endian
//	trim     8 bytes: everything before this sequence is dead or copied forward
//	ord      8 bytes: the next message's place in the shard's order
//	records
//
// and a record is its kind (1 byte), the length of its body (uvarint) and the
// body. Numbers in bodies are uvarints, strings are length and bytes.
//
// Replay starts at the trim of the last batch, so it does not matter whether a
// purge survived a power cut.
const (
	batchVersion = 1
	batchHeader  = 1 + 4 + 8 + 8
)

type recordKind uint8

// The kinds of records. Their numbers are on disk and never change.
const (
	recTakeover recordKind = 1 // a keeper has read the log to its end and owns it
	recMessage  recordKind = 2 // accepted for its receivers; again when copied forward
	recGone     recordKind = 3 // some of one user's messages wait no longer
	recOpened   recordKind = 4 // a session; again when copied forward
	recClosed   recordKind = 5
	recReported recordKind = 6 // subscribers have heard that some of one user's messages are late
	recClaim    recordKind = 7 // what was accepted of a keyed request; again when more was, or copied forward
	recSource   recordKind = 8 // how far another shard's messages were taken; again when more were, or copied forward
	recProducer recordKind = 9 // what was accepted of a sender's outbox; again when more was, or copied forward

	recRoad recordKind = 10 // that a message came over a road; again when copied forward
)

// goneReason says why a message no longer waits.
type goneReason uint8

const (
	goneProved  goneReason = 1
	goneExpired goneReason = 2
	goneEvicted goneReason = 3 // a presence notice that made room
	goneLost    goneReason = 4 // the log did not have it
	goneCleared goneReason = 5 // somebody emptied the mailbox
	goneMoved   goneReason = 6 // it goes another way; where to stands in the same batch
)

type messageFlags uint8

const (
	flagConfirm  messageFlags = 1 << iota // the sender wants a confirmation
	flagGroup                             // came as a group message
	flagNotice                            // the keeper's own: its expiry is told to nobody
	flagPresence                          // a notice that makes room in a full mailbox
	flagReport                            // subscribers hear of its delivery
	flagLate                              // subscribers hear when it has waited for long
	flagEvent                             // a notice for a subscriber: nobody waits for it
	flagQuiet                             // its expiry is told to subscribers only
)

// messageRecord is a message as the log holds it.
type messageRecord struct {
	ord       uint64
	id        wire.ID
	expires   uint32 // Unix seconds, rounded up; 0 for never
	flags     messageFlags
	from      []byte // the sender; for a notice whom it is about
	to        [][]byte
	reference []byte // raw JSON token; empty for none
	frame     []byte
}

type sessionRecord struct {
	id         wire.ID
	user       wire.UserID
	tellMaster wire.UserID
	node       string // who holds it; empty in logs of earlier versions, and where there is only one
}

var (
	castagnoli = crc32.MakeTable(crc32.Castagnoli)

	errShort = errors.New("record is cut short")
)

func newBatch(buf []byte) []byte {
	return append(buf[:0], make([]byte, batchHeader)...)
}

// sealBatch fills the header of a batch whose records are complete.
func sealBatch(b []byte, trim, ord uint64) {
	b[0] = batchVersion
	binary.LittleEndian.PutUint64(b[5:], trim)
	binary.LittleEndian.PutUint64(b[13:], ord)
	binary.LittleEndian.PutUint32(b[1:], crc32.Checksum(b[5:], castagnoli))
}

// openBatch checks a batch and returns what its header says.
func openBatch(b []byte) (trim, ord uint64, err error) {
	if len(b) < batchHeader {
		return 0, 0, fmt.Errorf("batch of %d bytes is too short", len(b))
	}
	if b[0] != batchVersion {
		return 0, 0, fmt.Errorf("batch has format %d; this program reads format %d: it was written by a newer version", b[0], batchVersion)
	}
	if sum := crc32.Checksum(b[5:], castagnoli); sum != binary.LittleEndian.Uint32(b[1:]) {
		return 0, 0, errors.New("batch is damaged: its checksum does not match")
	}
	return binary.LittleEndian.Uint64(b[5:]), binary.LittleEndian.Uint64(b[13:]), nil
}

// eachRecord calls f for every record of a checked batch. off is where the
// body begins.
func eachRecord(b []byte, f func(kind recordKind, off int, body []byte) error) error {
	for off := batchHeader; off < len(b); {
		kind := recordKind(b[off])
		n, w := binary.Uvarint(b[off+1:])
		start := off + 1 + w
		if w <= 0 || n > uint64(len(b)-start) {
			return errShort
		}
		end := start + int(n)
		if err := f(kind, start, b[start:end]); err != nil {
			return err
		}
		off = end
	}
	return nil
}

// appendRecord appends a record whose body is written by body, and returns
// where the body begins.
func appendRecord(b []byte, kind recordKind, size int, body func([]byte) []byte) (_ []byte, off int) {
	b = append(b, byte(kind))
	b = binary.AppendUvarint(b, uint64(size))
	off = len(b)
	b = body(b)
	if len(b)-off != size {
		panic(fmt.Sprintf("mailbox: record of kind %d has %d bytes, announced %d", kind, len(b)-off, size))
	}
	return b, off
}

func appendMessage(b []byte, m *messageRecord) (_ []byte, off int) {
	size := uvarintLen(m.ord) + len(m.id) + uvarintLen(uint64(m.expires)) + 1 + bytesLen(m.from) +
		uvarintLen(uint64(len(m.to))) + bytesLen(m.reference) + bytesLen(m.frame)
	for _, to := range m.to {
		size += bytesLen(to)
	}
	return appendRecord(b, recMessage, size, func(b []byte) []byte {
		b = binary.AppendUvarint(b, m.ord)
		b = append(b, m.id[:]...)
		b = binary.AppendUvarint(b, uint64(m.expires))
		b = append(b, byte(m.flags))
		b = appendBytes(b, m.from)
		b = binary.AppendUvarint(b, uint64(len(m.to)))
		for _, to := range m.to {
			b = appendBytes(b, to)
		}
		b = appendBytes(b, m.reference)
		return appendBytes(b, m.frame)
	})
}

// parseMessage reads a message's body. It appends the receivers to to, unless
// that is nil: delivery does not need them.
func parseMessage(body []byte, to [][]byte) (m messageRecord, err error) {
	r := reader{b: body}
	m.ord = r.uvarint()
	m.id = r.id()
	m.expires = uint32(r.uvarint())
	m.flags = messageFlags(r.byte())
	m.from = r.bytes()
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		return m, errShort
	}
	m.to = to
	for range n {
		if id := r.bytes(); to != nil {
			m.to = append(m.to, id)
		}
	}
	m.reference = r.bytes()
	m.frame = r.bytes()
	return m, r.err
}

func appendGone(b []byte, reason goneReason, user wire.UserID, ords []uint64) []byte {
	b, _ = appendRecord(b, recGone, 1+ordsLen(user, ords), func(b []byte) []byte {
		return appendOrds(append(b, byte(reason)), user, ords)
	})
	return b
}

func appendReported(b []byte, user wire.UserID, ords []uint64) []byte {
	b, _ = appendRecord(b, recReported, ordsLen(user, ords), func(b []byte) []byte { return appendOrds(b, user, ords) })
	return b
}

// appendOrds appends which messages of a user are meant.
func appendOrds(b []byte, user wire.UserID, ords []uint64) []byte {
	b = appendBytes(b, user)
	b = binary.AppendUvarint(b, uint64(len(ords)))
	for _, ord := range ords {
		b = binary.AppendUvarint(b, ord)
	}
	return b
}

func ordsLen(user wire.UserID, ords []uint64) int {
	size := bytesLen(user) + uvarintLen(uint64(len(ords)))
	for _, ord := range ords {
		size += uvarintLen(ord)
	}
	return size
}

// parseGone calls f for every message that body says is gone.
func parseGone(body []byte, f func(user []byte, ord uint64)) error {
	if len(body) == 0 {
		return errShort
	}
	return parseReported(body[1:], f) // the reason is for people who read the log
}

// parseReported calls f for every message that body names.
func parseReported(body []byte, f func(user []byte, ord uint64)) error {
	r := reader{b: body}
	user := r.bytes()
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		f(user, r.uvarint())
	}
	return r.err
}

func appendOpened(b []byte, s sessionRecord) []byte {
	size := len(s.id) + bytesLen(s.user) + bytesLen(s.tellMaster)
	if s.node != "" {
		size += bytesLen(s.node)
	}
	b, _ = appendRecord(b, recOpened, size, func(b []byte) []byte {
		b = append(b, s.id[:]...)
		b = appendBytes(b, s.user)
		b = appendBytes(b, s.tellMaster)
		if s.node != "" {
			b = appendBytes(b, s.node)
		}
		return b
	})
	return b
}

func parseOpened(body []byte) (sessionRecord, error) {
	r := reader{b: body}
	s := sessionRecord{id: r.id(), user: wire.UserID(r.bytes()), tellMaster: wire.UserID(r.bytes())}
	if len(r.b) > 0 {
		s.node = string(r.bytes())
	}
	return s, r.err
}

func appendClosed(b []byte, id wire.ID) []byte {
	b, _ = appendRecord(b, recClosed, len(id), func(b []byte) []byte { return append(b, id[:]...) })
	return b
}

func parseClosed(body []byte) (wire.ID, error) {
	r := reader{b: body}
	id := r.id()
	return id, r.err
}

func appendClaim(b []byte, cl *claim) []byte {
	size := len(cl.key) + len(cl.base) + uvarintLen(uint64(cl.print)) + uvarintLen(uint64(cl.expires)) +
		uvarintLen(uint64(cl.count)) + uvarintLen(uint64(len(cl.accepted)))
	for _, word := range cl.accepted {
		size += uvarintLen(word)
	}
	size += uvarintLen(uint64(len(cl.full)))
	for _, f := range cl.full {
		size += uvarintLen(uint64(f.index)) + uvarintLen(uint64(len(f.to)))
		for _, id := range f.to {
			size += bytesLen(id)
		}
	}
	b, _ = appendRecord(b, recClaim, size, func(b []byte) []byte {
		b = append(b, cl.key[:]...)
		b = append(b, cl.base[:]...)
		b = binary.AppendUvarint(b, uint64(cl.print))
		b = binary.AppendUvarint(b, uint64(cl.expires))
		b = binary.AppendUvarint(b, uint64(cl.count))
		b = binary.AppendUvarint(b, uint64(len(cl.accepted)))
		for _, word := range cl.accepted {
			b = binary.AppendUvarint(b, word)
		}
		b = binary.AppendUvarint(b, uint64(len(cl.full)))
		for _, f := range cl.full {
			b = binary.AppendUvarint(b, uint64(f.index))
			b = binary.AppendUvarint(b, uint64(len(f.to)))
			for _, id := range f.to {
				b = appendBytes(b, id)
			}
		}
		return b
	})
	return b
}

func parseClaim(body []byte) (*claim, error) {
	r := reader{b: body}
	cl := new(claim)
	copy(cl.key[:], r.take(uint64(len(cl.key))))
	cl.base = r.id()
	cl.print, cl.expires = uint32(r.uvarint()), uint32(r.uvarint())
	cl.count = int(r.uvarint())
	words := r.uvarint()
	if words > uint64(len(r.b)) {
		return nil, errShort
	}
	for range words {
		cl.accepted = append(cl.accepted, r.uvarint())
	}
	for n := r.uvarint(); n > 0 && r.err == nil; n-- {
		f := shortfall{index: int(r.uvarint())}
		for n := r.uvarint(); n > 0 && r.err == nil; n-- {
			f.to = append(f.to, wire.UserID(r.bytes()))
		}
		cl.full = append(cl.full, f)
	}
	return cl, r.err
}

func appendTakeover(b []byte, keeper wire.ID) []byte {
	b, _ = appendRecord(b, recTakeover, len(keeper), func(b []byte) []byte { return append(b, keeper[:]...) })
	return b
}

func appendBytes[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func bytesLen[T ~string | ~[]byte](s T) int { return uvarintLen(uint64(len(s))) + len(s) }

func uvarintLen(v uint64) int {
	n := 1
	for ; v >= 0x80; v >>= 7 {
		n++
	}
	return n
}

// reader takes values off the front of a body; after the first error it
// returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.err, r.b = errShort, nil
		return nil
	}
	head := r.b[:n:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) uvarint() uint64 {
	v, w := binary.Uvarint(r.b)
	if w <= 0 {
		r.err, r.b = errShort, nil
		return 0
	}
	r.b = r.b[w:]
	return v
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) bytes() []byte { return r.take(r.uvarint()) }

func (r *reader) id() (id wire.ID) {
	copy(id[:], r.take(uint64(len(id))))
	return id
}
