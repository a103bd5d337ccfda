package traffic

import (
	"context"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

// Follower tells of windows as they come and change.
type Follower struct {
	room *Room
	q    Request
	told map[told]state
	from time.Time // windows that begin before have been told for good, or were not asked for
}

// told names a result: of what is told apart no two windows begin at once.
type told struct {
	start int64
	key   Key
}

// state is what of a result may change.
type state struct {
	end              int64 // of a session
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
// what has not been told in the end is looked at each time. A session that has been told
// and is part of another now is named by that one. When it fails nothing is lost: it is
// to be called again.
func (f *Follower) Next(ctx context.Context) ([]Window, error) {
	q := f.q
	q.To = time.Time{}
	q.From, q.clip = f.from, true // zero at first
	a, err := f.room.Query(ctx, q)
	if err != nil {
		return nil, err
	}
	now, open := make(map[told]state), a.To
	for _, w := range a.Windows {
		if !w.Final && w.Start.Before(open) {
			open = w.Start
		}
		for _, g := range w.Groups {
			now[told{w.Start.UnixMilli(), g.Key}] = state{w.End.UnixMilli(), g.Count, g.Sum, g.Late, w.Final}
		}
	}
	changed := f.changed(a.Windows, now)
	f.told = now
	f.from = later(f.next(open, a.Settled), a.From)
	return changed, nil
}

// changed returns what is new of windows.
func (f *Follower) changed(list []Window, now map[told]state) []Window {
	gone := f.gone(now)
	var changed []Window
	for _, w := range list {
		var groups []Group
		for _, g := range w.Groups {
			at := told{w.Start.UnixMilli(), g.Key}
			if f.told[at] == now[at] {
				continue
			}
			for _, start := range gone[g.Key] {
				if end := f.told[told{start, g.Key}].end; start < w.End.UnixMilli() && end > at.start {
					g.Replaces = append(g.Replaces, time.UnixMilli(start))
				}
			}
			groups = append(groups, g)
		}
		if len(groups) > 0 {
			w.Groups = groups
			changed = append(changed, w)
		}
	}
	return slices.Clip(changed)
}

// gone returns when the sessions began that have been told, and are not there now, in
// order: each is part of a longer one, or is not looked at any more.
func (f *Follower) gone(now map[told]state) map[Key][]int64 {
	gone := make(map[Key][]int64)
	if f.q.Windows.Kind != window.Session {
		return gone
	}
	for at := range f.told {
		if _, there := now[at]; !there {
			gone[at.key] = append(gone[at.key], at.start)
		}
	}
	for _, starts := range gone {
		slices.Sort(starts)
	}
	return gone
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
