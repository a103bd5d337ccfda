package wire

import (
	"encoding/binary"
	"math/bits"
)

// fault says why a scanner stopped.
type fault uint8

const (
	faultNone   fault = iota
	faultSyntax       // not JSON
	faultDepth        // nested beyond MaxDepth
)

// scanner walks over JSON text once, from left to right, and checks all that it
// passes. After a fault every method returns at once and i stays where the fault
// was found.
type scanner struct {
	b     []byte
	i     int // next byte
	depth int // arrays and objects that are open here
	fault fault
}

// token is what stands between the quotes of a JSON string.
type token struct {
	raw     []byte
	escaped bool
}

func (s *scanner) fail(f fault) {
	if s.fault == faultNone {
		s.fault = f
	}
}

// space skips white space and returns the byte after it, 0 at the end of the
// input. (A 0 in the input is never valid where this is asked.)
func (s *scanner) space() byte {
	for s.i < len(s.b) {
		c := s.b[s.i]
		if c > ' ' || (c != ' ' && c != '\n' && c != '\t' && c != '\r') {
			return c
		}
		s.i++
	}
	return 0
}

// open steps into the array or object that begins here, and says whether there
// is anything in it. If not, it has stepped out again.
func (s *scanner) open(closing byte) bool {
	if s.fault != faultNone {
		return false
	}
	if s.depth == MaxDepth {
		s.fail(faultDepth)
		return false
	}
	s.i++
	if s.space() == closing {
		s.i++
		return false
	}
	s.depth++
	return true
}

// next steps over what follows a value in an array or object, and says whether
// another one comes. If not, it has stepped out.
func (s *scanner) next(closing byte) bool {
	if s.fault != faultNone {
		return false
	}
	switch s.space() {
	case ',':
		s.i++
		s.space()
		return true
	case closing:
		s.i++
		s.depth--
		return false
	}
	s.fail(faultSyntax)
	return false
}

// key reads the name of a member and steps to its value.
func (s *scanner) key() token {
	if s.fault != faultNone {
		return token{}
	}
	if s.i == len(s.b) || s.b[s.i] != '"' {
		s.fail(faultSyntax)
		return token{}
	}
	start := s.i + 1
	escaped := s.str()
	if s.fault != faultNone {
		return token{}
	}
	key := token{s.b[start : s.i-1], escaped}
	if s.space() != ':' {
		s.fail(faultSyntax)
		return token{}
	}
	s.i++
	s.space()
	return key
}

// value steps over one value and returns it, nil after a fault.
func (s *scanner) value() []byte {
	if s.fault != faultNone {
		return nil
	}
	start := s.i
	s.skip()
	if s.fault != faultNone {
		return nil
	}
	return s.b[start:s.i]
}

// skip steps over one value.
func (s *scanner) skip() {
	if s.fault != faultNone {
		return
	}
	if c := s.peek(); c == '{' || c == '[' {
		s.nested()
	} else {
		s.scalar(c)
	}
}

// nested steps over an array or object and all that is in it. It does not call
// itself: a deeply nested frame must not grow the stack of the goroutine that
// reads it.
func (s *scanner) nested() {
	var objects [MaxDepth/64 + 1]uint64 // bit d: the container at depth d is an object
	base := s.depth
	for {
		opened := false
		switch c := s.peek(); c {
		case '{':
			if opened = s.open('}'); opened {
				objects[s.depth/64] |= 1 << (s.depth % 64)
				s.key()
			}
		case '[':
			if opened = s.open(']'); opened {
				objects[s.depth/64] &^= 1 << (s.depth % 64)
			}
		default:
			s.scalar(c)
		}
		for !opened && s.depth > base && s.fault == faultNone {
			if objects[s.depth/64]>>(s.depth%64)&1 == 0 {
				opened = s.next(']')
			} else if opened = s.next('}'); opened {
				s.key()
			}
		}
		if !opened || s.fault != faultNone {
			return
		}
	}
}

// peek returns the byte here, 0 at the end of the input.
func (s *scanner) peek() byte {
	if s.i < len(s.b) {
		return s.b[s.i]
	}
	return 0
}

// scalar steps over a value that begins with c and is no array or object.
func (s *scanner) scalar(c byte) {
	switch {
	case c == '"':
		s.str()
	case c == '-' || isDigit(c):
		s.number()
	case c == 't':
		s.literal("true")
	case c == 'f':
		s.literal("false")
	case c == 'n':
		s.literal("null")
	default:
		s.fail(faultSyntax)
	}
}

func (s *scanner) literal(word string) {
	if len(s.b)-s.i < len(word) || string(s.b[s.i:s.i+len(word)]) != word {
		s.fail(faultSyntax)
		return
	}
	s.i += len(word)
}

func (s *scanner) number() {
	if s.peek() == '-' {
		s.i++
	}
	if s.peek() == '0' {
		s.i++
	} else {
		s.digits()
	}
	if s.peek() == '.' {
		s.i++
		s.digits()
	}
	if c := s.peek(); c == 'e' || c == 'E' {
		s.i++
		if c := s.peek(); c == '+' || c == '-' {
			s.i++
		}
		s.digits()
	}
}

// digits steps over one digit or more.
func (s *scanner) digits() {
	start := s.i
	for isDigit(s.peek()) {
		s.i++
	}
	if s.i == start {
		s.fail(faultSyntax)
	}
}

// str steps over a string and says whether it has escapes.
func (s *scanner) str() (escaped bool) {
	s.i++
	for {
		s.plain()
		switch s.peek() {
		case '"':
			s.i++
			return escaped
		case '\\':
			escaped = true
			s.escape()
		default: // a control character, or the end
			s.fail(faultSyntax)
		}
		if s.fault != faultNone {
			return escaped
		}
	}
}

// plain steps over the bytes of a string up to the next quote, backslash or
// control character, eight at a time.
func (s *scanner) plain() {
	const (
		ones  = 0x0101010101010101
		highs = 0x8080808080808080
	)
	b, i := s.b, s.i
	for len(b)-i >= 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		quote, slash := x^(ones*'"'), x^(ones*'\\')
		// In each of the three the lowest bit that is set is right: what a
		// borrow sets wrongly lies above it.
		found := ((x - ones*0x20) & ^x) | ((quote - ones) & ^quote) | ((slash - ones) & ^slash)
		if found &= highs; found != 0 {
			s.i = i + bits.TrailingZeros64(found)/8
			return
		}
		i += 8
	}
	for i < len(b) && b[i] >= 0x20 && b[i] != '"' && b[i] != '\\' {
		i++
	}
	s.i = i
}

// escape steps over a backslash and what belongs to it.
func (s *scanner) escape() {
	s.i++
	switch s.peek() {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		s.i++
	case 'u':
		if len(s.b)-s.i < 5 || hex4(s.b[s.i+1:]) < 0 {
			s.fail(faultSyntax)
			return
		}
		s.i += 5
	default:
		s.fail(faultSyntax)
	}
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }
