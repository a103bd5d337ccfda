package api

import "net/http"

// What pages of other origins may send and read.
const (
	corsRequest = "Authorization, Content-Type, Idempotency-Key, Last-Event-ID"
	corsAnswer  = "RateLimit-Limit, RateLimit-Remaining, RateLimit-Reset, Retry-After, Location, Idempotency-Replayed"
)

// admitPage lets a page of another origin read the answer, and answers a browser
// that asks beforehand whether it may: it returns true then. Which origins may is
// the door's to say, which has let the request in.
func admitPage(w http.ResponseWriter, r *http.Request, methods string) (answered bool) {
	h := w.Header()
	h.Add("Vary", "Origin")
	origin := r.Header.Get("Origin")
	if origin == "" {
		return false
	}
	h.Set("Access-Control-Allow-Origin", origin)
	h.Set("Access-Control-Expose-Headers", corsAnswer)
	if r.Method != http.MethodOptions || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	h.Set("Access-Control-Allow-Methods", methods)
	h.Set("Access-Control-Allow-Headers", corsRequest)
	h.Set("Access-Control-Max-Age", "600")
	w.WriteHeader(http.StatusNoContent)
	return true
}
