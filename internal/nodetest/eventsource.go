package nodetest

import (
	"bufio"
	"io"
	"strings"
)

// Event is one server-sent event.
type Event struct {
	ID    string // the last that was named, by this event or an earlier one
	Event string // its type; empty for "message"
	Data  string
}

// EventReader takes a stream of server-sent events apart, as the WHATWG HTML
// standard has it (section 9.2.6). It is written for tests: lines may be as long
// as memory allows.
type EventReader struct {
	Retry    string // the last that was named
	Comments int    // how many came

	in    *bufio.Reader
	begun bool
	id    string
}

// NewEventReader returns a reader of what r has.
func NewEventReader(r io.Reader) *EventReader { return &EventReader{in: bufio.NewReader(r)} }

// Next returns the next event. What is not complete when the stream ends is lost,
// as it is in a browser.
func (r *EventReader) Next() (Event, error) {
	var e Event
	var data []string
	for {
		line, err := r.line()
		if err != nil {
			return Event{}, err
		}
		if line == "" {
			e.ID = r.id
			if data == nil {
				e = Event{}
				continue
			}
			e.Data = strings.Join(data, "\n")
			return e, nil
		}
		name, value, _ := strings.Cut(line, ":")
		value = strings.TrimPrefix(value, " ")
		switch name {
		case "":
			r.Comments++
		case "event":
			e.Event = value
		case "data":
			data = append(data, value)
		case "id":
			if !strings.Contains(value, "\x00") {
				r.id = value
			}
		case "retry":
			if strings.Trim(value, "0123456789") == "" {
				r.Retry = value
			}
		}
	}
}

// line returns a line without its end, which is CR, LF or both.
func (r *EventReader) line() (string, error) {
	var b strings.Builder
	for {
		c, _, err := r.in.ReadRune()
		if err != nil {
			return "", err
		}
		first := !r.begun
		r.begun = true
		switch {
		case c == '\ufeff' && first:
		case c == '\n':
			return b.String(), nil
		case c == '\r':
			if next, err := r.in.Peek(1); err == nil && next[0] == '\n' {
				_, _ = r.in.Discard(1) // it was there just now
			}
			return b.String(), nil
		default:
			b.WriteRune(c)
		}
	}
}
