package nodetest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// Listener is a client of server-sent events, as a browser's EventSource is one:
// cut off, it comes back with the ID of the last event that it had whole, and it
// stops for good when the answer is no stream of events. It acknowledges nothing
// by itself.
type Listener struct {
	t    testing.TB
	addr string
	url  string
	// Token is sent as Authorization, unless it is empty. It is not changed while
	// the listener runs.
	Token string

	ctx    context.Context // of all its requests
	cancel context.CancelFunc
	done   chan struct{}

	mu      sync.Mutex
	last    string // ID of the last event
	session string // secret of the session that it has now
	answers int    // that have begun
	refused string // the answer that stopped it
	frames  []HeardFrame
	news    chan struct{} // holds one token when frames grew
	drop    context.CancelFunc
}

// HeardFrame is a frame that came as an event.
type HeardFrame struct {
	Frame
	EventID string
	Event   string // "close" for a session's end; empty for a frame
}

// Listen opens a stream for a user, of the demo's app unless query says another.
// query has what else the URL says, such as "push=true".
func Listen(t testing.TB, addr, user, query string) *Listener {
	t.Helper()
	l := NewListener(t, addr, user, query)
	go l.run()
	Eventually(t, user+" gets events", func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.session != "" || l.refused != ""
	})
	return l
}

// NewListener returns a listener that does nothing by itself.
func NewListener(t testing.TB, addr, user, query string) *Listener {
	l := &Listener{t: t, addr: addr, done: make(chan struct{}), news: make(chan struct{}, 1)}
	l.url = "http://" + addr + "/v1/events?userId=" + url.QueryEscape(user)
	if !strings.Contains(query, "appId=") {
		l.url += "&appId=app-id-343"
	}
	if query != "" {
		l.url += "&" + query
	}
	l.ctx, l.cancel = context.WithCancel(context.Background())
	return l
}

// run listens until Close, or until it is refused.
func (l *Listener) run() {
	defer close(l.done)
	l.t.Cleanup(l.Close)
	for l.ctx.Err() == nil && l.listen() {
		select {
		case <-l.ctx.Done():
		case <-time.After(20 * time.Millisecond): // a browser would wait longer
		}
	}
}

// Close ends the listener, as a page that is left: its session lives on.
func (l *Listener) Close() {
	l.cancel()
	<-l.done
}

// Cut ends the answer under way from this side.
func (l *Listener) Cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.drop != nil {
		l.drop()
	}
}

// transport is for listeners: a connection each.
func transport() *http.Transport {
	return &http.Transport{DisableKeepAlives: true, DisableCompression: true}
}

// listen makes one request and reads its events. It returns false when the
// client is not to come back.
func (l *Listener) listen() bool {
	ctx, drop := context.WithCancel(l.ctx)
	defer drop()
	l.mu.Lock()
	l.drop = drop
	last := l.last
	l.mu.Unlock()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, l.url, nil)
	if err != nil {
		l.refuse(err.Error())
		return false
	}
	req.Header.Set("Accept", "text/event-stream")
	if last != "" {
		req.Header.Set("Last-Event-ID", last)
	}
	if l.Token != "" {
		req.Header.Set("Authorization", "Bearer "+l.Token)
	}
	res, err := transport().RoundTrip(req)
	if err != nil {
		return true // the network
	}
	defer res.Body.Close()
	if kind := res.Header.Get("Content-Type"); res.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "text/event-stream") {
		body, _ := io.ReadAll(res.Body) // what there is of it
		l.refuse(fmt.Sprintf("%s %s", res.Status, body))
		return false
	}
	l.mu.Lock()
	l.answers++
	l.mu.Unlock()
	for r := NewEventReader(res.Body); ; {
		e, err := r.Next()
		if err != nil {
			return true
		}
		l.heard(e)
	}
}

func (l *Listener) refuse(why string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refused = why
	l.wake()
}

// wake tells Next of something new. The caller holds mu.
func (l *Listener) wake() {
	select {
	case l.news <- struct{}{}:
	default:
	}
}

// heard notes an event.
func (l *Listener) heard(e Event) {
	f := HeardFrame{EventID: e.ID, Event: e.Event}
	if err := json.Unmarshal([]byte(e.Data), &f.Frame); err != nil {
		l.refuse("the server sent what is not JSON: " + e.Data)
		return
	}
	f.Raw = e.Data
	l.mu.Lock()
	defer l.mu.Unlock()
	if e.ID != "" {
		l.last = e.ID
	}
	if secret := f.Field("session"); secret != "" {
		l.session = secret
	}
	l.frames = append(l.frames, f)
	l.wake()
}

// TryNext returns the next frame, or false when none came in time or the client
// was refused.
func (l *Listener) TryNext(patience time.Duration) (HeardFrame, bool) {
	deadline := time.After(patience)
	for {
		l.mu.Lock()
		if len(l.frames) > 0 {
			f := l.frames[0]
			l.frames = l.frames[1:]
			l.mu.Unlock()
			return f, true
		}
		refused := l.refused
		l.mu.Unlock()
		if refused != "" {
			return HeardFrame{}, false
		}
		select {
		case <-l.news:
		case <-deadline:
			return HeardFrame{}, false
		}
	}
}

// Next returns the next frame.
func (l *Listener) Next() HeardFrame {
	l.t.Helper()
	f, ok := l.TryNext(Patience)
	if !ok {
		l.t.Fatalf("no event came; refused with %q", l.Refused())
	}
	return f
}

// Expect returns the next frame, which must be of a type.
func (l *Listener) Expect(kind string) HeardFrame {
	l.t.Helper()
	f := l.Next()
	if f.Type != kind {
		l.t.Fatalf("got %.300s, not %s", f.Raw, kind)
	}
	return f
}

// Refused returns the answer after which the client does not come back; empty
// for none.
func (l *Listener) Refused() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.refused
}

// Answers returns how many answers have begun.
func (l *Listener) Answers() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.answers
}

// Secret returns the session's secret.
func (l *Listener) Secret() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.session
}

// Do makes a request of the session, and returns the answer. Any goroutine may.
func (l *Listener) Do(method, path, body string) (status int, answer string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, "http://"+l.addr+path, bytes.NewReader([]byte(body)))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Authorization", "Bearer "+l.Secret())
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return res.StatusCode, string(text), err
}

// Ack acknowledges everything up to an event.
func (l *Listener) Ack(id string) {
	l.t.Helper()
	if status, answer, err := l.Do("POST", "/v1/events/acks", `{"id":"`+id+`"}`); err != nil || status != http.StatusNoContent {
		l.t.Fatalf("acknowledge %s: %d %s %v", id, status, answer, err)
	}
}

// Send sends a frame.
func (l *Listener) Send(frame string) {
	l.t.Helper()
	if status, answer, err := l.Do("POST", "/v1/frames", frame); err != nil || status != http.StatusAccepted {
		l.t.Fatalf("send %.200s: %d %s %v", frame, status, answer, err)
	}
}
