package node

import (
	"cmp"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/audit"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/socket"
	"github.com/seed-3d8c1042/switchboard/internal/tlsfiles"
	"github.com/seed-3d8c1042/switchboard/internal/turnstile"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// acmeFolder is where in the data folder what is got by ACME is kept.
const acmeFolder = "acme"

// entrance is what stands before the doors: certificates, who may come from where, and
// what is noted of it.
type entrance struct {
	public, admin *tlsfiles.Files // nil: in clear, or by ACME
	acme          *tlsfiles.ACME  // of the public door; nil: in clear, or in files

	turnstile *turnstile.Turnstile
	audit     *audit.Log // nil: nothing is noted
	exempt    atomic.Pointer[exempt]
}

// exempt are the networks that a list in the settings names.
type exempt struct {
	list     []string
	networks []netip.Prefix
}

// openEntrance reads the certificates, before anything listens.
func (n *node) openEntrance() (err error) {
	s := n.opts.Settings
	if err := n.openTurnstile(); err != nil {
		return err
	}
	if s.Audit.File != "" {
		n.entrance.audit, err = audit.Open(audit.Options{File: s.Audit.File, Out: n.opts.Out, Log: n.log, Metrics: n.metrics})
		if err != nil {
			return fmt.Errorf("%w: name another file in the setting audit.file", err)
		}
		n.entrance.audit.Note(audit.Event{Event: "starting", By: "operator", What: n.opts.Version})
	}
	m, err := tlsfiles.NewMetrics(n.metrics)
	if err != nil {
		return err
	}
	read := func(name, setting string, into **tlsfiles.Files, o tlsfiles.Options) error {
		if o.Cert == "" {
			return nil
		}
		o.Name, o.Log, o.Metrics = name, n.log, m
		if *into, err = tlsfiles.New(o); err != nil {
			return fmt.Errorf("read the certificate of the setting %s: %w", setting, err)
		}
		return nil
	}
	if err := read("public", "tls", &n.entrance.public, tlsfiles.Options{Cert: s.TLS.Cert, Key: s.TLS.Key, ClientCA: s.TLS.ClientCA}); err != nil {
		return err
	}
	if len(s.TLS.ACME.Domains) > 0 {
		if err := n.openACME(m); err != nil {
			return err
		}
	}
	return read("admin", "adminTLS", &n.entrance.admin, tlsfiles.Options{Cert: s.AdminTLS.Cert, Key: s.AdminTLS.Key, ClientCA: s.AdminTLS.ClientCA, Require: s.AdminTLS.ClientCA != ""})
}

// openTurnstile makes what counts by address.
func (n *node) openTurnstile() (err error) {
	p := n.opts.Settings.Proxies
	n.entrance.turnstile, err = turnstile.New(turnstile.Options{
		ProtocolFrom: config.Networks(p.ProtocolFrom), Trusted: config.Networks(p.Trusted), Header: p.Header,
		Connections: func() int { return n.limits().ConnectionsPerAddress },
		Failures:    func() int { return n.limits().FailedSignIns },
		Exempt:      n.exempt, HeaderTime: n.limits().HandshakeTimeout,
		Metrics: n.metrics, Log: n.log,
	})
	return err
}

// exempt returns the networks for which no limits by address hold.
func (n *node) exempt() []netip.Prefix {
	list, known := n.limits().Exempt, n.entrance.exempt.Load()
	if known == nil || !slices.Equal(known.list, list) {
		known = &exempt{list, config.Networks(list)}
		n.entrance.exempt.Store(known)
	}
	return known.networks
}

// openACME prepares to get certificates.
func (n *node) openACME(m *tlsfiles.Metrics) (err error) {
	s := n.opts.Settings
	o := tlsfiles.ACMEOptions{
		Name: "public", Domains: s.TLS.ACME.Domains, Email: s.TLS.ACME.Email, Directory: s.TLS.ACME.Directory,
		Cache: cmp.Or(s.TLS.ACME.Cache, filepath.Join(s.Data, acmeFolder)), ClientCA: s.TLS.ClientCA, Log: n.log, Metrics: m,
	}
	if o.TLS, err = (config.TLS{CA: s.TLS.ACME.CA}).Config(); err != nil {
		return fmt.Errorf("read who signed the ACME server's certificate (setting tls.acme.ca): %w", err)
	}
	if n.entrance.acme, err = tlsfiles.NewACME(o); err != nil {
		return fmt.Errorf("prepare to get certificates (setting tls.acme): %w", err)
	}
	return nil
}

// openHTTP01 opens the door at which an ACME server may look, if there is to be one. It
// is there before certificates are asked for.
func (n *node) openHTTP01() error {
	at := n.opts.Settings.TLS.ACME.Listen
	if n.entrance.acme == nil || at == "" || n.doors.public == nil {
		return nil
	}
	l, err := listen("tls.acme.listen", at)
	if err != nil {
		return err
	}
	_, port, _ := net.SplitHostPort(n.doors.public.addr())
	n.doors.http01 = n.openDoor(n.entrance.turnstile.Beside(l), n.entrance.acme.Handler(port))
	return nil
}

// files returns the certificates that there are in files.
func (e *entrance) files() []*tlsfiles.Files {
	var list []*tlsfiles.Files
	for _, f := range []*tlsfiles.Files{e.public, e.admin} {
		if f != nil {
			list = append(list, f)
		}
	}
	return list
}

// tendEntrance keeps them current until stop is called, which waits.
func (n *node) tendEntrance() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var all errgroup.Group
	for _, f := range n.entrance.files() {
		all.Go(func() error { return f.Run(ctx) })
	}
	if a := n.entrance.acme; a != nil && n.doors.public != nil {
		all.Go(func() error { return a.Run(ctx) })
	}
	all.Go(func() error { return n.hearHangups(ctx) })
	return func() {
		cancel()
		_ = all.Wait() // none of them fails
		if err := n.entrance.audit.Close(); err != nil {
			n.log.Error("the audit log may lack its end", "err", err)
		}
	}
}

// hearHangups looks at what is in files whenever it is asked to, until ctx ends.
func (n *node) hearHangups(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-n.opts.Hangup:
			for _, f := range n.entrance.files() {
				f.Look()
			}
			if a := n.entrance.acme; a != nil {
				a.Look()
			}
			if err := n.entrance.audit.Reopen(); err != nil {
				n.log.Error("the audit log goes on in the file that it had", "err", err)
			}
		}
	}
}

// onPublic is what the public door listens on.
func (n *node) onPublic(l net.Listener) net.Listener {
	if l == nil {
		return nil
	}
	e := &n.entrance
	l = e.turnstile.Listener(l, !n.opts.Settings.TLS.On())
	switch {
	case e.public != nil:
		return tls.NewListener(l, e.public.Config())
	case e.acme != nil:
		return tls.NewListener(l, e.acme.Config())
	}
	return l
}

// onAdmin is what the admin door listens on.
func (n *node) onAdmin(l net.Listener) net.Listener {
	if f := n.entrance.admin; f != nil {
		return tls.NewListener(l, f.Config())
	}
	return l
}

// guessed notes that what somebody at an address has shown was refused, unless it is
// nobody's guess, and says how long he has to wait; 0: he may try again.
func (e *entrance) guessed(address string, status int, code string) (wait time.Duration) {
	if status != http.StatusUnauthorized {
		return 0
	}
	switch code {
	case api.CodeAuthRequired, api.CodeKeyExpired, wire.CodeTokenExpired, wire.CodeWrongDomain:
		return 0
	}
	if wait = e.turnstile.Blocked(address); wait == 0 {
		e.turnstile.Failed(address)
	}
	return wait
}

// deviceRefused tells the audit log of a device that may not come in, and returns why.
func (e *entrance) deviceRefused(r *http.Request, no *socket.DeviceRefusal) error {
	switch no.Status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		e.audit.Note(audit.Event{Event: "deviceRefused", Address: r.RemoteAddr, Code: no.Code, Refusal: true})
	}
	return no
}

// refusedAtGateway tells the audit log of a token that was refused at a route, and says how
// long whoever showed it has to wait.
func (e *entrance) refusedAtGateway(r *http.Request, route string, status int, code string) (wait time.Duration) {
	if wait = e.guessed(r.RemoteAddr, status, code); wait > 0 {
		code = wire.CodeRateLimited
	}
	e.audit.Note(audit.Event{Event: "requestRefused", Address: r.RemoteAddr, Code: code, What: r.Method + " " + route, Refusal: true})
	return wait
}
