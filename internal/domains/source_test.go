package domains_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestADomainFollowsItsMetaServer(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	r := newRig(t, options(t, m.url()))
	if r.s.Current() != nil {
		t.Error("there is a description before there was any")
	}
	r.run()
	r.untilVersion(5)
	r.settle(m)
	m.serves(described(t, 6, 2)) // the stream alone tells
	r.untilVersion(6)
	r.until("the copy is on disk", func() bool { return copyOf(t, r.o.File) == 6 })
	st := r.s.State()
	if st.From != m.url() || st.Version != 6 || st.Hash != r.s.Current().Hash() || st.Stored || st.Trouble != "" || st.Confirmed.IsZero() || st.Since.IsZero() {
		t.Errorf("the state is %+v", st)
	}
	if v, c := r.metric("switchboard_domains_network_version", ""), r.metric("switchboard_domains_network_changes_total", ""); v != 6 || c != 2 {
		t.Errorf("the metrics say version %v, %v changes", v, c)
	}
}

func TestWhatDidNotChangeIsNotSentAgain(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	o := options(t, m.url())
	var clock atomic.Int64
	o.Now = func() time.Time { return time.Unix(clock.Load(), 0) }
	r := newRig(t, o)
	clock.Store(1)
	if err := r.s.Reload(); err != nil {
		t.Fatal(err)
	}
	clock.Store(2)
	if err := r.s.Reload(); err != nil {
		t.Fatal(err)
	}
	if len(m.etags) != 1 {
		t.Errorf("%d answers were 304", len(m.etags))
	}
	if st := r.s.State(); st.Since.Unix() != 1 || st.Confirmed.Unix() != 2 {
		t.Errorf("it is confirmed, and the state is %+v", st)
	}
}

// lies are what a meta server may do instead of serving a good description of
// version 6 to one that has version 5.
func lies(t *testing.T) []lie {
	text := encoded(t, described(t, 6, 2))
	body := func(text []byte) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { serveJSON(w, text) }
	}
	return []lie{
		{name: "it hangs up", kind: "unreachable", graph: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }},
		{name: "it does not answer", kind: "timeout", timeout: 500 * time.Millisecond, graph: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
		{name: "it answers drop by drop", kind: "timeout", timeout: 500 * time.Millisecond, graph: func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			for r.Context().Err() == nil {
				fmt.Fprint(w, " ")
				http.NewResponseController(w).Flush()
				time.Sleep(time.Millisecond)
			}
		}},
		{name: "it has an error", kind: "status", says: "the meta server answers 500", graph: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }},
		{name: "it asks for a secret", kind: "status", says: "put what is in its --secret-file into the setting metaSecret", graph: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(401) }},
		{name: "it is elsewhere", kind: "status", says: "the meta server answers 302", graph: func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/elsewhere", http.StatusFound) }},
		{name: "it is something else", kind: "status", says: "no meta server is at this URL", graph: http.NotFound},
		{name: "it answers not modified unasked", kind: "status", says: "304", whole: true, graph: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(304) }},
		{name: "another content type", kind: "type", says: `is \"text/html\"`, graph: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			w.Write(text)
		}},
		{name: "no content type", kind: "type", graph: func(w http.ResponseWriter, _ *http.Request) {
			w.Header()["Content-Type"] = nil
			w.Write(text)
		}},
		{name: "half of it, and the connection ends", kind: "cut", graph: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", fmt.Sprint(len(text)))
			serveJSON(w, text[:len(text)/2])
		}},
		{name: "half of it, as if it were all", kind: "content", says: "line 1: not JSON", graph: body(text[:len(text)/2])},
		{name: "bad JSON", kind: "content", says: "line 1: not JSON", graph: body([]byte("{]"))},
		{name: "nothing", kind: "content", says: "line 1: not JSON", graph: body(nil)},
		{name: "a bad description", kind: "content", says: "cannot be reached from a", graph: body([]byte(`{"version":6,"domains":[{"name":"a","urls":["ws://a"]},{"name":"b","urls":["ws://b"]}]}`))},
		{name: "too much", kind: "size", graph: body([]byte(string(text) + strings.Repeat(" ", domains.MaxJSON)))},
		{name: "without this domain", kind: "self", says: "has no domain a", graph: body([]byte(`{"version":6,"domains":[{"name":"b","urls":["ws://b"]}]}`))},
		{name: "a version that went back", kind: "version", says: "version 4, but 5 was there already", graph: body(encoded(t, described(t, 4, 2)))},
		{name: "another content under the same version", kind: "version", says: "another content", graph: body(encoded(t, described(t, 5, 2)))},
		{name: "no version", kind: "version", says: "version 0", graph: body(encoded(t, described(t, 0, 2)))},
	}
}

type lie struct {
	name, kind, says string
	timeout          time.Duration
	whole            bool // asked without If-None-Match
	graph            http.HandlerFunc
}

func TestWhateverAMetaServerDoesTheLastGoodDescriptionStays(t *testing.T) {
	for _, l := range lies(t) {
		t.Run(l.name, func(t *testing.T) {
			t.Parallel()
			m := startMeta(t, described(t, 5, 1))
			o := options(t, m.url())
			if l.timeout > 0 {
				o.Timeout = l.timeout
			}
			r := newRig(t, o)
			stop := r.run()
			r.untilVersion(5)
			if l.whole { // a domain that comes with its copy, and has no ETag yet
				stop()
				m = startMeta(t, described(t, 5, 1))
				o.URL = m.url()
				m.change(func() { m.graph, m.told = l.graph, 6 })
				r = newRig(t, o)
				r.run()
			} else {
				r.settle(m)
				r.until("all is well", func() bool { return r.s.State().Trouble == "" })
			}
			logged := r.log.count("is not refreshed", "kind="+l.kind, l.says)
			if l.whole {
				logged = 0
			}
			over := r.log.count("is refreshed again")
			m.change(func() { m.graph, m.told = l.graph, 6 })
			before := r.metric("switchboard_domains_source_troubles_total", l.kind)
			r.until("several attempts", func() bool { return r.metric("switchboard_domains_source_troubles_total", l.kind) >= before+4 })
			if n := r.s.Current(); n.Version != 5 || n.Hash() != described(t, 5, 1).Hash() || copyOf(t, r.o.File) != 5 {
				t.Errorf("version %d is current, %d on disk", n.Version, copyOf(t, r.o.File))
			}
			st := r.s.State()
			if st.Kind != l.kind || st.Version != 5 || st.Trouble == "" || st.Troubled.IsZero() || r.metric("switchboard_domains_source_trouble", l.kind) != 1 {
				t.Errorf("the state is %+v", st)
			}
			if n := r.log.count("is not refreshed", "kind="+l.kind, l.says) - logged; n != 1 {
				t.Errorf("it was logged %d times:\n%s", n, r.log)
			}
			m.serves(described(t, 7, 3))
			r.untilVersion(7)
			r.until("the trouble is over", func() bool { return r.s.State().Trouble == "" })
			if r.metric("switchboard_domains_source_trouble", l.kind) != 0 || r.log.count("is refreshed again") != over+1 {
				t.Errorf("the end of the trouble does not show:\n%s", r.log)
			}
		})
	}
}

func TestAnAnswerThatIsOlderThanWhatWasAnnouncedIsAskedForAgain(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	r := newRig(t, options(t, m.url()))
	r.run()
	r.untilVersion(5)
	m.change(func() { m.told = 6 })
	r.until("several attempts", func() bool { return r.metric("switchboard_domains_source_troubles_total", "version") >= 3 })
	if n := r.log.count("announced version 6, but serves 5"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, r.log)
	}
	m.serves(described(t, 6, 2))
	r.untilVersion(6)
	r.until("the trouble is over", func() bool { return r.s.State().Trouble == "" })
}

func TestAMetaServerThatVanishesAndComesBack(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	r := newRig(t, options(t, m.url()))
	r.run()
	r.untilVersion(5)
	r.until("it follows", func() bool { return r.s.State().Following })
	m.down()
	r.until("it is noticed", func() bool { return r.log.count("is not refreshed") > 0 })
	r.until("several attempts", func() bool { return r.metric("switchboard_domains_source_troubles_total", "unreachable") >= 8 })
	if r.s.Current().Version != 5 || r.s.State().Following {
		t.Errorf("the state is %+v", r.s.State())
	}
	if n := r.log.count("is not refreshed"); n != 1 || r.log.count("WARN") != 1 { // once, not of the stream, too
		t.Errorf("logged %d times:\n%s", n, r.log)
	}
	m.serves(described(t, 6, 2))
	m.up()
	r.untilVersion(6)
	r.until("the trouble is over", func() bool { return r.s.State().Trouble == "" && r.s.State().Following })
	m.serves(described(t, 7, 1))
	r.untilVersion(7)
}

func TestADomainStartsWithoutMetaServerAndCopy(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	m.down()
	r := newRig(t, options(t, m.url()))
	r.run()
	r.until("several attempts", func() bool { return r.metric("switchboard_domains_source_troubles_total", "unreachable") >= 5 })
	if r.s.Current() != nil || r.s.State().Kind != "unreachable" {
		t.Errorf("the state is %+v", r.s.State())
	}
	if r.log.count("there is none of before") != 1 || r.log.count("WARN") != 1 {
		t.Errorf("what is logged promises a description that there is not, or says it twice:\n%s", r.log)
	}
	m.up()
	r.untilVersion(5)
	r.until("that is said", func() bool { return r.log.count("can be had") == 1 })
}

func TestADomainStartsWithItsLastGoodCopy(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	o := options(t, m.url())
	first := newRig(t, o)
	stop := first.run()
	first.untilVersion(5)
	stop()
	m.down()

	r := newRig(t, o)
	st := r.s.State()
	if n := r.s.Current(); n == nil || n.Version != 5 || !st.Stored || !st.Confirmed.IsZero() || st.Since.IsZero() {
		t.Fatalf("the state is %+v", st)
	}
	r.run()
	r.until("an attempt", func() bool { return r.s.State().Trouble != "" })
	m.up()
	r.until("it is confirmed", func() bool { st := r.s.State(); return !st.Stored && !st.Confirmed.IsZero() && st.Trouble == "" })
	if c := r.metric("switchboard_domains_network_changes_total", ""); c != 0 {
		t.Errorf("%v changes, though nothing has changed", c)
	}
}

func TestAnotherMetaServerCountsFromItsOwnNumber(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	o := options(t, m.url())
	first := newRig(t, o)
	stop := first.run()
	first.untilVersion(5)
	stop()

	o.URL = startMeta(t, described(t, 3, 2)).url()
	r := newRig(t, o)
	r.run()
	r.untilVersion(3)
	r.until("it is on disk", func() bool { return copyOf(t, o.File) == 3 })
}

func TestACopyThatCannotBeUsedIsSaidAndReplaced(t *testing.T) {
	m := startMeta(t, described(t, 5, 1))
	o := options(t, m.url())
	first := newRig(t, o)
	stop := first.run()
	first.untilVersion(5)
	stop()
	whole, err := os.ReadFile(o.File)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"empty":                   "",
		"half":                    string(whole[:len(whole)/2]),
		"a byte changed":          strings.Replace(string(whole), "ws://b", "ws://c", 1),
		"of another domain":       strings.ReplaceAll(string(whole), `"a"`, `"z"`),
		"without a network":       "{}",
		"more than there may be ": string(whole) + strings.Repeat(" ", 5<<20),
	} {
		t.Run(name, func(t *testing.T) {
			o := o
			o.File = filepath.Join(t.TempDir(), "network.json")
			if err := os.WriteFile(o.File, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			r := newRig(t, o)
			if r.s.Current() != nil || r.s.State().Kind != "copy" || r.log.count("kind=copy", "cannot be used") != 1 {
				t.Errorf("the state is %+v\n%s", r.s.State(), r.log)
			}
			r.run()
			r.untilVersion(5)
			r.until("the trouble is over", func() bool { return r.s.State().Trouble == "" && copyOf(t, o.File) == 5 })
		})
	}
}

func TestWhatACrashLeftBesideTheCopyDoesNoHarm(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	o := options(t, m.url())
	if err := os.WriteFile(o.File+".new", []byte(`{"from":`), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, o)
	r.run()
	r.untilVersion(5)
	r.until("the copy is on disk", func() bool { return copyOf(t, o.File) == 5 })
	if _, err := os.Stat(o.File + ".new"); !os.IsNotExist(err) {
		t.Errorf("something is left: %v", err)
	}
	if info, err := os.Stat(o.File); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("others may read it: %v, %v", info, err)
	}
}

func TestACopyThatCannotBeWrittenIsTriedAgain(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	o := options(t, m.url())
	folder := filepath.Join(t.TempDir(), "later")
	o.File = filepath.Join(folder, "network.json")
	r := newRig(t, o)
	r.run()
	r.untilVersion(5) // goes by it all the same
	r.until("several attempts", func() bool { return r.metric("switchboard_domains_source_troubles_total", "disk") >= 3 })
	if n := r.log.count("kind=disk"); n != 1 || r.s.State().Kind != "disk" {
		t.Errorf("logged %d times, state %+v\n%s", n, r.s.State(), r.log)
	}
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	r.until("the copy is on disk", func() bool { return copyOf(t, o.File) == 5 && r.s.State().Trouble == "" })
}

func TestTheSecretIsSentAndNeverLogged(t *testing.T) {
	t.Parallel()
	m := startMeta(t, described(t, 5, 1))
	o := options(t, m.url())
	o.Secret = "sesame"
	r := newRig(t, o)
	r.run()
	r.untilVersion(5)
	r.until("it follows", func() bool { return r.s.State().Following })
	m.mu.Lock()
	for _, q := range m.heard {
		if q.Header.Get("Authorization") != "Bearer sesame" {
			t.Errorf("%s came without it", q.URL)
		}
	}
	m.mu.Unlock()
	m.down()
	r.until("trouble", func() bool { return r.s.State().Trouble != "" })
	if strings.Contains(r.log.String()+r.s.State().Trouble, "sesame") {
		t.Errorf("it is told:\n%s", r.log)
	}
}

// Whatever stood between, and put a tag on an answer that a meta server does not take:
// when it is gone the description is current again.
func TestATagThatTheMetaServerRefusesIsNotShownAgain(t *testing.T) {
	m := startMeta(t, described(t, 1, 1))
	m.change(func() {
		m.graph = func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("ETag", `"`+strings.Repeat("x", 40<<10)+`"`)
			serveJSON(w, encoded(t, described(t, 1, 1)))
		}
	})
	r := newRig(t, options(t, m.url()))
	r.run()
	r.untilVersion(1)
	m.change(func() {
		m.network = described(t, 2, 2)
		m.graph = func(w http.ResponseWriter, r *http.Request) {
			if len(r.Header.Get("If-None-Match")) > 16<<10 {
				http.Error(w, "the header is too large", http.StatusRequestHeaderFieldsTooLarge)
				return
			}
			serveJSON(w, encoded(t, described(t, 2, 2)))
		}
	})
	r.untilVersion(2)
}
