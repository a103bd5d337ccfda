package traffic

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

// Answer is what was exchanged.
type Answer struct {
	From, To time.Time
	Settled  time.Time // all is in that was taken in before
	Windows  []Window  // those with something in them, in order
	TooLate  uint64    // what is in none, since it came too late
	Ahead    uint64    // or was said to happen in the future; both by when they came
}

// Window is one of an Answer.
type Window struct {
	Start, End time.Time
	Final      bool // it does not change any more
	Groups     []Group
}

// Group is what is told apart in a window.
type Group struct {
	Key
	window.Aggregate

	// Of what a Follower tells, when sessions began that were told of before and are no
	// more: they are part of this one.
	Replaces []time.Time
}

// ErrTooMuch says that an answer would have too many rows.
var ErrTooMuch = errors.New("the answer would have too many rows: ask for less time, longer windows or fewer groups")

// Query adds up what all shards have.
func (r *Room) Query(ctx context.Context, q Request) (Answer, error) {
	p, err := r.plan(q)
	if err != nil {
		return Answer{}, err
	}
	r.metrics.queries.Inc()
	found, settled, err := r.gather(ctx, &p.question)
	if err != nil {
		r.metrics.failed.Inc()
		return Answer{}, err
	}
	a := Answer{From: time.UnixMilli(p.from), To: time.UnixMilli(p.to), Settled: time.UnixMilli(settled)}
	if !p.fill(&a, found, settled, r.opts.Lateness, r.opts.Rows) {
		return Answer{}, &Refused{Err: ErrTooMuch}
	}
	return a, nil
}

// Refused is an error of what was asked: of a field of it, after which the error's
// sentence goes on, or of all of it.
type Refused struct {
	Field string // as the interface calls it; empty: all
	Err   error
}

func (e *Refused) Error() string {
	if e.Field == "" {
		return e.Err.Error()
	}
	return e.Field + " " + e.Err.Error()
}

// Unwrap returns why.
func (e *Refused) Unwrap() error { return e.Err }

// Unreachable is the error of a shard that cannot be asked at the moment.
type Unreachable struct {
	Shard int
	Err   error
}

func (e *Unreachable) Error() string {
	return fmt.Sprintf("ask shard %d for its traffic: %s", e.Shard, e.Err)
}

// Unwrap returns why.
func (e *Unreachable) Unwrap() error { return e.Err }

// gather asks all shards. The time that it returns is that up to which all of them
// hold what was taken in.
func (r *Room) gather(ctx context.Context, q *question) (rows, int64, error) {
	request := q.append()
	replies := make([][]byte, r.opts.Shards)
	g, ctx := errgroup.WithContext(ctx)
	for n := range replies {
		g.Go(func() (err error) {
			if replies[n], err = r.opts.Ask(ctx, n, request); err != nil {
				return &Unreachable{n, err}
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, 0, err
	}
	all, settled := make(rows), int64(0)
	for n, reply := range replies {
		one, err := all.addRows(reply)
		if err != nil {
			return nil, 0, fmt.Errorf("read what shard %d has of traffic: %w", n, err)
		}
		if n == 0 || one < settled {
			settled = one
		}
	}
	return all, settled, nil
}

// fill makes windows of rows; false: there would be more than most of them.
func (p *plan) fill(a *Answer, found rows, settled int64, lateness time.Duration, most int) bool {
	groups := make(map[Key][]window.Piece)
	for at, sum := range found {
		switch at.key.Type {
		case tooLate:
			a.TooLate += sum.Count
		case ahead:
			a.Ahead += sum.Count
		default:
			groups[at.key] = append(groups[at.key], window.Piece{Start: at.start, Aggregate: *sum})
		}
	}
	closing := lateness.Milliseconds()
	if p.Windows.Kind == window.Session {
		closing += Pane.Milliseconds() // what may still go on with it is in a pane that may end later
	}
	type span struct{ start, end int64 }
	by := make(map[span]*Window)
	for _, pieces := range groups {
		slices.SortFunc(pieces, func(a, b window.Piece) int { return cmp.Compare(a.Start, b.Start) })
		if p.Windows.Kind != window.Session {
			most -= p.Windows.Count(pieces, p.from, p.to)
		}
		if most < 0 {
			return false
		}
	}
	for key, pieces := range groups {
		for _, w := range p.Windows.Over(pieces, p.from, p.to) {
			at := span{w.Start, w.End}
			if by[at] == nil {
				by[at] = &Window{Start: time.UnixMilli(w.Start), End: time.UnixMilli(w.End), Final: settled >= w.End+closing}
			}
			by[at].Groups = append(by[at].Groups, Group{Key: key, Aggregate: w.Aggregate})
			if p.Windows.Kind == window.Session {
				most--
			}
		}
		if most < 0 {
			return false
		}
	}
	for _, w := range by {
		slices.SortFunc(w.Groups, func(a, b Group) int { return compareKeys(a.Key, b.Key) })
		a.Windows = append(a.Windows, *w)
	}
	slices.SortFunc(a.Windows, func(a, b Window) int { return cmp.Or(a.Start.Compare(b.Start), a.End.Compare(b.End)) })
	return true
}
