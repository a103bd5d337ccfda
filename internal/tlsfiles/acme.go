package tlsfiles

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/acme"
	"golang.org/x/crypto/acme/autocert"
)

const (
	// firstWait and longestWait bound how long after a certificate that could not be got
	// it is tried again: ACME servers count attempts.
	firstWait   = time.Minute
	longestWait = time.Hour
	// lookAgain is how often certificates are asked for that are there, so that the time
	// when they expire is known.
	lookAgain = time.Hour
)

// ACMEOptions say for which hosts certificates are got, and where.
type ACMEOptions struct {
	Name      string   // of the listener, as in Options
	Domains   []string // at least one; the first is shown to who names none
	Email     string
	Directory string      // https URL
	TLS       *tls.Config // for that server; nil: as usual
	Cache     string      // a folder, which is made
	ClientCA  string      // as in Options

	Log     *slog.Logger
	Metrics *Metrics
}

// ACME gets certificates, and renews them 30 days before they expire. The challenge is
// tls-alpn-01, in the handshakes of the listener itself, or http-01 where Handler is
// reached. Its methods may be called from many goroutines at once.
type ACME struct {
	o       ACMEOptions
	manager *autocert.Manager
	clients *Files // who signed theirs

	mu     sync.Mutex
	leaves map[string]time.Time // when the certificate of a domain expires
}

// NewACME prepares to get certificates. The terms of the server are agreed to.
func NewACME(o ACMEOptions) (*ACME, error) {
	if len(o.Domains) == 0 {
		return nil, errors.New("tlsfiles: ACME needs a domain")
	}
	if err := os.MkdirAll(o.Cache, 0o700); err != nil {
		return nil, fmt.Errorf("make the folder for certificates: %w", err)
	}
	transport := &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: o.TLS, ForceAttemptHTTP2: true, TLSHandshakeTimeout: 10 * time.Second}
	a := &ACME{o: o, leaves: make(map[string]time.Time)}
	a.manager = &autocert.Manager{
		Prompt: autocert.AcceptTOS, Cache: autocert.DirCache(o.Cache), HostPolicy: hosts(o.Domains), Email: o.Email,
		Client: &acme.Client{DirectoryURL: o.Directory, HTTPClient: &http.Client{Transport: transport, Timeout: time.Minute}, UserAgent: "switchboard"},
	}
	var err error
	if a.clients, err = New(Options{Name: o.Name, ClientCA: o.ClientCA, Log: o.Log, Metrics: o.Metrics, got: a.certificate}); err != nil {
		return nil, err
	}
	return a, nil
}

// hosts lets certificates be got for these domains alone. A host may have a port, as that
// of an HTTP request may.
func hosts(domains []string) autocert.HostPolicy {
	listed := autocert.HostWhitelist(domains...)
	return func(ctx context.Context, host string) error {
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		return listed(ctx, host)
	}
}

// Config returns what a listener takes. It stays good when the file of ClientCA changes.
func (a *ACME) Config() *tls.Config { return a.clients.Config() }

// Look reads the file of ClientCA now.
func (a *ACME) Look() { a.clients.Look() }

// certificate returns the certificate for a handshake: it may have to be got first.
func (a *ACME) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if hello.ServerName == "" {
		named := *hello
		named.ServerName = a.o.Domains[0]
		hello = &named
	}
	return a.manager.GetCertificate(hello)
}

// Run gets what there is none of yet, and keeps an eye on the rest, until ctx ends. The
// listener serves by then: the ACME server looks there. The file of ClientCA is looked at
// as that of a certificate is.
func (a *ACME) Run(ctx context.Context) error {
	var looking sync.WaitGroup
	defer looking.Wait()
	if a.o.ClientCA != "" {
		looking.Go(func() { _ = a.clients.Run(ctx) }) // it does not fail
	}
	wait := firstWait
	for {
		pause := lookAgain
		if !a.ask(ctx) {
			pause, wait = wait, min(2*wait, longestWait)
		} else {
			wait = firstWait
		}
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
	}
}

// ask asks for the certificates of all domains, and says whether there are all.
func (a *ACME) ask(ctx context.Context) (all bool) {
	all = true
	for _, domain := range a.o.Domains {
		if ctx.Err() != nil {
			return all
		}
		// As a client of today would: with keys on P-256.
		c, err := a.manager.GetCertificate(&tls.ClientHelloInfo{
			ServerName: domain, SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256},
			SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256}, SupportedCurves: []tls.CurveID{tls.CurveP256},
		})
		if err != nil {
			all = false
			a.o.Log.Error("there is no certificate for a domain: the ACME server has to reach this listener under that name", "domain", domain, "directory", a.o.Directory, "err", err)
			continue
		}
		a.note(domain, c.Leaf.NotAfter)
	}
	return all
}

// note notes when a certificate expires.
func (a *ACME) note(domain string, expires time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.leaves[domain].Equal(expires) {
		return
	}
	a.leaves[domain] = expires
	a.o.Log.Info("a new certificate is in force", "listener", a.o.Name, "domain", domain, "expires", expires.UTC())
	first := expires
	for _, at := range a.leaves {
		if at.Before(first) {
			first = at
		}
	}
	a.o.Metrics.expires(a.o.Name, first)
}

// Handler answers http-01, and sends everybody else on to https, at the port.
func (a *ACME) Handler(port string) http.Handler {
	return a.manager.HTTPHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if name, _, err := net.SplitHostPort(host); err == nil {
			host = name
		}
		if err := a.manager.HostPolicy(r.Context(), strings.ToLower(host)); err != nil || r.Method != http.MethodGet && r.Method != http.MethodHead {
			http.Error(w, "come by https", http.StatusBadRequest)
			return
		}
		if port != "443" {
			host = net.JoinHostPort(host, port)
		}
		http.Redirect(w, r, "https://"+host+r.URL.RequestURI(), http.StatusPermanentRedirect)
	}))
}
