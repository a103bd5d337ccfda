package nodetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// exchanged is what a window holds of a group.
type exchanged struct {
	App, Capability, Domain, Device, Type *string
	Count, Sum, Min, Max                  uint64
	Mean, P50, P90, P99                   float64
	Revision                              uint64
}

// windowed is a window as it is shown.
type windowed struct {
	Start, End time.Time
	Final      bool
	Groups     []exchanged
}

type trafficPage struct {
	Kind           string
	From, To       time.Time
	SettledAt      time.Time
	TooLate, Ahead uint64
	Windows        []windowed
}

// exchanged returns what a node shows.
func (s *Server) exchanged(key, query string) (p trafficPage) {
	s.t.Helper()
	a := s.Call("GET", "/v1/traffic?"+query, key, "")
	if err := json.Unmarshal([]byte(a.Body), &p); err != nil || a.Status != http.StatusOK {
		s.t.Fatalf("%s: %d %s", query, a.Status, a.Body)
	}
	return p
}

// total adds up all windows.
func (p trafficPage) total() (count, sum uint64) {
	for _, w := range p.Windows {
		for _, g := range w.Groups {
			count, sum = count+g.Count, sum+g.Sum
		}
	}
	return count, sum
}

func trafficGround() []groundTest {
	return []groundTest{
		{"every message that is delivered counts once on every node", deliveredMessagesCount},
		{"events of devices count by device and by window", devicesCount},
		{"whoever watches is told of what comes", trafficIsWatched},
		{"an app's key sees its app", trafficOfApps},
	}
}

func TestTrafficIsCountedInWindows(t *testing.T) {
	t.Parallel()
	onOneAndOnThree(t, anyApps, trafficGround())
}

func deliveredMessagesCount(g ground) {
	key := g.adminKey()
	a, b := SignIn(g.T, g.Nodes[0], g.id(1), ""), SignIn(g.T, g.Nodes[1], g.id(2), "")
	bytes := 0
	const each = 30
	for i := range each {
		for _, feature := range []string{"FAST", "RELIABLE"} {
			more := fmt.Sprintf(`"feature":%q`, feature)
			a.Message(g.id(2), strings.Repeat("x", 10*i), more)
			bytes += len(b.Expect("MESSAGE").Raw)
		}
	}
	b.Message(g.id(1), "back", "")
	bytes += len(a.Expect("MESSAGE").Raw)
	const query = "by=capability,app&window=10s&type=traffic&capability=message&app=ANZ"
	for _, n := range g.Nodes {
		Eventually(g.T, "all messages are counted", func() bool {
			count, _ := n.exchanged(key, query).total()
			return count >= 2*each+1
		})
		if count, sum := n.exchanged(key, query).total(); count != 2*each+1 || sum != uint64(bytes) {
			g.Errorf("%d messages of %d bytes are counted, not %d of %d", count, sum, 2*each+1, bytes)
		}
	}
	if p := g.Nodes[2].exchanged(key, "window=1h&type=traffic&by=app"); len(p.Windows) == 0 || *p.Windows[0].Groups[0].App != "ANZ" {
		g.Errorf("%+v", p)
	}
}

// happened are events of devices at whole seconds around a time, as they are written
// and as they are to be shown in windows of ten seconds.
func (g ground) happened(around time.Time) (body string, want string) {
	var events []string
	for i := range 200 {
		at := around.Add(time.Duration(i%20-10) * time.Second)
		events = append(events, fmt.Sprintf(`{"type":"bytesSent","device":%q,"amount":%d,"at":%q}`, g.device(i%5), i, at.Format(time.RFC3339)))
	}
	var lines []string
	for pane := -1; pane < 1; pane++ {
		for device := range 5 {
			count, sum, least, most := 0, 0, 1000, 0
			for i := range 200 {
				if i%5 == device && (i%20-10 < 0) == (pane < 0) {
					count, sum, least, most = count+1, sum+i, min(least, i), max(most, i)
				}
			}
			lines = append(lines, fmt.Sprintf("%s %s: %d %d %d-%d", around.Add(time.Duration(pane)*10*time.Second).UTC().Format("05"), g.device(device), count, sum, least, most))
		}
	}
	return `{"events":[` + strings.Join(events, ",") + `]}`, strings.Join(lines, "\n")
}

// mine writes down what a page has of the test's own devices.
func (g ground) mine(p trafficPage) string {
	var lines []string
	for _, w := range p.Windows {
		for _, one := range w.Groups {
			if strings.HasPrefix(*one.Device, fmt.Sprintf("device-%d-", g.first)) {
				lines = append(lines, fmt.Sprintf("%s %s: %d %d %d-%d", w.Start.UTC().Format("05"), *one.Device, one.Count, one.Sum, one.Min, one.Max))
			}
		}
	}
	return strings.Join(lines, "\n")
}

func devicesCount(g ground) {
	key := g.adminKey()
	around := time.Now().Add(-30 * time.Second).Truncate(10 * time.Second)
	late := fmt.Sprintf(`{"events":[{"type":"bytesSent","device":%q,"amount":7,"at":%q}]}`, g.device(9), around.Add(-2*time.Minute).Format(time.RFC3339))
	wantAnswer(g.T, "write", g.Nodes[1].Call("POST", "/v1/journal", key, late), 201, "")
	// One clock that is ahead moves nothing for others: what they say afterwards is in time.
	ahead := fmt.Sprintf(`{"events":[{"type":"bytesSent","device":%q,"amount":7,"at":%q}]}`, g.device(8), time.Now().Add(45*time.Second).Format(time.RFC3339))
	wantAnswer(g.T, "write", g.Nodes[2].Call("POST", "/v1/journal", key, ahead), 201, "")
	body, want := g.happened(around)
	wantAnswer(g.T, "write", g.Nodes[0].Call("POST", "/v1/journal", key, body), 201, "")
	for _, n := range g.Nodes {
		p := n.exchanged(key, "by=device&window=10s") // what was answered is there at once
		if got := g.mine(p); got != want {
			g.Errorf("%s\nwanted\n%s", got, want)
		}
		if p.TooLate != 1 {
			g.Errorf("%d came too late, not 1", p.TooLate)
		}
		if p.Ahead != 1 {
			g.Errorf("%d are ahead, not 1", p.Ahead)
		}
		one := n.exchanged(key, "window=30s&slide=10s&device="+g.device(3))
		if count, sum := one.total(); count != 3*40 || sum != 3*(3+198)*40/2 {
			g.Errorf("in three windows each there are %d of %d bytes: %+v", count, sum, one)
		}
		session := n.exchanged(key, "gap=10s&device="+g.device(3))
		if count, _ := session.total(); count != 40 || len(session.Windows) != 1 {
			g.Errorf("sessions are %+v", session)
		}
	}
}

func trafficIsWatched(g ground) {
	key := g.adminKey()
	ctx, cancel := context.WithCancel(g.Context())
	g.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, "GET", "http://"+g.Nodes[2].Addr+"/v1/traffic/stream?window=10s&past=1&by=device&device="+g.device(1), nil)
	if err != nil {
		g.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	res, err := http.DefaultClient.Do(r)
	if err != nil || res.StatusCode != 200 {
		g.Fatal(res, err)
	}
	g.Cleanup(func() { _ = res.Body.Close() })
	events := NewEventReader(res.Body)
	latest := make(map[time.Time]uint64)
	for written := 1; written <= 3; written++ {
		g.write(written, key, g.device(1), "bytesSent", 10)
		for sum := uint64(0); sum < uint64(10*written); {
			e, err := events.Next()
			var w windowed
			if err != nil || e.Event != "window" || json.Unmarshal([]byte(e.Data), &w) != nil {
				g.Fatal(e, err)
			}
			latest[w.Start] = w.Groups[0].Sum
			sum = 0
			for _, one := range latest {
				sum += one
			}
			if sum > uint64(10*written) {
				g.Fatalf("%d bytes of %d", sum, 10*written)
			}
		}
	}
}

func trafficOfApps(g ground) {
	var keys []string
	for _, app := range []string{"ANZ", "SHOP"} {
		_, key := g.Nodes[0].NewKey(`{"app":"` + app + `","scopes":["journal:write","stats:read"]}`)
		for _, n := range g.Nodes {
			Eventually(g.T, "every node knows the key", func() bool { return n.Call("GET", "/v1/whoami", key, "").Status == 200 })
		}
		keys = append(keys, key)
	}
	g.write(0, keys[0], g.device(1), "bytesSent", 10)
	g.write(1, keys[1], g.device(1), "bytesSent", 1)
	for i, want := range []uint64{10, 1} {
		p := g.Nodes[2].exchanged(keys[i], "type=bytesSent&by=app&device="+g.device(1))
		if count, sum := p.total(); count != 1 || sum != want {
			g.Errorf("%d of %d bytes, not %d: %+v", count, sum, want, p)
		}
	}
	wantCode(g.T, "another app", g.Nodes[0].Call("GET", "/v1/traffic?app=SHOP", keys[0], ""), 403, "FORBIDDEN")
	_, key := g.Nodes[0].NewKey(`{"app":"ANZ","scopes":["journal:write"]}`)
	wantCode(g.T, "without the scope", g.Nodes[0].Call("GET", "/v1/traffic", key, ""), 403, "SCOPE_MISSING")
}

// What is stored gives the same windows on one node as on three, and after a kill in
// the middle of one.
func TestTheSameEventsGiveTheSameWindowsOnOneNodeAndOnThreeAndAfterAKill(t *testing.T) {
	t.Parallel()
	alone := startWith(t, anyApps)
	c := three(t, anyApps)
	one, many := ground{t, &Cluster{t: t, Nodes: []*Server{alone}}, 10_000}, ground{t, c, 10_000}
	keys := []string{one.adminKey(), many.adminKey()}
	around := time.Now().Add(-30 * time.Second).Truncate(10 * time.Second)
	body, want := one.happened(around)
	wantAnswer(t, "write", alone.Call("POST", "/v1/journal", keys[0], body), 201, "")
	wantAnswer(t, "write", c.Nodes[1].Call("POST", "/v1/journal", keys[1], body), 201, "")
	see := func(what string, s *Server, key string) string {
		t.Helper()
		var shown string
		Eventually(t, "the shards are kept", func() bool {
			a := s.Call("GET", "/v1/traffic?window=10s&by=device", key, "")
			var p trafficPage
			if a.Status != 200 || json.Unmarshal([]byte(a.Body), &p) != nil {
				return false
			}
			if got := one.mine(p); got != want {
				t.Fatalf("%s: %s\nwanted\n%s", what, got, want)
			}
			for i := range p.Windows {
				p.Windows[i].Final = false // that is a matter of when it is asked for
			}
			text, err := json.Marshal(p.Windows)
			if err != nil {
				t.Fatal(err)
			}
			shown = string(text)
			return true
		})
		return shown
	}
	first := see("one node", alone, keys[0])
	if other := see("three nodes", c.Nodes[0], keys[1]); other != first {
		t.Errorf("on three nodes there is\n%s\non one\n%s", other, first)
	}
	alone.Kill()
	alone.Start()
	if other := see("one node that was killed", alone, keys[0]); other != first {
		t.Errorf("after a kill there is\n%s\nbefore\n%s", other, first)
	}
	for i := range 2 {
		c.Nodes[i].Kill()
		if other := see("what is left", c.Nodes[2], keys[1]); other != first && i == 0 {
			t.Errorf("without node %d there is\n%s\nbefore\n%s", i, other, first)
		}
		c.Launch(c.Nodes[i])
		c.AwaitReady(c.Nodes[i])
		if other := see("all again", c.Nodes[i], keys[1]); other != first {
			t.Errorf("with node %d again there is\n%s\nbefore\n%s", i, other, first)
		}
	}
}

// A clean stop loses nothing that was counted, not the last second either.
func TestACleanStopKeepsWhatWasCountedInItsLastSecond(t *testing.T) {
	t.Parallel()
	s := startWith(t, anyApps)
	g := ground{t, &Cluster{t: t, Nodes: []*Server{s}}, 10_000}
	key := g.adminKey()
	a, b := SignIn(t, s, g.id(1), ""), SignIn(t, s, g.id(2), "")
	for range 25 {
		a.Message(g.id(2), "x", `"feature":"FAST"`)
		b.Expect("MESSAGE")
	}
	if code := s.Stop(); code != 0 {
		t.Fatalf("exit code %d\n%s", code, s.Output())
	}
	s.Start()
	if count, _ := s.exchanged(key, "type=traffic&window=10s").total(); count != 25 {
		t.Errorf("%d messages are counted, not 25", count)
	}
}

// enter connects a device at a place through the simple door.
func (s *Server) enter(ctx context.Context, id string, lon int) *websocket.Conn {
	s.t.Helper()
	c, res, err := websocket.Dial(ctx, fmt.Sprintf("ws://%s/device/connect?id=%s&lat=1&lon=%d", s.Addr, id, lon), nil)
	if err != nil {
		s.t.Fatal(res, err)
	}
	s.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// hears reads what a device is told until it is something.
func hears(ctx context.Context, t *testing.T, c *websocket.Conn, what string) {
	t.Helper()
	for {
		_, text, err := c.Read(ctx)
		if err != nil {
			t.Fatalf("waiting for %q: %v", what, err)
		}
		if string(text) == what {
			return
		}
	}
}

// What matched devices send each other counts once, as theirs.
func TestWhatMatchedDevicesExchangeCountsByDevice(t *testing.T) {
	t.Parallel()
	s := startWith(t, anyApps+"matching: {simple: {enabled: true, access: open}}\n")
	g := ground{t, &Cluster{t: t, Nodes: []*Server{s}}, 10_000}
	key := g.adminKey()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	a, b := s.enter(ctx, "a", 1), s.enter(ctx, "b", 2)
	hears(ctx, t, a, "I matched with device 'b'!")
	hears(ctx, t, b, "I matched with device 'a'!")
	for _, text := range []string{"ciao", "addio", "è"} {
		if err := a.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			t.Fatal(err)
		}
		hears(ctx, t, b, "device a says: "+text)
	}
	const query = "window=10s&by=device,capability"
	Eventually(t, "all that was exchanged is counted", func() bool {
		count, _ := s.exchanged(key, query).total()
		return count >= 3
	})
	p := s.exchanged(key, query)
	if count, sum := p.total(); count != 3 || sum != 4+5+2 {
		t.Errorf("%d messages of %d bytes are counted, not 3 of 11", count, sum)
	}
	if one := p.Windows[0].Groups[0]; *one.Device != "a" || *one.Capability != "match" {
		t.Errorf("they are %s's, by %s", *one.Device, *one.Capability)
	}
	Eventually(t, "what was received is counted, too, for who asks", func() bool {
		count, sum := s.exchanged(key, "window=10s&by=device&device=b&type=bytesReceived").total()
		return count == 3 && sum == 11
	})
}
