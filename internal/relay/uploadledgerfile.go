package relay

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// The ledger's file is a line that says what it is, and records of 44 bytes, of
// which the last four are a checksum. Only what is before the first record that is
// not whole counts: to lose the end means to send some files again.
const (
	ledgerMagic = "switchboard uploader ledger 002\n"
	recordSize  = 44
	leastRecord = 1 << 14 // the file is not written anew for fewer

	recordSlot = 'c' // number: of the collector id
	recordMask = 'm' // held: who has the file id
	recordGone = 'g' // the file id is gone
)

var castagnoliTable = crc32.MakeTable(crc32.Castagnoli)

// record is one of them: kind, number (of a mask, its page) in three bytes, id, mask, key, changed, checksum.
type record struct {
	kind   byte
	number int
	id     [16]byte
	held
}

func (r record) append(b []byte) []byte {
	start := len(b)
	b = append(b, r.kind, byte(r.number>>16), byte(r.number>>8), byte(r.number))
	b = append(b, r.id[:]...)
	b = binary.BigEndian.AppendUint64(b, r.mask)
	b = binary.BigEndian.AppendUint64(b, r.key)
	b = binary.BigEndian.AppendUint32(b, r.changed)
	return binary.BigEndian.AppendUint32(b, crc32.Checksum(b[start:], castagnoliTable))
}

func parseRecord(b *[recordSize]byte) (r record, ok bool) {
	if binary.BigEndian.Uint32(b[40:]) != crc32.Checksum(b[:40], castagnoliTable) {
		return r, false
	}
	r.kind, r.number = b[0], int(b[1])<<16|int(b[2])<<8|int(b[3])
	copy(r.id[:], b[4:20])
	r.mask = binary.BigEndian.Uint64(b[20:28])
	r.key = binary.BigEndian.Uint64(b[28:36])
	r.changed = binary.BigEndian.Uint32(b[36:40])
	return r, true
}

// ledgerFile is the file of a ledger. One goroutine uses it.
type ledgerFile struct {
	path    string
	f       *os.File
	records int
	broken  bool // what its end is, is not known: it is to be written anew
}

// read hands the records of the file to take, until one is not whole or is refused,
// and returns how many bytes there are from there on. A file that is not there has
// no records.
func (l *ledgerFile) read(take func(record) bool) (cut int64, err error) {
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_APPEND|syscall.O_NOFOLLOW, 0)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("open the ledger: %w", err)
	}
	defer func() {
		if err != nil || l.broken {
			err = errors.Join(err, f.Close())
			return
		}
		l.f = f
	}()
	info, err := f.Stat()
	if err != nil {
		return 0, fmt.Errorf("read the ledger: %w", err)
	}
	from := bufio.NewReaderSize(f, 1<<16)
	var magic [len(ledgerMagic)]byte
	if _, err := io.ReadFull(from, magic[:]); err == nil && string(magic[:]) != ledgerMagic {
		return 0, fmt.Errorf("%s is not a ledger that this version reads: move it away, and files that some collectors have already are sent to them again", l.path)
	}
	good := int64(len(ledgerMagic))
	for {
		var b [recordSize]byte
		_, err := io.ReadFull(from, b[:])
		if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
			return 0, fmt.Errorf("read the ledger: %w", err)
		}
		r, whole := parseRecord(&b)
		if err != nil || !whole || !take(r) {
			break
		}
		good += recordSize
		l.records++
	}
	l.broken = good != info.Size()
	return max(info.Size()-good, 0), nil
}

// wantsWhole says whether the file is rather written anew than appended to.
func (l *ledgerFile) wantsWhole(pending, live int) bool {
	return l.broken || l.records+pending/recordSize > 2*live+leastRecord
}

// stands says whether the file is where it was: a folder that was removed and is
// there again has none.
func (l *ledgerFile) stands() bool {
	if l.f == nil {
		return false
	}
	mine, err := l.f.Stat()
	there, other := os.Stat(l.path)
	return err == nil && other == nil && os.SameFile(mine, there)
}

// append writes records at the end and syncs them.
func (l *ledgerFile) append(records []byte) error {
	_, err := l.f.Write(records)
	if err == nil {
		err = l.f.Sync()
	}
	if err != nil {
		l.broken = true
		return err
	}
	l.records += len(records) / recordSize
	return nil
}

// replace puts a file of these records in the place of the one that is there.
func (l *ledgerFile) replace(records []byte) error {
	l.broken = true
	temporary := l.path + ".new"
	f, err := os.OpenFile(temporary, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|os.O_APPEND|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(ledgerMagic)
	if err == nil {
		_, err = f.Write(records)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = os.Rename(temporary, l.path)
	}
	if err == nil {
		err = lifecycle.SyncFolder(filepath.Dir(l.path))
	}
	if err != nil {
		return errors.Join(err, f.Close())
	}
	if l.f != nil {
		_ = l.f.Close() // of the old one, which nobody needs
	}
	l.f, l.records, l.broken = f, len(records)/recordSize, false
	return nil
}

// close closes the file.
func (l *ledgerFile) close() error {
	if l.f == nil {
		return nil
	}
	return l.f.Close()
}
