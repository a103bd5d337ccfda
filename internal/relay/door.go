package relay

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/net/netutil"
)

// Bounds of a door.
const (
	headerTime   = 10 * time.Second // for a request's header
	keepTime     = 2 * time.Minute  // for a connection between two requests
	maxHeader    = 16 << 10
	shutdownTime = 10 * time.Second // for what is on its way when the door closes
)

// door is an HTTP server that goes on while what it serves, its secret and its
// certificate are replaced.
type door struct {
	log *slog.Logger
	now atomic.Pointer[behind]

	asked    string       // the address that was asked for
	listener net.Listener // as it is
	accepts  net.Listener // as it is served: with its bound, and TLS
	server   *http.Server
	served   chan error // of one: why serving ended
	closing  sync.Once
}

// behind is what a door serves now.
type behind struct {
	handler http.Handler
	creds   *credentials
	open    func(*http.Request) bool // paths that ask for no secret; nil for none
	// names are those that a door on loopback answers to while there is no secret,
	// beside the loopback names and the one that it was asked to listen at: a page
	// elsewhere may have a name of its own point here. nil: it answers to all.
	names []string
	// within is how long a request takes at most, and its answer that long again, so
	// that who is slow holds nothing for long; 0: as long as the handler sees to it.
	within time.Duration
}

// quickTime is within of doors that take and answer little.
const quickTime = 30 * time.Second

// newDoor listens at an address: who connects waits until the door is served. most is
// how many connections there are at once; more of them wait to be accepted.
func newDoor(log *slog.Logger, address string, most int, b behind) (*door, error) {
	l, err := net.Listen("tcp", address)
	if err != nil {
		return nil, fmt.Errorf("cannot listen: %w", err)
	}
	d := &door{log: log, asked: address, listener: l, served: make(chan error, 1)}
	d.now.Store(&b)
	if most > 0 {
		l = netutil.LimitListener(l, most)
	}
	if b.creds.server != nil {
		l = tls.NewListener(l, &tls.Config{MinVersion: tls.VersionTLS12, GetConfigForClient: d.config})
	}
	d.server = &http.Server{
		Handler: d, ReadHeaderTimeout: headerTime, IdleTimeout: keepTime, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	d.accepts = l
	return d, nil
}

// serve serves until close.
func (d *door) serve() { go func() { d.served <- d.server.Serve(d.accepts) }() }

// config gives a handshake the certificate of now.
func (d *door) config(*tls.ClientHelloInfo) (*tls.Config, error) {
	if c := d.now.Load().creds.server; c != nil {
		return c, nil
	}
	return nil, errors.New("TLS was turned off")
}

// replace has the door serve something else, from the next request on. Whether it
// speaks TLS cannot change: then a new one has to be opened.
func (d *door) replace(b behind) { d.now.Store(&b) }

// secure says whether the door speaks TLS.
func (d *door) secure() bool { return d.now.Load().creds.server != nil }

// address is where the door listens.
func (d *door) address() *net.TCPAddr { return d.listener.Addr().(*net.TCPAddr) }

// failed gives the error with which serving ended by itself. A door that is nil does
// not fail.
func (d *door) failed() <-chan error {
	if d == nil {
		return nil
	}
	return d.served
}

// close takes no new connections, waits for the requests that are on their way, and
// cuts off what takes too long. A door that is nil is closed.
func (d *door) close() {
	if d == nil {
		return
	}
	d.closing.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), shutdownTime)
		defer cancel()
		if err := d.server.Shutdown(ctx); err != nil {
			d.log.Warn("requests did not end in time and are cut off", "listen", d.listener.Addr().String())
			_ = d.server.Close() // they end, whatever it says
		}
	})
}

// ServeHTTP implements http.Handler.
func (d *door) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	b := d.now.Load()
	defer func() {
		cause := recover()
		if cause == nil {
			return
		}
		if cause != http.ErrAbortHandler {
			d.log.Error("a request ended in a panic", "path", r.URL.Path, "err", fmt.Sprint(cause), "stack", string(debug.Stack()))
		}
		panic(http.ErrAbortHandler) // the connection ends, and with it what was half answered
	}()
	if b.within > 0 {
		now, c := time.Now(), http.NewResponseController(w)
		// An error says that the connection is gone.
		_ = errors.Join(c.SetReadDeadline(now.Add(b.within)), c.SetWriteDeadline(now.Add(2*b.within)))
	}
	if r.ContentLength != 0 {
		// What a handler leaves of a body is waited for only so long.
		defer func() { _ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(headerTime)) }()
	}
	w.Header().Set("X-Content-Type-Options", "nosniff")
	if b.creds.secret == "" && b.names != nil && d.address().IP.IsLoopback() && !d.named(r.Host, b.names) {
		refuseUnread(w, r, http.StatusMisdirectedRequest, codeHost, "without a secret this server answers to loopback names only, such as 127.0.0.1 and localhost")
		return
	}
	if b.creds.secret != "" && (b.open == nil || !b.open(r)) && !b.creds.shownBy(r) {
		w.Header().Set("WWW-Authenticate", "Bearer")
		why := "this server asks for its secret: Authorization: Bearer …"
		if r.Header.Get("Authorization") != "" {
			why = "the secret that is shown is not this server's"
		}
		refuseUnread(w, r, http.StatusUnauthorized, codeSecret, why)
		return
	}
	b.handler.ServeHTTP(w, r)
}

// named says whether a request's Host is a name of this machine alone, or one of
// the given ones, or that of the address that was asked for.
func (d *door) named(host string, names []string) bool {
	if host == "" {
		return true // no browser leaves it out
	}
	name := hostOf(host)
	if ip := net.ParseIP(name); ip != nil {
		return ip.IsLoopback()
	}
	if strings.EqualFold(name, "localhost") || strings.EqualFold(name, hostOf(d.asked)) {
		return true
	}
	return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
}

// hostOf returns the host of host:port, or of a host alone.
func hostOf(address string) string {
	if host, _, err := net.SplitHostPort(address); err == nil {
		address = host
	}
	return strings.TrimSuffix(strings.Trim(address, "[]"), ".")
}

// shownBy says whether a request shows a secret that is taken. Digests are compared, so
// that the time says nothing of how long they are.
func (c *credentials) shownBy(r *http.Request) bool {
	scheme, shown, _ := strings.Cut(r.Header.Get("Authorization"), " ")
	have, same := sha256.Sum256([]byte(strings.TrimSpace(shown))), 0
	for _, secret := range append([]string{c.secret}, c.others...) {
		want := sha256.Sum256([]byte(secret))
		same |= subtle.ConstantTimeCompare(have[:], want[:])
	}
	return strings.EqualFold(scheme, "Bearer") && same == 1
}

// The codes of refusals.
const (
	codeSecret    = "SECRET"        // 401
	codeName      = "NAME"          // 400
	codeHeader    = "HEADER"        // 400: a header of ours that cannot be read
	codeMethod    = "METHOD"        // 405
	codeNotFound  = "NOT_FOUND"     // 404
	codeHost      = "WRONG_HOST"    // 421
	codeNotReady  = "NOT_READY"     // 503, of an admin door
	codeOffset    = "OFFSET"        // 409
	codeTooLarge  = "TOO_LARGE"     // 413
	codeDigest    = "DIGEST"        // 422
	codeFull      = "FULL"          // 503
	codeBusy      = "BUSY"          // 503: the same file comes over another connection
	codeSpool     = "SPOOL"         // 503: the folder is gone or cannot be written
	codeStopping  = "STOPPING"      // 503
	codeBroken    = "BROKEN_OFF"    // the sender went away; nobody is answered
	codeParameter = "BAD_PARAMETER" // 400, of a network server
	codeOrigin    = "ORIGIN"        // 403: a page of another site
	codeState     = "STATE"         // 503, of a network server: its data folder cannot be written
)

// refuseUnread refuses a request of which the body was not read. The connection ends
// then: to go on with it the rest would have to be waited for.
func refuseUnread(w http.ResponseWriter, r *http.Request, status int, code, reason string) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
	refuse(w, status, code, reason)
}

// refuse answers with one line of text: the code and a sentence.
func refuse(w http.ResponseWriter, status int, code, reason string) {
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The caller may be gone; there is nobody else to tell.
	_, _ = fmt.Fprintf(w, "%s: %s\n", code, reason)
}
