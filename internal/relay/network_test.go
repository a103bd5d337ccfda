package relay

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// networking is a network server that runs.
type networking struct {
	t      *testing.T
	at     map[string]string
	cancel context.CancelFunc
	ended  chan error
	reload chan struct{}
}

func beginNetwork(t *testing.T, data string, change func(*NetworkSettings, *NetworkOptions)) *networking {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	out := newStart()
	n := &networking{t: t, cancel: cancel, ended: make(chan error, 1), reload: make(chan struct{})}
	s := DefaultNetwork()
	s.Port, s.Data, s.Admin = 0, data, "127.0.0.1:0"
	o := NetworkOptions{Log: quiet(), Out: out, Reload: n.reload, Version: "v1"}
	o.pause = func(time.Duration) <-chan time.Time { return time.After(time.Millisecond) }
	o.Load = func() (NetworkSettings, error) { return s, nil }
	if change != nil {
		change(&s, &o)
	}
	go func() { n.ended <- RunNetwork(ctx, o) }()
	n.at = out.wait(t, n.ended)
	t.Cleanup(n.stop)
	return n
}

// stop stops it, once.
func (n *networking) stop() {
	if n.cancel == nil {
		return
	}
	n.cancel()
	n.cancel = nil
	if err := <-n.ended; err != nil {
		n.t.Error(err)
	}
}

// ask returns "status body".
func (n *networking) ask(path string, headers ...string) string {
	n.t.Helper()
	status, body := get(n.t, request(n.t, http.MethodGet, n.at["listen"]+path, headers...))
	return fmt.Sprint(status, " ", strings.TrimSpace(body))
}

func TestTheWireIsAsOtherMakesSpeakIt(t *testing.T) {
	n := beginNetwork(t, t.TempDir(), nil)
	id := func(answer string) string {
		_, rest, _ := strings.Cut(answer, `"id":"`)
		id, _, _ := strings.Cut(rest, `"`)
		return id
	}
	first := n.ask("/register?cluster=store&address=10.0.0.1&id=undefined&port=undefined")
	given := id(first)
	if want := fmt.Sprintf(`200 {"id":"%s","port":9300}`, given); given == "" || first != want {
		t.Fatal(first)
	}
	same := id(n.ask("/register?cluster=store&address=10.0.0.9&id=&port=7"))
	for _, c := range []struct{ path, want string }{
		{"/register?cluster=store&address=10.0.0.1", first},
		{"/register?cluster=store&address=10.0.0.1&port=9300&id=&sort=name&v=2", first},
		{"/register?cluster=store&address=10.0.0.1&port=9300&id=" + given, first},
		{"/register?cluster=more&id=b%2F1", `200 {"id":"b/1","port":9301}`},
		{"/register?cluster=more&address=%5B::ffff:10.0.0.3%5D&id=c&port=80", `200 {"id":"c","port":80}`},
		{"/register?cluster=more&address=fe80::1%25eth0&id=d&port=80", `200 {"id":"d","port":80}`},
		{"/clusters", fmt.Sprintf(`200 {"more":{"b/1":{"address":"127.0.0.1","port":9301},"c":{"address":"10.0.0.3","port":80},"d":{"address":"fe80::1","port":80}},"store":{"%s":{"address":"10.0.0.1","port":9300},"%s":{"address":"10.0.0.9","port":7}}}`, given, same)},
		{"/remove?id=" + given, `200 {"success":1}`},
		{"/remove?id=" + given, `200 {"success":1}`},
		{"/remove?id=" + same, `200 {"success":1}`},
		{"/remove?id=c", `200 {"success":1}`},
		{"/remove?id=d", `200 {"success":1}`},
		{"/clusters", `200 {"more":{"b/1":{"address":"127.0.0.1","port":9301}}}`},
	} {
		if got := n.ask(c.path); !sameJSON(got, c.want) {
			t.Errorf("%s\nanswers %s\nnot     %s", c.path, got, c.want)
		}
	}
}

// sameJSON compares answers; the order of two random IDs is not known.
func sameJSON(a, b string) bool {
	if a == b {
		return true
	}
	parts := func(s string) int { return strings.Count(s, `"address"`) }
	if parts(a) != parts(b) || len(a) != len(b) {
		return false
	}
	for piece := range strings.SplitSeq(strings.Trim(b, "{}"), "},") {
		if !strings.Contains(a, strings.Trim(piece[strings.LastIndex(piece, `{"`)+1:], "}")) {
			return false
		}
	}
	return true
}

func TestWhatIsBadIsRefusedWithItsReason(t *testing.T) {
	n := beginNetwork(t, t.TempDir(), nil)
	long := strings.Repeat("x", maxID+1)
	for path, want := range map[string]string{
		"/register":                               "400 BAD_PARAMETER: cluster:",
		"/register?cluster=undefined":             "400 BAD_PARAMETER: cluster:",
		"/register?cluster=" + long:               "400 BAD_PARAMETER: cluster:",
		"/register?cluster=a%00b":                 "400 BAD_PARAMETER: cluster:",
		"/register?cluster=a&id=" + long:          "400 BAD_PARAMETER: id:",
		"/register?cluster=a&id=%ff":              "400 BAD_PARAMETER: id:",
		"/register?cluster=a&port=0":              "400 BAD_PARAMETER: port:",
		"/register?cluster=a&port=65536":          "400 BAD_PARAMETER: port:",
		"/register?cluster=a&port=-1":             "400 BAD_PARAMETER: port:",
		"/register?cluster=a&taken=x":             "400 BAD_PARAMETER: taken:",
		"/register?cluster=a&address=h%2Fx":       "400 BAD_PARAMETER: address:",
		"/register?cluster=a&address=10.0.0.1:80": "400 BAD_PARAMETER: address:",
		"/register?cluster=a&address=..":          "400 BAD_PARAMETER: address:",
		"/register?cluster=a&address=0.0.0.0":     "400 BAD_PARAMETER: address: 0.0.0.0 is no address that others can reach",
		"/register?cluster=a&address=::":          "400 BAD_PARAMETER: address:",
		"/register?cluster=a&address=127.1":       "400 BAD_PARAMETER: address:",
		"/register?cluster=a&address=a%20b":       "400 BAD_PARAMETER: address:",
		"/register?cluster=%zz":                   "400 BAD_PARAMETER: the query",
		"/register?cluster=a&prot=5":              `400 BAD_PARAMETER: "prot" is no parameter: did you mean port?`,
		"/register?cluster=a&ID=b":                `400 BAD_PARAMETER: "ID" is no parameter: did you mean id?`,
		"/remove":                                 "400 BAD_PARAMETER: id:",
		"/nothing":                                "404 NOT_FOUND:",
		"/report":                                 "405 METHOD:",
	} {
		if got := n.ask(path); !strings.HasPrefix(got, want) {
			t.Errorf("%s: %s, not %s", path, got, want)
		}
	}
	for _, headers := range [][]string{{"Host", "elsewhere.example"}, {"Origin", "http://elsewhere.example"}, {"Sec-Fetch-Site", "cross-site"}, {"Referer", "http://elsewhere.example/page"}} {
		if got := n.ask("/register?cluster=a", headers...); !strings.HasPrefix(got, "421 WRONG_HOST") && !strings.HasPrefix(got, "403 ORIGIN") {
			t.Errorf("a page elsewhere with %q: %s", headers, got)
		}
	}
	r := request(t, http.MethodPost, n.at["listen"]+pathRegister)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = answer.Body.Close()
	if answer.StatusCode != http.StatusMethodNotAllowed || answer.Header.Get("Allow") != "GET" {
		t.Error(answer.Status, answer.Header)
	}
	if got := n.ask("/clusters"); got != "200 {}" {
		t.Error("somebody joined:", got)
	}
}

func TestARestartGivesOutTheSameAndLeavesMembersTimeToComeBack(t *testing.T) {
	data := t.TempDir()
	var turned atomic.Int64
	clock := func(s *NetworkSettings, o *NetworkOptions) {
		o.Now = func() time.Time { return time.Unix(1_700_000_000, 0).Add(time.Duration(turned.Load())) }
	}
	n := beginNetwork(t, data, clock)
	a, b := n.ask("/register?cluster=c&address=h1"), n.ask("/register?cluster=c&address=h2")
	before := n.ask("/clusters")
	if err := runOnce(t, data); err == nil || !strings.Contains(err.Error(), "in use") {
		t.Error("two have one data folder:", err)
	}
	n.stop()

	turned.Add(int64(time.Hour))
	n = beginNetwork(t, data, clock)
	if got := n.ask("/clusters"); got != before {
		t.Errorf("after a restart: %s, not %s", got, before)
	}
	turned.Add(int64(DefaultExpireAfter))
	if got := n.ask("/clusters"); got != "200 {}" {
		t.Errorf("members that did not come back are there: %s", got)
	}
	if got := n.ask("/members"); strings.Count(got, `"lost":"2023-`) != 2 {
		t.Errorf("members that were lost are not told: %s", got)
	}
	if b2, a2 := n.ask("/register?cluster=c&address=h2"), n.ask("/register?cluster=c&address=h1"); a2 != a || b2 != b {
		t.Errorf("they come back as %s and %s, not as %s and %s", a2, b2, a, b)
	}
	n.stop()

	file := filepath.Join(data, stateName)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(text, ' '), 0o600); err != nil {
		t.Fatal(err)
	}
	err = runOnce(t, data)
	if err == nil || !strings.Contains(err.Error(), file) || !strings.Contains(err.Error(), "damaged") || !strings.Contains(err.Error(), "move it away") {
		t.Error("a damaged file:", err)
	}
}

// runOnce runs another server on a data folder, which cannot go well.
func runOnce(t *testing.T, data string) error {
	s := DefaultNetwork()
	s.Data, s.Port = data, 0
	return RunNetwork(t.Context(), NetworkOptions{Load: func() (NetworkSettings, error) { return s, nil }})
}

func TestAnAddressInUseIsToldWithItsKey(t *testing.T) {
	used, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = used.Close() }() // nobody came
	n, m, c := DefaultNetwork(), DefaultMaker(), DefaultCollector()
	c.Address, c.Spool, c.Port = "127.0.0.1", t.TempDir(), used.Addr().(*net.TCPAddr).Port
	n.Data, n.Port, m.Spool, m.Listen = t.TempDir(), used.Addr().(*net.TCPAddr).Port, t.TempDir(), used.Addr().String()
	network := func() error {
		return RunNetwork(t.Context(), NetworkOptions{Load: func() (NetworkSettings, error) { return n, nil }})
	}
	if err := network(); err == nil || !strings.HasPrefix(err.Error(), "server: cannot listen: ") {
		t.Error(err)
	}
	n.Port, n.Admin = 0, used.Addr().String()
	if err := network(); err == nil || !strings.HasPrefix(err.Error(), "admin: cannot listen: ") {
		t.Error(err)
	}
	err = RunMaker(t.Context(), MakerOptions{Load: func() (MakerSettings, error) { return m, nil }})
	if err == nil || !strings.HasPrefix(err.Error(), "listen: cannot listen: ") {
		t.Error(err)
	}
	err = RunCollector(t.Context(), CollectorOptions{Load: func() (CollectorSettings, error) { return c, nil }})
	if err == nil || !strings.HasPrefix(err.Error(), "port: cannot listen: ") {
		t.Error(err)
	}
}

func TestWhatCannotBeKeptIsNotAnswered(t *testing.T) {
	var mu sync.Mutex
	var trouble error
	n := beginNetwork(t, t.TempDir(), func(_ *NetworkSettings, o *NetworkOptions) {
		o.write = func(folder string, file []byte) error {
			mu.Lock()
			defer mu.Unlock()
			return errors.Join(trouble, writeState(folder, file))
		}
	})
	fail := func(err error) { mu.Lock(); trouble = err; mu.Unlock() }
	known := n.ask("/register?cluster=c&id=known")
	fail(errors.New("no room"))
	if got := n.ask("/register?cluster=c&id=new"); !strings.HasPrefix(got, "503 STATE") {
		t.Error(got)
	}
	if got := n.ask("/register?cluster=c&id=new"); !strings.HasPrefix(got, "503 STATE") {
		t.Error("the second time it is answered:", got)
	}
	if got := n.ask("/register?cluster=c&id=known"); got != known {
		t.Error("one that is there cannot renew:", got)
	}
	if status, body := get(t, request(t, http.MethodGet, n.at["admin"]+"/readyz")); status != http.StatusServiceUnavailable {
		t.Error("it says it is ready:", body)
	}
	fail(nil)
	if got := n.ask("/register?cluster=c&id=new"); got != `200 {"id":"new","port":9301}` {
		t.Error(got)
	}
}

// recorded is a log that a test reads.
type recorded struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *recorded) Write(b []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(b)
}

// lines returns what was logged of a kind.
func (r *recorded) lines(with string) (list []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for line := range strings.Lines(r.text.String()) {
		if strings.Contains(line, with) {
			list = append(list, strings.TrimSpace(line))
		}
	}
	return list
}

func TestManyChangesShareAWriteAndALineOfTheLog(t *testing.T) {
	const many = 20
	data, log, over := t.TempDir(), &recorded{}, make(chan time.Time)
	var writes atomic.Int64
	begin := func(s *NetworkSettings, o *NetworkOptions) {
		o.Log, o.Now = slog.New(slog.NewTextHandler(log, nil)), func() time.Time { return time.Unix(1_700_000_000, 0) }
		o.pause = func(time.Duration) <-chan time.Time { return over }
		o.write = func(folder string, file []byte) error { writes.Add(1); return writeState(folder, file) }
	}
	n := beginNetwork(t, data, begin)
	n.ask("/register?cluster=c&id=first&port=1") // alone: at once
	each := func(path func(i int) string, shown int) {
		t.Helper()
		var asked sync.WaitGroup
		for i := range many {
			asked.Go(func() {
				if got := n.ask(path(i)); !strings.HasPrefix(got, "200 ") {
					t.Error(got)
				}
			})
		}
		soon(t, "all have asked", func() bool { return strings.Count(n.ask("/clusters"), `"address"`) == shown })
		before := writes.Load()
		over <- time.Time{}
		asked.Wait()
		if got := writes.Load() - before; got != 1 {
			t.Errorf("%d changes took %d writes", many, got)
		}
	}
	each(func(i int) string { return fmt.Sprint("/register?cluster=c&id=", i) }, many+1)
	each(func(i int) string { return fmt.Sprint("/remove?id=", i) }, 1)
	before := n.ask("/clusters")
	n.stop()
	for _, want := range []string{`msg="a collector is there" cluster=c id=first address=127.0.0.1 port=1`, `msg="many collectors are there" count=20 `, `msg="many were removed by request" count=20 `} {
		if got := log.lines(want); len(got) != 1 {
			t.Errorf("%q is logged %d times", want, len(got))
		}
	}
	if got := log.lines("by=127.0.0.1"); len(got) != 1 {
		t.Error("who had them removed is not told:", got)
	}
	n = beginNetwork(t, data, nil)
	if got := n.ask("/clusters"); got != before {
		t.Errorf("after a restart: %s, not %s", got, before)
	}
}

func TestProgramsReportAndTheStatusHasAll(t *testing.T) {
	n := beginNetwork(t, t.TempDir(), nil)
	n.ask("/register?cluster=c&id=1&address=h")
	creds := &credentials{}
	for _, r := range []Report{{Program: programCollector, ID: "1", Cluster: "c", Files: 5}, {Program: programUploader, ID: "u", Host: "h", Files: 7}} {
		if _, err := creds.call(t.Context(), http.DefaultClient, http.MethodPost, n.at["listen"]+pathReport, strings.NewReader(string(encodeReport(r)))); err != nil {
			t.Fatal(err)
		}
	}
	got := n.ask("/status")
	for _, want := range []string{`"clusters":[{"name":"c","members":[{"id":"1","address":"h","port":9300,"state":"up"`, `"report":{"program":"collector"`, `"programs":[{"program":"uploader","id":"u"`, `"silent":false`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	for _, body := range []string{"{", `{"program":"x","id":"1"}`, `{"program":"maker"}`, strings.Repeat(" ", maxReport+1)} {
		if _, err := creds.call(t.Context(), http.DefaultClient, http.MethodPost, n.at["listen"]+pathReport, strings.NewReader(body)); err == nil {
			t.Errorf("taken is %.20q", body)
		}
	}
}

// slowReader is a caller who reads nothing of an answer until it is let go.
type slowReader struct {
	*httptest.ResponseRecorder
	begun, goOn chan struct{}
	read, write time.Time // deadlines
}

func (w *slowReader) Write(b []byte) (int, error) {
	w.begun <- struct{}{}
	<-w.goOn
	return w.ResponseRecorder.Write(b)
}

func (w *slowReader) SetReadDeadline(t time.Time) error  { w.read = t; return nil }
func (w *slowReader) SetWriteDeadline(t time.Time) error { w.write = t; return nil }

func TestWhoIsSlowHoldsLittleAndNotForLong(t *testing.T) {
	o := NetworkOptions{}
	o.fill()
	s := DefaultNetwork()
	s.Data, s.Port = t.TempDir(), 0
	n, err := newNetworkServer(&o, s)
	if err != nil {
		t.Fatal(err)
	}
	if err := n.open(s, &credentials{}); err != nil {
		t.Fatal(err)
	}
	defer n.close()
	begun, goOn := make(chan struct{}), make(chan struct{})
	ask := func(ctx context.Context) *slowReader {
		w := &slowReader{ResponseRecorder: httptest.NewRecorder(), begun: begun, goOn: goOn}
		n.door.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.1/status", nil))
		return w
	}
	var asked sync.WaitGroup
	for range statusAtOnce {
		asked.Go(func() {
			if w := ask(t.Context()); w.read.IsZero() || w.write.IsZero() {
				t.Error("it may take as long as it likes")
			}
		})
		<-begun
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if w := ask(gone); w.Body.Len() > 0 {
		t.Error("one more is told, though nobody is there:", w.Body)
	}
	close(goOn)
	asked.Wait()
	asked.Go(func() { <-begun })
	if w := ask(t.Context()); !strings.HasPrefix(w.Body.String(), `{"version"`) {
		t.Error("when they are gone:", w.Body)
	}
	asked.Wait()
}

func TestAReloadMovesTheDoorAndASettingThatIsBadChangesNothing(t *testing.T) {
	var mu sync.Mutex
	secret := filepath.Join(t.TempDir(), "secret")
	address, file := "127.0.0.1", ""
	var bad error
	n := beginNetwork(t, t.TempDir(), func(s *NetworkSettings, o *NetworkOptions) {
		o.Load = func() (NetworkSettings, error) {
			mu.Lock()
			defer mu.Unlock()
			now := *s
			now.Address, now.SecretFile = address, file
			return now, bad
		}
	})
	reload := func(change func()) {
		mu.Lock()
		change()
		mu.Unlock()
		n.reload <- struct{}{}
		n.reload <- struct{}{} // the first is done when the second is taken
	}
	reload(func() { bad, address = errors.New("bad"), "nowhere.invalid" })
	if got := n.ask("/clusters"); got != "200 {}" {
		t.Error("after bad settings:", got)
	}
	if err := os.WriteFile(secret, []byte("a-secret-of-one-word"), 0o600); err != nil {
		t.Fatal(err)
	}
	reload(func() { bad, address, file = nil, "127.0.0.1", secret })
	if got := n.ask("/clusters"); !strings.HasPrefix(got, "401 SECRET") {
		t.Error("without the new secret:", got)
	}
	rewrite := func(text string) {
		reload(func() {
			if err := os.WriteFile(secret, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		})
	}
	shown := func(secret string) string { return n.ask("/clusters", "Authorization", "Bearer "+secret) }
	rewrite("a-secret-of-one-word\nthe-secret-that-follows\n")
	for secret, want := range map[string]string{
		"a-secret-of-one-word": "200 {}", "the-secret-that-follows": "200 {}", "": "401 SECRET: the secret that is shown is not this server's", "a-secret-of-one-wor": "401 SECRET: the secret that is shown",
	} {
		if got := shown(secret); !strings.HasPrefix(got, want) {
			t.Errorf("while secrets change, %q: %s, not %s", secret, got, want)
		}
	}
	if got := n.ask("/clusters"); !strings.HasPrefix(got, "401 SECRET: this server asks for its secret") {
		t.Error("without any:", got)
	}
	rewrite("the-secret-that-follows")
	if got := shown("a-secret-of-one-word"); !strings.HasPrefix(got, "401 SECRET") {
		t.Error("with that from before:", got)
	}
	reload(func() { address = "localhost" })
	if _, err := http.DefaultClient.Do(request(t, http.MethodGet, n.at["listen"]+"/clusters")); err == nil {
		t.Error("the old door is open")
	}
}
