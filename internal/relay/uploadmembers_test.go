package relay

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// lister is a network server that says what a test has it say.
type lister struct {
	*httptest.Server
	mu      sync.Mutex
	run     string // empty: one of another make
	text    string
	reports []Report
}

func newLister(t *testing.T) *lister {
	t.Helper()
	n := &lister{run: "one"}
	n.Server = httptest.NewServer(n)
	t.Cleanup(n.Close)
	return n
}

// ServeHTTP implements http.Handler.
func (n *lister) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case r.URL.Path == pathClusters, r.URL.Path == pathMembers && n.run != "":
		w.Header().Set(headerRun, n.run)
		fmt.Fprint(w, n.text)
	case r.URL.Path == pathReport && n.run != "":
		var report Report
		if err := json.NewDecoder(r.Body).Decode(&report); err == nil {
			n.reports = append(n.reports, report)
		}
	default:
		http.NotFound(w, r)
	}
}

func (n *lister) say(run, text string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.run, n.text = run, text
}

func (n *lister) has(t *testing.T, run string, c Clusters) {
	t.Helper()
	text, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	n.say(run, string(text))
}

func followed(n *lister, dir string) UploaderSettings {
	s := standardUpload(dir, nil)
	s.Network = AtNetwork{Server: strings.TrimPrefix(n.URL, "http://"), Heartbeat: 5 * time.Millisecond}
	return s
}

func TestCollectorsAreThoseOfTheNetworkServerAndOneThatIsLostIsOwedAllTheSame(t *testing.T) {
	n, a, b := newLister(t), newStub(t, nil), newStub(t, refusing(500))
	dir := t.TempDir()
	n.has(t, "one", next(map[string]*stub{"a": a, "b": b}))
	drop(t, dir, "file", "content")
	u := newUpload(t, followed(n, dir)).start(quickUpload)
	eventually(t, "one has it", func() bool { return a.has("file") })
	// A server that began anew, and knows nothing of the other one.
	n.has(t, "two", next(map[string]*stub{"a": a}))
	reported := func(state string) func() bool {
		return func() bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			if len(n.reports) == 0 {
				return false
			}
			r := n.reports[len(n.reports)-1]
			return len(r.Targets) == 2 && r.Targets[1].ID == "b" && r.Targets[1].State == state && r.Waiting.Files == 1
		}
	}
	eventually(t, "it is told that one is lost", reported(stateLost))
	// Without the server, and after a restart.
	n.say("two", "no JSON")
	u.stop()
	if !there(dir, "file") {
		t.Fatal("it is gone, and one lacks it")
	}
	u.start(quickUpload)
	b.do(nil)
	eventually(t, "the lost one has it", func() bool { return b.has("file") && !there(dir, "file") })
	if len(a.sent()) != 1 {
		t.Errorf("the first was sent it %d times", len(a.sent()))
	}
	// One that leaves is owed nothing.
	b.do(refusing(500))
	n.has(t, "two", next(map[string]*stub{"a": a, "b": b}))
	drop(t, dir, "second", "content")
	eventually(t, "one has the second", func() bool { return a.has("second") })
	eventually(t, "the other is down", reported(stateDown))
	n.has(t, "two", next(map[string]*stub{"a": a}))
	eventually(t, "the second is gone", func() bool { return !there(dir, "second") })
	if b.has("second") {
		t.Error("the one that left has it")
	}
}

func TestANetworkServerOfAnotherMakeIsUnderstood(t *testing.T) {
	n, a := newLister(t), newStub(t, nil)
	dir := t.TempDir()
	n.say("", fmt.Sprintf(`{"next":{"a":{"address":"127.0.0.1","port":"%d"}},"other":{}}`, a.member.Port))
	drop(t, dir, "file", "content")
	newUpload(t, followed(n, dir)).start(quickUpload)
	eventually(t, "it is gone", func() bool { return a.has("file") && !there(dir, "file") })
}

func TestWhatIsListedDecidesWhoIsOwed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "members")
	m, err := openMembers(path)
	if err != nil {
		t.Fatal(err)
	}
	at := Member{Address: "h", Port: 1}
	lost := time.Unix(1, 0)
	counts := map[string]bool{"c": true}
	list := func(ids ...string) Clusters {
		members := map[string]Member{}
		for _, id := range ids {
			members[id] = at
		}
		return Clusters{"c": members, "unused": {"x": at}}
	}
	with := func(c Clusters, id string) Clusters {
		c["c"][id] = Member{Address: "h", Port: 1, Lost: &lost}
		return c
	}
	now := time.Unix(1_700_000_000, 0)
	for i, c := range []struct {
		listing listing
		changed bool
		want    string // IDs, those that are lost with a dash
	}{
		{listing{clusters: list("a", "b"), server: "1", tells: true}, true, "a b"},
		{listing{clusters: list("a", "b"), server: "1", tells: true}, false, "a b"},
		{listing{clusters: with(list("a"), "b"), server: "1", tells: true}, true, "a -b"},
		{listing{clusters: list("a", "b"), server: "1", tells: true}, true, "a b"},
		{listing{clusters: list("a"), server: "1", tells: true}, true, "a"},                        // b left
		{listing{clusters: list("b"), server: "2", tells: true}, true, "-a b"},                     // the server knows nothing of a
		{listing{clusters: list("b"), server: "2", tells: true}, false, "-a b"},                    // and never did
		{listing{clusters: list("c"), server: "2"}, true, "-a -b c"},                               // it tells nothing of those that are lost
		{listing{clusters: list(), tells: true}, true, "-a -b -c"},                                 // another make's /members
		{listing{clusters: list(), tells: true}, false, "-a -b -c"},                                //
		{listing{clusters: list("c"), settings: true}, true, "c"},                                  // an operator says so
		{listing{clusters: Clusters{}, settings: true}, true, ""},                                  //
		{listing{clusters: with(list(), "d"), server: "3", tells: true}, true, "-d"},               // lost from the first
		{listing{clusters: with(list(), "d"), server: "3", tells: false}, true, "d"},               // one that tells nothing has no lost ones
		{listing{clusters: Clusters{"c": {"d": {Address: "i", Port: 1}}}, server: "3"}, true, "d"}, // at another place
	} {
		if changed := m.learn(c.listing, counts, now); changed != c.changed {
			t.Errorf("%d: changed %v", i, changed)
		}
		if err := m.save(); err != nil {
			t.Fatal(err)
		}
		if m, err = openMembers(path); err != nil {
			t.Fatal(err)
		}
		if got := idsOf(m.known["c"]); got != c.want || len(m.known) != 1 {
			t.Errorf("%d: known are %q, not %q", i, got, c.want)
		}
	}
	m.learn(listing{clusters: list()}, counts, now)
	age := func(at time.Time) time.Duration { return now.Add(time.Hour).Sub(at) }
	if m.expire(age, time.Hour) || !m.expire(age, time.Hour-1) || idsOf(m.known["c"]) != "" {
		t.Errorf("after its time %q is known", idsOf(m.known["c"]))
	}
}

func idsOf(list map[string]knownMember) string {
	var ids []string
	for _, id := range []string{"a", "b", "c", "d"} {
		if m, known := list[id]; known && m.Lost != nil {
			ids = append(ids, "-"+id)
		} else if known {
			ids = append(ids, id)
		}
	}
	return strings.Join(ids, " ")
}

func TestAListingOutOfBoundsIsRefused(t *testing.T) {
	many := map[string]Member{}
	for i := range mostOfCluster + 1 {
		many[fmt.Sprint(i)] = Member{Address: "h", Port: 1}
	}
	for _, c := range []Clusters{
		{"c": many}, {"c": {"": {Address: "h", Port: 1}}}, {"c": {"a": {Port: 1}}}, {"c": {"a": {Address: "h"}}},
		{"c": {strings.Repeat("x", maxID+1): {Address: "h", Port: 1}}},
	} {
		if err := (listing{clusters: c}).check(); err == nil {
			t.Errorf("%.80v is taken", c)
		}
	}
}

func TestOurNetworkServerTellsThoseThatLeftFromThoseThatAreLost(t *testing.T) {
	n, a, b := beginNetwork(t, t.TempDir(), nil), newStub(t, nil), newStub(t, refusing(500))
	for id, c := range map[string]*stub{"a": a, "b": b} {
		n.ask(fmt.Sprintf("/register?cluster=next&address=127.0.0.1&id=%s&port=%d", id, c.member.Port))
	}
	dir := t.TempDir()
	s := standardUpload(dir, nil)
	s.Network = AtNetwork{Server: n.at["listen"], Heartbeat: 5 * time.Millisecond}
	drop(t, dir, "file", "content")
	newUpload(t, s).start(quickUpload)
	eventually(t, "one has it, and the other was asked", func() bool {
		b.mu.Lock()
		defer b.mu.Unlock()
		return a.has("file") && b.asked > 0
	})
	if !there(dir, "file") {
		t.Fatal("it is gone, and one lacks it")
	}
	n.ask("/remove?id=b")
	eventually(t, "it is gone", func() bool { return !there(dir, "file") })
}
