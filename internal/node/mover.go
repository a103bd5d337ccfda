package node

import (
	"context"
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// movePage is how many messages are moved at once: they are in memory meanwhile, and
	// in one batch of the log.
	movePage = 100
	// moveUsers is how many mailboxes are asked for at once.
	moveUsers = 1000
	// moveHead is how much of a link's mailbox is looked at again: what was on its way
	// to the neighbour when it was looked at before, and has come back since, is among
	// the first of it (limits.linkWindow, which a session may have begun with another
	// value of).
	moveHead = 4
)

// moveAgain are the times after a change at which all is looked at again: for what
// was on its way to a session.
var moveAgain = []time.Duration{10 * time.Second, time.Minute, 5 * time.Minute}

// mover has what waits in the mailboxes that this node keeps go another way when
// there is another way now: after the description of all domains has changed, and
// after this node began to keep a shard.
type mover struct {
	abroad  *abroad
	stirred chan struct{} // holds one token when all is to be looked at
	moved   prometheus.Counter
}

func newMover(a *abroad, to prometheus.Registerer) (*mover, error) {
	m := &mover{abroad: a, stirred: make(chan struct{}, 1)}
	m.moved = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "switchboard_link_moved_total", Help: "Messages that waited and took another way, because the description of all domains had changed.",
	})
	return m, to.Register(m.moved)
}

// stir has all mailboxes looked at. It does not block.
func (m *mover) stir() {
	select {
	case m.stirred <- struct{}{}:
	default:
	}
}

// run looks at mailboxes when there is a reason, until ctx ends.
func (m *mover) run(ctx context.Context) error {
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	again := len(moveAgain)
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-m.stirred:
			again = 0
			m.strangers()
			m.pass(ctx, false)
		case <-timer.C:
			m.pass(ctx, again > 0) // the first time also what was routed just before the change, and is last
			again++
		}
		timer.Stop()
		if again < len(moveAgain) {
			timer.Reset(moveAgain[again])
		}
	}
}

// strangers closes the sessions of users who live elsewhere now, who connect again
// and are told where, and of domains that are no neighbours any more.
func (m *mover) strangers() {
	hub := m.abroad.node.hub
	if v := m.abroad.view.Load(); v != nil {
		for user := range *m.abroad.users.Load() {
			if _, ok := v.neighbours[user]; !ok {
				hub.Kick(user, wire.CloseRestart, "there is no link between these domains any more")
			}
		}
	}
	for _, app := range m.abroad.node.apps.Names() {
		after := wire.UserID("")
		for more := true; more; {
			var list []delivery.Online
			list, more = hub.Users(app, after, moveUsers)
			for _, u := range list {
				after = u.User
				if !m.abroad.Next(u.User).Local {
					hub.Kick(u.User, wire.CloseRestart, "this user lives in another domain now; connect again to be told where")
				}
			}
		}
	}
}

// pass looks at the mailboxes of all shards that this node keeps.
func (m *mover) pass(ctx context.Context, again bool) {
	office := m.abroad.node.office
	for _, shard := range office.Kept() {
		keeper := office.Keeper(shard)
		if keeper == nil {
			continue
		}
		if err := m.shard(ctx, keeper, again); err != nil && ctx.Err() == nil && !errors.Is(err, mailbox.ErrRetired) {
			m.abroad.node.log.Warn("not all of what waits could take its new way between domains; it is tried again", "shard", shard, "err", err)
			m.later()
		}
	}
}

// later has all looked at again in a moment.
func (m *mover) later() { time.AfterFunc(moveAgain[0], m.stir) }

// shard looks at the mailboxes of one shard.
func (m *mover) shard(ctx context.Context, keeper *mailbox.Keeper, again bool) error {
	for after := wire.UserID(""); ; {
		users, err := keeper.Mailboxes(ctx, after, moveUsers)
		if err != nil {
			return err
		}
		for _, user := range users {
			after = user
			// What is nobody's may be the link of a domain that was described before the start.
			if link := m.abroad.isLink(user) || !m.abroad.knows(user.App()); link || !m.abroad.Next(user).Local {
				if err := m.mailbox(ctx, keeper, user, link && again); err != nil {
					return err
				}
			}
		}
		if len(users) < moveUsers {
			return nil
		}
	}
}

// mailbox has what waits in one mailbox go its new way; with head only what is first
// in it.
func (m *mover) mailbox(ctx context.Context, keeper *mailbox.Keeper, user wire.UserID, head bool) error {
	left := int64(moveHead) * int64(m.abroad.node.limits().LinkWindow)
	for after := uint64(0); ; {
		list, more, err := keeper.Carry(ctx, user, after, movePage)
		if err != nil {
			return err
		}
		moves, bad := m.moves(user, list)
		if len(moves) > 0 {
			moved, err := keeper.Move(ctx, user, moves)
			m.moved.Add(float64(moved))
			if err != nil {
				return err
			}
		}
		if bad != nil {
			return bad
		}
		for _, c := range list {
			after, left = c.Ord, left-int64(len(c.Frame))
		}
		if !more || head && left < 0 {
			return nil
		}
	}
}

// moves says which messages of a mailbox go which other way.
func (m *mover) moves(user wire.UserID, list []mailbox.Carried) (moves []mailbox.Moved, err error) {
	for _, c := range list {
		parts, ok, bad := m.abroad.node.hub.Carry(&delivery.Carried{
			User: user, ID: c.ID, From: c.From, Group: c.Group, Notice: c.Notice, Presence: c.Presence, Quiet: c.Quiet, Confirm: c.Confirm,
			Reference: c.Reference, Expires: c.Expires, Frame: c.Frame,
		})
		err = errors.Join(err, bad)
		if !ok {
			continue
		}
		moved := mailbox.Moved{Carried: c}
		for _, p := range parts {
			moved.Parts = append(moved.Parts, mailbox.Part{To: p.To, Group: p.Group, Confirm: p.Confirm, Frame: p.Frame})
		}
		moves = append(moves, moved)
	}
	return moves, err
}
