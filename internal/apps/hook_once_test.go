package apps_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"sync"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// dropper is a hook that answers the first call on each connection, keeps the
// connection, and then breaks it in a way of its own. It counts the calls that
// have reached it, by token.
type dropper struct {
	t        *testing.T
	listener net.Listener
	how      string
	conns    sync.WaitGroup

	mu   sync.Mutex
	seen map[string]int
}

func newDropper(t *testing.T, how string) *dropper {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	d := &dropper{t: t, listener: l, how: how, seen: make(map[string]int)}
	d.conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			d.conns.Go(func() { d.serve(c.(*net.TCPConn)) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		d.conns.Wait()
	})
	return d
}

func (d *dropper) serve(c *net.TCPConn) {
	defer func() { _ = c.Close() }()
	r := bufio.NewReader(c)
	q, ok := d.read(r)
	if !ok {
		return
	}
	body := fmt.Sprintf(`{"appId":%q,"userId":%q,"isAuthenticated":true}`, q.AppID, q.UserID)
	_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	switch d.how {
	case "closed while idle":
		return
	case "reset while idle":
		_ = c.SetLinger(0)
		return
	}
	if _, ok = d.read(r); !ok {
		return
	}
	switch d.how {
	case "closed after the call":
	case "reset after the call":
		_ = c.SetLinger(0)
	case "cut within the answer":
		_, _ = fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
	case "told to come again":
		_, _ = fmt.Fprintf(c, "HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
	}
}

func (d *dropper) read(r *bufio.Reader) (asked, bool) {
	req, err := http.ReadRequest(r)
	if err != nil {
		return asked{}, false
	}
	var q asked
	if err := json.NewDecoder(req.Body).Decode(&q); err != nil {
		return asked{}, false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.seen[q.Token]++
	return q, true
}

func TestHookIsNeverCalledTwiceForOneAttempt(t *testing.T) {
	for _, how := range []string{
		"closed while idle", "reset while idle",
		"closed after the call", "reset after the call", "cut within the answer", "told to come again",
	} {
		t.Run(how, func(t *testing.T) {
			const attempts = 60
			d := newDropper(t, how)
			r := start(t, apps.Options{Apps: []apps.App{hooked("http://" + d.listener.Addr().String())}})
			granted, failed := 0, 0
			for i := range attempts {
				switch got := signIn(t, r, auth(wire.UserID(fmt.Sprintf("ANZ-%d", i)), fmt.Sprintf("token-%d", i))); got {
				case "OK":
					granted++
				case "HOOK_FAILED":
					failed++
				default:
					t.Errorf("got %s", got)
				}
			}
			d.mu.Lock()
			defer d.mu.Unlock()
			for token, n := range d.seen {
				if n > 1 {
					t.Errorf("%s: %d calls", token, n)
				}
			}
			// Connections that are broken by a call: every second one meets it.
			idle := how == "closed while idle" || how == "reset while idle"
			if !idle && (granted != attempts/2 || failed != attempts/2) {
				t.Errorf("%d granted, %d failed: the connections were not used again", granted, failed)
			}
			if how == "closed while idle" && granted < attempts/2 {
				t.Errorf("%d granted", granted)
			}
		})
	}
}
