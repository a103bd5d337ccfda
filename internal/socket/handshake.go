package socket

import (
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// handshake is what a checked opening handshake asks for, RFC 6455 section 4.2.
type handshake struct {
	key     string
	deflate bool
}

// refusal is an HTTP answer instead of the upgrade.
type refusal struct {
	away   string // the reason, for the metrics
	status int
	text   string
}

// checkHandshake reads the request's headers. Headers that name their own
// answer (Allow, Sec-WebSocket-Version) are set on reply.
func checkHandshake(r *http.Request, reply http.Header) (handshake, *refusal) {
	if r.Method != http.MethodGet {
		reply.Set("Allow", http.MethodGet)
		return handshake{}, &refusal{awayMethod, http.StatusMethodNotAllowed, "a WebSocket handshake is a GET"}
	}
	if r.ProtoMajor != 1 || !r.ProtoAtLeast(1, 1) {
		return handshake{}, &refusal{awayProtocol, http.StatusHTTPVersionNotSupported, "a WebSocket handshake needs HTTP/1.1"}
	}
	if !hasToken(r.Header.Values("Connection"), "upgrade") || !hasToken(r.Header.Values("Upgrade"), "websocket") {
		reply.Set("Connection", "Upgrade")
		reply.Set("Upgrade", "websocket")
		return handshake{}, &refusal{awayProtocol, http.StatusUpgradeRequired, "this is a WebSocket endpoint"}
	}
	if r.Header.Get("Sec-WebSocket-Version") != "13" {
		reply.Set("Sec-WebSocket-Version", "13")
		return handshake{}, &refusal{awayProtocol, http.StatusUpgradeRequired, "only version 13 of the WebSocket protocol is understood"}
	}
	key := r.Header.Get("Sec-WebSocket-Key")
	if raw, err := base64.StdEncoding.DecodeString(key); err != nil || len(raw) != 16 || len(r.Header.Values("Sec-WebSocket-Key")) != 1 {
		return handshake{}, &refusal{awayProtocol, http.StatusBadRequest, "Sec-WebSocket-Key is 16 bytes in base64, once"}
	}
	return handshake{key: key, deflate: offersDeflate(r.Header.Values("Sec-WebSocket-Extensions"))}, nil
}

// answer takes the connection over: it writes the answer that makes it a
// WebSocket, in at most so long.
func (h *handshake) answer(conn net.Conn, patience time.Duration) error {
	sum := sha1.Sum([]byte(h.key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 section 1.3
	head := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: " + base64.StdEncoding.EncodeToString(sum[:]) + "\r\n"
	if h.deflate {
		head += "Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover\r\n"
	}
	// Also the deadlines that the HTTP server set end here.
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		return err
	}
	if _, err := io.WriteString(conn, head+"\r\n"); err != nil {
		return err
	}
	return conn.SetDeadline(time.Time{})
}

// hasToken says whether a comma-separated header has a token, in any case.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for part := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(part), token) {
				return true
			}
		}
	}
	return false
}

// offersDeflate says whether one of the client's offers of permessage-deflate,
// RFC 7692, can be taken as we do it: without kept context, with a window of
// full size.
func offersDeflate(values []string) bool {
	for _, v := range values {
		for offer := range strings.SplitSeq(v, ",") {
			name, parameters, _ := strings.Cut(offer, ";")
			if strings.EqualFold(strings.TrimSpace(name), "permessage-deflate") && acceptable(parameters) {
				return true
			}
		}
	}
	return false
}

func acceptable(parameters string) bool {
	if strings.TrimSpace(parameters) == "" {
		return true
	}
	seen := make(map[string]bool)
	for p := range strings.SplitSeq(parameters, ";") {
		name, value, valued := strings.Cut(strings.TrimSpace(p), "=")
		name = strings.ToLower(strings.TrimSpace(name))
		bits, err := strconv.Atoi(strings.Trim(strings.TrimSpace(value), `"`))
		inRange := err == nil && bits >= 8 && bits <= 15
		if seen[name] {
			return false
		}
		seen[name] = true
		switch name {
		case "server_no_context_takeover", "client_no_context_takeover":
			if valued {
				return false
			}
		case "client_max_window_bits":
			if valued && !inRange {
				return false
			}
		default: // server_max_window_bits too: it would have to be answered
			return false
		}
	}
	return true
}

// sameHost lets in what has no web origin, or the server's own.
func sameHost(r *http.Request) bool {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && strings.EqualFold(u.Host, r.Host)
}
