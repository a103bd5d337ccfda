package api

import (
	"fmt"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
)

// door is what stands around every handler: checks, limits, counters, and an
// answer when a handler panics. It is not changed once it serves.
type door struct {
	opts      Options
	counters  *counters
	paths     map[string]route
	prefixes  []route  // the first that fits serves
	ownOrigin []string // paths whose handlers check origins themselves
	gateway   Gateway  // nil: there is none
	pages     func(path string) bool
}

// route is one path, or all paths below a prefix, and what serves it.
type route struct {
	path    string
	methods []string // nil: the handler sees to it
	handler http.Handler
}

// newDoor returns a door with what both doors serve.
func newDoor(name string, o Options) *door {
	d := &door{opts: o, counters: newCounters(o.Metrics, name), paths: make(map[string]route)}
	d.exact("/healthz", read, http.HandlerFunc(alive))
	d.exact("/readyz", read, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { readiness(w, o.Parts) }))
	if o.V1 != nil {
		d.exact("/v1", nil, http.HandlerFunc(noCall))
		calls := o.V1.handler(name == controlDoor)
		d.below("/v1/", nil, calls)
		d.below("/device/event", nil, calls)
		d.below("/device/state/", nil, calls)
		addDocs(d)
	}
	return d
}

func (d *door) exact(path string, methods []string, h http.Handler) {
	d.paths[path] = route{path, methods, h}
}

func (d *door) below(prefix string, methods []string, h http.Handler) {
	d.prefixes = append(d.prefixes, route{prefix, methods, h})
}

// find returns what serves a path.
func (d *door) find(path string) (route, bool) {
	if r, ok := d.paths[path]; ok {
		return r, true
	}
	for _, r := range d.prefixes {
		if strings.HasPrefix(path, r.path) {
			return r, true
		}
	}
	return route{}, false
}

// ServeHTTP checks a request and hands it on.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &answer{ResponseWriter: w}
	defer d.finish(a, r)
	if d.forServices(r) {
		d.handOn(a, r)
		return
	}
	secure(w.Header())
	if !d.admit(a, r) {
		return
	}
	route, ok := d.find(r.URL.Path)
	if !ok {
		Problem(a, http.StatusNotFound, CodeNotFound, "there is nothing at this path")
		return
	}
	if route.methods != nil && !slices.Contains(route.methods, r.Method) {
		allowed := strings.Join(route.methods, ", ")
		a.Header().Set("Allow", allowed)
		Problem(a, http.StatusMethodNotAllowed, CodeWrongMethod, "this path takes "+allowed)
		return
	}
	route.handler.ServeHTTP(a, r)
}

// admit refuses what no handler should see, and bounds the body of the rest.
func (d *door) admit(a *answer, r *http.Request) bool {
	refuse := func(status int, code, detail string) bool {
		d.counters.refuse(code)
		Problem(a, status, code, detail)
		return false
	}
	if code, status, detail := d.stranger(r); code != "" {
		return refuse(status, code, detail)
	}
	limit := d.opts.MaxBody()
	if r.ContentLength > limit {
		return refuse(http.StatusRequestEntityTooLarge, CodeBodyTooLarge, fmt.Sprintf("a body may have %d bytes", limit))
	}
	r.Body = http.MaxBytesReader(a, r.Body, limit)
	return true
}

// stranger says why a page may not ask, or the demo not under that name; empty if it may.
func (d *door) stranger(r *http.Request) (code string, status int, detail string) {
	if d.opts.Demo && !HostAllowed(r) {
		return CodeWrongHost, http.StatusMisdirectedRequest, "the demo answers to loopback names only, such as 127.0.0.1 and localhost"
	}
	if d.opts.Origin != nil && !slices.Contains(d.ownOrigin, r.URL.Path) && !d.opts.Origin(r) {
		return CodeOriginRefused, http.StatusForbidden, "pages of this origin may not use this server; name it in origins"
	}
	return "", 0, ""
}

// secure sets the headers that hold for every answer. Handlers of pages replace
// what they need otherwise.
func secure(h http.Header) {
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Cache-Control", "no-store")
}

// finish ends a request. A panic becomes an answer, or ends the connection when
// an answer has begun.
func (d *door) finish(a *answer, r *http.Request) {
	cause := recover()
	if cause == nil {
		a.end()
		d.counters.serve(a.status)
		return
	}
	if cause == http.ErrAbortHandler {
		panic(cause)
	}
	d.opts.Log.Error("a request ended in a panic", "path", r.URL.Path, "err", fmt.Sprint(cause), "stack", string(debug.Stack()))
	d.counters.serve(http.StatusInternalServerError)
	if a.begun() {
		panic(http.ErrAbortHandler)
	}
	a.drop()
	Problem(a, http.StatusInternalServerError, CodeInternal, "the server failed to answer; its log says why")
}
