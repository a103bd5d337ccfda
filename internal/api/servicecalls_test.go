package api

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/registry"
)

// serviceRows are the table of services of a node alone.
type serviceRows struct {
	mu   sync.Mutex
	f    func(string, []byte)
	fail error
}

func (s *serviceRows) Put(_ context.Context, key string, row []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fail == nil {
		s.f(key, row)
	}
	return s.fail
}

func (s *serviceRows) Delete(ctx context.Context, key string) error { return s.Put(ctx, key, nil) }

func (s *serviceRows) Get(string) ([]byte, uint64, bool) { return nil, 0, false }

func (s *serviceRows) Remove(ctx context.Context, key string, _ uint64) error {
	return s.Put(ctx, key, nil)
}

func (s *serviceRows) Watch(f func(string, []byte)) (stop func()) {
	s.f = f
	return func() {}
}

// oneService is a registry with the service x.
func oneService(t *testing.T) *registry.Room {
	room, err := registry.New(registry.Options{Table: &serviceRows{}, Now: time.Now, Max: func() int { return 1 }})
	if err != nil {
		t.Fatal(err)
	}
	room.SetStatic([]registry.Instance{{Service: "x", Name: "y", URL: "http://h:1", Weight: 1}})
	return room
}

// serving is a world with services.
type serving struct {
	*observed
	room *registry.Room
	rows *serviceRows
	most int

	mu     sync.Mutex
	health map[string]ServiceHealth // by instance
}

func newServing(t *testing.T) *serving {
	x := &serving{rows: &serviceRows{}, most: 4, health: map[string]ServiceHealth{}}
	var err error
	at := time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)
	x.room, err = registry.New(registry.Options{Table: x.rows, Now: func() time.Time { return at }, Max: func() int { return x.most }})
	if err != nil {
		t.Fatal(err)
	}
	x.observed = newObserved(t, func(r *Rooms) {
		r.Services = x.room
		r.ServiceHealth = func(_, instance string) (ServiceHealth, bool) {
			x.mu.Lock()
			defer x.mu.Unlock()
			h, known := x.health[instance]
			return h, known
		}
	})
	o := options()
	o.V1, o.MaxBody = x.v1, func() int64 { return 10_000 }
	x.h = NewPublic(o)
	return x
}

func (x *serving) becomes(instance, state string, inFlight int) {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.health[instance] = ServiceHealth{State: state, Since: x.now, Reason: "it says so", InFlight: inFlight}
}

func TestAnInstanceIsRegisteredRenewedFoundAndRemoved(t *testing.T) {
	x := newServing(t)
	write, read := with(x.key("ANZ", keys.ServicesWrite)), with(x.key("SHOP", keys.ServicesRead))
	const path, begins = "/v1/services/orders/orders-1", `{"service":"orders","instance":"orders-1","url":"http://10.0.0.7:8080",`
	const first = begins + `"weight":1,"ttl":30,"since":"2026-11-26T08:00:00.000Z","source":"registered"}`
	const second = begins + `"weight":2,"meta":{"health":"/up"},"ttl":5,"since":"2026-11-26T08:00:00.000Z","source":"registered"}`
	say := func(status int, want, method, path string, change ...func(*http.Request)) {
		t.Helper()
		if a, text := ask(t, x.h, method, path, change...); a.StatusCode != status || text != want+"\n" {
			t.Errorf("%s %s: %d %s", method, path, a.StatusCode, text)
		}
	}
	say(200, `{"services":[]}`, "GET", "/v1/services", read)
	say(201, first, "PUT", path, write, body(`{"url":"http://10.0.0.7:8080"}`))
	say(200, second, "PUT", path, write, body(`{"url":"http://10.0.0.7:8080","weight":2,"meta":{"health":"/up"},"ttl":5}`))
	say(200, `{"name":"orders","instances":[`+second+`]}`, "GET", "/v1/services/orders", read)
	say(200, `{"services":[{"name":"orders","instances":[`+second+`]}]}`, "GET", "/v1/services", read)
	x.becomes("orders-1", "up", 0)
	say(200, `{"name":"orders","instances":[`+strings.TrimSuffix(second, "}")+
		`,"health":{"state":"up","since":"2026-11-26T08:00:00.000Z","reason":"it says so"},"inFlight":0}]}`, "GET", "/v1/services/orders", read)
	x.refused(403, CodeScopeMissing, "DELETE", path, read)
	x.refused(403, CodeScopeMissing, "GET", "/v1/services", write)
	say(200, `{"removed":"orders-1"}`, "DELETE", path, write)
	x.refused(404, CodeNotFound, "DELETE", path, write)
	x.refused(404, CodeNotFound, "GET", "/v1/services/orders", read)
}

// The registry, scopes and the OpenAPI document each say how services may be called.
func TestAScopeForOneServiceIsKnownForEachNameThatAServiceMayHave(t *testing.T) {
	text, err := os.ReadFile("openapi/base.yaml")
	if err != nil {
		t.Fatal(err)
	}
	found := regexp.MustCompile(`pattern: "(\^services:write:[^"]*)"`).FindSubmatch(text)
	if found == nil {
		t.Fatal("the document has no pattern of these scopes")
	}
	pattern := regexp.MustCompile(string(found[1]))
	for _, name := range []string{
		"orders", "o", "0", "O.r-d_e9", strings.Repeat("a", 64), strings.Repeat("a", 65), "", "-a", ".a", "_a", "a b", "a/b", "a:b", "ä", "a\n", "..",
	} {
		i := registry.Instance{Service: name, Name: "a", URL: "http://10.0.0.7", Weight: 1, TTL: registry.DefaultTTL}
		may, scope := len(i.Check()) == 0, keys.ServicesWrite.Of(name)
		if scope.Known() != may || pattern.MatchString(string(scope)) != may {
			t.Errorf("%q: a service may be called so: %t, the scope is known: %t, the document takes it: %t", name, may, scope.Known(), pattern.MatchString(string(scope)))
		}
	}
}

func TestAKeyForOneServiceRegistersNoOther(t *testing.T) {
	x := newServing(t)
	orders := with(x.key("ANZ", keys.ServicesWrite.Of("orders")))
	const at = `{"url":"http://10.0.0.7:8080"}`
	for _, path := range []string{"orders/a", "%6frders/a"} {
		if a, text := ask(t, x.h, "PUT", "/v1/services/"+path, orders, body(at)); a.StatusCode > 201 {
			t.Errorf("%s: %d %s", path, a.StatusCode, text)
		}
	}
	for _, path := range []string{"bills/a", "Orders/a", "orders2/a", "orders%00/a", "orders:x/a", "orders%2Fa/b", "%2e%2e/a"} {
		x.refused(403, CodeScopeMissing, "PUT", "/v1/services/"+path, orders, body(at))
		x.refused(403, CodeScopeMissing, "DELETE", "/v1/services/"+path, orders)
	}
	x.refused(403, CodeScopeMissing, "GET", "/v1/services/orders", orders)
	if a, text := ask(t, x.h, "DELETE", "/v1/services/orders/a", orders); a.StatusCode != 200 {
		t.Error(a.StatusCode, text)
	}
}

func TestWhatCannotBeAnInstanceIsRefusedByItsField(t *testing.T) {
	x := newServing(t)
	write := with(x.key(""))
	for path, field := range map[string]string{
		"switchboard/n": "name", "stream/n": "name", "a%2Fb/n": "name", ".a/n": "name", strings.Repeat("a", 65) + "/n": "name",
		"orders/%3Cb%3E": "instance", "orders/-n": "instance", "orders/a%00": "instance", "orders/%ff": "instance",
	} {
		if got := x.refused(400, CodeInvalidRequest, "PUT", "/v1/services/"+path, write, body(`{"url":"http://h:1"}`))["field"]; got != field {
			t.Errorf("%s: field %v", path, got)
		}
	}
	for text, field := range map[string]string{
		`{"url":"http://user:secret@h:1"}`: "url", `{"url":"javascript:alert(1)"}`: "url", `{"url":"//h:1"}`: "url", `{"url":"http://h:0"}`: "url", `{"weight":1}`: "url",
		`{"url":"http://h:1","weight":0}`: "weight", `{"url":"http://h:1","weight":101}`: "weight", `{"url":"http://h:1","weight":"1"}`: "weight",
		`{"url":"http://h:1","ttl":0}`: "ttl", `{"url":"http://h:1","ttl":31536000}`: "ttl", `{"url":"http://h:1","ttl":-1}`: "ttl", `{"url":"http://h:1","ttl":9223372036854775807}`: "ttl",
		`{"url":"http://h:1","meta":{"a":"` + strings.Repeat("b", registry.MaxMetaBytes) + `"}}`: "meta", `{"url":"http://h:1","meta":{"a b":"c"}}`: "meta", `{"url":"http://h:1","meta":{"a":"b\nc"}}`: "meta",
		`{"url":"http://h:1","meta":{"health":"http://evil"}}`: "meta", `{"url":"http://h:1","uri":"x"}`: "uri",
	} {
		if got := x.refused(400, CodeInvalidRequest, "PUT", "/v1/services/orders/n", write, body(text))["field"]; got != field {
			t.Errorf("%s: field %v", text, got)
		}
	}
	if list := x.room.List(""); len(list) > 0 {
		t.Error(list)
	}
}

func TestAnInstanceThatCannotBeTakenIsRefusedWithTheReason(t *testing.T) {
	x := newServing(t)
	write, one := with(x.key("")), body(`{"url":"http://h:1"}`)
	x.room.SetStatic([]registry.Instance{{Service: "orders", Name: "fixed", URL: "http://h:2", Weight: 1}})
	x.room.SetNodes([]registry.Instance{{Service: registry.Nodes, Name: "node1", URL: "http://h:3", Weight: 1}})
	x.refused(409, "CONFLICT", "PUT", "/v1/services/orders/fixed", write, one)
	x.refused(409, "CONFLICT", "DELETE", "/v1/services/orders/fixed", write)
	x.refused(409, "CONFLICT", "DELETE", "/v1/services/switchboard/node1", write)
	for n := range x.most {
		wantStatus(t, x.h, 201, "PUT", fmt.Sprintf("/v1/services/s%d/i", n), write, one)
	}
	x.refused(409, CodeTooManyInstances, "PUT", "/v1/services/s9/i", write, one)
	wantStatus(t, x.h, 200, "PUT", "/v1/services/s0/i", write, one)
	x.rows.fail = errors.New("the disk is gone")
	x.refused(503, "STORE_DOWN", "PUT", "/v1/services/s0/i", write, one)
	x.refused(503, "STORE_DOWN", "DELETE", "/v1/services/s0/i", write)
	x.rows.fail = mailbox.ErrFull
	x.refused(507, "STORE_FULL", "PUT", "/v1/services/s0/i", write, one)
}

// stream opens the stream of services and returns what reads its next event.
func (x *serving) stream(key string) (next func() string, leave func()) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	x.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, x.addr+"/v1/services/stream", nil)
	if err != nil {
		x.t.Fatal(err)
	}
	with(key)(r)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || kind != "text/event-stream" {
		x.t.Fatalf("status %d, %s", resp.StatusCode, kind)
	}
	lines := bufio.NewScanner(resp.Body)
	return func() string {
		event := ""
		for lines.Scan() {
			if kind, ok := strings.CutPrefix(lines.Text(), "event: "); ok {
				event = kind
			} else if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				return event + " " + data
			}
		}
		if ctx.Err() == context.DeadlineExceeded {
			x.t.Fatal("the stream goes on, and says nothing")
		}
		return ""
	}, cancel
}

func TestAStreamOfServicesSaysAllAndThenWhatChanges(t *testing.T) {
	x := newServing(t)
	write := with(x.key(""))
	put := func(path, text string) {
		t.Helper()
		if a, text := ask(t, x.h, "PUT", "/v1/services/"+path, write, body(text)); a.StatusCode > 201 {
			t.Fatal(text)
		}
	}
	put("orders/o1", `{"url":"http://h:1"}`)
	next, leave := x.stream(x.key("ANZ", keys.ServicesRead))
	expect := func(want string) {
		t.Helper()
		if got := next(); got != want {
			t.Fatalf("got  %s\nwant %s", got, want)
		}
	}
	shown := func(service, name, more string) string {
		return fmt.Sprintf(`{"service":%q,"instance":%q,"url":"http://h:1","weight":1,"ttl":30,"since":"2026-11-26T08:00:00.000Z","source":"registered"%s}`, service, name, more)
	}
	expect(`service {"name":"orders","instances":[` + shown("orders", "o1", "") + `]}`)
	expect(`services {"names":["orders"]}`)
	put("orders/o1", `{"url":"http://h:1"}`) // a renewal is no news
	put("bills/b1", `{"url":"http://h:1"}`)
	expect(`service {"name":"bills","instances":[` + shown("bills", "b1", "") + `]}`)
	for range 3 { // of which each look finds the same, though it is looked at again and again
		put("meta/m1", `{"url":"http://h:1","meta":{"a":"1","b":"2","c":"3","d":"4","e":"5","f":"6"}}`)
	}
	expect(`service {"name":"meta","instances":[{"service":"meta","instance":"m1","url":"http://h:1","weight":1,"meta":{"a":"1","b":"2","c":"3","d":"4","e":"5","f":"6"},"ttl":30,"since":"2026-11-26T08:00:00.000Z","source":"registered"}]}`)
	for number := x.v1.opts.Rooms.Stats.Latest().Number; x.v1.opts.Rooms.Stats.Latest().Number < number+5; {
		_, more := x.v1.opts.Rooms.Stats.After(x.v1.opts.Rooms.Stats.Latest().Number, 1)
		<-more
	}
	x.becomes("o1", "down", 7) // which only the gateway knows
	expect(`service {"name":"orders","instances":[` + shown("orders", "o1", `,"health":{"state":"down","since":"2026-11-26T08:00:00.000Z","reason":"it says so"},"inFlight":7`) + `]}`)
	wantStatus(t, x.h, 200, "DELETE", "/v1/services/bills/b1", write)
	expect(`service {"name":"bills","instances":[]}`)
	x.observed.most.Store(1)
	x.refused(503, "BUSY", "GET", "/v1/services/stream", write)
	leave()
}

func TestAStreamOfServicesEndsWithItsKeyAndWithTheNode(t *testing.T) {
	x := newServing(t)
	key, presented, err := x.ring.Make(t.Context(), keys.Wish{App: "ANZ", Scopes: []keys.Scope{keys.ServicesRead}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	next, _ := x.stream(presented)
	if err := x.ring.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	for next() != "" {
	}
	next, _ = x.stream(x.key(""))
	x.stop()
	for next() != "" {
	}
}
