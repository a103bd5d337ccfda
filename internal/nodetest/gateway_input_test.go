package nodetest

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// answerTo writes a request to the public listener as it is, and returns the answer.
func answerTo(t *testing.T, s *Server, text string) (*http.Response, string) {
	t.Helper()
	p := dialTCP(t, s.Addr)
	p.write([]byte(text))
	res := p.response()
	defer res.Body.Close()
	body, _ := io.ReadAll(res.Body) // what there is of it
	return res, string(body)
}

func TestNobodyGetsAroundTheGateway(t *testing.T) {
	t.Parallel()
	w := withServices(t)
	var inner atomic.Int32 // requests for what nobody may ask for
	told := http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "hidden") {
			inner.Add(1)
		}
		_, _ = io.Copy(io.Discard, r.Body) // it is short
		for name, values := range r.Header {
			_, _ = io.WriteString(rw, name+": "+strings.Join(values, ", ")+"\n")
		}
	})
	w.join("orders", newStandIn(t, "orders", "o", told))
	w.join("stock", newStandIn(t, "stock", "s", told))

	ada := w.signUp("ada")
	expired := w.key.token(map[string]any{"sub": "JWT-7", "exp": time.Now().Add(-time.Minute).Unix()})
	unsigned := signToken(jwt.SigningMethodNone, "", jwt.UnsafeAllowNoneSignatureType, map[string]any{"sub": "JWT-7", "exp": time.Now().Add(time.Hour).Unix()})
	for _, c := range []struct {
		what, token string
		status      int
		code        string
	}{
		{"a user of the app", w.key.good("JWT-7"), 200, ""},
		{"an account", ada.access, 200, ""},
		{"nobody", "", 401, "AUTH_REQUIRED"},
		{"an expired token", expired, 401, "TOKEN_EXPIRED"},
		{"an unsigned token", unsigned, 401, "BAD_TOKEN"},
		{"a token of another key", newKey("EdDSA").good("JWT-7"), 401, "BAD_TOKEN"},
		{"a changed token", w.key.good("JWT-7") + "x", 401, "BAD_TOKEN"},
		{"a refresh token", ada.refresh, 401, "BAD_TOKEN"},
		{"an API key", w.admin, 401, "BAD_TOKEN"},
	} {
		a := w.Call("GET", "/orders/1", c.token, "", "X-User-Id", "JWT-1", "X_App", "evil")
		if a.Status != c.status || a.Code() != c.code || strings.Contains(a.Body, "JWT-1\n") || strings.Contains(a.Body, "evil") {
			t.Errorf("%s: %d %s", c.what, a.Status, a.Body)
		}
		if (a.Status == 401) != (a.Header.Get("WWW-Authenticate") != "") {
			t.Errorf("%s: %v", c.what, a.Header)
		}
	}

	tryPathsAndFrames(t, w.Server)
	w.tryInstancesThatLeadAstray(t)
	if inner.Load() != 0 {
		t.Errorf("%d requests came where nobody may", inner.Load())
	}
}

// tryPathsAndFrames asks for what is hidden in all ways that services, and servers before
// them, have been fooled by.
func tryPathsAndFrames(t *testing.T, s *Server) {
	t.Helper()
	for _, path := range []string{"/stock/../orders/hidden", "/stock/%2e%2e/orders/hidden", "/stock/..%2forders/hidden", "/stock//../orders/hidden", "/stock/..;/orders/hidden", "/stock/%252e%252e/orders/hidden", `/stock/..\orders/hidden`, "//orders/hidden"} {
		res, body := answerTo(t, s, "GET "+path+" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		if res.StatusCode != 400 && res.StatusCode != 404 {
			t.Errorf("%s: %s %s", path, res.Status, body)
		}
	}
	const hidden = "GET /stock/hidden HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, headers := range []string{
		"Content-Length: 5\r\nContent-Length: 6\r\n", "Content-Length: 5, 6\r\n", "Content-Length: +44\r\n", "Content-Length : 44\r\n",
		"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", "Transfer-Encoding: xchunked\r\n", "Transfer-Encoding : chunked\r\n", "Transfer-Encoding: \x0bchunked\r\n",
	} {
		res, body := answerTo(t, s, "POST /stock/x HTTP/1.1\r\nHost: x\r\n"+headers+"\r\n"+hidden)
		if res.StatusCode != 400 && res.StatusCode != 501 {
			t.Errorf("%q: %s %s", headers, res.Status, body)
		}
	}
	for _, flood := range []string{strings.Repeat("A: b\r\n", 1000), "A: " + strings.Repeat("b", 1<<20) + "\r\n"} {
		p := dialTCP(t, s.Addr)
		go func() { _ = p.tryWrite([]byte("GET /stock/x HTTP/1.1\r\nHost: x\r\n" + flood + "\r\n")) }() // which the server does not read to its end
		if res := p.response(); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
			t.Errorf("%d bytes of headers: %s", len(flood), res.Status)
		}
	}
}

func TestRoutesChangeAtRunTimeAndNothingUnderWayEnds(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	path := Settings(t, plainApp+gatewaySettings[:strings.Index(gatewaySettings, "gateway:")])
	s := Start(t, "--config", path)
	_, admin := s.NewKey(`{"admin":true}`)
	w := &serviceWorld{Server: s, t: t, admin: admin}
	entered, leave := make(chan struct{}), make(chan struct{})
	one := newStandIn(t, "stock", "one", http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/wait") {
			entered <- struct{}{}
			<-leave
		}
		_, _ = io.WriteString(rw, r.URL.Path)
	}))
	const route = plainApp + "gateway: {routes: [{path: /stock/, service: stock, auth: none}]}\n"
	reload(t, s, path, route, inEffect)
	w.join("stock", one)
	if a := s.Call("GET", "/stock/1", "", ""); a.Status != 200 || a.Body != "/stock/1" {
		t.Errorf("got %d %s", a.Status, a.Body)
	}
	done := make(chan Answer)
	go func() { done <- s.Call("GET", "/stock/wait", "", "") }()
	<-entered
	reload(t, s, path, strings.Replace(route, "path: /stock/,", "path: /goods/, stripPrefix: true,", 1), inEffect)
	Eventually(t, "the new route is there", func() bool { return s.Call("GET", "/goods/1", "", "").Body == "/1" })
	if a := s.Call("GET", "/stock/1", "", ""); a.Status != 404 {
		t.Errorf("the old route: %d %s", a.Status, a.Body)
	}
	close(leave)
	if a := <-done; a.Status != 200 || a.Body != "/stock/wait" {
		t.Errorf("what was under way: %d %s", a.Status, a.Body)
	}
	reload(t, s, path, strings.Replace(route, "path: /stock/", "path: /v1/keys", 1), "one of Switchboard's own paths")
	if a := s.Call("GET", "/goods/2", "", ""); a.Status != 200 {
		t.Errorf("after bad settings: %d %s", a.Status, a.Body)
	}
}

// tryInstancesThatLeadAstray registers what leads back to the gateway, and to where only
// this machine may come.
func (w *serviceWorld) tryInstancesThatLeadAstray(t *testing.T) {
	t.Helper()
	for _, c := range []struct {
		url    string
		status int
		code   string
	}{
		{"http://" + w.Addr, 508, "LOOP_DETECTED"},
		{"http://" + w.Admin, 502, "BAD_ANSWER"},
		{"http://0.0.0.0:" + w.Admin[strings.LastIndexByte(w.Admin, ':')+1:], 502, "BAD_ANSWER"},
		{"http://169.254.169.254", 502, "BAD_ANSWER"},
	} {
		if a := w.Call("PUT", "/v1/services/nobody/astray", w.admin, `{"url":"`+c.url+`","meta":{"health":"/docs/api"}}`); a.Status > 201 {
			t.Fatal(a.Status, a.Body)
		}
		Eventually(t, "what is asked for at "+c.url+" is refused with "+c.code, func() bool {
			a := w.Call("GET", "/nobody/x", "", "")
			return a.Status == c.status && a.Code() == c.code
		})
		if a := w.Call("DELETE", "/v1/services/nobody/astray", w.admin, ""); a.Status != 200 {
			t.Fatal(a.Status, a.Body)
		}
	}
}

func TestNoRouteNoInstanceAFallbackAndHalfAnswersAreToldApart(t *testing.T) {
	t.Parallel()
	w := withServices(t)
	if a := w.Call("GET", "/none/x", "", ""); a.Status != 404 || a.Code() != "NOT_FOUND" {
		t.Errorf("no route: %d %s", a.Status, a.Body)
	}
	if a := w.Call("GET", "/nobody/x", "", ""); a.Status != 503 || a.Code() != "NO_INSTANCE" || a.Header.Get("Retry-After") == "" {
		t.Errorf("no instance: %d %s %v", a.Status, a.Body, a.Header)
	}
	if a := w.Call("GET", "/instead/x", "", ""); a.Status != 503 || a.Body != `{"code":"UNAVAILABLE"}` {
		t.Errorf("fallback: %d %s", a.Status, a.Body)
	}
	w.join("stock", newStandIn(t, "stock", "half", http.HandlerFunc(halves)))
	for _, path := range []string{"/stock/chunks", "/stock/length"} {
		res, err := http.Get("http://" + w.Addr + path)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if !errors.Is(err, io.ErrUnexpectedEOF) || len(body) != half {
			t.Errorf("%s: half an answer ends as if it were whole: %d bytes, %v", path, len(body), err)
		}
	}
}

// half is how many bytes of its answers a service sends that then dies.
const half = 64 << 10

// halves is such a service.
func halves(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/length") {
		w.Header().Set("Content-Length", fmt.Sprint(2*half))
	}
	_, _ = w.Write(make([]byte, half))
	_ = http.NewResponseController(w).Flush() // to who is there
	panic(http.ErrAbortHandler)
}
