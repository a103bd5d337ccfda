package shards

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// maxAsking is how many questions of other nodes are answered at once.
	maxAsking = 16
	// askTime bounds the answer of one.
	askTime = 10 * time.Second
)

type askKind string

const (
	askMailbox askKind = "mailbox"
	askPeek    askKind = "peek"
	askClear   askKind = "clear"
)

// question is what somebody wants to know of a mailbox that may be elsewhere.
type question struct {
	What  askKind
	User  wire.UserID
	After uint64 `json:",omitempty"`
	Limit int    `json:",omitempty"`
}

// page is the answer to askPeek.
type page struct {
	List []mailbox.Waiting
	More bool
}

// answer is what came of a question.
type answer struct {
	Value   json.RawMessage `json:",omitempty"`
	Failure *wire.Error     `json:",omitempty"`
	Error   string          `json:",omitempty"`
	Again   bool            `json:",omitempty"` // nothing: the keeper ends; ask the next one
}

func (a *answer) err() error {
	switch {
	case a.Failure != nil:
		return a.Failure
	case a.Error != "":
		return errors.New(a.Error)
	}
	return nil
}

// asked is a question that waits for its answer.
type asked struct {
	question question
	here     func(*mailbox.Keeper) // has a keeper of this node answer
	answer   func(value []byte, err error)
}

// repeatable says whether asking twice does no harm.
func (a *asked) repeatable() bool { return a.question.What != askClear }

// ask has the keeper of a user answer: by f, if it is here.
func ask[T any](ctx context.Context, o *Office, user wire.UserID, q question, f func(*mailbox.Keeper) (T, error)) (T, error) {
	d := o.desk(user)
	if k := d.local(); k != nil {
		return f(k)
	}
	type result struct {
		value T
		err   error
	}
	results := make(chan result, 1)
	d.accept(&request{ask: &asked{
		question: q,
		here: func(k *mailbox.Keeper) {
			go func() { // ends with f, which ctx ends
				value, err := f(k)
				results <- result{value, err}
			}()
		},
		answer: func(text []byte, err error) {
			var r result
			if r.err = err; err == nil {
				r.err = json.Unmarshal(text, &r.value)
			}
			results <- r
		},
	}})
	select {
	case r := <-results:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, fmt.Errorf("wait for the node that keeps the mailbox: %w", ctx.Err())
	}
}

// hearAnswer takes an answer in. mu is held.
func (d *desk) hearAnswer(r *reader) {
	number := r.uvarint()
	var a answer
	if r.json(&a); r.err != nil {
		return
	}
	req := d.far.requests[number]
	if req == nil || req.ask == nil {
		return
	}
	d.finish(req)
	if a.Again {
		d.giveBack(req)
		return
	}
	req.ask.answer(a.Value, a.err())
}

// ask answers a question of another node.
func (g *guest) ask(keeper *mailbox.Keeper, r *reader) {
	number := r.uvarint()
	var q question
	if r.json(&q); r.err != nil {
		return
	}
	say := func(value any, err error) {
		g.say(kindAnswer, appendJSON(appendUvarint(nil, number), answerTo(q, value, err)))
	}
	select {
	case g.d.office.asking <- struct{}{}:
	default:
		say(nil, &wire.Error{Kind: wire.KindDeliverFailed, Code: wire.CodeOverloaded, Reason: "too many look into mailboxes of this node; try again"})
		return
	}
	go func() { // ends with the keeper's answer, within askTime
		defer func() { <-g.d.office.asking }()
		ctx, cancel := context.WithTimeout(context.Background(), askTime)
		defer cancel()
		say(consult(ctx, keeper, q))
	}()
}

// answerTo returns the answer to a question. One for which the keeper took too long is a
// failure with a code, as it is where the keeper is on the node of who asks.
func answerTo(q question, value any, err error) (a answer) {
	if err == nil {
		a.Value, err = json.Marshal(value)
	}
	switch {
	case err == nil, errors.As(err, &a.Failure):
	case errors.Is(err, context.DeadlineExceeded):
		a.Failure = &wire.Error{
			Kind: wire.KindDeliverFailed, Code: wire.CodeTimeout, MayYetArrive: q.What == askClear,
			Reason: "the node that keeps the mailbox did not answer in time",
		}
	default:
		a.Error = err.Error()
	}
	return a
}

// consult asks a keeper of this node.
func consult(ctx context.Context, k *mailbox.Keeper, q question) (any, error) {
	switch q.What {
	case askMailbox:
		return k.Mailbox(ctx, q.User)
	case askPeek:
		list, more, err := k.Peek(ctx, q.User, q.After, q.Limit)
		return page{list, more}, err
	case askClear:
		return k.Clear(ctx, q.User)
	}
	return nil, fmt.Errorf("a node of a newer version asks for %q, which this one does not know", q.What)
}
