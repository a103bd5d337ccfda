package wire

import (
	"slices"
	"strconv"
	"time"
)

// Submission is a message as an app's own server sends it over HTTP: what a
// client's frame says in "data" and in its envelope, in one object, and who
// sends it. Content and Reference point into the body, the rest is copied.
type Submission struct {
	App  string   // the app, when From does not say it; empty when absent
	From UserID   // empty when absent
	To   []UserID // each once, in the order in which they are first named
	Bad  []string // what stands among several receivers and is no user ID, shortened
	// BadAt says how many of To stand before each of Bad.
	BadAt []int
	List  bool // "to" has to be a list

	Content   []byte        // raw JSON value
	Reference []byte        // raw JSON string, nil when absent
	Fast      bool          // "feature" is FAST
	Confirm   bool          // "confirmationEnabled": false when absent, other than in a frame
	TTL       time.Duration // 0 when absent
}

// BodyError says what is wrong with a body. It is CodeNotJSON, CodeTooDeep,
// CodeMissingField, CodeBadField or CodeTooManyReceivers.
type BodyError struct {
	Code   string
	Field  string // where, for example "messages[3].ttl"; empty for the body itself
	Reason string // one sentence for people
}

// Error returns code and reason in one line.
func (e *BodyError) Error() string { return e.Code + ": " + e.Reason }

// Item is one of many submissions: what it says, or what is wrong with it.
type Item struct {
	Submission
	Wrong *BodyError
}

// ParseSubmission reads a body that is one message, to at most so many receivers.
// Other than in frames, members that are not known are errors, so that a slip of
// the pen is not silent.
func ParseSubmission(body []byte, receivers int) (Submission, *BodyError) {
	return parseOne(body, true, receivers)
}

// ParseBroadcast is ParseSubmission for a message that names no receivers, and is
// confirmed by none.
func ParseBroadcast(body []byte) (Submission, *BodyError) { return parseOne(body, false, 0) }

func parseOne(body []byte, to bool, receivers int) (Submission, *BodyError) {
	p := submissions{scanner: scanner{b: body, depth: 1}, receivers: receivers, single: make([]UserID, 0, 1)}
	p.space()
	var it Item
	p.message(&it, to)
	if err := p.ended(); err != nil {
		return Submission{}, err
	}
	return it.Submission, it.Wrong
}

// ParseSubmissions reads a body that is an object with the one member
// "messages", an array of at most so many messages. An error of one message
// stands beside the others; what makes the whole body unreadable is returned.
func ParseSubmissions(body []byte, messages, receivers int) ([]Item, *BodyError) {
	// In a body, messages stand deeper than in a frame; what is in them may be
	// nested as deeply as there.
	p := submissions{scanner: scanner{b: body, depth: -1}, receivers: receivers}
	var list []Item
	var wrong *BodyError
	seen := false
	if p.space() != '{' {
		return nil, &BodyError{Code: CodeNotJSON, Reason: "the body is not a JSON object"}
	}
	for more := p.open('}'); more; more = p.next('}') {
		var buf [32]byte
		key := p.key()
		name := key.name(&buf)
		switch {
		case string(name) != "messages":
			p.skip()
			wrong = first(wrong, unknownField(key))
		case seen:
			p.skip()
			wrong = first(wrong, givenTwice("messages"))
		case p.peek() != '[':
			if v := p.value(); !isNull(v) {
				wrong = first(wrong, &BodyError{CodeBadField, "messages", "messages is an array"})
			}
		default:
			seen = true
			if list = p.list(messages); len(list) > messages {
				wrong = first(wrong, &BodyError{CodeBadField, "messages", "messages has more entries than the limit of " + strconv.Itoa(messages)})
			}
		}
	}
	if err := p.ended(); err != nil {
		return nil, err
	}
	if wrong == nil && len(list) == 0 {
		wrong = &BodyError{CodeMissingField, "messages", "messages is missing or empty"}
	}
	if wrong != nil {
		return nil, wrong
	}
	return list, nil
}

// submissions reads messages.
type submissions struct {
	scanner
	receivers int
	single    []UserID // room for receivers that stand alone
}

// list reads an array of messages; it keeps one more than most, to say that there
// were more.
func (p *submissions) list(most int) []Item {
	room := min(most, (len(p.b)-p.i)/smallestMessage+1, usualMessages)
	list := make([]Item, 0, room)
	p.single = make([]UserID, 0, room)
	for more := p.open(']'); more; more = p.next(']') {
		if len(list) > most {
			p.skip()
			continue
		}
		list = append(list, Item{})
		it := &list[len(list)-1]
		if p.message(it, true); it.Wrong != nil {
			at := "messages[" + strconv.Itoa(len(list)-1) + "]"
			if it.Wrong.Field != "" {
				at += "."
			}
			it.Wrong.Field = at + it.Wrong.Field
		}
	}
	return list
}

// smallestMessage is how many bytes a message and a comma have at least:
// {"to":"A-1","content":1}
const smallestMessage = 25

// usualMessages is for how many messages room is made before they are read.
const usualMessages = 128

// The members of a message.
const (
	fieldTo = iota
	fieldContent
	fieldFrom
	fieldApp
	fieldFeature
	fieldReference
	fieldTTL
	fieldConfirm
	fieldCount
)

func submissionFields() [fieldCount]string {
	return [fieldCount]string{"to", "content", "from", "app", "feature", "reference", "ttl", "confirmationEnabled"}
}

// message reads one message; to says whether it has receivers.
func (p *submissions) message(it *Item, to bool) {
	if p.fault == faultNone && p.peek() != '{' {
		p.skip()
		it.Wrong = &BodyError{Code: CodeBadField, Reason: "a message is a JSON object"}
		return
	}
	names := submissionFields()
	seen := 0
	for more := p.open('}'); more; more = p.next('}') {
		var buf [32]byte
		key := p.key()
		at := slices.Index(names[:], string(key.name(&buf)))
		v := p.value()
		switch {
		case v == nil: // a fault, which ends this
		case at < 0 || !to && (at == fieldTo || at == fieldConfirm):
			it.Wrong = first(it.Wrong, unknownField(key))
		case seen&(1<<at) != 0:
			it.Wrong = first(it.Wrong, givenTwice(names[at]))
		case !isNull(v):
			if err := p.field(it, at, v); err != nil {
				err.Field = names[at]
				it.Wrong = first(it.Wrong, err)
			}
		}
		if at >= 0 {
			seen |= 1 << at
		}
	}
	switch {
	case it.Wrong != nil:
	case to && len(it.To)+len(it.Bad) == 0:
		it.Wrong = &BodyError{CodeMissingField, "to", "to is missing, or names nobody"}
	case it.Content == nil:
		it.Wrong = &BodyError{CodeMissingField, "content", "content is missing"}
	}
}

// field reads one member's value, which is not null.
func (p *submissions) field(it *Item, at int, v []byte) *BodyError {
	switch at {
	case fieldTo:
		return p.to(it, v)
	case fieldContent:
		it.Content = v
	case fieldFrom:
		user, err := userOf(v)
		if err != nil {
			return badMember("from: " + err.Error())
		}
		it.From = user
	case fieldApp:
		if v[0] != '"' {
			return badMember("app is the name of an app")
		}
		it.App = str(v)
	case fieldReference:
		if v[0] != '"' {
			return badMember("reference is a string")
		}
		it.Reference = v
	case fieldFeature:
		fast, ok := feature(v)
		if !ok {
			return badMember("feature is RELIABLE or FAST")
		}
		it.Fast = fast
	case fieldTTL:
		ttl, ok := ttlOf(v)
		if !ok {
			return badMember("ttl is a whole number of seconds above 0")
		}
		it.TTL = ttl
	case fieldConfirm:
		confirm, ok := boolean(v)
		if !ok {
			return badMember("confirmationEnabled is true or false")
		}
		it.Confirm = confirm
	}
	return nil
}

// to reads the receivers: a user ID or a list of them.
func (p *submissions) to(it *Item, v []byte) *BodyError {
	if v[0] != '[' {
		user, err := userOf(v)
		if err != nil {
			return badMember("to: " + err.Error())
		}
		p.single = append(p.single, user) // memory of its own for each would cost more
		it.To = p.single[len(p.single)-1 : len(p.single) : len(p.single)]
		return nil
	}
	to, bad, at, fits := users(v, p.receivers)
	if !fits {
		return &BodyError{Code: CodeTooManyReceivers, Reason: "the message has more receivers than the limit of " + strconv.Itoa(p.receivers)}
	}
	it.To, it.Bad, it.BadAt, it.List = to, bad, at, true
	return nil
}

// ended checks that nothing follows the body.
func (p *submissions) ended() *BodyError {
	err := p.end()
	switch {
	case err == nil:
		return nil
	case err.Code == CodeTooDeep:
		return &BodyError{Code: err.Code, Reason: err.Reason}
	}
	return &BodyError{Code: err.Code, Reason: "the body is not JSON, at byte " + strconv.Itoa(p.i)}
}

func first(a, b *BodyError) *BodyError {
	if a != nil {
		return a
	}
	return b
}

func badMember(rule string) *BodyError { return &BodyError{Code: CodeBadField, Reason: rule} }

func givenTwice(name string) *BodyError {
	return &BodyError{CodeBadField, name, name + " is given twice"}
}

func unknownField(key token) *BodyError {
	name := shorten(string(appendText(nil, key.raw)))
	return &BodyError{CodeBadField, name, "there is no field " + strconv.Quote(name) + " here"}
}
