package socket

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// linkAuth signs in as the link user of domain-02.
func linkAuth(token, options string) string {
	return fmt.Sprintf(`{"type":"AUTH_CLIENT","data":{"appId":"link","userId":"domain2-1","token":%q,"options":%s}}`, token, options)
}

// forward is a FORWARD as it waits for a link.
func forward(f wire.Forward) []byte {
	f.Origin, f.From, f.To, f.Hops, f.Graph, f.Frame = "domain-01", "ANZ-1", []wire.UserID{"ANZ-2"}, 1, 17, []byte(`{"type":"MESSAGE"}`)
	return wire.AppendForward(nil, &f)
}

// linkUp signs in as a link.
func (r *rig) linkUp() *peer {
	r.t.Helper()
	p := r.dial()
	p.send(linkAuth("good", `{"link":true}`))
	p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"link","userId":"domain2-1","isAuthenticated":true}}`)
	r.expect("open domain2-1")
	r.wait("the session has begun", func() bool { return r.session().known() })
	return p
}

func TestALinkGetsWhatWaitsForItWithItsPlaceAndOnlyAcknowledges(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.LinkWindow = 300 << 10 })
	p := r.linkUp()
	if got := r.keeper.opened(); !got.Link || !got.Ack || !got.Push || got.Window != 300<<10 || got.TellMaster != "" || got.Master {
		t.Errorf("the keeper was told %+v", got)
	}
	if r.counter("sessions") != 0 || r.counter("link_sessions") != 1 {
		t.Errorf("%v sessions of users, %v of links", r.counter("sessions"), r.counter("link_sessions"))
	}
	id, err := wire.NewID(r.clock.Now(), &counting{n: 1})
	if err != nil {
		t.Fatal(err)
	}
	frame := forward(wire.Forward{})
	r.keeper.opened().Outlet.Deliver(mailbox.Delivery{N: 1, Ord: 7, Low: 5, Log: "a log", ID: id, Frame: frame})
	p.text(string(wire.AppendPlace(nil, frame, id, "a log", 7, 5)))
	p.next(finPing)

	for _, f := range []string{
		`{"type":"MESSAGE","data":{"to":"ANZ-2","content":1}}`,
		`{"type":"GROUP_MESSAGE","data":{"to":["ANZ-2"],"content":1}}`,
		`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":1}}`,
		`{"type":"CLOSE_CONNECTION","data":{"userId":"ANZ-2"}}`,
	} {
		p.send(f)
		p.fails("GENERAL_ERROR", "FORBIDDEN")
	}
	p.send(fmt.Sprintf(`{"type":"MESSAGE_ACK","data":{"id":"%s"}}`, id))
	r.expect("prove 1")
	p.send(linkAuth("good", `{"link":true}`)) // it is renewed
	p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"link","userId":"domain2-1","isAuthenticated":true}}`)
	p.send(linkAuth("good", `{}`))
	p.fails("GENERAL_ERROR", "ALREADY_SIGNED_IN")
	p.write(frameOfClose(wire.CloseNormal, ""))
	p.closed(wire.CloseNormal)
	r.expect("close domain2-1")
	r.wait("it is not counted any more", func() bool { return r.counter("link_sessions") == 0 })
}

func frameOfClose(code uint16, reason string) []byte {
	return frame(finClose, append([]byte{byte(code >> 8), byte(code)}, reason...))
}

func TestALinkThatMayNotSignInIsRefusedAndTheOperatorHearsOfIt(t *testing.T) {
	var log logged
	var told []string
	r := newRig(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.LinkLost = func(domain, why string) { told = append(told, domain+": "+why) }
	})
	try := func() {
		p := r.dial()
		p.send(linkAuth("bad", `{"link":true}`))
		p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"link","userId":"domain2-1","isAuthenticated":false,"code":"BAD_TOKEN","reason":"because"}}`)
		p.closed(wire.CloseNotAuthentic)
	}
	for range 5 { // anybody may
		try()
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 1 || !strings.Contains(text, "domain=domain-02") {
		t.Errorf("logged:\n%s", text)
	}
	r.advance(11 * time.Second)
	try()
	if text := log.String(); strings.Count(text, "level=WARN") != 2 {
		t.Errorf("logged after a while:\n%s", text)
	}
	if len(told) != 6 || told[0] != "domain-02: this domain does not let domain-02 in: BAD_TOKEN: because" {
		t.Errorf("told %q", told)
	}
}

func TestALinkThatConnectsAnewTakesThePlaceOfItsOldConnection(t *testing.T) {
	r := newRig(t)
	first := r.linkUp()
	second := r.dial()
	second.send(linkAuth("good", `{"link":true}`))
	second.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"link","userId":"domain2-1","isAuthenticated":true}}`)
	first.closed(wire.CloseRestart)
	r.wait("one is left", func() bool { return r.counter("link_sessions") == 1 })
}

func TestWhyALinkWasClosedIsLoggedAndTold(t *testing.T) {
	var log logged
	told := make(chan string, 10)
	r := newRig(t, func(o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.LinkLost = func(domain, why string) { told <- domain + ": " + why }
	})
	p := r.linkUp()
	p.write(frameOfClose(wire.ClosePolicy, "no good FORWARD"))
	p.closed(wire.ClosePolicy)
	r.expect("close domain2-1")
	if text := log.String(); !strings.Contains(text, "no good FORWARD") || !strings.Contains(text, "code=1008") || !strings.Contains(text, "down") ||
		strings.Count(text, "domain=domain-02") != 2 || strings.Contains(text, "user=") {
		t.Errorf("logged:\n%s", text)
	}
	if why := <-told; why != "domain-02: domain-02 closed the link: 1008 no good FORWARD" {
		t.Errorf("told %q", why)
	}
}

func TestFastFramesForALinkHaveRoomBesideItsWindow(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.LinkWindow, l.QueueBytes, l.QueueFrames = 256<<10, 256<<10, 16 })
	r.linkUp()
	s := r.session()
	s.mu.Lock()
	s.hold() // nothing is written
	s.mu.Unlock()
	for n := range 200 { // far more frames than one session may have wait, in the window
		id, err := wire.NewID(r.clock.Now(), &counting{n: uint64(n)})
		if err != nil {
			t.Fatal(err)
		}
		r.keeper.opened().Outlet.Deliver(mailbox.Delivery{N: uint64(n + 1), Ord: uint64(n + 1), Low: 1, Log: "a log", ID: id, Frame: message(1000)})
	}
	fast := forward(wire.Forward{Fast: true})
	if !s.Fast(fast, nil) {
		t.Error("no room for a FAST frame")
	}
	for s.Fast(fast, nil) {
	}
	s.mu.Lock()
	bytes := s.queue.bytes()
	s.release()
	s.mu.Unlock()
	if bytes > 512<<10 {
		t.Errorf("%d bytes wait", bytes)
	}
}

func TestAUserOfAnotherDomainIsToldWhereToConnect(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.HomeURL = func(domain string) string { return map[string]string{"domain-02": "wss://d2.example.org/ws"}[domain] }
	})
	for domain, home := range map[string]string{"domain-02": `,"home":"wss://d2.example.org/ws"`, "domain-03": "", "": ""} {
		r.gate.set(func(context.Context, wire.Auth) (apps.Grant, error) {
			return apps.Grant{}, &apps.Refusal{Code: wire.CodeWrongDomain, Reason: "elsewhere", Home: domain}
		})
		p := r.dial()
		p.send(`{"type":"AUTH_CLIENT","data":{"appId":"a","userId":"ANZ-7","token":"t"}}`)
		p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"a","userId":"ANZ-7","isAuthenticated":false,"code":"WRONG_DOMAIN","reason":"elsewhere"` + home + `}}`)
		p.closed(wire.CloseNotAuthentic)
		r.wait("the session is gone", func() bool { return r.counter("connections") == 0 })
	}
}

// logged is what was logged.
type logged struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
