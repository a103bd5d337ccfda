package relay

import (
	"crypto/sha256"
	"encoding/binary"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// fileID stands for a file as it is: by its cluster, name, size, inode, and the
// times of its content and of its inode. A file that changed, or that was dropped
// anew under the same name, has another one.
type fileID [16]byte

// laneID stands for a collector in a cluster.
type laneID [16]byte

func identify(cluster string, e spool.Entry) fileID {
	var room [640]byte
	b := append(room[:0], cluster...)
	b = append(append(b, 0), e.Name...)
	b = binary.BigEndian.AppendUint64(append(b, 0), uint64(e.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Modified.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Changed.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, e.Inode)
	sum := sha256.Sum256(b)
	return fileID(sum[:16])
}

func identifyLane(cluster, id string) laneID {
	sum := sha256.Sum256([]byte(cluster + "\x00" + id))
	return laneID(sum[:16])
}

// A mask has a bit for each collector that has a file, and in its highest byte when
// the file was seen last. More collectors than it has room for are on further pages.
const (
	pageSlots   = 56
	maskSlots   = 1<<pageSlots - 1
	seenPeriod  = 10 * time.Minute
	unseenLimit = 2 // periods; then a file that no whole pass met is forgotten
)

// ledger knows which collectors have which of the files that others still lack: 24
// bytes a file for each 56 collectors of its cluster. It is safe for concurrent use,
// but for save, which one goroutine calls.
type ledger struct {
	file ledgerFile // of the goroutine that saves

	mu      sync.Mutex
	slots   map[laneID]int
	masks   map[fileID]uint64
	pending []byte // records that are not in the file yet
	period  uint8
}

// openLedger reads the ledger at a path, or begins one. cut says how many bytes at
// its end were no records: what they said is sent again.
func openLedger(path string) (l *ledger, cut int64, err error) {
	l = &ledger{file: ledgerFile{path: path}, slots: map[laneID]int{}, masks: map[fileID]uint64{}}
	cut, err = l.file.read(l.take)
	return l, cut, err
}

// take reads a record of the file.
func (l *ledger) take(r record) bool {
	switch r.kind {
	case recordSlot:
		if r.number != len(l.slots) {
			return false
		}
		l.slots[laneID(r.id)] = r.number
	case recordMask:
		if r.mask&^maskSlots != 0 || r.mask == 0 {
			return false
		}
		l.masks[fileID(r.id)] = r.mask
	case recordGone:
		delete(l.masks, fileID(r.id))
	default:
		return false
	}
	return true
}

// slot returns the number of a collector, a new one for one that is new.
func (l *ledger) slot(lane laneID) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, known := l.slots[lane]
	if !known {
		n = len(l.slots)
		l.slots[lane] = n
		l.pending = record{kind: recordSlot, number: n, id: lane}.append(l.pending)
	}
	return n
}

// onPage returns the key of a file's mask for a slot.
func onPage(id fileID, slot int) fileID {
	page := uint16(slot / pageSlots)
	id[0] ^= byte(page)
	id[1] ^= byte(page >> 8)
	return id
}

// has says whether a collector has a file.
func (l *ledger) has(id fileID, slot int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.masks[onPage(id, slot)]>>(slot%pageSlots)&1 == 1
}

// add notes that a collector has a file.
func (l *ledger) add(id fileID, slot int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := onPage(id, slot)
	mask := l.masks[key]&maskSlots | 1<<(slot%pageSlots)
	l.masks[key] = mask | uint64(l.period)<<pageSlots
	l.pending = record{kind: recordMask, id: key, mask: mask}.append(l.pending)
}

// saw notes that a file is still there.
func (l *ledger) saw(id fileID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for slot := 0; slot < len(l.slots); slot += pageSlots {
		key := onPage(id, slot)
		if mask, known := l.masks[key]; known && uint8(mask>>pageSlots) != l.period {
			l.masks[key] = mask&maskSlots | uint64(l.period)<<pageSlots
		}
	}
}

// gone forgets a file.
func (l *ledger) gone(id fileID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for slot := 0; slot < len(l.slots); slot += pageSlots {
		l.forget(onPage(id, slot))
	}
}

func (l *ledger) forget(key fileID) {
	if _, known := l.masks[key]; known {
		delete(l.masks, key)
		l.pending = record{kind: recordGone, id: key}.append(l.pending)
	}
}

// at says how long it is since the start. What is noted from now on is of that
// time.
func (l *ledger) at(since time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.period = uint8(since / seenPeriod)
}

// sweep forgets the files that were not seen for so long that they are no longer
// there, and returns how many. It is for the end of a pass that met every file.
func (l *ledger) sweep() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := 0
	for key, mask := range l.masks {
		if l.period-uint8(mask>>pageSlots) >= unseenLimit {
			l.forget(key)
			n++
		}
	}
	return n
}

// size returns how many masks are known.
func (l *ledger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.masks)
}

// save writes what is new to the file and syncs it. After an error all of it is
// written anew the next time.
func (l *ledger) save() error {
	stands := l.file.stands()
	l.mu.Lock()
	pending := l.pending
	l.pending = nil
	if len(pending) == 0 && !l.file.broken {
		l.mu.Unlock()
		return nil
	}
	whole := !stands || l.file.wantsWhole(len(pending), len(l.slots)+len(l.masks))
	if whole {
		pending = l.snapshot()
	}
	l.mu.Unlock()
	if whole {
		return l.file.replace(pending)
	}
	return l.file.append(pending)
}

// snapshot returns records of all that is known. l.mu is held.
func (l *ledger) snapshot() []byte {
	b := make([]byte, 0, recordSize*(len(l.slots)+len(l.masks)))
	lanes := make([]laneID, len(l.slots))
	for lane, n := range l.slots {
		lanes[n] = lane
	}
	for n, lane := range lanes {
		b = record{kind: recordSlot, number: n, id: lane}.append(b)
	}
	for key, mask := range l.masks {
		b = record{kind: recordMask, id: key, mask: mask & maskSlots}.append(b)
	}
	return b
}
