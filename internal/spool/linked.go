package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// A file that has more names than the one in the spool lives on when it was sent, and
// can be linked into the spool again: the same file, but dropped anew. Nothing of its
// own tells that, so each one that is taken away is written down here, as records of
// what it is, a turn, and a checksum, before it goes.
const (
	linkedName   = "linked"
	linkedRecord = 16 + 8 + 4
	mostLinked   = 1 << 17 // that are remembered; then the oldest are forgotten
)

// linkedID stands for a file under a name, as it was.
type linkedID [16]byte

func linkedAs(name string, i identity) linkedID {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s/%s", i, name))
	return linkedID(sum[:16])
}

// linked is what is written down, in memory. The Outbox's mu guards it.
type linked struct {
	turns map[linkedID]int64
	order []linkedID // the oldest first, and again when it was linked again
	f     *folder    // where it is written down
}

// note adds a turn, and says whether the oldest were forgotten for it.
func (l *linked) note(id linkedID, turn int64) bool {
	l.turns[id] = turn
	l.order = append(l.order, id)
	if len(l.order) <= 2*mostLinked {
		return false
	}
	kept := make([]linkedID, 0, mostLinked)
	last := map[linkedID]bool{}
	for i := len(l.order) - 1; i >= 0 && len(kept) < mostLinked; i-- {
		if id := l.order[i]; !last[id] {
			last[id] = true
			kept = append(kept, id)
		}
	}
	turns := make(map[linkedID]int64, len(kept))
	for i, j := 0, len(kept)-1; i < j; i, j = i+1, j-1 {
		kept[i], kept[j] = kept[j], kept[i]
	}
	for _, id := range kept {
		turns[id] = l.turns[id]
	}
	l.turns, l.order = turns, kept
	return true
}

func appendLinked(b []byte, id linkedID, turn int64) []byte {
	start := len(b)
	b = binary.BigEndian.AppendUint64(append(b, id[:]...), uint64(turn))
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoli))
}

// move has the log in a folder from now on: what is there is read, and what was known
// before is added.
func (l *linked) move(to *folder) error {
	before := *l
	l.turns, l.order, l.f = map[linkedID]int64{}, nil, to
	f, err := to.open(linkedName, unix.O_RDONLY)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	whole := true
	if err == nil {
		text, err := io.ReadAll(f)
		if err = errors.Join(err, f.Close()); err != nil {
			return err
		}
		whole = l.read(text)
	}
	for _, id := range before.order {
		l.note(id, before.turns[id])
	}
	if whole && len(before.order) == 0 && len(l.order) <= mostLinked {
		return nil
	}
	return l.rewrite()
}

// rewrite writes down what is known, and nothing else.
func (l *linked) rewrite() error {
	b := make([]byte, 0, linkedRecord*len(l.order))
	for _, id := range l.order {
		b = appendLinked(b, id, l.turns[id])
	}
	return l.f.write(linkedName, b)
}

// read takes records over, and says whether all were whole: what a power cut left half
// was not acted upon.
func (l *linked) read(text []byte) bool {
	for len(text) >= linkedRecord {
		id, turn := linkedID(text[:16]), int64(binary.BigEndian.Uint64(text[16:]))
		if !bytes.Equal(appendLinked(nil, id, turn), text[:linkedRecord]) {
			return false
		}
		l.note(id, turn)
		text = text[linkedRecord:]
	}
	return len(text) == 0
}

// keep writes down that a file which has other names is about to be taken away.
func (l *linked) keep(name string, i identity, turn int64) error {
	id := linkedAs(name, i)
	f, err := l.f.open(linkedName, unix.O_WRONLY|unix.O_CREAT|unix.O_APPEND)
	if err != nil {
		return err
	}
	err = errors.Join(l.append(f, appendLinked(nil, id, turn)), f.Close())
	if err == nil && l.note(id, turn) {
		_ = l.rewrite() // else it is only longer, until the next time
	}
	return err
}

// append adds a record. A disk that fills up may take the beginning of one, behind which
// none would be read: that is cut off, after it was written or before the next one is.
func (l *linked) append(f *os.File, record []byte) error {
	about, err := f.Stat()
	if err != nil {
		return err
	}
	end := about.Size() - about.Size()%linkedRecord
	if end != about.Size() {
		err = f.Truncate(end)
	}
	if err == nil {
		_, err = f.Write(record)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return errors.Join(err, f.Truncate(end))
	}
	return nil
}
