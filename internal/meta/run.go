package meta

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
	"github.com/seed-3d8c1042/switchboard/internal/tlsfiles"
)

// Limits of the listener.
const (
	headerTime     = 5 * time.Second  // for a request's header, as the node's doors have it
	answerTime     = 30 * time.Second // for the whole of an answer; a stream moves its own deadline on
	idleTime       = 2 * time.Minute  // for a connection between two requests
	maxHeaderBytes = 16 << 10
	// maxConnections leaves as many for requests as for streams. One more is closed
	// at once.
	maxConnections = 2 * maxStreams
	// shutdownTime is how long requests under way may take when the server stops.
	shutdownTime = 5 * time.Second
)

// Run serves until ctx ends, and returns nil then. What is wrong with the options
// is a *Wrong, or several; whatever else keeps it from starting is another error.
func Run(ctx context.Context, o Options) error {
	o.fill()
	if err := o.check(); err != nil {
		return err
	}
	release, err := lifecycle.LockFolder(o.Data)
	if err != nil {
		return err
	}
	err = serve(ctx, &o)
	return errors.Join(err, release())
}

func serve(ctx context.Context, o *Options) error {
	if err := errors.Join(o.Metrics.Register(collectors.NewGoCollector()),
		o.Metrics.Register(collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))); err != nil {
		return fmt.Errorf("register metrics: %w", err)
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return err
	}
	n, keepers, err := subjects(o, m)
	if err != nil {
		return err
	}
	for _, k := range keepers {
		if err := k.start(ctx); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("there is nothing to serve, and no last good copy in %s: %w", o.Data, err)
		}
	}
	cert, err := o.certificate()
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return fmt.Errorf("cannot listen: %w; give --listen another address", err)
	}
	local := loopbackHost(l.Addr().String())
	scheme := "http"
	if cert != nil {
		l, scheme = tls.NewListener(l, cert.Config()), "https"
	}
	if !local && o.Secret == "" {
		o.Log.Warn("whoever reaches this address can read what is served, with the passwords that authUrls may have: give --secret-file", "listen", l.Addr().String())
	}
	d := newDoor(n.network, n.settings, o, local, m)
	say(o, n, keepers, l, scheme)
	var following sync.WaitGroup
	looking, stopLooking := context.WithCancel(ctx)
	following.Go(func() { follow(looking, o, keepers, cert) })
	if cert != nil {
		following.Go(func() { _ = cert.Run(looking) }) // which fails in no way
	}
	err = listenAndServe(ctx, l, d, o)
	stopLooking()
	following.Wait()
	return err
}

// served is what a server serves: one of the two, or both.
type served struct {
	network  *network
	settings *settings
}

// subjects makes what is to be served, and who keeps it.
func subjects(o *Options, m *metrics) (s served, keepers []*keeper, err error) {
	if o.Config != "" {
		from, err := o.networkSource()
		if err != nil {
			return s, nil, err
		}
		if s.network, err = newNetwork(&lastGood{folder: o.Data, rename: os.Rename}, o.Log, o.Now, m); err != nil {
			return s, nil, err
		}
		keepers = append(keepers, newKeeper(from, s.network, o.Log, o.Now, m.ofNetwork))
	}
	if o.Settings != "" {
		from, err := o.settingsSource()
		if err != nil {
			return s, nil, err
		}
		s.settings = newSettings(&lastGood{folder: o.Data, name: settingsName, rename: os.Rename}, o.Log, o.Now, m)
		keepers = append(keepers, newKeeper(from, s.settings, o.Log, o.Now, m.ofSettings))
	}
	return s, keepers, nil
}

// say writes the lines of the start.
func say(o *Options, s served, keepers []*keeper, l net.Listener, scheme string) {
	line := func(key, value string) { fmt.Fprintf(o.Out, "%-9s %s\n", key, value) }
	fmt.Fprintf(o.Out, "Switchboard %s\n", o.Version)
	if s.network != nil {
		line("network", fmt.Sprintf("%s://%s%s", scheme, l.Addr(), pathGraph))
	}
	if s.settings != nil {
		line("settings", fmt.Sprintf("%s://%s%s", scheme, l.Addr(), pathConfig))
	}
	line("from", keepers[0].source.String())
	if s.network != nil {
		v, _ := s.network.current()
		line("version", fmt.Sprintf("%d (domains %d, links %d, apps %d)", v.network.Version, len(v.network.Domains), len(v.network.Links), len(v.network.Apps)))
	}
	if s.settings != nil {
		v, _ := s.settings.current()
		line("commit", fmt.Sprintf("%s (files %d)", v.commit, len(v.trees)))
	}
	line("data", o.Data)
	fmt.Fprintln(o.Out, "ready")
}

// certificate reads what readers are shown; nil: they talk in clear.
func (o *Options) certificate() (*tlsfiles.Files, error) {
	if o.TLSCert == "" {
		return nil, nil
	}
	m, err := tlsfiles.NewMetrics(o.Metrics)
	if err != nil {
		return nil, err
	}
	f, err := tlsfiles.New(tlsfiles.Options{Name: "meta", Cert: o.TLSCert, Key: o.TLSKey, Log: o.Log, Metrics: m, Now: o.Now})
	if err != nil {
		return nil, wrong("tls-cert", "and --tls-key are not good: %s", err)
	}
	return f, nil
}

// follow looks at the sources again and again until ctx ends.
func follow(ctx context.Context, o *Options, keepers []*keeper, cert *tlsfiles.Files) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-o.Look:
			o.Log.Info("looking at what is served now")
			if cert != nil {
				cert.Look()
			}
		case <-o.after(o.Every):
		}
		for _, k := range keepers {
			// What is wrong is logged by look, once.
			_ = k.look(ctx)
		}
	}
}

// listenAndServe serves until ctx ends.
func listenAndServe(ctx context.Context, l net.Listener, d *door, o *Options) error {
	open := &connections{open: map[net.Conn]struct{}{}, most: o.connections, metrics: d.metrics}
	server := &http.Server{
		Handler: d, ReadHeaderTimeout: o.header, ReadTimeout: o.header, WriteTimeout: answerTime,
		IdleTimeout: idleTime, MaxHeaderBytes: maxHeaderBytes, ConnState: open.track,
		ErrorLog: slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	close(d.stopping)
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTime)
	defer cancel()
	err := server.Shutdown(stop)
	if errors.Is(err, context.DeadlineExceeded) {
		o.Log.Warn("requests did not end in time and are cut off")
		err = server.Close()
	}
	<-served
	return err
}

// connections counts connections and closes those that are too many.
type connections struct {
	most    int
	metrics *metrics

	mu   sync.Mutex
	open map[net.Conn]struct{}
}

func (c *connections) track(conn net.Conn, state http.ConnState) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch state {
	case http.StateNew:
		if len(c.open) >= c.most {
			c.metrics.refuse("TOO_MANY_CONNECTIONS")
			_ = conn.Close() // net/http finds it closed at its first read
			return
		}
		c.open[conn] = struct{}{}
	case http.StateHijacked, http.StateClosed:
		delete(c.open, conn)
	default:
		return
	}
	c.metrics.connections.Set(float64(len(c.open)))
}
