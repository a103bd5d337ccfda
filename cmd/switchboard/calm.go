package main

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	// calmTime is how long calmLines of one message are enough.
	calmTime  = time.Minute
	calmLines = 100
	// calmMost bounds the messages that are known. They are constant, so that there are
	// some hundreds.
	calmMost = 1000
)

// calm writes log lines so that the disk is not filled by what repeats, such as what fails
// with every request while something is broken: a hundred a minute of INFO or above with the
// same message, then one that says so, and with the next minute's first how many were left
// out. Its methods may be called from many goroutines at once.
type calm struct {
	slog.Handler
	said *sayings // shared by what With makes
}

type sayings struct {
	mu   sync.Mutex
	last map[string]*saying
}

// saying is what was written of a message since its minute began.
type saying struct {
	began time.Time
	lines int
}

func newCalm(h slog.Handler) *calm {
	return &calm{h, &sayings{last: make(map[string]*saying)}}
}

// Handle implements slog.Handler.
func (c *calm) Handle(ctx context.Context, r slog.Record) error {
	if r.Level < slog.LevelInfo {
		return c.Handler.Handle(ctx, r)
	}
	lines, left := c.said.note(r.Message, r.Time)
	switch {
	case lines > calmLines+1:
		return nil
	case lines > calmLines:
		line := r.Message
		r = slog.NewRecord(r.Time, slog.LevelWarn, "a line of the log repeats, and is left out for a while", r.PC)
		r.AddAttrs(slog.String("line", line))
	case left > 0:
		r = r.Clone()
		r.AddAttrs(slog.Int("leftOut", left))
	}
	return c.Handler.Handle(ctx, r)
}

// note counts a line. It returns which one of its minute it is, and how many were left out
// in the last one, if this begins another.
func (s *sayings) note(message string, now time.Time) (lines, left int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	of := s.last[message]
	if of == nil {
		if len(s.last) == calmMost {
			clear(s.last)
		}
		of = &saying{began: now}
		s.last[message] = of
	}
	if now.Sub(of.began) >= calmTime {
		left = max(0, of.lines-calmLines)
		*of = saying{began: now}
	}
	of.lines++
	return of.lines, left
}

// WithAttrs implements slog.Handler.
func (c *calm) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &calm{c.Handler.WithAttrs(attrs), c.said}
}

// WithGroup implements slog.Handler.
func (c *calm) WithGroup(name string) slog.Handler { return &calm{c.Handler.WithGroup(name), c.said} }
