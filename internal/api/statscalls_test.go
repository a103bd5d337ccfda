package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/stats"
)

// watching lets only so many streams be open.
type watching struct {
	*stats.Sampler
	most *atomic.Int64
}

func (w watching) Watch() (func(), bool) { return w.Sampler.Watch(int(w.most.Load())) }

// observed is a world whose stats are read from real counters, a hundred times a
// second.
type observed struct {
	*world
	proved prometheus.Counter
	addr   string // of a server whose own time-outs are as short
	stop   func() // ends the sampler
	most   atomic.Int64
	later  atomic.Int64 // how much later than x.now the samples are
}

func newObserved(t *testing.T, change ...func(*Rooms)) *observed {
	t.Helper()
	x := &observed{world: newWorld(t)}
	registry := prometheus.NewRegistry()
	x.proved = prometheus.NewCounter(prometheus.CounterOpts{Name: "switchboard_reliable_proved_total", Help: "."})
	registry.MustRegister(x.proved)
	sampler, err := stats.New(stats.Options{
		Metrics: registry, Now: x.time, Log: slog.New(slog.DiscardHandler), Every: quick / 10,
	})
	if err != nil {
		t.Fatal(err)
	}
	x.most.Store(10)
	x.v1.opts.Rooms.Stats, x.v1.opts.Rooms.Version = watching{sampler, &x.most}, "v1.2.3"
	for _, f := range change {
		f(&x.v1.opts.Rooms)
	}
	x.v1.calls = Calls(x.v1.opts.Rooms)
	o := options()
	o.V1 = x.v1
	x.h = NewPublic(o)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- sampler.Run(ctx) }()
	x.stop = sync.OnceFunc(func() {
		cancel()
		<-done
	})
	t.Cleanup(x.stop)
	server := httptest.NewUnstartedServer(x.h)
	server.Config.ReadTimeout, server.Config.WriteTimeout = quick, quick
	server.Start()
	t.Cleanup(server.Close)
	x.addr = server.URL
	return x
}

func (x *observed) time() time.Time { return x.now.Add(time.Duration(x.later.Load())) }

// open opens a stream, and returns what reads its next event.
func (x *observed) open(key, query string, change ...func(*http.Request)) (next func() (id string, data map[string]any, ok bool)) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	x.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, x.addr+"/v1/stats/stream"+query, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	for _, f := range append(change, with(key)) {
		f(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	x.t.Cleanup(func() { _ = resp.Body.Close() })
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || kind != "text/event-stream" {
		x.t.Fatalf("status %d, %s", resp.StatusCode, kind)
	}
	lines := bufio.NewScanner(resp.Body)
	return func() (id string, data map[string]any, ok bool) {
		for lines.Scan() {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				id = value
			case "data":
				if err := json.Unmarshal([]byte(value), &data); err != nil {
					x.t.Fatal(err)
				}
			case "":
				return id, data, true
			}
		}
		if ctx.Err() != nil {
			x.t.Fatal("the stream goes on")
		}
		return "", nil, false
	}
}

func provedOf(data map[string]any) float64 {
	messages, _ := data["messages"].(map[string]any)
	n, _ := messages["proved"].(float64)
	return n
}

func TestStatsSayHowTheNodeIs(t *testing.T) {
	x := newObserved(t)
	x.proved.Add(7)
	next := x.open(x.key(""), "")
	for {
		_, data, ok := next()
		if !ok {
			t.Fatal("the stream ended")
		}
		if provedOf(data) == 7 {
			break
		}
	}
	resp, text := ask(t, x.h, "GET", "/v1/stats", with(x.key("ANZ", keys.StatsRead)))
	var data map[string]any
	if err := json.Unmarshal([]byte(text), &data); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatal(err, text)
	}
	if provedOf(data) != 7 || data["version"] != "v1.2.3" || data["at"] != "2026-11-26T08:00:00.000Z" || data["startedAt"] != data["at"] {
		t.Error(text)
	}
}

func TestAStreamOfStatsOutlivesTheTimeThatRequestsHave(t *testing.T) {
	x := newObserved(t)
	next := x.open(x.key(""), "")
	for began := time.Now(); time.Since(began) < 3*quick; {
		if _, _, ok := next(); !ok {
			t.Fatalf("the stream ended after %s", time.Since(began))
		}
	}
}

func TestAStreamOfStatsBeginsWithThePastThatIsAskedFor(t *testing.T) {
	x := newObserved(t)
	key := x.key("")
	next := x.open(key, "")
	first, _, _ := next()
	var newest string
	for range 10 {
		newest, _, _ = next()
	}
	again := x.open(key, "?past=9")
	id, _, _ := again()
	if from := numberOf(t, id); from < numberOf(t, newest)-9 {
		t.Errorf("with 9 past ones it begins with %d, and %s was there", from, newest)
	}
	for want := numberOf(t, id) + 1; want < numberOf(t, id)+10; want++ {
		if id, _, _ := again(); numberOf(t, id) != want {
			t.Fatalf("%s, wanted number %d", id, want)
		}
	}
	resumed := x.open(key, "", header("Last-Event-ID", first))
	if id, _, _ := resumed(); numberOf(t, id) != numberOf(t, first)+1 {
		t.Errorf("after %s came %s", first, id)
	}
	for _, foreign := range []string{"other-1", "1", strings.Replace(first, "-", "-x", 1)} {
		fresh := x.open(key, "", header("Last-Event-ID", foreign))
		if id, _, _ := fresh(); numberOf(t, id) < numberOf(t, newest) {
			t.Errorf("after %q came %s", foreign, id)
		}
	}
	for _, past := range []string{"-1", "301", "x"} {
		x.refused(400, CodeInvalidRequest, "GET", "/v1/stats/stream?past="+past, with(key))
	}
}

// numberOf returns the number in an event's ID.
func numberOf(t *testing.T, id string) int {
	t.Helper()
	_, text, _ := strings.Cut(id, "-")
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("an event has the ID %q", id)
	}
	return n
}

func TestAStreamOfStatsEndsWithItsKey(t *testing.T) {
	x := newObserved(t)
	lasting, _, err := x.ring.Make(t.Context(), keys.Wish{Admin: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	revoked, presented, err := x.ring.Make(t.Context(), keys.Wish{App: "ANZ", Scopes: []keys.Scope{keys.StatsRead}}, lasting)
	if err != nil {
		t.Fatal(err)
	}
	next := x.open(presented, "")
	if _, _, ok := next(); !ok {
		t.Fatal("there is no event")
	}
	if err := x.ring.Revoke(t.Context(), revoked.ID); err != nil {
		t.Fatal(err)
	}
	for ok := true; ok; {
		_, _, ok = next()
	}
	x.refused(401, CodeKeyInvalid, "GET", "/v1/stats/stream", with(presented))
}

func TestAStreamOfStatsEndsWhenItsKeyExpires(t *testing.T) {
	x := newObserved(t)
	_, presented, err := x.ring.Make(t.Context(), keys.Wish{Admin: true, Expires: x.time().Add(time.Minute)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	next := x.open(presented, "")
	if _, _, ok := next(); !ok {
		t.Fatal("there is no event")
	}
	x.later.Store(int64(time.Minute))
	for ok := true; ok; {
		_, _, ok = next()
	}
}

func TestAStreamOfStatsEndsWhenTheNodeStops(t *testing.T) {
	x := newObserved(t)
	next := x.open(x.key(""), "")
	if _, _, ok := next(); !ok {
		t.Fatal("there is no event")
	}
	x.stop()
	for ok := true; ok; {
		_, _, ok = next()
	}
}

func TestOnlySoManyStreamsOfStatsAreOpen(t *testing.T) {
	x := newObserved(t)
	x.most.Store(1)
	key := x.key("")
	next := x.open(key, "")
	if _, _, ok := next(); !ok {
		t.Fatal("there is no event")
	}
	resp, text := ask(t, x.h, "GET", "/v1/stats/stream", with(key))
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(text, `"BUSY"`) || !strings.Contains(text, "limits.statsStreams") {
		t.Errorf("a second stream: %d %s", resp.StatusCode, text)
	}
	// A look at what a stream would be takes no place.
	x.most.Store(2)
	for range 5 {
		if resp, text := ask(t, x.h, "HEAD", "/v1/stats/stream", with(key)); resp.StatusCode != 405 {
			t.Fatalf("%d %q", resp.StatusCode, text)
		}
	}
}

func TestAKeyMayAskWhatItIs(t *testing.T) {
	x := newWorld(t)
	key := func(presented string) map[string]any {
		t.Helper()
		resp, text := ask(t, x.h, "GET", "/v1/whoami", with(presented))
		var data map[string]any
		if err := json.Unmarshal([]byte(text), &data); err != nil || resp.StatusCode != 200 {
			t.Fatal(resp.StatusCode, text)
		}
		return data
	}
	app := key(x.key("SHOP", keys.StatsRead))
	if app["app"] != "SHOP" || app["admin"] != false || fmt.Sprint(app["scopes"], app["apps"]) != "[stats:read] [SHOP]" || app["id"] == nil {
		t.Error(app)
	}
	admin := key(x.key(""))
	if admin["app"] != nil || admin["admin"] != true || fmt.Sprint(admin["apps"]) != "[ANZ SHOP]" || len(admin["scopes"].([]any)) != len(keys.Scopes()) {
		t.Error(admin)
	}
	o := options()
	o.V1 = x.v1
	resp, text := ask(t, NewControl(o), "GET", "/v1/whoami")
	if resp.StatusCode != 200 || !strings.Contains(text, `"admin":true`) || strings.Contains(text, `"id"`) {
		t.Error(resp.StatusCode, text)
	}
}

// stuck is a client that takes one event, and then nothing.
type stuck struct {
	*httptest.ResponseRecorder
	deadlines []time.Time
	writes    int
}

func (s *stuck) SetWriteDeadline(t time.Time) error {
	s.deadlines = append(s.deadlines, t)
	return nil
}

func (s *stuck) Write(b []byte) (int, error) {
	if s.writes++; s.writes > 1 {
		return 0, os.ErrDeadlineExceeded
	}
	return s.ResponseRecorder.Write(b)
}

func TestAClientThatTakesNoStatsIsGivenUp(t *testing.T) {
	x := newObserved(t)
	r := httptest.NewRequest(http.MethodGet, "/v1/stats/stream?past=300", nil)
	r.Host = "127.0.0.1:8088"
	with(x.key(""))(r)
	client := &stuck{ResponseRecorder: httptest.NewRecorder()}
	began := time.Now()
	x.h.ServeHTTP(client, r) // returns
	if client.writes != 2 || len(client.deadlines) != 2 {
		t.Fatalf("%d writes, %d deadlines", client.writes, len(client.deadlines))
	}
	for _, d := range client.deadlines {
		if d.Before(began.Add(statsWriteTime)) || d.After(time.Now().Add(statsWriteTime)) {
			t.Errorf("a write may take until %s", d.Sub(began))
		}
	}
}
