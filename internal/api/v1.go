package api

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// V1Options configure the calls under /v1. Log, Metrics, Now, Limits and
// Rooms.Keys are needed, Rooms.Apps too.
type V1Options struct {
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Now     func() time.Time
	Limits  func() V1Limits
	Rooms   Rooms
	// Away returns why this node cannot do its work at present; nil while it can.
	// Calls that are not about this node alone are refused then, with that sentence.
	// Nil: it always can.
	Away func() error
	// SignIns bounds what fails from one address. Nil: nobody does.
	SignIns SignIns
	// Demo says that calls that are Open need no key.
	Demo bool
}

// SignIns bounds what may be tried from one address (host:port).
type SignIns interface {
	// Blocked returns how long an address has to wait before it may try; 0: it need not.
	Blocked(address string) time.Duration
	// Failed notes that it has failed.
	Failed(address string)
}

// V1Limits are those of the calls. They may change at any time.
type V1Limits struct {
	Rate int // requests a second of one key, and how many at once
	Page int // the most that one page may hold
	Once OnceLimits
}

// V1 serves the calls under /v1, on as many doors as there are: what it knows of
// keys, their pace and their Idempotency-Keys is shared by all.
type V1 struct {
	opts     V1Options
	calls    []Call
	paces    *paces
	memory   *memory // of requests with keys, and of the operator's
	ofUsers  *memory // of those with access tokens, which anybody may get: they push out no answer of a backend's
	counters *callCounters
}

// NewV1 makes the calls of the table.
func NewV1(o V1Options) (*V1, error) {
	if o.Log == nil || o.Metrics == nil || o.Now == nil || o.Limits == nil || o.Rooms.Keys == nil || o.Rooms.Apps == nil {
		return nil, errors.New("api: V1Options.Log, Metrics, Now, Limits, Rooms.Keys and Rooms.Apps are needed")
	}
	v := &V1{opts: o, calls: Calls(o.Rooms), counters: newCallCounters(o.Metrics)}
	v.paces = newPaces(func() int { return o.Limits().Rate }, o.Now)
	limits := func() OnceLimits { return o.Limits().Once }
	v.memory = newMemory(limits, o.Now, v.counters.forgotten.Inc)
	v.ofUsers = newMemory(limits, o.Now, v.counters.forgotten.Inc)
	return v, nil
}

// handler serves the calls. operator says that whoever can ask needs no key.
func (v *V1) handler(operator bool) http.Handler {
	mux := http.NewServeMux()
	methods := make(map[string][]string)
	for i := range v.calls {
		c := &v.calls[i]
		mux.HandleFunc(c.Method+" "+c.Path, func(w http.ResponseWriter, r *http.Request) { v.serve(w, r, c, operator) })
		methods[c.Path] = append(methods[c.Path], c.Method)
		if c.Method == http.MethodGet && !c.Stream {
			methods[c.Path] = append(methods[c.Path], http.MethodHead)
		}
	}
	for path, allowed := range methods {
		wrong := wrongMethod(allowed, v.nearby(path))
		if covered(path, methods) {
			for _, method := range otherMethods(allowed) {
				mux.HandleFunc(method+" "+path, wrong)
			}
			continue
		}
		mux.HandleFunc(path, wrong)
		if !slices.Contains(allowed, http.MethodHead) {
			mux.HandleFunc(http.MethodHead+" "+path, wrong) // or the mux would take it for GET
		}
	}
	mux.HandleFunc("/", noCall)
	all := strings.Join(slices.Sorted(maps.Keys(methodsOf(v.calls))), ", ")
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if admitPage(w, r, all) {
			return
		}
		// The mux would send others to a path without them. What is escaped is of a name.
		if p := r.URL.EscapedPath(); path.Clean(p) != p {
			noCall(w, r)
			return
		}
		mux.ServeHTTP(w, r)
	})
}

// covered says whether a path is one of those that another path with a parameter stands
// for, as /v1/accounts/me is of /v1/accounts/{userId}. The mux does not take one for any
// method then.
func covered(path string, others map[string][]string) bool {
	steps := strings.Split(path, "/")
	for other := range others {
		pattern := strings.Split(other, "/")
		fits := len(pattern) == len(steps) && other != path
		for i := 0; fits && i < len(steps); i++ {
			fits = pattern[i] == steps[i] || strings.HasPrefix(pattern[i], "{") && !strings.HasPrefix(steps[i], "{")
		}
		if fits {
			return true
		}
	}
	return false
}

// otherMethods are those that are used anywhere, but for some.
func otherMethods(allowed []string) []string {
	all := []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	return slices.DeleteFunc(all, func(m string) bool { return slices.Contains(allowed, m) })
}

func methodsOf(calls []Call) map[string]bool {
	methods := make(map[string]bool)
	for _, c := range calls {
		methods[c.Method] = true
	}
	return methods
}

// noCall answers for paths that are no call's.
func noCall(w http.ResponseWriter, _ *http.Request) {
	NotFound("there is no such call; /docs/api lists those that there are").write(w)
}

// nearby names, by their methods, the calls one step below a path: whoever would
// empty a mailbox means its messages.
func (v *V1) nearby(path string) map[string]string {
	below := make(map[string]string)
	for i := range v.calls {
		c := &v.calls[i]
		if step, ok := strings.CutPrefix(c.Path, path+"/"); ok && !strings.Contains(step, "/") && below[c.Method] == "" {
			below[c.Method] = c.name()
		}
	}
	return below
}

func wrongMethod(allowed []string, nearby map[string]string) http.HandlerFunc {
	list := strings.Join(slices.Sorted(slices.Values(allowed)), ", ")
	return func(w http.ResponseWriter, r *http.Request) {
		detail := "this path takes " + list
		if call := nearby[r.Method]; call != "" {
			detail += "; there is " + call
		}
		w.Header().Set("Allow", list)
		Problem(w, http.StatusMethodNotAllowed, CodeWrongMethod, detail)
	}
}

// serve carries out one request of a call, and counts it.
func (v *V1) serve(w http.ResponseWriter, r *http.Request, c *Call, operator bool) {
	began := v.opts.Now()
	if refused := v.answer(w, r, c, operator); refused != nil {
		v.noteRefusal(r.RemoteAddr, c, refused)
		v.counters.refused.WithLabelValues(refused.Code).Inc()
		refused.write(w)
	}
	if c.Handler.serve == nil {
		v.counters.seconds.WithLabelValues(c.name()).Observe(v.opts.Now().Sub(began).Seconds())
	}
}

// answer writes the answer, or returns why there is none. What costs nothing is
// checked first, and the body is read only for whom the call is.
func (v *V1) answer(w http.ResponseWriter, r *http.Request, c *Call, operator bool) *Refusal {
	var who Identity
	refused := v.away(c)
	switch {
	case refused != nil:
		return refused
	case c.Auth == ByUser:
		if who, refused = v.user(w, r, c, operator); refused != nil {
			return refused
		}
	case c.Also != "" && managed(r, operator):
		if who, refused = v.manager(w, r, c, operator); refused != nil {
			return refused
		}
	case c.Auth == ByNobody:
		if who, refused = v.anybody(w, r, c); refused != nil {
			return refused
		}
	case c.Auth == ByAccount:
		if who, refused = v.account(w, r); refused != nil {
			return refused
		}
	case operator, c.Open && v.opts.Demo && !keyed(r):
		who, operator = Identity{Admin: true}, true
	case c.Auth != ByToken:
		if who, refused = v.authorize(w, r, c); refused != nil {
			return refused
		}
	}
	if !c.Once && c.Method != http.MethodGet && len(r.Header.Values(onceHeader)) > 0 {
		return Invalid(onceHeader, "is no header of this call, which would do everything again")
	}
	who.known = v.opts.Rooms.Apps.Known
	if d := v.opts.Rooms.Domains; d != nil {
		who.home = d.Home
	}
	h := &c.Handler
	request, refused := h.plan.read(r, who, v.opts.Limits().Page)
	if refused != nil {
		return refused
	}
	body, refused := readBody(r, h.plan.body != nil)
	if refused != nil {
		return refused
	}
	// A body may take its time, and a key may have ended meanwhile.
	if refused := v.stillAdmitted(w, r, who); refused != nil {
		return refused
	}
	if h.plan.body != nil {
		field := request.Elem().FieldByIndex(h.plan.body)
		if h.plan.raw {
			field.SetBytes(body)
		} else if refused := h.plan.decode(body, field, who); refused != nil {
			return refused
		}
	}
	if h.serve != nil {
		return v.refusal(h.serve(w, r, who, request.Interface()), c)
	}
	return v.perform(w, r, c, who, request, body)
}

// keyed says whether a request brings a key, good or not.
func keyed(r *http.Request) bool {
	_, given, _ := bearer(r)
	return given
}

// away returns the refusal of a node that has lost touch with its cluster: whoever
// would wait for it is to ask another node.
func (v *V1) away(c *Call) *Refusal {
	if c.Here || v.opts.Away == nil {
		return nil
	}
	err := v.opts.Away()
	if err == nil {
		return nil
	}
	refused := Refuse(http.StatusServiceUnavailable, wire.CodeStoreDown, "%s; ask another node", err)
	refused.RetryAfter = later
	return refused
}

// perform carries out a request that is checked, and one with an Idempotency-Key
// once.
func (v *V1) perform(w http.ResponseWriter, r *http.Request, c *Call, who Identity, request reflect.Value, body []byte) *Refusal {
	if !c.Once {
		v.carryOut(r.Context(), w, c, who, request.Interface())
		return nil
	}
	key, print, ok, refused := askedOnce(r, who.space(c), body)
	if refused != nil {
		return refused
	}
	if !ok {
		v.carryOut(r.Context(), w, c, who, request.Interface())
		return nil
	}
	if once := c.Handler.plan.once; once != nil {
		*request.Elem().FieldByIndex(once).Addr().Interface().(**Once) = asOnce(key, print)
	}
	known := v.memory
	if who.Account.User != "" {
		known = v.ofUsers
	}
	answer, replayed, refused := known.do(r.Context(), key, print, func(p *reply) {
		// The client may leave and ask again: what was begun goes on.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), answerTime)
		defer cancel()
		v.carryOut(ctx, p, c, who, request.Interface())
	})
	if refused != nil {
		return refused
	}
	if replayed {
		v.counters.replayed.Inc()
	}
	answer.write(w, replayed)
	return nil
}

// carryOut has the handler do it, and writes what comes of it.
func (v *V1) carryOut(ctx context.Context, w http.ResponseWriter, c *Call, who Identity, request any) {
	answer, err := c.Handler.run(ctx, who, request)
	if refused := v.refusal(err, c); refused != nil {
		v.noteRefusal(who.address, c, refused)
		v.counters.refused.WithLabelValues(refused.Code).Inc()
		refused.write(w)
		return
	}
	if a, ok := answer.(interface{ Fault() error }); ok {
		v.refusal(a.Fault(), c) // for the log: the answer says it by itself
	}
	body := bodyOf(answer, c)
	status := c.Status
	if status == 0 {
		status = http.StatusOK
	}
	if a, ok := answer.(interface{ Status() int }); ok {
		status = a.Status()
	}
	if a, ok := answer.(interface{ Location() string }); ok {
		w.Header().Set("Location", a.Location())
	}
	if a, ok := answer.(interface{ Replayed() bool }); ok && a.Replayed() {
		w.Header().Set(replayHeader, "true")
	}
	if a, ok := answer.(interface{ Unsettled() bool }); ok && a.Unsettled() {
		if p, ok := w.(*reply); ok {
			p.unsettled = true
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// The client may be gone; there is nobody else to tell.
	_, _ = w.Write(append(body, '\n'))
}

// bodyOf writes an answer as JSON.
func bodyOf(answer any, c *Call) []byte {
	if a, ok := answer.(appender); ok {
		return a.appendJSON(nil)
	}
	body, err := json.Marshal(answer, jsonOptions())
	if err != nil {
		panic(fmt.Sprintf("the answer of %s: %v", c.name(), err)) // our own values marshal
	}
	return body
}

// refusal returns what an error of a handler is answered with, and logs it when
// it is a fault of ours; nil for nil.
func (v *V1) refusal(err error, c *Call) *Refusal {
	if err == nil {
		return nil
	}
	refused, known := refusalOf(err)
	if !known {
		v.opts.Log.Error("a call failed", "call", c.name(), "err", err)
	}
	return refused
}

// callCounters count what happens under /v1.
type callCounters struct {
	seconds   *prometheus.HistogramVec // call
	refused   *prometheus.CounterVec   // code
	replayed  prometheus.Counter
	forgotten prometheus.Counter
}

func newCallCounters(r prometheus.Registerer) *callCounters {
	return &callCounters{
		seconds: registered(r, prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "switchboard_api_seconds", Help: "Time to answer the calls under /v1, streams left out.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"call"})),
		refused: registered(r, prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "switchboard_api_refused_total", Help: "Requests under /v1 that were answered with a problem, by its code.",
		}, []string{"code"})),
		replayed: registered(r, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "switchboard_api_replayed_total", Help: "Requests that were answered from memory, by their Idempotency-Key.",
		})),
		forgotten: registered(r, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "switchboard_api_forgotten_total", Help: "Answers that were forgotten before their time, since there were too many.",
		})),
	}
}
