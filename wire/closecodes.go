package wire

// The codes with which the server closes a socket. Those below 4000 are
// RFC 6455's and IANA's, the others are Switchboard's own.
const (
	CloseNormal          = 1000
	CloseGoingAway       = 1001
	CloseProtocolError   = 1002
	CloseUnsupported     = 1003
	CloseInvalidText     = 1007
	ClosePolicy          = 1008
	CloseTooBig          = 1009
	CloseInternal        = 1011
	CloseRestart         = 1012
	CloseSignInTimeout   = 4001
	CloseNotAuthentic    = 4002
	CloseByMaster        = 4003
	CloseNoProof         = 4004
	CloseTokenExpired    = 4005
	CloseTooManySessions = 4006
	CloseTooSlow         = 4007
	CloseNotAcknowledged = 4008
	CloseReplaced        = 4009
)

// CloseCode describes one code with which the server closes a socket.
type CloseCode struct {
	Code    uint16
	Name    string // also the close frame's reason, unless there is a better one
	Meaning string // one sentence
	Retry   bool   // a client may connect again, after a delay
}

// CloseCodes returns all close codes, in rising order.
func CloseCodes() []CloseCode {
	return []CloseCode{
		{CloseNormal, "NORMAL", "The session is over by agreement: the client closed it, or its sessions were closed through the server's API.", false},
		{CloseGoingAway, "GOING_AWAY", "The other side goes away.", true},
		{CloseProtocolError, "PROTOCOL_ERROR", "What arrived is not WebSocket.", true},
		{CloseUnsupported, "UNSUPPORTED", "A binary frame arrived; only text is understood.", true},
		{CloseInvalidText, "INVALID_UTF8", "A text frame is not UTF-8.", true},
		{ClosePolicy, "POLICY", "The client broke a rule of this server.", true},
		{CloseTooBig, "TOO_BIG", "A frame is larger than the limit.", true},
		{CloseInternal, "INTERNAL", "Something is wrong on the server's side.", true},
		{CloseRestart, "RESTART", "The node stops or restarts; others may be there.", true},
		{CloseSignInTimeout, "SIGN_IN_TIMEOUT", "The client did not sign in before the deadline.", true},
		{CloseNotAuthentic, "NOT_AUTHENTICATED", "The sign-in was refused, or what it rested on was revoked.", false},
		{CloseByMaster, "CLOSED_BY_MASTER", "The app's master user closed the user's sessions.", false},
		{CloseNoProof, "NO_PROOF", "The client proved nothing in time: the connection is dead.", true},
		{CloseTokenExpired, "TOKEN_EXPIRED", "The token with which the client signed in has expired.", true},
		{CloseTooManySessions, "TOO_MANY_SESSIONS", "The user has too many sessions.", true},
		{CloseTooSlow, "TOO_SLOW", "The client reads more slowly than it is sent, and its queue is full.", true},
		{CloseNotAcknowledged, "NOT_ACKNOWLEDGED", "The client asked for \"ack\" but does not acknowledge.", true},
		{CloseReplaced, "REPLACED", "A device of the simple door has connected again under the same ID, and this is the older connection.", false},
	}
}
