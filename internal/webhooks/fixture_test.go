package webhooks

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	billing = Name{App: "ANZ", Name: "billing"}
	secret  = []byte("0123456789abcdef0123456789abcdef")
	second  = []byte("another one, of at least 32 bytes")
)

// arrival is one request that came to a receiver.
type arrival struct {
	id   string
	user string
	text string // of the event's data
	at   time.Time
}

// receiver is a real HTTP server that an app's owner might have. It fails the
// test when a signature is wrong, or two requests about one user overlap.
type receiver struct {
	t       *testing.T
	handler func(w http.ResponseWriter, r *http.Request, a arrival) // answers

	mu       sync.Mutex
	arrivals []arrival
	good     []arrival // of those, the ones that were answered with 2xx
	busy     map[string]bool
	most     int // requests at once
}

// answer makes a receiver that answers; nil answers 204.
func answer(t *testing.T, f func(w http.ResponseWriter, r *http.Request, a arrival)) *receiver {
	return &receiver{t: t, handler: f, busy: make(map[string]bool)}
}

func (r *receiver) set(f func(w http.ResponseWriter, r *http.Request, a arrival)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.handler = f
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return // the attempt was broken off
	}
	r.check(req, body)
	var text struct{ Data json.RawMessage }
	if err := json.Unmarshal(body, &text); err != nil {
		r.t.Errorf("%v: %s", err, body)
	}
	var who struct{ UserID, To string }
	_ = json.Unmarshal(text.Data, &who)
	a := arrival{id: req.Header.Get("webhook-id"), user: who.UserID + who.To, text: string(text.Data), at: time.Now()}
	r.mu.Lock()
	if r.busy[a.user] {
		r.t.Errorf("two requests about %s at once", a.user)
	}
	r.busy[a.user] = true
	r.most = max(r.most, len(r.busy))
	r.arrivals = append(r.arrivals, a)
	handler := r.handler
	r.mu.Unlock()
	status := &statusWriter{ResponseWriter: w}
	defer func() {
		r.mu.Lock()
		delete(r.busy, a.user)
		if status.code/100 == 2 {
			r.good = append(r.good, a)
		}
		r.mu.Unlock()
		status.end()
	}()
	if handler == nil {
		status.code = http.StatusNoContent
		return
	}
	handler(status, req, a)
}

// statusWriter keeps a status back until the receiver has noted it, so that the
// next request finds it noted. What has a body is written as it comes.
type statusWriter struct {
	http.ResponseWriter
	code    int
	written bool
}

func (w *statusWriter) WriteHeader(code int) { w.code = code }

func (w *statusWriter) Write(b []byte) (int, error) {
	if w.code == 0 {
		w.code = http.StatusOK
	}
	if !w.written {
		w.written = true
		w.ResponseWriter.WriteHeader(w.code)
	}
	return w.ResponseWriter.Write(b)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *statusWriter) end() {
	if w.code != 0 && !w.written {
		w.ResponseWriter.WriteHeader(w.code)
	}
}

// check verifies a request as an independent implementation of Standard Webhooks
// does.
func (r *receiver) check(req *http.Request, body []byte) {
	for _, key := range [][]byte{secret, second} {
		known, err := standardwebhooks.NewWebhookRaw(key)
		if err == nil {
			err = known.Verify(body, req.Header)
		}
		if err != nil {
			r.t.Errorf("%v: %v", err, req.Header)
		}
	}
	if req.Method != http.MethodPost || req.Header.Get("Content-Type") != "application/json" || req.Header.Get("User-Agent") != "Switchboard/1.2" {
		r.t.Errorf("%s with %v", req.Method, req.Header)
	}
}

func (r *receiver) got() []arrival {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.good)
}

func (r *receiver) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.arrivals)
}

func (r *receiver) highest() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.most
}

// body makes the body of an event about a user.
func body(kind, user string, i int) []byte {
	return fmt.Appendf(nil, `{"type":%q,"timestamp":%q,"data":{"app":"ANZ","userId":%q,"n":%d}}`,
		kind, time.Now().UTC().Format(timeFormat), user, i)
}

// rows is what is logged.
type rows struct {
	mu   sync.Mutex
	text strings.Builder
}

func (r *rows) Write(p []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.Write(p)
}

func (r *rows) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

// stage is a room at work, with all that is around it.
type stage struct {
	*testing.T
	queue   *memQueue
	archive *memArchive
	options Options
	log     *rows
	metrics *prometheus.Registry
	room    *Room
	stop    func()
}

// newStage sets a stage; begin has the room work.
func newStage(t *testing.T, url string) *stage {
	s := &stage{T: t, queue: newMemQueue(), archive: &memArchive{}, log: &rows{}}
	s.options = Options{
		Queue: s.queue, Archive: s.archive, Logger: slog.New(slog.NewTextHandler(s.log, nil)), Version: "1.2",
		Webhooks: []Webhook{{Of: billing, URL: url, Keys: [][]byte{secret, second}, Events: []string{"connected"}, AllowPrivate: true}},
		Limits:   Limits{Timeout: 10 * time.Second, Retry: 72 * time.Hour, Concurrency: 32},
		Chance:   func() float64 { return 0 },
	}
	return s
}

func (s *stage) begin() *stage {
	s.Helper()
	s.metrics = prometheus.NewRegistry()
	s.options.Metrics = s.metrics
	room, err := New(s.options)
	if err != nil {
		s.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- room.Run(ctx) }()
	var once sync.Once
	s.room, s.stop = room, func() {
		once.Do(func() {
			cancel()
			if err := <-done; err != nil {
				s.Error(err)
			}
		})
	}
	s.Cleanup(s.stop)
	return s
}

// fill queues events of users ANZ-0 to ANZ-(users-1), in turn, and returns their
// IDs.
func (s *stage) fill(users, each int) []wire.ID {
	var ids []wire.ID
	for i := range each {
		for u := range users {
			ids = append(ids, s.queue.add(billing, body("connected", fmt.Sprint("ANZ-", u), i)))
		}
	}
	return ids
}

// left returns how many events wait.
func (s *stage) left() int {
	s.Helper()
	b, err := s.queue.Backlog(s.Context(), billing)
	if err != nil {
		s.Fatal(err)
	}
	return b.Events
}

// status of the one webhook.
func (s *stage) status() Status {
	s.Helper()
	status, err := s.room.Status(s.Context(), billing)
	if err != nil {
		s.Fatal(err)
	}
	return status
}

// history returns the whole history of one state, newest first.
func (s *stage) history(state State) []Ended {
	s.Helper()
	var all []Ended
	at := Cursor{}
	for {
		p, err := s.room.History(s.Context(), billing, state, at, 100)
		if err != nil {
			s.Fatal(err)
		}
		all = append(all, p.Events...)
		if p.Next == nil {
			return all
		}
		at = *p.Next
	}
}

// judge compares what a receiver took with what was queued: it prints how many
// events were lost, came again, and came in another order than they were queued
// in, by user, and fails unless the first and the last are 0.
func (s *stage) judge(queued []wire.ID, got []arrival) {
	s.Helper()
	place := make(map[string]int)
	for i, id := range queued {
		place[id.String()] = i
	}
	seen := make(map[string]bool)
	last := make(map[string]int)
	again, reordered := 0, 0
	for _, a := range got {
		at, known := place[a.id]
		if !known {
			s.Errorf("event %s was never queued", a.id)
			continue
		}
		if seen[a.id] {
			again++
			continue
		}
		seen[a.id] = true
		if before, ok := last[a.user]; ok && before > at {
			reordered++
		}
		last[a.user] = at
	}
	s.Logf("lost %d, duplicated %d, reordered %d of %d", len(queued)-len(seen), again, reordered, len(queued))
	if len(seen) != len(queued) || reordered > 0 {
		s.Errorf("lost %d, reordered %d", len(queued)-len(seen), reordered)
	}
}

// pipes is a network in memory, which a synctest bubble can wait for.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	mu    sync.Mutex
	down  error // of dialling
	open  []net.Conn
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	p.mu.Lock()
	down := p.down
	p.mu.Unlock()
	if down != nil {
		return nil, down
	}
	near, far := net.Pipe()
	select {
	case p.conns <- far:
		p.mu.Lock()
		p.open = append(p.open, far)
		p.mu.Unlock()
		return near, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) set(down error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down = down
	for _, c := range p.open {
		_ = c.Close() // of a pipe: never fails
	}
	p.open = nil
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error {
	close(p.done)
	return nil
}

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{} }

// onPipes sets a stage whose receiver is reached in memory. It is for tests in a
// bubble: the server ends with end.
func onPipes(t *testing.T, r *receiver) (s *stage, network *pipes, end func()) {
	network, stop := serve(r)
	s = newStage(t, "http://receiver.example/hook")
	s.options.Dial = network.dial
	return s, network, func() {
		s.stop()
		stop()
	}
}

// serve has a receiver be reached in memory, until stop.
func serve(r *receiver) (network *pipes, stop func()) {
	network = newPipes()
	server := &http.Server{Handler: r, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, 0)}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(network) // until it is closed
	}()
	return network, func() {
		_ = server.Close()
		<-served
	}
}
