package settings

import (
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
	"unicode/utf8"

	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long anything may take before it counts as failed.
const patience = time.Minute

// logged is a buffer that several goroutines may use.
type logged struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logged) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.b.String(), what)
}

// served is a meta server that serves what a test says.
type served struct {
	t *testing.T
	*httptest.Server

	mu      sync.Mutex
	commit  string
	answer  func(http.ResponseWriter, *http.Request) // instead; nil: the settings
	text    string
	trouble string
	mute    bool // streams do not come through
	shown   string
	changed chan struct{}
}

// serve starts a meta server with a commit "c1".
func serve(t *testing.T, text string) *served {
	t.Helper()
	s := &served{t: t, commit: "c1", text: text, changed: make(chan struct{})}
	s.Server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.CloseClientConnections()
		s.Close()
	})
	return s
}

// put has it serve something else.
func (s *served) put(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
	close(s.changed)
	s.changed = make(chan struct{})
}

// ServeHTTP implements http.Handler.
func (s *served) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	commit, text, trouble, answer, mute, changed := s.commit, s.text, s.trouble, s.answer, s.mute, s.changed
	s.shown = r.Header.Get("Authorization")
	s.mu.Unlock()
	etag := `"` + commit + trouble + `"`
	switch {
	case answer != nil:
		answer(w, r)
	case r.URL.Path == "/config/switchboard/default/events" && mute:
		w.Header().Set("Content-Type", "text/event-stream")
	case r.URL.Path == "/config/switchboard/default/events":
		w.Header().Set("Content-Type", "text/event-stream")
		for {
			fmt.Fprintf(w, "retry: 10\n\nevent: settings\ndata: {}\n\n")
			if http.NewResponseController(w).Flush() != nil {
				return
			}
			select {
			case <-r.Context().Done():
				return
			case <-changed:
			}
			s.mu.Lock()
			changed = s.changed
			s.mu.Unlock()
		}
	case r.URL.Path != "/config/switchboard/default":
		http.NotFound(w, r)
	case r.Header.Get("If-None-Match") == etag:
		w.WriteHeader(http.StatusNotModified)
	default:
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		w.Header().Set("Etag", etag)
		fmt.Fprintf(w, `{"commit":%q,"files":["switchboard.yaml"],"settings":%s,"places":{"limits.frame":"switchboard.yaml:3"}%s}`, commit, text, trouble)
	}
}

// world is a node's book under test.
type world struct {
	t    *testing.T
	o    Options
	log  logged
	data string
}

// newWorld has options of a node that follows a meta server.
func newWorld(t *testing.T, url string) *world {
	t.Helper()
	w := &world{t: t, data: t.TempDir()}
	file := filepath.Join(t.TempDir(), "own.yaml")
	w.o = Options{
		From: config.Sources{File: file, Environ: []string{config.EnvSecrets + "=" + filepath.Dir(file)}},
		Log:  slog.New(slog.NewTextHandler(&w.log, nil)), FirstWait: patience, Retry: time.Millisecond, RetryMax: 5 * time.Millisecond,
	}
	w.own("limits: {queueFrames: 50}\nsettings: {url: '" + url + "'}\ndata: " + w.data + "\n")
	return w
}

func (w *world) own(text string) {
	w.t.Helper()
	if err := os.WriteFile(w.o.From.File, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
}

// open opens the book; run follows the meta server until the test, or stop, ends it.
func (w *world) open() *Book {
	w.t.Helper()
	b, err := New(w.t.Context(), w.o)
	if err != nil {
		w.t.Fatal(err)
	}
	return b
}

func (w *world) run(b *Book) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all sync.WaitGroup
	all.Go(func() { _ = b.Run(ctx) }) // it returns nil
	stop = func() { cancel(); all.Wait() }
	w.t.Cleanup(stop)
	return stop
}

func (w *world) eventually(what string, is func() bool) {
	w.t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !is(); <-tick.C {
		if time.Now().After(deadline) {
			w.t.Fatalf("not so: %s\n%s", what, w.log.b.String())
		}
	}
}

// kinds returns the kinds of trouble that there are.
func kinds(b *Book) string {
	var list []string
	for _, t := range b.State().Troubles {
		list = append(list, t.Kind)
	}
	return strings.Join(list, " ")
}

const chat = `"chat":{"enabled":true}`

func TestChangesAreTakenByStreamAndByAskingWhereStreamsDoNotComeThrough(t *testing.T) {
	for _, mute := range []bool{false, true} {
		m := serve(t, `{`+chat+`,"limits":{"frame":"2KiB"}}`)
		m.mute = mute
		w := newWorld(t, m.URL)
		b := w.open()
		if s := b.Settings(); s.Limits.Frame != 2*config.KiB || s.Limits.QueueFrames != 50 || s.Demo {
			t.Errorf("it starts with %+v", s.Limits)
		}
		w.run(b)
		w.eventually("it follows, or says that it cannot", func() bool { return b.State().Following != mute && (kinds(b) == kindStream) == mute })
		m.put(func() { m.commit, m.text = "c2", `{`+chat+`,"limits":{"frame":"3KiB"}}` })
		select {
		case s := <-b.Changes():
			if s.Limits.Frame != 3*config.KiB {
				t.Errorf("the node gets %+v", s.Limits)
			}
		case <-time.After(patience):
			t.Fatal("the node gets nothing")
		}
		if n := w.log.count("changes of the settings are not told"); n > 1 || mute && n == 0 {
			t.Errorf("that streams do not come through is said %d times", n)
		}
	}
}

func TestAMetaServerIsTrustedByTheCertificatesThatAreNamed(t *testing.T) {
	m := &served{t: t, commit: "c1", text: `{` + chat + `}`, changed: make(chan struct{})}
	m.Server = httptest.NewTLSServer(m)
	t.Cleanup(m.Close)
	w := newWorld(t, m.URL)
	w.o.FirstWait = time.Millisecond
	if _, err := New(t.Context(), w.o); err == nil {
		t.Error("one whom nobody named is trusted")
	}
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: m.Certificate().Raw}), 0o600); err != nil {
		t.Fatal(err)
	}
	w.o.FirstWait = patience
	w.own("settings: {url: '" + m.URL + "', ca: " + ca + "}\ndata: " + w.data + "\n")
	if st := w.open().State(); st.Commit != "c1" {
		t.Errorf("in force is %+v", st)
	}
	w.own("settings: {url: 'http://127.0.0.1:1', ca: " + ca + "}\ndata: " + w.data + "\n")
	if _, err := New(t.Context(), w.o); err == nil || !strings.Contains(err.Error(), "settings.ca: is for a meta server at https://") {
		t.Errorf("a certificate where none is shown: %v", err)
	}
}

func TestSettingsThatAreFixedAskNobody(t *testing.T) {
	s := config.Defaults()
	s.Source.URL = "http://127.0.0.1:1"
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := Fixed(s)
	if err := b.Run(ctx); err != nil || b.State().Following || b.Settings().Source.URL != s.Source.URL {
		t.Errorf("it ends with %v", err)
	}
}

func TestWhatTheMetaServerAnswersWronglyChangesNothingAndIsSaidOnce(t *testing.T) {
	m := serve(t, `{`+chat+`}`)
	w := newWorld(t, m.URL)
	b := w.open()
	w.run(b)
	for kind, answer := range map[string]func(http.ResponseWriter, *http.Request){
		kindStatus: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) },
		kindAnswer: func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			_, _ = w.Write(bytes.Repeat([]byte(" "), maxAnswer+1))
		},
		kindUnreachable: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
		kindStatus + " ": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, "http://127.0.0.1:1/elsewhere", http.StatusFound)
		},
	} {
		m.put(func() { m.answer = answer })
		m.CloseClientConnections()
		w.eventually("there is trouble: "+kind, func() bool { return strings.Contains(kinds(b), strings.TrimSpace(kind)) })
		if st := b.State(); st.Commit != "c1" {
			t.Errorf("%s: in force is %s", kind, st.Commit)
		}
		m.put(func() { m.answer = nil })
		w.eventually("the trouble is over: "+kind, func() bool { return kinds(b) == "" && b.State().Following })
	}
	// That it cannot be reached is said once more whenever it closes a connection that is in use.
	for _, said := range []string{"answers 401", "answers 302", "has more than 8 MiB"} {
		if n := w.log.count(said); n != 1 {
			t.Errorf("%q is said %d times\n%s", said, n, w.log.b.String())
		}
	}
}

func TestABadCommitIsToldUntilAGoodOneComesAlsoTheOneInForce(t *testing.T) {
	m := serve(t, `{`+chat+`}`)
	w := newWorld(t, m.URL)
	b := w.open()
	w.run(b)
	w.eventually("it follows", func() bool { return b.State().Following })
	m.put(func() { m.commit, m.text = "c2", `{`+chat+`,"limits":{"frame":"64KB","connections":9}}` })
	w.eventually("it is refused", func() bool { return kinds(b) == kindBad })
	st := b.State()
	if st.Commit != "c1" || st.Troubles[0].Commit != "c2" || !strings.HasPrefix(st.Troubles[0].Text[0], "switchboard.yaml:3 in commit c2: limits.frame: ") || b.Settings().Limits.Connections == 9 {
		t.Errorf("in force is %+v of %s", st.Troubles, st.Commit)
	}
	b.Read() // what is on this node is good, so nothing is half applied
	if w.log.count("limits.frame") != 1 {
		t.Errorf("it is said again\n%s", w.log.b.String())
	}
	m.put(func() {
		m.commit, m.text, m.trouble = "c1", `{`+chat+`}`, `,"trouble":{"kind":"bad","place":"commit c3","problems":["x.yaml:1: not YAML"]}`
	})
	w.eventually("the trouble is the repository's", func() bool { return kinds(b) == kindRepository })
	m.put(func() { m.trouble = `,"trouble":{"kind":"bad","problems":["` + strings.Repeat("ä", 5000) + `"]}` })
	w.eventually("what is long is cut short, between two characters", func() bool {
		st := b.State()
		return len(st.Troubles) == 1 && strings.HasPrefix(st.Troubles[0].Text[0], "ää")
	})
	if text := b.State().Troubles[0].Text[0]; len(text) > mostText+len("…") || !utf8.ValidString(text) {
		t.Errorf("it says %q", text)
	}
	m.put(func() { m.trouble = "" })
	w.eventually("there is none", func() bool { return kinds(b) == "" })
	m.put(func() { m.commit, m.text = "c4", `{`+chat+`,"limits":{"frame":"`+strings.Repeat("9", 10_000)+`"}}` })
	w.eventually("a long value is refused", func() bool { return kinds(b) == kindBad })
	if text := b.State().Troubles[0].Text[0]; len(text) > mostText+len("…") {
		t.Errorf("it says %q", text)
	}
}

func TestASecretThatComesLaterIsFoundWhenSettingsAreReadAgain(t *testing.T) {
	m := serve(t, `{`+chat+`}`)
	w := newWorld(t, m.URL)
	b := w.open()
	stop := w.run(b)
	w.eventually("it follows", func() bool { return b.State().Following })
	m.put(func() {
		m.commit = "c2"
		m.text = `{"apps":[{"appName":"SHOP","appId":"s","jwt":{"secret":{"secret":"LATER"}}}]}`
	})
	w.eventually("it is refused", func() bool { return kinds(b) == kindBad })
	if err := os.WriteFile(filepath.Join(filepath.Dir(w.o.From.File), "LATER"), []byte(strings.Repeat("s", 32)), 0o600); err != nil {
		t.Fatal(err)
	}
	b.Read()
	if st := b.State(); st.Commit != "c2" || kinds(b) != "" || b.Settings().Apps[0].Name != "SHOP" {
		t.Errorf("in force is %+v\n%s", st, w.log.b.String())
	}
	stop()

	// It is in no copy, and a start without the meta server finds it again.
	m.Close()
	text, err := os.ReadFile(filepath.Join(w.data, copyName))
	if err != nil || strings.Contains(string(text), "ssss") {
		t.Fatalf("the copy is %s, %v", text, err)
	}
	again := w.open()
	if st := again.State(); st.Commit != "c2" || !st.Confirmed.IsZero() || kinds(again) != kindUnreachable || again.Settings().Apps[0].Name != "SHOP" {
		t.Errorf("it starts with %+v", st)
	}
}

func TestAStartTakesTheLastGoodCopyAndSaysWhyOrFails(t *testing.T) {
	m := serve(t, `{`+chat+`}`)
	w := newWorld(t, m.URL)
	b := w.open()
	stop := w.run(b)
	w.eventually("a copy is there", func() bool { _, err := os.Stat(filepath.Join(w.data, copyName)); return err == nil })
	stop()

	m.put(func() { m.commit, m.text = "c2", `{"limits":{"frame":1}}` })
	if st := w.open().State(); st.Commit != "c1" || len(st.Troubles) != 1 || st.Troubles[0].Kind != kindBad || st.Troubles[0].Commit != "c2" {
		t.Errorf("with a bad commit it starts with %+v", st)
	}
	if err := os.WriteFile(filepath.Join(w.data, copyName), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	var problems config.Problems
	if _, err := New(t.Context(), w.o); !errors.As(err, &problems) {
		t.Errorf("with a bad commit and no copy: %v", err)
	}
	if w.log.count("damaged") != 1 {
		t.Errorf("that the copy is damaged is not said\n%s", w.log.b.String())
	}
	m.Close()
	w.o.FirstWait = 50 * time.Millisecond
	if _, err := New(t.Context(), w.o); err == nil || !strings.Contains(err.Error(), "no last good copy in "+w.data) {
		t.Errorf("without anything: %v", err)
	}
	if w.log.count("has no settings of the repository yet") != 1 || w.log.count("those in force stay") != 0 {
		t.Errorf("that nothing is in force yet is not said\n%s", w.log.b.String())
	}
}

func TestWhatTheMetaServerAsksForIsReadFromItsFileEachTime(t *testing.T) {
	m := serve(t, `{`+chat+`}`)
	w := newWorld(t, m.URL)
	secret := filepath.Join(t.TempDir(), "secret")
	for _, text := range []string{"first-secret", "second-secret"} {
		if err := os.WriteFile(secret, []byte(text+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		w.own("settings: {url: '" + m.URL + "', secretFile: " + secret + "}\ndata: " + w.data + "\n")
		w.open()
		m.mu.Lock()
		if m.shown != "Bearer "+text {
			t.Errorf("it shows %s", m.shown)
		}
		m.mu.Unlock()
	}
	http.DefaultClient.CloseIdleConnections()
}
