package webhooks

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// mostTests is how many tests of one webhook may be under way.
const mostTests = 2

// Tested is what a webhook answered to a test.
type Tested struct {
	ID        wire.ID
	Delivered bool
	Status    int // of the answer; 0 for none
	Reason    string
	Took      time.Duration
}

// Test posts one event of the type "test" at once, beside the queue, and says
// what came back.
func (r *Room) Test(ctx context.Context, of Name) (Tested, error) {
	h, err := r.find(of)
	if err != nil {
		return Tested{}, err
	}
	select {
	case h.testing <- struct{}{}:
		defer func() { <-h.testing }()
	default:
		return Tested{}, ErrBusy
	}
	began := r.opts.Now()
	id, err := wire.NewID(began, r.opts.Random)
	if err != nil {
		return Tested{}, fmt.Errorf("test webhook %s: %w", of, err)
	}
	to, limits := h.settings()
	body := fmt.Appendf(nil, `{"type":"test","timestamp":%q,"data":{"app":%q}}`, began.UTC().Format(timeFormat), of.App)
	o, result := r.poster.post(ctx, attempt{to, &event{id: id, body: body}, limits.Timeout})
	if err := ctx.Err(); err != nil {
		return Tested{}, err
	}
	r.metrics.attempt(of, result)
	return Tested{ID: id, Delivered: o.ok, Status: o.status, Reason: o.reason, Took: r.opts.Now().Sub(began)}, nil
}

// timeFormat is how times are written: UTC, with milliseconds.
const timeFormat = "2006-01-02T15:04:05.000Z"
