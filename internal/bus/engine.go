package bus

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

const (
	// maxPayload is the largest message the embedded server takes, in bytes.
	maxPayload = 8 << 20
	// healthAttempts is how often the server is asked when it could not tell.
	healthAttempts = 100
	// account is the embedded server's one account with streams.
	account = "$G"
)

// engine is one run of the embedded server with the connections to it, or only
// the connections, to a NATS that exists. It does not come back from a failure: a
// new one takes its place.
type engine struct {
	opts      *Options
	srv       *server.Server           // nil for a NATS that exists
	given     *server.Options          // the server's options; changed by lookForPeers alone
	missing   map[string]int           // how many times in a row a route was not found; likewise
	addresses atomic.Pointer[[]string] // of the routes that the server was given
	writes    *nats.Conn               // appends only, so that no read stands before one
	reads     *nats.Conn
	js        jetstream.JetStream // on reads
	system    *nats.Conn          // of the server's own account; nil where it is no cluster's
	door      *door               // who may come in by it; nil: this process alone
	gate      *nats.Conn          // where what readers make is looked at; nil: there are none

	// Whether a NATS that exists syncs each message, and whether that is known.
	syncKnown, synced bool

	failed  chan struct{} // closed by fail
	quit    chan struct{} // ends the goroutines
	bell    chan struct{} // rung when something looks wrong
	differs chan string   // addresses of servers that may be of another cluster
	wg      sync.WaitGroup

	mu      sync.Mutex
	cause   error                             // why it failed
	lacking map[string]jetstream.StreamConfig // streams as they should be, that have fewer replicas
	short   int                               // streams that this server leads, with fewer copies than they should have
}

// startEngine runs the embedded server, or none for a NATS that exists, and
// waits until it serves. Recovering a store cannot be interrupted: when ctx ends
// meanwhile, startEngine returns only after the server has let go of the folder.
func startEngine(ctx context.Context, o *Options) (*engine, error) {
	e := &engine{opts: o, failed: make(chan struct{}), quit: make(chan struct{}), bell: make(chan struct{}, 1), differs: make(chan string, 1)}
	if o.Cluster != nil {
		e.wg.Add(1)
		go e.sayWhoDiffers()
	}
	err := e.startServer(ctx)
	if err == nil {
		err = e.connect(ctx)
	}
	if err == nil && o.shared() {
		err = e.awaitLeader(ctx)
	}
	if err == nil {
		err = e.askSynced(ctx)
	}
	if err != nil {
		e.stop()
		return nil, err
	}
	e.wg.Add(1)
	go e.monitor()
	if o.shared() {
		e.wg.Add(1)
		go e.tend()
	}
	if o.Cluster != nil {
		e.wg.Add(1)
		go e.lookForPeers(lookEvery)
	}
	if o.Cluster != nil && o.stores() {
		e.wg.Add(1)
		go e.grow()
	}
	return e, nil
}

// startServer runs the embedded server, if there is to be one.
func (e *engine) startServer(ctx context.Context) error {
	if e.opts.External != nil {
		return nil
	}
	lines := &serverLines{log: e.opts.Logger, bell: e.suspect, differs: e.differing, said: throttle{now: time.Now}}
	given := e.serverOptions(ctx)
	e.given = given.Clone() // the server keeps and changes what it is given
	e.noteAddresses(given.Routes)
	if c := e.opts.Cluster; c != nil && c.Sole && !c.NoStore {
		if err := e.found(); err != nil {
			return err
		}
	}
	srv, err := server.NewServer(given)
	if err != nil {
		return fmt.Errorf("set up the embedded NATS server: %w", err)
	}
	if e.door != nil {
		e.door.system, e.door.streams = srv.SystemAccount, srv.GlobalAccount
	}
	srv.SetLoggerV2(lines, false, false, false)
	e.srv = srv

	e.opts.wait("the embedded NATS server takes up its store")
	started := make(chan struct{})
	go func() {
		defer close(started)
		srv.Start()
		e.startRoutes(lines)
	}()
	select {
	case <-started:
	case <-ctx.Done():
		<-started
		return fmt.Errorf("the embedded NATS server was not ready in time: %w", context.Cause(ctx))
	}
	return e.check(lines)
}

func (e *engine) serverOptions(ctx context.Context) *server.Options {
	o := &server.Options{
		ServerName: "switchboard",
		DontListen: true,
		NoSigs:     true,
		MaxPayload: maxPayload,
	}
	if e.opts.stores() {
		o.JetStream = true
		o.StoreDir = filepath.Dir(e.opts.Folder) // the server adds /jetstream
		o.SyncAlways = true
		o.DisableJetStreamBanner = true
		// The server's own limits are a share of the disk as it was at the
		// start. What is full is decided by the disk, and by Options.Reserve.
		o.JetStreamMaxStore = math.MaxInt64 / 4
		o.JetStreamMaxMemory = math.MaxInt64 / 4
	}
	if e.opts.Cluster != nil {
		e.opts.Cluster.configure(ctx, o, e.opts.Logger)
	}
	if e.opts.Readers != nil {
		e.opts.Readers.configure(o)
	}
	if e.opts.Cluster != nil || e.opts.Readers != nil {
		e.door = newDoor(e.opts.Readers)
		o.CustomClientAuthentication = e.door
	}
	return o
}

// check says whether the server that has started serves all that it found.
func (e *engine) check(lines *serverLines) error {
	if line := lines.failure(); strings.Contains(line, "Error listening on port") && e.opts.Readers != nil {
		return fmt.Errorf("cannot listen for readers of the journal at %s (nats.listen): %s", e.opts.Readers.Listen, line)
	} else if strings.Contains(line, "listening on router port") {
		return fmt.Errorf("cannot listen for the other servers of the cluster at %s (cluster.listen): %s", e.opts.Cluster.Listen, line)
	} else if line != "" {
		return fmt.Errorf("the embedded NATS server did not start: %s", line)
	}
	if err := e.ail(); err != nil && strings.Contains(err.Error(), "could not be recovered") {
		return fmt.Errorf("%w: %w: the file meta.inf or meta.sum of that stream does not hold what it should", ErrDamaged, err)
	} else if err != nil {
		return fmt.Errorf("the embedded NATS server did not start well: %w", err)
	}
	return nil
}

// connect opens the connections. They come back by themselves when they break
// while the server lives; what is published meanwhile is refused, not kept.
func (e *engine) connect(ctx context.Context) error {
	var err error
	if e.writes, err = e.dial(ctx, "appends"); err == nil {
		e.reads, err = e.dial(ctx, "reads")
	}
	if err == nil && e.opts.Cluster != nil {
		e.system, err = e.dial(ctx, "system", nats.UserInfo(systemUser, e.door.secret))
	}
	if err == nil {
		// Of writes that are not answered nothing is to stay in memory.
		e.js, err = jetstream.New(e.reads, jetstream.WithPublishAsyncTimeout(e.opts.CallTimeout))
	}
	if err == nil && !e.opts.shared() {
		_, err = e.js.AccountInfo(ctx)
	}
	if err != nil {
		return fmt.Errorf("connect to %s: %w", e.place(), err)
	}
	return e.letIn(ctx)
}

// place names the NATS in a sentence.
func (e *engine) place() string {
	if x := e.opts.External; x != nil {
		return "NATS at " + x.place()
	}
	return "the embedded NATS server"
}

// dial opens one connection. To a NATS that exists it tries until ctx ends.
func (e *engine) dial(ctx context.Context, name string, more ...nats.Option) (*nats.Conn, error) {
	log := e.opts.Logger
	opts := []nats.Option{
		nats.Name("switchboard " + name),
		nats.MaxReconnects(-1), nats.ReconnectWait(10 * time.Millisecond), nats.ReconnectBufSize(-1),
		nats.ClosedHandler(func(*nats.Conn) { e.suspect() }),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			log.Warn("a connection to NATS reports", "connection", name, "err", err)
		}),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				log.Warn("a connection to NATS broke", "connection", name, "err", err)
				e.suspect()
			}
		}),
	}
	if e.opts.External != nil {
		e.opts.wait("waiting for %s", e.place())
		return e.opts.External.dial(ctx, opts, log)
	}
	if len(more) == 0 && e.door != nil {
		more = append(more, nats.UserInfo(streamsUser, e.door.secret))
	}
	return nats.Connect("", append(append(opts, nats.InProcessServer(e.srv)), more...)...)
}

// stop ends the engine and waits until it has let go of its folder.
func (e *engine) stop() {
	e.fail(errStopped)
	close(e.quit)
	for _, c := range []*nats.Conn{e.writes, e.reads, e.system, e.gate} {
		if c != nil {
			c.Close()
		}
	}
	if e.srv != nil {
		e.srv.Shutdown()
		e.srv.WaitForShutdown()
	}
	e.wg.Wait()
}

var errStopped = errors.New("NATS is stopped")

// suspect has the engine's health looked at soon. It does not block.
func (e *engine) suspect() {
	select {
	case e.bell <- struct{}{}:
	default:
	}
}

// monitor turns suspicion into certainty.
func (e *engine) monitor() {
	defer e.wg.Done()
	for {
		select {
		case <-e.bell:
			if err := e.ail(); err != nil {
				e.fail(err)
			}
		case <-e.quit:
			return
		}
	}
}

// fail marks the engine as failed; the first cause stays.
func (e *engine) fail(cause error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.cause == nil {
		e.cause = cause
		close(e.failed)
	}
}

// failure returns why the engine failed; nil while it serves.
func (e *engine) failure() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.cause
}

// ail asks the server what is wrong: JetStream shut down, a stream that was not
// recovered, a stream that failed to write. The server knows texts only, so a
// full disk is recognised by its words. What only says that a cluster has no
// leader, or that this server lags behind it, passes by itself and is no ailment.
func (e *engine) ail() error {
	if e.srv == nil {
		if e.writes.IsClosed() || e.reads.IsClosed() {
			return errors.New("the connection to NATS is closed")
		}
		return nil
	}
	health := e.srv.Healthz(&server.HealthzOptions{Details: true})
	for range healthAttempts {
		if len(health.Errors) == 0 || health.Errors[0].Type != server.HealthzErrorConn {
			break
		}
		// The server gives itself a millisecond to see that it has started; on
		// a busy machine that is not enough.
		health = e.srv.Healthz(&server.HealthzOptions{Details: true})
	}
	texts := make([]string, 0, len(health.Errors))
	for _, h := range health.Errors {
		if e.opts.Cluster == nil || local(h.Error) {
			texts = append(texts, h.Error)
		}
	}
	if len(texts) == 0 {
		return nil
	}
	all := strings.Join(texts, "; ")
	if strings.Contains(all, "no space left") || strings.Contains(all, "disk quota exceeded") {
		return fmt.Errorf("%w: %s", mailbox.ErrFull, all)
	}
	return errors.New(all)
}

// local says whether what ails a server of a cluster is its own.
func local(text string) bool {
	for _, words := range []string{"write error", "apply error", "meta layer is not running", "not enabled", "route("} {
		if strings.Contains(text, words) {
			return true
		}
	}
	return false
}
