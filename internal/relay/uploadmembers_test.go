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
	asked   int // for a listing
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
		n.asked++
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

// polled waits until an uploader has taken over what is said now.
func (n *lister) polled(t *testing.T) {
	t.Helper()
	n.mu.Lock()
	until := n.asked + 3
	n.mu.Unlock()
	eventually(t, "it asks again", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return n.asked >= until
	})
}

// reported returns what an uploader says of a collector now, if anything.
func (n *lister) reported(id string) (t Target) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.reports) == 0 {
		return t
	}
	for _, t := range n.reports[len(n.reports)-1].Targets {
		if t.ID == id {
			return t
		}
	}
	return t
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
		if changed, _ := m.learn(c.listing, counts, time.Hour, now); changed != c.changed {
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
}

func TestACollectorThatIsLostForTooLongIsForgottenForGood(t *testing.T) {
	counts, now := map[string]bool{"c": true}, time.Unix(1_700_000_000, 0)
	age := func(at time.Time) time.Duration { return now.Sub(at) }
	m := &members{path: filepath.Join(t.TempDir(), "members"), known: map[string]map[string]knownMember{}}
	there := Clusters{"c": {"a": {Address: "h", Port: 1}}}
	lostFor := func(d time.Duration) listing { // by a clock that is wrong
		at := time.Unix(1_000_000_000, 0)
		lost := at.Add(-d)
		return listing{clusters: Clusters{"c": {"a": {Address: "h", Port: 1, Lost: &lost}}}, at: at, server: "1", tells: true}
	}
	for i, c := range []struct {
		later   time.Duration
		listing listing
		want    string
		told    *notice
	}{
		{0, listing{clusters: there, server: "1", tells: true}, "a", noticeJoined},
		{0, lostFor(time.Second), "-a", noticeLost},
		{time.Hour, lostFor(time.Hour + time.Second), "-a", nil},
		{time.Second, lostFor(time.Hour + 2*time.Second), "", noticeOver},
		{time.Second, lostFor(time.Hour + 3*time.Second), "", nil}, // as it is listed
		{time.Hour, lostFor(time.Minute), "-a", nil},               // it was back, and nobody saw it
		{time.Hour, lostFor(time.Hour + time.Minute), "", noticeOver},
		{time.Second, listing{clusters: Clusters{}, server: "1", tells: true}, "", nil},
		{time.Second, lostFor(3 * time.Hour), "", nil}, // unknown by now, and too old
		{time.Second, lostFor(time.Minute), "-a", noticeLost},
		{time.Second, listing{clusters: there, server: "1", tells: true}, "a", noticeBack},
		{0, listing{clusters: Clusters{"c": {"a": {Address: "h", Port: 2}}}, server: "1", tells: true}, "a", noticeMoved},
		{0, listing{clusters: Clusters{"c": {"a": {Address: "h", problem: "bad"}}}, server: "1", tells: true}, "a", nil},
		{0, listing{clusters: Clusters{}, server: "1", tells: true}, "", noticeLeft},
	} {
		now = now.Add(c.later)
		_, told := m.learn(c.listing, counts, time.Hour, now)
		_, over := m.expire(age, time.Hour)
		if err := m.save(); err != nil {
			t.Fatal(err)
		}
		var err error
		if m, err = openMembers(m.path); err != nil {
			t.Fatal(err)
		}
		var got *notice
		if told = append(told, over...); len(told) > 0 {
			got = told[0].what
		}
		if owed := idsOf(m.known["c"]); owed != c.want || got != c.told || len(told) > 1 {
			t.Errorf("%d: owed are %q, not %q, and told is %v", i, owed, c.want, told)
		}
	}
}

func TestOfTooManyThatAreLostThoseLostLongestAreForgotten(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	list := map[string]knownMember{"there": {Member: Member{Address: "h", Port: 1}}}
	for i := range mostOwed + 9 {
		lost := now.Add(time.Duration(-i))
		list[fmt.Sprint(i)] = knownMember{Member: Member{Address: "h", Port: 1, Lost: &lost}}
	}
	m := &members{known: map[string]map[string]knownMember{"c": list}}
	changed, told := m.expire(func(time.Time) time.Duration { return 0 }, time.Hour)
	_, there := list["there"]
	_, newest := list["0"]
	_, oldest := list[fmt.Sprint(mostOwed+8)]
	if !changed || len(told) != 10 || told[0].what != noticeTooMany || len(list) != mostOwed || !there || !newest || oldest {
		t.Errorf("%d are known, and %d are told", len(list), len(told))
	}
}

func idsOf(list map[string]knownMember) string {
	var ids []string
	for _, id := range []string{"a", "b", "c", "d"} {
		if m, known := list[id]; known && m.Lost != nil && !m.Over {
			ids = append(ids, "-"+id)
		} else if known && !m.Over {
			ids = append(ids, id)
		}
	}
	return strings.Join(ids, " ")
}

func TestWhatCannotBeUsedOfAListingTakesNothingAwayFromTheRest(t *testing.T) {
	for text, want := range map[string]string{
		`"port":"undefined"`:                 "port undefined: must be 1 to 65535",
		`"port":0`:                           "port 0: must be 1 to 65535",
		`"port":null`:                        "port null: must be 1 to 65535",
		`"port":65536`:                       "port 65536: must be 1 to 65535",
		`"address":"h"`:                      "port: must be 1 to 65535",
		`"address":"","port":1`:              "address: must have 1 to 253 bytes",
		`"address":7,"port":1`:               "address: cannot be a number",
		`"address":"a b","port":1`:           `address: "a b" is no host: write an IP address, or a name of letters, digits, - and _ with dots between (others as xn--…)`,
		`"address":"http://h/x","port":1`:    `address: "http://h/x" is no host: write an IP address, or a name of letters, digits, - and _ with dots between (others as xn--…)`,
		`"address":"h:80","port":1`:          `address: "h:80" must have no port`,
		`"address":"h","port":1,"lost":true`: "",
	} {
		if !strings.Contains(text, "address") {
			text += `,"address":"h"`
		}
		var l listing
		body := `{"c":{"bad":{` + text + `},"good":{"address":"[::1]","port":"9300"}},"unused":{"x":7}}`
		if err := json.Unmarshal([]byte(body), &l.clusters); err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if err := l.narrow(map[string]bool{"c": true}); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		if good := l.clusters["c"]["good"]; good.Address != "::1" || good.Port != 9300 || good.problem != "" || len(l.clusters) != 1 {
			t.Errorf("%s: the good one is %+v", text, good)
		}
		if len(l.unusable) != 1 || l.unusable[0].id != "bad" || want != "" && l.unusable[0].reason != want {
			t.Errorf("%s: not usable are %+v", text, l.unusable)
		}
	}
	l := listing{clusters: Clusters{"c": {"": {Address: "h", Port: 1}, strings.Repeat("x", maxID+1): {Address: "h", Port: 1}, "a\nb": {Address: "h", Port: 1}}}}
	if err := l.narrow(map[string]bool{"c": true}); err != nil || len(l.unusable) != 3 {
		t.Errorf("%v: %d of 3 IDs cannot be used", err, len(l.unusable))
	}
}

func TestOnlyTooManyCollectorsThatAreThereMakeAListingUseless(t *testing.T) {
	lost := time.Unix(1, 0)
	for what, want := range map[string]bool{"": true, "lost": true, "unused": true, "one more": false} {
		list, other := map[string]Member{}, map[string]Member{}
		for i := range mostMembers {
			list[fmt.Sprint(i)] = Member{Address: "h", Port: 1}
		}
		switch what {
		case "lost":
			for i := range mostMembers {
				list[fmt.Sprint("-", i)] = Member{Address: "h", Port: 1, Lost: &lost}
			}
		case "unused":
			other["more"] = Member{Address: "h", Port: 1}
		case "one more":
			list["more"] = Member{Address: "h", Port: 1}
		}
		l := listing{clusters: Clusters{"c": list, "unused": other}, tells: true}
		if err := l.narrow(map[string]bool{"c": true}); (err == nil) != want {
			t.Errorf("%s: %v", what, err)
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
