package socket

import (
	"context"
	"sync"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// ground is what sign-ins of a test rest on. By default it is there.
type ground struct {
	mu   sync.Mutex
	gone bool
	held map[int]func()
	next int
}

func newGround() *ground { return &ground{held: make(map[int]func())} }

func (g *ground) Hold(_ context.Context, end func()) (func(), error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.gone {
		return nil, &apps.Refusal{Code: wire.CodeTokenExpired, Reason: "gone"}
	}
	g.next++
	n := g.next
	g.held[n] = end
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		if g.held[n] == nil {
			panic("it is let go twice")
		}
		delete(g.held, n)
	}, nil
}

// holds returns how many sessions rest on it.
func (g *ground) holds() int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.held)
}

// take takes it away from under all.
func (g *ground) take() {
	g.mu.Lock()
	g.gone = true
	var ends []func()
	for _, end := range g.held {
		ends = append(ends, end)
	}
	g.mu.Unlock()
	for _, end := range ends {
		end()
	}
}

// on has all sign-ins rest on a ground.
func (r *rig) on(g *ground) {
	r.gate.set(func(_ context.Context, a wire.Auth) (apps.Grant, error) {
		return apps.Grant{User: a.User, Ground: g}, nil
	})
}

func TestASessionEndsWithWhatItRestsOn(t *testing.T) {
	r := newRig(t)
	g := newGround()
	r.on(g)
	p := r.join("ANZ-7", "")
	if g.holds() != 1 {
		t.Errorf("%d are held", g.holds())
	}
	g.take()
	if reason := p.closed(wire.CloseNotAuthentic); reason != revoked {
		t.Errorf("the reason is %q", reason)
	}
	r.expect("close ANZ-7")
	r.wait("it is let go", func() bool { return g.holds() == 0 })
}

func TestWhatIsGoneByTheTimeOfTheSignInLetsNobodyIn(t *testing.T) {
	r := newRig(t)
	g := newGround()
	g.gone = true
	r.on(g)
	p := r.dial()
	p.send(auth("ANZ-7", ""))
	p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"ANZ-7","isAuthenticated":false,"code":"TOKEN_EXPIRED","reason":"gone"}}`)
	p.closed(wire.CloseNotAuthentic)
	r.quiet()
}

func TestASessionThatIsRenewedRestsOnTheNewGroundAlone(t *testing.T) {
	r := newRig(t)
	first, second := newGround(), newGround()
	r.on(first)
	p := r.join("ANZ-7", "")
	r.on(second)
	p.signIn("ANZ-7", "")
	if first.holds() != 0 || second.holds() != 1 {
		t.Errorf("%d rest on the first, %d on the second", first.holds(), second.holds())
	}
	first.take()
	p.settledDown()
	p.write(frame(finClose, []byte{0x03, 0xe8}))
	p.closed(wire.CloseNormal)
	r.expect("close ANZ-7")
	r.wait("it is let go", func() bool { return second.holds() == 0 })
}

func TestATokenThatComesWithTheHandshakeSignsIn(t *testing.T) {
	shown := func(token string) wire.Auth {
		if token == "nonsense" {
			return wire.Auth{}
		}
		return wire.Auth{AppID: "app-id-343", User: "ANZ-7", UserText: "ANZ-7", Token: token}
	}
	r := newRig(t, func(o *Options) { o.Shown = shown })
	r.gate.set(func(_ context.Context, a wire.Auth) (apps.Grant, error) {
		if a.Token != "good" {
			return apps.Grant{}, &apps.Refusal{Code: wire.CodeBadToken, Reason: "no."}
		}
		return apps.Grant{User: a.User}, nil
	})
	p := r.dial("Authorization: Bearer good")
	p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"ANZ-7","isAuthenticated":true}}`)
	r.expect("open ANZ-7")
	p.settledDown()

	p = r.dial("Authorization: Bearer bad")
	p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"ANZ-7","isAuthenticated":false,"code":"BAD_TOKEN","reason":"no."}}`)
	p.closed(wire.CloseNotAuthentic)

	p = r.dial("authorization: bearer nonsense")
	p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"","userId":"","isAuthenticated":false,"code":"BAD_TOKEN","reason":"The token is not one of this server."}}`)
	p.closed(wire.CloseNotAuthentic)

	for _, header := range []string{"Authorization: Basic Z29vZA==", "Authorization: Bearer ", "Accept: */*"} { // nothing is shown
		r.dial(header).settledDown()
	}
}

func TestWithoutAnybodyToReadThemTokensOfTheHandshakeArePassedOver(t *testing.T) {
	r := newRig(t)
	p := r.dial("Authorization: Bearer good")
	p.settledDown()
	p.signIn("ANZ-7", "")
}
