package socket

import (
	"net/http"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestHandshakesThatAreNone(t *testing.T) {
	r := newRig(t)
	for _, c := range []struct {
		name    string
		method  string
		headers []string
		status  int
		header  string
		value   string
	}{
		{"POST", "POST", nil, http.StatusMethodNotAllowed, "Allow", "GET"},
		{"no upgrade", "GET", []string{"Upgrade: h2c"}, http.StatusUpgradeRequired, "Upgrade", "websocket"},
		{"no Connection", "GET", []string{"Connection: close"}, http.StatusUpgradeRequired, "Upgrade", "websocket"},
		{"old version", "GET", []string{"Sec-WebSocket-Version: 8"}, http.StatusUpgradeRequired, "Sec-WebSocket-Version", "13"},
		{"bad key", "GET", []string{"Sec-WebSocket-Key: abc"}, http.StatusBadRequest, "", ""},
		{"two keys", "GET", []string{"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="}, http.StatusBadRequest, "", ""},
		{"other origin", "GET", []string{"Origin: https://evil.example"}, http.StatusForbidden, "", ""},
		{"origin null", "GET", []string{"Origin: null"}, http.StatusForbidden, "", ""},
	} {
		p, resp := r.request(c.method, nil, c.headers...)
		if resp.StatusCode != c.status || (c.header != "" && resp.Header.Get(c.header) != c.value) {
			t.Errorf("%s: %s, %s %q", c.name, resp.Status, c.header, resp.Header.Get(c.header))
		}
		p.conn.Close()
	}
	if n := r.counter("handshakes_refused_total", "reason", "origin"); n != 2 {
		t.Errorf("%v refused for their origin", n)
	}
	r.dial("Origin: http://" + r.addr)
}

func TestOriginsAreAsked(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.AllowOrigin = func(q *http.Request) bool { return q.Header.Get("Origin") == "https://good.example" }
	})
	r.dial("Origin: https://good.example")
	if _, resp := r.request("GET", nil); resp.StatusCode != http.StatusForbidden {
		t.Errorf("without an origin: %s", resp.Status)
	}
}

func TestConnectionsAreLimited(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.Connections = 2 })
	first := r.dial()
	r.dial()
	_, resp := r.request("GET", nil)
	if resp.StatusCode != http.StatusServiceUnavailable || resp.Header.Get("Retry-After") == "" {
		t.Errorf("the third: %s", resp.Status)
	}
	first.write(frame(finClose, nil))
	first.next(finClose)
	first.ended()
	r.wait("the place is free", func() bool { return r.counter("connections") == 1 })
	r.dial()
}

// wait polls for what no event tells.
func (r *rig) wait(what string, done func() bool) {
	r.t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if done() {
			return
		}
	}
	r.t.Fatal("in vain: " + what)
}

func TestCompressionIsAgreedOnlyAsWeDoIt(t *testing.T) {
	const agreed = "permessage-deflate; server_no_context_takeover; client_no_context_takeover"
	for _, c := range []struct {
		offer string
		want  string
	}{
		{"permessage-deflate", agreed},
		{"permessage-deflate; client_max_window_bits", agreed},
		{"permessage-deflate; client_max_window_bits=10; server_no_context_takeover", agreed},
		{"permessage-deflate; server_max_window_bits=10, permessage-deflate", agreed},
		{"permessage-deflate; server_max_window_bits=10", ""},
		{"permessage-deflate; server_max_window_bits=15", ""},
		{"permessage-deflate; client_max_window_bits=16", ""},
		{"permessage-deflate; server_no_context_takeover=1", ""},
		{"permessage-deflate; client_max_window_bits; client_max_window_bits", ""},
		{"permessage-deflate; unknown", ""},
		{"x-webkit-deflate-frame, permessage-bzip2", ""},
		{"", ""},
	} {
		r := newRig(t)
		_, resp := r.request("GET", nil, "Sec-WebSocket-Extensions: "+c.offer)
		if got := resp.Header.Get("Sec-WebSocket-Extensions"); got != c.want {
			t.Errorf("offered %q, agreed %q", c.offer, got)
		}
		r.stop()
	}
}

func TestFrameLimitChangesForNewConnections(t *testing.T) {
	r := newRig(t)
	old := r.join("ANZ-7", "")
	r.limit(func(l *Limits) { l.Frame = 1000 })
	fresh := r.join("ANZ-7", "")
	text := make([]byte, 2000)
	for i := range text {
		text[i] = ' '
	}
	old.write(frame(finText, text))
	old.fails("INVALID_MESSAGE", "NOT_JSON")
	fresh.write(frame(finText, text))
	fresh.closed(wire.CloseTooBig)
}

func TestOtherLimitsChangeForAll(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	r.limit(func(l *Limits) { l.PingInterval = time.Second; l.ProofTimeout = time.Second })
	r.advance(26 * time.Second) // what was planned under the old limits comes as planned
	p.next(finPing)
	p.pong("1")
	p.settledDown()
	r.advance(1100 * time.Millisecond)
	p.next(finPing)
	r.advance(1100 * time.Millisecond)
	p.closed(wire.CloseNoProof)
}
