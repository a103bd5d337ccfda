package socket

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestWhoIsNotSignedInIsToldSoUntilTheDeadline(t *testing.T) {
	r := newRig(t)
	p := r.dial()
	p.send(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":1}}`)
	p.text(`{"type":"AUTH_REQUIRED","data":{}}`)
	p.send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST"}`)
	p.text(`{"type":"AUTH_REQUIRED","data":{}}`)
	p.send(`{"type":"NONSENSE"}`)
	p.fails("INVALID_MESSAGE", "UNKNOWN_TYPE")
	p.send(`{"type":"AUTH_CLIENT","data":{"appId":"a"},"reference":"r"}`)
	p.fails("INVALID_MESSAGE", "MISSING_FIELD")
	r.advance(14900 * time.Millisecond)
	p.settledDown()
	r.advance(300 * time.Millisecond)
	p.closed(wire.CloseSignInTimeout)
	r.quiet()
}

func TestSignInMakesASession(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", `{"ack":true,"push":true,"presence":["ANZ-8"]}`)
	got := r.keeper.opened()
	if got.User != "ANZ-7" || got.TellMaster != "ANZ-1" || got.Master || !got.Ack || !got.Push {
		t.Errorf("the keeper was told %+v", got)
	}
	r.advance(20 * time.Second) // the sign-in deadline no longer counts
	p.settledDown()
	if n := r.counter("sessions"); n != 1 {
		t.Errorf("%v sessions", n)
	}
	p.write(frame(finClose, []byte{0x03, 0xe8}))
	p.closed(wire.CloseNormal)
	r.expect("close ANZ-7")
}

func TestReplyComesBeforeWhatIsSentDuringSignIn(t *testing.T) {
	r := newRig(t)
	r.keeper.onOpen = func(s mailbox.Session) {
		s.Outlet.Deliver(mailbox.Delivery{N: 1, Frame: number(1)})
		r.hub.Send(&delivery.Send{From: "ANZ-9", To: []wire.UserID{"ANZ-7"}, Content: []byte("2"), Fast: true})
	}
	p := r.dial()
	p.signIn("ANZ-7", "")
	p.text(string(number(1)))
	p.text(string(number(2)))
	if got := p.next(finPing); got != "1" {
		t.Errorf("ping %q", got)
	}
}

func TestRefusedSignInIsAnsweredAndClosed(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&apps.Refusal{Code: wire.CodeWrongAppID, Reason: "no."}, `"code":"WRONG_APP_ID","reason":"no."`},
		{errors.New("boom"), `"code":"HOOK_FAILED","reason":"the sign-in could not be decided"`},
	} {
		r := newRig(t)
		r.gate.set(func(context.Context, wire.Auth) (apps.Grant, error) { return apps.Grant{}, c.err })
		p := r.dial()
		p.send(auth("ANZ-7", ""))
		p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"ANZ-7","isAuthenticated":false,` + c.want + `}}`)
		p.closed(wire.CloseNotAuthentic)
		r.quiet()
	}
}

func TestBadUserIDIsARefusedSignIn(t *testing.T) {
	r := newRig(t)
	p := r.dial()
	p.send(auth("nobody", ""))
	p.fails("AUTH_CLIENT_REPLY", "BAD_USER_ID")
	p.closed(wire.CloseNotAuthentic)
}

// slowGate answers when it is told to.
func slowGate(r *rig) (asked chan wire.Auth, answer chan error) {
	asked, answer = make(chan wire.Auth, 1), make(chan error)
	r.gate.set(func(ctx context.Context, a wire.Auth) (apps.Grant, error) {
		asked <- a
		select {
		case err := <-answer:
			return apps.Grant{User: a.User}, err
		case <-ctx.Done():
			return apps.Grant{}, ctx.Err()
		}
	})
	return asked, answer
}

func TestReaderGoesOnWhileTheGateIsAsked(t *testing.T) {
	r := newRig(t)
	asked, answer := slowGate(r)
	p := r.dial()
	p.send(auth("ANZ-7", ""))
	<-asked
	p.settledDown()
	p.send(auth("ANZ-7", ""))
	p.fails("GENERAL_ERROR", "BUSY")
	p.send(`{"type":"FETCH_MISSING_MESSAGES_REQUEST"}`)
	p.text(`{"type":"AUTH_REQUIRED","data":{}}`)
	answer <- nil
	p.text(`{"type":"AUTH_CLIENT_REPLY","data":{"appId":"app-id-343","userId":"ANZ-7","isAuthenticated":true}}`)
}

func TestDeadlineHoldsWhileTheGateIsAsked(t *testing.T) {
	r := newRig(t)
	asked, _ := slowGate(r)
	p := r.dial()
	p.send(auth("ANZ-7", ""))
	<-asked
	r.advance(16 * time.Second)
	p.next(finClose)
	r.stop()
	r.quiet()
}

func TestPeerThatLeavesEndsItsSignIn(t *testing.T) {
	r := newRig(t)
	ended := make(chan error, 1)
	asked := make(chan struct{})
	r.gate.set(func(ctx context.Context, _ wire.Auth) (apps.Grant, error) {
		close(asked)
		<-ctx.Done()
		ended <- ctx.Err()
		return apps.Grant{}, ctx.Err()
	})
	p := r.dial()
	p.send(auth("ANZ-7", ""))
	<-asked
	p.conn.Close()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Fatal("the attempt goes on")
	}
}

func TestSameUserRenewsItsSession(t *testing.T) {
	r := newRig(t)
	expiry := func(in time.Duration) {
		at := r.clock.Now().Add(in)
		r.gate.set(func(_ context.Context, a wire.Auth) (apps.Grant, error) {
			return apps.Grant{User: a.User, Expires: at}, nil
		})
	}
	expiry(5 * time.Second)
	p := r.dial()
	p.signIn("ANZ-7", `{"ack":true}`)
	r.advance(4 * time.Second)
	expiry(8 * time.Second)
	p.signIn("ANZ-7", "")
	r.advance(5 * time.Second)
	r.expect("open ANZ-7")
	p.settledDown()
	id := r.deliver(1, number(1))
	p.text(string(wire.AppendWithID(nil, number(1), id))) // the options are those of the first sign-in
	p.next(finPing)
	p.pong("1")
	r.expect("pass 1")
	r.advance(4 * time.Second)
	p.closed(wire.CloseTokenExpired)
	r.expect("close ANZ-7")
}

func TestRefusedRenewalEndsTheSession(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	r.gate.set(func(context.Context, wire.Auth) (apps.Grant, error) {
		return apps.Grant{}, &apps.Refusal{Code: wire.CodeTokenExpired, Reason: "late"}
	})
	p.send(auth("ANZ-7", ""))
	p.fails("AUTH_CLIENT_REPLY", "TOKEN_EXPIRED")
	p.closed(wire.CloseNotAuthentic)
	r.expect("close ANZ-7")
}

func TestOtherUserCannotTakeASession(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	for _, other := range []string{"ANZ-8", "nonsense"} {
		p.send(auth(other, ""))
		p.fails("GENERAL_ERROR", "ALREADY_SIGNED_IN")
	}
	p.settledDown()
}

func TestOneSessionTooManyIsRefused(t *testing.T) {
	r := newRig(t)
	for range 16 {
		r.join("ANZ-7", "")
	}
	p := r.dial()
	p.send(auth("ANZ-7", ""))
	p.fails("AUTH_CLIENT_REPLY", "TOO_MANY_SESSIONS")
	p.closed(wire.CloseTooManySessions)
	r.quiet()
}

func TestPresenceIsLimitedToWhomOneMayKnow(t *testing.T) {
	r := newRig(t, func(o *Options) {
		o.MayReach = func(from, to string) bool { return from == "ANZ" && to == "KIWI" }
	})
	r.limit(func(l *Limits) { l.PresenceWatch = 3 })
	p := r.dial()
	p.send(auth("ANZ-7", `{"presence":["ANZ-1","ANZ-2","ANZ-3","ANZ-4"]}`))
	p.fails("GENERAL_ERROR", "TOO_MANY")
	p.signIn("ANZ-7", `{"presence":["ANZ-1","KIWI-1","BIRD-1"]}`)
	data := p.fails("GENERAL_ERROR", "FORBIDDEN")
	if to, _ := data["to"].([]any); len(to) != 1 || to[0] != "BIRD-1" {
		t.Errorf("refused %v", data["to"])
	}
	r.expect("open ANZ-7")
	s := r.session()
	s.Presence("ANZ-1", true)
	p.text(`{"type":"USER_CONNECTED","data":{"userId":"ANZ-1"}}`)
	s.Presence("ANZ-1", false)
	p.text(`{"type":"USER_DISCONNECTED","data":{"userId":"ANZ-1"}}`)
}

func TestASessionSaysWhereItsClientIsAndSinceWhen(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	list := r.hub.Sessions("ANZ-7")
	if len(list) != 1 {
		t.Fatalf("listed %v", list)
	}
	s := list[0]
	if s.Address != p.conn.LocalAddr().String() || s.Transport != "websocket" || s.ID != r.session().ID() {
		t.Errorf("listed %+v", s)
	}
	r.joinPipe("ANZ-8")
	if list := r.hub.Sessions("ANZ-8"); len(list) != 1 || list[0].Address != "192.0.2.1:99" || list[0].Transport != "sse" {
		t.Errorf("listed %+v", list)
	}
	if now := r.srv.opts.Now(); now.Sub(s.Since) < 0 || now.Sub(s.Since) > time.Second {
		t.Errorf("since %s, it is %s", s.Since, now)
	}
}
