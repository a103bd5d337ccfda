package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Message is a message that was received.
type Message struct {
	From      wire.UserID
	Content   json.RawMessage // byte for byte as it was sent
	Reference string          // the sender's own word for it, "" for none; no identity
	ID        wire.ID         // the same for every repeat; zero without Ack and for FAST messages
}

// Decode reads the content into v, as json.Unmarshal does.
func (m Message) Decode(v any) error {
	if err := json.Unmarshal(m.Content, v); err != nil {
		return fmt.Errorf("decode a message from %s: %w", m.From, err)
	}
	return nil
}

// arrival is a frame on its way to a handler.
type arrival struct {
	link  *link
	frame wire.ServerFrame
	taken bool // someone waited for it: no callback

	raw    []byte // all of the frame, for a link
	broken bool   // it cannot be read
}

// handle calls the handlers, until drain is closed and the inbox is empty, or
// ctx has ended.
func (c *Client) handle(ctx context.Context) {
	defer close(c.handled)
	var acks acks
	defer acks.flush()
	for {
		select {
		case a := <-c.inbox:
			c.arrive(ctx, &acks, a)
		case <-c.drain:
			for ctx.Err() == nil && len(c.inbox) > 0 {
				c.arrive(ctx, &acks, <-c.inbox)
			}
			return
		}
	}
}

// arrive handles one frame, and acknowledges if it is time to.
func (c *Client) arrive(ctx context.Context, acks *acks, a arrival) {
	if c.opts.Link && a.forLink() {
		c.forward(ctx, a)
		return
	}
	reliable := !a.frame.ID.IsZero()
	switch {
	case reliable && a.link.refused: // one before it was not handled: both come again
		return
	case reliable && c.seen.has(a.frame.ID):
		acks.add(a)
	default:
		err := c.dispatch(ctx, a)
		if err != nil {
			c.opts.Logger.Warn("a handler failed", "user", c.opts.UserID, "err", err)
		}
		if !reliable {
			break
		}
		if err != nil {
			a.link.refused = true
			acks.flush()
			a.link.fail(fmt.Errorf("the handler failed: %w", err))
			return
		}
		c.seen.add(a.frame.ID, c.opts.Seen)
		acks.add(a)
	}
	if len(c.inbox) == 0 || acks.count >= c.opts.AckEvery || acks.late() {
		acks.flush()
	}
}

// forLink says whether a frame is for a link's only handler. That is a FORWARD, and
// what a neighbour must not send: no other handler is there for a MESSAGE, and
// whatever has an ID would be acknowledged here, with all FORWARDs before it.
func (a *arrival) forLink() bool {
	return a.broken || a.frame.Type == wire.TypeForward || a.frame.Type == wire.TypeMessage || !a.frame.ID.IsZero()
}

// forward handles one frame of a link.
func (c *Client) forward(ctx context.Context, a arrival) {
	if a.link.refused {
		return
	}
	if err := c.opts.OnForward(ctx, a.raw); err != nil {
		a.link.refused = true
		a.link.fail(fmt.Errorf("the handler failed: %w", err))
	}
}

// dispatch calls the handler of a frame. Only OnMessage can fail.
func (c *Client) dispatch(ctx context.Context, a arrival) error {
	o, f := &c.opts, a.frame
	switch f.Type {
	case wire.TypeMessage:
		from, content, err := wire.ParseDelivery(f.Data)
		if err != nil {
			o.Logger.Warn("a message of the server cannot be read", "err", err)
			return nil
		}
		return o.OnMessage(ctx, Message{From: from, Content: content, Reference: readString(f.Reference), ID: f.ID})
	case wire.TypeConfirmation:
		if o.OnConfirmation != nil && !a.taken {
			o.OnConfirmation(readReceipt(f.Data))
		}
	case wire.TypeStored:
		if o.OnStored != nil && !a.taken {
			o.OnStored(readReceipt(f.Data))
		}
	case wire.TypeUserConnected, wire.TypeUserDisconnected:
		if o.OnPresence != nil {
			o.OnPresence(readUser(f.Data), f.Type == wire.TypeUserConnected)
		}
	case wire.TypeFetchComplete:
		a.link.fetched(readLeft(f.Data))
	case wire.TypeGeneralError, wire.TypeInvalidMessage, wire.TypeDeliverFailed:
		if o.OnError != nil && !a.taken {
			o.OnError(readError(f))
		}
	default:
		if o.OnFrame != nil {
			o.OnFrame(f)
		}
	}
	return nil
}

// acks gathers acknowledgements, which are cumulative. It belongs to the
// handlers' goroutine.
type acks struct {
	link  *link
	last  wire.ID
	count int       // handled since the last acknowledgement
	since time.Time // when the first of them was
}

// add notes that a frame is to be acknowledged.
func (k *acks) add(a arrival) {
	if k.link != a.link {
		k.flush()
		k.link = a.link
	}
	if k.count == 0 {
		k.since = time.Now()
	}
	k.last = a.frame.ID
	k.count++
}

func (k *acks) late() bool { return k.count > 0 && time.Since(k.since) >= ackAtLeast }

// flush acknowledges. If the link is broken the server gives the frames again,
// and they are known then.
func (k *acks) flush() {
	if k.count > 0 {
		_ = k.link.write(context.Background(), appendAck(nil, k.last), nil)
	}
	k.count = 0
}
