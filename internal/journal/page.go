package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Place is a place in the journal of all shards, in one order. The zero Place is the
// beginning of any.
type Place struct {
	mark uint32 // of the journal
	pos  uint64 // a batch
	line int    // how many of its events are before
}

// IsZero says whether it is the beginning.
func (p Place) IsZero() bool { return p == Place{} }

// MarshalText implements encoding.TextMarshaler.
func (p Place) MarshalText() ([]byte, error) {
	b := append(strconv.AppendUint(nil, p.pos, 36), '-')
	b = append(strconv.AppendInt(b, int64(p.line), 36), '-')
	return strconv.AppendUint(b, uint64(p.mark), 36), nil
}

// UnmarshalText implements encoding.TextUnmarshaler.
func (p *Place) UnmarshalText(b []byte) error {
	parts := strings.Split(string(b), "-")
	if len(parts) != 3 {
		return ErrPlace
	}
	pos, err := strconv.ParseUint(parts[0], 36, 64)
	line, err2 := strconv.ParseUint(parts[1], 36, 31)
	mark, err3 := strconv.ParseUint(parts[2], 36, 32)
	read := Place{uint32(mark), pos, int(line)}
	if again, _ := read.MarshalText(); err != nil || err2 != nil || err3 != nil || !bytes.Equal(again, b) { // which does not fail
		return ErrPlace
	}
	*p = read
	return nil
}

// ErrPlace says that a place is none of this journal.
var ErrPlace = errors.New(`must be the "next" or "upTo" of an answer, or the id of an event of the stream; of this journal`)

// Known returns ErrPlace for a place that never was in the journal.
func (r *Room) Known(ctx context.Context, p Place) error {
	if p.IsZero() {
		return nil
	}
	end, err := r.Latest(ctx)
	if err == nil && (p.mark != end.mark || p.pos > end.pos) {
		err = ErrPlace
	}
	return err
}

// Query says which events are wanted. What is empty does not matter.
type Query struct {
	App, Device string
	Type        Type
	From, To    time.Time // of the events' own times; To is not among them
	After       Place
	Limit       int // at least 1
}

func (q *Query) fits(e *Event) bool {
	return e.Type != Carried && (q.App == "" || e.App == q.App) && (q.Device == "" || e.Device == q.Device) && (q.Type == "" || e.Type == q.Type) &&
		(q.From.IsZero() || e.At >= q.From.UnixMilli()) && (q.To.IsZero() || e.At < q.To.UnixMilli())
}

// Found is an event with the place behind it.
type Found struct {
	Event
	Place Place
}

// Page is what was found up to a place.
type Page struct {
	Events []Found
	UpTo   Place
	End    bool // there was no more
}

const (
	// pageBytes is how much of the journal is read for one page.
	pageBytes = 8 << 20
	// readBytes is how much is read at once.
	readBytes = 512 << 10
)

// Page returns events in the order of the journal. It reads 8 MiB at most, so a page of
// rare events may be empty and yet not the last one. ErrPlace says that the place is one
// of another journal.
func (r *Room) Page(ctx context.Context, q Query) (p Page, err error) {
	mark, err := r.opts.Log.Mark(ctx)
	if err == nil && !q.After.IsZero() && q.After.mark != mark {
		err = ErrPlace
	}
	if err != nil {
		return p, err
	}
	p.UpTo = q.After
	shard := -1
	if q.Device != "" {
		shard = r.opts.Owners.ShardOf(q.Device)
	}
	var since time.Time
	if !q.From.IsZero() && q.After.IsZero() {
		since = q.From.Add(-2 * MaxAhead * time.Millisecond) // it was stored no earlier
	}
	for read := 0; read < pageBytes; {
		list, err := r.opts.Log.Read(ctx, shard, p.UpTo.pos, since, readBytes)
		if err != nil {
			return p, fmt.Errorf("read the journal: %w", err)
		}
		if len(list) == 0 && !since.IsZero() {
			p.End = true
			p.UpTo, err = r.endBefore(ctx, mark, shard, since)
			return p, err
		}
		since = time.Time{}
		before := p.UpTo
		for _, b := range list {
			read += len(b.Data)
			full, err := p.add(&q, mark, b)
			if err != nil || full {
				return p, err
			}
		}
		if p.UpTo == before {
			p.End = true
			return p, nil
		}
	}
	return p, nil
}

// endBefore returns the place where a shard, or the journal with -1, ends, if all that is
// there was stored before a time; else the beginning, which leaves out nothing either.
func (r *Room) endBefore(ctx context.Context, mark uint32, shard int, since time.Time) (Place, error) {
	var end uint64
	var err error
	if shard < 0 {
		end, err = r.opts.Log.End(ctx)
	} else {
		end, err = r.opts.Log.Last(ctx, shard)
	}
	if err != nil || end == 0 {
		return Place{}, err
	}
	list, err := r.opts.Log.Read(ctx, shard, end, time.Time{}, 1)
	if err != nil || len(list) == 0 || list[0].Pos != end {
		return Place{}, err
	}
	line, _, _ := bytes.Cut(list[0].Data, []byte{'\n'})
	e, err := parseLine(line)
	if err != nil {
		return Place{}, fmt.Errorf("batch %d: %w", end, err)
	}
	if e.Stored >= since.UnixMilli() {
		return Place{}, nil // another server has it, which was not asked before
	}
	return Place{mark, end + 1, 0}, nil
}

// add takes what fits of a batch; full says that the page is.
func (p *Page) add(q *Query, mark uint32, b Batch) (full bool, err error) {
	line, rest := 0, b.Data
	if b.Pos == p.UpTo.pos {
		line = p.UpTo.line
	}
	for i := 0; len(rest) > 0; i++ {
		one, more, ok := bytes.Cut(rest, []byte{'\n'})
		if rest = more; !ok {
			return false, fmt.Errorf("%w: batch %d ends within one", errLine, b.Pos)
		}
		if i < line {
			continue
		}
		e, err := parseLine(one)
		if err != nil {
			return false, fmt.Errorf("batch %d: %w", b.Pos, err)
		}
		if q.fits(&e) {
			if len(p.Events) == q.Limit {
				return true, nil
			}
			p.Events = append(p.Events, Found{e, Place{mark, b.Pos, i + 1}})
		}
		p.UpTo = Place{mark, b.Pos, i + 1}
	}
	if len(b.Data) == 0 {
		p.UpTo = Place{mark, b.Pos + 1, 0}
	}
	return false, nil
}

// Latest returns the place where the journal ends.
func (r *Room) Latest(ctx context.Context) (Place, error) {
	mark, err := r.opts.Log.Mark(ctx)
	if err != nil {
		return Place{}, err
	}
	pos, err := r.opts.Log.End(ctx)
	if err != nil || pos == 0 {
		return Place{}, err
	}
	return Place{mark, pos + 1, 0}, nil
}

// Wait returns when there may be something behind a place where a page ended.
func (r *Room) Wait(ctx context.Context, p Place) error {
	if p.line == 0 && p.pos > 0 {
		return r.opts.Log.Wait(ctx, p.pos-1)
	}
	return r.opts.Log.Wait(ctx, p.pos)
}
