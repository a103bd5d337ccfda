package nodetest

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// impostor stands where a neighbour is described to be, lets in whoever comes, and
// says what the test likes.
type impostor struct {
	t    testing.TB
	addr string
	in   chan *guest
}

// guest is a domain that has signed in at an impostor.
type guest struct {
	t      testing.TB
	ws     *websocket.Conn
	acks   chan string
	closed chan struct{}
	err    error
}

func newImpostor(t testing.TB) *impostor {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	x := &impostor{t: t, addr: l.Addr().String(), in: make(chan *guest, 100)}
	server := &http.Server{Handler: http.HandlerFunc(x.serve)}
	go func() { _ = server.Serve(l) }() // it ends with Close
	t.Cleanup(func() { _ = server.Close() })
	return x
}

func (x *impostor) serve(w http.ResponseWriter, r *http.Request) {
	ws, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer func() { _ = ws.CloseNow() }()
	ws.SetReadLimit(16 << 20)
	g := &guest{t: x.t, ws: ws, acks: make(chan string, 100), closed: make(chan struct{})}
	defer close(g.closed)
	for {
		_, b, err := ws.Read(context.Background())
		if err != nil {
			g.err = err
			return
		}
		var f Frame
		if json.Unmarshal(b, &f) != nil {
			continue
		}
		switch f.Type {
		case "AUTH_CLIENT":
			g.say(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"link","userId":"domain1-1","isAuthenticated":true}}`)
			x.in <- g
		case "MESSAGE_ACK":
			g.acks <- f.Field("id")
		}
	}
}

// next waits for a domain to sign in.
func (x *impostor) next() *guest {
	x.t.Helper()
	select {
	case g := <-x.in:
		return g
	case <-time.After(Patience):
		x.t.Fatal("nobody has signed in")
		return nil
	}
}

// say sends a frame.
func (g *guest) say(frame string) {
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	_ = g.ws.Write(ctx, websocket.MessageText, []byte(frame)) // whether it is still there shows in what comes back
}

// ended waits for the connection to end, and returns the close frame as text.
func (g *guest) ended() string {
	g.t.Helper()
	select {
	case <-g.closed:
		return fmt.Sprint(g.err)
	case <-time.After(Patience):
		g.t.Fatal("the link is still up")
		return ""
	}
}

// acked waits for an acknowledgement.
func (g *guest) acked() string {
	g.t.Helper()
	select {
	case id := <-g.acks:
		return id
	case <-g.closed:
		g.t.Fatalf("the link is over: %v", g.err)
	case <-time.After(Patience):
		g.t.Fatal("nothing is acknowledged")
	}
	return ""
}

// forged returns a FORWARD as domain-02 would send it, with a place that rises.
func forged(place int, change func(*wire.Forward)) string {
	var id wire.ID
	id[6], id[8] = 0x70, 0x80
	copy(id[:], fmt.Sprintf("%06d", place))
	f := &wire.Forward{
		Origin: "domain-02", From: "ANZ-1001", To: []wire.UserID{"ANZ-1"}, Hops: 1, Graph: 1, SentAt: time.Now(),
		Frame: fmt.Appendf(nil, `{"type":"MESSAGE","data":{"from":"ANZ-1001","content":"m%d"}}`, place),
	}
	if change != nil {
		change(f)
	}
	bare := wire.AppendForward(nil, f)
	if f.Fast {
		return string(bare)
	}
	return string(wire.AppendPlace(nil, bare, id, "domain-02/forged", uint64(place), 1))
}

// besideAnImpostor starts domain-01, whose neighbour domain-02 is an impostor, and
// domain-03 is away.
func besideAnImpostor(t *testing.T) (*Federation, *impostor) {
	t.Helper()
	x := newImpostor(t)
	f := StartFederation(t, FederationOptions{Domains: 3, Links: []string{"1-2", "1-3"}, Later: []int{0, 1, 2}})
	f.Relocate(1, x.addr)
	f.Domains[0].Start()
	return f, x
}

// What a neighbour sends, whatever it is, ends its link at most, and that says why. What
// is good comes through before and after.
func TestADomainOutlivesWhateverANeighbourSends(t *testing.T) {
	t.Parallel()
	f, x := besideAnImpostor(t)
	ann := f.SignIn(0, 1, "")
	for i, bad := range []string{
		`{"type":"MESSAGE","data":{"from":"ANZ-1001","content":1}}`,
		`{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r"},"id":"01890000-0000-7000-8000-000000000001"}`,
		`{"type":"FORWARD"`,
		forged(100, func(f *wire.Forward) { f.Expires = time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).AddDate(1, 0, 0) }),
	} {
		g := x.next()
		g.say(forged(i+1, nil))
		if m := ann.Expect("MESSAGE"); m.Field("content") != fmt.Sprint("m", i+1) {
			t.Errorf("got %s", m.Raw)
		}
		g.acked()
		g.say(bad)
		if why := g.ended(); !strings.Contains(why, "no good FORWARD") {
			t.Errorf("%.100s: the link ends by %s", bad, why)
		}
	}
	// In the name of a link, through this domain and to users of it: nobody is told.
	g := x.next()
	for i, to := range []wire.UserID{"ANZ-1", "ANZ-2001", "NONE-1"} {
		g.say(forged(10+i, func(f *wire.Forward) {
			f.From, f.To, f.Frame = "domain3-1", []wire.UserID{to}, []byte(`{"type":"MESSAGE","data":{"from":"domain3-1","content":1}}`)
		}))
		g.acked()
	}
	if n := f.Waiting(0, 2); n != 0 {
		t.Errorf("%d messages wait for domain-03", n)
	}
	if extra := ann.Barrier(); len(extra) > 0 {
		t.Errorf("%d frames more: %s", len(extra), extra[0].Raw)
	}
}
