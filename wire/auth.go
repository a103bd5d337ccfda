package wire

import "strconv"

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
	Link     bool     // the session is of the link to another domain: it gets FORWARDs
	Producer string   // name of the client's numbered outbox: 1 to MaxProducer of A-Z a-z 0-9 . _ -
}

// Any says whether the client asks for anything at all.
func (o Options) Any() bool {
	return o.Ack || o.Receipts || o.Push || o.Link || len(o.Presence) > 0 || o.Producer != ""
}

// ParseAuth reads the data of an AUTH_CLIENT. Nothing in it points into data.
//
// When everything else is in order but the user ID breaks the rules, the error's
// code is BAD_USER_ID, its kind KindAuthReply, and AppID and UserText are set:
// that is a refused sign-in rather than an invalid message.
func ParseAuth(data []byte) (Auth, *Error) {
	var v [4][]byte
	if err := fields("data", data, []string{"appId", "userId", "token", "options"}, v[:]); err != nil {
		return Auth{}, err
	}
	var a Auth
	for i, f := range []struct {
		name     string
		required bool
		text     *string
	}{
		{"data.appId", true, &a.AppID},
		{"data.userId", true, &a.UserText},
		{"data.token", false, &a.Token},
	} {
		switch {
		case v[i] == nil && f.required:
			return Auth{}, missing(f.name)
		case v[i] == nil:
		case v[i][0] != '"':
			return Auth{}, badField(f.name, " has to be a string")
		default:
			*f.text = str(v[i])
		}
	}
	var err *Error
	if a.Options, err = parseOptions(v[3]); err != nil {
		return Auth{}, err
	}
	user, uerr := ParseUserID(a.UserText)
	if uerr != nil {
		return a, &Error{Kind: KindAuthReply, Code: CodeBadUserID, Reason: uerr.Error()}
	}
	a.User = user
	return a, nil
}

// parseOptions reads the object "options"; options that nobody knows are
// ignored.
func parseOptions(raw []byte) (Options, *Error) {
	var o Options
	if raw == nil {
		return o, nil
	}
	var v [6][]byte
	names := []string{"ack", "receipts", "push", "link", "presence", "producer"}
	if err := fields("data.options", raw, names, v[:]); err != nil {
		return o, err
	}
	for i, flag := range []*bool{&o.Ack, &o.Receipts, &o.Push, &o.Link} {
		if v[i] == nil {
			continue
		}
		value, ok := boolean(v[i])
		if !ok {
			return Options{}, badField("data.options."+names[i], " has to be true or false")
		}
		*flag = value
	}
	var err *Error
	if o.Presence, err = parsePresence(v[4]); err != nil {
		return Options{}, err
	}
	if o.Producer, err = parseProducer(v[5]); err != nil {
		return Options{}, err
	}
	return o, nil
}

func parsePresence(raw []byte) ([]UserID, *Error) {
	if raw == nil {
		return nil, nil
	}
	if raw[0] != '[' {
		return nil, badField("data.options.presence", " has to be an array of user IDs")
	}
	watched, bad, _, _ := users(raw, len(raw)) // the frame's size is the limit here
	if len(bad) > 0 {
		return nil, badField("data.options.presence", ": "+strconv.Quote(bad[0])+" is no user ID")
	}
	return watched, nil
}

func parseProducer(raw []byte) (string, *Error) {
	if raw == nil {
		return "", nil
	}
	const field, rule = "data.options.producer", " has to have 1 to 64 of A-Z a-z 0-9 . _ -"
	if raw[0] != '"' {
		return "", badField(field, rule)
	}
	name := str(raw)
	if !ValidProducer(name) {
		return "", badField(field, rule)
	}
	return name, nil
}

// ValidProducer says whether a producer may have this name: 1 to MaxProducer of
// A-Z a-z 0-9 . _ -.
func ValidProducer(name string) bool {
	if name == "" || len(name) > MaxProducer {
		return false
	}
	for i := range len(name) {
		if c := name[i]; !isNameByte(c) && c != '.' && c != '-' {
			return false
		}
	}
	return true
}
