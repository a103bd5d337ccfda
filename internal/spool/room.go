package spool

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

// disk is the room on the disk of a ground: what there was when it was asked, less
// what was given out since. So it is asked seldom, and no upload takes what is to stay
// free. The Store's mu guards it.
type disk struct {
	bytes, files int64     // that are free
	at           time.Time // when it was asked

	given   int64 // bytes that were ever given out
	asked   int64 // of them before it was asked
	made    int64 // files that were ever begun
	writing int64 // bytes that were given out and may not be written yet
}

// The disk is asked after so many bytes or so long, since others write there too, and
// before anything is refused or removed.
const (
	askEvery = 8 << 20
	askAfter = time.Second
)

// leastFiles is how many more files a disk has to have room for: the log is written
// anew beside the old one.
const leastFiles = 64

func (d *disk) due(now time.Time) bool {
	since := now.Sub(d.at)
	return d.given-d.asked >= askEvery || since < 0 || since >= askAfter
}

// ask asks the disk. What is being written may be counted or not: it is taken off.
func (s *Store) ask(g *ground) error {
	s.mu.Lock()
	before, now := g.disk, s.o.Now()
	s.mu.Unlock()
	bytes, files, err := g.spool.free()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	d := &g.disk
	d.bytes, d.files = bytes-before.writing-(d.given-before.given), files-(d.made-before.made)
	d.asked, d.at = before.given, now
	return nil
}

// shortage is what the room lacks; none of it is lacking at 0 and below.
type shortage struct {
	limit, disk int64 // bytes, by the limit and on the disk
	files       int64 // on the disk
	parts       int64 // that are to go, since no more are kept
}

func (l shortage) any() bool { return max(l.limit, l.disk, l.files, l.parts) > 0 }

// lack says what the room lacks for so many bytes more, in a file that is new or not.
// mu is held.
func (s *Store) lack(g *ground, bytes int64, isNew bool) (l shortage) {
	if s.o.MaxBytes > 0 {
		l.limit = s.count.bytes + s.coming + g.held.bytes + bytes - s.o.MaxBytes
	}
	l.disk = s.o.MinFree + bytes - g.disk.bytes
	if isNew {
		held := len(g.held.byID)
		l.disk += blockSize
		l.files = leastFiles + 1 - g.disk.files
		l.parts = int64(min(held, held+len(s.active)+len(s.nameless)-s.o.MaxParts))
	}
	return l
}

// hopeless says why a shortage does not end when all held parts give way, or nil. mu is
// held.
func (s *Store) hopeless(g *ground, l shortage) error {
	switch held := g.held.bytes; {
	case l.limit > held:
		return limited("MaxBytes", "%w: %d bytes wait there or are on their way, which leaves too little of the %d that are the most", ErrFull, s.count.bytes+s.coming, s.o.MaxBytes)
	case l.disk > held:
		if s.o.MinFree <= 0 {
			return fmt.Errorf("%w: the disk lacks %d bytes for this file", ErrFull, l.disk-held)
		}
		return limited("MinFree", "%w: the disk lacks %d bytes for this file and the %d that are to stay free", ErrFull, l.disk-held, s.o.MinFree)
	case l.files > int64(len(g.held.byID)):
		return fmt.Errorf("%w: the disk takes no more files", ErrFull)
	}
	return nil
}

// fits says whether a part that begins could get all its bytes, if held parts give way,
// and makes room for its file, but for none of the bytes: what is only announced takes
// nothing from others.
func (s *Store) fits(p *Part) error {
	s.mu.Lock()
	err := s.filesLeft()
	isNew := p.was == nil && !p.g.held.has(p.id)
	s.mu.Unlock()
	if err != nil {
		s.countSoon()
		return err
	}
	return s.room(p, 0, max(0, p.u.Size-p.at), isNew)
}

// filesLeft says whether the spool may have a file more. mu is held.
func (s *Store) filesLeft() error {
	if there := s.count.files + s.committing; s.o.MaxFiles > 0 && there >= s.o.MaxFiles {
		return limited("MaxFiles", "%w: %d files wait there or are on their way, and %d is the most", ErrFull, there, s.o.MaxFiles)
	}
	return nil
}

// room gives a part the room for bytes that it writes next, of all that it still lacks.
// Held parts give way, unless even that would not be enough: then nothing is removed.
func (s *Store) room(p *Part, bytes, all int64, isNew bool) error {
	g, begins, asked := p.g, bytes == 0, false
	more := blocks(p.at+bytes) - blocks(p.at)
	for {
		s.mu.Lock()
		err := error(nil)
		short := s.lack(g, bytes, isNew)
		if begins || short.any() {
			err = s.hopeless(g, s.lack(g, all, isNew))
		}
		if err != nil && s.hopeless(g, s.lack(g, blockSize, isNew)) == nil {
			err = fmt.Errorf("%w: %w", err, ErrNoFit)
		}
		due := !asked && (err != nil || short.any() || g.disk.due(s.o.Now()))
		if !due && err == nil && !short.any() {
			s.give(p, bytes, more, isNew)
			s.mu.Unlock()
			return nil
		}
		s.mu.Unlock()
		switch {
		case due:
			asked = true
			if err := s.ask(g); err != nil {
				return err
			}
		case err != nil:
			s.countSoon() // something may have been taken
			return err
		case s.giveWay(g, max(short.limit, short.disk), max(short.files, short.parts)) == 0:
			return fmt.Errorf("%w: what uploads left that broke off cannot be removed", ErrFull)
		}
	}
}

// give counts what a part gets. mu is held.
func (s *Store) give(p *Part, bytes, more int64, isNew bool) {
	d := &p.g.disk
	if isNew {
		d.made++
		d.files--
		d.given += blockSize
		d.bytes -= blockSize
	}
	d.given += more
	d.bytes -= more
	d.writing += more
	p.writing += more
	s.come(p, bytes)
}

// come counts bytes that a part has. mu is held.
func (s *Store) come(p *Part, bytes int64) {
	p.counted += bytes
	s.coming += bytes
}

// wrote says that what a part was given is on the disk, or will not be.
func (s *Store) wrote(p *Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.g.disk.writing -= p.writing
	p.writing = 0
}

// relieved makes room for what failed for want of it all the same, as by a quota, and
// says whether to try again.
func (s *Store) relieved(g *ground, err error, bytes int64) bool {
	return (errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)) && s.giveWay(g, bytes, 1) > 0
}

// countSoon has Run count what waits.
func (s *Store) countSoon() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}
