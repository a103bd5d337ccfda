package webhooks

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// memQueue is a queue in memory. It outlives the rooms that use it, as a disk
// does.
type memQueue struct {
	mu      sync.Mutex
	serial  uint64
	boxes   map[Name]*memBox
	full    int   // how many events a box takes; 0 for any number
	refuses error // of Open and Put
	silent  error // of Backlog
	dropped uint64
}

type memBox struct {
	items   []*memItem
	session *memSession
}

type memItem struct {
	id    wire.ID
	frame []byte
	n     uint64 // delivery to the open session; 0 for none
}

type memSession struct {
	q      *memQueue
	of     Name
	out    Outlet
	window int
	open   int
	n      uint64
}

func newMemQueue() *memQueue { return &memQueue{boxes: make(map[Name]*memBox)} }

func (q *memQueue) box(of Name) *memBox {
	b := q.boxes[of]
	if b == nil {
		b = &memBox{}
		q.boxes[of] = b
	}
	return b
}

// add queues an event, and returns its ID.
func (q *memQueue) add(of Name, frame []byte) wire.ID {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.serial++
	id, err := wire.NewID(time.Now(), bytes.NewReader(fmt.Appendf(nil, "%010d", q.serial)))
	if err != nil {
		panic(err)
	}
	b := q.box(of)
	b.items = append(b.items, &memItem{id: id, frame: frame})
	q.pump(b)
	return id
}

func (q *memQueue) pump(b *memBox) {
	s := b.session
	if s == nil {
		return
	}
	for _, item := range b.items {
		if s.open >= s.window {
			return
		}
		if item.n == 0 {
			s.n++
			item.n = s.n
			s.open += len(item.frame)
			s.out(item.n, item.id, item.frame)
		}
	}
}

func (q *memQueue) Open(of Name, window int, out Outlet) (Session, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.refuses != nil {
		return nil, q.refuses
	}
	b := q.box(of)
	if b.session != nil {
		panic("a second session of " + of.String())
	}
	b.session = &memSession{q: q, of: of, out: out, window: window}
	q.pump(b)
	return b.session, nil
}

func (s *memSession) Prove(n uint64) {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	b := s.q.box(s.of)
	if b.session != s {
		return
	}
	b.items = slices.DeleteFunc(b.items, func(i *memItem) bool {
		if i.n == n {
			s.open -= len(i.frame)
		}
		return i.n == n
	})
	s.q.pump(b)
}

func (s *memSession) Close() {
	s.q.mu.Lock()
	defer s.q.mu.Unlock()
	b := s.q.box(s.of)
	b.session = nil
	for _, i := range b.items {
		i.n = 0
	}
}

func (q *memQueue) Put(_ context.Context, of Name, frames [][]byte) (int, error) {
	for i, frame := range frames {
		q.mu.Lock()
		full, err := q.full > 0 && len(q.box(of).items) >= q.full, q.refuses
		q.mu.Unlock()
		if err != nil {
			return i, err
		}
		if full {
			return i, ErrQueueFull
		}
		q.add(of, frame)
	}
	return len(frames), nil
}

func (q *memQueue) Backlog(_ context.Context, of Name) (Backlog, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := Backlog{Dropped: q.dropped}
	for _, i := range q.box(of).items {
		b.Events++
		b.Bytes += int64(len(i.frame))
		if b.Oldest.IsZero() {
			b.Oldest = i.id.Time()
		}
	}
	return b, q.silent
}

// drop has the queue say that it has dropped so many events.
func (q *memQueue) drop(n uint64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.dropped = n
}

// again hands everything of a box to the open session once more, as after a
// failure of the disk that lost proofs.
func (q *memQueue) again(of Name, id wire.ID, frame []byte) {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.box(of)
	b.items = append(b.items, &memItem{id: id, frame: frame})
	q.pump(b)
}

// memArchive is an archive in memory.
type memArchive struct {
	mu      sync.Mutex
	records []memRecord
	first   uint64 // number of the first one that is left, less one
	reads   int

	fails  error // of the next appends
	stores bool  // they store all the same
}

type memRecord struct {
	of   Name
	at   time.Time
	text []byte
}

func (a *memArchive) Append(_ context.Context, of Name, last uint64, record []byte) (uint64, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if newest, _ := a.last(of); newest != last {
		return 0, ErrFollowed
	}
	if a.fails == nil || a.stores {
		a.records = append(a.records, memRecord{of, time.Now(), bytes.Clone(record)})
	}
	return a.first + uint64(len(a.records)), a.fails
}

func (a *memArchive) last(of Name) (uint64, []byte) {
	for i := len(a.records) - 1; i >= 0; i-- {
		if a.records[i].of == of {
			return a.first + uint64(i) + 1, a.records[i].text
		}
	}
	return 0, nil
}

func (a *memArchive) Last(_ context.Context, of Name) (uint64, []byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	number, text := a.last(of)
	return number, text, nil
}

func (a *memArchive) Read(_ context.Context, number uint64) ([]byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.reads++
	if number <= a.first || number > a.first+uint64(len(a.records)) {
		return nil, ErrGone
	}
	return a.records[number-a.first-1].text, nil
}

func (a *memArchive) From(_ context.Context, of Name, number uint64) (uint64, []byte, error) {
	return a.find(of, func(n uint64, _ time.Time) bool { return n >= number })
}

func (a *memArchive) Since(_ context.Context, of Name, at time.Time) (uint64, []byte, error) {
	return a.find(of, func(_ uint64, t time.Time) bool { return !t.Before(at) })
}

func (a *memArchive) find(of Name, is func(uint64, time.Time) bool) (uint64, []byte, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for i, r := range a.records {
		if n := a.first + uint64(i) + 1; r.of == of && is(n, r.at) {
			return n, r.text, nil
		}
	}
	return 0, nil, ErrGone
}

// drop forgets the oldest records.
func (a *memArchive) drop(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.first += uint64(n)
	a.records = a.records[n:]
}

func (a *memArchive) fail(err error, stores bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fails, a.stores = err, stores
}
