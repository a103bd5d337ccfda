package traffic

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/window"
)

// question is what one shard is asked for: sums in pieces of time.
type question struct {
	From    int64    `json:"from"` // milliseconds; pieces that begin from then on
	To      int64    `json:"to"`   // and before
	Unit    int64    `json:"unit"` // how long a piece is
	By      []string `json:"by,omitempty"`
	Types   []string `json:"types"`
	Only    Key      `json:"only"`           // fields that have to be as they are here, where they are not empty
	Minutes bool     `json:"minutes"`        // minutes are good enough
	Devices bool     `json:"devices"`        // devices have to be told apart
	Most    int      `json:"most,omitempty"` // rows
}

// rowKey is where a row stands.
type rowKey struct {
	start int64
	key   Key
}

// rows are the pieces that an answer is made of.
type rows map[rowKey]*window.Aggregate

func (r rows) add(at rowKey, a *window.Aggregate) {
	if sum := r[at]; sum != nil {
		sum.Merge(a)
		return
	}
	c := a.Clone()
	r[at] = &c
}

// wanted says whether groups of a key are asked for, and as what they count.
func (q *question) wanted(k Key) (as Key, ok bool) {
	for _, f := range []struct{ only, is string }{
		{q.Only.App, k.App}, {q.Only.Capability, k.Capability}, {q.Only.Domain, k.Domain}, {q.Only.Device, k.Device},
	} {
		if f.only != "" && f.only != f.is {
			return as, false
		}
	}
	if k.Type == tooLate || k.Type == ahead {
		return Key{Type: k.Type}, true
	}
	if !slices.Contains(q.Types, k.Type) {
		return as, false
	}
	for _, by := range q.By {
		switch by {
		case "app":
			as.App = k.App
		case "capability":
			as.Capability = k.Capability
		case "domain":
			as.Domain = k.Domain
		case "device":
			as.Device = k.Device
		case "type":
			as.Type = k.Type
		}
	}
	return as, true
}

// part is what a shard has for an answer: rows of what is still open, and what is
// closed as it is encoded, which is never changed.
type part struct {
	q      *question
	rows   rows
	closed []closed
}

type closed struct {
	start  int64
	sealed []byte
}

func (p *part) add(start int64, k Key, a *window.Aggregate) {
	if as, ok := p.q.wanted(k); ok {
		p.rows.add(rowKey{window.Floor(start, time.Duration(p.q.Unit)*time.Millisecond), as}, a)
	}
}

// collect finds what a question is about. The caller holds the shard.
func (s *shard) collect(q *question) *part {
	p := &part{q: q, rows: make(rows)}
	for at, x := range s.slots {
		if at.start < q.From || at.start >= q.To {
			continue
		}
		if s.counts(at, q) {
			p.take(at.start, x)
		}
		if x.brought != nil && at.layer == q.layer() {
			p.take(at.start, x.brought)
		}
	}
	return p
}

// take adds a slot.
func (p *part) take(start int64, x *slot) {
	if x.groups == nil {
		p.closed = append(p.closed, closed{start, x.sealed})
	}
	for k, a := range x.groups {
		p.add(start, k, a)
	}
}

// layer is the one that has all that is asked for and is closed.
func (q *question) layer() layer {
	switch {
	case q.Devices:
		return devices
	case q.Minutes:
		return coarse
	}
	return fine
}

// counts says whether a slot is one of those that an answer is made of: minutes
// stand for their panes.
func (s *shard) counts(at place, q *question) bool {
	return at.layer == q.layer() || q.layer() == coarse && at.layer == fine && !s.slots[minuteOf(at.start)].made()
}

// finish adds what is closed, unless there is more than was asked for.
func (p *part) finish() (rows, bool) {
	for _, c := range p.closed {
		each(c.sealed, func(k Key, a window.Aggregate) { p.add(c.start, k, &a) })
		if p.q.Most > 0 && len(p.rows) > p.q.Most {
			return nil, false
		}
	}
	return p.rows, true
}

// appendRows encodes what a shard answers: up to when it holds all that was taken in,
// and rows.
func appendRows(dst []byte, settled int64, r rows) []byte {
	dst = binary.AppendVarint(dst, settled)
	dst = binary.AppendUvarint(dst, uint64(len(r)))
	for at, a := range r {
		dst = binary.AppendVarint(dst, at.start)
		dst = a.Append(appendKey(dst, at.key))
	}
	return dst
}

// addRows adds what a shard has answered.
func (r rows) addRows(src []byte) (settled int64, err error) {
	switch {
	case len(src) == 0 || src[0] > replyTooMuch:
		return 0, errBroken
	case src[0] == replyTooMuch:
		return 0, &Refused{Err: ErrTooMuch}
	}
	src = src[1:]
	settled, size := binary.Varint(src)
	if size <= 0 {
		return 0, errBroken
	}
	n, more := binary.Uvarint(src[size:])
	if more <= 0 {
		return 0, errBroken
	}
	src = src[size+more:]
	for range n {
		var at rowKey
		var a window.Aggregate
		if at.start, size = binary.Varint(src); size <= 0 {
			return 0, errBroken
		}
		if at.key, src, err = cutKey(src[size:]); err != nil {
			return 0, err
		}
		if a, src, err = window.Decode(src); err != nil {
			return 0, err
		}
		r.add(at, &a)
	}
	return settled, nil
}

func (q *question) append() []byte {
	b, err := json.Marshal(q)
	if err != nil {
		panic(fmt.Sprintf("traffic: %v", err)) // it has only what can be encoded
	}
	return b
}

func readQuestion(b []byte) (*question, error) {
	var q question
	if err := json.Unmarshal(b, &q); err != nil {
		return nil, fmt.Errorf("read a question: %w", err)
	}
	if q.Unit < Pane.Milliseconds() {
		return nil, fmt.Errorf("read a question: %w", errBroken)
	}
	return &q, nil
}

// Dimensions are what groups may be told apart by.
func Dimensions() []string { return []string{"app", "capability", "domain", "device", "type"} }

// ParseBy reads a list as "app,capability"; empty or "total": all together.
func ParseBy(text string) ([]string, error) {
	if text == "" || text == "total" {
		return nil, nil
	}
	list := strings.Split(text, ",")
	for i, by := range list {
		if !slices.Contains(Dimensions(), by) || slices.Contains(list[:i], by) {
			return nil, fmt.Errorf("name each of %s at most once, with commas between, or total", strings.Join(Dimensions(), ", "))
		}
	}
	return list, nil
}
