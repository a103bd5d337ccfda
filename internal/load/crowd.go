package load

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"
)

// crowdAgain is after how long those who were not reached are sent to again: a FAST
// message to a user of whom a node does not know yet is dropped.
const crowdAgain = 250 * time.Millisecond

// crowdPart is how many receivers one group message of a crowd has: with their IDs
// it stays well below limits.frame.
const crowdPart = 1000

// Crowd is what became of users who connected at once.
type Crowd struct {
	Users    int     `json:"users"`
	SignedIn float64 `json:"signedIn"` // µs, until all were signed in
	Reached  float64 `json:"reached"`  // µs, until each had got a message from each node, from the beginning
}

// crowd is a run in which all users connect at once, and then somebody on each node
// sends to all of them. The first connections are those senders.
type crowd struct {
	*talk
	senders   int
	reachedBy []uint64 // by user: the senders that have reached it, a bit each
	left      int      // pairs of a sender and a user that it has not reached
	last      time.Duration
}

// maxCrowdNodes is as many as reachedBy has bits.
const maxCrowdNodes = 64

// measureCrowd measures how long it takes until everybody is reachable.
func measureCrowd(ctx context.Context, o Options) (Run, error) {
	if len(o.URLs) > maxCrowdNodes {
		return Run{}, fmt.Errorf("a crowd comes to %d nodes at most", maxCrowdNodes)
	}
	m, err := newMeter(o.PIDs)
	if err != nil {
		return Run{}, err
	}
	users := o.Connections
	senders := len(o.URLs)
	o.Connections += senders
	o.atOnce = true
	d, err := newDriver(ctx, &o, o.Connections)
	if err != nil {
		return Run{}, err
	}
	defer d.close()
	c := &crowd{talk: newTalk(d), senders: senders, reachedBy: make([]uint64, users), left: senders * users}
	c.text, c.resumed = c.took, func(*conn) {}
	c.end = 24 * time.Hour // all of it is measured
	run := o.run()
	run.Name = fmt.Sprintf("crowd, %s at once, %s", plural(users, "connection"), plural(senders, "node"))
	run.Crowd = &Crowd{Users: users}
	if err := c.connect(ctx, 0, senders, 0); err != nil {
		return Run{}, err
	}
	before := m.moment(c.now(), c.count)
	if err := c.connect(ctx, senders, len(c.conns), 0); err != nil {
		return Run{}, err
	}
	run.Crowd.SignedIn = micro(c.now() - before.load.at)
	err = c.reach(ctx)
	after := m.moment(c.now(), c.count)
	run.Crowd.Reached = micro(c.last - before.load.at)
	run.Seconds = (after.load.at - before.load.at).Seconds()
	run.Load = costOf(m.before.load, before.load, after.load, 0, 0)
	if len(m.pids) > 0 {
		run.Server = costOf(m.before.server, before.server, after.server, 0, len(c.conns))
	}
	run.Interrupted = ctx.Err() != nil
	c.counted(&run)
	return run, errors.Join(err, m.err)
}

// reach sends to everybody from each node until all have heard from each.
func (c *crowd) reach(ctx context.Context) error {
	began := c.now()
	for c.left > 0 && ctx.Err() == nil {
		switch {
		case c.gone > 0:
			return fmt.Errorf("%d of a crowd ended too early: %w", c.gone, c.failure)
		case c.now()-began > c.o.Drain:
			return fmt.Errorf("%d of %d messages had not reached a crowd after %s", c.left, c.senders*len(c.reachedBy), c.o.Drain)
		}
		for sender := range c.senders {
			c.sendTo(sender)
		}
		for until := c.now() + crowdAgain; c.left > 0 && c.gone == 0 && c.now() < until && ctx.Err() == nil; {
			if err := c.step(until); err != nil {
				return err
			}
		}
	}
	return nil
}

// sendTo sends from one node to all that it has not reached.
func (c *crowd) sendTo(sender int) {
	var to []string
	flush := func() {
		if len(to) == 0 {
			return
		}
		from := c.conns[sender]
		from.out = c.compose.append(c.room(from), "["+strings.Join(to, ",")+"]", mark{c.run, uint32(sender), from.sent, c.now()})
		from.sent++
		c.count.sent += int64(len(to))
		c.driver.mark(from)
		to = to[:0]
	}
	for i, by := range c.reachedBy {
		if by&(1<<sender) != 0 {
			continue
		}
		if to = append(to, `"`+c.conns[c.senders+i].user+`"`); len(to) == crowdPart {
			flush()
		}
	}
	flush()
}

// took takes a text frame.
func (c *crowd) took(to *conn, payload []byte) {
	m, ok := contentMark(payload)
	if !ok {
		c.other(to, payload)
		return
	}
	user := to.id - c.senders
	if m.run != c.run || user < 0 || int(m.sender) >= c.senders {
		return
	}
	if c.reachedBy[user]&(1<<m.sender) != 0 {
		return // it was sent to again meanwhile
	}
	c.reachedBy[user] |= 1 << m.sender
	c.left--
	c.count.arrived++
	c.last = c.now()
	c.record(c.latency, m.at, c.last)
}
