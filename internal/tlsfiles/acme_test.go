package tlsfiles

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

// resolver says that every host is this machine.
func resolver(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, r *dns.Msg) {
		m := new(dns.Msg)
		m.SetReply(r)
		if q := r.Question[0]; q.Qtype == dns.TypeA {
			m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }() // ends with Shutdown
	t.Cleanup(func() { _ = s.Shutdown() })
	return l.Addr().String()
}

// pebble is an ACME server that looks for hosts at these ports of this machine. It
// returns its directory, and the root of what it issues.
func pebble(t *testing.T, httpPort, tlsPort int) (server *httptest.Server, directory string, root func() *x509.CertPool) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
	front := wfe.New(quiet, store, va.New(quiet, httpPort, tlsPort, false, resolver(t), store), issuer, []string{"acme.example"}, false, false, 1, 1)
	server = httptest.NewTLSServer(front.Handler())
	t.Cleanup(server.Close)
	return server, server.URL + wfe.DirectoryPath, func() *x509.CertPool {
		pool := x509.NewCertPool()
		pool.AddCert(issuer.GetRootCert(0).Cert)
		return pool
	}
}

// acmeDesk has an ACME listener, and returns who gets certificates there.
func acmeDesk(t *testing.T, l net.Listener, directory string, trust *tls.Config, registry *prometheus.Registry) *ACME {
	t.Helper()
	m, err := NewMetrics(registry)
	if err != nil {
		t.Fatal(err)
	}
	a, err := NewACME(ACMEOptions{
		Name: "public", Domains: []string{"chat.example", "www.chat.example"}, Email: "ops@chat.example", Directory: directory, TLS: trust,
		Cache: filepath.Join(t.TempDir(), "acme"), ClientCA: put(t, filepath.Join(t.TempDir(), "clients"), newAuthority(t).pem), Log: slog.New(slog.NewTextHandler(t.Output(), nil)), Metrics: m,
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: http.NotFoundHandler(), ErrorLog: log.New(io.Discard, "", 0)}
	go func() { _ = s.Serve(tls.NewListener(l, a.Config())) }() // ends with Close
	t.Cleanup(func() { _ = s.Close() })
	return a
}

func listen(t *testing.T) (net.Listener, int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l, l.Addr().(*net.TCPAddr).Port
}

// letsClientsOfIn replaces the authority of clients, and sees whom the listener lets in.
func letsClientsOfIn(t *testing.T, a *ACME, addr string) {
	t.Helper()
	before, after := newAuthority(t), newAuthority(t)
	for _, now := range []*authority{before, after} {
		put(t, a.o.ClientCA, now.pem)
		a.Look()
		for _, of := range []*authority{before, after} {
			cert, key := of.issue(t, "client", time.Now().Add(time.Hour))
			pair, err := tls.X509KeyPair(cert, key)
			if err != nil {
				t.Fatal(err)
			}
			conn, err := tls.Dial("tcp", addr, &tls.Config{
				ServerName: "chat.example", InsecureSkipVerify: true, MaxVersion: tls.VersionTLS12, // where the client hears of it at once
				GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil },
			})
			if err == nil {
				conn.Close()
			}
			if (err == nil) != (of == now) {
				t.Errorf("a client of its authority, %v: %v", of == now, err)
			}
		}
	}
}

func TestCertificatesAreGotInTheListenersOwnHandshakes(t *testing.T) {
	l, port := listen(t)
	server, directory, roots := pebble(t, 1, port)
	registry := prometheus.NewRegistry()
	a := acmeDesk(t, l, directory, server.Client().Transport.(*http.Transport).TLSClientConfig, registry)
	if !a.ask(t.Context()) {
		t.Fatal("there is no certificate")
	}
	letsClientsOfIn(t, a, l.Addr().String())
	for shown, asked := range map[string]string{"www.chat.example": "www.chat.example", "chat.example": ""} {
		c := &tls.Config{ServerName: asked, InsecureSkipVerify: true}
		conn, err := tls.Dial("tcp", l.Addr().String(), c)
		if err != nil {
			t.Fatalf("%q: %v", asked, err)
		}
		state := conn.ConnectionState()
		between := x509.NewCertPool()
		for _, c := range state.PeerCertificates[1:] {
			between.AddCert(c)
		}
		if _, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{DNSName: shown, Roots: roots(), Intermediates: between}); err != nil {
			t.Errorf("%q: %v", asked, err)
		}
		conn.Close()
	}
	if _, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{ServerName: "other.example", InsecureSkipVerify: true}); err == nil {
		t.Error("there is a certificate for a host that nobody named")
	}
	if testutil.ToFloat64(a.o.Metrics.expiry.WithLabelValues("public")) == 0 {
		t.Error("nobody knows when it expires")
	}
}

func TestCertificatesAreGotByHTTPWhereTheListenerCannotBeReached(t *testing.T) {
	l, _ := listen(t)
	web, port := listen(t)
	server, directory, _ := pebble(t, port, 1)
	a := acmeDesk(t, l, directory, server.Client().Transport.(*http.Transport).TLSClientConfig, prometheus.NewRegistry())
	s := &http.Server{Handler: a.Handler("8443")}
	go func() { _ = s.Serve(web) }() // ends with Close
	t.Cleanup(func() { _ = s.Close() })
	if !a.ask(t.Context()) {
		t.Fatal("there is no certificate")
	}
	for host, want := range map[string]string{"chat.example": "https://chat.example:8443/a?b=c", "evil.example": ""} {
		r := httptest.NewRequest(http.MethodGet, "http://"+host+"/a?b=c", nil)
		w := httptest.NewRecorder()
		s.Handler.ServeHTTP(w, r)
		if got := w.Header().Get("Location"); got != want || strings.Contains(w.Body.String(), "evil") {
			t.Errorf("%s is sent on to %q", host, got)
		}
	}
}

func TestWithoutAnACMEServerTheOperatorIsTold(t *testing.T) {
	l, _ := listen(t)
	var said strings.Builder
	a := acmeDesk(t, l, "https://127.0.0.1:1/dir", nil, prometheus.NewRegistry())
	a.o.Log = slog.New(slog.NewTextHandler(&said, nil))
	if a.ask(t.Context()) || strings.Count(said.String(), "level=ERROR") != 2 {
		t.Errorf("said:\n%s", said.String())
	}
}
