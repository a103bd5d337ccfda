package webhooks

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
)

const (
	// pageRecords is how many records one page of the history reads at most; it
	// may then be shorter than was asked for.
	pageRecords = 200
	// pageBytes is from how many bytes of what was posted on a page is full.
	pageBytes = 1 << 20
)

// Cursor is a place in a webhook's history. The zero Cursor is its newest end.
type Cursor struct {
	Record uint64 // number of the record
	Event  int    // place in it
}

// ErrCursor says that a cursor is not one of this webhook's history.
var ErrCursor = errors.New("this is no cursor of this webhook's history")

// Page is a part of a webhook's history, newest first.
type Page struct {
	Events []Ended
	Next   *Cursor // where the next page begins; nil for no more
}

// page reads at most limit events of a state (0: of any), from a place on
// backwards.
func page(ctx context.Context, a Archive, of Name, state State, at Cursor, limit int) (Page, error) {
	var p Page
	number, event := at.Record, at.Event
	if number == 0 {
		last, _, err := a.Last(ctx, of)
		if err != nil || last == 0 {
			return p, err
		}
		number, event = last, -1
	}
	size := 0
	for range pageRecords {
		r, err := readNumber(ctx, a, of, number)
		if errors.Is(err, ErrGone) {
			return p, nil // what is older is gone too
		}
		if err != nil {
			return Page{}, err
		}
		if event >= len(r.events) {
			return Page{}, ErrCursor
		}
		if event < 0 {
			event = len(r.events) - 1
		}
		for ; event >= 0; event-- {
			e := r.events[event]
			if state != 0 && e.State != state {
				continue
			}
			if len(p.Events) == limit || size >= pageBytes {
				p.Next = &Cursor{number, event}
				return p, nil
			}
			p.Events = append(p.Events, e)
			size += len(e.Body)
		}
		if number = r.before(state); number == 0 {
			return p, nil
		}
	}
	p.Next = &Cursor{number, -1}
	return p, nil
}

// before returns the record before this one with an event of a state; 0 for
// none.
func (r *record) before(state State) uint64 {
	if state == 0 {
		return slices.Max(r.links[:])
	}
	return r.links[state-1]
}

func readNumber(ctx context.Context, a Archive, of Name, number uint64) (record, error) {
	b, err := a.Read(ctx, number)
	if err != nil {
		return record{}, err
	}
	r, err := readRecord(b)
	if err != nil {
		return record{}, fmt.Errorf("record %d: %w", number, err)
	}
	if r.of != of {
		return record{}, ErrCursor
	}
	return r, nil
}

// scribe writes the history of one webhook. It is its only writer.
type scribe struct {
	archive Archive
	of      Name
	known   bool
	last    uint64    // the newest record's number
	links   [2]uint64 // what the next record's links are
}

// write stores a batch of events. After an error it may be called again with the
// same batch, which is stored once.
func (s *scribe) write(ctx context.Context, events []Ended) error {
	b := appendRecord(nil, record{of: s.of, links: s.links, events: events})
	if !s.known {
		stored, err := s.recall(ctx, b)
		if err != nil || stored {
			return err
		}
		b = appendRecord(b[:0], record{of: s.of, links: s.links, events: events})
	}
	number, err := s.archive.Append(ctx, s.of, s.last, b)
	if err != nil {
		s.known = false // it may be stored all the same
		return err
	}
	s.follow(number, events)
	return nil
}

// recall learns the end of the history, and says whether it is b, which was
// about to be written.
func (s *scribe) recall(ctx context.Context, b []byte) (stored bool, err error) {
	number, newest, err := s.archive.Last(ctx, s.of)
	if err != nil {
		return false, err
	}
	stored = number > s.last && bytes.Equal(newest, b)
	s.known, s.last, s.links = true, number, [2]uint64{}
	if number > 0 {
		r, err := readRecord(newest)
		if err != nil {
			return false, fmt.Errorf("record %d: %w", number, err)
		}
		s.links = r.links
		s.follow(number, r.events)
	}
	return stored, nil
}

// follow notes that a record is the newest one.
func (s *scribe) follow(number uint64, events []Ended) {
	s.last = number
	for _, state := range States() {
		if slices.ContainsFunc(events, func(e Ended) bool { return e.State == state }) {
			s.links[state-1] = number
		}
	}
}
