package window

import (
	"slices"
	"time"
)

// Kind is a kind of windows.
type Kind string

// Kinds of windows.
const (
	Tumbling Kind = "tumbling" // one after the other
	Sliding  Kind = "sliding"  // one begins each Slide
	Session  Kind = "session"  // as long as there is no Gap
)

// Spec says which windows there are.
type Spec struct {
	Kind  Kind
	Width time.Duration // of tumbling and sliding windows
	Slide time.Duration // of sliding ones
	Gap   time.Duration // ends a session
}

// MaxOverlap is in how many sliding windows a moment may be: each of them adds it up.
const MaxOverlap = 60

// Misfit is what is wrong with a Spec: a field, which is kind, window, slide or gap, and
// how it goes on after that.
type Misfit struct{ Field, Must string }

func (m *Misfit) Error() string { return m.Field + " " + m.Must }

// Check says what is wrong with a Spec over panes of a length; nil: nothing.
func (s Spec) Check(pane time.Duration) *Misfit {
	whole := func(d time.Duration) bool { return d > 0 && d%pane == 0 }
	switch s.Kind {
	case Tumbling, Sliding:
		if !whole(s.Width) {
			return &Misfit{"window", "must be a multiple of " + pane.String()}
		}
	case Session:
		switch {
		case s.Gap == 0:
			return &Misfit{"gap", "must be given for sessions: how long nothing happens before one is over, at least " + pane.String()}
		case s.Gap < pane:
			return &Misfit{"gap", "must be at least " + pane.String()}
		}
		return nil
	default:
		return &Misfit{"kind", "must be tumbling, sliding or session"}
	}
	if s.Kind == Tumbling {
		return nil
	}
	switch {
	case s.Slide == 0:
		return &Misfit{"slide", "must be given for sliding windows: after which time the next one begins, a multiple of " + pane.String()}
	case !whole(s.Slide):
		return &Misfit{"slide", "must be a multiple of " + pane.String()}
	case s.Slide > s.Width:
		return &Misfit{"slide", "must be no longer than the window"}
	case s.Width/s.Slide > MaxOverlap:
		return &Misfit{"slide", "must be at least a sixtieth of the window"}
	}
	return nil
}

// Unit returns how long pieces may be of which windows are sums, without loss. Of
// sessions it is a pane.
func (s Spec) Unit(pane time.Duration) time.Duration {
	switch s.Kind {
	case Tumbling:
		return s.Width
	case Sliding:
		a, b := s.Width, s.Slide
		for b > 0 {
			a, b = b, a%b
		}
		return a
	}
	return pane
}

// Piece is what there is in a part of time.
type Piece struct {
	Start int64
	Aggregate
}

// Window is one with what is in it.
type Window struct {
	Start, End int64
	Aggregate
}

// Over sums pieces up into windows, of which those are returned, in order, that have
// something in them and begin from one time on and before another; of sessions, those
// that reach into it. Pieces are of one kind of thing, in order, and each within one
// Unit. They are not changed.
func (s Spec) Over(pieces []Piece, from, to int64) []Window {
	switch s.Kind {
	case Tumbling:
		return over(pieces, s.Width, s.Width, from, to)
	case Sliding:
		return over(pieces, s.Width, s.Slide, from, to)
	}
	return s.sessions(pieces, from, to)
}

// Count says, for little, how many windows Over returns of tumbling or sliding ones, of
// which the pieces all have something in them. Of sessions there are no more than pieces.
func (s Spec) Count(pieces []Piece, from, to int64) (n int) {
	slide := s.Slide
	switch s.Kind {
	case Tumbling:
		slide = s.Width
	case Session:
		return len(pieces)
	}
	step := slide.Milliseconds()
	next, end := Floor(from+step-1, slide), Floor(to-1, slide)
	for i := range pieces {
		at := pieces[i].Start
		first, last := max(next, Floor(at-s.Width.Milliseconds(), slide)+step), min(end, Floor(at, slide))
		if first <= last {
			n += int((last-first)/step) + 1
			next = last + step
		}
	}
	return n
}

func over(pieces []Piece, width, slide time.Duration, from, to int64) []Window {
	var list []Window
	by := make(map[int64]int)
	for i := range pieces {
		p := &pieces[i]
		last := Floor(p.Start, slide)
		for start := last; start > p.Start-width.Milliseconds(); start -= slide.Milliseconds() {
			if start < from || start >= to {
				continue
			}
			at, there := by[start]
			if !there {
				at = len(list)
				by[start] = at
				list = append(list, Window{Start: start, End: start + width.Milliseconds()})
			}
			list[at].Merge(&p.Aggregate)
		}
	}
	slices.SortFunc(list, func(a, b Window) int { return int(a.Start - b.Start) })
	return list
}

// sessions of which an event at the very end of a gap begins the next.
func (s Spec) sessions(pieces []Piece, from, to int64) []Window {
	var list []Window
	gap := s.Gap.Milliseconds()
	for i := range pieces {
		p := &pieces[i]
		if p.Count == 0 {
			continue
		}
		if n := len(list); n == 0 || p.First-list[n-1].Last >= gap {
			list = append(list, Window{Start: p.First})
		}
		list[len(list)-1].Merge(&p.Aggregate)
	}
	for i := range list {
		list[i].End = list[i].Last + gap
	}
	return slices.DeleteFunc(list, func(w Window) bool { return w.End <= from || w.Start >= to })
}
