package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// CollectorOptions say how a collector runs.
type CollectorOptions struct {
	// Load returns the settings: at the start, and again for each value on Reload.
	// An error at the start ends RunCollector; later everything stays as it is.
	Load    func() (CollectorSettings, error)
	Reload  <-chan struct{} // nil for never
	Version string          // of the program
	Log     *slog.Logger    // nowhere
	Out     io.Writer       // where the lines of the start go (nowhere)
	Now     func() time.Time

	after func(time.Duration) <-chan time.Time // between two heartbeats; nil for time.After
}

func (o *CollectorOptions) fill() {
	o.Log, o.Out, o.Now, o.after = orNowhere(o.Log), orDiscard(o.Out), orClock(o.Now), orAfter(o.after)
}

// RunCollector runs a collector until ctx ends, and returns nil then. It stacks what
// it gets in its spool, which one collector at a time uses.
//
// At the end it takes nothing new, and leaves its cluster only if the settings say so.
// What is on its way may arrive for a few seconds more; of what does not, the beginning
// is kept for a sender that goes on with it.
func RunCollector(ctx context.Context, o CollectorOptions) error {
	o.fill()
	s, err := o.Load()
	if err != nil {
		return err
	}
	creds, err := s.read()
	if err != nil {
		return err
	}
	store, err := spool.OpenStore(s.Spool, s.storeOptions(&o))
	if err != nil {
		return err
	}
	c, err := newCollector(&o, s, store)
	if err == nil {
		err = c.run(ctx, s, creds)
	}
	return errors.Join(err, store.Close())
}

// storeOptions are the limits as a spool takes them.
func (s CollectorSettings) storeOptions(o *CollectorOptions) spool.StoreOptions {
	l := s.Limits
	return spool.StoreOptions{
		MaxFile: int64(l.FileBytes), MaxBytes: int64(l.SpoolBytes), MaxFiles: l.SpoolFiles,
		MinFree: int64(l.FreeBytes), PartAge: l.PartAge, Log: o.Log, Now: o.Now,
	}
}

// collector is one that runs.
type collector struct {
	o        *CollectorOptions
	log      *slog.Logger
	process  string // of this run, in reports
	store    *spool.Store
	tally    *tally
	refused  *prometheus.CounterVec
	registry *prometheus.Registry
	buffers  sync.Pool

	settings atomic.Pointer[CollectorSettings]
	stopping atomic.Bool
	full     atomic.Pointer[string]     // why everything is refused now; nil for not
	warned   atomic.Int64               // when that was logged last; nanoseconds since 1970
	told     atomic.Bool                // it was logged, and not yet that it is over
	member   atomic.Pointer[membership] // nil without a network server

	// Used by run alone.
	creds  *credentials
	door   *door
	admin  *door
	silent func(patience time.Duration) // ends the membership's calls, and waits for that
}

func newCollector(o *CollectorOptions, s CollectorSettings, store *spool.Store) (*collector, error) {
	c := &collector{o: o, log: o.Log, process: randomID(), store: store, tally: newTally(o.Now), refused: newRefused(), silent: func(time.Duration) {}}
	c.buffers.New = func() any { b := make([]byte, bodyBuffer); return &b }
	c.settings.Store(&s)
	var err error
	c.registry, err = newRegistry(c.refused, newReported(c.tally, c.report))
	return c, err
}

// run opens the doors, joins the cluster, and serves until ctx ends.
func (c *collector) run(ctx context.Context, s CollectorSettings, creds *credentials) error {
	counting, stopCounting := context.WithCancel(context.WithoutCancel(ctx))
	counted := make(chan error, 1)
	go func() { counted <- c.store.Run(counting) }()
	err := c.open(ctx, s, creds)
	for errors.Is(err, errReloaded) {
		if next, access, bad := c.load(); bad != nil {
			c.log.Error("settings stay as they are: the new ones are not good", "err", bad)
		} else {
			s, creds = next, access
		}
		err = c.open(ctx, s, creds)
	}
	if err == nil {
		c.say()
		err = serveUntil(ctx, nil, c.o.Reload, c.log, func() (*door, *door) { return c.door, c.admin }, func() error { return c.reload(ctx) })
	}
	if ctx.Err() != nil {
		err = nil // it was asked to end, perhaps before it had begun
	}
	c.close()
	stopCounting()
	return errors.Join(err, <-counted)
}

// load reads the settings again. The spool stays the one that it is.
func (c *collector) load() (CollectorSettings, *credentials, error) {
	s, err := c.o.Load()
	if err != nil {
		return s, nil, err
	}
	creds, err := s.read()
	old := c.settings.Load()
	if s.Spool != old.Spool {
		c.log.Warn("these settings take effect at the next start", "keys", "spool")
		s.Spool = old.Spool
	}
	return s, creds, err
}

// open takes settings into use: the doors, then the cluster. When that fails, all is
// as it was before.
func (c *collector) open(ctx context.Context, s CollectorSettings, creds *credentials) error {
	m, err := c.membership(s, creds)
	if err != nil {
		return err
	}
	admin, err := planAdmin(c.admin, c.log, s.Admin, creds, newAdmin(c.registry, c.trouble, func() any { return c.report() }))
	if err != nil {
		return err
	}
	if c.door == nil { // it tells what the start waits for
		moveDoors(admin)
		c.admin = admin.door
	}
	d, err := c.openPort(ctx, s, creds, m)
	if err != nil {
		admin.callOff()
		return err
	}
	moveDoors(d, admin)
	c.door, c.admin = d.door, admin.door
	if m != nil {
		m.port = c.door.address().Port
	}
	c.store.Adjust(s.storeOptions(c.o))
	c.warnOfRoom(s)
	c.settings.Store(&s)
	c.creds = creds
	c.join(ctx, m, s)
	if creds.secret == "" && !c.door.address().IP.IsLoopback() {
		c.log.Warn("whoever reaches this address can put files into the spool: give a secretFile", "listen", c.door.address().String())
	}
	return nil
}

// openPort listens at the port that is set, or at one that the network server gives
// out.
func (c *collector) openPort(ctx context.Context, s CollectorSettings, creds *credentials, m *membership) (*doorMove, error) {
	b := behind{handler: c, creds: creds, names: []string{s.Address}}
	listen := func(port int) (*doorMove, error) {
		return planMove(c.door, c.log, net.JoinHostPort(s.listenHost(), strconv.Itoa(port)), s.Limits.Connections, b)
	}
	if s.Port != 0 || m == nil {
		d, err := listen(s.Port)
		if err != nil {
			return nil, fmt.Errorf("port: %w", err)
		}
		return d, nil
	}
	if old := c.settings.Load(); c.door != nil && old.Port == 0 && old.listenHost() == s.listenHost() {
		// The network server knows it by this port.
		return listen(c.door.address().Port)
	}
	return m.findPort(ctx, c, listen)
}

func (s CollectorSettings) listenHost() string {
	if s.Listen != "" {
		return plainHost(s.Listen)
	}
	return plainHost(s.Address)
}

// say writes the lines of the start.
func (c *collector) say() {
	cluster := ""
	if m := c.member.Load(); m != nil {
		cluster = m.cluster + " as " + m.id
	}
	announce(c.o.Out, c.o.Version, "listen", serves(c.door), "admin", serves(c.admin), "spool", c.settings.Load().Spool, "cluster", cluster)
}

func (c *collector) reload(ctx context.Context) error {
	s, creds, err := c.load()
	if err != nil {
		return err
	}
	if s.Limits.Connections != c.settings.Load().Limits.Connections {
		c.log.Warn("these settings take effect at the next start", "keys", "limits.connections")
	}
	if err := c.open(ctx, s, creds); err != nil {
		return err
	}
	c.log.Info("settings were read again", servesAt(c.door, c.admin)...)
	return nil
}

// close takes nothing new, leaves the cluster if it is to, and waits for what is on its
// way. One that does not leave is owed what comes until it is started again.
func (c *collector) close() {
	c.stopping.Store(true)
	var left sync.WaitGroup
	left.Go(func() {
		if m := c.member.Load(); m != nil && c.settings.Load().Network.Leave {
			c.silent(leaveTime)
			m.leave()
			return
		}
		c.silent(0)
	})
	c.door.close()
	left.Wait()
	c.admin.close()
}

// trouble says why the collector is not ready.
func (c *collector) trouble() error {
	if c.stopping.Load() {
		return errors.New("it is stopping")
	}
	if why := c.full.Load(); why != nil {
		return errors.New(*why)
	}
	if m := c.member.Load(); m != nil {
		return m.trouble()
	}
	if c.settings.Load().Network.Server != "" {
		return errors.New("it has no port yet from the network server")
	}
	return nil
}

// ServeHTTP implements http.Handler.
func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodGet && r.URL.Path == "/health":
		c.health(w)
	case r.Method != http.MethodPut && r.Method != http.MethodHead:
		w.Header().Set("Allow", "PUT, HEAD")
		c.refuseUnread(w, r, refusal{status: http.StatusMethodNotAllowed, code: codeMethod, reason: "a file is sent by PUT /<name>"})
	case fromElsewhere(r):
		c.refuseUnread(w, r, refusal{status: http.StatusForbidden, code: codeOrigin, reason: "pages of other sites may not bring files"})
	default:
		if r.ContentLength < 0 {
			// A length beside the chunks, which net/http hides, may have had whoever
			// stands between see another end of this request: it is the last here.
			w.Header().Set("Connection", "close")
		}
		u, no := readUpload(r)
		if no != nil {
			c.refuseUnread(w, r, *no)
			return
		}
		if c.stopping.Load() {
			w.Header().Set("Connection", "close")
			c.refuse(w, refusalOf(spool.ErrClosed))
			return
		}
		if r.Method == http.MethodHead {
			c.look(w, u)
			return
		}
		c.put(w, r, u)
	}
}

// health answers whether files are taken.
func (c *collector) health(w http.ResponseWriter) {
	if c.stopping.Load() {
		c.refuse(w, refusalOf(spool.ErrClosed))
		return
	}
	answer(w, map[string]string{"status": "alive"})
}
