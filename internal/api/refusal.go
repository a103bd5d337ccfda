package api

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/registry"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// soon is when a refusal that says "not now" may be tried again.
const soon = time.Second

// later is when a node may be asked again that is of no use as a whole at present.
const later = 5 * time.Second

// Refusal is an error that is answered as problem details (RFC 9457).
type Refusal struct {
	Status     int
	Code       string         // stable
	Detail     string         // a sentence for people
	Field      string         // of the request, that is wrong; empty for none
	RetryAfter time.Duration  // 0: nothing is said about it
	More       map[string]any // further members

	stray  bool // Field is one that the body may not have
	ofRoom bool // it is a room's limit that is reached, of which RateLimit-* would say nothing
}

// Error returns code and detail.
func (r *Refusal) Error() string { return r.Code + ": " + r.Detail }

// Refuse returns a refusal.
func Refuse(status int, code, format string, args ...any) *Refusal {
	return &Refusal{Status: status, Code: code, Detail: fmt.Sprintf(format, args...)}
}

// Invalid returns the refusal of a request whose field is wrong. The sentence
// goes on after the field's name: "must be a number". An empty field is the
// request as a whole.
func Invalid(field, format string, args ...any) *Refusal {
	r := Refuse(http.StatusBadRequest, CodeInvalidRequest, format, args...)
	r.Field = field
	if field != "" {
		r.Detail = field + " " + r.Detail
	}
	return r
}

// NotFound returns the refusal of what is about something that is not there.
func NotFound(format string, args ...any) *Refusal {
	return Refuse(http.StatusNotFound, CodeNotFound, format, args...)
}

// Forbidden returns the refusal of what is another app's.
func Forbidden(format string, args ...any) *Refusal {
	return Refuse(http.StatusForbidden, CodeForbidden, format, args...)
}

// write answers with the problem.
func (r *Refusal) write(w http.ResponseWriter) {
	h := w.Header()
	if r.RetryAfter > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(r.RetryAfter.Seconds()))))
	}
	if r.ofRoom {
		for _, name := range []string{paceLimit, paceRemaining, paceReset} {
			h.Del(name)
		}
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(r.Status)
	// The client may be gone; there is nobody else to tell.
	_, _ = w.Write(append(r.json(), '\n'))
}

// json returns the problem in the order in which people read it.
func (r *Refusal) json() []byte {
	body, err := plainJSON(struct {
		Type   string `json:"type"`
		Title  string `json:"title"`
		Status int    `json:"status"`
		Code   string `json:"code"`
		Detail string `json:"detail"`
		Field  string `json:"field,omitempty"`
	}{"about:blank", http.StatusText(r.Status), r.Status, r.Code, r.Detail, r.Field})
	if err == nil && len(r.More) > 0 {
		var more []byte
		more, err = plainJSON(r.More)
		body = append(append(body[:len(body)-1], ','), more[1:]...)
	}
	if err != nil {
		panic(err) // strings, numbers and what our own handlers put into More
	}
	return body
}

// plainJSON writes JSON for people to read: < and & stay what they are. The
// answer's type says that it is no page.
func plainJSON(v any) ([]byte, error) {
	var b bytes.Buffer
	to := json.NewEncoder(&b)
	to.SetEscapeHTML(false)
	err := to.Encode(v)
	return bytes.TrimSuffix(b.Bytes(), []byte("\n")), err
}

// statusOf returns the status of a code that the socket has, too; 0 for others.
func statusOf(code string) int {
	switch code {
	case wire.CodeNotJSON, wire.CodeUnknownType, wire.CodeMissingField, wire.CodeBadField, wire.CodeTooDeep,
		wire.CodeTooManyReceivers, wire.CodeBadReceiver, wire.CodeTooMany:
		return http.StatusBadRequest
	case wire.CodeBadUserID, wire.CodeWrongAppID, wire.CodeBadToken, wire.CodeTokenExpired, wire.CodeRefused:
		return http.StatusUnauthorized
	case wire.CodeForbidden:
		return http.StatusForbidden
	case wire.CodeUnknownID, wire.CodeUnknownApp, wire.CodeNotFound, wire.CodeChatOff, wire.CodeMatchingOff, wire.CodeNearbyOff:
		return http.StatusNotFound
	case wire.CodeMailboxFull, wire.CodeAlreadySignedIn, wire.CodeConflict:
		return http.StatusConflict
	case wire.CodeExpired:
		return http.StatusGone
	case wire.CodeWrongDomain:
		return http.StatusMisdirectedRequest
	case wire.CodeTooManySessions, wire.CodeRateLimited:
		return http.StatusTooManyRequests
	case wire.CodeHookFailed:
		return http.StatusBadGateway
	case wire.CodeStoreDown, wire.CodeOverloaded, wire.CodeBusy, wire.CodeNoRoute, wire.CodeTooManyHops:
		return http.StatusServiceUnavailable
	case wire.CodeTimeout:
		return http.StatusGatewayTimeout
	case wire.CodeStoreFull:
		return http.StatusInsufficientStorage
	case CodeMismatch: // of the keeper, which remembers for longer than this process
		return http.StatusUnprocessableEntity
	}
	return 0
}

// asDetail writes a reason as details are written, which are no whole sentences:
// those of sign-ins are.
func asDetail(reason string) string {
	first, n := utf8.DecodeRuneInString(reason)
	second, _ := utf8.DecodeRuneInString(reason[n:])
	if unicode.IsUpper(first) && (unicode.IsLower(second) || second == ' ') { // and no name such as ANZ-7
		reason = string(unicode.ToLower(first)) + reason[n:]
	}
	return strings.TrimSuffix(reason, ".")
}

// FromWire returns an error of the protocol as a refusal.
func FromWire(e *wire.Error) *Refusal {
	r := &Refusal{Status: statusOf(e.Code), Code: e.Code, Detail: asDetail(e.Reason), Field: e.Field}
	if r.Status == 0 {
		r.Status = http.StatusInternalServerError
	}
	if r.Status == http.StatusServiceUnavailable || r.Code == wire.CodeRateLimited {
		r.RetryAfter = soon
	}
	if e.MayYetArrive {
		r.More = map[string]any{"mayYetArrive": true}
	}
	if e.Home != "" {
		r.More = map[string]any{"home": e.Home}
	}
	return r
}

// fromAccounts returns what the accounts refuse as a refusal.
func fromAccounts(e *accounts.Refusal) *Refusal {
	if e.Code == accounts.CodeInvalid {
		return Invalid(e.Field, "%s", e.Reason)
	}
	r := Refuse(http.StatusInternalServerError, e.Code, "%s", e.Reason)
	for _, known := range ProblemCodes() {
		if known.Code == e.Code {
			r.Status = known.Status
		}
	}
	r.RetryAfter = e.After
	return r
}

// refusalOf returns what an error of a handler is answered with. known says that
// the handler meant it to be; anything else is for the log.
func refusalOf(err error) (r *Refusal, known bool) {
	var told *wire.Error
	var ofAccount *accounts.Refusal
	switch {
	case errors.As(err, &r):
		return r, true
	case errors.As(err, &ofAccount):
		return fromAccounts(ofAccount), true
	case errors.As(err, &told):
		return FromWire(told), true
	case errors.Is(err, mailbox.ErrFull):
		return Refuse(http.StatusInsufficientStorage, wire.CodeStoreFull, "the server's disk is nearly full"), true
	case errors.Is(err, keys.ErrStore), errors.Is(err, registry.ErrStore):
		r = Refuse(http.StatusServiceUnavailable, wire.CodeStoreDown, "the server cannot store anything at present")
		r.RetryAfter = soon
		return r, false
	case errors.Is(err, context.DeadlineExceeded):
		return Refuse(http.StatusGatewayTimeout, wire.CodeTimeout, "the server did not get it done in time"), true
	case errors.Is(err, context.Canceled):
		return Refuse(http.StatusServiceUnavailable, wire.CodeBusy, "the request ended before its answer was there"), true
	}
	return Refuse(http.StatusInternalServerError, CodeInternal, "the server failed to answer; its log says why"), false
}
