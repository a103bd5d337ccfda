package gateway

import (
	"context"
	"errors"
	"net/http"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/audit"
)

// statusLeft is noted of a request whose client has left before there was an answer.
const statusLeft = 499

// Takes says whether a path is one of a route. It is asked with the path as it was
// written, so what might be another path in disguise is taken, and refused.
func (g *Gateway) Takes(u *url.URL) bool {
	t := g.table.Load()
	return t.find(u.Path) != nil || len(t.config.Routes) > 0 && badPath(u.EscapedPath()) != ""
}

// ServeHTTP checks a request and hands it on to an instance. Headers that are set already
// go before those of the service.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	began := g.opts.Now()
	control := http.NewResponseController(w)
	s := g.newSink(w, control)
	x := &exchange{g: g, id: requestID(r.Header)}
	if refused := x.admit(r); refused != nil {
		x.refuse(s, r, refused)
		g.metrics.served(x, s.status)
		return
	}
	defer x.route.use.leave()
	defer x.release()
	defer func() { g.metrics.served(x, s.status) }()
	s.begun = func() { g.metrics.begun(x, g.opts.Now().Sub(began)) }
	x.body = g.newBody(r, control, x.most())
	if refused := x.keep(r); refused != nil {
		x.refuse(s, r, refused)
		return
	}
	ctx, end, refused := x.hold(r)
	if refused != nil {
		x.refuse(s, r, refused)
		return
	}
	defer end()
	if len(r.Header["Upgrade"]) > 0 && !x.upgrade {
		r.Header.Del("Upgrade") // of another protocol than WebSocket: a server may pass over it
	}
	proxy := g.proxy
	proxy.Transport, proxy.Rewrite, proxy.ModifyResponse = x, x.rewrite, x.modify
	proxy.ErrorHandler = func(w http.ResponseWriter, _ *http.Request, err error) { x.fail(s, r, err) }
	proxy.ServeHTTP(s, r.WithContext(ctx))
}

// most is the most bytes that the body may have.
func (x *exchange) most() int64 {
	if x.route.MaxBody > 0 {
		return x.route.MaxBody
	}
	return 1<<63 - 1
}

// admit says why a request is not for anybody, or finds its route and who makes it. Then it
// counts as in flight there.
func (x *exchange) admit(r *http.Request) *refusal {
	if why := badPath(r.URL.EscapedPath()); why != "" {
		return refuse(CodeBadRequest, "the path "+why)
	}
	switch {
	case r.Method == http.MethodConnect || r.Method == http.MethodTrace:
		return refuse(CodeWrongMethod, "services are not asked by "+r.Method)
	case fields(r.Header) > maxFields:
		return refuse(CodeTooManyHeaders, "the request has too many header fields")
	}
	if x.route = x.g.table.Load().find(r.URL.Path); x.route == nil {
		return refuse(CodeNoRoute, "there is nothing at this path")
	}
	if r.ContentLength > x.most() {
		return refuse(CodeBodyTooLarge, errTooLarge.Error())
	}
	if refused := x.identify(r); refused != nil {
		return refused
	}
	if l := x.route.use.pace.Load(); l != nil {
		now := x.g.opts.Now()
		if !l.AllowN(now, 1) {
			refused := refuse(CodeRateLimited, "there are more requests than this route takes")
			refused.retry = time.Duration((1 - l.TokensAt(now)) / float64(l.Limit()) * float64(time.Second))
			return refused
		}
	}
	if !x.route.use.enter(x.route.Concurrency) {
		refused := refuse(CodeOverloaded, "more requests are in flight than this route takes")
		refused.retry = time.Second
		return refused
	}
	return nil
}

// identify finds out who makes the request, where the route wants to know.
func (x *exchange) identify(r *http.Request) *refusal {
	if x.route.Auth == Open {
		x.upgrade = upgrades(r)
		return nil
	}
	x.upgrade = upgrades(r)
	token, refused := tokenOf(r, x.upgrade || streams(r))
	switch {
	case refused != nil:
		return refused
	case token == "" && x.route.Auth == Required:
		return refuse(CodeNoToken, "this needs a token: Authorization: Bearer <token>")
	case token == "":
		return nil
	}
	who, err := x.g.opts.Verifier.Verify(r.Context(), token)
	if err != nil {
		return unverified(err)
	}
	if len(x.route.Apps) > 0 && !slices.Contains(x.route.Apps, who.App) {
		refused := refuse(CodeForbidden, "this is not for users of that app")
		refused.token = "insufficient_scope"
		return refused
	}
	x.who = who
	return nil
}

// tokenParam is the parameter with a token, of what cannot set headers in browsers: RFC 6750, section 2.3.
const tokenParam = "access_token"

// tokenOf returns the token that a request shows; empty for none.
func tokenOf(r *http.Request, inQuery bool) (string, *refusal) {
	bad := func(detail string) (string, *refusal) {
		refused := refuse(CodeNoToken, detail)
		refused.token = "invalid_request"
		return "", refused
	}
	sent := r.Header["Authorization"]
	var shown []string
	if inQuery {
		query, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil && len(query[tokenParam]) > 0 {
			return bad("the query of the URL is not well-formed")
		}
		shown = query[tokenParam]
	}
	switch {
	case len(sent)+len(shown) > 1:
		return bad("a token is shown once, in the header or in the URL")
	case len(shown) == 1:
		return shown[0], nil
	case len(sent) == 0:
		return "", nil
	}
	scheme, token, _ := strings.Cut(sent[0], " ")
	if token = strings.TrimSpace(token); !strings.EqualFold(scheme, "Bearer") || token == "" {
		return bad("the header must be Authorization: Bearer <token>")
	}
	return token, nil
}

// keep reads a small body, where the request may be sent more than once.
func (x *exchange) keep(r *http.Request) *refusal {
	x.repeatable = safe(r.Method)
	if x.body == nil || x.route.Retries == 0 {
		return nil
	}
	if r.ContentLength < 0 || r.ContentLength > smallBody {
		x.repeatable = false
		return nil
	}
	all, err := x.body.keep(r.ContentLength)
	if err != nil {
		return x.refused(err)
	}
	x.small = all
	r.Header.Del("Expect")
	return nil
}

// hold has what lasts end with its token, and with the gateway.
func (x *exchange) hold(r *http.Request) (context.Context, func(), *refusal) {
	if !x.upgrade && !streams(r) {
		return r.Context(), func() {}, nil
	}
	ctx, cancel := context.WithCancelCause(r.Context())
	if !x.g.lasting.add(x, cancel) {
		cancel(nil)
		return nil, nil, leaving()
	}
	ends := []func(){func() { x.g.lasting.remove(x); cancel(nil) }}
	end := func() {
		for _, f := range slices.Backward(ends) {
			f()
		}
	}
	if at := x.who.Expires; !at.IsZero() {
		timer := time.AfterFunc(at.Sub(x.g.opts.Now()), func() { cancel(errEnded) })
		ends = append(ends, func() { timer.Stop() })
	}
	if x.who.Hold != nil {
		release, err := x.who.Hold(r.Context(), func() { cancel(errEnded) })
		if err != nil {
			end()
			return nil, nil, unverified(err)
		}
		ends = append(ends, release)
	}
	return ctx, end, nil
}

// rewrite makes of a client's request what a service gets.
func (x *exchange) rewrite(p *httputil.ProxyRequest) {
	out := p.Out
	clean(out.Header)
	if x.route.Auth != Open {
		delete(out.Header, "Authorization")
		out.URL.RawQuery = without(out.URL.RawQuery, tokenParam)
	}
	tell(out.Header, p.In, x.g.opts.Secure(p.In), x.who, x.id)
	out.URL.Path, out.URL.RawPath = x.route.stripped(p.In.URL.Path), ""
	out.Host = ""      // the instance's own
	out.Trailer = nil  // some services take trailers for headers
	if x.body == nil { // so that nothing is waited for
		out.Body = nil
	}
}

// modify makes of a service's answer what its client gets.
func (x *exchange) modify(res *http.Response) error {
	res.Header[headerRequest] = []string{x.id}
	return nil
}

// fail answers where the service did not.
func (x *exchange) fail(s *sink, r *http.Request, err error) {
	if r.Context().Err() != nil && x.body.failed() == nil && !errors.Is(err, errEnded) && !errors.Is(err, errLeaves) {
		s.status = statusLeft
		panic(http.ErrAbortHandler) // there is nobody to read an answer
	}
	x.refuse(s, r, x.refused(err))
}

// refuse answers with a refusal, or with the route's fallback.
func (x *exchange) refuse(s *sink, r *http.Request, refused *refusal) {
	path := ""
	var instead *Fallback
	if x.route != nil {
		path, instead = x.route.Path, x.route.Fallback
	}
	x.g.metrics.refused.WithLabelValues(path, refused.Code.Code).Inc()
	switch refused.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		x.g.opts.Audit.Note(audit.Event{Event: "requestRefused", App: x.who.App, User: string(x.who.User), Address: r.RemoteAddr, Code: refused.Code.Code, What: r.Method + " " + path, Refusal: true})
	}
	h := s.Header()
	h[headerRequest] = []string{x.id}
	if r.ContentLength != 0 && x.small == nil {
		// Nobody reads the body: the connection ends behind the answer.
		h.Set("Connection", "close")
		_ = s.control.SetReadDeadline(x.g.opts.Now().Add(refusedTime)) // as in move
	}
	refused.write(s, instead)
}
