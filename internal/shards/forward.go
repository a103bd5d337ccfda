package shards

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"strconv"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// forward is a list on its way to another shard's keeper.
type forward struct {
	source string
	list   []mailbox.Forwarded
	done   func(upTo uint64, err error)
}

// forwarder carries what a keeper of this node has for another shard there, in
// order: it is a session of the reserved mailbox in which that waits, and proves
// what the other keeper has stored. One list is on its way at a time; what comes
// meanwhile forms the next.
type forwarder struct {
	office *Office
	keeper *mailbox.Keeper
	target int
	source string
	id     wire.ID

	mu    sync.Mutex
	queue []forwarding // not stored there yet, in order
	sent  int          // how many of them are on their way
	ended bool
	again *time.Timer // when a list that was not taken is sent again
}

// forwarding is one of them, and which delivery it was.
type forwarding struct {
	mailbox.Forwarded
	n uint64
}

const (
	// maxForward is how many go at once, and forwardBytes about how many bytes.
	maxForward   = 1000
	forwardBytes = 256 << 10
	// forwardAgain is after what time a list is sent again that was not taken.
	forwardAgain = 200 * time.Millisecond
)

// Source returns the name under which a shard forwards.
func Source(shard int) string { return "shard/" + strconv.Itoa(shard) }

// Forward begins to carry what a shard of this node has for the others. The
// returned function ends it; it does not wait.
func (o *Office) Forward(shard int, keeper *mailbox.Keeper) (end func(), err error) {
	var list []*forwarder
	end = func() {
		for _, f := range list {
			f.end()
		}
	}
	for target := range o.desks {
		if target == shard {
			continue
		}
		id, err := wire.NewID(time.Now(), rand.Reader)
		if err != nil {
			end()
			return nil, fmt.Errorf("make the ID of a session: %w", err)
		}
		f := &forwarder{office: o, keeper: keeper, target: target, source: Source(shard), id: id}
		list = append(list, f)
		keeper.Open(mailbox.Session{ID: id, User: mailbox.Relay(target), Node: o.opts.Self, Push: true, Outlet: f})
	}
	return end, nil
}

// Opened implements mailbox.Outlet.
func (f *forwarder) Opened(uint64) {}

// FetchDone implements mailbox.Outlet; nothing is fetched.
func (f *forwarder) FetchDone(int) {}

// Settled implements mailbox.Outlet.
func (f *forwarder) Settled(uint64) {}

// Deliver implements mailbox.Outlet.
func (f *forwarder) Deliver(d mailbox.Delivery) {
	item, err := mailbox.ParseForwarded(d)
	if err != nil {
		f.office.opts.Logger.Error("what is to be forwarded to another shard cannot be read; it is left out", "shard", f.target, "err", err)
		item = mailbox.Forwarded{} // to nobody: proved with what follows
	}
	item.Seq = d.Ord
	item.Frame, item.Reference = bytes.Clone(item.Frame), bytes.Clone(item.Reference)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.queue = append(f.queue, forwarding{item, d.N})
	f.send()
}

// send puts the next list on its way, unless one is. mu is held.
func (f *forwarder) send() {
	if f.sent > 0 || f.ended || len(f.queue) == 0 || f.again != nil {
		return
	}
	list := make([]mailbox.Forwarded, 0, min(len(f.queue), maxForward))
	size := 0
	for _, item := range f.queue {
		if len(list) == maxForward || size > forwardBytes {
			break
		}
		list = append(list, item.Forwarded)
		size += len(item.Frame) + 128
	}
	f.sent = len(list)
	r := &request{forward: &forward{source: f.source, list: list, done: f.done}, cost: int64(size)}
	go f.office.desks[f.target].accept(r) // not from the goroutine of a keeper, which a desk may wait for
}

// done is called when a list is stored by the other keeper, or was not taken.
func (f *forwarder) done(upTo uint64, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.sent = 0
	if f.ended {
		return
	}
	if err != nil {
		f.again = time.AfterFunc(forwardAgain, func() {
			f.mu.Lock()
			defer f.mu.Unlock()
			f.again = nil
			f.send()
		})
		return
	}
	i := 0
	for i < len(f.queue) && f.queue[i].Seq <= upTo {
		i++
	}
	if i > 0 {
		f.keeper.Prove(f.id, f.queue[i-1].n)
		f.queue = f.queue[i:]
	}
	f.send()
}

func (f *forwarder) end() {
	f.mu.Lock()
	f.ended = true
	if f.again != nil {
		f.again.Stop()
	}
	f.mu.Unlock()
	f.keeper.Close(f.id)
}

// hearForwarded takes in what became of a list. mu is held.
func (d *desk) hearForwarded(r *reader) {
	number, upTo, stored := r.uvarint(), r.uvarint(), r.byte()&1 != 0
	req := d.far.requests[number]
	if r.err != nil || req == nil || req.forward == nil {
		return
	}
	d.finish(req)
	if !stored {
		req.forward.done(0, errNotTaken)
		return
	}
	req.forward.done(upTo, nil)
}
