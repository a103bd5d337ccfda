package meta

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// selfSigned makes a certificate of this machine, with its key, in files.
func selfSigned(t *testing.T) (certFile, keyFile string, trust *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	cert := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(cert)
	certFile, keyFile = filepath.Join(t.TempDir(), "cert"), filepath.Join(t.TempDir(), "key")
	for file, content := range map[string][]byte{certFile: cert, keyFile: pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw})} {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile, &tls.Config{RootCAs: pool}
}

func TestADomainReadsOverTLSAndFromNobodyWhomItDoesNotTrust(t *testing.T) {
	o := quiet(t)
	var trust *tls.Config
	o.TLSCert, o.TLSKey, trust = selfSigned(t)
	o.Config = filepath.Join(t.TempDir(), "network.yaml")
	if err := os.WriteFile(o.Config, []byte(example(t, "<!-- file: network.yaml -->")), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, o)
	if !strings.HasPrefix(r.url, "https://") {
		t.Fatalf("it says %s", r.url)
	}
	for _, c := range []*tls.Config{nil, trust} {
		s, err := domains.NewSource(domains.SourceOptions{URL: r.url, Self: "domain-01", File: filepath.Join(t.TempDir(), "copy"), TLS: c, Retry: time.Hour, RetryMax: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Reload(); (err == nil) != (c != nil) {
			t.Errorf("trusting it %v: %v", c != nil, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		var running sync.WaitGroup
		running.Go(func() { _ = s.Run(ctx) }) // closes its connections
		running.Wait()
	}
	if err := Run(t.Context(), Options{Config: o.Config, Data: t.TempDir(), TLSCert: o.TLSCert}); err == nil || !strings.Contains(err.Error(), "--tls-key go together") {
		t.Errorf("a certificate without its key: %v", err)
	}
}
