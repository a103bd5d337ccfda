package spool

import (
	"context"
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
		if now := o.Now(); o.PartAge > 0 && now.Sub(cleaned) >= min(time.Minute, o.PartAge/4) {
			cleaned = now
			if err := s.clean(now.Add(-o.PartAge)); err != nil {
				o.Log.Debug("what uploads left cannot be removed", "spool", s.dir, "err", err)
			}
		}
	}
}

// clean removes the held parts that are older, or finishes them where that was
// promised.
func (s *Store) clean(than time.Time) error {
	g, err := s.settled()
	if err != nil {
		return err
	}
	defer s.leave(g)
	s.mu.Lock()
	old := g.held.before(than)
	s.mu.Unlock()
	for _, id := range old {
		s.removeHeld(g, id)
	}
	return nil
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
