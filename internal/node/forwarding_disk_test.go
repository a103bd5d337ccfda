package node

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

// disk is a log in memory, of which a keeper has a handle.
type disk struct {
	mu      sync.Mutex
	first   uint64
	batches [][]byte
	silent  atomic.Bool // it does not say whether it has stored what it is given
}

// handle is a keeper's; once it is dead nothing that comes from there is stored.
type handle struct {
	*disk
	dead atomic.Bool
}

var errKilled = errors.New("killed")

func (h *handle) Append(_ context.Context, last uint64, batch []byte) (uint64, error) {
	time.Sleep(200 * time.Microsecond) // a sync
	h.mu.Lock()
	defer h.mu.Unlock()
	dead, silent := h.dead.Load(), h.silent.Load()
	switch {
	case silent && len(batch)%2 == 0:
		return 0, mailbox.ErrUnknown
	case dead && len(batch)%2 == 0: // killed before it was on disk
		return 0, errKilled
	case last != uint64(len(h.batches)):
		return 0, mailbox.ErrFenced
	}
	h.batches = append(h.batches, bytes.Clone(batch))
	if silent {
		return 0, mailbox.ErrUnknown
	}
	if dead { // or after that
		return 0, errKilled
	}
	return uint64(len(h.batches)), nil
}

func (h *handle) Read(_ context.Context, seq uint64) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if seq < h.first || seq > uint64(len(h.batches)) {
		return nil, mailbox.ErrGone
	}
	return h.batches[seq-1], nil
}

func (h *handle) Bounds(context.Context) (first, last, size uint64, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, b := range h.batches[h.first-1:] {
		size += uint64(len(b))
	}
	return h.first, uint64(len(h.batches)), size, nil
}

func (h *handle) Replay(ctx context.Context, first, last uint64, f func(uint64, []byte) error) error {
	for seq := first; seq <= last; seq++ {
		b, err := h.Read(ctx, seq)
		if err != nil {
			return err
		}
		if err := f(seq, b); err != nil {
			return err
		}
	}
	return nil
}

func (h *handle) Purge(_ context.Context, below uint64) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.first = max(h.first, below)
	return nil
}
