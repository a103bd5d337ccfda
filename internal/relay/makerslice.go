package relay

import (
	"fmt"
	"sync"
	"time"
)

const dayMillis = int64(24 * time.Hour / time.Millisecond)

// sliceName is a slice of time: the whole days since 1970 in UTC, and which slice of
// the day.
type sliceName struct{ day, slot int64 }

// sliceOf returns the slice that a time is in. Slot 0 has the first millisecond of a
// day alone; slot n has those after n-1 units, up to and with n units. The last one of
// a day ends with it.
func sliceOf(at time.Time, unit time.Duration) sliceName {
	millis := at.UnixMilli()
	day := millis / dayMillis
	if millis%dayMillis < 0 { // before 1970
		day--
	}
	of := int64(unit / time.Millisecond)
	return sliceName{day, (millis - day*dayMillis + of - 1) / of}
}

// end returns the first millisecond behind the slice.
func (n sliceName) end(unit time.Duration) time.Time {
	last := min(n.slot*int64(unit/time.Millisecond), dayMillis-1)
	return time.UnixMilli(n.day*dayMillis + last + 1)
}

// file returns the name of the slice's file.
func (n sliceName) file(prefix, suffix string) string {
	return fmt.Sprintf("%s%d.%d%s", prefix, n.day, n.slot, suffix)
}

// slicer puts records into the file of the slice of now. One goroutine uses it, but
// for waiting.
type slicer struct {
	bench     bench
	now       func() time.Time
	settings  func() MakerSettings
	published func(name string, size int64)

	name string // of the slice that goes on
	over []draft
	left bool // there may be drafts that are not known

	mu   sync.Mutex
	goes draft // nil when there is none
	late int   // how many are over
	size int64 // of all together
}

// adopt takes over the drafts that a process which was killed left: it goes on with
// that of now, and publishes the others.
func (s *slicer) adopt() error {
	s.left = true
	names, err := s.bench.Names()
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == s.nameNow() {
			if err := s.open(name); err != nil {
				return err
			}
			continue
		}
		d, err := s.bench.Open(name)
		if err != nil {
			return err
		}
		s.over = append(s.over, d)
	}
	s.left = false
	return s.publishOver()
}

func (s *slicer) nameNow() string {
	now := s.settings()
	return sliceOf(s.now(), now.Unit).file(now.Prefix, now.Suffix)
}

// open goes on with a slice, or begins it.
func (s *slicer) open(name string) error {
	d, err := s.bench.Open(name)
	if err != nil {
		return err
	}
	s.name = name
	s.mu.Lock()
	s.goes = d
	s.mu.Unlock()
	return nil
}

// put adds whole records to the slice of now, and syncs them.
func (s *slicer) put(records []byte) error {
	if err := s.turn(); err != nil {
		return err
	}
	if s.goes == nil {
		if err := s.open(s.nameNow()); err != nil {
			return err
		}
	}
	err := s.goes.Append(records)
	s.note()
	return err
}

// turn ends the slice that goes on if it is not that of now any more, and publishes
// what is over.
func (s *slicer) turn() error {
	if s.left {
		s.abandon() // what an attempt that failed has open
		if err := s.adopt(); err != nil {
			return err
		}
	}
	if s.goes != nil && s.name != s.nameNow() {
		s.end()
	}
	return s.publishOver()
}

func (s *slicer) end() {
	if s.goes == nil {
		return
	}
	s.over = append(s.over, s.goes)
	s.mu.Lock()
	s.goes = nil
	s.mu.Unlock()
}

// publishOver publishes what is over. What cannot be published stays, and keeps what
// comes after it from going before.
func (s *slicer) publishOver() error {
	for len(s.over) > 0 {
		size := s.over[0].Size()
		name, err := s.over[0].Publish()
		if err != nil {
			s.note()
			return err
		}
		s.over = s.over[1:]
		if name != "" {
			s.published(name, size)
		}
	}
	s.note()
	return nil
}

// publishAll ends and publishes everything.
func (s *slicer) publishAll() error {
	s.end()
	return s.publishOver()
}

// abandon lets go of all drafts: they stay where they are, if their folder does, and
// are adopted when it can be used again.
func (s *slicer) abandon() {
	s.end()
	for _, d := range s.over {
		_ = d.Close() // there is nothing to be kept
	}
	s.over, s.left = nil, true
	s.note()
}

// pending says whether anything is to be done when nothing comes.
func (s *slicer) pending() bool { return s.goes != nil || len(s.over) > 0 || s.left }

// note says to waiting what there is.
func (s *slicer) note() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.late, s.size = len(s.over), 0
	for _, d := range s.over {
		s.size += d.Size()
	}
	if s.goes != nil {
		s.size += s.goes.Size()
	}
}

// waiting returns how many files are not published yet, and their bytes.
func (s *slicer) waiting() (files, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	files = int64(s.late)
	if s.goes != nil {
		files++
	}
	return files, s.size
}

// rest returns how long the slice that goes on has left, at most a second: clocks
// are set.
func (s *slicer) rest() time.Duration {
	unit := s.settings().Unit
	return min(max(sliceOf(s.now(), unit).end(unit).Sub(s.now()), time.Millisecond), time.Second)
}
