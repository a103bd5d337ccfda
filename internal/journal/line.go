package journal

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"
	"unicode/utf8"
)

// appendLine writes an event as one line of JSON, with its end. docs/journal.schema.json
// says the same.
func appendLine(b []byte, e *Event) []byte {
	b = AppendJSON(b, e)
	if e.Imported != 0 {
		b = appendMoment(append(b[:len(b)-1], `,"imported":`...), e.Imported)
		if e.Before != nil {
			for i, n := range e.Before.counts() {
				b = strconv.AppendInt(append(b, beforeNames[i]...), *n, 10)
			}
		}
		b = append(b, '}')
	}
	return append(b, '\n')
}

// beforeNames begin the members of what is carried, in the order of State.counts.
var beforeNames = [...]string{`,"events":`, `,"opened":`, `,"closed":`, `,"matched":`, `,"unmatched":`, `,"sent":`, `,"received":`}

// AppendJSON writes an event as it is shown, in one line: as it is in the journal, but for
// where it came from.
func AppendJSON(b []byte, e *Event) []byte {
	b = appendText(append(b, `{"id":`...), e.ID)
	b = appendMoment(append(b, `,"at":`...), e.At)
	b = appendMoment(append(b, `,"stored":`...), e.Stored)
	b = appendText(append(b, `,"type":`...), string(e.Type))
	for _, member := range [...]struct{ name, text string }{
		{`,"device":`, e.Device}, {`,"app":`, e.App}, {`,"domain":`, e.Domain}, {`,"capability":`, e.Capability},
	} {
		if member.text != "" {
			b = appendText(append(b, member.name...), member.text)
		}
	}
	b = strconv.AppendInt(append(b, `,"amount":`...), e.Amount, 10)
	if e.Count != 0 {
		b = strconv.AppendInt(append(b, `,"count":`...), e.Count, 10)
		b = strconv.AppendInt(append(b, `,"sum":`...), e.Amount, 10)
		b = strconv.AppendInt(append(b, `,"min":`...), e.Min, 10)
		b = strconv.AppendInt(append(b, `,"max":`...), e.Max, 10)
	}
	if len(e.Sketch) > 0 {
		b = base64.StdEncoding.AppendEncode(append(b, `,"sketch":"`...), e.Sketch)
		b = append(b, '"')
	}
	return append(b, '}')
}

// appendText writes a string. Most need no escapes.
func appendText(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c == '"' || c == '\\' || c >= utf8.RuneSelf {
			quoted, err := json.Marshal(s)
			if err != nil {
				panic(err) // strings marshal
			}
			return append(b, quoted...)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

const momentForm = `"2006-01-02T15:04:05.000Z"`

func appendMoment(b []byte, ms int64) []byte {
	return time.UnixMilli(ms).UTC().AppendFormat(b, momentForm)
}

// errLine says that a line of the journal is not what this program writes.
var errLine = errors.New("a line of the journal is no event")

// parseBatch takes a batch apart.
func parseBatch(batch []byte, into []Event) ([]Event, error) {
	for len(batch) > 0 {
		end := bytes.IndexByte(batch, '\n')
		if end < 0 {
			return into, fmt.Errorf("%w: the batch ends within one", errLine)
		}
		e, err := parseLine(batch[:end])
		if err != nil {
			return into, err
		}
		into, batch = append(into, e), batch[end+1:]
	}
	return into, nil
}

// parseLine reads an event. Members that it does not know are passed over, so that an
// older program reads what a newer one wrote.
func parseLine(line []byte) (e Event, err error) {
	s := scanner{line}
	if !s.skip('{') {
		return e, errLine
	}
	for {
		name, ok := s.text()
		if !ok || !s.skip(':') || !s.member(&e, name) {
			return e, errLine
		}
		switch {
		case s.skip(','):
		case s.skip('}') && len(s.rest) == 0:
			return e, nil
		default:
			return e, errLine
		}
	}
}

// scanner reads JSON as AppendJSON writes it: without spaces, flat.
type scanner struct{ rest []byte }

func (s *scanner) skip(c byte) bool {
	if len(s.rest) == 0 || s.rest[0] != c {
		return false
	}
	s.rest = s.rest[1:]
	return true
}

// text reads a string.
func (s *scanner) text() (string, bool) {
	if !s.skip('"') {
		return "", false
	}
	for i, c := range s.rest {
		switch {
		case c == '"':
			text := string(s.rest[:i])
			s.rest = s.rest[i+1:]
			return text, true
		case c == '\\':
			return s.escaped()
		}
	}
	return "", false
}

// escaped reads a string of which the first quote is read, and that has escapes.
func (s *scanner) escaped() (text string, ok bool) {
	end := 0
	for end < len(s.rest) && s.rest[end] != '"' {
		if s.rest[end] == '\\' {
			end++
		}
		end++
	}
	if end >= len(s.rest) {
		return "", false
	}
	quoted := append([]byte{'"'}, s.rest[:end+1]...)
	s.rest = s.rest[end+1:]
	return text, json.Unmarshal(quoted, &text) == nil
}

func (s *scanner) number() (int64, bool) {
	end := 0
	for end < len(s.rest) && (s.rest[end] == '-' || s.rest[end] >= '0' && s.rest[end] <= '9') {
		end++
	}
	n, err := strconv.ParseInt(string(s.rest[:end]), 10, 64)
	s.rest = s.rest[end:]
	return n, err == nil
}

func (s *scanner) moment() (int64, bool) {
	if len(s.rest) < len(momentForm) {
		return 0, false
	}
	at, err := time.Parse(momentForm, string(s.rest[:len(momentForm)]))
	s.rest = s.rest[len(momentForm):]
	return at.UnixMilli(), err == nil
}

// before reads the value of a member of what is carried; false when it is none.
func (s *scanner) before(e *Event, name string) (ok bool) {
	if e.Type != Carried {
		return false
	}
	if e.Before == nil {
		e.Before = new(State)
	}
	for i, n := range e.Before.counts() {
		if beforeNames[i] == `,"`+name+`":` {
			*n, ok = s.number()
		}
	}
	return ok
}

// member reads the value of a member.
func (s *scanner) member(e *Event, name string) (ok bool) {
	var kind string
	switch name {
	case "id":
		e.ID, ok = s.text()
	case "at":
		e.At, ok = s.moment()
	case "stored":
		e.Stored, ok = s.moment()
	case "imported":
		e.Imported, ok = s.moment()
	case "type":
		kind, ok = s.text()
		e.Type = Type(kind)
	case "device":
		e.Device, ok = s.text()
	case "app":
		e.App, ok = s.text()
	case "domain":
		e.Domain, ok = s.text()
	case "capability":
		e.Capability, ok = s.text()
	case "amount":
		e.Amount, ok = s.number()
	case "count":
		e.Count, ok = s.number()
	case "min":
		e.Min, ok = s.number()
	case "max":
		e.Max, ok = s.number()
	case "sketch":
		var text string
		var err error
		if text, ok = s.text(); ok {
			e.Sketch, err = base64.StdEncoding.DecodeString(text)
		}
		ok = ok && err == nil
	default: // sum, which is the amount, or what comes later
		if ok = s.before(e, name); ok {
			break
		}
		if len(s.rest) > 0 && s.rest[0] == '"' {
			_, ok = s.text()
		} else {
			_, ok = s.number()
		}
	}
	return ok
}
