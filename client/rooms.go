package client

import (
	"context"
	"fmt"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Ask sends a frame about rooms, such as wire.TypeRoomSend, about matches, such as
// wire.TypeMatchRequest, or about positions, such as wire.TypeNearbyWatch, and returns the frame that answers it, whose Data is for
// json.Unmarshal. data is a json.RawMessage, or any other value that encoding/json makes an
// object of. What the server refuses comes as a *wire.Error.
//
// When ctx ends, or the connection is lost, which is ErrNotConnected, what was asked for
// may have been done: a message is sent again with the same clientId, and stored once.
// News of rooms, matches and positions come to OnFrame.
func (c *Client) Ask(ctx context.Context, t wire.Type, data any) (wire.ServerFrame, error) {
	if !isAnswered(t) {
		return wire.ServerFrame{}, fmt.Errorf("client: %s is no frame about rooms, matches or positions that is answered", t)
	}
	raw, err := encode(data)
	if err != nil {
		return wire.ServerFrame{}, fmt.Errorf("client: encode the data: %w", err)
	}
	reference, err := newReference()
	if err != nil {
		return wire.ServerFrame{}, err
	}
	frame := append(appendType(nil, t), raw...)
	frame = append(wire.AppendString(append(frame, `,"reference":`...), reference), '}')
	if len(frame) > c.opts.MaxFrame {
		return wire.ServerFrame{}, fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(frame), c.opts.MaxFrame)
	}
	refused, err := c.await(reference)
	if err != nil {
		return wire.ServerFrame{}, err
	}
	defer c.forget(reference)
	answer := c.expect(reference)
	defer c.expectNot(reference)
	l, err := c.current()
	if err != nil {
		return wire.ServerFrame{}, err
	}
	if err := l.write(ctx, frame, nil); err != nil {
		return wire.ServerFrame{}, err
	}
	select {
	case f := <-answer:
		return f, nil
	case err := <-refused:
		return wire.ServerFrame{}, err
	case <-ctx.Done():
		return wire.ServerFrame{}, ctx.Err()
	case <-c.closing:
		return wire.ServerFrame{}, ErrClosed
	case <-l.done:
		return wire.ServerFrame{}, ErrNotConnected
	}
}

// isAnswered says whether a client's frame of a type is answered by one with its reference.
func isAnswered(t wire.Type) bool {
	return t.FromClient() && (t.OfRooms() && t != wire.TypeRoomTyping || t.OfMatches() && t != wire.TypeMatchMessage) ||
		t == wire.TypePositionHide || t == wire.TypeNearbyWatch
}

// Typing tells the others in a room that the user is writing.
func (c *Client) Typing(ctx context.Context, room wire.ID) error {
	l, err := c.current()
	if err != nil {
		return err
	}
	frame := append(appendType(nil, wire.TypeRoomTyping), `{"room":"`...)
	frame, _ = room.AppendText(frame)
	return l.write(ctx, append(frame, `"}}`...), nil)
}

// appendType begins a frame, up to its data.
func appendType(dst []byte, t wire.Type) []byte {
	return append(append(append(dst, `{"type":"`...), t.String()...), `","data":`...)
}

// expect registers who waits for the answer with a reference.
func (c *Client) expect(reference string) <-chan wire.ServerFrame {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.asked == nil {
		c.asked = make(map[string]chan wire.ServerFrame)
	}
	answer := make(chan wire.ServerFrame, 1)
	c.asked[reference] = answer
	return answer
}

func (c *Client) expectNot(reference string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.asked, reference)
}

// answered hands an answer to whoever waits for it, and says whether it is for nobody
// else: what is around is news, too, so that all frames about it are in one order.
func (c *Client) answered(f wire.ServerFrame) bool {
	if !f.Type.OfRooms() && !f.Type.OfMatches() && !f.Type.OfPositions() || f.Type == wire.TypeMatchMessage || f.Reference == nil {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	answer := c.asked[readString(f.Reference)]
	if answer == nil {
		return false
	}
	delete(c.asked, readString(f.Reference))
	answer <- f
	return f.Type != wire.TypeNearby
}
