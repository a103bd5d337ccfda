package wire

import "strings"

// The kinds of errors: the types of the frames that report them.
const (
	KindGeneralError   = NameGeneralError   // understood, but not allowed or not now
	KindInvalidMessage = NameInvalidMessage // not understood
	KindDeliverFailed  = NameDeliverFailed  // understood, could not be accepted or was not delivered
	KindAuthReply      = NameAuthReply      // a sign-in was refused
)

// The codes of errors, as they stand in data.code. [Codes] says what they mean.
const (
	CodeNotJSON          = "NOT_JSON"
	CodeUnknownType      = "UNKNOWN_TYPE"
	CodeMissingField     = "MISSING_FIELD"
	CodeBadField         = "BAD_FIELD"
	CodeTooDeep          = "TOO_DEEP"
	CodeTooManyReceivers = "TOO_MANY_RECEIVERS"

	CodeForbidden       = "FORBIDDEN"
	CodeAlreadySignedIn = "ALREADY_SIGNED_IN"
	CodeBusy            = "BUSY"
	CodeUnknownID       = "UNKNOWN_ID"
	CodeTooMany         = "TOO_MANY"
	CodeRateLimited     = "RATE_LIMITED"
	CodeNotFound        = "NOT_FOUND"
	CodeConflict        = "CONFLICT"
	CodeChatOff         = "CHAT_OFF"
	CodeMatchingOff     = "MATCHING_OFF"
	CodeNearbyOff       = "NEARBY_OFF"

	CodeMailboxFull = "MAILBOX_FULL"
	CodeNoRoute     = "NO_ROUTE"
	CodeTooManyHops = "TOO_MANY_HOPS"
	CodeUnknownApp  = "UNKNOWN_APP"
	CodeStoreDown   = "STORE_DOWN"
	CodeStoreFull   = "STORE_FULL"
	CodeOverloaded  = "OVERLOADED"
	CodeTimeout     = "TIMEOUT"
	CodeExpired     = "EXPIRED"
	CodeBadReceiver = "BAD_RECEIVER"

	CodeBadUserID       = "BAD_USER_ID"
	CodeWrongAppID      = "WRONG_APP_ID"
	CodeWrongDomain     = "WRONG_DOMAIN"
	CodeBadToken        = "BAD_TOKEN"
	CodeTokenExpired    = "TOKEN_EXPIRED"
	CodeRefused         = "REFUSED"
	CodeHookFailed      = "HOOK_FAILED"
	CodeTooManySessions = "TOO_MANY_SESSIONS"
)

// Code describes one code under which an error is reported. Some stand
// under several kinds.
type Code struct {
	Kind    string // type of the frame in which it stands
	Code    string
	Meaning string // one sentence
}

// Codes returns all codes, by kind.
func Codes() []Code {
	return []Code{
		{KindInvalidMessage, CodeNotJSON, "The frame is not one JSON object."},
		{KindInvalidMessage, CodeUnknownType, "The server knows no such type from a client."},
		{KindInvalidMessage, CodeMissingField, "A field that this type needs is absent or null."},
		{KindInvalidMessage, CodeBadField, "A field has the wrong form, or is given twice."},
		{KindInvalidMessage, CodeTooDeep, "Arrays and objects are nested too deeply."},
		{KindInvalidMessage, CodeTooManyReceivers, "The group message has more receivers than the limit; nobody got it."},

		{KindGeneralError, CodeForbidden, "The user may not do this, or may not reach that user, or users of that app."},
		{KindGeneralError, CodeAlreadySignedIn, "The session is signed in already, as another user."},
		{KindGeneralError, CodeBusy, "The server has too much to do at present; try again later."},
		{KindGeneralError, CodeUnknownID, "MESSAGE_ACK names an ID that this session was not sent, or has acknowledged already."},
		{KindGeneralError, CodeTooMany, "The client asks for more than a limit allows."},
		{KindGeneralError, CodeRateLimited, "The session, its user or its app sends more than a limit allows in a second; the frame was not handled. Try again later."},
		{KindGeneralError, CodeNotFound, "There is no such room, message, user, match, ticket or watch, or none that the user may know of."},
		{KindGeneralError, CodeConflict, "What is asked for does not go with how the room, the message, the member or the pool is now."},
		{KindGeneralError, CodeWrongDomain, "The room is another domain's."},
		{KindGeneralError, CodeStoreDown, "The server cannot reach its database, or those who keep positions, at present."},
		{KindGeneralError, CodeStoreFull, "The server has no room to store anything: its disk is nearly full."},
		{KindGeneralError, CodeChatOff, "This server serves no rooms, or not at present."},
		{KindGeneralError, CodeMatchingOff, "This server matches nobody."},
		{KindGeneralError, CodeNearbyOff, "This server shows nobody where others are."},

		{KindDeliverFailed, CodeMailboxFull, "The receiver's mailbox has no room."},
		{KindDeliverFailed, CodeNoRoute, "There is no way to the receiver's domain."},
		{KindDeliverFailed, CodeTooManyHops, "The message has crossed as many links between domains as it may, and is not there yet."},
		{KindDeliverFailed, CodeUnknownApp, "The receiver's app does not exist here."},
		{KindDeliverFailed, CodeStoreDown, "The server cannot store messages at present."},
		{KindDeliverFailed, CodeStoreFull, "The server has no room: its disk is nearly full, or as many messages wait as it may keep."},
		{KindDeliverFailed, CodeOverloaded, "More messages arrive than the server can store."},
		{KindDeliverFailed, CodeTimeout, "The server does not know whether the message was stored; it may yet arrive."},
		{KindDeliverFailed, CodeExpired, "The message was not delivered before its time ran out."},
		{KindDeliverFailed, CodeBadReceiver, "A receiver of the group message is no user ID; the others got it."},

		{KindAuthReply, CodeBadUserID, "The user ID breaks the rules of user IDs."},
		{KindAuthReply, CodeUnknownApp, "There is no app of this name."},
		{KindAuthReply, CodeWrongAppID, "The app has another appId."},
		{KindAuthReply, CodeWrongDomain, "The user's home is another domain."},
		{KindAuthReply, CodeBadToken, "The token is missing, malformed, not signed by the app, or not this user's."},
		{KindAuthReply, CodeTokenExpired, "The token is no longer valid, or not yet."},
		{KindAuthReply, CodeRefused, "The app's own server refused the sign-in."},
		{KindAuthReply, CodeHookFailed, "The app's own server could not be asked, or its answer was not understood."},
		{KindAuthReply, CodeBusy, "Too many sign-ins are waiting; try again later."},
		{KindAuthReply, CodeRateLimited, "Too many sign-ins from the client's address have failed; try again later."},
		{KindAuthReply, CodeTooManySessions, "The user has too many sessions."},
		{KindAuthReply, CodeStoreDown, "The server cannot reach its database at present; try again later."},
	}
}

// Error is what the server reports when it does not do what a frame asked for.
// It is immutable once made.
type Error struct {
	Kind   string // KindGeneralError, KindInvalidMessage or KindDeliverFailed
	Code   string // one of the codes of that kind
	Reason string // one sentence for people
	Field  string // INVALID_MESSAGE: the member that is missing or wrong, such as "data.to"; not written into frames

	To           []UserID // the receivers concerned, if any
	Group        bool     // the frame was a GROUP_MESSAGE: To is written as an array
	MayYetArrive bool     // DELIVER_FAILED, or a GENERAL_ERROR about a room: the outcome is unknown

	// Home is the URL where the user should sign in, of what was refused with
	// WRONG_DOMAIN; empty when that is not known.
	Home string
}

// Error returns kind, code and reason in one line.
func (e *Error) Error() string {
	return strings.Join([]string{e.Kind, e.Code, e.Reason}, ": ")
}
