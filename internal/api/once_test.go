package api

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const things = "/v1/users/ANZ-7/things"

// counted is a call that says how often it was carried out.
func counted(n *atomic.Int64) Call {
	return thingCall(func(_ context.Context, _ Identity, q thing) (thingAnswer, error) {
		return thingAnswer{Said: fmt.Sprint(n.Add(1), " ", q.Body.To)}, nil
	})
}

func TestARepeatWithAnIdempotencyKeyGetsTheSameAnswer(t *testing.T) {
	var n atomic.Int64
	x := newWorld(t, counted(&n))
	key, good := with(x.key("ANZ", keys.MessagesSend)), body(`{"to":"ANZ-1"}`)
	first, text := ask(t, x.h, "POST", things, key, good, header(onceHeader, "k1"))
	if first.Header.Get(replayHeader) != "" {
		t.Errorf("%v", first.Header)
	}
	again, repeated := ask(t, x.h, "POST", things, key, good, header(onceHeader, "k1"))
	if again.StatusCode != 201 || repeated != text || again.Header.Get(replayHeader) != "true" || again.Header.Get("Content-Type") != "application/json" || n.Load() != 1 {
		t.Errorf("%d %v %s, carried out %d times", again.StatusCode, again.Header, repeated, n.Load())
	}
	if again.Header.Get("RateLimit-Remaining") == first.Header.Get("RateLimit-Remaining") {
		t.Error("a repeat is not counted")
	}
	// Another key, of the same app, is the same sender; another app's is not.
	if again, _ := ask(t, x.h, "POST", things, with(x.key("ANZ", keys.MessagesSend)), good, header(onceHeader, "k1")); again.Header.Get(replayHeader) != "true" {
		t.Error("another key of the app")
	}
	wantStatus(t, x.h, 201, "POST", things, with(x.key("")), good, header(onceHeader, "k1"), func(r *http.Request) { r.URL.RawQuery = "app=ANZ" })
	wantStatus(t, x.h, 201, "POST", things, key, good, header(onceHeader, "k2"))
	wantStatus(t, x.h, 201, "POST", things, key, good)
	wantStatus(t, x.h, 201, "POST", things, key, good)
	if n.Load() != 5 {
		t.Errorf("carried out %d times", n.Load())
	}
	if got := testutil.ToFloat64(x.v1.counters.replayed); got != 2 {
		t.Errorf("%v repeats were counted", got)
	}
	x.now = x.now.Add(10 * time.Minute)
	wantStatus(t, x.h, 201, "POST", things, key, good, header(onceHeader, "k1"))
	if n.Load() != 6 {
		t.Error("an answer was not forgotten in time")
	}
}

func TestAnotherRequestWithTheSameIdempotencyKeyIsRefused(t *testing.T) {
	var n atomic.Int64
	x := newWorld(t, counted(&n))
	key := with(x.key("ANZ", keys.MessagesSend, keys.KeysManage))
	once := header(onceHeader, "k1")
	wantStatus(t, x.h, 201, "POST", things, key, body(`{"to":"ANZ-1"}`), once)
	x.refused(422, CodeMismatch, "POST", things, key, body(`{"to":"ANZ-2"}`), once)
	x.refused(422, CodeMismatch, "POST", things, key, body(`{"to": "ANZ-1"}`), once)
	x.refused(422, CodeMismatch, "POST", things+"?n=1", key, body(`{"to":"ANZ-1"}`), once)
	x.refused(422, CodeMismatch, "POST", "/v1/users/ANZ-8/things", key, body(`{"to":"ANZ-1"}`), once)
	x.refused(422, CodeMismatch, "DELETE", "/v1/keys/nobody", key, once)
	if n.Load() != 1 {
		t.Errorf("carried out %d times", n.Load())
	}
	for _, bad := range []string{"", " ", "a b", "ä", "a\x7f", strings.Repeat("k", maxOnceKey+1)} {
		if p := x.refused(400, CodeInvalidRequest, "POST", things, key, body(`{"to":"ANZ-1"}`), header(onceHeader, bad)); p["field"] != onceHeader {
			t.Errorf("%v", p)
		}
	}
	x.refused(400, CodeInvalidRequest, "POST", things, key, body(`{"to":"ANZ-1"}`), once, once)
	wantStatus(t, x.h, 201, "POST", things, key, body(`{"to":"ANZ-1"}`), header(onceHeader, strings.Repeat("k", maxOnceKey)))
}

func TestASecretIsGivenAgainOnlyToTheKeyThatGotIt(t *testing.T) {
	x := newWorld(t)
	o := options()
	o.V1 = x.v1
	control := NewControl(o)
	strong, weak := with(x.key("ANZ", keys.Scopes()...)), with(x.key("ANZ", keys.KeysManage))
	once, wish := header(onceHeader, "k"), body(`{"scopes":["messages:send"]}`)
	made := wantStatus(t, x.h, 201, "POST", "/v1/keys", strong, once, wish)
	again, text := ask(t, x.h, "POST", "/v1/keys", strong, once, wish)
	if text != made || again.Header.Get(replayHeader) != "true" {
		t.Errorf("who made it got %d %s", again.StatusCode, text)
	}
	if p := x.refused(403, CodeForbidden, "POST", "/v1/keys", weak, once, wish); p["field"] != "scopes" {
		t.Errorf("%v", p)
	}
	// Admin keys and the operator give to one another no more than that.
	wish = body(`{"admin":true}`)
	seen := map[string]bool{}
	for _, asks := range []struct {
		h   http.Handler
		key func(*http.Request)
	}{{x.h, with(x.key(""))}, {x.h, with(x.key(""))}, {control, func(*http.Request) {}}} {
		seen[wantStatus(t, asks.h, 201, "POST", "/v1/keys", asks.key, once, wish)] = true
		wantStatus(t, asks.h, 201, "POST", "/v1/keys", asks.key, once, wish)
	}
	if len(seen) != 3 {
		t.Errorf("%d keys were made", len(seen))
	}
	if n := testutil.ToFloat64(x.v1.counters.replayed); n != 4 {
		t.Errorf("%v repeats were counted", n)
	}
}

func TestWhatWasRefusedMayBeTriedAgainUnderItsKey(t *testing.T) {
	var fail error = &wire.Error{Code: wire.CodeMailboxFull, Reason: "full"}
	x := newWorld(t, thingCall(func(context.Context, Identity, thing) (thingAnswer, error) { return thingAnswer{}, fail }))
	key, good, once := with(x.key("ANZ", keys.MessagesSend)), body(`{"to":"ANZ-1"}`), header(onceHeader, "k")
	x.refused(409, wire.CodeMailboxFull, "POST", things, key, good, once)
	fail = nil
	wantStatus(t, x.h, 201, "POST", things, key, good, once)
	if len(x.v1.memory.known) != 1 {
		t.Errorf("%d are known", len(x.v1.memory.known))
	}
}

func TestARepeatWaitsForTheFirstWhichGoesOnWhenItsClientLeaves(t *testing.T) {
	var n atomic.Int64
	entered, leave := make(chan bool), make(chan bool)
	x := newWorld(t, thingCall(func(ctx context.Context, _ Identity, q thing) (thingAnswer, error) {
		entered <- true
		<-leave
		if q.Once == nil || q.Once.Print == 0 {
			t.Errorf("%+v", q.Once)
		}
		return thingAnswer{Said: fmt.Sprint(n.Add(1))}, ctx.Err()
	}))
	key, good, once := with(x.key("ANZ", keys.MessagesSend)), body(`{"to":"ANZ-1"}`), header(onceHeader, "k")
	left, goAway := context.WithCancel(t.Context())
	var all sync.WaitGroup
	all.Go(func() {
		wantStatus(t, x.h, 201, "POST", things, key, good, once, func(r *http.Request) { *r = *r.WithContext(left) })
	})
	<-entered
	goAway()
	for range 10 {
		all.Go(func() {
			if answer, text := ask(t, x.h, "POST", things, key, good, once); answer.StatusCode != 201 || answer.Header.Get(replayHeader) != "true" || !strings.Contains(text, `"said":"1"`) {
				t.Errorf("%d %s", answer.StatusCode, text)
			}
		})
	}
	// One that does not want to wait.
	short, cancel := context.WithCancel(t.Context())
	cancel()
	wantProblem(t, x.h, 503, wire.CodeBusy, "POST", things, key, good, once, func(r *http.Request) { *r = *r.WithContext(short) })
	close(leave)
	all.Wait()
	if n.Load() != 1 {
		t.Errorf("carried out %d times", n.Load())
	}
}

func TestARepeatOfWhatFailsIsCarriedOutAfterIt(t *testing.T) {
	var n atomic.Int64
	entered, leave := make(chan bool, 2), make(chan bool)
	x := newWorld(t, thingCall(func(context.Context, Identity, thing) (thingAnswer, error) {
		entered <- true
		<-leave
		switch n.Add(1) {
		case 1:
			panic("a bug")
		case 2:
			return thingAnswer{}, errors.New("another")
		}
		return thingAnswer{Said: "at last"}, nil
	}))
	key, good, once := with(x.key("ANZ", keys.MessagesSend)), body(`{"to":"ANZ-1"}`), header(onceHeader, "k")
	statuses := make(chan int, 3)
	var all sync.WaitGroup
	for range 3 {
		all.Go(func() {
			answer, _ := ask(t, x.h, "POST", things, key, good, once)
			statuses <- answer.StatusCode
		})
	}
	<-entered
	close(leave)
	all.Wait()
	sum := <-statuses + <-statuses + <-statuses
	if sum != 500+500+201 || n.Load() != 3 {
		t.Errorf("the statuses sum up to %d, carried out %d times", sum, n.Load())
	}
}

// someone is accounts of which one has an access token.
type someone struct{ Accounts }

func (someone) Verify(context.Context, string) (accounts.Holder, error) {
	return accounts.Holder{User: "ANZ-1"}, nil
}

func (someone) App() string { return "ANZ" }

func (someone) UserOf(int64) wire.UserID { return "ANZ-1" }

// Whatever users of chat have remembered, no answer of a backend's is forgotten for it.
func TestWhatUsersHaveRememberedPushesOutNoAnswerOfAKey(t *testing.T) {
	var n atomic.Int64
	mine := counted(&n)
	mine.Auth, mine.Scope, mine.Path = ByAccount, "", "/v1/accounts/{userId}/things"
	x := newWorld(t, counted(&n), mine)
	x.v1.opts.Rooms.Accounts = someone{}
	x.limits.Once.Keys = 3
	key, good := with(x.key("ANZ", keys.MessagesSend)), body(`{"to":"ANZ-1"}`)
	for range 2 {
		wantStatus(t, x.h, 201, "POST", things, key, good, header(onceHeader, "a"))
		for i := range 5 {
			for range 2 {
				wantStatus(t, x.h, 201, "POST", "/v1/accounts/ANZ-7/things", with("token"), good, header(onceHeader, fmt.Sprint("b", i)))
			}
		}
	}
	if n.Load() != 1+2*5 {
		t.Errorf("carried out %d times", n.Load())
	}
}

func TestWhatIsRememberedIsBounded(t *testing.T) {
	var n atomic.Int64
	size := 10
	x := newWorld(t, thingCall(func(context.Context, Identity, thing) (thingAnswer, error) {
		n.Add(1)
		return thingAnswer{Said: strings.Repeat("x", size)}, nil
	}))
	x.limits.Once.Keys = 3
	key, good := with(x.key("ANZ", keys.MessagesSend)), body(`{"to":"ANZ-1"}`)
	send := func(k string) bool {
		before := n.Load()
		wantStatus(t, x.h, 201, "POST", things, key, good, header(onceHeader, k))
		return n.Load() > before
	}
	for _, k := range []string{"a", "b", "c", "d"} {
		if !send(k) {
			t.Errorf("%s was not carried out", k)
		}
	}
	if send("b") || send("c") || send("d") {
		t.Error("what there is room for was forgotten")
	}
	if !send("a") || testutil.ToFloat64(x.v1.counters.forgotten) != 2 { // and b went for it
		t.Error("the oldest was not forgotten")
	}
	x.limits.Once = OnceLimits{Keys: 1000, Bytes: 10_000, Time: time.Minute}
	size = 4000
	for _, k := range []string{"e", "f", "g"} {
		send(k)
	}
	m := x.v1.memory
	if m.bytes > 10_000 || len(m.known) != len(m.oldest) || send("f") || !send("e") {
		t.Errorf("%d bytes, %d and %d answers", m.bytes, len(m.known), len(m.oldest))
	}
	size = 9900 // alone more than there may be
	for range 2 {
		if !send("h") {
			t.Error("a large answer was kept")
		}
	}
	if len(m.known) == 0 {
		t.Error("a large answer made all others go")
	}
	x.now = x.now.Add(time.Minute)
	size = 1
	send("i")
	if len(m.known) != 1 || m.bytes >= 2*onceCost {
		t.Errorf("%d answers, %d bytes", len(m.known), m.bytes)
	}
}
