package nodetest

import (
	"net/http"
	"strings"
	"testing"
)

// badRequest is an HTTP request, and the status with which it is answered.
type badRequest struct {
	name   string
	send   string // HOST stands for the server's address
	status int
	header string // that the answer has, as "Name: value"
}

// badHandshakes sends each on a connection of its own.
func badHandshakes(t *testing.T, s *Server) int {
	cases := append(append(wrongHandshakes(), wrongHTTP()...), strangers()...)
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			p := dialTCP(t, s.Addr)
			defer p.conn.Close()
			_ = p.tryWrite([]byte(strings.ReplaceAll(c.send, "HOST", s.Addr))) // the server may refuse it before its end
			res := p.response()
			if res.StatusCode != c.status {
				t.Errorf("got %s, want %d", res.Status, c.status)
			}
			if name, value, ok := strings.Cut(c.header, ": "); ok && res.Header.Get(name) != value {
				t.Errorf("%s is %q, want %q", name, res.Header.Get(name), value)
			}
		})
	}
	return len(cases)
}

// shake is a handshake: its request line, and its headers but for one that is
// left out, or has others in its place.
func shake(line, without, more string) string {
	var b strings.Builder
	b.WriteString(line + "\r\n")
	for header := range strings.Lines("Host: HOST\r\n" + handshakeLines) {
		if name, _, _ := strings.Cut(header, ":"); name != without {
			b.WriteString(header)
		}
	}
	return b.String() + more + "\r\n"
}

const getWS = "GET /ws HTTP/1.1"

func wrongHandshakes() []badRequest {
	const version, key = "Sec-WebSocket-Version", "Sec-WebSocket-Key"
	return []badRequest{
		{"HTTP/1.0", shake("GET /ws HTTP/1.0", "", ""), http.StatusHTTPVersionNotSupported, ""},
		{"HTTP/0.9", "GET /ws\r\n\r\n", http.StatusBadRequest, ""},
		{"HTTP/3.0", shake("GET /ws HTTP/3.0", "", ""), http.StatusHTTPVersionNotSupported, ""},
		{"the beginning of HTTP/2", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", http.StatusMisdirectedRequest, ""},
		{"POST", shake("POST /ws HTTP/1.1", "", ""), http.StatusMethodNotAllowed, "Allow: GET, HEAD"},
		{"PUT with a body", shake("PUT /ws HTTP/1.1", "", "Content-Length: 2\r\n") + "hi", http.StatusMethodNotAllowed, ""},
		{"CONNECT", "CONNECT HOST HTTP/1.1\r\nHost: HOST\r\n\r\n", http.StatusNotFound, ""},
		{"TRACE", shake("TRACE /ws HTTP/1.1", "", ""), http.StatusMethodNotAllowed, ""},
		{"a method that nobody knows", shake("BREW /ws HTTP/1.1", "", ""), http.StatusMethodNotAllowed, ""},
		{"no upgrade", "GET /ws HTTP/1.1\r\nHost: HOST\r\n\r\n", http.StatusUpgradeRequired, "Upgrade: websocket"},
		{"without Upgrade", shake(getWS, "Upgrade", ""), http.StatusUpgradeRequired, ""},
		{"without Connection", shake(getWS, "Connection", ""), http.StatusUpgradeRequired, ""},
		{"another upgrade", shake(getWS, "Upgrade", "Upgrade: h2c\r\n"), http.StatusUpgradeRequired, ""},
		{"Upgrade that only begins so", shake(getWS, "Upgrade", "Upgrade: websockets\r\n"), http.StatusUpgradeRequired, ""},
		{"without version", shake(getWS, version, ""), http.StatusUpgradeRequired, version + ": 13"},
		{"version 12", shake(getWS, version, version+": 12\r\n"), http.StatusUpgradeRequired, version + ": 13"},
		{"version 014", shake(getWS, version, version+": 013\r\n"), http.StatusUpgradeRequired, version + ": 13"},
		{"without key", shake(getWS, key, ""), http.StatusBadRequest, ""},
		{"empty key", shake(getWS, key, key+":\r\n"), http.StatusBadRequest, ""},
		{"short key", shake(getWS, key, key+": AAAA\r\n"), http.StatusBadRequest, ""},
		{"long key", shake(getWS, key, key+": "+strings.Repeat("A", 400)+"\r\n"), http.StatusBadRequest, ""},
		{"key that is no base64", shake(getWS, key, key+": !!!!!!!!!!!!!!!!!!!!!!==\r\n"), http.StatusBadRequest, ""},
		{"two keys", shake(getWS, "", key+": dGhlIHNhbXBsZSBub25jZQ==\r\n"), http.StatusBadRequest, ""},
		{"hostile extensions", shake(getWS, "", "Sec-WebSocket-Extensions: permessage-deflate; server_max_window_bits=99999999999999999999, ;;;, x; y=\"\r\n"), http.StatusSwitchingProtocols, ""},
		{"many extensions", shake(getWS, "", "Sec-WebSocket-Extensions: "+strings.Repeat("x,", 5000)+"x\r\n"), http.StatusSwitchingProtocols, ""},
		{"a subprotocol", shake(getWS, "", "Sec-WebSocket-Protocol: chat\r\n"), http.StatusSwitchingProtocols, "Sec-WebSocket-Protocol: "},
		{"in other case", shake(getWS, "Connection", "cOnNeCtIoN: keep-alive, UPGRADE\r\n"), http.StatusSwitchingProtocols, "Upgrade: websocket"},
	}
}

func wrongHTTP() []badRequest {
	return []badRequest{
		{"garbage", "hello\r\n\r\n", http.StatusBadRequest, ""},
		{"a TLS handshake", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", http.StatusBadRequest, ""},
		{"bare newlines and bytes", "\x00\x01\x02\n\n", http.StatusBadRequest, ""},
		{"a header of 64 KiB", shake(getWS, "", "X-Large: "+strings.Repeat("x", 64<<10)+"\r\n"), http.StatusRequestHeaderFieldsTooLarge, ""},
		{"5000 headers", shake(getWS, "", strings.Repeat("X-Many: x\r\n", 5000)), http.StatusRequestHeaderFieldsTooLarge, ""},
		{"a path of 64 KiB", shake("GET /"+strings.Repeat("a", 64<<10)+" HTTP/1.1", "", ""), http.StatusRequestHeaderFieldsTooLarge, ""},
		{"no Host", shake(getWS, "Host", ""), http.StatusBadRequest, ""},
		{"two Hosts", shake(getWS, "", "Host: HOST\r\n"), http.StatusBadRequest, ""},
		{"NUL in a header", shake(getWS, "", "X-A: a\x00b\r\n"), http.StatusBadRequest, ""},
		{"a header without a colon", shake(getWS, "", "Upgrade\r\n"), http.StatusBadRequest, ""},
		{"a space before the colon", shake(getWS, "", "X-A : b\r\n"), http.StatusBadRequest, ""},
		{"two Content-Lengths", shake(getWS, "", "Content-Length: 1\r\nContent-Length: 2\r\n"), http.StatusBadRequest, ""},
		{"negative Content-Length", shake(getWS, "", "Content-Length: -1\r\n"), http.StatusBadRequest, ""},
		{"an encoding that nobody knows", shake(getWS, "", "Transfer-Encoding: gzip\r\n"), http.StatusNotImplemented, ""},
		{"a percent sign and no hex", shake("GET /%zz HTTP/1.1", "", ""), http.StatusBadRequest, ""},
		{"a way out of the folder", "GET /../../etc/passwd HTTP/1.1\r\nHost: HOST\r\n\r\n", http.StatusNotFound, ""},
		{"a way out, escaped", "GET /%2e%2e/%2e%2e/etc/passwd HTTP/1.1\r\nHost: HOST\r\n\r\n", http.StatusNotFound, ""},
		{"another path", shake("GET /ws/ HTTP/1.1", "", ""), http.StatusNotFound, ""},
		{"profiles are not for clients", "GET /debug/pprof/ HTTP/1.1\r\nHost: HOST\r\n\r\n", http.StatusNotFound, ""},
	}
}

// strangers are pages and names that the demo does not serve.
func strangers() []badRequest {
	const forbidden, misdirected = http.StatusForbidden, http.StatusMisdirectedRequest
	var list []badRequest
	for _, origin := range []string{
		"https://evil.example", "null", "", "file://", "http://127.0.0.1.evil.example", "http://localhost.evil.example", "http://evil.example/127.0.0.1",
		"http://127.0.0.1@evil.example", "javascript:alert(1)", "chrome-extension://abcdef", "http://[::1", "http://0.0.0.0",
	} {
		list = append(list, badRequest{"origin " + origin, shake(getWS, "", "Origin: "+origin+"\r\n"), forbidden, ""})
	}
	for _, host := range []string{"evil.example", "evil.example:8088", "127.0.0.1.evil.example", "localhost.evil.example", "0.0.0.0", "[::ffff:10.0.0.1]", "127.0.0.1.", "169.254.169.254"} {
		list = append(list, badRequest{"host " + host, shake(getWS, "Host", "Host: "+host+"\r\n"), misdirected, ""})
		list = append(list, badRequest{"host " + host + " and its own origin",
			shake(getWS, "Host", "Host: "+host+"\r\nOrigin: http://"+host+"\r\n"), misdirected, ""})
	}
	for _, good := range [][2]string{
		{"a page of ours", "Origin: http://HOST\r\n"}, {"a page on this machine", "Origin: http://localhost:3000\r\n"},
		{"a page on this machine, by IPv6", "Origin: http://[::1]:3000\r\n"},
	} {
		list = append(list, badRequest{good[0], shake(getWS, "", good[1]), http.StatusSwitchingProtocols, ""})
	}
	return append(list,
		badRequest{"metrics for another host", "GET /metrics HTTP/1.1\r\nHost: evil.example\r\n\r\n", misdirected, ""},
		badRequest{"metrics for another page", "GET /metrics HTTP/1.1\r\nHost: HOST\r\nOrigin: https://evil.example\r\n\r\n", forbidden, ""},
		badRequest{"an absolute URL of another host", "GET http://evil.example/ws HTTP/1.1\r\nHost: HOST\r\n" + handshakeLines + "\r\n", misdirected, ""},
	)
}
