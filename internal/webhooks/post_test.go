package webhooks

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// try makes one attempt at a URL.
func try(t *testing.T, url string, private bool) (outcome, string) {
	t.Helper()
	p := newPoster("1.2", time.Now, nil)
	defer p.close()
	return p.post(t.Context(), attempt{
		Webhook{Of: billing, URL: url, Keys: [][]byte{secret}, AllowPrivate: private},
		&event{body: body("connected", "ANZ-1", 0)}, 500 * time.Millisecond,
	})
}

// raw serves connections with f, which gets what was asked; they are closed
// after it.
func raw(t *testing.T, f func(c net.Conn)) (url string, connections *atomic.Int64) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	connections = new(atomic.Int64)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			if req, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				_, _ = bufio.NewReader(req.Body).Discard(1 << 20) // to its end
				f(c)
			}
			_ = c.Close()
		}
	}()
	t.Cleanup(func() {
		_ = l.Close()
		<-done
	})
	return "http://" + l.Addr().String() + "/hook?key=hush", connections
}

// say answers with a text and closes.
func say(text string) func(net.Conn) {
	return func(c net.Conn) { fmt.Fprint(c, text) }
}

// endless answers without end, until the other side has enough.
func endless(head string) func(net.Conn) {
	return func(c net.Conn) {
		fmt.Fprint(c, head)
		for {
			if _, err := c.Write(make([]byte, 1<<10)); err != nil {
				return
			}
		}
	}
}

func TestEveryWayToFailIsNamed(t *testing.T) {
	silent := func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) } // until the other side has enough
	for name, c := range map[string]struct {
		serve  func(net.Conn)
		result string
		status int
		reason string
	}{
		"500":               {say("HTTP/1.1 500 Oh\r\nContent-Length: 9\r\n\r\nbad\tthing"), resultStatus, 500, "it answered with status 500: bad thing"},
		"500, cut off":      {say("HTTP/1.1 500 Oh\r\nContent-Length: 90\r\n\r\nbad"), resultStatus, 500, "it answered with status 500: bad"},
		"410":               {say("HTTP/1.1 410 Gone\r\nContent-Length: 0\r\n\r\n"), resultStatus, 410, "it answered with status 410"},
		"another protocol":  {say("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: Upgrade\r\n\r\n"), resultStatus, 101, "it answered with status 101"},
		"302":               {say("HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"), resultRedirect, 302, "it answered with status 302: redirects are not followed; set the webhook's URL to where it is"},
		"308":               {say("HTTP/1.1 308 Permanent Redirect\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n"), resultRedirect, 308, "it answered with status 308: redirects are not followed; set the webhook's URL to where it is"},
		"silence":           {silent, resultTimeout, 0, "no answer within 500ms"},
		"half a head":       {func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nX-A: "); silent(c) }, resultTimeout, 0, "no answer within 500ms"},
		"half a body":       {func(c net.Conn) { fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"); silent(c) }, resultTimeout, 200, "it answered with status 200, but the answer did not end within 500ms"},
		"closed mid-answer": {say("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"), resultAnswer, 200, "it answered with status 200, but the answer broke off"},
		"endless":           {endless("HTTP/1.1 200 OK\r\n\r\n"), resultAnswer, 200, "it answered with status 200, but the answer is longer than 65536 bytes"},
		"endless head":      {endless("HTTP/1.1 200 OK\r\nX-A: "), resultConnect, 0, "no answer: "},
		"endless refusal":   {endless("HTTP/1.1 503 No\r\n\r\n"), resultStatus, 503, "it answered with status 503: "},
		"garbage":           {say("SSH-2.0-OpenSSH_10.0\r\n"), resultConnect, 0, `no answer: `},
		"closed":            {say(""), resultConnect, 0, "no answer: EOF"},
		"early closed":      {say("HTTP/1.1"), resultConnect, 0, "no answer: "},
	} {
		t.Run(name, func(t *testing.T) {
			url, connections := raw(t, c.serve)
			o, result := try(t, url, true)
			if o.ok || result != c.result || o.status != c.status || !strings.HasPrefix(o.reason, c.reason) {
				t.Errorf("got %s, %+v", result, o)
			}
			if n := connections.Load(); n != 1 {
				t.Errorf("%d connections", n)
			}
			if strings.Contains(o.reason, "hush") || len(o.reason) > 300 {
				t.Errorf("the reason is %q", o.reason)
			}
		})
	}
}

func TestEveryAnswerFrom200To299IsASuccess(t *testing.T) {
	for _, text := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 202 Accepted\r\nRetry-After: 60\r\nConnection: close\r\n\r\n" + strings.Repeat("x", maxAnswer),
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.0 299 Fine\r\n\r\n",
		"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
	} {
		url, _ := raw(t, say(text))
		if o, result := try(t, url, true); !o.ok || result != resultOK || o.retryAfter != 0 || o.reason != "" {
			t.Errorf("%.40q: %s, %+v", text, result, o)
		}
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	var hits atomic.Int64
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer other.Close()
	here := httptest.NewServer(http.RedirectHandler(other.URL, http.StatusTemporaryRedirect))
	defer here.Close()
	if _, result := try(t, here.URL, true); result != resultRedirect || hits.Load() != 0 {
		t.Errorf("%s, %d requests where it leads", result, hits.Load())
	}
}

func TestPrivateAddressesAreRefusedWhateverNameTheyHave(t *testing.T) {
	var hits atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { hits.Add(1) }))
	defer server.Close()
	port := server.Listener.Addr().(*net.TCPAddr).Port
	for _, host := range []string{"127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "0.0.0.0", "2130706433", "0x7f.1"} {
		o, result := try(t, fmt.Sprintf("http://%s:%d/", host, port), false)
		if o.ok || hits.Load() != 0 || !strings.ContainsAny(host, "bx2") && result != resultAddress {
			t.Errorf("%s: %s, %+v", host, result, o)
		}
	}
	if o, _ := try(t, fmt.Sprintf("http://127.0.0.1:%d/", port), true); !o.ok {
		t.Errorf("where it is allowed: %+v", o)
	}
	o, _ := try(t, fmt.Sprintf("http://127.0.0.1:%d/", port), false)
	if o.reason != "dial tcp "+server.Listener.Addr().String()+": 127.0.0.1: it is not on the public network, and the webhook's allowPrivate is not set" {
		t.Errorf("the reason is %q", o.reason)
	}
}

func TestNoProxyOfTheEnvironmentIsUsed(t *testing.T) {
	proxy, asked := raw(t, say("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"))
	t.Setenv("HTTP_PROXY", proxy)
	t.Setenv("http_proxy", proxy)
	if o, _ := try(t, "http://receiver.invalid/", true); o.ok || asked.Load() != 0 {
		t.Errorf("%+v, the proxy was asked %d times", o, asked.Load())
	}
}

func TestAnAttemptThatIsBrokenOffEndsAtOnce(t *testing.T) {
	url, _ := raw(t, func(c net.Conn) { _, _ = c.Read(make([]byte, 1)) })
	p := newPoster("1.2", time.Now, nil)
	defer p.close()
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(10*time.Millisecond, cancel)
	o, _ := p.post(ctx, attempt{Webhook{URL: url, AllowPrivate: true}, &event{}, time.Hour})
	if o.ok || ctx.Err() == nil {
		t.Errorf("got %+v", o)
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	now := begin()
	for text, want := range map[string]time.Duration{
		"120": 2 * time.Minute, " 7 ": 7 * time.Second, "0": 0, "": 0, "-5": 0, "soon": 0, "1.5": 0, "99999999999": 0,
		"Thu, 26 Nov 2026 00:10:00 GMT": 10 * time.Minute, "Wed, 25 Nov 2026 00:00:00 GMT": 0,
	} {
		if got := retryAfter(text, now); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
	url, _ := raw(t, say("HTTP/1.1 429 Slow Down\r\nRetry-After: 30\r\nContent-Length: 0\r\n\r\n"))
	if o, _ := try(t, url, true); o.retryAfter != 30*time.Second {
		t.Errorf("got %+v", o)
	}
}

// That the signature is right is checked by every receiver of these tests.
func TestEachKeySignsAndTheFirstOneFirst(t *testing.T) {
	id, err := wire.NewID(begin(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	two := signatures([][]byte{secret, second}, id, begin(), []byte("{}"))
	one := signatures([][]byte{secret}, id, begin(), []byte("{}"))
	if first, rest, ok := strings.Cut(two, " "); !ok || first != one || !strings.HasPrefix(rest, "v1,") || rest == one {
		t.Errorf("%q and %q", one, two)
	}
}

func TestWhatStrangersSayIsMadeOneShortLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "",
		" a\r\n\tb  ":                  "a b",
		"\x1b[31mred\x00\xff":          "\uFFFD[31mred\uFFFD\uFFFD",
		strings.Repeat("ä", 150):       strings.Repeat("ä", 100) + "…",
		"x" + strings.Repeat("ä", 150): "x" + strings.Repeat("ä", 99) + "…",
	} {
		if got := sanitise(text); got != want {
			t.Errorf("%q becomes %q", text, got)
		}
	}
}
