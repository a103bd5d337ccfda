package traffic

import (
	"context"
	"slices"
	"time"
)

// Follower tells of windows as they come and change.
type Follower struct {
	room *Room
	q    Request
	told map[told]state
	from time.Time // windows that begin before have been told for good, or were not asked for
}

// told names a result.
type told struct {
	start, end int64
	key        Key
}

// state is what of a result may change.
type state struct {
	count, sum, late uint64
	final            bool
}

// Follow follows the windows that a request is about, from some of the past on.
func (r *Room) Follow(q Request) (*Follower, error) {
	if _, err := r.plan(q); err != nil {
		return nil, err
	}
	return &Follower{room: r, q: q, told: make(map[told]state)}, nil
}

// Next returns the windows that are new, or have changed, since it was called before:
// what has not been told in the end is looked at each time. When it fails nothing is
// lost: it is to be called again.
func (f *Follower) Next(ctx context.Context) ([]Window, error) {
	q := f.q
	q.To = time.Time{}
	q.From = f.from // zero at first
	a, err := f.room.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	var changed []Window
	open, now := a.To, make(map[told]state)
	for _, w := range a.Windows {
		if !w.Final && w.Start.Before(open) {
			open = w.Start
		}
		var groups []Group
		for _, g := range w.Groups {
			at, is := told{w.Start.UnixMilli(), w.End.UnixMilli(), g.Key}, state{g.Count, g.Sum, g.Late, w.Final}
			now[at] = is
			if f.told[at] != is {
				groups = append(groups, g)
			}
		}
		if len(groups) > 0 {
			w.Groups = groups
			changed = append(changed, w)
		}
	}
	f.told = now
	f.from = later(f.next(open, a.Settled), a.From)
	return slices.Clip(changed), nil
}

// next returns from when on there may be something new: no later than the first window
// that is open, or may still come to be.
func (f *Follower) next(open, settled time.Time) time.Time {
	spec := f.q.Windows
	back := f.room.opts.Lateness + max(spec.Width, spec.Gap) + 2*Pane
	if start := settled.Add(-back); start.Before(open) {
		open = start
	}
	return open
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
