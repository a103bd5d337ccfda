package shards

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// What nodes say to each other about keepers. A message is its kind, its shard,
// the conversation, and what the kind has; numbers are varints. A kind that is
// unknown is passed over: it is of a newer version.
type kind byte

const (
	// From a keeper's node: it serves the shard. The term tells a later keeper
	// from an earlier one.
	kindReady kind = 1
	kindGone  kind = 2 // and does so no more; everything was answered

	// From a node with sessions. A conversation begins with hello, which makes
	// what was said before it void, and all sessions, anew.
	kindHello      kind = 10
	kindReopen     kind = 11
	kindRegistered kind = 12
	kindOpen       kind = 13
	kindClose      kind = 14
	kindProve      kind = 15
	kindProveEach  kind = 16
	kindPass       kind = 17
	kindFetch      kind = 18
	kindAccept     kind = 19
	kindForward    kind = 20
	kindAsk        kind = 21

	// From a keeper's node, in a conversation.
	kindOpened    kind = 30
	kindDeliver   kind = 31
	kindFetchDone kind = 32
	kindSettled   kind = 33
	kindStored    kind = 34
	kindFailed    kind = 35
	kindDone      kind = 36
	kindReturned  kind = 37
	kindForwarded kind = 38
	kindAnswer    kind = 39
	kindOver      kind = 40
)

// protocol is the first byte of each message.
const protocol = 1

// begin begins a message.
func begin(b []byte, k kind, shard int, conv uint64) []byte {
	b = append(b, protocol, byte(k))
	b = binary.AppendUvarint(b, uint64(shard))
	return binary.AppendUvarint(b, conv)
}

func appendBytes[T ~string | ~[]byte](b []byte, s T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

var errMalformed = errors.New("a message between nodes is malformed")

// errNotTaken says that a list was not taken by the keeper of another shard.
var errNotTaken = errors.New("the keeper of the other shard did not take it")

// reader takes values off the front of a message; after the first error it
// returns zeros.
type reader struct {
	b   []byte
	err error
}

func (r *reader) take(n uint64) []byte {
	if r.err != nil || n > uint64(len(r.b)) {
		r.err, r.b = errMalformed, nil
		return nil
	}
	head := r.b[:n:n]
	r.b = r.b[n:]
	return head
}

func (r *reader) uvarint() uint64 {
	v, w := binary.Uvarint(r.b)
	if w <= 0 {
		r.err, r.b = errMalformed, nil
		return 0
	}
	r.b = r.b[w:]
	return v
}

// count reads how many items follow, of at least one byte each.
func (r *reader) count() int {
	n := r.uvarint()
	if n > uint64(len(r.b)) {
		r.err, r.b = errMalformed, nil
		return 0
	}
	return int(n)
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) bytes() []byte { return r.take(r.uvarint()) }

func (r *reader) user() wire.UserID { return wire.UserID(r.bytes()) }

func (r *reader) id() (id wire.ID) {
	copy(id[:], r.take(uint64(len(id))))
	return id
}

func (r *reader) time() time.Time {
	if ms := r.uvarint(); ms > 0 {
		return time.UnixMilli(int64(ms)).UTC()
	}
	return time.Time{}
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return binary.AppendUvarint(b, 0)
	}
	return binary.AppendUvarint(b, uint64(max(t.UnixMilli(), 1)))
}

// flags packs what is true into a byte.
func flags(list ...bool) (b byte) {
	for i, set := range list {
		if set {
			b |= 1 << i
		}
	}
	return b
}

func appendSession(b []byte, s *mailbox.Session) []byte {
	b = append(b, s.ID[:]...)
	b = appendBytes(b, s.User)
	b = appendBytes(b, s.TellMaster)
	b = append(b, flags(s.Master, s.Ack, s.Push, s.Each, s.Link))
	return binary.AppendUvarint(b, uint64(s.Window))
}

func (r *reader) session() (s mailbox.Session) {
	s.ID, s.User, s.TellMaster = r.id(), r.user(), r.user()
	f := r.byte()
	s.Master, s.Ack, s.Push, s.Each, s.Link = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0, f&16 != 0
	s.Window = int(r.uvarint())
	return s
}

// appendDelivery appends a delivery without its frame, which follows.
func appendDelivery(b []byte, d *mailbox.Delivery) []byte {
	b = binary.AppendUvarint(binary.AppendUvarint(b, d.N), d.Ord)
	b = append(append(b, flags(d.Fetched, d.Log != "")), d.ID[:]...)
	if d.Log != "" {
		b = binary.AppendUvarint(appendBytes(b, d.Log), d.Low)
	}
	return b
}

// delivery reads what appendDelivery wrote, and the frame.
func (r *reader) delivery() (d mailbox.Delivery) {
	d.N, d.Ord = r.uvarint(), r.uvarint()
	f := r.byte()
	d.Fetched, d.ID = f&1 != 0, r.id()
	if f&2 != 0 {
		d.Log, d.Low = string(r.bytes()), r.uvarint()
	}
	d.Frame = r.b
	return d
}

func appendHeld(b []byte, h *mailbox.Held) []byte {
	b = appendSession(b, &h.Session)
	for _, v := range []uint64{h.Mark, h.Cursor, h.NextN, h.ProvedTo, h.PassedTo, uint64(len(h.Given))} {
		b = binary.AppendUvarint(b, v)
	}
	for i := range h.Given {
		g := &h.Given[i]
		b = binary.AppendUvarint(b, g.N)
		b = binary.AppendUvarint(b, g.Ord)
		b = binary.AppendUvarint(b, uint64(g.Size))
		b = append(b, flags(g.Fetched, g.Proved))
	}
	b = binary.AppendUvarint(b, uint64(len(h.Fetches)))
	for _, n := range h.Fetches {
		b = binary.AppendUvarint(b, uint64(n))
	}
	return b
}

func (r *reader) held() (h mailbox.Held) {
	h.Session = r.session()
	h.Mark, h.Cursor, h.NextN, h.ProvedTo, h.PassedTo = r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint(), r.uvarint()
	h.Given = make([]mailbox.Given, r.count())
	for i := range h.Given {
		g := &h.Given[i]
		g.N, g.Ord, g.Size = r.uvarint(), r.uvarint(), uint32(r.uvarint())
		f := r.byte()
		g.Fetched, g.Proved = f&1 != 0, f&2 != 0
	}
	h.Fetches = make([]int, r.count())
	for i := range h.Fetches {
		h.Fetches[i] = int(r.uvarint())
	}
	return h
}

func appendMessage(b []byte, m *mailbox.Message) []byte {
	b = appendBytes(b, m.From)
	b = binary.AppendUvarint(b, uint64(len(m.To)))
	for _, to := range m.To {
		b = appendBytes(b, to)
	}
	b = append(b, flags(m.Group, m.Notice, m.Confirm, m.Quiet, m.Receipt, m.Presence, hasPast(m), hasBefore(m)))
	b = appendBytes(b, m.Frame)
	b = appendBytes(b, m.Reference)
	b = binary.AppendUvarint(b, uint64(m.TTL/time.Millisecond))
	b = binary.AppendUvarint(b, uint64(m.Index))
	b = appendBytes(b, m.Producer)
	b = binary.AppendUvarint(b, m.Seq)
	if !hasPast(m) {
		return b
	}
	b = append(b, m.ID[:]...)
	b = appendTime(b, m.Expires)
	b = appendBytes(b, m.Via)
	b = binary.AppendUvarint(b, m.Place)
	b = binary.AppendUvarint(b, m.Low)
	if !hasBefore(m) {
		return b
	}
	b = appendBytes(b, m.Before.Via)
	b = appendBytes(b, m.Before.To)
	return binary.AppendUvarint(b, m.Before.Place)
}

// hasPast says whether another keeper, or another domain's, had the message before.
func hasPast(m *mailbox.Message) bool {
	return !m.ID.IsZero() || !m.Expires.IsZero() || m.Via != ""
}

// hasBefore says whether the message came over a link, and not as the first. It stands
// at the end: a node that does not know it passes it over, as long as it comes alone, as
// all of them do.
func hasBefore(m *mailbox.Message) bool { return m.Via != "" && m.Before.Place != 0 }

// message reads what appendMessage wrote. Its bytes are those of the reader.
func (r *reader) message() *mailbox.Message {
	m := &mailbox.Message{From: r.user()}
	m.To = make([]wire.UserID, r.count())
	for i := range m.To {
		m.To[i] = r.user()
	}
	f := r.byte()
	m.Group, m.Notice, m.Confirm, m.Quiet, m.Receipt = f&1 != 0, f&2 != 0, f&4 != 0, f&8 != 0, f&16 != 0
	m.Frame = r.bytes()
	if ref := r.bytes(); len(ref) > 0 {
		m.Reference = ref
	}
	m.TTL = time.Duration(r.uvarint()) * time.Millisecond
	m.Index = int(r.uvarint())
	m.Producer, m.Seq = string(r.bytes()), r.uvarint()
	m.Presence = f&32 != 0
	if f&64 != 0 {
		m.ID, m.Expires, m.Via, m.Place, m.Low = r.id(), r.time(), string(r.bytes()), r.uvarint(), r.uvarint()
	}
	if f&128 != 0 {
		m.Before = mailbox.Before{Via: string(r.bytes()), To: r.user(), Place: r.uvarint()}
	}
	return m
}

func appendOnce(b []byte, once *mailbox.Once) []byte {
	if once == nil {
		return append(b, 0)
	}
	b = append(append(b, 1), once.Key[:]...)
	b = binary.AppendUvarint(b, uint64(once.Print))
	return binary.AppendUvarint(b, uint64(once.Count))
}

func (r *reader) once() *mailbox.Once {
	if r.byte() == 0 {
		return nil
	}
	once := new(mailbox.Once)
	copy(once.Key[:], r.take(uint64(len(once.Key))))
	once.Print, once.Count = uint32(r.uvarint()), int(r.uvarint())
	return once
}

func appendForwarded(b []byte, list []mailbox.Forwarded) []byte {
	b = binary.AppendUvarint(b, uint64(len(list)))
	for i := range list {
		f := &list[i]
		b = binary.AppendUvarint(b, f.Seq)
		b = append(b, f.ID[:]...)
		b = appendBytes(b, f.To)
		b = binary.AppendUvarint(b, uint64(len(f.More)))
		for _, to := range f.More {
			b = appendBytes(b, to)
		}
		b = appendBytes(b, f.From)
		b = append(b, f.Flags)
		b = appendTime(b, f.Expires)
		b = appendBytes(b, f.Reference)
		b = appendBytes(b, f.Frame)
	}
	return b
}

func (r *reader) forwarded() []mailbox.Forwarded {
	list := make([]mailbox.Forwarded, r.count())
	for i := range list {
		f := &list[i]
		f.Seq, f.ID, f.To = r.uvarint(), r.id(), r.user()
		for range r.count() {
			f.More = append(f.More, r.user())
		}
		f.From, f.Flags = r.user(), r.byte()
		f.Expires = r.time()
		if ref := r.bytes(); len(ref) > 0 {
			f.Reference = ref
		}
		f.Frame = r.bytes()
	}
	return list
}

// appendJSON appends what is rare enough to be written as JSON.
func appendJSON(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic("shards: " + err.Error()) // only our own types come here
	}
	return appendBytes(b, text)
}

func (r *reader) json(v any) {
	if text := r.bytes(); r.err == nil {
		r.err = json.Unmarshal(text, v)
	}
}
