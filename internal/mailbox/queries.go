package mailbox

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// maxLooks is how many callers read bodies from the log at once.
	maxLooks = 2
	// peekBytes is how many bytes the frames of one page have, unless a single one
	// is longer.
	peekBytes = 1 << 20
	// peekBatches is in how many batches of the log the messages of one page may
	// stand: each may have to be read.
	peekBatches = 256
	// mailboxAttempts is how often the oldest message is looked for that is gone
	// when it is to be read.
	mailboxAttempts = 10
)

// Mailbox is what is stored for one user and not proved.
type Mailbox struct {
	Messages int
	Bytes    int64     // of their frames
	Oldest   time.Time // when the oldest was accepted; zero when there is none
	Dropped  uint64    // events of a subscriber's that found it full, since the start
}

// Waiting is one message in a mailbox.
type Waiting struct {
	Place    uint64 // where it stands; rises, and never changes
	ID       wire.ID
	Frame    []byte // as a session would get it, without "id"
	Accepted time.Time
	Expires  time.Time // zero: never
}

// Mailbox returns what is in a user's mailbox, what is on its way to a session
// included. Like the other questions it waits until the keeper has done what it
// was told before, at most as long as ctx allows. Its errors are ctx's, the
// log's, or a *wire.Error.
func (k *Keeper) Mailbox(ctx context.Context, user wire.UserID) (Mailbox, error) {
	for attempt := 1; ; attempt++ {
		m, err := ask(ctx, k, func(c *core, now time.Time) measured { return c.measure(now, user) })
		if err != nil {
			return Mailbox{}, err
		}
		list, err := k.readPage(ctx, user, m.oldest)
		switch {
		case err != nil:
			return Mailbox{}, fmt.Errorf("read the oldest message of %s: %w", user, err)
		case len(list) > 0:
			m.Oldest = list[0].Accepted
			return m.Mailbox, nil
		case m.Messages == 0 || attempt == mailboxAttempts:
			return m.Mailbox, nil
		}
		// It was proved meanwhile.
	}
}

// Peek returns the messages in a user's mailbox that stand behind the place
// after, in order, and whether there are more: at most limit, fewer when they are
// long. They stay where they are. Messages that expire, are proved or arrive
// between two calls are in a later one or not, all others in exactly one.
func (k *Keeper) Peek(ctx context.Context, user wire.UserID, after uint64, limit int) (list []Waiting, more bool, err error) {
	for {
		p, err := ask(ctx, k, func(c *core, now time.Time) page {
			return c.look(now, user, after, limit, peekBytes).within(peekBatches)
		})
		if err != nil || len(p.spots) == 0 {
			return nil, false, err
		}
		after = p.spots[len(p.spots)-1].ord
		list, err := k.readPage(ctx, user, p)
		if err != nil {
			return nil, false, fmt.Errorf("read the mailbox of %s: %w", user, err)
		}
		if len(list) > 0 || !p.more {
			return list, p.more, nil
		}
	}
}

// Clear takes out of a user's mailbox what is stored there and on its way to no
// session, and returns how many messages that were, when it is on disk that they
// are gone. Nobody is told, neither their senders. When ctx ends first, or with
// an error that MayYetArrive, it may happen all the same.
func (k *Keeper) Clear(ctx context.Context, user wire.UserID) (removed int, err error) {
	return k.errand(ctx, "the mailbox may yet be emptied", func(c *core, _ time.Time, receipt *Message) (int, bool) {
		return c.clear(user, receipt)
	})
}

// errand has f change the core, and waits until what it wrote is on disk. f says
// whether receipt is answered then; else it was at once. perhaps is what the caller
// hears when nobody knows whether it was written.
func (k *Keeper) errand(ctx context.Context, perhaps string, f func(c *core, now time.Time, receipt *Message) (n int, waits bool)) (n int, err error) {
	e := &errand{done: make(chan *wire.Error, 1)}
	receipt := &Message{Origin: e, Receipt: true}
	n, err = ask(ctx, k, func(c *core, now time.Time) int {
		n, waits := f(c, now, receipt)
		if waits {
			k.pending.Add(messageCost(receipt))
		} else {
			e.done <- nil
		}
		return n
	})
	if err != nil {
		return 0, err
	}
	select {
	case failure := <-e.done:
		switch {
		case failure == nil:
			return n, nil
		case failure.MayYetArrive:
			return 0, &wire.Error{
				Kind: failure.Kind, Code: failure.Code, MayYetArrive: true,
				Reason: "the message store did not answer; " + perhaps,
			}
		}
		return 0, failure
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the message store: %w", ctx.Err())
	}
}

// errand is the origin of what is written for a caller who waits for it.
type errand struct{ done chan *wire.Error }

// Stored implements Origin.
func (e *errand) Stored(wire.ID, []byte) { e.done <- nil }

// Failed implements Origin.
func (e *errand) Failed(err *wire.Error, _ []byte) { e.done <- err }

// ask has f look at the core in the keeper's own goroutine, and returns what it
// returns.
func ask[T any](ctx context.Context, k *Keeper, f func(c *core, now time.Time) T) (T, error) {
	type answer struct {
		value T
		err   error
	}
	answers := make(chan answer, 1)
	k.post(event{kind: evAsk, ask: func(c *core, now time.Time) {
		switch {
		case c == nil:
			answers <- answer{err: storeDown("the server is stopping; try again")}
		case c.down:
			answers <- answer{err: storeDown("the message store does not answer; try again")}
		default:
			answers <- answer{value: f(c, now)}
		}
	}})
	select {
	case a := <-answers:
		return a.value, a.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("wait for the keeper: %w", ctx.Err())
	}
}

func storeDown(reason string) *wire.Error {
	return &wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeStoreDown, Reason: reason}
}

// within cuts a page so that its messages stand in at most so many batches.
func (p page) within(batches int) page {
	last := uint64(0)
	for i := range p.spots {
		if s := &p.spots[i]; !s.read && s.seq != last {
			if last = s.seq; batches == 0 {
				p.spots, p.more = p.spots[:i], true
				break
			}
			batches--
		}
	}
	return p
}

// readPage reads those messages of a page that are not in memory, outside of the
// keeper's goroutine. What was copied forward meanwhile is looked for again, what
// waits no longer is left out.
func (k *Keeper) readPage(ctx context.Context, user wire.UserID, p page) ([]Waiting, error) {
	spots, err := k.readWhole(ctx, user, p)
	if err != nil {
		return nil, err
	}
	list := make([]Waiting, len(spots))
	for i := range spots {
		list[i] = p.waiting(&spots[i])
	}
	return list, nil
}

// readWhole is readPage for who wants all of each message.
func (k *Keeper) readWhole(ctx context.Context, user wire.UserID, p page) ([]spot, error) {
	list := make([]spot, 0, len(p.spots))
	for spots := p.spots; len(spots) > 0; {
		lost, err := k.readSpots(ctx, spots)
		if err != nil {
			return nil, err
		}
		for i := range spots {
			if spots[i].read {
				list = append(list, spots[i])
			}
		}
		if len(lost) == 0 {
			break
		}
		if spots, err = ask(ctx, k, func(c *core, _ time.Time) []spot { return c.lookAgain(user, lost) }); err != nil {
			return nil, err
		}
		spots = slices.DeleteFunc(spots, func(s spot) bool { return k.lostForGood(&s, lost) })
	}
	slices.SortFunc(list, func(a, b spot) int { return int(int64(a.ord) - int64(b.ord)) })
	return list, nil
}

// lostForGood says whether a message is not where the keeper still says that it
// is. That should never be; the keeper gives it up when it is to be delivered.
func (k *Keeper) lostForGood(s *spot, lost []spot) bool {
	for i := range lost {
		if lost[i].ord == s.ord && lost[i].seq == s.seq && !s.read {
			k.opts.Logger.Error("a message is not in the log, where it should be", "batch", s.seq)
			return true
		}
	}
	return false
}

// readSpots reads what is not in memory, and returns what is not in the log any
// more where it was.
func (k *Keeper) readSpots(ctx context.Context, spots []spot) (lost []spot, err error) {
	if !slices.ContainsFunc(spots, func(s spot) bool { return !s.read }) {
		return nil, nil
	}
	select {
	case k.looks <- struct{}{}:
		defer func() { <-k.looks }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	var seq uint64
	var batch []byte
	for i := range spots {
		s := &spots[i]
		if s.read {
			continue
		}
		if s.seq != seq {
			if batch, err = k.readBatch(ctx, s.seq); err != nil {
				return nil, err
			}
			seq = s.seq
		}
		if batch == nil {
			lost = append(lost, *s)
			continue
		}
		if !s.take(batch) {
			return nil, fmt.Errorf("batch %d has no message %d at %d", s.seq, s.ord, s.off)
		}
		s.own() // the rest of the batch is not to be kept
	}
	return lost, nil
}

// readBatch reads and checks a batch; nil without an error when it was purged.
func (k *Keeper) readBatch(ctx context.Context, seq uint64) ([]byte, error) {
	batch, err := k.opts.Log.Read(ctx, seq)
	if errors.Is(err, ErrGone) {
		return nil, nil
	}
	if err == nil {
		_, _, err = openBatch(batch)
	}
	if err != nil {
		return nil, fmt.Errorf("batch %d: %w", seq, err)
	}
	return batch, nil
}

func (p *page) waiting(s *spot) Waiting {
	w := Waiting{Place: s.ord, ID: s.id, Frame: s.frame, Accepted: p.accepted(s)}
	if s.expires != 0 {
		w.Expires = time.Unix(int64(s.expires), 0).UTC()
	}
	return w
}
