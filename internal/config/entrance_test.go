package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// pair makes a certificate and its key in files.
func pair(t *testing.T) (cert, key string) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &own.PublicKey, own)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	cert, key = filepath.Join(folder, "cert"), filepath.Join(folder, "key")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

func TestWhatDoesNotGoTogetherAtTheEntranceIsRefused(t *testing.T) {
	cert, key := pair(t)
	other, _ := pair(t)
	for text, want := range map[string]string{
		"tls: {cert: " + cert + "}":                     "tls.key: is required beside the other",
		"adminTLS: {key: " + key + "}":                  "adminTLS.cert: is required beside the other",
		"tls: {cert: " + other + ", key: " + key + "}":  "are no certificate and its key",
		"tls: {cert: /no/where, key: " + key + "}":      "read cert: ",
		"tls: {clientCA: " + cert + "}":                 "takes tls.cert or tls.acme",
		"tls: {acme: {email: a@b.example}}":             "tls.acme.domains: is required",
		"tls: {acme: {domains: [chat.example]}}":        "tls.acme.acceptTerms: must be true",
		"tls: {acme: {domains: ['*.example']}}":         "is a pattern",
		"tls: {acme: {domains: [localhost]}}":           "is not the name of a host",
		"tls: {acme: {directory: 'http://x.example/'}}": "is not the URL of an ACME directory",
		"tls: {cert: " + cert + ", key: " + key + ", acme: {domains: [a.example], acceptTerms: true}}": "exclude each other",
		"tls: {acme: {domains: [a.example], acceptTerms: true, listen: 127.0.0.1:9088}}":               "want the same port",
		"proxies: {trusted: [10.1.2.3/8]}":          "did you mean 10.0.0.0/8?",
		"proxies: {protocolFrom: [proxy.example]}":  "is neither an address nor a network",
		"limits: {exempt: ['::1/128, 10.0.0.0/8']}": "is not a network: write each as an item of its own",
		"audit: {file: /var/log/}":                  "is a folder",
	} {
		if got := problems(t, Sources{File: write(t, text+"\n")}); len(got) != 1 || !strings.Contains(got[0], want) {
			t.Errorf("%s: got %q, want %q", text, got, want)
		}
	}
}

func TestTheEntranceIsReadAsItIsMeant(t *testing.T) {
	cert, key := pair(t)
	s := load(t, Sources{File: write(t, "tls: {cert: "+cert+", key: "+key+"}\nproxies: {trusted: [10.0.0.0/8, 192.0.2.1, '::ffff:192.0.2.2', '::ffff:198.51.100.0/120']}\nlimits: {exempt: []}\n")})
	if got := Networks(s.Proxies.Trusted); !slices.Equal(got, []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("192.0.2.1/32"), netip.MustParsePrefix("192.0.2.2/32"), netip.MustParsePrefix("198.51.100.0/24")}) {
		t.Errorf("trusted are %v", got)
	}
	if http, ws := s.PublicScheme(); http != "https" || ws != "wss" || s.AdminScheme() != "http" || len(s.Limits.Exempt) != 0 {
		t.Errorf("%s %s %+v", http, ws, s.Limits.Exempt)
	}
}
