package nodetest

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// from returns a client whose connections come from an address of this machine.
func from(address string) *http.Client {
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	return &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}}
}

const upgrade = "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"

// besiege opens so many WebSockets from 127.0.0.2 and keeps them, and says how many it got
// and how many were refused.
func besiege(t *testing.T, addr string, n int) (got, refused int64) {
	t.Helper()
	var in, out atomic.Int64
	var all sync.WaitGroup
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}, Timeout: Patience}
	for range 8 {
		all.Go(func() {
			for range n / 8 {
				c, err := dialer.DialContext(t.Context(), "tcp", addr)
				if err != nil {
					t.Errorf("it cannot even be dialled: %v", err)
					return
				}
				t.Cleanup(func() { c.Close() })
				_ = c.SetDeadline(time.Now().Add(Patience))
				_, _ = c.Write([]byte(upgrade)) // it may be refused by now
				status, _ := bufio.NewReader(c).ReadString('\n')
				if strings.HasPrefix(status, "HTTP/1.1 101") {
					in.Add(1)
					continue
				}
				out.Add(1) // with an answer, or cut off before it could be read
				c.Close()
			}
		})
	}
	all.Wait()
	return in.Load(), out.Load()
}

// guess tries to sign in with bad tokens from 127.0.0.2, so often, and returns with which
// codes that was refused.
func guess(t *testing.T, addr string, n int) map[string]int {
	t.Helper()
	var mu sync.Mutex
	codes := make(map[string]int)
	var all sync.WaitGroup
	for worker := range 4 {
		all.Go(func() {
			for i := range n / 4 {
				ctx, cancel := context.WithTimeout(t.Context(), Patience)
				ws, _, err := websocket.Dial(ctx, "ws://"+addr+"/ws", &websocket.DialOptions{HTTPClient: from("127.0.0.2")})
				if err != nil {
					cancel()
					t.Errorf("dial: %v", err)
					return
				}
				var f Frame
				err = ws.Write(ctx, websocket.MessageText, []byte(tokenFrame("JWT-1", fmt.Sprintf("guess-%d-%d", worker, i))))
				if err == nil {
					var raw []byte
					if _, raw, err = ws.Read(ctx); err == nil {
						err = json.Unmarshal(raw, &f)
					}
				}
				_ = ws.CloseNow()
				cancel()
				if err != nil {
					t.Errorf("no answer: %v", err)
					return
				}
				mu.Lock()
				codes[f.Field("code")]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return codes
}

// From one address come thousands of connections and a thousand bad sign-ins; a good user
// at another one goes on as if nothing was.
func TestAGoodUserNoticesNothingOfAFloodFromOneAddress(t *testing.T) {
	Alone(t, ReasonShare)
	connections, guesses := numberFromEnvironment(t, "NODETEST_STRANGERS", 2000), numberFromEnvironment(t, "NODETEST_GUESSES", 1000)
	key := newKey("HS256")
	s := startWith(t, key.app("JWT")+"limits: {exempt: [], connectionsPerAddress: 300, signInDeadline: 10m}\n")
	good := Dial(t, s)
	good.Send(tokenFrame("JWT-1", key.good("JWT-1")))
	if f := good.Next(); f.Field("isAuthenticated") != "true" {
		t.Fatalf("got %s", f.Raw)
	}
	ctx, stop := context.WithCancel(t.Context())
	var talking sync.WaitGroup
	defer talking.Wait()
	defer stop()
	var talked atomic.Int64
	var took []time.Duration // until what he says is back
	talking.Go(func() {      // to himself, RELIABLE and FAST in turn; each comes, in order
		for i := 0; ctx.Err() == nil; i++ {
			feature, began := []string{"RELIABLE", "FAST"}[i%2], time.Now()
			good.Send(fmt.Sprintf(`{"type":"MESSAGE","feature":%q,"data":{"to":"JWT-1","content":%d}}`, feature, i))
			if f := good.Next(); f.Type != "MESSAGE" || f.Field("content") != fmt.Sprint(i) {
				t.Errorf("he gets %s", f.Raw)
				return
			}
			took = append(took, time.Since(began))
			talked.Store(int64(i))
		}
	})
	memory := s.RSS()
	got, refused := besiege(t, s.Addr, connections)
	memory = s.RSS() - memory
	if got != 300 || got+refused != int64(connections/8*8) {
		t.Errorf("%d connections got in, %d were refused", got, refused)
	}
	if n := s.Metric(`switchboard_address_refused_total{what="connections"}`); n != float64(refused) {
		t.Errorf("%v were counted of %d", n, refused)
	}
	if res, err := from("127.0.0.2").Get("http://" + s.Addr + "/healthz"); err == nil && res.StatusCode != http.StatusTooManyRequests {
		t.Errorf("one more is answered %s", res.Status)
	}
	s.Reload(s.Args[1], key.app("JWT")+"limits: {exempt: [], connectionsPerAddress: 400, signInDeadline: 10m}\n")
	Eventually(t, "there is room for more", func() bool { return strings.Contains(s.Output(), "new settings are in effect") })
	codes := guess(t, s.Addr, guesses)
	if codes["BAD_TOKEN"] < 60 || codes["BAD_TOKEN"] > 100 || codes["RATE_LIMITED"] < guesses-100 {
		t.Errorf("bad sign-ins are refused with %v", codes)
	}
	before := talked.Load()
	second := Dial(t, s)
	second.Send(tokenFrame("JWT-2", key.good("JWT-2")))
	if f := second.Next(); f.Field("isAuthenticated") != "true" {
		t.Errorf("another good user gets %s", f.Raw)
	}
	Eventually(t, "he talks on", func() bool { return talked.Load() > before+10 })
	stop()
	talking.Wait()
	slices.Sort(took)
	t.Logf("%d connections of which %d got in, which took %d KiB, and %d bad sign-ins: he said %d things, each back in %s (median), %s (99 of 100), %s (slowest)",
		got+refused, got, memory>>10, guesses, len(took), took[len(took)/2], took[len(took)*99/100], took[len(took)-1])
}

// Bad keys and tokens from one address are told to wait, at whatever door, and a good key
// from there is let in.
func TestBadKeysFromOneAddressAreToldToWait(t *testing.T) {
	Alone(t, ReasonShare)
	log := filepath.Join(t.TempDir(), "audit.log")
	s := startWith(t, plainApp+fmt.Sprintf("limits: {exempt: [], failedSignIns: 3}\naudit: {file: %q}\n", log)+
		"matching: {enabled: true, simple: {enabled: true, access: key}}\ngateway: {routes: [{path: /shop/, service: shop, auth: required}]}\n")
	_, key := s.NewKey(`{"admin":true}`)
	bad := key[:len(key)-4] + "AAAA"
	for host, path := range map[string]string{"127.0.0.2": "/v1/whoami", "127.0.0.4": "/device/connect?id=d&lat=1&lon=1", "127.0.0.5": "/shop/cart"} {
		for i, want := range []int{401, 401, 401, 429} {
			a := s.call(from(host), "http://"+s.Addr, "GET", path, bad, "", nil)
			if a.Status != want || (want == 429) != (a.Header.Get("Retry-After") != "" && a.Code() == "RATE_LIMITED") {
				t.Errorf("%s, %d: %d %s", path, i, a.Status, a.Body)
			}
		}
	}
	for _, test := range []struct {
		from, key string
		want      int
	}{{"127.0.0.2", key, 200}, {"127.0.0.3", bad, 401}} {
		if a := s.call(from(test.from), "http://"+s.Addr, "GET", "/v1/whoami", test.key, "", nil); a.Status != test.want {
			t.Errorf("from %s: %d %s", test.from, a.Status, a.Body)
		}
	}
	if a := s.call(from("127.0.0.4"), "http://"+s.Addr, "GET", "/device/connect?id=d&lat=1&lon=1", key, "", nil); a.Status != http.StatusUpgradeRequired {
		t.Errorf("a device with a good key: %d %s", a.Status, a.Body)
	}
	if n := s.Metric(`switchboard_address_refused_total{what="sign_ins"}`); n != 3 {
		t.Errorf("%v were counted", n)
	}
	Eventually(t, "all are noted", func() bool {
		text, _ := os.ReadFile(log) // it may not be there yet
		return strings.Count(string(text), `"event":"deviceRefused","address":"127.0.0.4:`) == 4 &&
			strings.Count(string(text), `"what":"GET /shop/"`) == 4 && strings.Count(string(text), `"code":"RATE_LIMITED"`) == 3
	})
}

// proxied signs in behind a proxy at 127.0.0.2, which sends first what there is to send.
func proxied(t *testing.T, s *Server, first, header string) {
	t.Helper()
	dialer := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
	web := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		if err == nil {
			_, err = c.Write([]byte(first))
		}
		return c, err
	}}}
	ctx, cancel := context.WithTimeout(t.Context(), Patience)
	defer cancel()
	name, value, _ := strings.Cut(header, ": ")
	h := http.Header{}
	if name != "" {
		h.Set(name, value)
	}
	ws, _, err := websocket.Dial(ctx, "ws://"+s.Addr+"/ws", &websocket.DialOptions{HTTPClient: web, HTTPHeader: h})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ws.CloseNow() })
	if err := ws.Write(ctx, websocket.MessageText, []byte(authFrame("app-id-343", "ANZ-7", ""))); err != nil {
		t.Fatal(err)
	}
	if _, raw, err := ws.Read(ctx); err != nil || !strings.Contains(string(raw), `"isAuthenticated":true`) {
		t.Fatalf("%v: %s", err, raw)
	}
}

func TestSessionsAreWhereAProxySaysAndNotWhereAClientSays(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	for _, test := range []struct{ settings, first, header, want string }{
		{"proxies: {protocolFrom: [127.0.0.2]}\n", "PROXY TCP4 198.51.100.7 127.0.0.1 4000 80\r\n", "X-Forwarded-For: 203.0.113.9", "198.51.100.7:4000"},
		{"proxies: {trusted: [127.0.0.2]}\n", "", "X-Forwarded-For: 203.0.113.9, 198.51.100.7", "198.51.100.7:0"},
		{"proxies: {trusted: [127.0.0.3]}\n", "", "X-Forwarded-For: 203.0.113.9", "127.0.0.2:"},
	} {
		s := startWith(t, plainApp+test.settings)
		proxied(t, s, test.first, test.header)
		var sessions struct{ Sessions []struct{ Address string } }
		s.Ask("/v1/users/ANZ-7/sessions", &sessions)
		if len(sessions.Sessions) != 1 || !strings.HasPrefix(sessions.Sessions[0].Address, test.want) {
			t.Errorf("with %s the session is at %+v, want %s", strings.TrimSpace(test.settings), sessions, test.want)
		}
	}
}

func TestTheAuditLogTellsWhoCameAndWhoChangedWhat(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	file := filepath.Join(t.TempDir(), "audit.log")
	settings := plainApp + fmt.Sprintf("audit: {file: %q}\n", file)
	path := Settings(t, settings)
	s := Start(t, "--config", path, "--set", "limits.sessionsPerUser=1")
	id, key := s.NewKey(`{"app":"ANZ","scopes":["sessions:close","keys:manage","journal:write","services:write"]}`)
	p := SignIn(t, s, "ANZ-7", "")
	bad := Dial(t, s)
	bad.Send(`{"type":"AUTH_CLIENT","data":{"appId":"wrong-id","userId":"ANZ-8","token":"secret-token"}}`)
	bad.Next()
	s.Call("GET", "/v1/whoami", "sb_secret-that-is-none", "")
	s.Call("POST", "/v1/journal/rebuild", key, "") // which the handler refuses
	s.Call("PUT", "/v1/services/shop/one", key, `{"url":"http://127.0.0.1:1"}`)
	SignIn(t, s, "ANZ-9", "")
	second := Dial(t, s)
	second.Send(authFrame("app-id-343", "ANZ-9", ""))
	second.Next()
	s.Call("DELETE", "/v1/users/ANZ-7/sessions", key, "")
	if code := p.CloseCode(); code != 1000 {
		t.Errorf("closed with %d", code)
	}
	read := func(path string) string {
		b, _ := os.ReadFile(path) // it may not be there yet
		return string(b)
	}
	for _, want := range []string{
		`"event":"starting","by":"operator"`,
		`"event":"keyMade","app":"ANZ","by":"operator","what":"` + id + `"`, `"event":"signIn","app":"ANZ","user":"ANZ-7","address":"127.0.0.1:`,
		`"event":"signInRefused","app":"ANZ","user":"ANZ-8","address":"127.0.0.1:`, `"code":"WRONG_APP_ID"`, `"code":"KEY_INVALID","what":"GET /v1/whoami"`,
		`"code":"FORBIDDEN","what":"POST /v1/journal/rebuild"`, `"event":"instanceRegistered","by":"key ` + id + `"`, `"event":"signInRefused","app":"ANZ","user":"ANZ-9"`, `"code":"TOO_MANY_SESSIONS"`,
		`"event":"sessionsClosed","app":"ANZ","user":"ANZ-7","by":"key ` + id + `"`, `"event":"signOut","app":"ANZ","user":"ANZ-7"`,
	} {
		Eventually(t, want+" is noted", func() bool { return strings.Contains(read(file), want) })
	}
	if text := read(file); strings.Contains(text, "secret") || strings.Contains(text, key) {
		t.Errorf("a secret is noted:\n%s", text)
	}
	if err := os.Rename(file, file+".1"); err != nil {
		t.Fatal(err)
	}
	s.Signal(syscall.SIGHUP)
	Eventually(t, "the file is there anew", func() bool { _, err := os.Stat(file); return err == nil })
	s.Reload(path, settings+"limits: {frame: 32KiB}\n")
	Eventually(t, "the change is noted in it", func() bool {
		return strings.Contains(read(file), `"event":"settingsChanged","by":"operator","what":"limits.frame"`)
	})
}
