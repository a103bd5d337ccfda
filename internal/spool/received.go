package spool

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// The log of what was received is a file of records, appended and synced before
// the file that they speak of gets its name:
//
//	intent:    the part of this key is whole and gets this name
//	delivered: the file of this key is there, or was
//	cancelled: the intent was given up, and the part may go
//
// An intent whose part is gone was carried out, since nothing else takes a part
// away before its intent is cancelled. Each record is its length in two bytes, its
// body, and a checksum. What a power cut left half ends the log.
const (
	receivedName  = "received"
	receivedMagic = "switchboard received 1\n"

	recordIntent    = 'i'
	recordDelivered = 'd'
	recordCancelled = 'x'
)

// keyID stands for a key: sixteen bytes of it, or of its digest.
type keyID [16]byte

// outcome is what is remembered of a key that was delivered.
type outcome struct {
	digest [8]byte // the first of the content's
	at     uint32  // seconds since 1970
}

// intent is a name that a whole part is about to get.
type intent struct {
	name   string
	digest Digest
	size   int64
	at     uint32
}

// remembered is what the log says, in memory. The Store's mu guards it.
type remembered struct {
	delivered map[keyID]outcome
	intents   map[keyID]intent
	order     []keyID // of delivered, the oldest first
	gone      int     // how many of the first in order were forgotten
}

func newRemembered() *remembered {
	return &remembered{delivered: map[keyID]outcome{}, intents: map[keyID]intent{}}
}

// deliver notes that a key's file is there.
func (r *remembered) deliver(id keyID, digest Digest, at uint32) {
	delete(r.intents, id)
	if _, known := r.delivered[id]; !known {
		r.order = append(r.order, id)
	}
	r.delivered[id] = outcome{digest: [8]byte(digest[:8]), at: at}
}

// promised returns the keys of the intents whose parts are held. Of the others the files
// are there.
func (r *remembered) promised(held *heldParts) (ids []keyID) {
	for id, i := range r.intents {
		if held.has(id) {
			ids = append(ids, id)
		} else {
			r.deliver(id, i.digest, i.at)
		}
	}
	return ids
}

// join adds what the log of another folder says, in which there are held parts, and
// returns the keys whose parts are promised a name. Intents of before were for parts in
// a folder that is gone.
func (r *remembered) join(there *remembered, held *heldParts) (promised []keyID) {
	clear(r.intents)
	for _, id := range there.promised(held) {
		if _, delivered := r.delivered[id]; !delivered {
			r.intents[id] = there.intents[id]
			promised = append(promised, id)
		}
	}
	before := r.order[r.gone:]
	r.order, r.gone = slices.Concat(before, there.order), 0
	for id, o := range there.delivered {
		if was, known := r.delivered[id]; !known || was.at < o.at {
			r.delivered[id] = o
		}
	}
	r.order = slices.DeleteFunc(r.order, func(id keyID) bool { _, known := r.delivered[id]; return !known })
	slices.SortFunc(r.order, func(a, b keyID) int {
		return cmp.Or(cmp.Compare(r.delivered[a].at, r.delivered[b].at), bytes.Compare(a[:], b[:]))
	})
	r.order = slices.Compact(r.order) // what both knew
	return promised
}

// forget drops what is older than since, but the newest few, and what is more than
// ten times as many.
func (r *remembered) forget(since time.Time, few int) {
	for len(r.delivered) > few {
		id := r.order[r.gone]
		if o, known := r.delivered[id]; known {
			if int64(o.at) >= since.Unix() && len(r.delivered) <= 10*few {
				break
			}
			delete(r.delivered, id)
		}
		r.gone++
	}
	if r.gone > len(r.order)/2 {
		r.order = append([]keyID(nil), r.order[r.gone:]...)
		r.gone = 0
	}
}

func (i intent) append(b []byte, id keyID) []byte {
	return appendRecord(b, recordIntent, id, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint32(b, i.at)
		b = binary.BigEndian.AppendUint64(b, uint64(i.size))
		return append(append(b, i.digest[:]...), i.name...)
	})
}

func (o outcome) append(b []byte, id keyID) []byte {
	return appendRecord(b, recordDelivered, id, func(b []byte) []byte {
		return append(binary.BigEndian.AppendUint32(b, o.at), o.digest[:]...)
	})
}

func appendCancelled(b []byte, id keyID) []byte {
	return appendRecord(b, recordCancelled, id, func(b []byte) []byte { return b })
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func appendRecord(b []byte, kind byte, id keyID, rest func([]byte) []byte) []byte {
	start := len(b)
	b = append(b, 0, 0, kind)
	b = rest(append(b, id[:]...))
	body := b[start+2:]
	binary.BigEndian.PutUint16(b[start:], uint16(len(body)))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(body, castagnoli))
}

// read takes the records of a log and returns how many bytes of it are whole.
func (r *remembered) read(log []byte) (whole int) {
	whole = len(receivedMagic)
	for {
		rest := log[whole:]
		if len(rest) < 2 {
			return whole
		}
		length := int(binary.BigEndian.Uint16(rest))
		if len(rest) < 2+length+4 {
			return whole
		}
		body := rest[2 : 2+length]
		if binary.BigEndian.Uint32(rest[2+length:]) != crc32.Checksum(body, castagnoli) || !r.take(body) {
			return whole
		}
		whole += 2 + length + 4
	}
}

// take reads the body of a record.
func (r *remembered) take(body []byte) bool {
	if len(body) < 1+len(keyID{}) {
		return false
	}
	kind, id, rest := body[0], keyID(body[1:17]), body[17:]
	switch {
	case kind == recordIntent && len(rest) > 4+8+32:
		i := intent{
			at: binary.BigEndian.Uint32(rest), size: int64(binary.BigEndian.Uint64(rest[4:])),
			digest: Digest(rest[12:44]), name: string(rest[44:]),
		}
		if i.size < 0 || CheckName(i.name) != nil {
			return false
		}
		r.intents[id] = i
	case kind == recordDelivered && len(rest) == 4+8:
		var digest Digest
		copy(digest[:], rest[4:])
		r.deliver(id, digest, binary.BigEndian.Uint32(rest))
	case kind == recordCancelled && len(rest) == 0:
		delete(r.intents, id)
	default:
		return false
	}
	return true
}

// receivedLog is the log's file. Who has the Store's turn uses it.
type receivedLog struct {
	own    *folder
	f      *os.File
	length int64
	live   int64 // bytes after it was written anew last
	broken bool  // what its end is, is not known: it is to be written anew
}

// openReceived opens the log and reads it. The second result says how many bytes
// at its end were no records.
func openReceived(own *folder, into *remembered) (*receivedLog, int64, error) {
	l := &receivedLog{own: own, broken: true}
	f, err := own.open(receivedName, unix.O_RDWR|unix.O_APPEND)
	if errors.Is(err, fs.ErrNotExist) {
		return l, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	b, err := io.ReadAll(f)
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("read the log of what was received: %w", err), f.Close())
	}
	if !bytes.HasPrefix(b, []byte(receivedMagic)) {
		if len(b) >= len(receivedMagic) {
			return nil, 0, errors.Join(fmt.Errorf("%s is not a log of what was received that this version reads: move it away to go on without what it remembers", f.Name()), f.Close())
		}
		return l, int64(len(b)), f.Close()
	}
	whole := into.read(b)
	l.f, l.length, l.live = f, int64(whole), int64(whole)
	l.broken = whole < len(b)
	return l, int64(len(b) - whole), nil
}

// append adds records and syncs them. After an error the log is written anew by
// rewrite before it is used again.
func (l *receivedLog) append(records []byte) error {
	n, err := l.f.Write(records)
	if err == nil {
		err = l.f.Sync()
	}
	if err != nil {
		l.broken = true
		return fmt.Errorf("write the log of what was received: %w", err)
	}
	l.length += int64(n)
	return nil
}

// due says whether the log is to be written anew: it is broken, or mostly holds
// what was forgotten.
func (l *receivedLog) due() bool {
	return l.broken || l.length > 4<<20 && l.length > 3*l.live
}

// rewrite replaces the log by one with these records.
func (l *receivedLog) rewrite(records []byte) error {
	if err := l.own.write(receivedName, records); err != nil {
		return fmt.Errorf("write the log of what was received: %w", err)
	}
	f, err := l.own.open(receivedName, unix.O_RDWR|unix.O_APPEND)
	if err != nil {
		return err
	}
	_ = l.close() // nothing more is written there
	l.f, l.length, l.live, l.broken = f, int64(len(records)), int64(len(records)), false
	return nil
}

func (l *receivedLog) close() error {
	if l.f == nil {
		return nil
	}
	return l.f.Close()
}

// records are all that is remembered, as a log.
func (r *remembered) records() []byte {
	b := []byte(receivedMagic)
	for _, id := range r.order[r.gone:] {
		if o, known := r.delivered[id]; known {
			b = o.append(b, id)
		}
	}
	for id, i := range r.intents {
		b = i.append(b, id)
	}
	return b
}
