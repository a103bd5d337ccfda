package spool

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"
)

// count is what waits in the spool: as it was counted last, and what has come
// since. What the next service has taken since is found at the next count.
type count struct {
	files  int
	bytes  int64
	oldest time.Time

	sinceFiles int // that came during a count
	sinceBytes int64
	took       time.Duration // the last count
	at         time.Time     // when it ended
}

func (c *count) add(size int64, now time.Time) {
	c.files++
	c.bytes += size
	c.sinceFiles++
	c.sinceBytes += size
	if c.oldest.IsZero() {
		c.oldest = now
	}
}

// countEvery is how often the spool is counted, or less often where that takes
// more than a twentieth of the time.
const countEvery = 2 * time.Second

// room says whether a part may have so many bytes more. Where the disk is short it
// makes room by removing what uploads left that broke off.
func (s *Store) room(p *Part, more int64) error {
	free, err := p.g.spool.free()
	if err != nil {
		return err
	}
	s.mu.Lock()
	o, files, bytes, coming := s.o, s.count.files, s.count.bytes, int64(0)
	others := 0
	each := func(q *Part) {
		if q == p {
			return
		}
		others++
		at := q.at.Load()
		bytes += max(at, q.u.Size)
		coming += max(0, q.u.Size-at)
	}
	for _, q := range s.active {
		each(q)
	}
	for q := range s.nameless {
		each(q)
	}
	s.mu.Unlock()
	size := max(p.u.Size, p.at.Load())
	switch {
	case o.MaxFiles > 0 && files+others >= o.MaxFiles:
		err = fmt.Errorf("%w: %d files wait there or are on their way, and %d is the most", ErrFull, files+others, o.MaxFiles)
	case o.MaxBytes > 0 && bytes+size > o.MaxBytes:
		err = fmt.Errorf("%w: %d bytes wait there or are on their way, which leaves too little of the %d that are the most", ErrFull, bytes, o.MaxBytes)
	case free-coming-more < o.MinFree:
		err = s.makeRoom(p, o.MinFree+coming+more-free)
	}
	if err != nil {
		select {
		case s.kick <- struct{}{}: // something may have been taken
		default:
		}
	}
	return err
}

// idlePart is what an upload left that broke off.
type idlePart struct {
	id    keyID
	size  int64
	since time.Time
}

// idleParts returns what uploads left, the oldest first.
func (s *Store) idleParts(g *ground) ([]idlePart, error) {
	var list []idlePart
	err := g.parts.each(func(name string) error {
		id, keyed := partID(name)
		st, err := g.parts.stat(name)
		if !keyed || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		list = append(list, idlePart{id: id, size: st.Size, since: time.Unix(st.Mtim.Unix())})
		return err
	})
	slices.SortFunc(list, func(a, b idlePart) int { return cmp.Compare(a.since.UnixNano(), b.since.UnixNano()) })
	return list, err
}

// makeRoom removes idle parts until there are so many bytes more on the disk.
func (s *Store) makeRoom(p *Part, bytes int64) error {
	list, err := s.idleParts(p.g)
	if err != nil {
		return err
	}
	for _, idle := range list {
		if bytes <= 0 {
			break
		}
		if s.removeIdle(p.g, idle.id) {
			bytes -= idle.size
		}
	}
	if bytes > 0 {
		return fmt.Errorf("%w: the disk lacks %d bytes for this file, with what is to stay free", ErrFull, bytes)
	}
	return nil
}

// removeIdle removes a part that nobody writes, and says whether it did.
func (s *Store) removeIdle(g *ground, id keyID) bool {
	if err := s.finish(id); err != nil {
		return false
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[id] != nil || s.ground != g {
		return false
	}
	delete(s.hashes, id)
	// Held, so that nobody goes on with it meanwhile.
	return g.parts.remove(id.partName()) == nil
}

// Run counts what waits in the spool and removes what uploads left long ago, until
// ctx ends. A Store whose Run does not run counts what comes only.
func (s *Store) Run(ctx context.Context) error {
	tick := time.NewTicker(countEvery)
	defer tick.Stop()
	var cleaned time.Time
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-s.kick:
		case <-tick.C:
		}
		o := s.options()
		s.mu.Lock()
		rested := o.Now().Sub(s.count.at)
		due := rested >= 20*s.count.took
		s.mu.Unlock()
		if !due {
			continue
		}
		if err := s.recount(ctx); err != nil && ctx.Err() == nil {
			o.Log.Debug("the spool cannot be counted", "spool", s.dir, "err", err)
		}
		if now := o.Now(); now.Sub(cleaned) >= min(time.Minute, o.PartAge/4) {
			cleaned = now
			if err := s.clean(now.Add(-o.PartAge)); err != nil {
				o.Log.Debug("what uploads left cannot be removed", "spool", s.dir, "err", err)
			}
		}
	}
}

// clean finishes what can be, and removes the idle parts that are older.
func (s *Store) clean(than time.Time) error {
	g, err := s.settled()
	if err != nil {
		return err
	}
	defer s.leave(g)
	list, err := s.idleParts(g)
	for _, idle := range list {
		if idle.since.Before(than) {
			s.removeIdle(g, idle.id)
		}
	}
	return err
}

// recount counts what waits in the spool.
func (s *Store) recount(ctx context.Context) error {
	g, err := s.settled()
	if err != nil {
		return err
	}
	defer s.leave(g)
	now := s.options().Now
	begun := now()
	s.mu.Lock()
	s.count.sinceFiles, s.count.sinceBytes = 0, 0
	s.mu.Unlock()
	var c count
	err = g.spool.each(func(name string) error {
		if name[0] == '.' {
			return nil
		}
		if st, err := g.spool.stat(name); err == nil && regular(&st) {
			c.files++
			c.bytes += st.Size
			if at := time.Unix(st.Mtim.Unix()); c.oldest.IsZero() || at.Before(c.oldest) {
				c.oldest = at
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	// Of those that came meanwhile it is not known whether they were seen: the
	// limits hold if they are counted twice, until the next count.
	c.files += s.count.sinceFiles
	c.bytes += s.count.sinceBytes
	c.at = now()
	c.took = c.at.Sub(begun)
	s.count = c
	return nil
}
