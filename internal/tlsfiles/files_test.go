package tlsfiles

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "root"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue makes a certificate of a name, with its key, in PEM.
func (a *authority) issue(t *testing.T, name string, expires time.Time) (cert, key []byte) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: expires, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &own.PublicKey, a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})
}

func put(t *testing.T, path string, content []byte) string {
	t.Helper()
	if err := os.WriteFile(path, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// desk is a pair of files, and a listener that takes it.
type desk struct {
	t           *testing.T
	authority   *authority
	cert, key   string
	files       *Files
	at          net.Addr
	log         bytes.Buffer
	registry    *prometheus.Registry
	clientRoots *x509.CertPool
}

func newDesk(t *testing.T, more func(*Options)) *desk {
	t.Helper()
	d := &desk{t: t, authority: newAuthority(t), registry: prometheus.NewRegistry(), clientRoots: x509.NewCertPool()}
	d.clientRoots.AddCert(d.authority.cert)
	folder := t.TempDir()
	cert, key := d.authority.issue(t, "first.example", time.Now().Add(time.Hour))
	d.cert, d.key = put(t, filepath.Join(folder, "cert"), cert), put(t, filepath.Join(folder, "key"), key)
	m, err := NewMetrics(d.registry)
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Name: "public", Cert: d.cert, Key: d.key, Log: slog.New(slog.NewTextHandler(&d.log, nil)), Metrics: m}
	if more != nil {
		more(&o)
	}
	if d.files, err = New(o); err != nil {
		t.Fatal(err)
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", d.files.Config())
	if err != nil {
		t.Fatal(err)
	}
	d.at = l.Addr()
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer c.Close()
				if c.(*tls.Conn).Handshake() == nil {
					_, _ = c.Write([]byte("hello"))
				}
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return d
}

// shown returns whose certificate a client is shown, and by which protocol they go on.
func (d *desk) shown(c *tls.Config) (name, protocol string, err error) {
	d.t.Helper()
	c.InsecureSkipVerify = c.RootCAs == nil
	conn, err := tls.Dial("tcp", d.at.String(), c)
	if err != nil {
		return "", "", err
	}
	defer conn.Close()
	if _, err := io.ReadFull(conn, make([]byte, 5)); err != nil { // with TLS 1.3 a client hears of its refusal here
		return "", "", err
	}
	state := conn.ConnectionState()
	return state.PeerCertificates[0].Subject.CommonName, state.NegotiatedProtocol, nil
}

func (d *desk) shows(want string) {
	d.t.Helper()
	if got, _, err := d.shown(&tls.Config{}); got != want || err != nil {
		d.t.Errorf("it shows %q, want %q: %v", got, want, err)
	}
}

func TestWhatChangesInTheFilesIsShownFromTheNextLookOn(t *testing.T) {
	d := newDesk(t, nil)
	d.shows("first.example")
	expires := time.Now().Add(30 * time.Minute).Truncate(time.Second)
	cert, key := d.authority.issue(t, "second.example", expires)
	put(t, d.cert, cert)
	d.files.Look() // in between the two
	d.shows("first.example")
	put(t, d.key, key)
	d.files.Look()
	d.shows("second.example")
	if got := testutil.ToFloat64(d.files.o.Metrics.expiry.WithLabelValues("public")); got != float64(expires.Unix()) {
		t.Errorf("it expires at %v", got)
	}
	if log := d.log.String(); strings.Contains(log, "ERROR") || strings.Count(log, "a new certificate is in force") != 1 {
		t.Errorf("logged:\n%s", log)
	}
}

func TestABadPairLeavesTheOldOneAndIsSaidOnce(t *testing.T) {
	d := newDesk(t, nil)
	cert, _ := d.authority.issue(t, "second.example", time.Now().Add(time.Hour))
	for _, spoil := range []func(){
		func() { put(t, d.cert, cert) }, // of another key
		func() { put(t, d.cert, []byte("nothing")) },
		func() { os.Remove(d.cert) },
		func() { os.Mkdir(d.cert, 0o700) },
	} {
		d.log.Reset()
		spoil()
		for range 4 {
			d.files.Look()
		}
		d.shows("first.example")
		if log := d.log.String(); strings.Count(log, "level=ERROR") != 1 {
			t.Errorf("logged:\n%s", log)
		}
	}
	if got := testutil.ToFloat64(d.files.o.Metrics.reloads.WithLabelValues("public", "bad")); got != 4 {
		t.Errorf("counted %v", got)
	}
}

func TestRunLooksAtEachTickUntilItIsToEnd(t *testing.T) {
	ticks := make(chan time.Time)
	d := newDesk(t, func(o *Options) { o.Ticks = ticks })
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- d.files.Run(ctx) }()
	cert, key := d.authority.issue(t, "second.example", time.Now().Add(time.Hour))
	put(t, d.cert, cert)
	put(t, d.key, key)
	ticks <- time.Time{}
	ticks <- time.Time{}
	ticks <- time.Time{} // those before were dealt with
	d.shows("second.example")
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestHTTP2IsOfferedAndWhoWantsAWebSocketGetsHTTP1(t *testing.T) {
	d := newDesk(t, nil)
	for _, test := range []struct {
		offers []string
		want   string
	}{{[]string{"h2", "http/1.1"}, "h2"}, {[]string{"http/1.1"}, "http/1.1"}, {nil, ""}} {
		if _, got, err := d.shown(&tls.Config{NextProtos: test.offers}); got != test.want || err != nil {
			t.Errorf("%q: %q, %v", test.offers, got, err)
		}
	}
	if _, _, err := d.shown(&tls.Config{MaxVersion: tls.VersionTLS11}); err == nil {
		t.Error("TLS 1.1 is taken")
	}
}

func TestClientsShowACertificateOfTheRightAuthorityOrNoneOrHaveTo(t *testing.T) {
	other, good := newAuthority(t), newAuthority(t)
	pair := func(a *authority) []tls.Certificate {
		cert, key := a.issue(t, "client", time.Now().Add(time.Hour))
		p, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		return []tls.Certificate{p}
	}
	for _, require := range []bool{false, true} {
		d := newDesk(t, func(o *Options) {
			o.ClientCA, o.Require = put(t, filepath.Join(t.TempDir(), "ca"), good.pem), require
		})
		for _, test := range []struct {
			who   string
			shows []tls.Certificate
			want  bool
		}{{"one with a good one", pair(good), true}, {"one without", nil, !require}, {"one with another's", pair(other), false}} {
			// Whatever the server asks for: a client sends no certificate of another authority by itself.
			c := &tls.Config{GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if test.shows == nil {
					return &tls.Certificate{}, nil
				}
				return &test.shows[0], nil
			}}
			if _, _, err := d.shown(c); (err == nil) != test.want {
				t.Errorf("required %v, %s: %v", require, test.who, err)
			}
		}
	}
}

func TestACertificateThatIsNotValidReplacesNoneThatIs(t *testing.T) {
	now := time.Now()
	d := newDesk(t, func(o *Options) { o.Now = func() time.Time { return now } })
	replace := func(name string, expires time.Time) {
		cert, key := d.authority.issue(t, name, expires)
		put(t, d.cert, cert)
		put(t, d.key, key)
		d.files.Look()
	}
	replace("old.example", now.Add(-time.Minute))
	d.files.Look()
	d.shows("first.example")
	if !strings.Contains(d.log.String(), "has expired on") {
		t.Errorf("logged:\n%s", d.log.String())
	}
	now = now.Add(-3 * time.Hour) // before certificates of the test begin
	replace("early.example", now.Add(5*time.Hour))
	d.shows("first.example")
	now = now.Add(4 * time.Hour)
	d.files.Look()
	d.shows("early.example")
	now = now.Add(2 * time.Hour) // it has expired, too
	replace("older.example", now.Add(-time.Hour))
	d.shows("older.example")
	if !strings.Contains(d.log.String(), "the certificate has expired") {
		t.Errorf("logged:\n%s", d.log.String())
	}
}

// A file is written from its beginning: a certificate may stand there before those that
// lead from it to the root.
func TestAFileThatIsBeingWrittenIsNotTaken(t *testing.T) {
	d := newDesk(t, nil)
	cert, key := d.authority.issue(t, "second.example", time.Now().Add(time.Hour))
	put(t, d.key, key)
	put(t, d.cert, append(cert, d.authority.pem[:100]...))
	for range 3 {
		d.files.Look()
	}
	d.shows("first.example")
	if log := d.log.String(); !strings.Contains(log, "ends within a certificate") {
		t.Errorf("logged:\n%s", log)
	}
	put(t, d.cert, cert)
	d.files.look(false)
	d.shows("first.example")
	put(t, d.cert, append(cert, d.authority.pem...))
	d.files.look(false)
	d.shows("first.example")
	d.files.look(false)
	d.shows("second.example")
}

// Who has come with a certificate comes again with a ticket: not when its authority is
// trusted no longer.
func TestATicketIsWorthNothingWhenItsAuthorityIsGone(t *testing.T) {
	before, after := newAuthority(t), newAuthority(t)
	ca := put(t, filepath.Join(t.TempDir(), "ca"), before.pem)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		put(t, ca, before.pem)
		d := newDesk(t, func(o *Options) { o.ClientCA, o.Require = ca, true })
		cert, key := before.issue(t, "client", time.Now().Add(time.Hour))
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			t.Fatal(err)
		}
		c := &tls.Config{
			ClientSessionCache: tls.NewLRUClientSessionCache(1), MaxVersion: version,
			GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil },
		}
		for range 2 {
			if _, _, err := d.shown(c); err != nil {
				t.Fatal(err)
			}
		}
		put(t, ca, after.pem)
		d.files.Look()
		if _, _, err := d.shown(c); err == nil {
			t.Errorf("with %s it is let in", tls.VersionName(version))
		}
	}
}

// Secrets of Kubernetes are folders behind a link, which is replaced.
func TestFilesBehindALinkThatIsReplacedAreRead(t *testing.T) {
	folder := t.TempDir()
	d := newDesk(t, func(o *Options) {
		for _, name := range []string{"cert", "key"} {
			if err := os.Symlink(filepath.Join("..data", name), filepath.Join(folder, name)); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink(filepath.Dir(o.Cert), filepath.Join(folder, "..data")); err != nil {
			t.Fatal(err)
		}
		o.Cert, o.Key = filepath.Join(folder, "cert"), filepath.Join(folder, "key")
	})
	next := t.TempDir()
	cert, key := d.authority.issue(t, "second.example", time.Now().Add(time.Hour))
	put(t, filepath.Join(next, "cert"), cert)
	put(t, filepath.Join(next, "key"), key)
	if err := os.Symlink(next, filepath.Join(folder, "..new")); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(folder, "..new"), filepath.Join(folder, "..data")); err != nil {
		t.Fatal(err)
	}
	d.files.Look()
	d.shows("second.example")
}
