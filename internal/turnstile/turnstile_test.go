package turnstile

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func networks(list ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, n := range list {
		out = append(out, netip.MustParsePrefix(n))
	}
	return out
}

func newTurnstile(t *testing.T, o Options) *Turnstile {
	t.Helper()
	if o.Connections == nil {
		o.Connections = func() int { return 2 }
	}
	if o.Failures == nil {
		o.Failures = func() int { return 3 }
	}
	o.Metrics = prometheus.NewRegistry()
	x, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// echo serves a turnstile: each answer is where the client is.
func echo(t *testing.T, x *Turnstile) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: x.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hijack" {
			conn, _, err := w.(http.Hijacker).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
			go func() {
				_, _ = io.Copy(io.Discard, conn) // until the client has gone
				conn.Close()
			}()
			return
		}
		fmt.Fprint(w, r.RemoteAddr)
	}))}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = s.Serve(x.Listener(l, true))
	}()
	t.Cleanup(func() {
		s.Close()
		<-done
	})
	return l.Addr().String()
}

// dial connects, and sends what there is.
func dial(t *testing.T, addr, sent string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, sent); err != nil {
		t.Fatal(err)
	}
	return c
}

const request = "GET / HTTP/1.1\r\nHost: x\r\n\r\n"

// answer returns status and body of the next answer; 0 for none.
func answer(c net.Conn) (int, string) {
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, ""
	}
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body)
	return res.StatusCode, string(body)
}

func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(time.Minute); !cond(); {
		if time.Now().After(end) {
			t.Fatal("not within a minute: " + what)
		}
		<-time.After(time.Millisecond)
	}
}

func (t *Turnstile) places() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, x := range t.open {
		n += x
	}
	return n
}

func TestAnAddressHasSoManyConnectionsAndGetsThemBack(t *testing.T) {
	x := newTurnstile(t, Options{})
	addr := echo(t, x)
	first := dial(t, addr, "GET /hijack HTTP/1.1\r\nHost: x\r\n\r\n")
	answer(first)
	second := dial(t, addr, request)
	answer(second)
	if status, body := answer(dial(t, addr, "")); status != 429 || !strings.Contains(body, `"TOO_MANY_CONNECTIONS"`) {
		t.Errorf("a third one is answered %d %s", status, body)
	}
	if got := testutil.ToFloat64(x.metrics.refused.WithLabelValues("connections")); got != 1 {
		t.Errorf("counted %v", got)
	}
	first.Close()
	second.Close()
	eventually(t, "both places are free", func() bool { return x.places() == 0 })
	if status, _ := answer(dial(t, addr, request)); status != 200 {
		t.Errorf("then one is answered %d", status)
	}
}

func TestExemptAddressesAreNotCounted(t *testing.T) {
	x := newTurnstile(t, Options{Exempt: func() []netip.Prefix { return networks("127.0.0.0/8") }})
	addr := echo(t, x)
	for range 4 {
		if status, _ := answer(dial(t, addr, request)); status != 200 {
			t.Errorf("answered %d", status)
		}
		x.Failed("127.0.0.1:5")
	}
	if x.places() != 0 || x.Blocked("127.0.0.1:5") != 0 || !x.Exempt("127.0.0.1:1") || x.Exempt("192.0.2.1:1") {
		t.Error("they are counted")
	}
}

// Who has to send a PROXY header is where that says, and nowhere without one.
func TestTheProxyProtocolSaysWhereAClientIs(t *testing.T) {
	v2 := "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c" + "\xc0\x00\x02\x09" + "\x7f\x00\x00\x01" + "\x10\x00\x1f\x90"
	const begin = "\r\n\r\n\x00\r\nQUIT\n"
	local := begin + "\x20\x00\x00\x00"
	of := func(command, transport string, length int, rest string) string {
		return begin + command + transport + string([]byte{byte(length >> 8), byte(length)}) + rest
	}
	places := "\xc0\x00\x02\x09" + "\x7f\x00\x00\x01" + "\x10\x00\x1f\x90"
	extras := func(bytes int) string { return places + strings.Repeat("\xe0\x00\x01x", bytes/4) }
	for _, test := range []struct{ sent, want string }{
		{"PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\r\n", "192.0.2.7:4000"},
		{"PROXY TCP6 2001:db8::7 ::1 4000 80\r\n", "[2001:db8::7]:4000"},
		{v2, "192.0.2.9:4096"},
		{local, "127.0.0.1:"},
		{"PROXY UNKNOWN\r\n", "127.0.0.1:"},
		{"", ""},
		{of("\x21", "\x11", 12+400, extras(400)), "192.0.2.9:4096"},
		{of("\x21", "\x11", 12+4000, extras(4000)), "192.0.2.9:4096"},
		{of("\x21", "\x11", 12+8000, extras(8000)), ""}, // a flood of what proxies may add
		{of("\x20", "\x11", 0xffff, ""), ""},
		{of("\x31", "\x11", 12, places), ""},                       // version 3
		{of("\x2f", "\x11", 12, places), ""},                       // no command
		{of("\x21", "\x11", 4, places), ""},                        // too short for what it says
		{of("\x21", "\x12", 12, places), ""},                       // over UDP
		{of("\x21", "\x31", 216, strings.Repeat("\x00", 216)), ""}, // over a socket of this machine
		{"PROXY TCP6 ::ffff:192.0.2.8 ::1 4000 80\r\n", "192.0.2.8:4000"},
		{"PROXY TCP4 2001:db8::7 127.0.0.1 4000 80\r\n", ""},
		{"PROXY TCP4 192.0.2.7 127.0.0.1 70000 80\r\n", ""},
		{"PROXY TCP4 192.0.2.7 127.0.0.1 -1 80\r\n", ""},
		{"PROXY TCP4 192.0.2.7\r\n", ""},
		{"PROXY  TCP4 192.0.2.7 127.0.0.1 4000 80\r\n", ""},
		{"PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\n", ""},
		{"proxy TCP4 192.0.2.7 127.0.0.1 4000 80\r\n", ""},
		{"PROXY TCP4 nobody 127.0.0.1 4000 80\r\n", ""},
		{"PROXY TCP4 " + strings.Repeat("1", 500) + "\r\n", ""},
	} {
		x := newTurnstile(t, Options{ProtocolFrom: networks("127.0.0.0/8")})
		status, got := answer(dial(t, echo(t, x), test.sent+request))
		if (status == 200) != (test.want != "") || !strings.HasPrefix(got, test.want) {
			t.Errorf("%q: %d %q, want %q", test.sent, status, got, test.want)
		}
		if refused := testutil.ToFloat64(x.metrics.refused.WithLabelValues("protocol")); (refused == 1) != (test.want == "") {
			t.Errorf("%q: counted %v", test.sent, refused)
		}
	}
}

func TestWhoNeedNotSpeakTheProxyProtocolMustNot(t *testing.T) {
	x := newTurnstile(t, Options{ProtocolFrom: networks("192.0.2.0/24")})
	addr := echo(t, x)
	if status, _ := answer(dial(t, addr, "PROXY TCP4 192.0.2.7 127.0.0.1 4000 80\r\n"+request)); status != 400 {
		t.Errorf("answered %d", status)
	}
	if status, got := answer(dial(t, addr, request)); status != 200 || !strings.HasPrefix(got, "127.0.0.1:") {
		t.Errorf("answered %d %s", status, got)
	}
}

// One that is slow to say where it comes from keeps nobody else out, and its client is
// counted, not the proxy.
func TestASlowProxyHeaderKeepsNobodyOut(t *testing.T) {
	x := newTurnstile(t, Options{ProtocolFrom: networks("127.0.0.0/8")})
	addr := echo(t, x)
	slow := dial(t, addr, "PROXY TCP4 192.0.2.1")
	for client := range 3 {
		for range 2 {
			if status, _ := answer(dial(t, addr, fmt.Sprintf("PROXY TCP4 198.51.100.%d 127.0.0.1 4000 80\r\n%s", client, request))); status != 200 {
				t.Errorf("answered %d", status)
			}
		}
	}
	if status, _ := answer(dial(t, addr, "PROXY TCP4 198.51.100.1 127.0.0.1 4000 80\r\n"+request)); status != 429 {
		t.Errorf("a third one of a client is answered %d", status)
	}
	_, _ = io.WriteString(slow, "03 127.0.0.1 4000 80\r\n"+request)
	if status, got := answer(slow); status != 200 || got != "192.0.2.103:4000" {
		t.Errorf("answered %d %s", status, got)
	}
}

func TestOnlyTrustedProxiesSayWhereAClientIsAndOnlyTheirOwnWordCounts(t *testing.T) {
	for _, test := range []struct {
		trusted, header string
		sent            []string
		want            string
	}{
		{"192.0.2.0/24", XForwardedFor, []string{"X-Forwarded-For: 198.51.100.1"}, "127.0.0.1:"}, // from somebody else
		{"127.0.0.1/32", XForwardedFor, nil, "127.0.0.1:"},
		{"127.0.0.1/32", XForwardedFor, []string{"X-Forwarded-For: 198.51.100.1"}, "198.51.100.1:0"},
		{"127.0.0.1/32", XForwardedFor, []string{"X-Forwarded-For: 203.0.113.9, 198.51.100.1"}, "198.51.100.1:0"}, // forged on the left
		{"127.0.0.1/32", XForwardedFor, []string{"X-Forwarded-For: 203.0.113.9", "X-Forwarded-For: 198.51.100.1:4711"}, "198.51.100.1:0"},
		{"127.0.0.1/32,10.0.0.0/8", XForwardedFor, []string{"X-Forwarded-For: 203.0.113.9, 198.51.100.1, 10.1.1.1"}, "198.51.100.1:0"},
		{"127.0.0.1/32,10.0.0.0/8", XForwardedFor, []string{"X-Forwarded-For: 10.2.2.2, 10.1.1.1"}, "10.2.2.2:0"},
		{"127.0.0.1/32", XForwardedFor, []string{"X-Forwarded-For: 198.51.100.1, rubbish"}, "127.0.0.1:"},
		{"127.0.0.1/32", XForwardedFor, []string{"X-Forwarded-For: 203.0.113.9, ::ffff:198.51.100.1"}, "198.51.100.1:0"},
		{"127.0.0.1/32", XForwardedFor, []string{"X-Forwarded-For: fe80::1%eth0"}, "[fe80::1]:0"},
		{"127.0.0.1/32", XForwardedFor, []string{"X-Forwarded-For: [2001:db8::1%25x]:80"}, "[2001:db8::1]:0"},
		{"127.0.0.1/32", XForwardedFor, []string{"X-Forwarded-For: 203.0.113.9, 198.51.100.1:99999"}, "127.0.0.1:"},
		{"127.0.0.1/32", XForwardedFor, []string{"X-Forwarded-For: 203.0.113.9,"}, "127.0.0.1:"},
		{"127.0.0.1/32", XForwardedFor, []string{"Forwarded: for=203.0.113.9", "X-Forwarded-For: 198.51.100.1"}, "198.51.100.1:0"},
		{"127.0.0.1/32", Forwarded, []string{"X-Forwarded-For: 203.0.113.9", `Forwarded: for=203.0.113.8, For="[2001:db8::1]:4711";proto=https;by=10.1.1.1`}, "[2001:db8::1]:0"},
		{"127.0.0.1/32", Forwarded, []string{"Forwarded: for=203.0.113.9, for=_hidden"}, "127.0.0.1:"},
	} {
		var trusted []netip.Prefix
		for n := range strings.SplitSeq(test.trusted, ",") {
			trusted = append(trusted, netip.MustParsePrefix(n))
		}
		x := newTurnstile(t, Options{Trusted: trusted, Header: test.header})
		c := dial(t, echo(t, x), "GET / HTTP/1.1\r\nHost: x\r\n"+strings.Join(append(test.sent, ""), "\r\n")+"\r\n")
		if _, got := answer(c); !strings.HasPrefix(got, test.want) {
			t.Errorf("%s of %q by %s: %q, want %q", test.header, test.sent, test.trusted, got, test.want)
		}
	}
}

func TestOnlyATrustedProxyNextToUsSaysThatAClientCameByTLS(t *testing.T) {
	for _, test := range []struct {
		trusted, name, value string
		want                 bool
	}{
		{"192.0.2.0/24", "X-Forwarded-Proto", "https", true},
		{"192.0.2.0/24", "X-Forwarded-Proto", "http, HTTPS", true},
		{"192.0.2.0/24", "X-Forwarded-Proto", "https, http", false}, // forged on the left
		{"192.0.2.0/24", "X-Forwarded-Proto", "http", false},
		{"192.0.2.0/24", "X-Forwarded-Proto", "wss", true},
		{"192.0.2.0/24", "Forwarded", "for=198.51.100.1;proto=https", false}, // it is not what the proxy adds to
		{"198.51.100.0/24", "X-Forwarded-Proto", "https", false},
	} {
		x := newTurnstile(t, Options{Trusted: networks(test.trusted)})
		r := httptest.NewRequest("GET", "/", nil) // from 192.0.2.1
		r.Header.Set(test.name, test.value)
		got := false
		x.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = Secure(r) })).ServeHTTP(httptest.NewRecorder(), r)
		if got != test.want {
			t.Errorf("%s: %s from 192.0.2.1, where %s is trusted: %v", test.name, test.value, test.trusted, got)
		}
	}
	// How the proxy itself came says nothing, where it says how its client did.
	for value, want := range map[string]bool{"http": false, "https": true, "": true, "ws": false, "gopher": true} {
		r := httptest.NewRequest("GET", "https://chat.example/", nil)
		r.Header.Set("X-Forwarded-Proto", value)
		x := newTurnstile(t, Options{Trusted: networks("192.0.2.0/24")})
		x.Handler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			if got := Secure(r); got != want {
				t.Errorf("a proxy that came by TLS says %q: %v", value, got)
			}
		})).ServeHTTP(httptest.NewRecorder(), r)
	}
	if got := protocolOf(Forwarded, http.Header{"Forwarded": {"for=203.0.113.8;proto=http, for=198.51.100.1;proto=https"}}); got != "https" {
		t.Errorf("of Forwarded: %q", got)
	}
}

// Behind a trusted proxy clients are counted, and a WebSocket for as long as it is open.
func TestBehindATrustedProxyClientsAreCounted(t *testing.T) {
	x := newTurnstile(t, Options{Trusted: networks("127.0.0.0/8")})
	addr := echo(t, x)
	as := func(client, path string) net.Conn {
		return dial(t, addr, "GET "+path+" HTTP/1.1\r\nHost: x\r\nX-Forwarded-For: "+client+"\r\n\r\n")
	}
	var open []net.Conn
	for range 2 {
		c := as("198.51.100.1", "/hijack")
		answer(c)
		open = append(open, c)
	}
	if status, body := answer(as("198.51.100.1", "/")); status != 429 || !strings.Contains(body, "TOO_MANY_CONNECTIONS") {
		t.Errorf("answered %d %s", status, body)
	}
	if status, _ := answer(as("198.51.100.2", "/")); status != 200 {
		t.Errorf("another client is answered %d", status)
	}
	for _, c := range open {
		c.Close()
	}
	eventually(t, "the places are free", func() bool { return x.places() == 0 })
}

// One connection of HTTP/2 may bring many requests: those under way count, or it would be
// a way around the limit.
func TestRequestsOfHTTP2AreCountedOneByOne(t *testing.T) {
	x := newTurnstile(t, Options{Connections: func() int { return 3 }}) // the connection, and two requests
	began, release := make(chan struct{}), make(chan struct{})
	s := httptest.NewUnstartedServer(x.Handler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		began <- struct{}{}
		<-release
	})))
	s.Listener, s.EnableHTTP2 = x.Listener(s.Listener, false), true
	s.StartTLS()
	defer s.Close()
	var asking sync.WaitGroup
	for range 2 {
		asking.Go(func() {
			if res, err := s.Client().Get(s.URL); err != nil || res.StatusCode != 200 || res.Body.Close() != nil {
				t.Errorf("%v %v", res, err)
			}
		})
		<-began
	}
	res, err := s.Client().Get(s.URL)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.ProtoMajor != 2 || res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
		t.Errorf("a third one is answered by %s: %s", res.Proto, res.Status)
	}
	close(release)
	asking.Wait()
	eventually(t, "their places are free", func() bool { return x.places() == 1 })
}

func TestTheListenerEndsWithWhatIsUnderWay(t *testing.T) {
	x := newTurnstile(t, Options{ProtocolFrom: networks("127.0.0.0/8"), HeaderTime: time.Hour})
	inner, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l := x.Listener(inner, true)
	dial(t, inner.Addr().String(), "PROXY")
	accepted := make(chan error)
	go func() {
		_, err := l.Accept()
		accepted <- err
	}()
	l.Close()
	if err := <-accepted; err == nil {
		t.Error("it goes on")
	}
}

func TestFailedSignInsHaveAnAddressWaitAndNoOther(t *testing.T) {
	var mu sync.Mutex
	now := time.Unix(1000, 0)
	x := newTurnstile(t, Options{Now: func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return now
	}})
	for i := range 3 {
		if wait := x.Blocked("[2001:db8::1]:5"); wait != 0 {
			t.Errorf("after %d it has to wait for %s", i, wait)
		}
		x.Failed(fmt.Sprintf("[2001:db8::%d]:5", i+1)) // one customer's
	}
	if wait := x.Blocked("[2001:db8::ffff]:9"); wait != 20*time.Second {
		t.Errorf("it has to wait for %s", wait)
	}
	if x.Blocked("[2001:db8:0:1::1]:9") != 0 || x.Blocked("192.0.2.1:1") != 0 {
		t.Error("others have to wait")
	}
	for range 100 { // which began before
		x.Failed("[2001:db8::1]:5")
	}
	if wait := x.Blocked("[2001:db8::1]:9"); wait > 90*time.Second {
		t.Errorf("it has to wait for %s", wait)
	}
	now = now.Add(3 * time.Minute)
	if x.Blocked("[2001:db8::1]:5") != 0 {
		t.Error("it has to wait for ever")
	}
}

// An attacker with many addresses fills no memory.
func TestWhatIsKnownOfFailuresIsBounded(t *testing.T) {
	x := newTurnstile(t, Options{})
	for i := range mostFailing + 5000 {
		x.Failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}).String())
	}
	if n := len(x.failed); n > mostFailing || n < mostFailing/2 {
		t.Errorf("%d addresses are known", n)
	}
}

func TestWhatAClientIsToldWithoutARequestIsWhole(t *testing.T) {
	res, err := http.ReadResponse(bufio.NewReader(strings.NewReader(tooMany)), httptest.NewRequest("GET", "/", nil))
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	res.Body.Close()
	if err != nil || !bytes.HasSuffix(body, []byte("}")) || res.Header.Get("Retry-After") == "" {
		t.Errorf("%v: %s", err, body)
	}
}
