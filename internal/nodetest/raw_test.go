package nodetest

import (
	"bufio"
	bigendian "encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"time"
)

// First bytes of frames: FIN and opcode, RFC 6455 section 5.2.
const (
	rawMore   = 0x00 // a fragment that is neither the first nor the last
	rawText   = 0x81
	rawBinary = 0x82
	rawClose  = 0x88
	rawPing   = 0x89
	rawPong   = 0x8a
	rawRSV1   = 0x40
	rawFin    = 0x80
)

// handshakeLines are the headers of a good handshake, but for Host.
const handshakeLines = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

// offersDeflate is the header of a client that can decompress.
const offersDeflate = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover\r\n"

// rawPeer is a connection on which a test sends what bytes it likes.
type rawPeer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

// dialTCP connects and says nothing.
func dialTCP(t *testing.T, addr string) *rawPeer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", addr, Patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() }) // it may be closed already
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	return &rawPeer{t: t, conn: conn, r: bufio.NewReader(conn)}
}

// dialRaw connects and shakes hands; more are further header lines.
func dialRaw(t *testing.T, s *Server, more string) *rawPeer {
	t.Helper()
	p := dialTCP(t, s.Addr)
	p.write([]byte("GET /ws HTTP/1.1\r\nHost: " + s.Addr + "\r\n" + handshakeLines + more + "\r\n"))
	if res := p.response(); res.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("the handshake was answered with %s", res.Status)
	}
	return p
}

// signInRaw is dialRaw and a sign-in as a user of the demo app.
func signInRaw(t *testing.T, s *Server, user, more string) *rawPeer {
	t.Helper()
	p := dialRaw(t, s, more)
	p.write(rawFrame(rawText, authFrame("app-id-343", user, "")))
	if f := p.text(); f.Field("isAuthenticated") != "true" {
		t.Fatalf("sign in as %s: got %s", user, f.Raw)
	}
	return p
}

// response reads the answer to an HTTP request, without its body.
func (p *rawPeer) response() *http.Response {
	p.t.Helper()
	res, err := http.ReadResponse(p.r, nil)
	if err != nil {
		p.t.Fatalf("read the answer: %v", err)
	}
	return res
}

func (p *rawPeer) write(b []byte) {
	p.t.Helper()
	if err := p.tryWrite(b); err != nil {
		p.t.Fatal(err)
	}
}

// tryWrite writes to a server that may have closed the connection.
func (p *rawPeer) tryWrite(b []byte) error {
	_, err := p.conn.Write(b)
	return err
}

// frame reads the next frame of the server.
func (p *rawPeer) frame() (first byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(p.r, head[:]); err != nil {
		return 0, nil, err
	}
	n := uint64(head[1])
	switch n {
	case 126:
		var b [2]byte
		_, err = io.ReadFull(p.r, b[:])
		n = uint64(bigendian.BigEndian.Uint16(b[:]))
	case 127:
		var b [8]byte
		_, err = io.ReadFull(p.r, b[:])
		n = bigendian.BigEndian.Uint64(b[:])
	}
	if err == nil {
		payload = make([]byte, n)
		_, err = io.ReadFull(p.r, payload)
	}
	return head[0], payload, err
}

// text returns the next text frame, and answers the pings before it.
func (p *rawPeer) text() Frame {
	p.t.Helper()
	f, code, err := p.textOrEnd()
	if err != nil {
		p.t.Fatalf("no text frame came: %v", err)
	}
	if code != 0 {
		p.t.Fatalf("got close code %d, want a text frame", code)
	}
	return f
}

// closeCode returns the code of the server's close frame, and the text frames
// before it. It is -1 when the connection ended without one, and 1005 when there
// is none in it.
func (p *rawPeer) closeCode() (code int, before []Frame) {
	p.t.Helper()
	for {
		f, code, err := p.textOrEnd()
		if err != nil {
			p.t.Logf("the connection ended: %v", err)
			return -1, before
		}
		if code != 0 {
			return code, before
		}
		before = append(before, f)
	}
}

// textOrEnd returns the next text frame, or a close code, or why there is
// neither. It answers pings.
func (p *rawPeer) textOrEnd() (f Frame, code int, err error) {
	for {
		first, payload, err := p.frame()
		if err != nil {
			return Frame{}, 0, err
		}
		switch first {
		case rawText:
			if err := json.Unmarshal(payload, &f); err != nil {
				p.t.Fatalf("the server sent what is not JSON: %q", payload)
			}
			f.Raw = string(payload)
			return f, 0, nil
		case rawPing:
			// The server may be about to close; then the pong is for nobody.
			_ = p.tryWrite(rawFrame(rawPong, string(payload)))
		case rawClose:
			if len(payload) < 2 {
				return Frame{}, 1005, nil
			}
			return Frame{}, int(bigendian.BigEndian.Uint16(payload)), nil
		case rawPong:
		default:
			p.t.Fatalf("the server sent a frame that begins with %#x", first)
		}
	}
}

// ended fails unless the server has closed the connection, or does so now.
func (p *rawPeer) ended() {
	p.t.Helper()
	n, err := io.Copy(io.Discard, p.r)
	var timeout net.Error
	switch {
	case n > 0:
		p.t.Errorf("%d bytes came after the close frame", n)
	case errors.As(err, &timeout) && timeout.Timeout():
		p.t.Error("the server did not close the connection")
	}
}

// rawFrame is a client's frame, masked.
func rawFrame(first byte, payload string) []byte {
	return rawPayload(rawHeader(first, len(payload)), payload)
}

// rawHeader is the header of a masked frame of n bytes, with its mask.
func rawHeader(first byte, n int) []byte {
	b := []byte{first}
	switch {
	case n < 126:
		b = append(b, 0x80|byte(n))
	case n <= 0xffff:
		b = bigendian.BigEndian.AppendUint16(append(b, 0x80|126), uint16(n))
	default:
		b = bigendian.BigEndian.AppendUint64(append(b, 0x80|127), uint64(n))
	}
	return append(b, rawMask...)
}

const rawMask = "\x01\x02\x03\x04"

// rawPayload appends a payload, masked.
func rawPayload(header []byte, payload string) []byte {
	for i := range len(payload) {
		header = append(header, payload[i]^rawMask[i%4])
	}
	return header
}

// rawUnmasked is a text frame whose mask changes nothing, which is quick to make.
func rawUnmasked(payload string) []byte {
	header := rawHeader(rawText, len(payload))
	clear(header[len(header)-len(rawMask):])
	return append(header, payload...)
}

// rawCloseFrame is a close frame.
func rawCloseFrame(code int, reason string) []byte {
	return rawFrame(rawClose, string(bigendian.BigEndian.AppendUint16(nil, uint16(code)))+reason)
}
