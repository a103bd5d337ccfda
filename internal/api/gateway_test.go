package api

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// behind is a gateway that takes everything, and answers as a service does.
type behind struct{}

func (behind) Takes(*url.URL) bool { return true }

func (behind) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n, _ := io.Copy(io.Discard, r.Body) // a recorded one
	w.Header().Set("Content-Type", "text/plain")
	w.Header().Set("X-Length", strings.Repeat("k", int(n>>10)))
	http.Error(w, "of the service", http.StatusTeapot)
}

// shown are pages.
type shown struct{ http.Handler }

func (shown) Serves(path string) bool { return path == "/" || path == "/operator" }

func TestOurOwnPathsGoBeforeRoutesAndServicesAnswerAsTheyDo(t *testing.T) {
	o := options()
	o.Gateway, o.Console = behind{}, shown{http.NotFoundHandler()}
	o.Origin = func(r *http.Request) bool { return OriginAllowed(r, []string{"https://shop.example"}, false) }
	h := NewPublic(o)
	d := h.(*door)
	ask := func(method, path, body string, headers ...string) *http.Response {
		r := httptest.NewRequest(method, path, strings.NewReader(body))
		for i := 0; i+1 < len(headers); i += 2 {
			r.Header.Set(headers[i], headers[i+1])
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	own := []string{"/operator"}
	for path := range d.paths {
		own = append(own, path)
	}
	for _, p := range d.prefixes {
		if p.path != "/" {
			own = append(own, p.path)
		}
	}
	for _, path := range own {
		if d.forServices(httptest.NewRequest("GET", path, nil)) {
			t.Errorf("%s goes to services", path)
		}
		if !config.OwnPath(path) {
			t.Errorf("a route may have %s in the settings, where it would never be asked", path)
		}
	}
	large := strings.Repeat("x", int(o.MaxBody())+1<<10)
	res := ask("POST", "/orders/1", large)
	if body, _ := io.ReadAll(res.Body); res.StatusCode != http.StatusTeapot || string(body) != "of the service\n" || len(res.Header.Get("X-Length")) == 0 {
		t.Errorf("got %s %q %v", res.Status, body, res.Header)
	}
	if res.Header.Get("Content-Security-Policy") != "" || res.Header.Get("Access-Control-Allow-Origin") != "" {
		t.Errorf("our own headers are on a service's answer: %v", res.Header)
	}
	for origin, want := range map[string]int{"https://evil.example": http.StatusForbidden, "https://shop.example": http.StatusTeapot} {
		if res := ask("GET", "/orders/1", "", "Origin", origin); res.StatusCode != want {
			t.Errorf("a page of %s gets %s", origin, res.Status)
		}
	}
	res = ask("OPTIONS", "/orders/1", "", "Origin", "https://shop.example", "Access-Control-Request-Method", "PATCH", "Access-Control-Request-Headers", "x-own")
	if res.StatusCode != http.StatusNoContent || res.Header.Get("Access-Control-Allow-Methods") != "PATCH" || res.Header.Get("Access-Control-Allow-Headers") != "x-own" {
		t.Errorf("got %s %v", res.Status, res.Header)
	}
}
