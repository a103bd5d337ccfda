package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	nodes "github.com/seed-3d8c1042/switchboard/internal/members"
)

// twoNodes are a cluster whose members change on command.
type twoNodes struct {
	mu       sync.Mutex
	list     []nodes.Member
	watchers map[int]func([]nodes.Member)
	watched  int
	copies   *Copies
	refuses  error
	removed  []string
}

func (c *twoNodes) Copies(context.Context) *Copies {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.copies
}

func (c *twoNodes) Remove(_ context.Context, name string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refuses == nil {
		c.removed = append(c.removed, name)
	}
	return c.refuses
}

func newTwoNodes() *twoNodes {
	at := time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)
	return &twoNodes{watchers: map[int]func([]nodes.Member){}, list: []nodes.Member{
		{ID: "id-1", Name: "node1", Address: "node1:8088", Status: nodes.Up, Roles: []string{"connector"}, Version: "v1", Sessions: 7, Load: 0.25, Since: at},
		{ID: "id-2", Name: "node2", Address: "node2:8088", Status: nodes.Up, Roles: []string{"processor"}, Version: "v1", Since: at},
	}}
}

func (c *twoNodes) Self() string { return "id-1" }

func (c *twoNodes) List() []nodes.Member {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.list)
}

func (c *twoNodes) Watch(f func([]nodes.Member)) (stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(slices.Clone(c.list))
	id := c.watched
	c.watched++
	c.watchers[id] = f
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.watchers, id)
	}
}

func (c *twoNodes) watching() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.watchers)
}

func (c *twoNodes) becomes(s nodes.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.list[1].Status = s
	for _, f := range c.watchers {
		f(slices.Clone(c.list))
	}
}

// meeting is a world with a cluster.
func meeting(t *testing.T) (*observed, *twoNodes) {
	x, c := newObserved(t), newTwoNodes()
	x.v1.opts.Rooms.Cluster, x.v1.opts.Rooms.Relay, x.v1.opts.Rooms.Services = c, &aRelay{}, oneService(t)
	x.v1.calls = Calls(x.v1.opts.Rooms)
	o := options()
	o.V1 = x.v1
	server := httptest.NewServer(NewPublic(o))
	t.Cleanup(server.Close)
	x.h, x.addr = NewPublic(o), server.URL
	return x, c
}

const shownNodes = `{"members":[` +
	`{"id":"id-1","name":"node1","address":"node1:8088","status":"up","roles":["connector"],"version":"v1","sessions":7,"load":0.25,"since":"2026-11-26T08:00:00.000Z","self":true},` +
	`{"id":"id-2","name":"node2","address":"node2:8088","status":"up","roles":["processor"],"version":"v1","sessions":0,"load":0,"since":"2026-11-26T08:00:00.000Z"}]}` + "\n"

func TestTheClusterIsShownToKeysAndToWhoeverReachesTheAdminListener(t *testing.T) {
	x, c := meeting(t)
	if a, text := ask(t, x.h, "GET", "/v1/cluster", with(x.key("ANZ", keys.StatsRead))); a.StatusCode != 200 || text != shownNodes {
		t.Errorf("%d %s", a.StatusCode, text)
	}
	x.refused(403, CodeScopeMissing, "GET", "/v1/cluster", with(x.key("ANZ", keys.UsersRead)))
	o := options()
	o.Cluster = c
	if a, text := ask(t, NewAdmin(o), "GET", "/cluster"); a.StatusCode != 200 || text != shownNodes || a.Header.Get("Content-Type") != "application/json" {
		t.Errorf("%d %s", a.StatusCode, text)
	}
	if _, text := ask(t, NewAdmin(o), "GET", "/"); !strings.Contains(text, "/cluster\n") {
		t.Error(text)
	}
	wantProblem(t, NewAdmin(o), 405, CodeWrongMethod, "POST", "/cluster")
	// On the public listener: of the demo only.
	o.Console = http.NotFoundHandler()
	if a, _ := ask(t, NewPublic(o), "GET", "/cluster"); a.StatusCode != 404 {
		t.Error(a.StatusCode)
	}
	o.Demo = true
	if a, text := ask(t, NewPublic(o), "GET", "/cluster"); a.StatusCode != 200 || text != shownNodes {
		t.Errorf("%d %s", a.StatusCode, text)
	}
}

// watch opens a stream of the cluster, and returns what reads how node2 is.
func (x *observed) watch(key string) (next func() (status string, ok bool), leave func()) {
	x.t.Helper()
	ctx, cancel := context.WithTimeout(x.t.Context(), patience)
	x.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, x.addr+"/v1/cluster/stream", nil)
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
	return func() (string, bool) {
		for lines.Scan() {
			var data clusterSeen
			if text, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
				if err := json.Unmarshal([]byte(text), &data); err != nil || len(data.Members) != 2 || !data.Members[0].Self {
					x.t.Fatal(err, text)
				}
				return data.Members[1].Status, true
			}
		}
		return "", false
	}, cancel
}

type clusterSeen struct {
	Members []struct {
		Status string
		Self   bool
	}
}

func TestAStreamOfTheClusterSaysAtOnceWhatChanges(t *testing.T) {
	x, c := meeting(t)
	next, leave := x.watch(x.key("ANZ", keys.StatsRead))
	for _, want := range []nodes.Status{nodes.Up, nodes.Leaving, nodes.Unreachable, nodes.Up} {
		if got, ok := next(); !ok || got != string(want) {
			t.Fatalf("%s, %v, want %s", got, ok, want)
		}
		switch want {
		case nodes.Up:
			c.becomes(nodes.Leaving)
		case nodes.Leaving:
			c.becomes(nodes.Unreachable)
		case nodes.Unreachable:
			c.becomes(nodes.Up)
		}
	}
	leave()
	for late := time.Now().Add(patience); c.watching() > 0; {
		if time.Now().After(late) {
			t.Fatal("whoever left still watches")
		}
		c.becomes(nodes.Up)
	}
}

func TestAStreamOfTheClusterEndsWithItsKeyAndWithTheNode(t *testing.T) {
	x, _ := meeting(t)
	key, presented, err := x.ring.Make(t.Context(), keys.Wish{App: "ANZ", Scopes: []keys.Scope{keys.StatsRead}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	ends := func(next func() (string, bool)) {
		for ok := true; ok; {
			_, ok = next()
		}
	}
	next, _ := x.watch(presented)
	if err := x.ring.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	ends(next)
	next, _ = x.watch(x.key(""))
	x.stop()
	ends(next)
}

func TestStreamsOfTheClusterAreBoundedWithThoseOfTheStats(t *testing.T) {
	x, _ := meeting(t)
	x.most.Store(1)
	key := x.key("")
	_, leave := x.watch(key)
	defer leave()
	a, text := ask(t, x.h, "GET", "/v1/cluster/stream", with(key))
	if a.StatusCode != 503 || a.Header.Get("Retry-After") == "" || !strings.Contains(text, `"BUSY"`) {
		t.Error(fmt.Sprint(a.StatusCode, text))
	}
}

func TestTheClusterShowsWhereWhatIsStoredIs(t *testing.T) {
	x, c := meeting(t)
	c.copies = &Copies{
		Streams: 9, Short: []string{"SB_LOG_0"}, Nodes: map[string]Share{"node2": {Streams: 9, Behind: 1}},
		Gone: []Gone{{Name: "node3", Share: Share{Streams: 8, Behind: 8}, Since: Time(time.Date(2026, 11, 26, 7, 0, 0, 0, time.UTC))}, {Name: "node4"}},
	}
	want := strings.Replace(shownNodes, `"since":"2026-11-26T08:00:00.000Z"}]}`, `"since":"2026-11-26T08:00:00.000Z","copies":{"streams":9,"behind":1}}],`+
		`"store":{"streams":9,"short":["SB_LOG_0"],"due":[],"gone":[{"name":"node3","streams":8,"behind":8,"since":"2026-11-26T07:00:00.000Z"},{"name":"node4","streams":0,"behind":0}]}}`, 1)
	if a, text := ask(t, x.h, "GET", "/v1/cluster", with(x.key("ANZ", keys.StatsRead))); a.StatusCode != 200 || text != want {
		t.Errorf("%d %s", a.StatusCode, text)
	}
	o := options()
	o.Cluster = c
	if a, text := ask(t, NewAdmin(o), "GET", "/cluster"); a.StatusCode != 200 || text != want {
		t.Errorf("%d %s", a.StatusCode, text)
	}
}

func TestOnlyAnAdminKeyTakesANodeOut(t *testing.T) {
	x, c := meeting(t)
	x.refused(403, CodeForbidden, "DELETE", "/v1/cluster/nodes/node3", with(x.key("ANZ", keys.KeysManage)))
	if len(c.removed) > 0 {
		t.Error(c.removed)
	}
	if a, text := ask(t, x.h, "DELETE", "/v1/cluster/nodes/node3", with(x.key(""))); a.StatusCode != 200 || text != `{"removed":"node3"}`+"\n" || !slices.Equal(c.removed, []string{"node3"}) {
		t.Errorf("%d %s %q", a.StatusCode, text, c.removed)
	}
	c.refuses = Refuse(http.StatusConflict, CodeNodeNeeded, "node3 is alive")
	x.refused(409, CodeNodeNeeded, "DELETE", "/v1/cluster/nodes/node3", with(x.key("")))
}
