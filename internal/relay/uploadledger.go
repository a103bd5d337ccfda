package relay

import (
	"crypto/sha256"
	"encoding/binary"
	"strconv"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// fileID stands for a file as it is. A file that changed, or that was dropped anew
// under the same name, has another one.
type fileID struct {
	file    fileKey
	changed uint32 // of when anything of it changed last: its mode, its names, or its content with the time set back
}

// fileKey stands for a file by its cluster, name, size, inode, and the time of its
// content.
type fileKey [16]byte

// laneID stands for a collector in a cluster.
type laneID [16]byte

func identify(cluster string, e spool.Entry) fileID {
	var room [640]byte
	b := append(room[:0], cluster...)
	b = append(append(b, 0), e.Name...)
	b = binary.BigEndian.AppendUint64(append(b, 0), uint64(e.Size))
	b = binary.BigEndian.AppendUint64(b, uint64(e.Modified.UnixNano()))
	b = binary.BigEndian.AppendUint64(b, e.Inode)
	b = binary.BigEndian.AppendUint64(b, uint64(e.Turn))
	sum := sha256.Sum256(b)
	changed := uint64(e.Changed.UnixNano()) * 0x9e3779b97f4a7c15 // spreads what differs over all bits
	return fileID{fileKey(sum[:16]), uint32(changed >> 32)}
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

// held is who has a file, and under which key.
type held struct {
	mask    uint64
	key     uint64 // the beginning of the key that it was sent with; 0 if it is not known
	changed uint32
	page    uint16 // that it is on, and one more
}

// beginOf is what a ledger knows of a key, which is hexadecimal digits in quotes.
func beginOf(key string) uint64 {
	n, err := strconv.ParseUint(key[1:17], 16, 64)
	if err != nil {
		panic(err) // our own
	}
	return n
}

// ledger knows which collectors have which of the files that others still lack: 40
// bytes a file for each 56 collectors of its cluster. It is safe for concurrent use,
// but for save, which one goroutine calls.
type ledger struct {
	file ledgerFile // of the goroutine that saves

	mu       sync.Mutex
	slots    map[laneID]int
	owners   []laneID // of the slots; zero for one that is free
	used     int      // there is no free one before this
	rewrite  bool     // slots were freed: the file is to be written anew before a record that relies on it
	files    map[fileKey]held
	arriving map[fileID]uint64 // the keys of those of which it is about to be noted who has them
	pending  []byte            // records that are not in the file yet
	period   uint8
}

// openLedger reads the ledger at a path, or begins one. cut says how many bytes at
// its end were no records: what they said is sent again.
func openLedger(path string) (l *ledger, cut int64, err error) {
	l = &ledger{file: ledgerFile{path: path}, slots: map[laneID]int{}, files: map[fileKey]held{}, arriving: map[fileID]uint64{}}
	cut, err = l.file.read(l.take)
	return l, cut, err
}

// take reads a record of the file.
func (l *ledger) take(r record) bool {
	switch r.kind {
	case recordSlot:
		if r.number > len(l.owners) || r.number < len(l.owners) && l.owners[r.number] != (laneID{}) {
			return false
		}
		l.own(laneID(r.id), r.number)
	case recordMask:
		if r.mask&^maskSlots != 0 || r.mask == 0 || r.number == 0 {
			return false
		}
		r.page = uint16(r.number)
		l.files[r.id] = r.held
	case recordGone:
		delete(l.files, r.id)
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
		for l.used < len(l.owners) && l.owners[l.used] != (laneID{}) {
			l.used++
		}
		n = l.used
		l.own(lane, n)
		l.pending = record{kind: recordSlot, number: n, id: lane}.append(l.pending)
	}
	return n
}

// own gives a collector a slot that is free, the next one included. mu is held.
func (l *ledger) own(lane laneID, n int) {
	if n == len(l.owners) {
		l.owners = append(l.owners, laneID{})
	}
	if l.owners[n] = lane; lane != (laneID{}) {
		l.slots[lane] = n
	}
}

// owned says whether a slot is still that of a collector.
func (l *ledger) owned(lane laneID, slot int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, known := l.slots[lane]
	return known && n == slot
}

// leastSlots are had before any is freed, so that who comes back most often has his.
const leastSlots = 1024

// crowded says whether so many slots are had that others than those of the collectors
// that are known are to be freed: some come and go for ever.
func (l *ledger) crowded(known int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.slots) > max(leastSlots, 2*known)
}

// free takes their slots from all collectors but some, and forgets what they have.
func (l *ledger) free(but map[laneID]bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	kept := make([]uint64, (len(l.owners)+pageSlots-1)/pageSlots) // by page
	for n, lane := range l.owners {
		if but[lane] {
			kept[n/pageSlots] |= 1 << (n % pageSlots)
			continue
		}
		delete(l.slots, lane)
		l.owners[n] = laneID{}
	}
	for len(l.owners) > 0 && l.owners[len(l.owners)-1] == (laneID{}) {
		l.owners = l.owners[:len(l.owners)-1]
	}
	for key, h := range l.files {
		if int(h.page) > len(kept) || h.mask&kept[h.page-1] == 0 {
			delete(l.files, key) // who has it is sent it again at worst
			continue
		}
		h.mask &= kept[h.page-1] | ^uint64(maskSlots)
		l.files[key] = h
	}
	l.used, l.pending, l.rewrite = 0, nil, true
}

// onPage returns the key of what is known of a file for a slot.
func onPage(key fileKey, slot int) fileKey {
	page := uint16(slot / pageSlots)
	key[0] ^= byte(page)
	key[1] ^= byte(page >> 8)
	return key
}

// has says whether a collector has a file.
func (l *ledger) has(id fileID, slot int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	h := l.files[onPage(id.file, slot)]
	return h.changed == id.changed && h.mask>>(slot%pageSlots)&1 == 1
}

// add notes that a collector has a file.
func (l *ledger) add(id fileID, slot int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := l.arriving[id]
	delete(l.arriving, id)
	at := onPage(id.file, slot)
	h := l.files[at]
	if h.changed != id.changed && (key == 0 || h.key != key) {
		h = held{} // what others have was written over since
	}
	if key != 0 {
		h.key = key
	}
	h.changed, h.page = id.changed, uint16(slot/pageSlots)+1
	h.mask = h.mask&maskSlots | 1<<(slot%pageSlots)
	l.pending = record{kind: recordMask, number: int(h.page), id: at, held: h}.append(l.pending)
	h.mask |= uint64(l.period) << pageSlots
	l.files[at] = h
}

// arrived notes the key of a file that a collector has. That it has it is to be added,
// or the file to be gone, after that.
func (l *ledger) arrived(id fileID, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arriving[id] = beginOf(key)
}

// doubts says whether something is known of a file, and something of that file changed
// since: who has it as it is now, is to be found out by its key.
func (l *ledger) doubts(id fileID) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for slot := 0; slot < len(l.owners); slot += pageSlots {
		if h, known := l.files[onPage(id.file, slot)]; known && h.changed != id.changed {
			return true
		}
	}
	return false
}

// carry says what the key of a file is of which there are doubts. If it is the same as
// before, those have the file who had it, and else nobody.
func (l *ledger) carry(id fileID, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for slot := 0; slot < len(l.owners); slot += pageSlots {
		at := onPage(id.file, slot)
		h, known := l.files[at]
		switch {
		case !known || h.changed == id.changed:
		case h.key == 0 || h.key != beginOf(key):
			l.forget(at)
		default:
			h.changed = id.changed
			l.files[at] = h
			h.mask &= maskSlots
			l.pending = record{kind: recordMask, number: int(h.page), id: at, held: h}.append(l.pending)
		}
	}
}

// saw notes that a file is still there.
func (l *ledger) saw(id fileID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for slot := 0; slot < len(l.owners); slot += pageSlots {
		key := onPage(id.file, slot)
		if h, known := l.files[key]; known && uint8(h.mask>>pageSlots) != l.period {
			h.mask = h.mask&maskSlots | uint64(l.period)<<pageSlots
			l.files[key] = h
		}
	}
}

// gone forgets a file.
func (l *ledger) gone(id fileID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.arriving, id)
	for slot := 0; slot < len(l.owners); slot += pageSlots {
		l.forget(onPage(id.file, slot))
	}
}

func (l *ledger) forget(key fileKey) {
	if _, known := l.files[key]; known {
		delete(l.files, key)
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
	for key, h := range l.files {
		if l.period-uint8(h.mask>>pageSlots) >= unseenLimit {
			l.forget(key)
			n++
		}
	}
	return n
}

// size returns of how many files something is known, with more collectors than a mask
// has room for more than once.
func (l *ledger) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.files)
}

// save writes what is new to the file and syncs it. After an error all of it is
// written anew the next time.
func (l *ledger) save() error {
	stands := l.file.stands()
	l.mu.Lock()
	pending := l.pending
	l.pending = nil
	if len(pending) == 0 && !l.file.broken && !l.rewrite {
		l.mu.Unlock()
		return nil
	}
	whole := !stands || l.rewrite || l.file.wantsWhole(len(pending), len(l.owners)+len(l.files))
	l.rewrite = false // if it fails, the file is broken
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
	b := make([]byte, 0, recordSize*(len(l.owners)+len(l.files)))
	for n, lane := range l.owners {
		b = record{kind: recordSlot, number: n, id: lane}.append(b)
	}
	for key, h := range l.files {
		h.mask &= maskSlots
		b = record{kind: recordMask, number: int(h.page), id: key, held: h}.append(b)
	}
	return b
}
