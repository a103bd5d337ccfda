package client

import (
	"errors"
	"fmt"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What sending and waiting may fail with, besides *wire.Error, which is what
// the server reports, and the error of a context that ended.
var (
	// ErrNotConnected says that there is no connection, or that it broke before
	// what was sent had left. Nothing is sent later: send again, after OnState
	// has told of the next connection.
	ErrNotConnected = errors.New("client: not connected")
	// ErrClosed says that the client is closed; Err says why.
	ErrClosed = errors.New("client: closed")
	// ErrTooLarge says that a frame would be larger than Options.MaxFrame.
	ErrTooLarge = errors.New("client: the frame is too large")
	// ErrReferenceInUse says that a SendAndWait with this reference is waiting, or
	// that a message with it is in the outbox.
	ErrReferenceInUse = errors.New("client: the reference is in use")
	// ErrSeq says that a message's number is not above those before it, or above
	// wire.MaxSeq.
	ErrSeq = errors.New("client: the seq does not rise")
)

// Why this side gave a connection up.
var (
	errSilent  = errors.New("client: the server is silent")
	errMoved   = errors.New("client: the server asked to connect anew")
	errFetches = errors.New("client: too many fetches have not ended")
	errBadAuth = errors.New("client: the server's answer to the sign-in cannot be read")
)

// CloseError says that the server closed the connection.
type CloseError struct {
	Code   uint16 // see wire.CloseCodes; 0 when the server gave none
	Reason string
}

// Error returns code and reason.
func (e *CloseError) Error() string {
	return fmt.Sprintf("client: the server closed the connection: %d %s", e.Code, e.Reason)
}

// final says whether connecting again would end in the same way.
func (c *Client) final(err error) bool {
	var refused *wire.Error
	if errors.As(err, &refused) {
		switch refused.Code {
		case wire.CodeBusy, wire.CodeHookFailed, wire.CodeStoreDown, wire.CodeTooManySessions, wire.CodeRateLimited:
			return false
		case wire.CodeTokenExpired:
			return c.opts.TokenSource == nil
		}
		return true
	}
	var closed *CloseError
	if !errors.As(err, &closed) {
		return false
	}
	for _, known := range wire.CloseCodes() {
		if known.Code == closed.Code {
			return !known.Retry
		}
	}
	return false
}
