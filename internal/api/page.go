package api

import (
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/url"
)

// defaultPage is how much a page holds when nothing is asked for.
const defaultPage = 100

// Page is part of the request of a call that answers in pages. Both parts are
// set when the handler gets it.
type Page struct {
	Limit  int    `query:"limit"`  // 1 to limits.page
	Cursor Cursor `query:"cursor"` // where the page before ended

	of string // what is paged through
}

// Cursor is a place in a list, opaque to clients. It belongs to one call with its
// path and all of its other parameters: any other is refused.
type Cursor struct {
	// Position is what the handler gave to Next; empty at the beginning.
	Position string

	text string // as it came, or goes
}

// Next returns the cursor behind a position, for the answer: what the position
// means is the handler's to say. With an empty position there is no next page.
func (p Page) Next(position string) Cursor {
	if position == "" {
		return Cursor{}
	}
	return cursorTo(p.of, position)
}

// cursorTo returns the cursor to a position in what of names.
func cursorTo(of, position string) Cursor {
	sum := cursorSum(of, position)
	return Cursor{Position: position, text: base64.RawURLEncoding.EncodeToString(append(sum, position...))}
}

// begin makes a page of what a request says.
func (p *Page) begin(path string, query url.Values, most int) *Refusal {
	others := make(url.Values, len(query))
	for name, values := range query {
		if name != "limit" && name != "cursor" {
			others[name] = values
		}
	}
	p.of = path + "?" + others.Encode()
	if _, given := query["limit"]; !given {
		p.Limit = min(defaultPage, most)
	}
	if p.Limit < 1 || p.Limit > most {
		return Invalid("limit", "must be a number from 1 to %d", most)
	}
	return p.Cursor.bind(p.of)
}

// bind reads the position of a cursor that a request has; it must be one in what
// of names.
func (c *Cursor) bind(of string) *Refusal {
	if c.text == "" {
		return nil
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(c.text)
	if err != nil || len(b) <= cursorSumBytes || string(cursorSum(of, string(b[cursorSumBytes:]))) != string(b[:cursorSumBytes]) {
		return Invalid("cursor", `must be the "next" of an answer to the same call with the same parameters`)
	}
	c.Position = string(b[cursorSumBytes:])
	return nil
}

const cursorSumBytes = 6

// cursorSum ties a position to what is paged through. It keeps out mistakes, not
// attackers: a position shows nobody more than the call itself does.
func cursorSum(of, position string) []byte {
	sum := sha256.Sum256([]byte("switchboard cursor\x00" + of + "\x00" + position))
	return sum[:cursorSumBytes:cursorSumBytes]
}

// IsZero is for omitzero: no next page.
func (c Cursor) IsZero() bool { return c.text == "" }

// MarshalText implements encoding.TextMarshaler.
func (c Cursor) MarshalText() ([]byte, error) { return []byte(c.text), nil }

// UnmarshalText keeps the text; Page looks at it.
func (c *Cursor) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		return errors.New(`must be the "next" of an answer`)
	}
	c.text = string(b)
	return nil
}
