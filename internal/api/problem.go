package api

import (
	"encoding/json"
	"log/slog"
	"net/http"
	"runtime/debug"
)

// Problem answers a request with problem details (RFC 9457): code is stable,
// detail a sentence for people.
func Problem(w http.ResponseWriter, status int, code, detail string) {
	body, err := json.Marshal(map[string]any{
		"type": "about:blank", "title": http.StatusText(status), "status": status, "code": code, "detail": detail,
	})
	if err != nil {
		panic(err) // strings and a number always marshal
	}
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	// The client may be gone; there is nobody else to tell.
	_, _ = w.Write(append(body, '\n'))
}

func notFound(w http.ResponseWriter, r *http.Request) {
	Problem(w, http.StatusNotFound, "NOT_FOUND", "there is nothing at "+r.URL.Path)
}

// guard wraps a handler in what holds for every request.
func guard(next http.Handler, log *slog.Logger, maxBody func() int64) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			switch v := recover(); v {
			case nil:
			case http.ErrAbortHandler:
				panic(v)
			default:
				log.Error("a request ended in a panic", "path", r.URL.Path, "err", v, "stack", string(debug.Stack()))
				Problem(w, http.StatusInternalServerError, "INTERNAL", "the server failed to answer; its log says why")
			}
		}()
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Referrer-Policy", "no-referrer")
		r.Body = http.MaxBytesReader(w, r.Body, maxBody())
		next.ServeHTTP(w, r)
	})
}

// only lets one method (and HEAD with GET) through.
func only(method string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != method && !(method == http.MethodGet && r.Method == http.MethodHead) {
			w.Header().Set("Allow", method)
			Problem(w, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "only "+method+" is answered here")
			return
		}
		next.ServeHTTP(w, r)
	})
}
