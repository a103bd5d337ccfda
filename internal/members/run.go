package members

import (
	"context"
	"fmt"
	"time"
)

// Run makes this node a member, and keeps it one until ctx ends; then it takes
// its row away. It returns an error when the node must not be one, or not any
// longer: whoever runs it has to end then.
func (r *Room) Run(ctx context.Context) error {
	if r.opts.Table == nil {
		return r.alone(ctx)
	}
	stop := r.opts.Table.Watch(r.hear)
	defer stop()
	writing, endWriting := context.WithCancel(ctx)
	stored, written := make(chan time.Time, 1), make(chan struct{})
	if err := r.begin(); err != nil {
		endWriting()
		return err
	}
	go func() {
		defer close(written)
		r.write(writing, stored)
	}()
	err := r.live(ctx, stored)
	endWriting()
	<-written
	r.asking.Wait()
	r.leave(ctx)
	return err
}

// alone keeps the only member current.
func (r *Room) alone(ctx context.Context) error {
	close(r.in)
	beat := time.NewTicker(r.opts.Every)
	defer beat.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
			r.measure()
		case <-r.wake:
		}
		r.tell()
	}
}

// hear notes what the table says of one row. It is called by the table.
func (r *Room) hear(id string, row []byte) {
	r.mu.Lock()
	r.inbox[id] = row
	r.mu.Unlock()
	ring(r.wake)
}

// begin takes in what the table had when this node began.
func (r *Room) begin() error { return r.act(r.take((*core).found)) }

// take takes in what was heard.
func (r *Room) take(in func(c *core, m Member, speaks Range, beat uint64, now time.Time) []doing) (list []doing) {
	now := r.opts.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, b := range r.inbox {
		delete(r.inbox, id)
		if b == nil {
			list = append(list, r.core.wiped(id, now)...)
			continue
		}
		m, speaks, beat, err := decode(id, b)
		if err != nil {
			r.counts.passed.Inc()
			r.opts.Log.Debug("the row of a node cannot be read and is passed over", "node", id, "err", err)
			continue
		}
		list = append(list, in(r.core, m, speaks, beat, now)...)
	}
	return list
}

// live follows the table, the time and the writes of the own row, until ctx ends
// or the node has to.
func (r *Room) live(ctx context.Context, stored <-chan time.Time) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel() // of who asks
	tick := time.NewTicker(r.opts.Every / 4)
	defer tick.Stop()
	lost, told := false, r.opts.Now()
	for {
		var begun time.Time
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.wake:
		case begun = <-stored:
		}
		if r.lease.begun.Load() != nil && !lost && !r.lease.holds(r.opts.Now()) {
			lost = true
			r.lose()
		}
		now := r.opts.Now()
		if !begun.IsZero() && !r.lease.over(begun, now) {
			r.hold(begun, lost)
			lost = false
		}
		urgent := r.take((*core).row)
		r.mu.Lock()
		valid := !lost && r.Valid()
		urgent = append(urgent, r.core.tick(now, valid)...)
		r.mu.Unlock()
		if valid {
			r.ask(ctx, now)
		}
		if err := r.act(urgent); err != nil {
			return err
		}
		if err := r.join(now); err != nil {
			return err
		}
		if len(urgent) > 0 || lost || r.restated() || now.Sub(told) >= r.opts.Every {
			told = now
			r.tell()
		}
	}
}

// ask has it found out which of the nodes that have missed a beat have ended.
func (r *Room) ask(ctx context.Context, now time.Time) {
	if r.opts.Ended == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.core.missing(now) {
		r.asking.Go(func() {
			has := r.opts.Ended(ctx, m)
			r.mu.Lock()
			first := r.core.ended(m.ID, has, r.opts.Now())
			r.mu.Unlock()
			if first {
				ring(r.hurry)
			}
		})
	}
}

// restated says whether this node's status is another than watchers were told.
func (r *Room) restated() bool {
	r.telling.Lock()
	defer r.telling.Unlock()
	lost := r.lost()
	r.mu.Lock()
	defer r.mu.Unlock()
	status := r.self.Status
	if lost {
		status = Unreachable
	}
	for _, m := range r.told {
		if m.ID == r.self.ID {
			return m.Status != status
		}
	}
	return true
}

// lose has the node know that its lease has run out.
func (r *Room) lose() {
	r.counts.lost.Inc()
	r.opts.Log.Warn("this node has lost touch with the cluster: it serves nothing until it can renew its lease")
	if r.opts.Lost != nil {
		r.opts.Lost()
	}
}

// hold takes in that the own row was stored. Whoever was lost is valid again only
// now: after Lost has returned.
func (r *Room) hold(begun time.Time, lost bool) {
	r.mu.Lock()
	r.core.own = begun
	r.mu.Unlock()
	if !lost && r.lease.begun.Load() != nil {
		return // renewed by who wrote it
	}
	r.lease.begin(begun)
	if !lost {
		return
	}
	r.mu.Lock()
	r.core.back(r.opts.Now())
	r.mu.Unlock()
	r.opts.Log.Warn("this node is back in touch with the cluster")
	if r.opts.Found != nil {
		r.opts.Found()
	}
}

// act does what is to be done about others.
func (r *Room) act(list []doing) error {
	for _, d := range list {
		m := d.peer
		switch d.what {
		case joined:
			if r.opts.Joined != nil {
				r.opts.Joined(m)
			}
		case died:
			r.counts.died.Inc()
			if r.opts.Died != nil {
				r.opts.Died(m.ID)
			}
		case remove:
			r.mu.Lock()
			r.removal = append(r.removal, m.ID)
			r.mu.Unlock()
		case foreign:
			if r.member() {
				r.opts.Log.Warn("a node is refused: it speaks no version of the protocol between nodes that this one speaks", "node", m.Name, "addr", m.Address, "version", m.Version)
			}
		case replaced:
			return fmt.Errorf("another node has begun under the name %s, at %s: this one ends; each node needs a cluster.node of its own", m.Name, m.Address)
		case passed:
			r.counts.passed.Inc()
		case uneven:
			r.opts.Log.Warn("a node has another cluster.lease, which must be the same on all", "node", m.Name, "addr", m.Address, "its", m.Lease, "own", r.opts.Lease)
		}
	}
	return nil
}

func (r *Room) member() bool {
	select {
	case <-r.in:
		return true
	default:
		return false
	}
}

// join makes this node a member as soon as its row is stored and it is known that
// nobody refuses it.
func (r *Room) join(now time.Time) error {
	if r.member() || !r.Valid() {
		return nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	by, known := r.core.refusal(now)
	if by != nil {
		return fmt.Errorf("node %s at %s (%s) speaks %s of the protocol between nodes, and this one (%s) %s: there is none that both speak; upgrade by way of a release that speaks both",
			by.Name, by.Address, by.Member.Version, by.speaks, r.self.Version, r.opts.Speaks)
	}
	if known {
		r.core.in = true
		close(r.in)
	}
	return nil
}

// write writes the own row at each beat, and at once when its status changes,
// until ctx ends. When a write was begun that is stored is put into stored, the
// last one only. It waits for nobody, so that the lease is renewed whatever Run's
// goroutine does.
func (r *Room) write(ctx context.Context, stored chan time.Time) {
	for beat := uint64(1); ; beat++ {
		r.measure()
		r.mu.Lock()
		self := r.self
		r.mu.Unlock()
		begun, pause := r.opts.Now(), r.opts.Every
		err := r.within(ctx, func(ctx context.Context) error {
			return r.opts.Table.Put(ctx, self.ID, encode(self, r.opts.Speaks, beat))
		})
		if err == nil {
			r.lease.renew(begun, r.opts.Now())
			select {
			case <-stored:
			default:
			}
			stored <- begun
			r.clear(ctx)
		} else if ctx.Err() == nil {
			r.counts.failed.Inc()
			r.opts.Log.Debug("this node's lease could not be renewed", "err", err)
			pause /= 4 // it is to be back soon
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause - min(pause, r.opts.Now().Sub(begun))):
		case <-r.hurry:
		}
	}
}

// within bounds a call of the table: others have to fit into the lease. What is
// asked of a leader that died just then gets no answer, and what is asked next may
// come before another is elected.
func (r *Room) within(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.opts.Lease/4)
	defer cancel()
	return f(ctx)
}

// clear removes rows of nodes that are no more. One that fails is tried again
// when its time comes again.
func (r *Room) clear(ctx context.Context) {
	r.mu.Lock()
	ids := r.removal
	r.removal = nil
	r.mu.Unlock()
	for _, id := range ids {
		if err := r.within(ctx, func(ctx context.Context) error { return r.opts.Table.Delete(ctx, id) }); err != nil {
			r.opts.Log.Debug("the row of a dead node could not be removed", "node", id, "err", err)
			return // the rest is tried again, too; the own row comes first
		}
	}
}

// leave takes the own row away.
func (r *Room) leave(ctx context.Context) {
	r.ended.Store(true)
	err := r.within(context.WithoutCancel(ctx), func(ctx context.Context) error { return r.opts.Table.Delete(ctx, r.opts.Self.ID) })
	if err != nil {
		r.opts.Log.Warn("this node could not take its leave: the others find out when its lease is over", "err", err)
	}
}
