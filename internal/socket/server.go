package socket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/audit"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// retryAfter is how many seconds a client is asked to stay away that finds no
// room.
const retryAfter = "5"

// Server is the connector. It serves handshakes as an http.Handler; Run must
// run while it does.
type Server struct {
	opts         Options
	start        time.Time
	now          atomic.Int64 // see mono
	originLogged atomic.Int64 // when logOrigin last did, by mono; 0 for never
	linkLogged   atomic.Int64 // when logRefused last did of a link, likewise
	limits       atomic.Pointer[Limits]
	terms        atomic.Pointer[readTerms] // for connections that begin now
	metrics      *metrics
	wheel        wheel
	buffers      buffers
	reads        readBuffers
	compressors  compressors
	inflaters    inflaters
	meters       meters
	work         sync.WaitGroup // every goroutine of every session

	mu       sync.Mutex
	sessions map[*session]struct{}
	room     int           // connections, and handshakes under way
	stopping bool          // no new connections
	empty    chan struct{} // closed when stopping and none is left

	randomMu sync.Mutex // guards opts.Random
}

// New returns a server.
func New(o Options) (*Server, error) {
	if o.Keeper == nil || o.Hub == nil || o.Gate == nil {
		return nil, errors.New("socket: Keeper, Hub and Gate are needed")
	}
	o = o.withDefaults()
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of sockets: %w", err)
	}
	srv := &Server{
		opts: o, start: o.Now(), metrics: m,
		sessions: make(map[*session]struct{}), empty: make(chan struct{}),
	}
	srv.readLimits()
	return srv, nil
}

func (o Options) withDefaults() Options {
	if o.Limits == nil {
		o.Limits = DefaultLimits
	}
	if o.AllowOrigin == nil {
		o.AllowOrigin = sameHost
	}
	if o.MayReach == nil {
		o.MayReach = func(string, string) bool { return false }
	}
	if o.LinkLost == nil {
		o.LinkLost = func(string, string) {}
	}
	if o.HomeURL == nil {
		o.HomeURL = func(string) string { return "" }
	}
	if o.RoomsOff == "" {
		o.RoomsOff = "there are no rooms on this server: the setting chat.enabled turns them on"
	}
	if o.MatchesOff == "" {
		o.MatchesOff = "this server matches nobody: the setting matching.enabled turns that on"
	}
	if o.NearbyOff == "" {
		o.NearbyOff = "this server shows nobody where others are: the setting nearby.enabled turns that on"
	}
	if o.Names == nil {
		o.Names = func([]wire.UserID) (map[wire.UserID]string, bool) { return nil, true }
	}
	if o.Note == nil {
		o.Note = func(DeviceEvent) {}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Ticks == nil {
		o.Ticks = func(every time.Duration) (<-chan time.Time, func()) {
			t := time.NewTicker(every)
			return t.C, t.Stop
		}
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o
}

// Run keeps deadlines until ctx ends. Then it cuts off every connection that is
// left, and returns nil when nothing of them is left behind. A graceful stop
// calls Drain first.
func (srv *Server) Run(ctx context.Context) error {
	ticks, stop := srv.opts.Ticks(tick)
	defer stop()
	var due []*session
	for {
		select {
		case <-ctx.Done():
			srv.stop()
			srv.killAll()
			<-srv.empty
			srv.work.Wait()
			return nil
		case <-ticks:
		}
		srv.readLimits()
		srv.now.Store(int64(srv.opts.Now().Sub(srv.start)))
		due = srv.wheel.advance(srv.mono(), due[:0])
		for _, s := range due {
			s.check(srv.mono())
			if s.pipe != nil {
				s.pipe.tell()
			}
		}
		clear(due)
	}
}

// mono returns the time since the start, as of the last tick. It does not jump
// when the clock is set.
func (srv *Server) mono() time.Duration { return time.Duration(srv.now.Load()) }

func (srv *Server) readLimits() {
	l := srv.opts.Limits().filled()
	if old := srv.limits.Load(); old == nil || *old != l {
		srv.limits.Store(&l)
		srv.terms.Store(&readTerms{
			lend: &srv.reads, inflate: &srv.inflaters, bytes: srv.metrics.bytesIn, limit: l.Frame, first: l.SignInFrame,
		})
	}
}

// ServeHTTP answers an opening handshake. It returns when the connection is
// upgraded or refused; the session goes on without it.
func (srv *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h, no := checkHandshake(r, w.Header())
	if no == nil && !srv.opts.AllowOrigin(r) {
		no = &refusal{awayOrigin, http.StatusForbidden, reasonOrigin}
	}
	if no == nil {
		no = srv.enter()
	}
	if no != nil {
		srv.metrics.turnedAway[no.away].Inc()
		if no.away == awayOrigin {
			srv.logOrigin(r)
		}
		if no.status == http.StatusServiceUnavailable {
			w.Header().Set("Retry-After", retryAfter)
		}
		http.Error(w, no.text, no.status)
		return
	}
	if err := srv.accept(w, h, srv.shown(r), r.RemoteAddr); err != nil {
		srv.metrics.turnedAway[awayFailed].Inc()
		srv.opts.Logger.Debug("a handshake failed", "err", err)
		srv.leave()
	}
}

// logOrigin tells the operator of a page that may not connect: its browser says
// nothing of the reason. Once a minute is enough.
func (srv *Server) logOrigin(r *http.Request) {
	if !srv.seldom(&srv.originLogged, time.Minute) {
		return
	}
	srv.opts.Logger.Warn("a page of this origin may not connect; if it should, add it to origins", "origin", r.Header.Get("Origin"), "host", r.Host)
}

// seldom says whether as much as pause is over since it last said so.
func (srv *Server) seldom(last *atomic.Int64, pause time.Duration) bool {
	now, before := int64(srv.mono()), last.Load()
	return (before == 0 || now-before >= int64(pause)) && last.CompareAndSwap(before, max(now, 1))
}

// enter takes a place for a connection.
func (srv *Server) enter() *refusal {
	if err := srv.away(); err != nil {
		return &refusal{awayCut, http.StatusServiceUnavailable, err.Error()}
	}
	srv.mu.Lock()
	defer srv.mu.Unlock()
	switch {
	case srv.stopping:
		return &refusal{awayStopping, http.StatusServiceUnavailable, "the server is stopping"}
	case srv.room >= srv.limits.Load().Connections:
		return &refusal{awayFull, http.StatusServiceUnavailable, "the server has as many connections as it may"}
	}
	srv.room++
	return nil
}

// away returns why nobody can be signed in at present.
func (srv *Server) away() error {
	if srv.opts.Away == nil {
		return nil
	}
	return srv.opts.Away()
}

// leave gives a connection's place back.
func (srv *Server) leave() {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	srv.room--
	srv.checkEmpty()
}

// shown returns as whom a client wants to be signed in by the token that came with its
// handshake; nil for none.
func (srv *Server) shown(r *http.Request) *wire.Auth {
	if srv.opts.Shown == nil {
		return nil
	}
	token := r.URL.Query().Get("auth")
	if scheme, presented, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") && token == "" {
		token = strings.TrimSpace(presented)
	}
	if token == "" {
		return nil
	}
	a := srv.opts.Shown(token)
	return &a
}

// accept upgrades the connection and starts its session. from is where the client is: the
// connection is a proxy's, maybe.
func (srv *Server) accept(w http.ResponseWriter, h handshake, a *wire.Auth, from string) error {
	conn, early, err := takeOver(w)
	if err != nil {
		return err
	}
	s := &session{srv: srv, conn: conn}
	if from != conn.RemoteAddr().String() {
		s.from = from
	}
	s.timer.session = s
	r := &s.reader
	r.readTerms, r.conn, r.raw, r.in, r.deflate, r.early = srv.terms.Load(), conn, rawConn(conn), s, h.deflate, early
	if err := h.answer(conn, srv.limits.Load().HandshakeTimeout); err != nil {
		conn.Close()
		return fmt.Errorf("answer the handshake: %w", err)
	}
	if err := srv.begin(s, a); err != nil {
		// The client has its answer by now, and is to hear that another server is to be tried.
		_, _ = conn.Write(appendClose(nil, wire.CloseRestart, err.Error())) // or it finds it closed
		conn.Close()
		return err
	}
	return nil
}

// begin starts a session, and its reader if it has a connection to read. Unless a is
// nil it begins to sign in as that.
func (srv *Server) begin(s *session, a *wire.Auth) error {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.stopping {
		return errors.New("the server is stopping")
	}
	if err := srv.away(); err != nil { // since it was let in: CloseWaiting may have been called
		return err
	}
	srv.sessions[s] = struct{}{}
	srv.metrics.connections.Add(1)
	srv.work.Add(1)
	s.mu.Lock()
	s.deadline = srv.mono() + srv.limits.Load().SignInDeadline
	s.checkAt(s.deadline)
	s.mu.Unlock()
	if a != nil {
		if ctx, ok := s.beginAuth(); ok { // before anything is read that the client asks for
			go s.attempt(func() { s.present(ctx, a) })
		}
	}
	if s.pipe == nil {
		go s.run()
	}
	return nil
}

// remove forgets a session whose connection is closed.
func (srv *Server) remove(s *session) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	delete(srv.sessions, s)
	srv.metrics.connections.Add(-1)
	srv.room--
	srv.checkEmpty()
}

// CloseWaiting closes the sessions that are not signed in: whoever calls it knows
// that they cannot be soon, as Options.Away says by then. Those that the hub knows
// are for the hub to close; a sign-in that the hub has been told of meanwhile is
// closed here.
func (srv *Server) CloseWaiting(code uint16, reason string) {
	srv.mu.Lock()
	var list []*session
	for s := range srv.sessions {
		if !s.known() {
			list = append(list, s)
		}
	}
	srv.mu.Unlock()
	for _, s := range list {
		s.close(closing(code, reason))
	}
}

// checkEmpty tells who waits that the last connection is gone. The caller holds
// mu.
func (srv *Server) checkEmpty() {
	if !srv.stopping || srv.room > 0 {
		return
	}
	select {
	case <-srv.empty:
	default:
		close(srv.empty)
	}
}

// newID returns an ID for a session.
func (srv *Server) newID() (wire.ID, error) {
	srv.randomMu.Lock()
	defer srv.randomMu.Unlock()
	return wire.NewID(srv.opts.Now(), srv.opts.Random)
}

// panicked counts and logs what recover returned: a session ends, the server
// goes on.
func (srv *Server) panicked(r any) {
	srv.metrics.panics.Inc()
	srv.opts.Logger.Error("a session ended by a fault in this server", "err", fmt.Sprint(r), "stack", string(debug.Stack()))
}

// logClosed notes the end of a session, for who looks for one; that of a link is for
// all to see. The caller holds the session's mu.
func (srv *Server) logClosed(s *session, e ending) {
	if s.joined {
		srv.opts.Audit.Note(audit.Event{Event: "signOut", App: s.identity.app, User: string(s.identity.user), Address: s.Address(), Code: strconv.Itoa(int(e.code))})
	}
	log := srv.opts.Logger
	if s.joined && s.identity.options.Link {
		log.Info("the link from another domain is down; what there is for that waits", "domain", s.identity.domain, "code", e.code, "reason", e.said+e.reason, "err", e.cause) // only one of the ends says why
		srv.opts.LinkLost(s.identity.domain, e.ofLink(s.identity.domain))
		return
	}
	if !log.Enabled(context.Background(), slog.LevelDebug) {
		return
	}
	user := ""
	if s.joined {
		user = string(s.identity.user)
	}
	log.Debug("a session ends", "user", user, "code", e.code, "err", e.cause)
}
