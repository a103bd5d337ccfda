package nodetest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
)

// thisMachine answers that every host is this machine, and returns where.
func thisMachine(t *testing.T) string {
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
		_ = w.WriteMsg(m) // or it is asked again
	})}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = s.ActivateAndServe() // ends with Shutdown
	}()
	t.Cleanup(func() {
		_ = s.Shutdown()
		<-served
	})
	return l.Addr().String()
}

// acmeServer is an ACME server that looks for hosts at a port of this machine, once it is
// known: who asks earlier waits. It returns the root of what it issues.
func acmeServer(t *testing.T) (front *httptest.Server, looksAt func(port int) *x509.CertPool) {
	t.Helper()
	t.Setenv("PEBBLE_VA_NOSLEEP", "1")
	t.Setenv("PEBBLE_WFE_NONCEREJECT", "0")
	var handler http.Handler
	known := make(chan struct{})
	front = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-known:
			handler.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(front.Close)
	return front, func(port int) *x509.CertPool {
		quiet, store := log.New(io.Discard, "", 0), db.NewMemoryStore()
		issuer := ca.New(quiet, store, "", "ecdsa", 0, 1, map[string]ca.Profile{"default": {}})
		desk := wfe.New(quiet, store, va.New(quiet, 1, port, false, thisMachine(t), store), issuer, []string{"acme.example"}, false, false, 1, 1)
		handler = desk.Handler()
		close(known)
		roots := x509.NewCertPool()
		roots.AddCert(issuer.GetRootCert(0).Cert)
		return roots
	}
}

// The program gets a certificate in its own handshakes, and has it still when it is
// started again and the ACME server is gone.
func TestACertificateIsGotByACMEAndKept(t *testing.T) {
	Alone(t, ReasonOwn)
	front, looksAt := acmeServer(t)
	root := filepath.Join(t.TempDir(), "acme-ca.pem")
	writePEM(t, root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: front.Certificate().Raw}))
	s := startWith(t, plainApp+fmt.Sprintf("tls: {acme: {domains: [chat.example], acceptTerms: true, directory: %q, ca: %q}}\n", front.URL+wfe.DirectoryPath, root))
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	number, err := net.LookupPort("tcp", port)
	if err != nil {
		t.Fatal(err)
	}
	trust := &tls.Config{RootCAs: looksAt(number), ServerName: "chat.example"}
	Eventually(t, "there is a certificate", func() bool {
		return strings.Contains(s.Output(), "a new certificate is in force") || strings.Contains(s.Output(), "level=ERROR")
	})
	greet := func() {
		t.Helper()
		conn, err := tls.Dial("tcp", s.Addr, trust)
		if err != nil {
			t.Fatalf("%v\n%s", err, s.Output())
		}
		defer conn.Close()
		if err := ask(conn, s.Addr); err != nil {
			t.Error(err)
		}
	}
	greet()
	if s.Metric(`switchboard_tls_expires_timestamp_seconds{listener="public"}`) == 0 {
		t.Error("nobody knows when it expires")
	}
	front.Close()
	s.Stop()
	s.Start()
	greet()
}
