package gateway

import (
	"crypto/rand"
	"encoding/hex"
	"net"
	"net/http"
	"strings"
)

// What services are told of a request.
const (
	headerUser    = "X-User-Id"
	headerApp     = "X-App"
	headerFor     = "X-Forwarded-For"
	headerHost    = "X-Forwarded-Host"
	headerProto   = "X-Forwarded-Proto"
	headerRequest = "X-Request-Id"
	headerTrace   = "Traceparent"
	headerVia     = "Via"
)

// via is what this gateway says of itself in Via: RFC 9110, section 7.6.3.
const via = "1.1 switchboard"

// maxVia is through how many gateways of ours a request may have come: one that comes
// again and again, as from an instance whose URL is the gateway's, would go on until
// nothing is left of the node.
const maxVia = 3

// loops says whether a request has come through too many gateways of ours.
func loops(h http.Header) bool {
	n := 0
	for _, list := range h[headerVia] {
		n += strings.Count(list, via)
	}
	return n >= maxVia
}

// maxFields is how many header fields a request may have. Their bytes are bounded by the
// server.
const maxFields = 128

// ours says whether a header is set by nobody but us, or makes services take a request for
// another. The name counts as services may read it, that make every other sign one and
// the same, as CGI and its heirs do.
func ours(name string) bool {
	switch name { // what nearly all are
	case "Accept", "Accept-Encoding", "Accept-Language", "Authorization", "Content-Length", "Content-Type", "Cookie", "User-Agent", "Referer":
		return false
	}
	plain := strings.Map(func(r rune) rune {
		switch {
		case r >= 'A' && r <= 'Z':
			return r + 'a' - 'A'
		case r >= 'a' && r <= 'z' || r >= '0' && r <= '9':
			return r
		}
		return '-'
	}, name)
	switch plain {
	case "x-user-id", "x-app", "x-real-ip", "forwarded", "x-original-url", "x-rewrite-url", "x-original-host", "proxy", "x-client-ip", "true-client-ip":
		return true
	}
	if strings.HasPrefix(plain, "x-forwarded-") || plain == "x-forwarded" {
		return true
	}
	// Of these there is one, in its one spelling.
	other := plain == "x-request-id" && name != headerRequest || plain == "traceparent" && name != headerTrace
	framing := plain == "content-length" && name != "Content-Length" || plain == "transfer-encoding" && name != "Transfer-Encoding"
	auth := plain == "authorization" && name != "Authorization"
	return other || framing || auth
}

// clean takes out of a request's headers what is not its sender's to say.
func clean(h http.Header) {
	for name := range h {
		if ours(name) {
			delete(h, name)
		}
	}
	if trace := h[headerTrace]; trace != nil && (len(trace) != 1 || !validTrace(trace[0])) {
		delete(h, headerTrace)
		delete(h, "Tracestate")
	}
}

// fields counts the header fields of a request.
func fields(h http.Header) (n int) {
	for _, values := range h {
		n += len(values)
	}
	return n
}

// requestID returns the ID that a request brings, or a new one.
func requestID(h http.Header) string {
	if sent := h[headerRequest]; len(sent) == 1 && validID(sent[0]) {
		return sent[0]
	}
	var id [16]byte
	_, _ = rand.Read(id[:]) // it never fails
	return hex.EncodeToString(id[:])
}

// validID says whether a request's ID may go into logs and headers.
func validID(id string) bool {
	if len(id) < 1 || len(id) > 128 {
		return false
	}
	for _, c := range []byte(id) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && !strings.ContainsRune("-_.:/+=@", rune(c)) {
			return false
		}
	}
	return true
}

// validTrace says whether a traceparent is one: W3C Trace Context, section 3.2.2.
func validTrace(s string) bool {
	if len(s) < 55 || len(s) > 128 || s[2] != '-' || s[35] != '-' || s[52] != '-' {
		return false
	}
	for i, c := range []byte(s) {
		if c == '-' {
			continue
		}
		if _, ok := nibble(c); i < 55 && (!ok || c >= 'A' && c <= 'F') {
			return false
		}
	}
	return s[:2] != "ff" && (len(s) == 55 || s[:2] != "00" && s[55] == '-')
}

// tell sets what a service is to know of a request.
func tell(h http.Header, r *http.Request, secure bool, who Caller, id string) {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	proto := "http"
	if secure {
		proto = "https"
	}
	h[headerFor], h[headerHost], h[headerProto] = []string{host}, []string{r.Host}, []string{proto}
	h[headerRequest] = []string{id}
	h[headerVia] = append(h[headerVia], via)
	if who.User != "" {
		h[headerUser], h[headerApp] = []string{who.User}, []string{who.App}
	}
}

// upgrades says whether a request asks for a WebSocket.
func upgrades(r *http.Request) bool {
	return r.Method == http.MethodGet && r.ProtoMajor == 1 && hasToken(r.Header["Connection"], "upgrade") &&
		len(r.Header["Upgrade"]) == 1 && strings.EqualFold(r.Header.Get("Upgrade"), "websocket")
}

// streams says whether a request asks for server-sent events.
func streams(r *http.Request) bool {
	return r.Method == http.MethodGet && strings.Contains(r.Header.Get("Accept"), "text/event-stream")
}

// hasToken says whether a list in headers has a word.
func hasToken(values []string, word string) bool {
	for _, v := range values {
		for one := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(one), word) {
				return true
			}
		}
	}
	return false
}
