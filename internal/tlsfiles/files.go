package tlsfiles

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"
)

// every is how often the files are looked at. They are small: reading them costs less
// than wondering whether a time of change can be trusted.
const every = time.Second

// mostBytes bounds one file.
const mostBytes = 1 << 20

// Options say which files there are.
type Options struct {
	Name      string // of the listener, for logs and metrics: "public"
	Cert, Key string // PEM; Cert has the certificate first, then those between it and the root
	ClientCA  string // PEM; empty: nobody is asked for a certificate
	// Require has the handshake fail of who shows no certificate of ClientCA. Otherwise one
	// may be shown, and has to be good if it is.
	Require bool

	Log     *slog.Logger // nil: nothing is logged
	Metrics *Metrics     // nil: nothing is counted
	Now     func() time.Time
	Ticks   <-chan time.Time // when Run looks; nil: every second

	got func(*tls.ClientHelloInfo) (*tls.Certificate, error) // in place of Cert and Key: by ACME
}

// Files are a certificate, its key, and who signed those of clients. Its methods may be
// called from many goroutines at once.
type Files struct {
	o       Options
	current atomic.Pointer[tls.Config]

	mu   sync.Mutex // guards what follows
	good content    // in force
	last content    // what was seen last
	bad  string     // what was seen last and is not good; empty for nothing
	seen int        // how often, one look after the other
}

// content is what the files hold.
type content struct{ cert, key, ca []byte }

func (c content) is(d content) bool {
	return bytes.Equal(c.cert, d.cert) && bytes.Equal(c.key, d.key) && bytes.Equal(c.ca, d.ca)
}

// New reads the files. It fails when they are not good.
func New(o Options) (*Files, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	f := &Files{o: o}
	found, err := f.read()
	if err != nil {
		return nil, err
	}
	config, err := f.build(found)
	if err != nil {
		return nil, err
	}
	f.take(found, config)
	return f, nil
}

// Config returns what a listener takes. It stays good when the files change.
func (f *Files) Config() *tls.Config {
	c := f.current.Load().Clone()
	c.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return f.current.Load(), nil }
	return c
}

// Run looks at the files until ctx ends.
func (f *Files) Run(ctx context.Context) error {
	ticks := f.o.Ticks
	if ticks == nil {
		t := time.NewTicker(every)
		defer t.Stop()
		ticks = t.C
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks:
			f.look(false)
		}
	}
}

// Look reads the files now, and takes what has changed if it is good: whoever calls it
// says that nobody is writing them.
func (f *Files) Look() { f.look(true) }

// look reads the files. Unless it is said that they are complete, what has changed is
// taken when it was the same a look before: in between somebody may have written a
// certificate, and have yet to write those between it and the root.
func (f *Files) look(complete bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	found, err := f.read()
	if err == nil && found.is(f.good) {
		f.bad, f.last = "", found
		return
	}
	var config *tls.Config
	if err == nil {
		if steady := found.is(f.last); !steady && !complete {
			f.last = found
			return
		}
		config, err = f.build(found)
	}
	if err != nil {
		f.refuse(found, err)
		return
	}
	f.take(found, config)
	f.o.Metrics.reloaded(f.o.Name, true)
	if f.o.got != nil {
		f.o.Log.Info("other authorities of clients are in force", "listener", f.o.Name, "file", f.o.ClientCA)
		return
	}
	f.o.Log.Info("a new certificate is in force", "listener", f.o.Name, "file", f.o.Cert, "expires", config.Certificates[0].Leaf.NotAfter.UTC())
}

// refuse notes files that are not good. mu is held.
func (f *Files) refuse(found content, err error) {
	seen := fmt.Sprintf("%x %v", sha256.Sum256(bytes.Join([][]byte{found.cert, found.key, found.ca}, []byte{0})), err)
	if seen != f.bad {
		f.bad, f.seen = seen, 0
	}
	if f.seen++; f.seen != 2 {
		return
	}
	f.o.Metrics.reloaded(f.o.Name, false)
	f.o.Log.Error("the certificate stays as it is: what its files hold now is not good", "listener", f.o.Name, "err", err)
}

// take has what was found be in force. mu is held, or nobody else knows of f.
func (f *Files) take(found content, config *tls.Config) {
	f.good, f.last, f.bad = found, found, ""
	f.current.Store(config)
	if f.o.got != nil {
		return
	}
	leaf := config.Certificates[0].Leaf
	f.o.Metrics.expires(f.o.Name, leaf.NotAfter)
	if !f.o.Now().Before(leaf.NotAfter) {
		f.o.Log.Warn("the certificate has expired: clients do not take it", "listener", f.o.Name, "file", f.o.Cert, "expired", leaf.NotAfter.UTC())
	}
}

// read reads the files as they are.
func (f *Files) read() (c content, err error) {
	for _, one := range []struct {
		path string
		into *[]byte
	}{{f.o.Cert, &c.cert}, {f.o.Key, &c.key}, {f.o.ClientCA, &c.ca}} {
		if one.path == "" {
			continue
		}
		if *one.into, err = readFile(one.path); err != nil {
			return c, err
		}
	}
	return c, nil
}

// readFile reads a small file, and nothing that could have one wait.
func readFile(path string) ([]byte, error) {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return nil, err
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("%s is no file", path)
	case info.Size() > mostBytes:
		return nil, fmt.Errorf("%s is too large for a certificate", path)
	}
	return os.ReadFile(path)
}

// build makes the configuration of what was found.
func (f *Files) build(found content) (*tls.Config, error) {
	c := base()
	if f.o.got != nil {
		c.NextProtos = append(c.NextProtos, acme.ALPNProto)
		c.GetCertificate = f.o.got
		return c, askClients(c, f.o.ClientCA, found.ca, false)
	}
	pair, err := tls.X509KeyPair(found.cert, found.key)
	if err != nil {
		return nil, fmt.Errorf("%s and %s are no certificate and its key: %w", f.o.Cert, f.o.Key, err)
	}
	if err := whole(f.o.Cert, found.cert); err != nil {
		return nil, err
	}
	if err := f.noWorse(pair.Leaf); err != nil {
		return nil, err
	}
	c.Certificates = []tls.Certificate{pair}
	return c, askClients(c, f.o.ClientCA, found.ca, f.o.Require)
}

// noWorse refuses a certificate that is not valid in place of one that is. Where there is
// none in force, or one that has expired, any is taken.
func (f *Files) noWorse(leaf *x509.Certificate) error {
	now, current := f.o.Now(), f.current.Load()
	if current == nil || now.After(current.Certificates[0].Leaf.NotAfter) {
		return nil
	}
	switch {
	case now.After(leaf.NotAfter):
		return fmt.Errorf("%s has expired on %s, and the one in force has not", f.o.Cert, leaf.NotAfter.UTC())
	case now.Before(leaf.NotBefore):
		return fmt.Errorf("%s is not valid before %s: it is taken then", f.o.Cert, leaf.NotBefore.UTC())
	}
	return nil
}

// whole refuses a file that ends within a certificate: the one before it would be taken
// without those that its clients need to trust it.
func whole(path string, text []byte) error {
	for {
		block, rest := pem.Decode(text)
		if block != nil {
			text = rest
			continue
		}
		if bytes.Contains(text, []byte("-----BEGIN")) {
			return fmt.Errorf("%s ends within a certificate, or has one that cannot be read", path)
		}
		return nil
	}
}

// base is what all listeners have.
func base() *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}}
}

// askClients has clients asked for a certificate, if there is who signed theirs.
func askClients(c *tls.Config, path string, ca []byte, require bool) error {
	if path == "" {
		return nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(ca) {
		return fmt.Errorf("%s holds no certificate in PEM", path)
	}
	if err := whole(path, ca); err != nil {
		return err
	}
	c.ClientCAs, c.ClientAuth = pool, tls.VerifyClientCertIfGiven
	if require {
		c.ClientAuth = tls.RequireAndVerifyClientCert
	}
	return nil
}
