package bus

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"log/slog"
	"math/big"
	"net"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// lines is a log that a test reads while it is written.
type lines struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

// has fails the test unless the log has some words in it.
func (l *lines) has(t testing.TB, words string) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	if !strings.Contains(l.buf.String(), words) {
		t.Errorf("it does not say %q:\n%s", words, l.buf.String())
	}
}

// comes waits until the log has a warning with some words in it.
func (l *lines) comes(t testing.TB, words string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		l.mu.Lock()
		all := l.buf.String()
		l.mu.Unlock()
		for line := range strings.Lines(all) {
			if strings.Contains(line, "level=WARN") && strings.Contains(line, words) {
				t.Log(strings.TrimSpace(line))
				return
			}
		}
	}
	t.Errorf("it does not say %q:\n%s", words, l.buf.String())
}

// A server that does not belong to the cluster is refused, and both sides say why.
func TestServersThatDoNotGoTogetherSaySo(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		change func(o *Cluster)
		here   string // what the cluster's server says
		there  string // what the other says
	}{
		"name":   {func(c *Cluster) { c.Name = "another" }, "its cluster has another name", "another server refuses this one: its cluster has another name"},
		"secret": {func(c *Cluster) { c.Secret = "wrong" }, "its cluster secret is another one", "its cluster secret or its version differs"},
		"node":   {func(c *Cluster) { c.Node = "n0" }, "same name in the cluster", "another server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs [2]lines
			n := planned(t, 2, func(i int, o *Options) {
				o.Logger = slog.New(slog.NewTextHandler(&logs[i], nil))
				o.Cluster.Replicas = 1
				o.StartTimeout = 15 * time.Second
				if i == 0 { // it is looked for, and looks for nobody
					o.Cluster.Peers = []string{o.Cluster.Listen}
				} else {
					c.change(o.Cluster)
				}
			})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for i := range 2 {
				wg.Go(func() {
					b, err := Open(ctx, n.options(i))
					if err == nil {
						t.Errorf("server %d formed a cluster", i)
						shut(t, b)
					}
				})
			}
			logs[0].comes(t, c.here)
			if name != "node" { // of which the one that is refused hears nothing but the end
				logs[1].comes(t, c.there)
			}
			cancel()
			wg.Wait()
		})
	}
}

func TestWhoFindsNoMajorityIsTold(t *testing.T) {
	t.Parallel()
	var log lines
	n := planned(t, 3, func(_ int, o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.StartTimeout = 7 * time.Second
	})
	_, err := Open(t.Context(), n.options(0))
	if err == nil || !strings.Contains(err.Error(), "no cluster has answered, and to form one all that are looked for must be there, 2 at least; there are n0; no other server is connected to this one: it took more than 7s") {
		t.Fatalf("got %v", err)
	}
	log.has(t, "waiting for the other servers: no cluster has answered")

	// It knows its cluster, and finds too few of it.
	c := formed(t, 3, func(_ int, o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.StartTimeout = 20 * time.Second
	})
	for i := range 3 {
		c.stop(i)
	}
	o := c.options(0)
	o.StartTimeout = 7 * time.Second
	_, err = Open(t.Context(), o)
	if err == nil || !strings.Contains(err.Error(), "has no leader for its streams; no other server is connected to this one: it took more than 7s") {
		t.Fatalf("got %v", err)
	}
	log.has(t, "waiting for a leader of the streams: more than half of the servers must be there")
}

func TestOpenSaysWhatIsWrongWithACluster(t *testing.T) {
	t.Parallel()
	good := Cluster{Name: "c", Node: "n", Listen: "127.0.0.1:0", Secret: "s", Replicas: 3, Peers: []string{"a:1"}}
	for name, change := range map[string]func(*Cluster){
		"Cluster.Name": func(c *Cluster) { c.Name = "" }, "Cluster.Node": func(c *Cluster) { c.Node = "a b" },
		"Cluster.Secret": func(c *Cluster) { c.Secret = "" }, "Cluster.Listen": func(c *Cluster) { c.Listen = "6222" },
		"Cluster.Peers": func(c *Cluster) { c.Peers = []string{"host"} }, "Cluster.Peers ": func(c *Cluster) { c.Peers = nil }, "Cluster.Replicas": func(c *Cluster) { c.Replicas = 0 },
		"Cluster.Election": func(c *Cluster) { c.Election = time.Millisecond },
	} {
		c := good
		change(&c)
		_, err := Open(t.Context(), Options{Folder: t.TempDir() + "/jetstream", Logger: testLogger(t), Cluster: &c})
		if err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	_, err := Open(t.Context(), Options{Logger: testLogger(t), Cluster: &good, External: &External{URL: "x"}, Folder: t.TempDir() + "/jetstream"})
	if err == nil {
		t.Error("took both")
	}
}

func TestAHostMeansAllItsAddressesOfOneKind(t *testing.T) {
	t.Parallel()
	c := &Cluster{Peers: []string{"one:1", "many:1", "both:1", "6.7.8.9:1", "none:1", "many:1"}, Secret: "s"}
	c.lookup = func(_ context.Context, host string) ([]string, error) {
		switch host {
		case "one":
			return []string{"1.1.1.1"}, nil
		case "many":
			return []string{"1.1.1.2", "1.1.1.3", "fd00::1"}, nil
		case "both":
			return []string{"::1", "127.0.0.1"}, nil
		}
		return nil, errors.New("no such host")
	}
	var hosts []string
	for _, u := range c.routes(t.Context(), []string{"1.1.1.9:1"}) {
		hosts = append(hosts, u.Host)
	}
	if got, want := strings.Join(hosts, " "), "1.1.1.2:1 1.1.1.3:1 1.1.1.9:1 6.7.8.9:1 both:1 none:1 one:1"; got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

// Servers that know each other by one name only find each other, also those that
// come later, and those that have moved.
func TestServersFindEachOtherByTheNameOfThemAll(t *testing.T) {
	t.Parallel()
	_, port, err := net.SplitHostPort(freePort(t))
	must(t, err)
	var mu sync.Mutex
	known := []string{"127.0.0.2", "127.0.0.3"}
	lookup := func(context.Context, string) ([]string, error) {
		mu.Lock()
		defer mu.Unlock()
		return known, nil
	}
	addresses := []string{"127.0.0.2", "127.0.0.3", "127.0.0.4"}
	n := planned(t, 3, func(i int, o *Options) {
		o.Cluster.Listen = net.JoinHostPort(addresses[i], port)
		o.Cluster.Peers = []string{net.JoinHostPort("switchboard.test", port)}
		o.Cluster.lookup = lookup
		if i < 2 {
			o.Cluster.Advertise = "127.0.0.1:1" // so that only names help
		} else {
			// It knows nobody: it must be found.
			o.Cluster.Peers = []string{o.Cluster.Listen}
		}
	})
	n.start(0, 1)
	fill(t, shardLog(t, n.bus[0], 0), 0, 5, 100)
	mu.Lock()
	known = addresses
	mu.Unlock()
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.start(2)
	}()
	for _, b := range n.bus[:2] {
		e, err := b.engine()
		must(t, err)
		for {
			must(t, e.lookOnce(t.Context()))
			if len(e.given.Routes) == 3 {
				break
			}
		}
	}
	<-done
	wantLog(t, shardLog(t, n.bus[2], 0), 1, 5, 100)
	e, err := n.bus[0].engine()
	must(t, err)
	look := func(now ...string) int {
		mu.Lock()
		known = now
		mu.Unlock()
		must(t, e.lookOnce(t.Context()))
		return len(e.given.Routes)
	}
	if n := look(append(slices.Clone(addresses), "127.0.0.9")...); n != 4 {
		t.Errorf("it looks at %d addresses", n)
	}
	if n := look(addresses[:2]...); n != 4 {
		t.Errorf("of addresses that were missing once %d remain", n)
	}
	for range forgetAfter {
		look(addresses[:2]...)
	}
	if slices.ContainsFunc(e.given.Routes, func(u *url.URL) bool { return u.Hostname() == "127.0.0.9" }) {
		t.Error("it forgets nobody")
	}
}

func TestServersTalkByTLSAndRefuseWhoHasNoCertificate(t *testing.T) {
	t.Parallel()
	ca, cert := authority(t)
	with := &tls.Config{Certificates: []tls.Certificate{cert}, RootCAs: ca, MinVersion: tls.VersionTLS13}
	n := formed(t, 2, func(_ int, o *Options) {
		o.Cluster.Replicas, o.Cluster.TLS = 1, with
	})
	l := shardLog(t, n.bus[0], 0)
	fill(t, l, 0, 5, 100)
	wantLog(t, shardLog(t, n.bus[1], 0), 1, 5, 100)
	c, err := tls.Dial("tcp", n.listen[0], &tls.Config{RootCAs: ca, MinVersion: tls.VersionTLS13})
	if err == nil {
		defer c.Close()
		must(t, c.SetDeadline(time.Now().Add(10*time.Second)))
		_, err = c.Read(make([]byte, 1)) // the server speaks first, in clear; a stranger gets no further
	}
	if err == nil {
		t.Error("it talks to somebody without a certificate")
	}
}

// Where one server has TLS and the other has not, or one has a certificate that is not
// good any more, both say so, whichever of them it is that calls the other.
func TestServersWhoseTLSDoesNotGoTogetherSaySo(t *testing.T) {
	t.Parallel()
	ca, cert := authority(t)
	_, old := authorityUntil(t, time.Now().Add(-time.Hour))
	_, foreign := authority(t)
	ca.AddCert(old.Leaf)
	with := func(c tls.Certificate) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{c}, RootCAs: ca, MinVersion: tls.VersionTLS13}
	}
	good := with(cert)
	for name, c := range map[string]struct {
		called, calls       *tls.Config
		theCalled, theOther string // what each says
	}{
		"it is called without":        {good, nil, "this one has cluster.tls and the other one has not", "with cluster.tls on one all need it"},
		"it calls without":            {nil, good, "it did not sign in as one does without cluster.tls", "this one has cluster.tls and the other one has not"},
		"the caller's has expired":    {good, with(old), "the other one's certificate has expired", "this node's own certificate (cluster.tls) has expired"},
		"the called's has expired":    {with(old), good, "does not take this one's certificate, which has expired", "the other one's certificate has expired"},
		"the caller is of another CA": {good, with(foreign), "certificates of the cluster do not go together", "each with a certificate that the other's CA has signed"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var logs [2]lines
			n := planned(t, 2, func(i int, o *Options) {
				o.Logger = slog.New(slog.NewTextHandler(&logs[i], nil))
				o.Cluster.Replicas, o.Cluster.TLS = 1, []*tls.Config{c.called, c.calls}[i]
				if i == 0 {
					o.Cluster.Peers = []string{"127.0.0.1:1"} // it calls nobody
				}
			})
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			for i := range 2 {
				wg.Go(func() {
					if b, err := Open(ctx, n.options(i)); err == nil {
						t.Errorf("server %d formed a cluster", i)
						shut(t, b)
					}
				})
			}
			logs[0].comes(t, c.theCalled)
			logs[1].comes(t, c.theOther)
			cancel()
			wg.Wait()
		})
	}
}

// authority makes a certificate for 127.0.0.1 and the authority to check it.
func authority(t *testing.T) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	return authorityUntil(t, time.Now().Add(time.Hour))
}

// authorityUntil is authority with a certificate that is good until some time.
func authorityUntil(t *testing.T, end time.Time) (*x509.CertPool, tls.Certificate) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	is := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "switchboard"},
		NotBefore: time.Now().Add(-2 * time.Hour), NotAfter: end,
		IsCA: true, BasicConstraintsValid: true, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage:    x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, is, is, &key.PublicKey, key)
	must(t, err)
	leaf, err := x509.ParseCertificate(der)
	must(t, err)
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return pool, tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// A server of a cluster deletes what it takes for left over.
func TestAServerLeavesTheFolderOfAnotherAlone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	b := open(t, dir)
	fill(t, shardLog(t, b, 0), 0, 5, 100)
	shut(t, b)
	n := planned(t, 2, func(_ int, o *Options) { o.Cluster.Replicas = 1 })
	o := n.options(0)
	o.Folder = dir + "/jetstream"
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "says whose they are: if they are of a server that was alone") {
		t.Fatalf("got %v", err)
	}
	wantLog(t, shardLog(t, open(t, dir), 0), 1, 5, 100)

	n.start(0, 1)
	n.stop(0)
	for _, change := range []func(o *Options){
		func(o *Options) { o.Cluster.Node = "renamed" }, func(o *Options) { o.Cluster.Name = "renamed" }, func(o *Options) { o.Cluster = nil },
	} {
		o := n.options(0)
		change(&o)
		if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "is of another server") {
			t.Fatalf("got %v", err)
		}
	}
	n.start(0)
}
