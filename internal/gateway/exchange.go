package gateway

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

var (
	errSlow   = errors.New("the service did not begin its answer in time")
	errNobody = errors.New("no instance of the service can be used")
	errEnded  = errors.New("the token has ended")
	errLeaves = errors.New("the server is stopping")
)

// exchange is one request with its answer.
type exchange struct {
	g     *Gateway
	route *route
	who   Caller
	id    string
	body  *body  // nil: there is none
	small []byte // the whole of it, where it is kept

	repeatable bool // once more does no harm
	upgrade    bool // it is a WebSocket's
	tried      tried
	retries    int // that the budget has paid
	deadline   time.Time

	at     *instance // that has it; nil: none has
	cancel context.CancelCauseFunc
	last   error // of the last try
}

// safe says whether a method may be repeated: RFC 9110, section 9.2.2.
func safe(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}

// RoundTrip implements http.RoundTripper: it tries an instance, and others where that is
// of use and does no harm.
func (x *exchange) RoundTrip(out *http.Request) (*http.Response, error) {
	s, now := x.route.service, x.g.opts.Now
	s.budget.asked()
	x.deadline = now().Add(x.route.Timeout)
	for {
		i, trial := s.pick(&x.tried, now)
		if i == nil {
			if x.last == nil {
				x.last = errNobody
			}
			return nil, x.last
		}
		x.tried.list[x.tried.n] = i
		x.tried.n++
		res, got, err := x.try(out, i)
		x.g.judge(i, got, trial, failure(res, err))
		if got == answered || got == undecided || !x.again(out, err) {
			return res, err
		}
		x.release()
		x.last = err
		if res != nil {
			res.Body.Close()
		}
	}
}

// judge takes what became of a request at an instance, and why.
func (g *Gateway) judge(i *instance, got outcome, trial bool, why error) {
	i.attempts[got].Inc()
	if got == answered && !trial {
		return // when that is whole it counts: see take
	}
	now := g.opts.Now()
	opened := i.breaker.note(got, trial, now, g.table.Load().config.Breaker)
	switch {
	case opened:
		i.turned(now, why)
		g.opts.Log.Warn("requests to an instance of a service fail, so it gets none for a while", "service", i.service, "instance", i.Name, "err", why)
	case trial && got == answered:
		i.turned(now, nil)
		g.opts.Log.Info("an instance of a service answers again", "service", i.service, "instance", i.Name)
	}
}

// failure says what was wrong with a try.
func failure(res *http.Response, err error) error {
	if err == nil && res != nil {
		return errors.New("it answers " + res.Status)
	}
	return err
}

// again says whether another instance is to be tried after this one gave no good answer,
// and counts it.
func (x *exchange) again(out *http.Request, err error) bool {
	s, now := x.route.service, x.g.opts.Now
	if x.route.Retries == 0 || x.tried.n == maxTries || out.Context().Err() != nil || x.body.failed() != nil ||
		!now().Before(x.deadline) || !s.others(&x.tried, now) {
		return false
	}
	// What was not sent costs nobody anything once more, so no budget pays for it.
	var unsent *dialError
	if errors.As(err, &unsent) && (x.small != nil || x.body == nil || !x.body.touched.Load()) {
		x.g.metrics.retries.WithLabelValues(s.name, "unsent").Inc()
		return true
	}
	if !x.repeatable || x.retries >= x.route.Retries {
		return false
	}
	if !s.budget.take(now()) {
		x.g.metrics.retries.WithLabelValues(s.name, "refused").Inc()
		return false
	}
	x.retries++
	x.g.metrics.retries.WithLabelValues(s.name, "repeated").Inc()
	return true
}

// share is how long this try may take. One after which another may come leaves time for it.
func (x *exchange) share(now time.Time) time.Duration {
	left := x.deadline.Sub(now)
	if more := x.route.Retries - x.retries; x.repeatable && more > 0 && x.tried.n < maxTries && x.route.service.others(&x.tried, x.g.opts.Now) {
		left /= time.Duration(more + 1)
	}
	return left
}

// try sends the request to an instance, which has one more in flight already.
func (x *exchange) try(out *http.Request, i *instance) (*http.Response, outcome, error) {
	ctx, cancel := context.WithCancelCause(out.Context())
	x.at, x.cancel = i, cancel
	p := newPatience(x.share(x.g.opts.Now()), func() { cancel(errSlow) })
	r := out.WithContext(ctx)
	r.URL = targetOf(i, out.URL)
	switch {
	case x.small != nil:
		r.Body = io.NopCloser(bytes.NewReader(x.small))
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(x.small)), nil }
	case x.body != nil:
		r.Body = &turn{body: x.body, patience: p}
	}
	res, err := x.g.transport.RoundTrip(r)
	p.end()
	if err != nil {
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		cancel(nil)
		if x.body.failed() != nil || out.Context().Err() != nil {
			return nil, undecided, err
		}
		return nil, noAnswer, err
	}
	return x.take(res, i, cancel)
}

// take judges an answer that has begun.
func (x *exchange) take(res *http.Response, i *instance, cancel context.CancelCauseFunc) (*http.Response, outcome, error) {
	upgraded := res.StatusCode == http.StatusSwitchingProtocols
	settings := func() Breaker { return x.g.table.Load().config.Breaker }
	if upgraded && x.upgrade {
		i.breaker.note(answered, false, x.g.opts.Now(), settings())
		return res, answered, nil
	}
	if upgraded || res.StatusCode < 200 || res.StatusCode > 599 {
		res.Body.Close()
		return nil, noAnswer, errors.New("what the service answers is not HTTP")
	}
	good := true
	a := &answer{ReadCloser: res.Body, ended: func(err error) {
		if err == io.EOF {
			if good {
				i.breaker.note(answered, false, x.g.opts.Now(), settings())
			}
			return
		}
		if cause := context.Cause(res.Request.Context()); cause == nil || cause == errSlow {
			x.g.judge(i, noAnswer, false, fmt.Errorf("an answer breaks off: %w", cmp.Or(cause, err)))
		}
	}}
	if res.ContentLength > 0 {
		a.patience = newPatience(x.route.Timeout, func() { cancel(errSlow) })
		a.patience.hold()
	}
	res.Body = a
	switch res.StatusCode {
	case http.StatusInternalServerError, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		good = false
		return res, badAnswer, nil
	}
	return res, answered, nil
}

// release ends what is under way at an instance.
func (x *exchange) release() {
	if x.at == nil {
		return
	}
	x.cancel(nil)
	x.at.inFlight.Add(-1)
	x.at = nil
}

// targetOf returns where a request goes at an instance.
func targetOf(i *instance, asked *url.URL) *url.URL {
	to := *i.target
	to.Path = join(i.target.Path, asked.Path)
	to.RawQuery = asked.RawQuery
	return &to
}

// leaving refuses what would last when the server is about to stop.
func leaving() *refusal {
	r := refuse(CodeNoInstance, errLeaves.Error())
	r.retry = time.Second
	return r
}

// refused returns what a client is told when there is no answer of the service.
func (x *exchange) refused(err error) *refusal {
	var known *refusal
	var network net.Error
	failed := x.body.failed()
	switch {
	case errors.As(err, &known):
		return known
	case errors.Is(failed, errTooLarge):
		return refuse(CodeBodyTooLarge, errTooLarge.Error())
	case errors.As(failed, &network) && network.Timeout():
		return refuse(CodeSlowBody, "the body did not go on in time")
	case failed != nil:
		return refuse(CodeBadRequest, "the body does not come to its end, or is not well-formed")
	case errors.Is(err, errSlow):
		r := refuse(CodeTimeout, "the service did not answer in time")
		r.service = true
		return r
	case errors.Is(err, errNobody):
		r := refuse(CodeNoInstance, "no instance of the service can be used at present")
		r.retry, r.service = x.route.service.soonest(x.g.opts.Now(), x.g.table.Load().config), true
		return r
	case errors.Is(err, errEnded):
		r := refuse(wire.CodeTokenExpired, "the token has ended meanwhile")
		r.token = "invalid_token"
		return r
	case errors.Is(err, errLeaves):
		return leaving()
	}
	r := refuse(CodeBadAnswer, "the service gave no answer, or one that is not HTTP")
	r.service = true
	return r
}
