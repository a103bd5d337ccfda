package turnstile

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// The headers with which proxies say where a client is.
const (
	XForwardedFor = "X-Forwarded-For"
	Forwarded     = "Forwarded"
)

// Handler returns a handler that has another one find the client's address in RemoteAddr.
// Each request that a trusted proxy hands on counts as a connection of its client while it
// is under way, and a WebSocket for as long as it is open. So does each request of HTTP/2
// of anybody else, of which one connection may bring many at once.
func (t *Turnstile) Handler(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor < 2 && len(t.o.Trusted) == 0 {
			next.ServeHTTP(w, r)
			return
		}
		peer := addressOf(r.RemoteAddr)
		client, through := peer, within(t.o.Trusted, peer)
		if through {
			client, r = t.client(peer, r.Header), t.told(r)
		}
		if client == peer && (through || r.ProtoMajor < 2) { // a proxy that speaks for itself, or a connection that counts
			next.ServeHTTP(w, r)
			return
		}
		if client != peer {
			r.RemoteAddr = net.JoinHostPort(client.String(), "0")
		}
		leave, ok := t.enter(client)
		if !ok {
			refuse(w)
			return
		}
		h := &holding{ResponseWriter: w, leave: leave}
		defer h.done()
		next.ServeHTTP(h, r)
	})
}

// told returns a request of which Secure says what a trusted proxy says of it.
func (t *Turnstile) told(r *http.Request) *http.Request {
	switch protocolOf(t.o.Header, r.Header) {
	case "https", "wss": // as some proxies have it for WebSockets
		return r.WithContext(context.WithValue(r.Context(), secured{}, true))
	case "http", "ws":
		return r.WithContext(context.WithValue(r.Context(), secured{}, false))
	}
	return r
}

// secured is the key of whether a client of a trusted proxy came to that by TLS.
type secured struct{}

// Secure says whether a client came by TLS: to us, or, where the handler that is asked
// stands behind a Turnstile's and a trusted proxy says by what, to that proxy. How the proxy
// came to us says nothing then.
func Secure(r *http.Request) bool {
	if told, ok := r.Context().Value(secured{}).(bool); ok {
		return told
	}
	return r.TLS != nil
}

// protocolOf returns the protocol by which a client came to the proxy next to us: the last
// word of X-Forwarded-Proto, or the parameter proto of the last element of Forwarded.
func protocolOf(name string, h http.Header) string {
	if name != Forwarded {
		name = "X-Forwarded-Proto"
	}
	all := strings.Join(h.Values(name), ",")
	last := all[strings.LastIndexByte(all, ',')+1:]
	if name == Forwarded {
		last = parameterOf(last, "proto")
	}
	return strings.ToLower(strings.TrimSpace(last))
}

// client finds out where a client is that a trusted proxy speaks for.
func (t *Turnstile) client(peer netip.Addr, h http.Header) netip.Addr {
	chain := chainOf(t.o.Header, h.Values(t.o.Header))
	at := peer
	for _, text := range slices.Backward(chain) {
		ip := nodeOf(text)
		if !ip.IsValid() {
			return at // whoever wrote this hides its client: the proxy itself is what is known
		}
		if at = ip; !within(t.o.Trusted, ip) {
			return at
		}
	}
	return at
}

// chainOf returns what the header says of clients, the nearest last.
func chainOf(name string, values []string) []string {
	var chain []string
	for element := range strings.SplitSeq(strings.Join(values, ","), ",") {
		if name == Forwarded {
			element = parameterOf(element, "for")
		}
		chain = append(chain, strings.TrimSpace(element))
	}
	return chain
}

// parameterOf returns a parameter of an element of Forwarded. Quoted commas and semicolons
// do not stand in addresses and protocols: where they stand, what is found is none.
func parameterOf(element, wanted string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(pair), "=")
		if strings.EqualFold(strings.TrimSpace(name), wanted) {
			return strings.Trim(strings.TrimSpace(value), `"`)
		}
	}
	return ""
}

// nodeOf reads an address, with a port or without: 192.0.2.1, 192.0.2.1:80, 2001:db8::1,
// [2001:db8::1], [2001:db8::1]:80.
func nodeOf(text string) netip.Addr {
	if inner, ok := strings.CutPrefix(text, "["); ok && strings.HasSuffix(inner, "]") {
		text = strings.TrimSuffix(inner, "]")
	}
	return addressOf(text).WithZone("")
}

// refuse answers a client that has too many connections.
func refuse(w http.ResponseWriter) {
	h := w.Header()
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	h.Set("Retry-After", "5")
	w.WriteHeader(http.StatusTooManyRequests)
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client may be gone
		"type": "about:blank", "title": http.StatusText(http.StatusTooManyRequests), "status": http.StatusTooManyRequests,
		"code": "TOO_MANY_CONNECTIONS", "detail": "too many connections from this address are open",
	})
}

// holding is an answer that holds a place, which the connection takes over if the handler
// takes that.
type holding struct {
	http.ResponseWriter
	leave func()
	taken bool
}

func (h *holding) done() {
	if !h.taken {
		h.leave()
	}
}

// Unwrap is for http.ResponseController.
func (h *holding) Unwrap() http.ResponseWriter { return h.ResponseWriter }

// Flush implements http.Flusher.
func (h *holding) Flush() {
	_ = http.NewResponseController(h.ResponseWriter).Flush() // as http.Flusher, which says nothing
}

// Hijack implements http.Hijacker.
func (h *holding) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c, rw, err := http.NewResponseController(h.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	h.taken = true
	return placed(c, h.leave, nil), rw, nil
}
