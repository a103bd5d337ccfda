package nodetest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Frame is one frame from the server.
type Frame struct {
	Type      string          `json:"type"`
	Data      json.RawMessage `json:"data"`
	Reference json.RawMessage `json:"reference"`
	ID        string          `json:"id"`
	Producer  string          `json:"producer"`
	Seq       int64           `json:"seq"`
	Raw       string          `json:"-"`
}

// Field returns a field of data as text: a string without its quotes, anything
// else as it stands, "" when absent.
func (f Frame) Field(name string) string {
	var fields map[string]json.RawMessage
	if json.Unmarshal(f.Data, &fields) != nil {
		return ""
	}
	var s string
	if json.Unmarshal(fields[name], &s) == nil {
		return s
	}
	return string(fields[name])
}

// Peer is a plain WebSocket client: it answers pings and knows nothing else.
type Peer struct {
	t      testing.TB
	user   string // who is signed in
	ws     *websocket.Conn
	cancel context.CancelFunc
	closed chan struct{}
	err    error // why reading ended; set when closed is closed

	silent atomic.Bool
	gate   chan struct{} // holds one token; whoever has it may read

	mu     sync.Mutex
	frames []Frame       // read, and not yet taken by Next
	news   chan struct{} // holds one token when frames grew
}

// Dial connects to the server.
func Dial(t testing.TB, s *Server) *Peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	p, err := TryDial(ctx, t, s)
	if err != nil {
		t.Fatalf("dial: %v\n%s", err, s.Output())
	}
	return p
}

// TryDial connects to the server, or says why it cannot. Any goroutine of the
// test may call it.
func TryDial(ctx context.Context, t testing.TB, s *Server) (*Peer, error) {
	return dial(ctx, t, s, "", nil)
}

// DialShown connects to the server and shows something with the handshake: a query of
// the URL, with its ?, and a header Authorization; either may be empty.
func DialShown(t testing.TB, s *Server, query, authorization string) *Peer {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	header := http.Header{}
	if authorization != "" {
		header.Set("Authorization", authorization)
	}
	p, err := dial(ctx, t, s, query, header)
	if err != nil {
		t.Fatalf("dial: %v\n%s", err, s.Output())
	}
	return p
}

func dial(ctx context.Context, t testing.TB, s *Server, query string, header http.Header) (*Peer, error) {
	p := &Peer{t: t, closed: make(chan struct{}), gate: make(chan struct{}, 1), news: make(chan struct{}, 1)}
	ws, _, err := websocket.Dial(ctx, "ws://"+s.Addr+"/ws"+query, &websocket.DialOptions{
		HTTPHeader:     header,
		OnPingReceived: func(context.Context, []byte) bool { return !p.silent.Load() },
	})
	if err != nil {
		return nil, err
	}
	ws.SetReadLimit(16 << 20)
	p.ws = ws
	p.gate <- struct{}{}
	var readCtx context.Context
	readCtx, p.cancel = context.WithCancel(context.Background())
	go p.read(readCtx)
	t.Cleanup(p.Abort)
	return p, nil
}

// Silence lets the peer answer no ping any more, or answer them again: it reads
// on, and proves nothing of it.
func (p *Peer) Silence(on bool) { p.silent.Store(on) }

// Freeze lets the peer read no more, after at most one frame that is on its
// way, and so answer no ping either. The next Thaw ends it.
func (p *Peer) Freeze() { <-p.gate }

// Thaw ends a Freeze.
func (p *Peer) Thaw() { p.gate <- struct{}{} }

func (p *Peer) read(ctx context.Context) {
	defer close(p.closed)
	for {
		select {
		case token := <-p.gate:
			p.gate <- token
		case <-ctx.Done():
			p.err = ctx.Err()
			return
		}
		_, b, err := p.ws.Read(ctx)
		if err != nil {
			p.err = err
			return
		}
		var f Frame
		if err := json.Unmarshal(b, &f); err != nil {
			p.err = fmt.Errorf("the server sent what is not JSON: %q", b)
			return
		}
		f.Raw = string(b)
		p.mu.Lock()
		p.frames = append(p.frames, f)
		p.mu.Unlock()
		select {
		case p.news <- struct{}{}:
		default:
		}
	}
}

// SignIn connects and signs in as a user of the demo app; options is the JSON of
// AUTH_CLIENT.data.options, or "".
func SignIn(t testing.TB, s *Server, user, options string) *Peer {
	t.Helper()
	p := Dial(t, s)
	p.SignIn(user, options)
	return p
}

// SignIn sends AUTH_CLIENT and expects to be let in.
func (p *Peer) SignIn(user, options string) {
	p.t.Helper()
	if err := p.TrySignIn("app-id-343", user, options); err != nil {
		p.t.Fatal(err)
	}
}

// TrySignIn sends AUTH_CLIENT for an app's user, and says why it was not let
// in.
func (p *Peer) TrySignIn(appID, user, options string) error {
	if err := p.TrySend(authFrame(appID, user, options)); err != nil {
		return fmt.Errorf("sign in as %s: %w", user, err)
	}
	f, err := p.TryNext()
	if err != nil {
		return fmt.Errorf("sign in as %s: %w", user, err)
	}
	if f.Type != "AUTH_CLIENT_REPLY" || f.Field("isAuthenticated") != "true" {
		return fmt.Errorf("sign in as %s: got %s", user, f.Raw)
	}
	p.user = user
	return nil
}

func authFrame(appID, user, options string) string {
	if options == "" {
		options = "null"
	}
	return fmt.Sprintf(`{"type":"AUTH_CLIENT","data":{"appId":%q,"userId":%q,"token":"t","options":%s}}`, appID, user, options)
}

// Send writes a text frame.
func (p *Peer) Send(frame string) {
	p.t.Helper()
	if err := p.TrySend(frame); err != nil {
		p.t.Fatalf("send %.200s: %v", frame, err)
	}
}

// TrySend writes a text frame.
func (p *Peer) TrySend(frame string) error {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	return p.ws.Write(ctx, websocket.MessageText, []byte(frame))
}

// Message sends a MESSAGE; more is added to the envelope, such as
// `"reference":"r1"`, or "".
func (p *Peer) Message(to, content, more string) {
	p.t.Helper()
	if more != "" {
		more = "," + more
	}
	p.Send(fmt.Sprintf(`{"type":"MESSAGE","data":{"to":%q,"content":%q}%s}`, to, content, more))
}

// Next returns the next frame.
func (p *Peer) Next() Frame {
	p.t.Helper()
	f, err := p.TryNext()
	if err != nil {
		p.t.Fatal(err)
	}
	return f
}

// TryNext returns the next frame, or why there is none.
func (p *Peer) TryNext() (Frame, error) {
	deadline := time.NewTimer(Patience)
	defer deadline.Stop()
	for {
		if f, ok := p.take(); ok {
			return f, nil
		}
		select {
		case <-p.news:
		case <-p.closed:
			if f, ok := p.take(); ok {
				return f, nil
			}
			return Frame{}, fmt.Errorf("the connection ended: %w", p.err)
		case <-deadline.C:
			return Frame{}, errors.New("no frame came")
		}
	}
}

// take returns the next frame, if one was read.
func (p *Peer) take() (Frame, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.frames) == 0 {
		return Frame{}, false
	}
	f := p.frames[0]
	p.frames = p.frames[1:]
	return f, true
}

// Expect returns the next frame, which must be of the type.
func (p *Peer) Expect(kind string) Frame {
	p.t.Helper()
	f := p.Next()
	if f.Type != kind {
		p.t.Fatalf("got %s, want a %s", f.Raw, kind)
	}
	return f
}

// Barrier returns every frame that the server had queued for this peer before
// it answered one more frame.
func (p *Peer) Barrier() []Frame {
	p.t.Helper()
	p.Send(`{"type":"BARRIER"}`)
	var before []Frame
	for {
		f := p.Next()
		if f.Type == "INVALID_MESSAGE" && f.Field("code") == "UNKNOWN_TYPE" {
			return before
		}
		before = append(before, f)
	}
}

// Fetch asks for missed messages and returns them, and what is left.
func (p *Peer) Fetch(count int) (missed []Frame, left string) {
	p.t.Helper()
	p.Send(fmt.Sprintf(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":%d}}`, count))
	for {
		f := p.Next()
		if f.Type == "FETCH_MISSING_MESSAGES_COMPLETE" {
			return missed, f.Field("leftMissingCount")
		}
		missed = append(missed, f)
	}
}

// CloseCode waits for the connection to end and returns the server's close
// code, or -1 when it ended without one.
func (p *Peer) CloseCode() int {
	p.t.Helper()
	select {
	case <-p.closed:
		return int(websocket.CloseStatus(p.err))
	case <-time.After(Patience):
		p.t.Fatal("the connection did not end")
		return 0
	}
}

// Close ends the connection with a handshake.
func (p *Peer) Close() {
	p.t.Helper()
	// The peer may be gone already; that is as good.
	_ = p.ws.Close(websocket.StatusNormalClosure, "")
	p.cancel()
	<-p.closed
}

// Abort ends the connection without a word.
func (p *Peer) Abort() {
	p.cancel()
	_ = p.ws.CloseNow()
	<-p.closed
}
