package nodetest

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/seed-3d8c1042/switchboard/client"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// overTLS signs a user in with the Go client at wss://.
func overTLS(t *testing.T, s *Server, trust *tls.Config, user string, got chan<- string) *client.Client {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	c, err := client.Dial(ctx, client.Options{
		URL: "wss://" + s.Addr + "/ws", AppID: "app-id-343", UserID: wire.UserID(user), TLS: trust, NoReconnect: true,
		OnMessage: func(_ context.Context, m client.Message) error {
			got <- string(m.Content)
			return nil
		},
	})
	if err != nil {
		t.Fatalf("%v\n%s", err, s.Output())
	}
	t.Cleanup(c.Close)
	return c
}

// shaker makes handshakes, one after the other, until it is to stop.
type shaker struct {
	made   atomic.Int64
	serial atomic.Int64 // of the certificate that was shown last
	failed atomic.Pointer[string]
}

func (h *shaker) run(ctx context.Context, addr string, trust *tls.Config) {
	for ctx.Err() == nil {
		conn, err := (&tls.Dialer{Config: trust}).DialContext(ctx, "tcp", addr)
		if err == nil {
			h.serial.Store(conn.(*tls.Conn).ConnectionState().PeerCertificates[0].SerialNumber.Int64())
			err = ask(conn, addr)
			conn.Close()
		}
		if err != nil && ctx.Err() == nil {
			text := err.Error()
			h.failed.Store(&text)
			return
		}
		h.made.Add(1)
	}
}

// ask makes a request on a connection.
func ask(conn io.ReadWriter, host string) error {
	if _, err := fmt.Fprintf(conn, "GET /healthz HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host); err != nil {
		return err
	}
	answer, err := io.ReadAll(conn)
	if err == nil && !strings.HasPrefix(string(answer), "HTTP/1.1 200 ") {
		err = fmt.Errorf("it answers %q", answer)
	}
	return err
}

// behindLinks moves a certificate and its key into a folder behind a link, as Kubernetes
// keeps secrets, and returns where they are now. replace issues another one into a folder
// of its own, and has the link lead there.
func behindLinks(t *testing.T, authority *Authority, cert, key string) (folder, linkedCert, linkedKey string, replace func() (serial int64)) {
	t.Helper()
	mount := t.TempDir()
	link := func(to, name string) {
		if err := os.Symlink(to, filepath.Join(mount, "new")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(mount, "new"), filepath.Join(mount, name)); err != nil {
			t.Fatal(err)
		}
	}
	into := func() string {
		folder := t.TempDir()
		for file, name := range map[string]string{cert: "tls.crt", key: "tls.key"} {
			if err := os.Rename(file, filepath.Join(folder, name)); err != nil {
				t.Fatal(err)
			}
		}
		return folder
	}
	folder = into()
	link(folder, "..data")
	link("..data/tls.crt", "tls.crt")
	link("..data/tls.key", "tls.key")
	return folder, filepath.Join(mount, "tls.crt"), filepath.Join(mount, "tls.key"), func() int64 {
		serial := authority.Issue(t, "chat.example", cert, key)
		link(into(), "..data")
		return serial
	}
}

// Certificates are replaced, a file at a time or a folder at once, while clients come and
// go: none of them notices, and who is there stays.
func TestCertificatesAreReplacedUnderLoadWithoutAFailedHandshake(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	authority := NewAuthority(t)
	first, firstKey := authority.Pair(t, "chat.example")
	folder, cert, key, replace := behindLinks(t, authority, first, firstKey)
	s := startWith(t, plainApp+fmt.Sprintf("tls: {cert: %q, key: %q}\nadminTLS: {cert: %q, key: %q}\n", cert, key, cert, key))
	if out := s.Output(); !strings.Contains(out, "console   https://") || !strings.Contains(out, "socket    wss://") || !strings.Contains(out, "admin     https://") {
		t.Errorf("it says\n%s", out)
	}
	got := make(chan string, 10)
	stays := overTLS(t, s, authority.Trust(), "ANZ-1", got)
	ctx, stop := context.WithCancel(t.Context())
	var h shaker
	var running sync.WaitGroup
	defer running.Wait()
	defer stop()
	for i := range 4 {
		addr := []string{s.Addr, s.Admin}[i%2]
		running.Go(func() { h.run(ctx, addr, authority.Trust()) })
	}
	for i := range 3 {
		var serial int64
		if i == 2 {
			serial = replace()
		} else {
			serial = authority.Issue(t, "chat.example", filepath.Join(folder, "tls.crt"), filepath.Join(folder, "tls.key"))
		}
		if i == 1 {
			s.Signal(syscall.SIGHUP)
			Eventually(t, "the settings are read again", func() bool { return strings.Contains(s.Output(), "settings read again") })
		}
		Eventually(t, "the new certificate is shown", func() bool { return h.serial.Load() == serial || h.failed.Load() != nil })
	}
	made := h.made.Load()
	Eventually(t, "some more handshakes are made", func() bool { return h.made.Load() > made+50 || h.failed.Load() != nil })
	if failed := h.failed.Load(); failed != nil {
		t.Fatalf("a handshake failed: %s\n%s", *failed, s.Output())
	}
	if err := stays.Send(ctx, "ANZ-1", "still there"); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != `"still there"` {
		t.Errorf("got %s", text)
	}
	if out := s.Output(); strings.Contains(out, "level=ERROR") {
		t.Errorf("logged:\n%s", out)
	}
}

func TestOneTLSListenerTakesHTTP2AndWebSockets(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	authority := NewAuthority(t)
	cert, key := authority.Pair(t, "chat.example")
	s := startWith(t, plainApp+fmt.Sprintf("tls: {cert: %q, key: %q}\n", cert, key))
	web := &http.Client{Transport: &http.Transport{TLSClientConfig: authority.Trust(), ForceAttemptHTTP2: true}}
	defer web.CloseIdleConnections()
	_, adminKey := s.NewKey(`{"admin":true}`)
	a := s.call(web, "https://"+s.Addr, http.MethodPost, "/v1/messages", adminKey, `{"from":"ANZ-7","to":"ANZ-1","content":"by HTTP/2"}`, nil)
	if a.Status != http.StatusCreated {
		t.Fatalf("%d %s", a.Status, a.Body)
	}
	res, err := web.Get("https://" + s.Addr + "/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != http.StatusOK {
		t.Errorf("the console comes by %s: %s", res.Proto, res.Status)
	}
	got := make(chan string, 1)
	c := overTLS(t, s, authority.Trust(), "ANZ-1", got)
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	if _, err := c.FetchMissing(ctx, 10); err != nil {
		t.Fatal(err)
	}
	if text := <-got; text != `"by HTTP/2"` {
		t.Errorf("got %s", text)
	}
	if s.Metric(`switchboard_tls_expires_timestamp_seconds{listener="public"}`) == 0 {
		t.Error("nobody knows when the certificate expires")
	}
	if res, err := http.Get("http://" + s.Addr + "/"); err == nil && res.StatusCode == http.StatusOK {
		t.Error("it talks in clear, too")
	}
}

func TestOperatorsShowACertificateWhereOneIsAskedFor(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	servers, operators := NewAuthority(t), NewAuthority(t)
	cert, key := servers.Pair(t, "admin.example")
	s := startWith(t, plainApp+fmt.Sprintf("adminTLS: {cert: %q, key: %q, clientCA: %q}\n", cert, key, operators.File))
	for _, test := range []struct {
		of   *Authority
		want bool
	}{{operators, true}, {servers, false}, {nil, false}} {
		trust := servers.Trust()
		if test.of != nil {
			certFile, keyFile := test.of.Pair(t, "operator")
			pair, err := tls.LoadX509KeyPair(certFile, keyFile)
			if err != nil {
				t.Fatal(err)
			}
			trust.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		web := &http.Client{Transport: &http.Transport{TLSClientConfig: trust, DisableKeepAlives: true}}
		res, err := web.Get("https://" + s.Admin + "/metrics")
		if err == nil {
			res.Body.Close()
		}
		if (err == nil) != test.want {
			t.Errorf("with a certificate of %p: %v", test.of, err)
		}
	}
}

// A link comes up by wss with the neighbour's certificate, and not without it or with
// another domain's.
func TestALinkIsRefusedWithoutTheNeighboursCertificate(t *testing.T) {
	t.Parallel()
	authority := NewAuthority(t)
	public, publicKey := authority.Pair(t, "domains.example")
	own, ownKey := authority.Pair(t, "domain-02")
	f := StartFederation(t, FederationOptions{Domains: 2, Later: []int{0, 1}, More: func(i int) string {
		text := fmt.Sprintf("tls: {cert: %q, key: %q, clientCA: %q}\n", public, publicKey, authority.File)
		mine, mineKey := authority.Pair(t, domainName(i))
		if i == 1 {
			mine, mineKey = own, ownKey
		}
		return text + fmt.Sprintf("links: {secret: %s, requireCertificate: true, tls: {cert: %q, key: %q, ca: %q}}\n", strings.Repeat("s", 32), mine, mineKey, authority.File)
	}})
	authority.Issue(t, "domain-03", own, ownKey) // the second shows another's
	f.Describe(func(n *Network) {
		for i, s := range f.Domains {
			n.URLs[i] = []string{"wss://" + s.Addr}
		}
	})
	Eventually(t, "the meta server says so", func() bool {
		_, body := get(t, "http://"+f.Meta.Addr+"/domains")
		return strings.Count(body, "wss://") == 2
	})
	for _, s := range f.Domains {
		s.Start()
	}
	Eventually(t, "the second is refused, and says why", func() bool {
		return strings.Contains(f.Domains[1].Output(), "wants to see a certificate with the neighbour's name")
	})
	authority.Issue(t, "domain-02", own, ownKey) // which it reads by itself
	f.LinksUp()
}
