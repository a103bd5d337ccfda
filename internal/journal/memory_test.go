package journal

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// memory is a store of journals and checkpoints that fails on command: a Log and a
// Checkpoints.
type memory struct {
	mu      sync.Mutex
	batches []stored
	parts   map[string]stored
	seq     uint64
	changed chan struct{}
	// faults are what the next appends meet, one each.
	faults []fault
	clock  func() int64 // of other owners
	mark   uint32
	gone   uint64 // batches up to this position are gone
}

type stored struct {
	shard int
	seq   uint64
	head  string
	data  []byte
}

type fault int

const (
	works     fault = iota
	lost            // not stored, and nobody knows
	unheard         // stored, and nobody knows
	refused         // not stored, and known not to be
	overtaken       // another owner's batch came first
)

func newMemory() *memory {
	return &memory{parts: make(map[string]stored), changed: make(chan struct{}), clock: func() int64 { return 1 }}
}

// meet has the next appends meet faults.
func (m *memory) meet(list ...fault) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.faults = append(m.faults, list...)
}

func (m *memory) Append(_ context.Context, shard int, last uint64, head string, batch []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	var f fault
	if len(m.faults) > 0 {
		f, m.faults = m.faults[0], m.faults[1:]
	}
	switch f {
	case lost:
		return 0, fmt.Errorf("append: %w", ErrUnknown)
	case refused:
		return 0, fmt.Errorf("append: %w", ErrFull)
	case overtaken:
		e := Event{ID: fmt.Sprint("other-", m.seq), Type: Matched, Device: "other", Amount: 1, At: 1, Stored: m.clock()}
		m.store(shard, "", appendLine(nil, &e))
	}
	if m.last(shard) != last {
		return 0, fmt.Errorf("append: %w", ErrChanged)
	}
	seq := m.store(shard, head, batch)
	if f == unheard {
		return 0, fmt.Errorf("append: %w", ErrUnknown)
	}
	return seq, nil
}

func (m *memory) store(shard int, head string, batch []byte) uint64 {
	m.seq++
	m.batches = append(m.batches, stored{shard, m.seq, head, slices.Clone(batch)})
	close(m.changed)
	m.changed = make(chan struct{})
	return m.seq
}

func (m *memory) last(shard int) (last uint64) {
	for _, b := range m.batches {
		if b.shard == shard && b.seq > m.gone {
			last = b.seq
		}
	}
	return last
}

func (m *memory) Last(_ context.Context, shard int) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.last(shard), nil
}

// all returns the batches of a shard, or of all with -1, that are there from a place on.
func (m *memory) all(shard int, from uint64) (list []stored) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range m.batches {
		if (shard < 0 || b.shard == shard) && b.seq >= from && b.seq > m.gone {
			list = append(list, b)
		}
	}
	return list
}

func (m *memory) Replay(_ context.Context, shard int, after, last uint64, f func(uint64, string, []byte) error) error {
	for _, b := range m.all(shard, after+1) {
		if b.seq <= last {
			if err := f(b.seq, b.head, b.data); err != nil {
				return err
			}
		}
	}
	return nil
}

func (m *memory) Read(_ context.Context, shard int, from uint64, since time.Time, most int) (list []Batch, err error) {
	bytes := 0
	for _, b := range m.all(shard, from) {
		line, _, _ := strings.Cut(string(b.data), "\n")
		if e, err := parseLine([]byte(line)); err == nil && !since.IsZero() && e.Stored < since.UnixMilli() {
			continue
		}
		if bytes += len(b.data); bytes > most && len(list) > 0 {
			break
		}
		list = append(list, Batch{b.seq, b.data})
	}
	return list, nil
}

func (m *memory) Mark(context.Context) (uint32, error) { return m.mark, nil }

func (m *memory) End(context.Context) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.seq, nil
}

func (m *memory) Wait(ctx context.Context, after uint64) error {
	m.mu.Lock()
	seq, changed := m.seq, m.changed
	m.mu.Unlock()
	if seq > after {
		return nil
	}
	select {
	case <-changed:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func partName(shard int, kind string, chunk int) string {
	return fmt.Sprint(shard, ".", kind, ".", chunk)
}

func (m *memory) LoadPart(_ context.Context, shard int, kind string, chunk int) (uint64, []byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	p := m.parts[partName(shard, kind, chunk)]
	return p.seq, p.data, nil
}

func (m *memory) SavePart(_ context.Context, shard int, kind string, chunk int, after uint64, part []byte) (uint64, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	name := partName(shard, kind, chunk)
	if m.parts[name].seq != after {
		return 0, fmt.Errorf("keep: %w", ErrChanged)
	}
	m.seq++
	m.parts[name] = stored{seq: m.seq, data: slices.Clone(part)}
	return m.seq, nil
}

// events returns all events of a shard that are stored.
func (m *memory) events(shard int) (list []Event) {
	for _, b := range m.all(shard, 0) {
		events, err := parseBatch(b.data, nil)
		if err != nil {
			panic(err)
		}
		list = append(list, events...)
	}
	return list
}

// folded returns what events say, device by device and app by app, as anyone would
// write it who reads the specification.
func folded(events []Event) map[[2]string]State {
	all := make(map[[2]string]State)
	for _, e := range events {
		if e.Type == Traffic {
			continue
		}
		key := [2]string{e.App, e.Device}
		s := all[key]
		s.App = e.App
		if e.Type == Carried {
			before := *e.Before
			before.At, before.Stored = e.At, e.Stored
			s.add(&before)
			all[key] = s
			continue
		}
		s.Events++
		*map[Type]*int64{
			ConnectionsOpen: &s.Opened, ConnectionsClosed: &s.Closed, Matched: &s.Matched, Unmatched: &s.Unmatched,
			BytesSent: &s.BytesSent, BytesReceived: &s.BytesReceived,
		}[e.Type] += e.Amount
		s.At, s.Stored = max(s.At, e.At), max(s.Stored, e.Stored)
		all[key] = s
	}
	return all
}

// states returns those of devices in the same form.
func (d *devices) states() map[[2]string]State {
	all := make(map[[2]string]State)
	for _, chunk := range d.chunks {
		for name, of := range chunk {
			for _, s := range of {
				all[[2]string{s.App, name}] = s
			}
		}
	}
	return all
}

// same says in what two sets of states differ; nil for nothing.
func same(got, want map[[2]string]State) error {
	if maps.Equal(got, want) {
		return nil
	}
	return fmt.Errorf("the states are\n%+v\nthe events say\n%+v", got, want)
}
