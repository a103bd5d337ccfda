package socket

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// peer is a client that speaks WebSocket byte by byte: it answers nothing by
// itself.
type peer struct {
	t    testing.TB
	conn net.Conn
	br   *bufio.Reader
}

// dial connects and shakes hands. It returns once the server has
// begun the session, and its time to sign in runs.
func (r *rig) dial(headers ...string) *peer {
	r.t.Helper()
	p := r.dialWith(nil, headers...)
	r.wait("the session begins", func() bool {
		r.srv.mu.Lock()
		defer r.srv.mu.Unlock()
		for s := range r.srv.sessions {
			if s.conn.RemoteAddr().String() == p.conn.LocalAddr().String() {
				return true
			}
		}
		return false
	})
	return p
}

// dialWith sends extra bytes together with the handshake.
func (r *rig) dialWith(extra []byte, headers ...string) *peer {
	r.t.Helper()
	p, resp := r.request("GET", extra, headers...)
	if resp.StatusCode != http.StatusSwitchingProtocols {
		r.t.Fatalf("handshake: %s", resp.Status)
	}
	return p
}

// request sends a handshake and returns the answer.
func (r *rig) request(method string, extra []byte, headers ...string) (*peer, *http.Response) {
	r.t.Helper()
	return r.requestAt("/ws", method, extra, headers...)
}

// requestAt is request for a path.
func (r *rig) requestAt(path, method string, extra []byte, headers ...string) (*peer, *http.Response) {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { conn.Close() })
	given := "\r\n" + strings.ToLower(strings.Join(headers, "\r\n"))
	for _, h := range []string{
		"Host: " + r.addr, "Connection: keep-alive, Upgrade", "Upgrade: websocket",
		"Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
	} {
		name, _, _ := strings.Cut(h, ":")
		if !strings.Contains(given, "\r\n"+strings.ToLower(name)+":") {
			headers = append(headers, h)
		}
	}
	text := method + " " + path + " HTTP/1.1\r\n" + strings.Join(headers, "\r\n") + "\r\n\r\n"
	p := &peer{t: r.t, conn: conn, br: bufio.NewReader(conn)}
	p.write(append([]byte(text), extra...))
	p.deadline()
	resp, err := http.ReadResponse(p.br, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return p, resp
}

func (p *peer) deadline() { _ = p.conn.SetReadDeadline(time.Now().Add(patience)) }

func (p *peer) write(b []byte) {
	p.t.Helper()
	_ = p.conn.SetWriteDeadline(time.Now().Add(patience))
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// frame returns a client's frame.
func frame(first byte, payload []byte) []byte {
	b := []byte{first}
	switch n := len(payload); {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = binary.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	mask := [4]byte{1, 2, 3, 4}
	b = append(b, mask[:]...)
	for i, c := range payload {
		b = append(b, c^mask[i%4])
	}
	return b
}

func (p *peer) send(text string) {
	p.t.Helper()
	p.write(frame(finText, []byte(text)))
}

func (p *peer) pong(payload string) {
	p.t.Helper()
	p.write(frame(finPong, []byte(payload)))
}

// read returns the next frame.
func (p *peer) read() (first byte, payload []byte, err error) {
	p.deadline()
	var head [2]byte
	if _, err := io.ReadFull(p.br, head[:]); err != nil {
		return 0, nil, err
	}
	n := int(head[1])
	switch n {
	case 126:
		var b [2]byte
		if _, err := io.ReadFull(p.br, b[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		if _, err := io.ReadFull(p.br, b[:]); err != nil {
			return 0, nil, err
		}
		n = int(binary.BigEndian.Uint64(b[:]))
	}
	payload = make([]byte, n)
	_, err = io.ReadFull(p.br, payload)
	return head[0], payload, err
}

// next returns the next frame of a kind; others before it are a failure.
func (p *peer) next(first byte) string {
	p.t.Helper()
	got, payload, err := p.read()
	if err != nil {
		p.t.Fatalf("read: %v", err)
	}
	if got != first {
		p.t.Fatalf("got frame %#x %.200q, not %#x", got, payload, first)
	}
	return string(payload)
}

// text expects a text frame.
func (p *peer) text(want string) {
	p.t.Helper()
	if got := p.next(finText); got != want {
		p.t.Fatalf("got %.300s\nnot %.300s", got, want)
	}
}

// fails expects an error with a code.
func (p *peer) fails(kind, code string) map[string]any {
	p.t.Helper()
	got := p.next(finText)
	var f struct {
		Type string
		Data map[string]any
	}
	if err := json.Unmarshal([]byte(got), &f); err != nil || f.Type != kind || f.Data["code"] != code {
		p.t.Fatalf("got %.300s\nnot %s with %s", got, kind, code)
	}
	return f.Data
}

// closed expects a close frame, answers it, and expects the end.
func (p *peer) closed(code int) (reason string) {
	p.t.Helper()
	payload := p.next(finClose)
	if len(payload) < 2 {
		p.t.Fatalf("close frame without a code, not %d", code)
	}
	if got := int(binary.BigEndian.Uint16([]byte(payload))); got != code {
		p.t.Fatalf("closed with %d %q, not %d", got, payload[2:], code)
	}
	_, _ = p.conn.Write(frame(finClose, []byte(payload[:2]))) // the server may have closed already
	p.ended()
	p.conn.Close()
	return payload[2:]
}

// closedSkipping is closed after any number of other frames.
func (p *peer) closedSkipping(code int) {
	p.t.Helper()
	for {
		first, payload, err := p.read()
		if err != nil {
			p.t.Fatalf("read: %v", err)
		}
		if first == finClose {
			if got := int(binary.BigEndian.Uint16(payload)); got != code {
				p.t.Fatalf("closed with %d, not %d", got, code)
			}
			return
		}
	}
}

// ended expects the end of the connection.
func (p *peer) ended() {
	p.t.Helper()
	_, payload, err := p.read()
	var timeout net.Error
	if err == nil {
		p.t.Fatalf("got %.200q after the close frame", payload)
	}
	if errors.As(err, &timeout) && timeout.Timeout() {
		p.t.Fatal("the connection stays open")
	}
}

// signIn signs a user in and expects the reply. options is JSON or empty.
func (p *peer) signIn(user, options string) {
	p.t.Helper()
	p.send(auth(user, options))
	p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"` + user + `","isAuthenticated":true}}`)
}

func auth(user, options string) string {
	if options != "" {
		options = `,"options":` + options
	}
	return fmt.Sprintf(`{"type":"AUTH_CLIENT","data":{"appId":"app-id-343","userId":%q,"token":"t"%s}}`, user, options)
}

// join connects and signs a user in.
func (r *rig) join(user, options string) *peer {
	r.t.Helper()
	p := r.dial()
	p.signIn(user, options)
	r.expect("open " + user)
	return p
}

// settledDown returns when everything that was sent has been read: the client's
// ping is answered.
func (p *peer) settledDown() {
	p.t.Helper()
	p.write(frame(finPing, []byte("sync")))
	if got := p.next(finPong); got != "sync" {
		p.t.Fatalf("pong %q", got)
	}
}

// frames returns client's frames put together.
func frames(list ...[]byte) []byte { return bytes.Join(list, nil) }
