package webhooks

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// A record of the history is a batch of events of one webhook, in the order in
// which they ended:
//
//	version    1 byte, recordVersion
//	app, name  each with its length before it
//	links      for each state, the number of the record before this one of the
//	           same webhook that has an event of that state; 0 for none
//	count
//	events     state, time (Unix milliseconds), attempts, status, ID (16 bytes),
//	           reason and body, each with its length before it
//
// Numbers are unsigned varints. So whoever reads backwards reads no record in
// vain, and whoever reads forwards asks for the webhook's next one.
const recordVersion = 1

// State is how an event ended.
type State uint8

// States of events in the history.
const (
	Delivered State = 1 + iota
	Failed          // given up
)

// States returns all states, in the order of their numbers.
func States() []State { return []State{Delivered, Failed} }

// String returns "delivered" or "failed".
func (s State) String() string {
	switch s {
	case Delivered:
		return "delivered"
	case Failed:
		return "failed"
	}
	return fmt.Sprintf("State(%d)", uint8(s))
}

// MarshalText is String.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Ended is an event in the history.
type Ended struct {
	ID       wire.ID
	State    State
	At       time.Time // when it arrived or was given up, in milliseconds
	Attempts int       // in this process
	Status   int       // of the last answer; 0 for none
	Reason   string    // why the last attempt failed; empty for delivered ones
	Body     []byte    // what was posted
}

// record is a batch of the history.
type record struct {
	of     Name
	links  [2]uint64 // by state, less one
	events []Ended
}

// recordCost is about what an event takes in a record, besides its text.
const recordCost = 48

func (e *Ended) cost() int { return recordCost + len(e.Reason) + len(e.Body) }

func appendRecord(b []byte, r record) []byte {
	b = append(b, recordVersion)
	b = appendText(b, r.of.App)
	b = appendText(b, r.of.Name)
	for _, link := range r.links {
		b = binary.AppendUvarint(b, link)
	}
	b = binary.AppendUvarint(b, uint64(len(r.events)))
	for i := range r.events {
		e := &r.events[i]
		b = append(b, byte(e.State))
		b = binary.AppendUvarint(b, uint64(e.At.UnixMilli()))
		b = binary.AppendUvarint(b, uint64(e.Attempts))
		b = binary.AppendUvarint(b, uint64(e.Status))
		b = append(b, e.ID[:]...)
		b = appendText(b, e.Reason)
		b = appendText(b, e.Body)
	}
	return b
}

func appendText[T ~string | ~[]byte](b []byte, text T) []byte {
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

var errRecord = errors.New("a record of the webhooks' history is damaged, or of another version")

// readRecord reads a record. The texts of its events stay part of b.
func readRecord(b []byte) (record, error) {
	in := reader{left: b}
	if in.byte() != recordVersion {
		return record{}, errRecord
	}
	r := record{of: Name{App: string(in.text()), Name: string(in.text())}}
	for i := range r.links {
		r.links[i] = in.number()
	}
	count := in.number()
	for range count {
		e := Ended{State: State(in.byte()), At: time.UnixMilli(int64(in.number())).UTC(), Attempts: int(in.number()), Status: int(in.number())}
		copy(e.ID[:], in.take(len(e.ID)))
		e.Reason, e.Body = string(in.text()), in.text()
		if in.bad || e.State != Delivered && e.State != Failed {
			return record{}, errRecord
		}
		r.events = append(r.events, e)
	}
	if in.bad || len(in.left) > 0 {
		return record{}, errRecord
	}
	return r, nil
}

// reader takes a record apart. Once something is missing it is bad and returns
// nothing more.
type reader struct {
	left []byte
	bad  bool
}

func (r *reader) take(n int) []byte {
	if r.bad || n > len(r.left) {
		r.bad = true
		return nil
	}
	part := r.left[:n:n]
	r.left = r.left[n:]
	return part
}

func (r *reader) byte() byte {
	if b := r.take(1); b != nil {
		return b[0]
	}
	return 0
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint(r.left)
	if r.bad || size <= 0 || n > 1<<62 {
		r.bad = true
		return 0
	}
	r.left = r.left[size:]
	return n
}

func (r *reader) text() []byte {
	n := r.number()
	if n > uint64(len(r.left)) {
		r.bad = true
		return nil
	}
	return r.take(int(n))
}
