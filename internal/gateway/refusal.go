package gateway

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// The codes of what the gateway answers by itself. A service's own answers go through
// as they are.
const (
	CodeBadRequest     = "INVALID_REQUEST"
	CodeNoToken        = "AUTH_REQUIRED"
	CodeForbidden      = wire.CodeForbidden
	CodeNoRoute        = "NOT_FOUND"
	CodeWrongMethod    = "METHOD_NOT_ALLOWED"
	CodeSlowBody       = "BODY_TOO_SLOW"
	CodeBodyTooLarge   = "BODY_TOO_LARGE"
	CodeTooManyHeaders = "TOO_MANY_HEADERS"
	CodeRateLimited    = "RATE_LIMITED"
	CodeBadAnswer      = "BAD_ANSWER"
	CodeNoInstance     = "NO_INSTANCE"
	CodeOverloaded     = wire.CodeOverloaded
	CodeTimeout        = wire.CodeTimeout
	CodeLoop           = "LOOP"
)

// Code is one of them with its status.
type Code struct {
	Code   string
	Status int
}

// Codes returns all codes of what the gateway answers by itself, as docs/gateway.md has them.
func Codes() []Code {
	return []Code{
		{CodeBadRequest, http.StatusBadRequest},
		{CodeNoToken, http.StatusUnauthorized},
		{wire.CodeBadToken, http.StatusUnauthorized},
		{wire.CodeTokenExpired, http.StatusUnauthorized},
		{CodeForbidden, http.StatusForbidden},
		{CodeNoRoute, http.StatusNotFound},
		{CodeWrongMethod, http.StatusMethodNotAllowed},
		{CodeSlowBody, http.StatusRequestTimeout},
		{CodeBodyTooLarge, http.StatusRequestEntityTooLarge},
		{CodeRateLimited, http.StatusTooManyRequests},
		{CodeTooManyHeaders, http.StatusRequestHeaderFieldsTooLarge},
		{CodeBadAnswer, http.StatusBadGateway},
		{CodeNoInstance, http.StatusServiceUnavailable},
		{CodeOverloaded, http.StatusServiceUnavailable},
		{wire.CodeBusy, http.StatusServiceUnavailable},
		{CodeTimeout, http.StatusGatewayTimeout},
		{CodeLoop, http.StatusLoopDetected},
	}
}

// refusal is an answer of our own.
type refusal struct {
	Code
	detail  string
	retry   time.Duration // when it is worth to ask again; 0: nothing is said
	token   string        // the error of RFC 6750 in WWW-Authenticate; empty: none
	service bool          // the service gave no answer: a fallback takes its place
}

func (r *refusal) Error() string { return r.Code.Code + ": " + r.detail }

// refuse returns the refusal of a code.
func refuse(code, detail string) *refusal {
	for _, c := range Codes() {
		if c.Code == code {
			return &refusal{Code: c, detail: detail}
		}
	}
	return &refusal{Code: Code{code, http.StatusInternalServerError}, detail: detail}
}

// unverified returns what a verifier says as a refusal.
func unverified(err error) *refusal {
	var told *wire.Error
	errors.As(err, &told)
	switch {
	case told == nil:
	case told.Code == wire.CodeTokenExpired:
		r := refuse(told.Code, "the token has expired, or is not valid yet")
		r.token = "invalid_token"
		return r
	case told.Code == wire.CodeBadToken:
		r := refuse(told.Code, "the token is no good one: it is malformed, forged, revoked, or of no app that is known here")
		r.token = "invalid_token"
		return r
	}
	r := refuse(wire.CodeBusy, "the token cannot be judged at present")
	r.retry = time.Second
	return r
}

// problem is how a refusal is written: RFC 9457.
type problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail"`
}

// write answers with the refusal, or with a route's fallback.
func (r *refusal) write(w http.ResponseWriter, instead *Fallback) {
	h := w.Header()
	if r.retry > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(r.retry.Seconds()))))
	}
	if r.Status == http.StatusUnauthorized {
		challenge := `Bearer realm="switchboard"`
		if r.token != "" {
			challenge += `, error="` + r.token + `"`
		}
		h.Set("WWW-Authenticate", challenge)
	}
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	if instead != nil && r.service {
		h.Set("Content-Type", instead.ContentType)
		w.WriteHeader(instead.Status)
		_, _ = w.Write([]byte(instead.Body)) // the client may be gone
		return
	}
	body, err := json.Marshal(problem{"about:blank", http.StatusText(r.Status), r.Status, r.Code.Code, r.detail})
	if err != nil {
		panic(err) // texts and a number
	}
	h.Set("Content-Type", "application/problem+json")
	w.WriteHeader(r.Status)
	_, _ = w.Write(append(body, '\n')) // as above
}
