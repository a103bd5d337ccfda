package relay

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// stub is a collector of another make: it keeps what it gets in memory.
type stub struct {
	server *httptest.Server
	member Member

	mu     sync.Mutex
	files  map[string]string
	asked  int                                               // requests
	puts   []string                                          // names, in the order of arrival
	bytes  int64                                             // of bodies
	parts  map[string][]byte                                 // by key; of ours
	behave func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	ours   bool                                              // it knows HEAD and offsets
}

func newStub(t *testing.T, behave func(w http.ResponseWriter, r *http.Request) bool) *stub {
	t.Helper()
	s := &stub{files: map[string]string{}, parts: map[string][]byte{}, behave: behave}
	s.server = httptest.NewServer(s)
	t.Cleanup(func() {
		s.server.CloseClientConnections()
		s.server.Close()
	})
	a := s.server.Listener.Addr().(*net.TCPAddr)
	s.member = Member{Address: a.IP.String(), Port: Port(a.Port)}
	return s
}

// ServeHTTP implements http.Handler.
func (s *stub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.asked++
	behave := s.behave
	s.mu.Unlock()
	if behave != nil && behave(w, r) {
		return
	}
	key := r.Header.Get(headerKey)
	if r.Method == http.MethodHead {
		s.head(w, key, strings.TrimPrefix(r.URL.Path, "/"))
		return
	}
	content, err := io.ReadAll(&counting{r.Body, s})
	s.mu.Lock()
	defer s.mu.Unlock()
	name := strings.TrimPrefix(r.URL.Path, "/")
	if err != nil {
		if s.ours {
			s.parts[key] = append(s.parts[key], content...)
		}
		return
	}
	if r.Header.Get("Content-Range") != "" {
		content = append(s.parts[key], content...)
	}
	digest := Digest(sha256.Sum256(content))
	if r.Header.Get(headerDigest) != digest.header() {
		w.WriteHeader(http.StatusUnprocessableEntity)
		return
	}
	s.files[name] = string(content)
	s.puts = append(s.puts, name)
	fmt.Fprint(w, answerSuccess)
}

func (s *stub) head(w http.ResponseWriter, key, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ours {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set(headerOffset, fmt.Sprint(len(s.parts[key])))
}

// counting counts the bytes of a body.
type counting struct {
	from io.Reader
	s    *stub
}

// Read implements io.Reader.
func (c *counting) Read(p []byte) (int, error) {
	n, err := c.from.Read(p)
	c.s.mu.Lock()
	c.s.bytes += int64(n)
	c.s.mu.Unlock()
	return n, err
}

func (s *stub) do(behave func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.behave = behave
}

func (s *stub) has(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, has := s.files[name]
	return has
}

func (s *stub) tries() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *stub) content(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[name]
}

func (s *stub) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.files)
}

func (s *stub) sent() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string{}, s.puts...)
}

// refusing answers every request with a status.
func refusing(status int, headers ...string) func(w http.ResponseWriter, r *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		for i := 0; i+1 < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		fmt.Fprint(w, "FULL: no room\n")
		return true
	}
}

// upload is an uploader under test.
type upload struct {
	t      *testing.T
	spool  string
	reload chan struct{}
	stop   func()
	log    *slog.Logger

	mu       sync.Mutex
	settings UploaderSettings
	skew     time.Duration // of its clock
}

// standardUpload are settings for a folder, with all files to the cluster next.
func standardUpload(spool string, static Clusters) UploaderSettings {
	return UploaderSettings{
		Spool: spool, MaxConn: 8, Every: "100ms", Quiet: time.Millisecond, KeepFor: time.Hour,
		NextHop: []Rule{{"*", "next"}}, Static: static,
	}
}

func next(members map[string]*stub) Clusters {
	c := map[string]Member{}
	for id, s := range members {
		c[id] = s.member
	}
	return Clusters{"next": c}
}

func newUpload(t *testing.T, s UploaderSettings) *upload {
	return &upload{t: t, spool: s.Spool, settings: s, reload: make(chan struct{}), log: quiet()}
}

var quickUpload = uploadTuning{
	backoffLeast: 5 * time.Millisecond, backoffMost: 50 * time.Millisecond, saveEvery: 10 * time.Millisecond, passGap: time.Millisecond,
}

// start runs it until stop, or the end of the test.
func (u *upload) start(tuning uploadTuning) *upload {
	u.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		ended <- RunUploader(ctx, UploaderOptions{
			Load: u.load, Reload: u.reload, Version: "test", Log: u.log, Now: u.now, tuning: tuning,
		})
	}()
	var once sync.Once
	u.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				u.t.Errorf("it ended with %v", err)
			}
		})
	}
	u.t.Cleanup(u.stop)
	return u
}

func (u *upload) load() (UploaderSettings, error) {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.settings, nil
}

func (u *upload) now() time.Time {
	u.mu.Lock()
	defer u.mu.Unlock()
	return time.Now().Add(u.skew)
}

// forward turns its clock: the one on the wall and the one that does not jump.
func (u *upload) forward(d time.Duration) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.skew += d
}

// change has it read other settings.
func (u *upload) change(edit func(*UploaderSettings)) {
	u.mu.Lock()
	edit(&u.settings)
	u.mu.Unlock()
	u.reload <- struct{}{}
}

// heard is what was logged.
type heard struct {
	mu   sync.Mutex
	text strings.Builder
}

func (h *heard) Write(b []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(b)
}

func (h *heard) log() *slog.Logger { return slog.New(slog.NewTextHandler(h, nil)) }

// lines returns the lines that have all of some words.
func (h *heard) lines(words ...string) (found []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for line := range strings.Lines(h.text.String()) {
		has := true
		for _, word := range words {
			has = has && strings.Contains(line, word)
		}
		if has {
			found = append(found, strings.TrimSpace(line))
		}
	}
	return found
}

// drop puts a file into the folder, whole at once.
func drop(t *testing.T, dir, name, content string) {
	t.Helper()
	if err := os.MkdirAll(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	beside := filepath.Join(dir, "."+name)
	if err := os.WriteFile(beside, []byte(content), 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(beside, filepath.Join(dir, name)); err != nil {
		t.Fatal(err)
	}
}

func there(path ...string) bool {
	_, err := os.Stat(filepath.Join(path...))
	return err == nil
}

// eventually waits for what comes sooner or later.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.NewTimer(30 * time.Second)
	defer deadline.Stop()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !is() {
		select {
		case <-deadline.C:
			t.Fatalf("after 30 s still not: %s", what)
		case <-tick.C:
		}
	}
}
