package api

import (
	"cmp"
	"context"
	"net/http"
	"slices"
	"strconv"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// outcome says what became of one message. It writes itself: there may be a
// thousand in an answer.
type outcome struct {
	id       wire.ID
	fast     bool
	sessions int // on which a FAST one was queued
	failed   []failure
	refusal  *Refusal // nobody gets it; nil: somebody does
}

// failure is a receiver who does not get a message.
type failure struct {
	To     string `json:"to"`
	Code   string `json:"code"`
	Reason string `json:"reason"`
}

// outcome returns what is known of a message now.
func (s *shipment) outcome(o *outgoing) outcome {
	failed := badReceivers(o.bad)
	if o.wrong != nil {
		return outcome{refusal: o.wrong, failed: failed}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	refused := 0
	for _, e := range o.failures {
		refused += len(e.To)
		failed = append(failed, failuresOf(e)...)
	}
	o.sort(failed)
	out := outcome{id: o.id, fast: o.Fast, sessions: o.Sessions, failed: failed}
	switch {
	case len(o.failures) > 0 && refused >= o.count:
		out.refusal = FromWire(o.failures[0])
		if !o.Group {
			out.failed = nil // the refusal says it all
		}
	case !o.Fast && !o.stored:
		out.refusal = unanswered(context.DeadlineExceeded, true)
	}
	return out
}

// sort puts those who do not get a message in the order in which the request
// named them. Those of bad come first, in that order.
func (o *outgoing) sort(failed []failure) {
	if len(failed) < 2 {
		return
	}
	places := make(map[string]int, len(o.asked))
	for i, to := range o.asked {
		places[string(to)] = 2*i + 1
	}
	type placed struct {
		failure
		at int
	}
	list := make([]placed, len(failed))
	for i, f := range failed {
		list[i] = placed{f, places[f.To]}
		if i < len(o.badAt) {
			list[i].at = 2 * o.badAt[i]
		}
	}
	slices.SortStableFunc(list, func(a, b placed) int { return cmp.Compare(a.at, b.at) })
	for i, p := range list {
		failed[i] = p.failure
	}
}

func failuresOf(e *wire.Error) []failure {
	list := make([]failure, len(e.To))
	for i, to := range e.To {
		list[i] = failure{string(to), e.Code, e.Reason}
	}
	return list
}

// badReceivers are what stood among the receivers of a message and are none.
func badReceivers(bad []string) []failure {
	list := make([]failure, len(bad))
	for i, text := range bad {
		list[i] = failure{text, wire.CodeBadReceiver, "this is no user ID"}
	}
	return list
}

// nobody refuses a message that has no receiver at all.
func nobody() *Refusal {
	r := FromWire(&wire.Error{Code: wire.CodeBadReceiver, Reason: "none of the receivers is a user ID"})
	r.Status, r.Field = http.StatusBadRequest, "to"
	return r
}

// problem returns the refusal with those whom it concerns, if there are several.
func (out *outcome) problem() *Refusal {
	if out.refusal == nil || len(out.failed) == 0 {
		return out.refusal
	}
	r := *out.refusal
	r.More = map[string]any{"failed": out.failed}
	for name, value := range out.refusal.More {
		r.More[name] = value
	}
	return &r
}

// mismatch says whether the keeper knows the request's key from another request.
func (s *shipment) mismatch() *Refusal {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.list {
		at := slices.IndexFunc(s.list[i].failures, func(e *wire.Error) bool { return e.Code == CodeMismatch })
		if at >= 0 {
			return FromWire(s.list[i].failures[at])
		}
	}
	return nil
}

// appendJSON implements appender.
func (out outcome) appendJSON(b []byte) []byte {
	switch {
	case out.refusal != nil:
		b = out.refusal.appendResult(b)
	case out.fast:
		b = append(b, `{"status":"handed over","sessions":`...)
		b = strconv.AppendInt(b, int64(out.sessions), 10)
	default:
		b = append(b, `{"id":"`...)
		b, _ = out.id.AppendText(b) // never fails
		b = append(b, `","status":"stored"`...)
	}
	if len(out.failed) > 0 {
		b = appendFailed(append(b, ','), out.failed)
	}
	return append(b, '}')
}

// appendResult writes a refusal as one result of many, without its end.
func (r *Refusal) appendResult(b []byte) []byte {
	b = append(b, `{"status":"refused",`...)
	b = appendMember(b, "code", r.Code)
	b = appendMember(append(b, ','), "reason", r.Detail)
	if r.Field != "" {
		b = appendMember(append(b, ','), "field", r.Field)
	}
	if r.More["mayYetArrive"] == true {
		b = append(b, `,"mayYetArrive":true`...)
	}
	return b
}

func appendFailed(b []byte, failed []failure) []byte {
	b = append(b, `"failed":[`...)
	for i, f := range failed {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendMember(append(b, '{'), "to", f.To)
		b = appendMember(append(b, ','), "code", f.Code)
		b = appendMember(append(b, ','), "reason", f.Reason)
		b = append(b, '}')
	}
	return append(b, ']')
}

func appendMember(b []byte, name, value string) []byte {
	b = append(append(append(b, '"'), name...), `":`...)
	return wire.AppendString(b, value)
}
