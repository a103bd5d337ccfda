package socket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/internal/match"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// soloLog is a log of matches that forgets all but its last place.
type soloLog struct {
	mu   sync.Mutex
	last uint64
}

func (l *soloLog) Append(context.Context, uint64, []byte) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last++
	return l.last, nil
}

func (l *soloLog) Replay(context.Context, func(uint64, []byte) error) (uint64, error) {
	return 0, nil
}
func (l *soloLog) Purge(context.Context, uint64) error { return nil }

// soloOwners are those of a node that is alone.
type soloOwners struct{ room *match.Room }

func (o soloOwners) Ask(ctx context.Context, shard int, request []byte) ([]byte, error) {
	type result struct {
		reply []byte
		err   error
	}
	results := make(chan result, 1)
	o.room.Serve(shard, "me", request, func(reply []byte, err error) { results <- result{reply, err} })
	select {
	case r := <-results:
		return r.reply, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (o soloOwners) Tell(_ string, message []byte) { o.room.Told("me", message) }

// matches is a room of matching on one node.
func matches(t *testing.T) *match.Room {
	t.Helper()
	log := new(soloLog)
	room, err := match.New(match.Options{
		Node: "me", Shards: 1, Now: time.Now, Random: rand.Reader, Logger: slog.New(slog.DiscardHandler),
		Logs: func(context.Context, int) (match.Log, error) { return log, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	room.Attach(soloOwners{room})
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	room.Begin(ctx, 0, 1)
	room.Moved(0)
	go func() { done <- room.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return room
}

// doorRig is the simple door on a loopback port, with the test's clock.
type doorRig struct {
	t     *testing.T
	door  *Devices
	clock *clock
	web   *httptest.Server

	mu     sync.Mutex
	limits DeviceLimits
	bound  bool // by rates
	events []DeviceEvent
	grant  DeviceGrant
	refuse error
}

func newDoorRig(t *testing.T) *doorRig {
	t.Helper()
	r := &doorRig{
		t:     t,
		clock: &clock{now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC), ticks: make(chan time.Time)},
		limits: DeviceLimits{
			Connections: 100, Queue: 100, QueueBytes: 1 << 20, Frame: 1 << 10, HandshakeTimeout: patience, PingInterval: 20 * time.Second, ProofTimeout: 10 * time.Second, MaxDistance: 1.42,
		},
	}
	room := matches(t) // before the door, so that it outlives it
	var err error
	r.door, err = NewDevices(DevicesOptions{
		Matches: room, Name: "here", Now: r.clock.Now, Ticks: r.clock.Ticks, Metrics: prometheus.NewRegistry(),
		AllowOrigin: func(q *http.Request) bool { return q.Header.Get("Origin") == "" },
		Limits: func() DeviceLimits {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.limits
		},
		Exempt: func(string) bool {
			r.mu.Lock()
			defer r.mu.Unlock()
			return !r.bound
		},
		Admit: func(*http.Request, string) (DeviceGrant, error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			return r.grant, r.refuse
		},
		Note: func(e DeviceEvent) {
			r.mu.Lock()
			defer r.mu.Unlock()
			r.events = append(r.events, e)
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	r.web = httptest.NewServer(r.door)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.door.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		r.web.Close()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return r
}

// dial shakes hands as a device, and returns the status with which that is answered.
func (r *doorRig) dial(id, place string, headers ...string) (*peer, int) {
	r.t.Helper()
	x := &rig{t: r.t, addr: r.web.Listener.Addr().String()}
	p, res := x.requestAt("/device/connect?id="+url.QueryEscape(id)+place, "GET", nil, headers...)
	return p, res.StatusCode
}

// device connects a device at (1,1).
func (r *doorRig) device(id string) *peer {
	r.t.Helper()
	p, status := r.dial(id, "&lat=1&lon=1")
	if status != http.StatusSwitchingProtocols {
		r.t.Fatalf("%s: status %d", id, status)
	}
	if first := p.line(); !strings.HasPrefix(first, "Connected and handled by here_") {
		r.t.Fatalf("%s was told %q first", id, first)
	}
	return p
}

// any returns the next frame.
func (p *peer) any() (first byte, payload []byte) {
	p.t.Helper()
	first, payload, err := p.read()
	if err != nil {
		p.t.Fatal(err)
	}
	return first, payload
}

// line returns the next text frame; pings are passed over.
func (p *peer) line() string {
	p.t.Helper()
	for {
		first, payload := p.any()
		switch first {
		case finText:
			return string(payload)
		case finPing:
		default:
			p.t.Fatalf("got a frame that begins with %x: %q", first, payload)
		}
	}
}

func (r *doorRig) set(change func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	change()
}

func TestADeviceThatIsSilentIsPingedAndThenCutOff(t *testing.T) {
	r := newDoorRig(t)
	lives, dies := r.device("lives"), r.device("dies")
	lives.line()
	dies.line() // they are matched
	r.clock.advance(20 * time.Second)
	for _, p := range []*peer{lives, dies} {
		if first, _ := p.any(); first != finPing {
			t.Fatalf("got a frame that begins with %x, not a ping", first)
		}
	}
	lives.pong("")
	lives.send("still here")
	if got := dies.line(); got != "device lives says: still here" {
		t.Errorf("got %q", got)
	}
	r.clock.advance(10 * time.Second)
	if got := lives.line(); got != "device 'dies' left" {
		t.Errorf("got %q", got)
	}
	dies.ended()
	lives.write(frame(finPing, []byte("p")))
	if first, payload := lives.any(); first != finPong || string(payload) != "p" {
		t.Errorf("a ping is answered with %x %q", first, payload)
	}
}

func TestADeviceIsClosedWhenWhatItConnectedWithHasExpired(t *testing.T) {
	r := newDoorRig(t)
	r.set(func() { r.grant.Until = r.clock.Now().Add(time.Minute) })
	p := r.device("a")
	r.set(func() { r.limits.PingInterval = time.Hour })
	r.clock.advance(59 * time.Second)
	r.clock.advance(2 * time.Second)
	p.closed(wire.CloseTokenExpired)
}

func TestWhatADeviceMustNotSendEndsItsConnectionOnly(t *testing.T) {
	r := newDoorRig(t)
	a, b := r.device("a"), r.device("b")
	a.line()
	b.line()
	a.send(strings.Repeat("x", 1<<10+1))
	a.closed(wire.CloseTooBig)
	if got := b.line(); got != "device 'a' left" {
		t.Errorf("got %q", got)
	}
	b.write(frame(0x82, []byte("binary")))
	b.closed(wire.CloseUnsupported)
	c := r.device("c")
	c.write(frame(finText, []byte{0xff}))
	if reason := c.closed(wire.CloseInvalidText); reason != "the text is not UTF-8" {
		t.Errorf("the reason is %q", reason)
	}
	waitFor(t, "the journal hears of all ends", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		count := map[string]int{}
		for _, e := range r.events {
			count[e.Type]++
		}
		return count[DeviceConnected] == 3 && count[DeviceDisconnected] == 3 && count[DeviceMatched] == 2 && count[DeviceUnmatched] == 2
	})
}

func TestDevicesOfAnAppHaveNothingToDoWithThoseOfAnother(t *testing.T) {
	r := newDoorRig(t)
	as := func(app, id string) *peer {
		r.set(func() { r.grant.App = app })
		return r.device(id)
	}
	a, other, nobodys := as("ANZ", "a"), as("SHOP", "a"), as("", "a")
	for app, p := range map[string]*peer{"ANZ": a, "SHOP": other, "": nobodys} {
		if got := as(app, "b").line(); got != "I matched with device 'a'!" {
			t.Errorf("of %q b was told %q", app, got)
		}
		if got := p.line(); got != "I matched with device 'b'!" {
			t.Errorf("of %q a was told %q", app, got)
		}
	}
	waitFor(t, "the journal hears whose they are", func() bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		count := map[string]int{}
		for _, e := range r.events {
			count[e.App+" "+e.Type]++
		}
		return len(count) == 6 && count["ANZ "+DeviceMatched] == 2 && count["SHOP "+DeviceMatched] == 2 && count[" "+DeviceMatched] == 2
	})
}

// A device that reads nothing has so many bytes waiting, however few frames they are, and so
// many frames, however few bytes.
func TestWhatWaitsForADeviceIsBoundedInFramesAndInBytes(t *testing.T) {
	for name, c := range map[string]struct{ frames, bytes int }{"bytes": {1 << 20, 8 << 10}, "frames": {100, 1 << 30}} {
		t.Run(name, func(t *testing.T) {
			r := newDoorRig(t)
			r.set(func() { r.limits.Queue, r.limits.QueueBytes = c.frames, c.bytes })
			a, b := r.device("a"), r.device("b")
			a.line()
			b.line() // and nothing more
			text := strings.Repeat("x", 1<<10)
			full := r.door.dropped[dropFull]
			for range 1 << 16 { // 64 MiB: more than any connection holds
				a.send(text)
				if testutil.ToFloat64(full) > 0 {
					return
				}
			}
			t.Error("nothing was dropped")
		})
	}
}

// The first line says which node has the connection, and which of its connections that is.
func TestADeviceIsToldWhoHandlesIt(t *testing.T) {
	r := newDoorRig(t)
	for n, id := range []string{"a", "b", "a"} {
		p, _ := r.dial(id, "&lat=1&lon=1")
		if got, want := p.line(), fmt.Sprint("Connected and handled by here_", n+1); got != want {
			t.Errorf("%s was told %q, not %q", id, got, want)
		}
	}
}

func TestWhatADeviceSaysToNobodyIsDroppedAndCounted(t *testing.T) {
	r := newDoorRig(t)
	a := r.device("a")
	for range 3 {
		a.send("is anybody there?")
	}
	waitFor(t, "three lines are counted", func() bool { return testutil.ToFloat64(r.door.dropped[dropUnmatched]) == 3 })
	b := r.device("b")
	if got := b.line(); got != "I matched with device 'a'!" {
		t.Errorf("b was told %q", got)
	}
	a.line()
	a.send("ciao")
	if got := b.line(); got != "device a says: ciao" { // and nothing of what was said before
		t.Errorf("b was told %q", got)
	}
}

func TestWhatADeviceSendsTooMuchOfIsDroppedAndItGoesOnLater(t *testing.T) {
	r := newDoorRig(t)
	r.set(func() { r.bound, r.limits.Rates.Frames = true, 1 })
	a := r.device("a")
	r.set(func() { r.bound = false })
	b := r.device("b")
	a.line()
	b.line()
	says := func(text string, heard bool) {
		t.Helper()
		before := testutil.ToFloat64(r.door.dropped[dropRate])
		a.send(text)
		if !heard {
			waitFor(t, "it is dropped", func() bool { return testutil.ToFloat64(r.door.dropped[dropRate]) == before+1 })
		} else if got := b.line(); got != "device a says: "+text {
			t.Errorf("got %q", got)
		}
	}
	for range 10 { // ten seconds' worth
		says("good", true)
	}
	says("one more", false)
	r.clock.advance(2 * time.Second)
	says("later", true)
	for range 20 {
		b.send("not bound")
		if got := a.line(); got != "device b says: not bound" {
			t.Errorf("got %q", got)
		}
	}
}

func TestAPoolOfDevicesIsNoneOfUsers(t *testing.T) {
	if p := poolOf("ANZ"); p == (match.Pool{App: "ANZ", Name: devicesPool}) || p == poolOf("") {
		t.Errorf("%q", p)
	}
}

func TestAVisitorOfTheSimpleDoorIsToldWhatIsWrong(t *testing.T) {
	for query, want := range map[string]string{
		"id=a&lat=1&lon=-2.5e1":                           "",
		"id=a&lat=%2B0.5&lon=-0&auth=x&appId=y":           "",
		"lat=1&lon=1":                                     "id: id is needed: the device's name, 1 to 128 bytes of UTF-8",
		"id=..&lat=1&lon=1":                               "id: id must not be . or ..",
		"id=a%00&lat=1&lon=1":                             "id: id has to be 1 to 128 bytes of UTF-8, none of them a control character",
		"id=" + strings.Repeat("a", 129) + "&lat=1&lon=1": "id: id has to be 1 to 128 bytes of UTF-8, none of them a control character",
		"id=a&lon=1":                                      "lat: lat is needed: a number from -1e9 to 1e9",
		"id=a&lat=1&lon=":                                 "lon: lon is needed: a number from -1e9 to 1e9",
		"id=a&lat=1&lon=x":                                "lon: lon has to be a number from -1e9 to 1e9",
		"id=a&lat=1&lon=1000000001":                       "lon: lon has to be a number from -1e9 to 1e9",
		"id=a&lat=1&lon=1&lot=2":                          `lot: "lot" is none of id, lat, lon, auth, appId`,
		"id=a&lat=1&lon=1&auth=a&auth=b":                  "auth: auth is given twice",
		"id=a&lat=1&lon=1&x=%zz":                          `: the query of the URL cannot be read: invalid URL escape "%zz"`,
	} {
		got := ""
		if _, _, no := visitorOf(query); no != nil {
			got = no.Field + ": " + no.Reason
			if no.Status != http.StatusBadRequest || no.Code != "INVALID_REQUEST" || no.away != awayRequest {
				t.Errorf("%.40s: %+v", query, no)
			}
		}
		if got != want {
			t.Errorf("%.40s: %q, not %q", query, got, want)
		}
	}
	for _, text := range []string{"1_0", "0x1p4", "0x10", "NaN", "Inf", "-inf", "1.", ".5", "01", "1e", "+-1", "--1", " 1", "1 ", "1,5", "-", "1e400", "true", "[1]"} {
		if n, ok := decimal(text); ok {
			t.Errorf("%q is read as %v", text, n)
		}
	}
}

func TestDevicesAreRefusedBeforeTheUpgrade(t *testing.T) {
	r := newDoorRig(t)
	wants := func(what string, want int, place string, headers ...string) {
		t.Helper()
		if _, status := r.dial("a", place, headers...); status != want {
			t.Errorf("%s: status %d, not %d", what, status, want)
		}
	}
	const here = "&lat=1&lon=1"
	wants("a foreign page", http.StatusForbidden, here, "Origin: https://evil.example")
	wants("no place", http.StatusBadRequest, "&lat=1")
	wants("no WebSocket", http.StatusUpgradeRequired, here, "Upgrade: none")
	r.set(func() { r.refuse = &DeviceRefusal{Status: http.StatusUnauthorized, Reason: "who are you?"} })
	wants("whom nobody admits", http.StatusUnauthorized, here)
	r.set(func() { r.refuse = errors.New("the keys are away") })
	wants("while nobody can tell", http.StatusServiceUnavailable, here)
	r.set(func() { r.refuse, r.limits.Connections = nil, 1 })
	r.device("a")
	wants("one too many", http.StatusServiceUnavailable, here)
}

func TestDrainingClosesDevicesAndCutsOffWhoDoesNotGo(t *testing.T) {
	r := newDoorRig(t)
	goes, stays := r.device("goes"), r.device("stays")
	ctx, cancel := context.WithCancel(t.Context())
	drained := make(chan error, 1)
	go func() { drained <- r.door.Drain(ctx, "bye") }()
	first, payload := goes.any() // it was matched
	for first != finClose {
		first, payload = goes.any()
	}
	if code, reason := closeOf(payload); code != wire.CloseRestart || reason != "bye" {
		t.Errorf("closed with %d %q", code, reason)
	}
	goes.write(frame(finClose, payload[:2]))
	waitFor(t, "one is gone", func() bool { return len(r.door.list()) == 1 })
	if _, status := r.dial("new", "&lat=1&lon=1"); status != http.StatusServiceUnavailable {
		t.Errorf("status %d while it drains", status)
	}
	cancel()
	if err := <-drained; err == nil || !strings.Contains(err.Error(), "1 devices") {
		t.Errorf("draining says %v", err)
	}
	for {
		if _, err := stays.br.ReadByte(); err != nil {
			break
		}
	}
}
