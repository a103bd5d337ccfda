package api

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
)

// Problem answers a request with problem details (RFC 9457): code is stable,
// detail a sentence for people.
func Problem(w http.ResponseWriter, status int, code, detail string) {
	(&Refusal{Status: status, Code: code, Detail: detail}).write(w)
}

// Deny answers a request with a refusal. One that has to say who it is is told how.
func Deny(w http.ResponseWriter, r *Refusal) {
	if r.Status == http.StatusUnauthorized {
		askBearer(w)
	}
	r.write(w)
}

// codeOf makes the code of an error that a handler answered as plain text.
func codeOf(status int) string {
	return strings.ToUpper(strings.NewReplacer(" ", "_", "-", "_").Replace(http.StatusText(status)))
}

// longestDetail is how many bytes of a handler's plain text become the detail.
const longestDetail = 1 << 10

// answer stands between a handler and its client: an error that the handler
// writes as plain text, as http.Error does, leaves as problem details.
type answer struct {
	http.ResponseWriter
	status   int    // 0 before there is any
	text     []byte // of an error in plain text, kept back
	keeping  bool   // an error in plain text is being kept back
	hijacked bool
	raw      bool // an error in plain text is the service's own, and stays
}

// WriteHeader implements http.ResponseWriter.
func (a *answer) WriteHeader(status int) {
	if a.status >= 200 {
		return
	}
	a.status = status
	a.keeping = !a.raw && status >= 400 && strings.HasPrefix(a.Header().Get("Content-Type"), "text/plain")
	if !a.keeping {
		a.ResponseWriter.WriteHeader(status)
	}
}

// Write implements http.ResponseWriter.
func (a *answer) Write(b []byte) (int, error) {
	if a.status < 200 {
		a.WriteHeader(http.StatusOK)
	}
	if a.keeping {
		a.text = append(a.text, b[:min(len(b), longestDetail-len(a.text))]...)
		return len(b), nil
	}
	return a.ResponseWriter.Write(b)
}

// Flush implements http.Flusher.
func (a *answer) Flush() {
	if a.status < 200 {
		a.WriteHeader(http.StatusOK)
	}
	if f, ok := a.ResponseWriter.(http.Flusher); ok && !a.keeping {
		f.Flush()
	}
}

// Hijack implements http.Hijacker, for the WebSocket.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	h, ok := a.ResponseWriter.(http.Hijacker)
	if !ok {
		return nil, nil, fmt.Errorf("take the connection over: %w", http.ErrNotSupported)
	}
	conn, rw, err := h.Hijack()
	if err == nil {
		a.hijacked, a.status = true, http.StatusSwitchingProtocols
		if a.Header().Get("Content-Type") != "" {
			a.status = http.StatusOK // an answer that its handler writes itself; a WebSocket has none
		}
	}
	return conn, rw, err
}

// Unwrap is for http.ResponseController.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

// begun says whether the client may have got something already.
func (a *answer) begun() bool { return a.hijacked || a.status >= 200 && !a.keeping }

// end sends what was kept back.
func (a *answer) end() {
	if !a.keeping {
		return
	}
	status, detail := a.status, strings.TrimSpace(string(a.text))
	a.drop()
	Problem(a, status, codeOf(status), detail)
}

// drop forgets what was kept back; another answer may be written.
func (a *answer) drop() { a.status, a.text, a.keeping = 0, nil, false }
