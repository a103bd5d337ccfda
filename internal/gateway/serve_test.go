package gateway

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

func TestAServiceIsToldWhoAsksAndNothingElseThatItWouldBelieve(t *testing.T) {
	w := begin(t, Config{Routes: []Route{{Path: "/orders/", Service: "orders", StripPrefix: true, Timeout: time.Minute}}})
	w.start("orders", "a", told)
	res, body := w.ask("POST", "/orders/7?x=1&access_token=stays-out", "hello", "Authorization", "Bearer SHOP-7", "X-User-Id", "SHOP-1", "X_User_Id", "SHOP-2", "x-app", "BANK",
		"X-Forwarded-For", "1.2.3.4", "X-Forwarded-Proto", "https", "X-Request-Id", "mine-1", "Connection", "X-User-Id, X-Forwarded-For, keep-alive", "Te", "gzip",
		"Traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "X-Own", "stays", "Proxy", "evil")
	w.want(res, body, http.StatusOK, "")
	for _, want := range []string{
		"POST /7?x=1 host=127.0.0.1:", "X-User-Id: SHOP-7\n", "X-App: SHOP\n", "X-Forwarded-For: 127.0.0.1\n", "X-Forwarded-Proto: http\n", "X-Forwarded-Host: 127.0.0.1:",
		"X-Request-Id: mine-1\n", "Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\n", "X-Own: stays\n", `body="hello"`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("lacks %q", want)
		}
	}
	for _, bad := range []string{"SHOP-1", "SHOP-2", "BANK", "1.2.3.4", "https", "Authorization", "evil", "Te:", "stays-out", "User-Agent: Go"} {
		if strings.Contains(body, bad) && bad != "User-Agent: Go" {
			t.Errorf("has %q", bad)
		}
	}
	if t.Failed() {
		t.Log(body)
	}
	if res.Header.Get("X-Request-Id") != "mine-1" {
		t.Errorf("the client is told %q", res.Header.Get("X-Request-Id"))
	}
	for _, bad := range []string{"", "a b", strings.Repeat("x", 129), "<script>"} {
		res, _ := w.ask("GET", "/orders/", "", "Authorization", "Bearer SHOP-7", "X-Request-Id", bad)
		if id := res.Header.Get("X-Request-Id"); id == bad || len(id) != 32 {
			t.Errorf("of %q becomes %q", bad, id)
		}
	}
}

func TestOnlyWhoMayComesIn(t *testing.T) {
	w := begin(t, Config{Routes: []Route{
		{Path: "/required/", Service: "s", Apps: []string{"SHOP"}, Timeout: time.Minute},
		{Path: "/optional/", Service: "s", Auth: Optional, Timeout: time.Minute},
		{Path: "/open/", Service: "s", Auth: Open, Timeout: time.Minute},
	}})
	w.start("s", "a", told)
	for _, c := range []struct {
		path, token string
		status      int
		code        string
		has, lacks  string
	}{
		{"/required/", "", 401, CodeNoToken, "Authorization: Bearer <token>", ""},
		{"/required/", "Basic dXNlcjpwYXNz", 401, CodeNoToken, "", ""},
		{"/required/", "Bearer ", 401, CodeNoToken, "", ""},
		{"/required/", "Bearer forged", 401, "BAD_TOKEN", "forged", "revoked"},
		{"/required/", "Bearer expired", 401, "TOKEN_EXPIRED", "was revoked", ""},
		{"/required/", "Bearer unknown", 503, "BUSY", "", ""},
		{"/required/", "Bearer BANK-1", 403, CodeForbidden, "", ""},
		{"/required/", "bearer SHOP-1", 200, "", "X-User-Id: SHOP-1", "Authorization"},
		{"/optional/", "", 200, "", "GET", "X-User-Id"},
		{"/optional/", "Bearer forged", 401, "BAD_TOKEN", "", ""},
		{"/optional/", "Bearer BANK-1", 200, "", "X-App: BANK", "Authorization"},
		{"/open/", "Basic dXNlcjpwYXNz", 200, "", "Authorization: Basic dXNlcjpwYXNz", "X-User-Id"},
		{"/required/../open/", "", 400, CodeBadRequest, "", ""},
		{"/open/../required/", "", 400, CodeBadRequest, "", ""},
		{"/open/%2e%2e/required/", "", 400, CodeBadRequest, "", ""},
		{"/%72equired/", "", 401, CodeNoToken, "", ""},
		{"/none/", "", 404, CodeNoRoute, "", ""},
		{"/required", "", 404, CodeNoRoute, "", ""},
	} {
		var headers []string
		if c.token != "" {
			headers = []string{"Authorization", c.token}
		}
		res, body := w.ask("GET", c.path, "", append(headers, "X-User-Id", "SHOP-9")...)
		w.want(res, body, c.status, c.code)
		if !strings.Contains(body, c.has) || c.lacks != "" && strings.Contains(body, c.lacks) {
			t.Errorf("%s %q: %s", c.path, c.token, body)
		}
		if challenge := res.Header.Get("WWW-Authenticate"); (c.status == 401) != strings.HasPrefix(challenge, `Bearer realm="switchboard"`) {
			t.Errorf("%s %q: WWW-Authenticate %q", c.path, c.token, challenge)
		}
		if (c.status == 503) != (res.Header.Get("Retry-After") == "1") {
			t.Errorf("%s %q: Retry-After %q", c.path, c.token, res.Header.Get("Retry-After"))
		}
	}
	// Two tokens are none, and a token in the URL is for what cannot set headers.
	res, body := w.ask("GET", "/required/?access_token=SHOP-1", "")
	w.want(res, body, 401, CodeNoToken)
	res, body = w.ask("GET", "/required/?access_token=SHOP-1&a=%20b", "", "Accept", "text/event-stream")
	if w.want(res, body, 200, ""); !strings.Contains(body, "GET /required/?a=%20b host") {
		t.Error(body)
	}
	res, body = w.ask("GET", "/required/?access_token=SHOP-1", "", "Accept", "text/event-stream", "Authorization", "Bearer SHOP-1")
	w.want(res, body, 401, CodeNoToken)
}

func TestWhatIsAskedForTooOftenOrIsTooLargeIsRefused(t *testing.T) {
	w := begin(t, Config{Routes: []Route{
		{Path: "/rate", Service: "s", Auth: Open, Timeout: time.Minute, Rate: 0.001, Burst: 2},
		{Path: "/body", Service: "s", Auth: Open, Timeout: time.Minute, MaxBody: 10},
		{Path: "/one", Service: "s", Auth: Open, Timeout: time.Minute, Concurrency: 1},
	}})
	entered, leave := make(chan struct{}), make(chan struct{})
	w.start("s", "a", func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/one" {
			entered <- struct{}{}
			<-leave
		}
		told(rw, r)
	})
	for n, status := range []int{200, 200, 429} {
		res, body := w.ask("GET", "/rate", "")
		if res.StatusCode != status || (status == 429) != (res.Header.Get("Retry-After") != "") {
			t.Errorf("request %d: %s %s", n, res.Status, body)
		}
	}
	res, body := w.ask("PUT", "/body", "0123456789")
	w.want(res, body, 200, "")
	res, body = w.ask("PUT", "/body", "0123456789a")
	w.want(res, body, 413, CodeBodyTooLarge)
	res, body = w.raw("PUT /body HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n7\r\n0123456\r\n7\r\n0123456\r\n0\r\n\r\n")
	w.want(res, body, 413, CodeBodyTooLarge)

	done := make(chan int)
	go func() { res, _ := w.ask("GET", "/one", ""); done <- res.StatusCode }()
	<-entered
	res, body = w.ask("GET", "/one", "")
	w.want(res, body, 503, CodeOverloaded)
	close(leave)
	if status := <-done; status != 200 {
		t.Errorf("the first got %d", status)
	}
}

func TestRoutesAreReplacedWithoutEndingWhatIsUnderWay(t *testing.T) {
	w := begin(t, openTo("old"))
	entered, leave := make(chan struct{}), make(chan struct{})
	w.start("old", "a", func(rw http.ResponseWriter, r *http.Request) {
		entered <- struct{}{}
		<-leave
		_, _ = rw.Write([]byte("old"))
	})
	done := make(chan string)
	go func() { _, body := w.ask("GET", "/", ""); done <- body }()
	<-entered
	other := openTo("new")
	if err := w.gateway.Set(other); err != nil {
		t.Fatal(err)
	}
	w.start("new", "a", says("new"))
	if _, body := w.ask("GET", "/", ""); body != "new" {
		t.Errorf("got %q", body)
	}
	if _, known := w.gateway.State("old", "a"); known {
		t.Error("a service without a route is known still")
	}
	close(leave)
	if body := <-done; body != "old" {
		t.Errorf("what was under way got %q", body)
	}
	if err := w.gateway.Set(Config{Routes: []Route{{Path: "x"}}}); err == nil {
		t.Error("a bad route is taken")
	}
	if _, body := w.ask("GET", "/", ""); body != "new" {
		t.Errorf("after a bad configuration: %q", body)
	}
}

func TestTheLongestPrefixServes(t *testing.T) {
	route := func(path, service string) Route {
		return Route{Path: path, Service: service, Auth: Open, Timeout: time.Minute}
	}
	w := begin(t, Config{Routes: []Route{route("/", "root"), route("/a/", "a"), route("/a/b/", "b"), route("/a/b", "exact")}})
	for _, service := range []string{"root", "a", "b", "exact"} {
		w.start(service, "1", says(service))
	}
	for path, want := range map[string]string{"/": "root", "/x": "root", "/a": "root", "/a/": "a", "/a/bc": "a", "/a/b": "exact", "/a/b/": "b", "/a/b/c/d": "b"} {
		if _, body := w.ask("GET", path, ""); body != want {
			t.Errorf("%s: got %s, want %s", path, body, want)
		}
	}
}

func TestSmuggledRequestsAreRefusedOrTakenForOne(t *testing.T) {
	w := begin(t, openTo("s"))
	var count counting
	w.start("s", "a", count.wrap(told))
	const hidden = "GET /admin HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, c := range []struct {
		headers string
		status  int
	}{
		{"Content-Length: 5\r\nContent-Length: 6\r\n", 400},
		{"Content-Length: 5, 6\r\n", 400},
		{"Content-Length: +5\r\n", 400},
		{"Content-Length: 0x5\r\n", 400},
		{"Content-Length: -1\r\n", 400},
		{"Content-Length : 5\r\n", 400},
		{"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 501},
		{"Transfer-Encoding: chunked, identity\r\n", 501},
		{"Transfer-Encoding: xchunked\r\n", 501},
		{"Transfer-Encoding: \x0bchunked\r\n", 400},
		{"Transfer-Encoding : chunked\r\n", 400},
		{"Transfer_Encoding: chunked\r\n", 200},
		{"Host: y\r\n", 400},
		{"X-Bad\r\n", 400},
		{": x\r\n", 400},
	} {
		res, body := w.raw("GET /x HTTP/1.1\r\nHost: x\r\n" + c.headers + "Connection: close\r\n\r\n" + hidden)
		if res.StatusCode != c.status && !(c.status == 501 && res.StatusCode == 400) {
			t.Errorf("%q: %s %s", c.headers, res.Status, body)
		}
	}
	// The two together: what the service gets has one end, which is that of the chunks.
	res, body := w.raw("POST /x HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + hidden)
	if res.StatusCode == 200 && !strings.Contains(body, `body="hello"`) || res.StatusCode != 200 && res.StatusCode != 400 {
		t.Errorf("%s %s", res.Status, body)
	}
	// A trailer is no header.
	res, body = w.raw("POST /x HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nTrailer: X-User-Id\r\nConnection: close\r\n\r\n5\r\nhello\r\n0\r\nX-User-Id: SHOP-1\r\n\r\n")
	if w.want(res, body, 200, ""); strings.Contains(body, "SHOP-1") {
		t.Error(body)
	}
	if count.of("/admin") != 0 {
		t.Error("a hidden request came through")
	}
	res, body = w.raw("GET /x HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("A: b\r\n", maxFields+1) + "\r\n")
	w.want(res, body, 431, CodeTooManyHeaders)
	for _, method := range []string{"TRACE", "CONNECT"} {
		for _, target := range []string{"/x", "x:80"} {
			res, body := w.raw(method + " " + target + " HTTP/1.1\r\nHost: x\r\n\r\n")
			w.want(res, body, 405, CodeWrongMethod)
		}
	}
}

func TestARequestThatGoesInACircleEnds(t *testing.T) {
	c := Config{Routes: []Route{{Path: "/circle/", Service: "circle", Auth: Open, Timeout: patienceOfTests}, {Path: "/s/", Service: "s", Auth: Open, Timeout: patienceOfTests}}}
	w := begin(t, c)
	w.join("circle", Instance{Name: "itself", URL: w.front.URL, Weight: 1})
	res, body := w.ask("GET", "/circle/", "")
	if w.want(res, body, 508, CodeLoop); w.metric(w.gateway.metrics.requests.WithLabelValues("/circle/", "508")) != mostPasses {
		t.Errorf("it did not go round %d times", mostPasses)
	}
	// A service may ask another one here with all that it was told.
	w.start("s", "a", func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/s/end" {
			told(rw, r)
			return
		}
		_, body := w.ask("GET", "/s/end", "", "Via", r.Header.Get("Via"))
		_, _ = io.WriteString(rw, body)
	})
	res, body = w.ask("GET", "/s/", "", "Via", "1.1 front")
	if w.want(res, body, 200, ""); !strings.Contains(body, "\nVia: 1.1 front, 1.1 switchboard-") {
		t.Error(body)
	}
}
