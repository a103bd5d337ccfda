package client

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// MatchRequest says with whom a user wants to be matched. Only Pool is needed; what the
// others mean, and what is left out, docs/matching.md says.
type MatchRequest struct {
	Pool       string         `json:"pool"`
	Lat        *float64       `json:"lat,omitempty"` // degrees, with Lon
	Lon        *float64       `json:"lon,omitempty"`
	Radius     float64        `json:"radius,omitempty"` // metres
	Key        string         `json:"key,omitempty"`
	Gesture    string         `json:"gesture,omitempty"` // bump, swipe-left, swipe-right, swipe-up, swipe-down
	Min        int            `json:"min,omitempty"`     // members, this one included
	Max        int            `json:"max,omitempty"`
	Properties map[string]any `json:"properties,omitempty"` // numbers, strings, lists of strings
	Query      map[string]any `json:"query,omitempty"`
	Widen      map[string]any `json:"widen,omitempty"`
	Timeout    float64        `json:"timeout,omitempty"`  // seconds
	Patience   float64        `json:"patience,omitempty"` // seconds
	Policy     string         `json:"policy,omitempty"`   // oldest or nearest
}

// Match takes part in a pool and returns the ticket, which waits. What comes of it comes
// to OnFrame, maybe before Match returns: wire.TypeMatched, wire.TypeMatchTimeout, or
// wire.TypeMatchCanceled, with the ticket in their Data (see Matched).
func (c *Client) Match(ctx context.Context, q MatchRequest) (ticket wire.ID, err error) {
	f, err := c.Ask(ctx, wire.TypeMatchRequest, q)
	if err != nil {
		return wire.ID{}, err
	}
	var data struct {
		Ticket wire.ID `json:"ticket"`
	}
	if err := json.Unmarshal(f.Data, &data); err != nil {
		return wire.ID{}, fmt.Errorf("client: read what the server answered: %w", err)
	}
	return data.Ticket, nil
}

// CancelMatch takes a ticket back that waits.
func (c *Client) CancelMatch(ctx context.Context, ticket wire.ID) error {
	_, err := c.Ask(ctx, wire.TypeMatchCancel, map[string]string{"ticket": ticket.String()})
	return err
}

// LeaveMatch leaves a match.
func (c *Client) LeaveMatch(ctx context.Context, match wire.ID) error {
	_, err := c.Ask(ctx, wire.TypeMatchLeave, map[string]string{"match": match.String()})
	return err
}

// MatchSend says how a message of a match goes: FAST to all others, unless something
// else is said.
type MatchSend struct {
	To       []wire.UserID // members; none: all others
	Reliable bool
	// Reference comes back in OnError when the message is refused, and of a RELIABLE one
	// in OnStored with Options.Receipts, and in OnConfirmation when it has one receiver.
	Reference string
}

// SendMatch sends a message to other members of a match. nil means that it has left this
// process.
func (c *Client) SendMatch(ctx context.Context, match wire.ID, content any, how MatchSend) error {
	data := struct {
		Match   wire.ID       `json:"match"`
		Content any           `json:"content"`
		To      []wire.UserID `json:"to,omitempty"`
	}{match, content, how.To}
	raw, err := encode(data)
	if err != nil {
		return fmt.Errorf("client: encode the message: %w", err)
	}
	frame := append(appendType(nil, wire.TypeMatchMessage), raw...)
	if how.Reliable {
		frame = append(frame, `,"feature":"RELIABLE"`...)
	}
	if how.Reference != "" {
		frame = wire.AppendString(append(frame, `,"reference":`...), how.Reference)
	}
	frame = append(frame, '}')
	if len(frame) > c.opts.MaxFrame {
		return fmt.Errorf("%w: %d bytes, the limit is %d", ErrTooLarge, len(frame), c.opts.MaxFrame)
	}
	l, err := c.current()
	if err != nil {
		return err
	}
	return l.write(ctx, frame, nil)
}

// Matched is the Data of a wire.TypeMatched, for json.Unmarshal.
type Matched struct {
	Match      wire.ID                    `json:"match"`
	Ticket     wire.ID                    `json:"ticket"`
	Pool       string                     `json:"pool"`
	Peers      []wire.UserID              `json:"peers"`
	Properties map[wire.UserID]Properties `json:"properties"`
	Ambiguous  bool                       `json:"ambiguous"`
}

// Properties are what a member of a match says of itself.
type Properties map[string]any

// MatchMessage is the Data of a wire.TypeMatchMessage, for json.Unmarshal.
type MatchMessage struct {
	Match   wire.ID         `json:"match"`
	From    wire.UserID     `json:"from"`
	Content json.RawMessage `json:"content"`
}

// PeerLeft is the Data of a wire.TypeMatchPeerLeft, for json.Unmarshal.
type PeerLeft struct {
	Match wire.ID     `json:"match"`
	Pool  string      `json:"pool"`
	Peer  wire.UserID `json:"peer"`
	Ended bool        `json:"ended"`
}
