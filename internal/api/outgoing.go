package api

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// outgoing is one message of a request, on its way, and its origin.
type outgoing struct {
	delivery.Send
	of    *shipment
	wrong *Refusal      // why it was not sent at all
	count int           // its receivers
	asked []wire.UserID // of a list, in its order
	bad   []string      // what stood among them and is none
	badAt []int         // how many of them stood before each of bad

	// Guarded by of.mu while it is on its way.
	stored   bool
	id       wire.ID
	failures []*wire.Error
}

// Stored implements delivery.Origin.
func (o *outgoing) Stored(id wire.ID, _ []byte) {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	o.stored, o.id = true, id
}

// Failed implements delivery.Origin.
func (o *outgoing) Failed(e *wire.Error, _ []byte) {
	o.of.mu.Lock()
	defer o.of.mu.Unlock()
	o.failures = append(o.failures, e)
}

// shipment is the messages of one request.
type shipment struct {
	list []outgoing
	left atomic.Int64
	done chan struct{}

	mu sync.Mutex // see outgoing
}

// newShipment makes room for the messages of a request.
func newShipment(n int) *shipment {
	return &shipment{list: make([]outgoing, n), done: make(chan struct{})}
}

// send sends those messages that are not wrong, and waits until it is known what
// becomes of each, or until ctx ends.
func (s *shipment) send(ctx context.Context, hub Hub, once *Once) error {
	sends := make([]*delivery.Send, 0, len(s.list))
	done := func() {
		if s.left.Add(-1) == 0 {
			close(s.done)
		}
	}
	for i := range s.list {
		o := &s.list[i]
		if o.wrong != nil {
			continue
		}
		o.of, o.Origin, o.Index, o.Done, o.count = s, o, i, done, len(o.To)
		o.Receipt = !o.Fast
		sends = append(sends, &o.Send)
	}
	if len(sends) == 0 {
		return nil
	}
	s.left.Store(int64(len(sends)))
	hub.SendAll(sends, once.of(len(s.list)))
	select {
	case <-s.done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// repeated says whether anything was stored before, under the same key. It is
// asked when all are through.
func (s *shipment) repeated() bool {
	for i := range s.list {
		if s.list[i].Repeated {
			return true
		}
	}
	return false
}

// of returns what the hub is told of a request with so many messages.
func (o *Once) of(messages int) *delivery.Once {
	if o == nil {
		return nil
	}
	return &delivery.Once{Key: o.Key, Print: o.Print, Count: messages}
}
