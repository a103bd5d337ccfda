package console

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

var built = fstest.MapFS{
	".gitkeep":               {},
	"index.html":             {Data: []byte("<!doctype html><script type=module src=./assets/index-AbC.js></script>")},
	"operator.html":          {Data: []byte("<!doctype html><title>operator</title>")},
	"chat.html":              {Data: []byte("<!doctype html><title>chat</title>")},
	"devices.html":           {Data: []byte("<!doctype html><title>devices</title>")},
	"map.html":               {Data: []byte("<!doctype html><title>map</title>")},
	"favicon.svg":            {Data: []byte("<svg/>")},
	"licenses.txt":           {Data: []byte("of others")},
	"assets/index-AbC.js":    {Data: []byte("export {}")},
	"assets/index-DeF.css":   {Data: []byte("body {}")},
	"assets/land-JkL.json":   {Data: []byte("{}")},
	"assets/unknown-GhI.bin": {Data: []byte("?")},
}

func get(t *testing.T, h http.Handler, method, target string, header ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequest(method, target, nil)
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Result()
}

func TestFilesHaveTheirTypeAndCaching(t *testing.T) {
	const forEver = "public, max-age=31536000, immutable"
	for _, c := range []struct{ path, contentType, cache string }{
		{"/", "text/html; charset=utf-8", "no-cache"},
		{"/operator", "text/html; charset=utf-8", "no-cache"},
		{"/chat", "text/html; charset=utf-8", "no-cache"},
		{"/devices", "text/html; charset=utf-8", "no-cache"},
		{"/map", "text/html; charset=utf-8", "no-cache"},
		{"/favicon.svg", "image/svg+xml", "no-cache"},
		{"/licenses.txt", "text/plain; charset=utf-8", "no-cache"},
		{"/assets/index-AbC.js", "text/javascript; charset=utf-8", forEver},
		{"/assets/index-DeF.css", "text/css; charset=utf-8", forEver},
		{"/assets/land-JkL.json", "application/json", forEver},
		{"/assets/unknown-GhI.bin", "application/octet-stream", forEver},
	} {
		r := get(t, newSite(built, Options{}), http.MethodGet, c.path)
		if r.StatusCode != http.StatusOK || r.Header.Get("Content-Type") != c.contentType || r.Header.Get("Cache-Control") != c.cache {
			t.Errorf("%s: %d %q %q", c.path, r.StatusCode, r.Header.Get("Content-Type"), r.Header.Get("Cache-Control"))
		}
	}
}

func TestEveryAnswerIsGuarded(t *testing.T) {
	for _, path := range []string{"/", "/assets/index-AbC.js", "/none"} {
		header := get(t, newSite(built, Options{}), http.MethodGet, path).Header
		policy := header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "connect-src 'self' ws: wss:", "frame-ancestors 'none'", "trusted-types 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("%s: the policy lacks %q: %s", path, part, policy)
			}
		}
		if strings.Contains(policy, "unsafe") || header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s: %v", path, header)
		}
	}
}

func TestOnlyTheMapMayAskWhereTheReaderIsAndShowTiles(t *testing.T) {
	h := newSite(built, Options{TileOrigin: "https://tiles.example"})
	for path, want := range map[string]struct{ images, permissions string }{
		"/":        {"img-src 'self';", "geolocation=()"},
		"/devices": {"img-src 'self';", "geolocation=()"},
		"/none":    {"img-src 'self';", "geolocation=()"},
		"/map":     {"img-src 'self' https://tiles.example;", "geolocation=(self)"},
	} {
		header := get(t, h, http.MethodGet, path).Header
		if policy := header.Get("Content-Security-Policy"); !strings.Contains(policy, want.images) {
			t.Errorf("%s: the policy lacks %q: %s", path, want.images, policy)
		}
		if got := header.Get("Permissions-Policy"); got != want.permissions {
			t.Errorf("%s: %q, not %q", path, got, want.permissions)
		}
	}
}

func TestOtherPathsAndMethodsAreRefused(t *testing.T) {
	for _, path := range []string{"/none", "/index.html", "/operator.html", "/operator/", "/chat.html", "/chat/", "/devices.html", "/devices/", "/map.html", "/map/", "/.gitkeep", "/assets", "/assets/", "/../console.go", "//"} {
		if r := get(t, newSite(built, Options{}), http.MethodGet, "http://host"+path); r.StatusCode != http.StatusNotFound {
			t.Errorf("GET %s: %d", path, r.StatusCode)
		}
	}
	r := get(t, newSite(built, Options{}), http.MethodPost, "/")
	if r.StatusCode != http.StatusMethodNotAllowed || r.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("POST: %d, Allow %q", r.StatusCode, r.Header.Get("Allow"))
	}
	if r := get(t, newSite(built, Options{}), http.MethodHead, "/"); r.StatusCode != http.StatusOK {
		t.Errorf("HEAD: %d", r.StatusCode)
	}
}

func TestUnchangedFilesAreNotSentAgain(t *testing.T) {
	h := newSite(built, Options{})
	tag := get(t, h, http.MethodGet, "/").Header.Get("ETag")
	if r := get(t, h, http.MethodGet, "/", "If-None-Match", tag); r.StatusCode != http.StatusNotModified {
		t.Errorf("with its own tag: %d", r.StatusCode)
	}
	if r := get(t, h, http.MethodGet, "/", "If-None-Match", `"other"`); r.StatusCode != http.StatusOK {
		t.Errorf("with another tag: %d", r.StatusCode)
	}
}

func TestWithoutABuildThePagesSayHowToMakeThem(t *testing.T) {
	for _, path := range []string{"/", "/operator", "/chat", "/devices", "/map"} {
		w := httptest.NewRecorder()
		newSite(fstest.MapFS{".gitkeep": {}}, Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "npm run build") {
			t.Errorf("%s: %d: %s", path, w.Code, w.Body)
		}
	}
}

// The embedded pages are either the built ones or none: both must be fit to serve.
func TestTheEmbeddedPagesHaveNothingInline(t *testing.T) {
	for _, path := range []string{"/", "/operator", "/chat", "/devices", "/map"} {
		w := httptest.NewRecorder()
		Handler(Options{}).ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		page := w.Body.String()
		if w.Code != http.StatusOK || !strings.Contains(page, "Switchboard") {
			t.Fatalf("%s: %d: %s", path, w.Code, page)
		}
		if found := regexp.MustCompile(`(?i)<script[^>]*>[^<]|<style|\sstyle=|\son\w+=`).FindString(page); found != "" {
			t.Errorf("%s contains %q, which its policy forbids", path, found)
		}
		for _, link := range regexp.MustCompile(`(?:src|href)="(\./[^"]*)"`).FindAllStringSubmatch(page, -1) {
			if r := get(t, Handler(Options{}), http.MethodGet, link[1][1:]); r.StatusCode != http.StatusOK {
				t.Errorf("%s links to %s: %d", path, link[1], r.StatusCode)
			}
		}
	}
}
