package wire

import (
	"slices"
	"strconv"
)

// Limits on what one frame may ask for.
const (
	DefaultFetch = 100  // messages that FETCH_MISSING_MESSAGES_REQUEST asks for when it does not say
	MaxFetch     = 2000 // and at most; more counts as this
	MaxProducer  = 64   // bytes in the name of a producer

	// MaxSeq is the highest "seq" of a producer: the highest whole number that every
	// reader of JSON has exactly.
	MaxSeq = 1<<53 - 1
	// SeqWindow is how far back it is remembered exactly which messages of a producer
	// were accepted. One whose seq is so much, or more, below the highest that was
	// accepted counts as accepted: its producer may send a seq only when all that
	// are so far below it are settled.
	SeqWindow = 512
)

// ParseSeq reads "seq" of a RELIABLE message whose session has a producer. Of
// others nobody asks for it, and it may be anything.
func ParseSeq(f *Frame) (uint64, *Error) {
	switch {
	case f.seqTwice:
		return 0, twice("seq")
	case f.seq == nil:
		return 0, missing("seq")
	}
	n, ok := integer(f.seq)
	if !ok || n < 1 || n > MaxSeq {
		return 0, badField("seq", " has to be a whole number from 1 to "+strconv.Itoa(MaxSeq))
	}
	return uint64(n), nil
}

// ParseMessage reads the data of a MESSAGE. to is the receiver, a user ID that
// was checked; content is its JSON value, byte for byte.
func ParseMessage(f *Frame) (to, content []byte, err *Error) {
	h := f.hint
	if !h.looked {
		var v [2][]byte
		if err := fields("data", f.Data, []string{"to", "content"}, v[:]); err != nil {
			return nil, nil, err
		}
		h.to, h.content = v[0], v[1]
	}
	switch {
	case f.Data == nil:
		return nil, nil, missing("data")
	case h.twice != "":
		return nil, nil, twice("data." + h.twice)
	case h.to == nil:
		return nil, nil, missing("data.to")
	case h.content == nil:
		return nil, nil, missing("data.content")
	case h.to[0] != '"':
		return nil, nil, badField("data.to", " has to be a user ID")
	}
	to = text(h.to)
	if err := checkUserID(to); err != nil {
		return nil, nil, badField("data.to", ": "+err.Error())
	}
	return to, h.content, nil
}

// ParseGroup reads the data of a GROUP_MESSAGE. to are the receivers, each once,
// in the order in which they were first named; bad are those that are no user
// IDs, shortened for an error's text. More than limit of both together is an error
// with TOO_MANY_RECEIVERS; none at all is one with BAD_FIELD. Only content
// points into data.
func ParseGroup(data []byte, limit int) (to []UserID, bad []string, content []byte, err *Error) {
	var v [2][]byte
	if err := fields("data", data, []string{"to", "content"}, v[:]); err != nil {
		return nil, nil, nil, err
	}
	switch {
	case data == nil:
		return nil, nil, nil, missing("data")
	case v[0] == nil:
		return nil, nil, nil, missing("data.to")
	case v[1] == nil:
		return nil, nil, nil, missing("data.content")
	case v[0][0] != '[':
		return nil, nil, nil, badField("data.to", " has to be an array of user IDs")
	}
	to, bad, _, fits := users(v[0], limit)
	switch {
	case !fits:
		return nil, nil, nil, about("data.to", CodeTooManyReceivers, " has more receivers than the limit of a group message")
	case len(to)+len(bad) == 0:
		return nil, nil, nil, badField("data.to", " names nobody")
	}
	return to, bad, v[1], nil
}

// users reads an array of user IDs: each once, and those that are none. It stops
// when there are more than limit. at says how many of to stand before each of bad.
func users(array []byte, limit int) (to []UserID, bad []string, at []int, fits bool) {
	known := make(map[UserID]struct{})
	s := scanner{b: array}
	for more := s.open(']'); more; more = s.next(']') {
		v := s.value()
		if v == nil {
			break
		}
		user, err := userOf(v)
		if _, ok := known[user]; ok && err == nil {
			continue
		}
		if len(to)+len(bad) == limit {
			return nil, nil, nil, false
		}
		if err != nil {
			bad, at = append(bad, badText(v)), append(at, len(to))
			continue
		}
		known[user] = struct{}{}
		to = append(to, user)
	}
	return to, bad, at, true
}

// userOf reads a JSON string that is a user ID.
func userOf(raw []byte) (UserID, error) {
	if raw[0] != '"' {
		return "", errUserDash
	}
	return ParseUserID(text(raw))
}

// badText returns what stands where a user ID should, for an error's text.
func badText(raw []byte) string {
	if raw[0] == '"' {
		return shorten(str(raw))
	}
	return shorten(string(raw))
}

// ParseFetch reads the data of a FETCH_MISSING_MESSAGES_REQUEST, which may be
// absent: how many messages the client wants, from 1 to MaxFetch.
func ParseFetch(data []byte) (count int, err *Error) {
	var v [1][]byte
	if err := fields("data", data, []string{"count"}, v[:]); err != nil {
		return 0, err
	}
	if v[0] == nil {
		return DefaultFetch, nil
	}
	n, ok := integer(v[0])
	if !ok || n < 1 {
		return 0, badField("data.count", " has to be a whole number above 0")
	}
	return int(min(n, MaxFetch)), nil
}

// ParseClose reads the data of a CLOSE_CONNECTION: whose sessions to close.
func ParseClose(data []byte) (UserID, *Error) {
	var v [1][]byte
	if err := fields("data", data, []string{"userId"}, v[:]); err != nil {
		return "", err
	}
	if v[0] == nil {
		return "", missing("data.userId")
	}
	user, err := userOf(v[0])
	if err != nil {
		return "", badField("data.userId", ": "+err.Error())
	}
	return user, nil
}

// ParseAck reads the data of a MESSAGE_ACK: the last message that the client has
// handled.
func ParseAck(data []byte) (ID, *Error) {
	var v [1][]byte
	if err := fields("data", data, []string{"id"}, v[:]); err != nil {
		return ID{}, err
	}
	if v[0] == nil {
		return ID{}, missing("data.id")
	}
	if v[0][0] != '"' {
		return ID{}, badField("data.id", " has to be a string")
	}
	id, err := ParseID(text(v[0]))
	if err != nil {
		return ID{}, badField("data.id", ": "+err.Error())
	}
	return id, nil
}

// fields reads those members of an object that are named into values, as raw
// JSON, nil when absent or null. The object may be nil. A member that is named
// and given twice is an error; where is what to call the object in it.
func fields(where string, object []byte, names []string, values [][]byte) *Error {
	if object == nil {
		return nil
	}
	s := scanner{b: object, depth: 1} // inside the envelope
	if s.peek() != '{' {
		return badField(where, " has to be an object")
	}
	var seen uint64
	var again string
	for more := s.open('}'); more; more = s.next('}') {
		var buf [32]byte
		key := s.key()
		at := slices.Index(names, string(key.name(&buf)))
		v := s.value()
		if at < 0 {
			continue
		}
		if seen&(1<<at) != 0 {
			again = names[at]
		} else if !isNull(v) {
			values[at] = v
		}
		seen |= 1 << at
	}
	if err := s.end(); err != nil {
		return err
	}
	if again != "" {
		return twice(within(where, again))
	}
	return nil
}

// unknownMember returns the first member of an object that is none of names, and not
// null. fields has read the object.
func unknownMember(object []byte, names []string) (name string, found bool) {
	s := scanner{b: object, depth: 1} // inside the envelope
	s.peek()
	for more := s.open('}'); more; more = s.next('}') {
		var buf [32]byte
		key := s.key()
		if v := s.value(); !isNull(v) && !slices.Contains(names, string(key.name(&buf))) {
			return shorten(string(appendText(nil, key.raw))), true
		}
	}
	return "", false
}
