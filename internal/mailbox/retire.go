package mailbox

import (
	"errors"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// validAgain is how soon a keeper that may do nothing looks whether it may again.
const validAgain = 50 * time.Millisecond

// valid says whether this node still owns the shard.
func (k *Keeper) valid() bool { return k.opts.Valid == nil || k.opts.Valid() }

// Retire has the keeper stop serving, in good order: what was accepted is stored,
// Run returns, and what is accepted later goes to Options.Returned. What happens
// to this node's sessions meanwhile is in Held.
func (k *Keeper) Retire() { k.retireOnce.Do(func() { close(k.retire) }) }

// Held returns this node's sessions, for the next keeper, once, after Run has
// returned because of Retire or ErrRetired. What is told this keeper of them from
// then on is lost. Those of a mailbox Relay are left out: they end with the keeper
// of its shard.
func (k *Keeper) Held() []Held {
	k.mu.Lock()
	events := k.inbox
	k.inbox, k.taken = nil, true
	k.mu.Unlock()
	now := k.opts.Now()
	for i := range events {
		k.step(now, &events[i])
	}
	c := k.core
	clear(c.effects) // nobody is told: the next keeper does that
	c.effects = c.effects[:0]
	var list []Held
	for _, s := range c.sessions {
		if s.Node == k.opts.Node && !s.user.relay {
			list = append(list, s.held())
		}
	}
	slices.SortFunc(list, func(a, b Held) int { return compareIDs(a.ID, b.ID) })
	return list
}

// leave ends a keeper whose shard goes to another one. In good order, what was
// posted before is done, and what was collected is stored.
func (k *Keeper) leave(w *worker, inOrder bool) {
	if inOrder && !k.core.down && k.valid() {
		k.take(w, k.opts.Now())
		k.finish(w)
	}
	k.retiring.Store(true)
	c := k.core
	if !c.down {
		c.lose(ErrUnknown, k.opts.Returned != nil)
	}
	c.over, c.holding = true, false
	k.ready.Store(false)
	k.perform()
	for _, m := range c.unsent {
		k.giveUp(m)
	}
	c.unsent = nil
	k.handBack()
	k.publish()
	k.metrics.unregister()
}

// finish stores what was collected, as far as the log takes it in time.
func (k *Keeper) finish(w *worker) {
	w.hurry = true
	deadline := time.NewTimer(flushTime)
	defer deadline.Stop()
	for {
		k.perform()
		k.land(w, k.opts.Now())
		k.send(w)
		if k.core.down || k.core.journal.idle() || !k.valid() {
			return
		}
		select {
		case <-k.wake:
		case <-deadline.C:
			k.opts.Logger.Warn("the message log did not take everything in time", "batches", len(k.core.journal.queue))
			return
		}
	}
}

// handBack gives back what is in the inbox, in order, and closes it. What was told
// of sessions stays, for Held.
func (k *Keeper) handBack() {
	var rest []event
	for {
		k.mu.Lock()
		events := k.inbox
		if k.inbox = nil; len(events) == 0 {
			k.inbox, k.closed, k.retired = rest, true, true
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		for i := range events {
			if events[i].ofSession() {
				rest = append(rest, events[i])
			} else {
				k.afterStop(&events[i])
			}
		}
	}
}

// ofSession says whether an event is about this node's sessions.
func (ev *event) ofSession() bool {
	switch ev.kind {
	case evOpen, evClose, evProof, evPass, evProveEach, evFetch, evReopen:
		return true
	}
	return false
}

// giveUp gives a message back that never went to the log.
func (k *Keeper) giveUp(m *Message) {
	if k.opts.Returned == nil {
		k.refuseStopped(m)
		return
	}
	k.pending.Add(-messageCost(m))
	k.opts.Returned(m)
}

// errRetired is what a caller hears who is to ask the next keeper.
func errRetired() *wire.Error {
	return storeDown("another node takes this part of the store over; try again")
}

// isRetired says whether the log did not come back because another node owns it.
func isRetired(err error) bool { return errors.Is(err, ErrRetired) }
