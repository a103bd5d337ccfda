package api

import (
	"net/http"
	"net/url"
	"strings"
)

// Gateway hands requests on to the product's own services: *gateway.Gateway.
type Gateway interface {
	// Takes says whether a URL is one of them, or is to be refused as if it were.
	Takes(u *url.URL) bool
	// Handler answers, under limits of its own.
	http.Handler
}

// forServices says whether a request is for a service: our own paths go before.
func (d *door) forServices(r *http.Request) bool {
	if d.gateway == nil {
		return false
	}
	if _, own := d.paths[r.URL.Path]; own || d.pages != nil && d.pages(r.URL.Path) {
		return false
	}
	for _, p := range d.prefixes {
		if p.path != "/" && strings.HasPrefix(r.URL.Path, p.path) {
			return false
		}
	}
	return d.gateway.Takes(r.URL)
}

// handOn lets the gateway answer, as the service does. What pages may ask is the same as
// everywhere at this door.
func (d *door) handOn(a *answer, r *http.Request) {
	a.raw = true
	if code, status, detail := d.stranger(r); code != "" {
		d.counters.refuse(code)
		Problem(a, status, code, detail)
		return
	}
	if !admitServicePage(a, r) {
		d.gateway.ServeHTTP(a, r)
	}
}

// maxAsked bounds what a page says beforehand that it will send, in bytes.
const maxAsked = 1 << 10

// admitServicePage is admitPage for services: what their pages may send, and which methods
// there are, is the service's to say, so a page may send what it asks for.
func admitServicePage(w http.ResponseWriter, r *http.Request) (answered bool) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	h := w.Header()
	h.Set("Vary", "Origin")
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", "*")
	method := r.Header.Get("Access-Control-Request-Method")
	if r.Method != http.MethodOptions || method == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", method[:min(len(method), maxAsked)])
	if asked := r.Header.Get("Access-Control-Request-Headers"); asked != "" && len(asked) <= maxAsked {
		h.Set("Access-Control-Allow-Headers", asked)
	}
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
