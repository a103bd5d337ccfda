package api

import (
	"reflect"
	"unicode/utf8"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Raw is the body of a request as it came, for a handler that reads it by itself:
// what has a message in it is read by the rules of frames, and faster. T is what
// it looks like, for those who compare the calls with their description.
type Raw[T any] []byte

// set implements rawBody.
func (b *Raw[T]) set(body []byte) { *b = body }

// shape implements shaped.
func (Raw[T]) shape() reflect.Type { return reflect.TypeFor[T]() }

// rawBody is any Raw.
type rawBody interface{ set(body []byte) }

// shaped is a body or an answer whose JSON looks like another type's.
type shaped interface{ shape() reflect.Type }

// appender is an answer that writes itself. Messages leave as they came, also
// where a general writer would find fault with them.
type appender interface {
	appendJSON(dst []byte) []byte
	shaped
}

// checkText refuses a body that no frame could carry.
func checkText(body []byte) error {
	if !utf8.Valid(body) {
		return Invalid("", "the body is not JSON: invalid UTF-8")
	}
	return nil
}

// fromBody returns what is wrong with a body, or with a message in it, as a
// refusal; nil for nil.
func fromBody(e *wire.BodyError) *Refusal {
	if e == nil {
		return nil
	}
	r := Invalid("", "%s", e.Reason)
	r.Field = e.Field
	if e.Code == wire.CodeTooManyReceivers || e.Code == wire.CodeTooDeep {
		r.Code = e.Code
	}
	return r
}
