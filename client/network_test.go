package client_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lxzan/gws"
	"github.com/seed-3d8c1042/switchboard/client"
)

// listen makes the server listen on a real port, with TLS, and returns options
// for it.
func (s *server) listen(t *testing.T, l *log) client.Options {
	t.Helper()
	h := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" {
			http.Error(w, "not here", http.StatusForbidden)
			return
		}
		p := &peer{t: t, header: r.Header, frames: make(chan string, 1000), pongs: make(chan string, 1000), closed: make(chan error, 1)}
		var err error
		p.Conn, err = gws.NewUpgrader(p, &gws.ServerOption{PermessageDeflate: gws.PermessageDeflate{Enabled: true, Threshold: 1024}}).Upgrade(w, r)
		if err != nil {
			return
		}
		s.peers <- p
		p.ReadLoop()
	}))
	t.Cleanup(h.Close)
	o := s.options(l)
	roots := x509.NewCertPool()
	roots.AddCert(h.Certificate())
	o.URL, o.Dialer, o.TLS = "wss"+strings.TrimPrefix(h.URL, "https")+"/ws", nil, &tls.Config{RootCAs: roots, ServerName: "example.com"}
	return o
}

func TestOverTLSWithCompression(t *testing.T) {
	s, l := newServer(t), newLog()
	o := s.listen(t, l)
	o.Compress, o.Header = true, http.Header{"Origin": {"https://example.org"}}
	o.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	c, p := dial(t, s, o)
	if got := p.header.Get("Origin"); got != "https://example.org" {
		t.Errorf("origin %q", got)
	}
	if got := p.header.Get("Sec-WebSocket-Extensions"); !strings.Contains(got, "permessage-deflate") {
		t.Errorf("extensions %q", got)
	}
	long := `"` + strings.Repeat("0123456789", 3000) + `"`
	if err := c.Send(t.Context(), "ANZ-2", json.RawMessage(long)); err != nil {
		t.Fatal(err)
	}
	p.expect(long)
	p.send(`{"type":"MESSAGE","data":{"from":"ANZ-2","content":` + long + `}}`)
	l.expect(t, "message ANZ-2 "+long+" ")
}

func TestAServerThatIsNotTrustedIsNotSpokenTo(t *testing.T) {
	s := newServer(t)
	o := s.listen(t, newLog())
	o.TLS = nil
	_, err := client.Dial(t.Context(), o)
	var unknown *tls.CertificateVerificationError
	if !errors.As(err, &unknown) {
		t.Errorf("got %v", err)
	}
}

func TestAHandshakeThatIsRefusedIsReported(t *testing.T) {
	s := newServer(t)
	o := s.listen(t, newLog())
	o.URL = strings.TrimSuffix(o.URL, "/ws") + "/other"
	if _, err := client.Dial(t.Context(), o); err == nil || !strings.Contains(err.Error(), "403") {
		t.Errorf("got %v", err)
	}
}

// What is acknowledged last must arrive, though the server is sending: a socket
// that is closed with bytes unread would reset the connection.
func TestTheLastAcknowledgementArrives(t *testing.T) {
	for range 20 {
		s, l := newServer(t), newLog()
		o := s.listen(t, l)
		o.Ack = true
		g := newGate(&o)
		c, p := dial(t, s, o)
		flood := make(chan struct{})
		p.send(ids(1, 1)...)
		<-g.entered
		go func() {
			defer close(flood)
			for p.WriteString(`{"type":"NEWS","data":{"x":"`+strings.Repeat("x", 10_000)+`"}}`) == nil {
			}
		}()
		closed := make(chan struct{})
		go func() {
			c.Close()
			close(closed)
		}()
		g.leave <- nil
		p.expect(ack(1))
		if code := p.expectClose(); code != 1000 {
			t.Errorf("closed with %d", code)
		}
		<-closed
		<-flood
	}
}

func TestAServerThatDoesNotReadIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, l := newServer(t), newLog()
		o := s.options(l)
		logStates(&o, l)
		c, p := dial(t, s, o)
		l.expect(t, "connected")
		for range cap(p.frames) + 1 {
			if err := c.Send(t.Context(), "ANZ-2", "x"); err != nil {
				t.Fatal(err)
			}
		}
		start := time.Now()
		go func() { l.add("sent: %v", c.Send(t.Context(), "ANZ-2", "stuck")) }()
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := c.Send(ctx, "ANZ-2", "behind it"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
		for range 2 {
			got := <-l.lines
			if !strings.HasPrefix(got, "sent: client: not connected: ") && !strings.HasPrefix(got, "disconnected: ") {
				t.Errorf("got %s", got)
			}
		}
		if took := time.Since(start); took < 10*time.Second || took > 25*time.Second {
			t.Errorf("it took %v", took)
		}
		for len(p.frames) > 0 {
			<-p.frames
		}
		s.welcome()
	})
}
