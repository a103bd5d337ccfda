package api

import (
	"context"
	"sync"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// mostFailures is how many of those whom a broadcast does not reach are named.
const mostFailures = 100

// broadcastAnswer says whom a broadcast reaches.
type broadcastAnswer struct {
	Receivers int       `json:"receivers"`
	Sessions  *int      `json:"sessions,omitzero"` // FAST only
	Refused   int       `json:"refused,omitzero"`
	Failed    []failure `json:"failed,omitzero"` // the first of them

	repeated bool
}

// Replayed implements what call.go says.
func (a broadcastAnswer) Replayed() bool { return a.repeated }

// broadcastBody is what wire.ParseBroadcast reads.
type broadcastBody struct {
	Content   jsontext.Value `json:"content"`
	From      wire.UserID    `json:"from,omitzero"`
	App       string         `json:"app,omitzero"`
	Feature   string         `json:"feature,omitzero"`
	Reference string         `json:"reference,omitzero"`
	TTL       int64          `json:"ttl,omitzero"`
}

type broadcastRequest struct {
	Once *Once
	Body Raw[broadcastBody] `body:"json"`
}

// broadcast sends a message to everybody of an app who is connected.
func (r Rooms) broadcast(ctx context.Context, who Identity, q broadcastRequest) (broadcastAnswer, error) {
	if err := checkText(q.Body); err != nil {
		return broadcastAnswer{}, err
	}
	limits := r.Messages()
	parsed, wrong := wire.ParseBroadcast(q.Body)
	if wrong != nil {
		return broadcastAnswer{}, fromBody(wrong)
	}
	from, refused := r.sender(parsed.From, parsed.App, who)
	if refused != nil {
		return broadcastAnswer{}, refused
	}
	if n := frameBytes(from, &parsed); n > limits.Frame {
		return broadcastAnswer{}, tooLong(n, limits.Frame)
	}
	ctx, cancel := context.WithTimeout(ctx, limits.Wait)
	defer cancel()
	var misses misses
	reached, err := r.Hub.Broadcast(ctx, &delivery.Send{
		From: from, Content: parsed.Content, Reference: parsed.Reference, Fast: parsed.Fast, TTL: parsed.TTL, Origin: &misses,
	}, q.Once.of(1))
	if err != nil {
		return broadcastAnswer{}, unanswered(err, true)
	}
	return misses.answer(reached, parsed.Fast)
}

// misses are those whom a broadcast does not reach, and its origin.
type misses struct {
	mu    sync.Mutex
	first *wire.Error // that concerns all, not one mailbox
	count int
	named []failure
}

// Stored implements delivery.Origin.
func (m *misses) Stored(wire.ID, []byte) {}

// Failed implements delivery.Origin.
func (m *misses) Failed(e *wire.Error, _ []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if e.Code != wire.CodeMailboxFull && m.first == nil {
		m.first = e
	}
	m.count += len(e.To)
	few := *e
	few.To = e.To[:min(len(e.To), mostFailures-len(m.named))]
	m.named = append(m.named, failuresOf(&few)...)
}

func (m *misses) answer(reached delivery.Reached, fast bool) (broadcastAnswer, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.first != nil && reached.Receivers == 0 {
		return broadcastAnswer{}, FromWire(m.first)
	}
	a := broadcastAnswer{Receivers: reached.Receivers, Refused: m.count, Failed: m.named, repeated: reached.Repeated}
	if fast {
		a.Sessions = &reached.Sessions
	}
	return a, nil
}
