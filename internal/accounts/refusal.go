package accounts

import (
	"errors"
	"fmt"
	"time"
)

// The codes of refusals.
const (
	CodeInvalid        = "INVALID_REQUEST"
	CodeNameTaken      = "NAME_TAKEN"
	CodeSignUpClosed   = "SIGN_UP_CLOSED"
	CodeNoNumbers      = "NO_NUMBERS"
	CodeBadCredentials = "BAD_CREDENTIALS"
	CodeBadToken       = "BAD_TOKEN"
	CodeTokenExpired   = "TOKEN_EXPIRED"
	CodeTokenReused    = "TOKEN_REUSED"
	CodeRateLimited    = "RATE_LIMITED"
	CodeBusy           = "BUSY"
	CodeNotFound       = "NOT_FOUND"
	CodeTooMany        = "TOO_MANY"
	CodeNoResets       = "NO_RESETS"
)

// Refusal is why something is not done. Code is for programs, Reason a sentence for
// people; it holds no password and no token.
type Refusal struct {
	Code   string
	Reason string
	Field  string        // CodeInvalid: what is wrong; Reason goes on after its name
	After  time.Duration // when to try again; 0: that would not help
}

// Error returns code and reason.
func (r *Refusal) Error() string {
	if r.Field != "" {
		return r.Code + ": " + r.Field + " " + r.Reason
	}
	return r.Code + ": " + r.Reason
}

// Is says whether target is a refusal with the same code.
func (r *Refusal) Is(target error) bool {
	var other *Refusal
	return errors.As(target, &other) && other.Code == r.Code
}

func refuse(code, format string, args ...any) *Refusal {
	return &Refusal{Code: code, Reason: fmt.Sprintf(format, args...)}
}

func invalid(field, format string, args ...any) *Refusal {
	r := refuse(CodeInvalid, format, args...)
	r.Field = field
	return r
}

// refuseCredentials is the one answer to a wrong name and to a wrong password.
func refuseCredentials() *Refusal {
	return refuse(CodeBadCredentials, "there is no account with this name and this password")
}

// refusePassword is the answer to a wrong password of somebody who is known.
func refusePassword() *Refusal {
	return refuse(CodeBadCredentials, "this is not the account's password")
}

func refuseToken() *Refusal { return refuse(CodeBadToken, "the token is not one of this server") }

func refuseEnded() *Refusal {
	return refuse(CodeTokenExpired, "the session of this token has ended")
}

// tooSoon is the answer to whoever has failed too often.
func tooSoon(wait time.Duration) *Refusal {
	r := refuse(CodeRateLimited, "too many attempts have failed; the next may be made in %s", wait.Round(time.Second))
	r.After = wait
	return r
}
