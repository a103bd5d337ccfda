package api

import (
	"net/http"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// The codes of problems that are the HTTP interface's own. What the socket
// refuses too has the socket's codes: wire.Codes.
const (
	CodeAuthRequired   = "AUTH_REQUIRED"
	CodeKeyInvalid     = "KEY_INVALID"
	CodeKeyExpired     = "KEY_EXPIRED"
	CodeScopeMissing   = "SCOPE_MISSING"
	CodeForbidden      = wire.CodeForbidden
	CodeInvalidRequest = "INVALID_REQUEST"
	CodeNotFound       = "NOT_FOUND"
	CodeWrongMethod    = "METHOD_NOT_ALLOWED"
	CodeUpgradeNeeded  = "UPGRADE_REQUIRED"
	CodeBodyTooLarge   = "BODY_TOO_LARGE"
	CodeMessageTooLong = "MESSAGE_TOO_LARGE"
	CodeMediaType      = "UNSUPPORTED_MEDIA_TYPE"
	CodeMismatch       = mailbox.CodeKeyReused
	CodeRateLimited    = wire.CodeRateLimited
	CodeTooManyKeys    = "TOO_MANY_KEYS"

	CodeTooManyInstances = "TOO_MANY_INSTANCES"

	CodeSessionUnknown = "SESSION_UNKNOWN"
	CodeSessionOver    = "SESSION_OVER"
	CodeNodeNeeded     = "NODE_NEEDED"
	CodeInternal       = "INTERNAL"
	CodeOriginRefused  = "ORIGIN_REFUSED"
	CodeWrongHost      = "WRONG_HOST"
	CodeChatOff        = "CHAT_OFF"

	CodeRelayOff         = "RELAY_OFF"
	CodeRelayUnreachable = "RELAY_UNREACHABLE"
)

// ProblemCode is one code under which a call is refused, and its status.
type ProblemCode struct {
	Code   string
	Status int
}

// ProblemCodes returns the table of all codes that calls are refused with. The
// OpenAPI document has the same, and says what they mean.
func ProblemCodes() []ProblemCode {
	list := []ProblemCode{
		{CodeAuthRequired, http.StatusUnauthorized},
		{CodeKeyInvalid, http.StatusUnauthorized},
		{CodeKeyExpired, http.StatusUnauthorized},
		{CodeScopeMissing, http.StatusForbidden},
		{CodeInvalidRequest, http.StatusBadRequest},
		{CodeNotFound, http.StatusNotFound},
		{CodeWrongMethod, http.StatusMethodNotAllowed},
		{CodeUpgradeNeeded, http.StatusUpgradeRequired},
		{CodeBodyTooLarge, http.StatusRequestEntityTooLarge},
		{CodeMessageTooLong, http.StatusRequestEntityTooLarge},
		{CodeMediaType, http.StatusUnsupportedMediaType},
		{CodeMismatch, http.StatusUnprocessableEntity},
		{CodeRateLimited, http.StatusTooManyRequests},
		{CodeTooManyKeys, http.StatusConflict},
		{CodeTooManyInstances, http.StatusConflict},
		{CodeSessionUnknown, http.StatusUnauthorized},
		{CodeSessionOver, http.StatusGone},
		{CodeNodeNeeded, http.StatusConflict},
		{CodeInternal, http.StatusInternalServerError},
		{CodeOriginRefused, http.StatusForbidden},
		{CodeWrongHost, http.StatusMisdirectedRequest},
		{CodeRelayOff, http.StatusNotFound},
		{CodeRelayUnreachable, http.StatusBadGateway},
		// Those of accounts.
		{CodeChatOff, http.StatusNotFound},
		{accounts.CodeNameTaken, http.StatusConflict},
		{accounts.CodeSignUpClosed, http.StatusForbidden},
		{accounts.CodeNoNumbers, http.StatusConflict},
		{accounts.CodeBadCredentials, http.StatusUnauthorized},
		{accounts.CodeTokenReused, http.StatusUnauthorized},
		{accounts.CodeNoResets, http.StatusNotFound},
	}
	// Those of the socket that calls have, too.
	for _, code := range []string{
		wire.CodeForbidden, wire.CodeBusy, wire.CodeStoreDown, wire.CodeStoreFull, wire.CodeTimeout,
		wire.CodeMailboxFull, wire.CodeOverloaded, wire.CodeUnknownApp, wire.CodeBadReceiver, wire.CodeTooManyReceivers, wire.CodeTooDeep,
		wire.CodeNoRoute,
		// Of clients that get events: what is wrong with a frame, and with a sign-in.
		wire.CodeNotJSON, wire.CodeUnknownType, wire.CodeMissingField, wire.CodeBadField, wire.CodeTooMany,
		wire.CodeBadUserID, wire.CodeWrongAppID, wire.CodeWrongDomain, wire.CodeBadToken, wire.CodeTokenExpired,
		wire.CodeRefused, wire.CodeHookFailed, wire.CodeTooManySessions,
		// Of rooms, and of the journal.
		wire.CodeConflict,
		// Of positions.
		wire.CodeNearbyOff,
	} {
		list = append(list, ProblemCode{code, statusOf(code)})
	}
	return list
}
