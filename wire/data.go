package wire

// Limits on what one frame may ask for.
const (
	DefaultFetch = 100  // messages that FETCH_MISSING_MESSAGES_REQUEST asks for when it does not say
	MaxFetch     = 2000 // and at most; more counts as this
	MaxProducer  = 64   // bytes in the name of a producer
)

// ParseMessage reads the data of a MESSAGE. to is the receiver, a user ID that
// was checked; content is its JSON value, byte for byte.
func ParseMessage(f *Frame) (to, content []byte, err *Error) {
	return nil, nil, &Error{Kind: KindInvalidMessage, Code: CodeNotJSON}
}

// ParseGroup reads the data of a GROUP_MESSAGE. to are the receivers, each once,
// in the order in which they were first named; bad are those that are no user
// IDs, shortened for an error's text. More than max of both together is an error
// with TOO_MANY_RECEIVERS; none at all is one with BAD_FIELD. Only content
// points into data.
func ParseGroup(data []byte, max int) (to []UserID, bad []string, content []byte, err *Error) {
	return nil, nil, nil, &Error{Kind: KindInvalidMessage, Code: CodeNotJSON}
}

// Auth is the data of an AUTH_CLIENT.
type Auth struct {
	AppID    string
	Token    string // may be empty: whether one is needed depends on the app
	User     UserID // checked
	UserText string // "userId" as the client gave it
	Options  Options
}

// Options is what a client asks for in AUTH_CLIENT.data.options. The zero value
// is what a client gets that asks for nothing.
type Options struct {
	Ack      bool     // delivered means acknowledged by MESSAGE_ACK
	Receipts bool     // MESSAGE_STORED once a message is on disk
	Push     bool     // the mailbox is sent by itself after sign-in
	Presence []UserID // each once; told when these users come and go
	Producer string   // name of the client's numbered outbox
}

// Any says whether the client asks for anything at all.
func (o Options) Any() bool {
	return o.Ack || o.Receipts || o.Push || len(o.Presence) > 0 || o.Producer != ""
}

// ParseAuth reads the data of an AUTH_CLIENT. Nothing in it points into data.
//
// When everything else is in order but the user ID breaks the rules, the error's
// code is BAD_USER_ID, its kind KindAuthReply, and AppID and UserText are set:
// that is a refused sign-in rather than an invalid message.
func ParseAuth(data []byte) (Auth, *Error) {
	return Auth{}, &Error{Kind: KindInvalidMessage, Code: CodeNotJSON}
}

// ParseFetch reads the data of a FETCH_MISSING_MESSAGES_REQUEST, which may be
// absent: how many messages the client wants, from 1 to MaxFetch.
func ParseFetch(data []byte) (count int, err *Error) {
	return 0, &Error{Kind: KindInvalidMessage, Code: CodeNotJSON}
}

// ParseClose reads the data of a CLOSE_CONNECTION: whose sessions to close.
func ParseClose(data []byte) (UserID, *Error) {
	return "", &Error{Kind: KindInvalidMessage, Code: CodeNotJSON}
}

// ParseAck reads the data of a MESSAGE_ACK: the last message that the client has
// handled.
func ParseAck(data []byte) (ID, *Error) {
	return ID{}, &Error{Kind: KindInvalidMessage, Code: CodeNotJSON}
}
