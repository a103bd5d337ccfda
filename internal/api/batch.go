package api

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// batchAnswer says what became of each message, in the request's order.
type batchAnswer struct {
	results  []outcome
	repeated bool
}

func (batchAnswer) shape() reflect.Type {
	return reflect.TypeFor[struct {
		Results []struct {
			ID           string    `json:"id,omitzero"`
			Status       string    `json:"status"`
			Sessions     *int      `json:"sessions,omitzero"`
			Code         string    `json:"code,omitzero"`
			Reason       string    `json:"reason,omitzero"`
			Field        string    `json:"field,omitzero"`
			MayYetArrive bool      `json:"mayYetArrive,omitzero"`
			Failed       []failure `json:"failed,omitzero"`
		} `json:"results"`
	}]()
}

// Replayed implements what call.go says.
func (a batchAnswer) Replayed() bool { return a.repeated }

// Unsettled says that some was refused which may be accepted when the batch is
// sent again: the store knows what it has.
func (a batchAnswer) Unsettled() bool {
	return slices.ContainsFunc(a.results, func(out outcome) bool { return out.refusal != nil && passes(out.refusal.Code) })
}

// passes says whether the reason for a refusal may be gone in a while.
func passes(code string) bool {
	switch code {
	case wire.CodeTimeout, wire.CodeStoreDown, wire.CodeStoreFull, wire.CodeOverloaded, wire.CodeMailboxFull:
		return true
	}
	return false
}

// appendJSON implements appender.
func (a batchAnswer) appendJSON(b []byte) []byte {
	const usual = 80 // bytes of a result
	b = append(make([]byte, 0, len(b)+usual*len(a.results)+32), b...)
	b = append(b, `{"results":[`...)
	for i := range a.results {
		if i > 0 {
			b = append(b, ',')
		}
		b = a.results[i].appendJSON(b)
	}
	return append(b, `]}`...)
}

// batchBody is what wire.ParseSubmissions reads.
type batchBody struct {
	Messages []messageBody `json:"messages"`
}

type batchRequest struct {
	Once *Once
	Body Raw[batchBody] `body:"json"`
}

// sendBatch sends many messages. Each stands for itself: what is wrong with one
// stops no other.
func (r Rooms) sendBatch(ctx context.Context, who Identity, q batchRequest) (batchAnswer, error) {
	if err := checkText(q.Body); err != nil {
		return batchAnswer{}, err
	}
	limits := r.Messages()
	items, wrong := wire.ParseSubmissions(q.Body, limits.Batch, limits.Receivers)
	if wrong != nil {
		return batchAnswer{}, fromBody(wrong)
	}
	s := newShipment(len(items))
	for i := range items {
		o := &s.list[i]
		if o.wrong = fromBody(items[i].Wrong); o.wrong != nil {
			continue // its field says already which message it is of
		}
		if o.wrong = r.fill(o, &items[i].Submission, who, &limits); o.wrong != nil && o.wrong.Field != "" {
			o.wrong.Field = fmt.Sprintf("messages[%d].%s", i, o.wrong.Field)
		}
	}
	ctx, cancel := context.WithTimeout(ctx, limits.Wait)
	defer cancel()
	err := s.send(ctx, r.Hub, q.Once)
	if err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return batchAnswer{}, err
	}
	if refused := s.mismatch(); refused != nil {
		return batchAnswer{}, refused
	}
	answer := batchAnswer{results: make([]outcome, len(s.list)), repeated: err == nil && s.repeated()}
	for i := range s.list {
		answer.results[i] = s.outcome(&s.list[i])
	}
	return answer, nil
}
