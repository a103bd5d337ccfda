package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/traffic"
)

// trafficked is an observed world with one shard of traffic.
type trafficked struct {
	*observed
	room  *traffic.Room
	shard *traffic.Shard

	mu   sync.Mutex
	down error
}

func newTrafficked(t *testing.T) *trafficked {
	t.Helper()
	x := new(trafficked)
	var err error
	x.room, err = traffic.New(traffic.Options{
		Shards: 1, Rows: 100, Now: func() time.Time { return x.time() },
		Ask: func(_ context.Context, n int, request []byte) ([]byte, error) {
			x.mu.Lock()
			defer x.mu.Unlock()
			if x.down != nil {
				return nil, x.down
			}
			return x.room.Serve(n, request, x.time().UnixMilli())
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	x.shard = x.room.Begin(0)
	x.shard.Ready()
	x.observed = newObserved(t, func(r *Rooms) { r.Traffic = x.room })
	return x
}

// came has a message of an app be exchanged some time ago.
func (x *trafficked) came(ago time.Duration, app, capability string, bytes uint64) {
	at := x.time().Add(-ago).UnixMilli()
	x.shard.Fold([]traffic.Event{{
		At: at, Stored: at, Key: traffic.Key{Type: traffic.Delivered, App: app, Capability: capability}, Amount: bytes,
	}}, func(int) bool { return true })
}

func TestTrafficIsShownInWindowsByWhatIsAskedFor(t *testing.T) {
	x := newTrafficked(t)
	x.came(150*time.Second, "ANZ", "message", 100)
	x.came(150*time.Second, "ANZ", "chat", 50)
	x.came(150*time.Second, "SHOP", "message", 300)
	x.came(10*time.Second, "ANZ", "message", 7)
	for _, c := range []struct{ name, key, query, want string }{
		{"all together", x.key(""), "", `"windows":[` +
			`{"start":"2026-11-26T07:57:00.000Z","end":"2026-11-26T07:58:00.000Z","final":true,"groups":[{"count":3,"sum":450,"min":50,"max":300,"mean":150,"p50":`},
		{"what an app's key sees", x.key("ANZ", keys.StatsRead), "?by=app", `"groups":[{"app":"ANZ","count":2,"sum":150,`},
		{"capabilities", x.key(""), "?by=capability,app&window=10s", `{"start":"2026-11-26T07:57:30.000Z","end":"2026-11-26T07:57:40.000Z","final":true,"groups":[{"app":"ANZ","capability":"chat","count":1,"sum":50,`},
		{"one of them", x.key(""), "?capability=chat", `"groups":[{"count":1,"sum":50,`},
		{"an app", x.key(""), "?app=SHOP", `"groups":[{"count":1,"sum":300,`},
		{"what is not final", x.key(""), "?past=2", `{"start":"2026-11-26T07:59:00.000Z","end":"2026-11-26T08:00:00.000Z","final":false,"groups":[{"count":1,"sum":7,"min":7,"max":7,"mean":7,"p50":7,"p90":7,"p99":7,"revision":0}]}]`},
		{"sliding ones", x.key(""), "?window=30s&slide=10s&by=app&past=3", `"kind":"sliding","windowSeconds":30,"slideSeconds":10,"by":["app"],"from":"2026-11-26T07:59:40.000Z"`},
		{"sessions", x.key(""), "?gap=1m", `{"start":"2026-11-26T07:57:30.000Z","end":"2026-11-26T07:58:30.000Z"`},
		{"from a time to another", x.key(""), "?from=2026-11-26T07:59:00Z&to=2026-11-26T07:59:30Z", `"from":"2026-11-26T07:59:00.000Z","to":"2026-11-26T07:59:30.000Z"`},
		{"none of a type", x.key(""), "?type=connectionsOpen", `"windows":[]`},
	} {
		resp, text := ask(t, x.h, "GET", "/v1/traffic"+c.query, with(c.key))
		if resp.StatusCode != 200 || !strings.Contains(text, c.want) || !json.Valid([]byte(text)) {
			t.Errorf("%s: %d %s\nlacks %s", c.name, resp.StatusCode, text, c.want)
		}
	}
	if _, text := ask(t, x.h, "GET", "/v1/traffic?by=app", with(x.key("ANZ", keys.StatsRead))); strings.Contains(text, "SHOP") {
		t.Errorf("an app's key sees another app: %s", text)
	}
	x.refused(403, CodeForbidden, "GET", "/v1/traffic?app=SHOP", with(x.key("ANZ", keys.StatsRead)))
}

func TestWhatNoWindowsAreIsRefusedWithASentence(t *testing.T) {
	x := newTrafficked(t)
	key := x.key("")
	for _, query := range []string{
		"window=15s", "window=1", "window=-1m", "window=0s", "window=25h", "window=x", "kind=hopping", "kind=session", "kind=sliding&window=1m",
		"slide=2m&window=1m", "gap=9s", "gap=1m&window=1m", "kind=tumbling&slide=10s", "by=apps", "by=app,app", "past=0", "past=1441", "past=x",
		"from=yesterday", "from=2026-11-26T08:00:01Z", "from=2026-11-25T07:00:00Z", "window=10s&from=2026-11-26T05:00:00Z", "by=device&from=2026-11-26T06:00:00Z",
		"from=2026-11-26T07:59:00Z&to=2026-11-26T07:58:00Z", "from=2026-11-26T07:59:00Z&past=5", "window=20m&slide=10s&kind=sliding&gap=10s", "nothing=1",
	} {
		x.refused(400, CodeInvalidRequest, "GET", "/v1/traffic?"+query, with(key))
	}
	for _, query := range []string{"window=15s", "from=2026-11-26T07:59:00Z", "by=apps", "type=bogus"} {
		x.refused(400, CodeInvalidRequest, "GET", "/v1/traffic/stream?"+query, with(key))
	}
}

// The world's time is 08:00.
func TestARefusalOfWindowsNamesTheFieldAndSaysWhatToAskInstead(t *testing.T) {
	x := newTrafficked(t)
	for _, c := range []struct{ query, field, says string }{
		{"window=15s", "window", "a multiple of 10s"},
		{"window=x", "window", "such as 10s"},
		{"kind=sliding", "slide", "must be given"},
		{"slide=15s", "slide", "a multiple of 10s"},
		{"slide=2m&window=1m", "slide", "no longer than the window"},
		{"kind=session", "gap", "must be given"},
		{"gap=9s", "gap", "at least 10s"},
		{"kind=hopping", "kind", "tumbling, sliding or session"},
		{"window=24h", "window", "at most 6h"},
		{"window=1h&by=device", "window", "at most 15m"},
		{"window=1h&slide=10s", "slide", "at least a sixtieth of the window"},
		{"window=50m&slide=50s", "window", "at most 30m"},
		{"gap=6h1s", "gap", "at most 6h"},
		{"window=10s&past=1440", "past", "at most 720"},
		{"window=1h&past=25", "past", "at most 24"},
		{"type=bogus", "type", "one of connectionsOpen, connectionsClosed, matched, unmatched, bytesSent, bytesReceived, traffic"},
		{"type=bytesSent,bogus", "type", `"bogus" is none`},
		{"by=device&past=61", "past", "by device all is kept for 1h"},
		{"from=2026-11-25T07:00:00Z", "from", "2026-11-25T08:02:00Z or later: all is kept for 24h"},
		{"window=10s&from=2026-11-26T05:59:59Z", "from", "2026-11-26T06:02:00Z or later: windows that are not of whole minutes are kept for 2h"},
		{"gap=10s&from=2026-11-26T05:00:00Z", "from", "shorter than a minute are kept for 2h"},
		{"to=2026-11-25T07:00:00Z", "to", "must be after"},
		{"from=2026-11-26T07:59:00Z&to=2026-11-26T07:58:00Z", "from", "before to"},
	} {
		p := x.refused(400, CodeInvalidRequest, "GET", "/v1/traffic?"+c.query, with(x.key("")))
		if says := p["detail"].(string); p["field"] != c.field || !strings.HasPrefix(says, c.field+" must ") || !strings.Contains(says, c.says) {
			t.Errorf("%s: field %v, %s", c.query, p["field"], says)
		}
	}
}

func TestTrafficOfWhichAPartIsNotToBeHadIsNotAnswered(t *testing.T) {
	x := newTrafficked(t)
	x.down = errors.New("the node that was asked does not answer; it may have been done")
	p := x.refused(503, "STORE_DOWN", "GET", "/v1/traffic", with(x.key("")))
	says := p["detail"].(string)
	if !strings.Contains(says, "numbers of shard 0 cannot be reached at the moment") || !strings.Contains(says, "try again") || strings.Contains(says, "done") {
		t.Error(p)
	}
}

// watch opens a stream of traffic, and returns what reads its next window.
func (x *trafficked) watch(key, query string) (next func() map[string]any, leave func()) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, x.addr+"/v1/traffic/stream"+query, nil)
	if err != nil {
		x.t.Fatal(err)
	}
	with(key)(r)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		x.t.Fatal(err)
	}
	if kind := resp.Header.Get("Content-Type"); resp.StatusCode != 200 || kind != "text/event-stream" {
		x.t.Fatalf("%d %s", resp.StatusCode, kind)
	}
	lines := bufio.NewScanner(resp.Body)
	leave = func() {
		cancel()
		_ = resp.Body.Close()
	}
	x.t.Cleanup(leave)
	return func() map[string]any {
		for lines.Scan() {
			text, ok := strings.CutPrefix(lines.Text(), "data: ")
			if !ok {
				continue
			}
			var data map[string]any
			if err := json.Unmarshal([]byte(text), &data); err != nil {
				x.t.Fatalf("%q: %v", text, err)
			}
			return data
		}
		return nil
	}, leave
}

func TestTrafficIsWatchedAsItChanges(t *testing.T) {
	x := newTrafficked(t)
	x.came(0, "ANZ", "message", 4)
	key := x.key("ANZ", keys.StatsRead)
	next, _ := x.watch(key, "?window=10s&by=app")
	count := func(w map[string]any) (count, sum float64, final bool) {
		t.Helper()
		groups, _ := w["groups"].([]any)
		if len(groups) != 1 || groups[0].(map[string]any)["app"] != "ANZ" {
			t.Fatalf("told %v", w)
		}
		g := groups[0].(map[string]any)
		return g["count"].(float64), g["sum"].(float64), w["final"].(bool)
	}
	if n, sum, final := count(next()); n != 1 || sum != 4 || final {
		t.Errorf("%v messages of %v bytes, final %v", n, sum, final)
	}
	x.mu.Lock()
	x.down = errors.New("nobody")
	x.mu.Unlock()
	x.came(0, "SHOP", "message", 6)
	x.came(0, "ANZ", "message", 6)
	x.mu.Lock()
	x.down = nil
	x.mu.Unlock()
	if n, sum, final := count(next()); n != 2 || sum != 10 || final {
		t.Errorf("%v messages of %v bytes, final %v", n, sum, final)
	}
	x.later.Store(int64(2 * time.Minute))
	if n, sum, final := count(next()); n != 2 || sum != 10 || !final {
		t.Errorf("%v messages of %v bytes, final %v", n, sum, final)
	}
	x.stop() // the node stops
	if w := next(); w != nil {
		t.Errorf("told %v after all", w)
	}
}

func TestASessionThatTakesThePlaceOfOthersNamesThem(t *testing.T) {
	x := newTrafficked(t)
	x.came(50*time.Second, "ANZ", "message", 1)
	x.came(32*time.Second, "ANZ", "message", 1)
	next, _ := x.watch(x.key(""), "?gap=10s&by=app")
	for _, want := range []string{"07:59:10", "07:59:28"} {
		w := next()
		g := w["groups"].([]any)[0].(map[string]any)
		if _, there := g["replaces"]; w["start"] != "2026-11-26T"+want+".000Z" || there {
			t.Errorf("told %v", w)
		}
	}
	at := x.time().Add(-41 * time.Second).UnixMilli()
	between := traffic.Event{At: at, Stored: at, Key: traffic.Key{Type: traffic.Delivered, App: "ANZ", Capability: "message"}, Amount: 1}
	x.shard.Fold([]traffic.Event{between}, func(int) bool { return true })
	w := next()
	g := w["groups"].([]any)[0].(map[string]any)
	if list, _ := g["replaces"].([]any); w["start"] != "2026-11-26T07:59:10.000Z" || g["count"] != 3.0 || len(list) != 1 || list[0] != "2026-11-26T07:59:28.000Z" {
		t.Errorf("told %v", w)
	}
	if _, text := ask(t, x.h, "GET", "/v1/traffic?gap=10s", with(x.key(""))); strings.Contains(text, "replaces") {
		t.Errorf("an answer names what it has not told: %s", text)
	}
}

func TestStreamsOfTrafficAreBoundedWithThoseOfTheStats(t *testing.T) {
	x := newTrafficked(t)
	x.most.Store(1)
	key := x.key("")
	x.came(0, "ANZ", "message", 4)
	next, _ := x.watch(key, "")
	next()
	resp, text := ask(t, x.h, "GET", "/v1/traffic/stream", with(key))
	if resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" || !strings.Contains(text, "limits.statsStreams") {
		t.Errorf("a second stream: %d %s", resp.StatusCode, text)
	}
}

func TestAStreamOfMoreRowsThanThereMayBeIsRefusedOrEnds(t *testing.T) {
	x := newTrafficked(t)
	key := x.key("")
	x.came(0, "ANZ", "message", 4)
	next, _ := x.watch(key, "?by=capability&window=10s")
	next()
	for i := range 200 {
		x.came(0, "ANZ", fmt.Sprint("c", i), 1)
	}
	x.refused(400, CodeInvalidRequest, "GET", "/v1/traffic/stream?by=capability&window=10s", with(key))
	end := next()
	for end != nil && end["detail"] == nil {
		end = next()
	}
	if says, _ := end["detail"].(string); end["code"] != CodeInvalidRequest || !strings.Contains(says, "too many rows") {
		t.Errorf("it ends with %v", end)
	}
}
