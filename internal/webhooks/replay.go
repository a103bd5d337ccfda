package webhooks

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// mostReplayed is how many events one call queues again at most, and
	// mostRead how many records of the history it reads for that.
	mostReplayed = 10_000
	mostRead     = 10_000
	// putEvents and putBytes are how much is queued at once.
	putEvents = 500
	putBytes  = 1 << 20
)

// ErrBusy says that as much of this is under way as may be.
var ErrBusy = errors.New("this is under way already for the webhook; try again when it is done")

// Replay says which events of a webhook's history are queued again: those that
// ended from From to To, of one state, or of any if it is 0.
type Replay struct {
	From, To time.Time // zero: the beginning; the end
	State    State
	At       ReplayCursor // where a replay before ended; it has the same From, To and State
}

// ReplayCursor is where a replay goes on in a webhook's history, and where it
// ends. The zero ReplayCursor begins one.
type ReplayCursor struct {
	Cursor
	// Last is the newest record when the replay began. What stands behind it is
	// not replayed: among it are the events that the replay itself had sent again,
	// of which there would be no end.
	Last uint64
}

// Replayed is what came of it.
type Replayed struct {
	Events int
	Next   *ReplayCursor // where it goes on, if not all were queued
}

// Replay queues events of the history again, in the order in which they ended,
// under the IDs that they had; they get the time that new ones have. It queues so
// many of them that are bounded, and says where it goes on. After an error some
// may have been queued.
func (r *Room) Replay(ctx context.Context, of Name, what Replay) (Replayed, error) {
	h, err := r.find(of)
	if err != nil {
		return Replayed{}, err
	}
	if !h.replays.TryLock() {
		return Replayed{}, ErrBusy
	}
	defer h.replays.Unlock()
	p := &replaying{room: r, of: of, what: what, at: r.opts.Now()}
	done, err := p.run(ctx)
	if err != nil && !errors.Is(err, ErrCursor) {
		err = fmt.Errorf("replay the history of webhook %s: %w", of, err)
	}
	return done, err
}

// replaying is one replay under way.
type replaying struct {
	room *Room
	of   Name
	what Replay
	at   time.Time

	done   Replayed
	frames [][]byte
	places []Cursor // of the frames
	bytes  int
}

func (p *replaying) run(ctx context.Context) (Replayed, error) {
	if err := p.bound(ctx); err != nil {
		return Replayed{}, err
	}
	number, b, err := p.first(ctx)
	at := p.what.At.Cursor
	for read := 0; err == nil && read < mostRead; read++ {
		more, failure := p.record(ctx, number, b, at.Event)
		if failure != nil || !more {
			return p.done, failure
		}
		at = Cursor{Record: number + 1}
		number, b, err = p.room.opts.Archive.From(ctx, p.of, at.Record)
	}
	if failure := p.put(ctx); failure != nil || errors.Is(err, ErrGone) {
		return p.done, failure // the end of the history
	}
	p.done.Next = p.cursor(at)
	return p.done, err
}

// bound notes where the replay ends, if it does not know from a replay before.
func (p *replaying) bound(ctx context.Context) (err error) {
	at := &p.what.At
	switch {
	case at.Record > at.Last:
		return ErrCursor
	case at.Last == 0:
		at.Last, _, err = p.room.opts.Archive.Last(ctx, p.of)
	}
	return err
}

func (p *replaying) cursor(at Cursor) *ReplayCursor { return &ReplayCursor{at, p.what.At.Last} }

// first returns the record at which the replay begins.
func (p *replaying) first(ctx context.Context) (uint64, []byte, error) {
	a := p.room.opts.Archive
	if p.what.At.Record > 0 {
		number, b, err := a.From(ctx, p.of, p.what.At.Record)
		if number != p.what.At.Record {
			p.what.At.Event = 0 // its record has gone
		}
		return number, b, err
	}
	if p.what.From.IsZero() {
		return a.From(ctx, p.of, 1)
	}
	return a.Since(ctx, p.of, p.what.From) // an event is written after it ended
}

// record queues what a record has of what is wanted, and says whether later ones
// may have more.
func (p *replaying) record(ctx context.Context, number uint64, b []byte, event int) (more bool, err error) {
	if number > p.what.At.Last {
		return false, p.put(ctx)
	}
	r, err := readRecord(b)
	if err != nil {
		return false, fmt.Errorf("record %d: %w", number, err)
	}
	if event < 0 || event > len(r.events) {
		return false, ErrCursor
	}
	for i := event; i < len(r.events); i++ {
		e := &r.events[i]
		if !p.what.To.IsZero() && e.At.After(p.what.To) {
			return false, p.put(ctx)
		}
		if e.At.Before(p.what.From) || p.what.State != 0 && e.State != p.what.State {
			continue
		}
		if p.done.Events+len(p.frames) == mostReplayed {
			if err := p.put(ctx); err != nil {
				return false, err
			}
			p.done.Next = p.cursor(Cursor{number, i})
			return false, nil
		}
		p.frames = append(p.frames, replayFrame(e.ID, p.at, e.Body))
		p.places = append(p.places, Cursor{number, i})
		if p.bytes += len(e.Body); len(p.frames) == putEvents || p.bytes >= putBytes {
			if err := p.put(ctx); err != nil {
				return false, err
			}
		}
	}
	return true, nil
}

// put queues what was gathered. After an error the replay goes on with the first
// that was not queued.
func (p *replaying) put(ctx context.Context) error {
	if len(p.frames) == 0 {
		return nil
	}
	stored, err := p.room.opts.Queue.Put(ctx, p.of, p.frames)
	p.done.Events += stored
	if err != nil && stored < len(p.places) {
		p.done.Next = p.cursor(p.places[stored])
	}
	p.frames, p.places, p.bytes = nil, nil, 0
	return err
}
