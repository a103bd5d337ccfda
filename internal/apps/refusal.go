package apps

import (
	"context"
	"errors"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Refusal is why a user may not sign in. Code and Reason are for the client;
// Error is for the log and may say more, but holds no token, secret or URL.
type Refusal struct {
	Code   string // a code that wire.Codes lists for AUTH_CLIENT_REPLY
	Reason string // one sentence
	Home   string // WRONG_DOMAIN: the user's home domain, as Options.Home named it
	Domain string // of a link: the neighbour that may not sign in; empty when it is none

	cause error
}

// Error returns code, reason and what was behind it in one line.
func (r *Refusal) Error() string {
	text := r.Code + ": " + r.Reason
	if r.cause != nil {
		text += " (" + r.cause.Error() + ")"
	}
	return text
}

// Unwrap returns what was behind the refusal; nil when the code says it all.
func (r *Refusal) Unwrap() error { return r.cause }

// The sentences of refusals.
const (
	reasonUnknownApp  = "The user ID names no app of this server."
	reasonWrongAppID  = "The appId is not that of the user's app."
	reasonWrongDomain = "The user's home is another domain."
	reasonRefused     = "The app's own server refused the sign-in."
	reasonTimeout     = "The app's own server did not answer in time."
	reasonEnded       = "The sign-in ended before it was decided."
	reasonHookFailed  = "The app's own server could not be asked, or did not answer as it should."
	reasonNoKeys      = "The keys of the app could not be fetched."
	reasonBusy        = "Too many sign-ins are waiting for the app's own server."
	reasonBadToken    = "The token is not valid for this user."
	reasonExpired     = "The token has expired."
	reasonNotYet      = "The token is not valid yet."

	reasonUndecided = "The sign-in cannot be decided at present."

	// Of the app of chat, whose accounts say them.
	reasonForeignToken = "The token is not one of this server."
	reasonEndedSession = "The session of this token has ended."
	reasonNoDatabase   = "The database does not answer."

	reasonNoNeighbour  = "The user is not the link user of a neighbour of this domain."
	reasonWrongLinkID  = "A link signs in with the appId link."
	reasonLinkSecret   = "The token is not the secret that this domain has for the link."
	reasonNoLinkSecret = "The secret of the link cannot be read here."
	reasonBareLink     = "This domain has no secret for the link, and without one a link comes up between loopback addresses only."

	reasonLinkCertificate = "This domain wants to see a certificate with the neighbour's name."
)

// Refusals returns every refusal that Authenticate may give, without causes.
func Refusals() []Refusal {
	return []Refusal{
		{Code: wire.CodeUnknownApp, Reason: reasonUnknownApp},
		{Code: wire.CodeWrongAppID, Reason: reasonWrongAppID},
		{Code: wire.CodeWrongDomain, Reason: reasonWrongDomain},
		{Code: wire.CodeRefused, Reason: reasonRefused},
		{Code: wire.CodeHookFailed, Reason: reasonTimeout},
		{Code: wire.CodeHookFailed, Reason: reasonEnded},
		{Code: wire.CodeHookFailed, Reason: reasonHookFailed},
		{Code: wire.CodeHookFailed, Reason: reasonNoKeys},
		{Code: wire.CodeHookFailed, Reason: reasonUndecided},
		{Code: wire.CodeBusy, Reason: reasonBusy},
		{Code: wire.CodeBadToken, Reason: reasonBadToken},
		{Code: wire.CodeTokenExpired, Reason: reasonExpired},
		{Code: wire.CodeTokenExpired, Reason: reasonNotYet},
		{Code: wire.CodeBadToken, Reason: reasonForeignToken},
		{Code: wire.CodeTokenExpired, Reason: reasonEndedSession},
		{Code: wire.CodeStoreDown, Reason: reasonNoDatabase},
		{Code: wire.CodeUnknownApp, Reason: reasonNoNeighbour},
		{Code: wire.CodeWrongAppID, Reason: reasonWrongLinkID},
		{Code: wire.CodeBadToken, Reason: reasonLinkSecret},
		{Code: wire.CodeRefused, Reason: reasonNoLinkSecret},
		{Code: wire.CodeRefused, Reason: reasonBareLink},
		{Code: wire.CodeRefused, Reason: reasonLinkCertificate},
	}
}

// Refuse returns a refusal of an app's own [Authority]; cause is for the log.
func Refuse(code, reason string, cause error) *Refusal { return refuse(code, reason, cause) }

func refuse(code, reason string, cause error) *Refusal {
	return &Refusal{Code: code, Reason: reason, cause: cause}
}

// ended returns the refusal of an attempt whose own context is done: with code
// and reason when its time ran out.
func ended(ctx context.Context, code, reason string) *Refusal {
	err := ctx.Err()
	if errors.Is(err, context.Canceled) {
		return refuse(wire.CodeHookFailed, reasonEnded, err)
	}
	return refuse(code, reason, err)
}
