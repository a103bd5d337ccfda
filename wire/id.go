package wire

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"time"
)

// idText is the length of an ID as text.
const idText = 36

// ID is a UUIDv7: 48 bits of Unix milliseconds and 74 random bits. As text it is
// in lower case, and sorts roughly by time. Where an order is promised, a number
// from one place gives it, never an ID. The zero ID stands for none.
type ID [16]byte

var errID = errors.New("an ID is a UUIDv7 in lower case")

// NewID makes the ID of something that happens now, with 10 bytes from random
// (crypto/rand.Reader outside of tests). It fails only when random does.
func NewID(now time.Time, random io.Reader) (ID, error) {
	var id ID
	if _, err := io.ReadFull(random, id[6:]); err != nil {
		return ID{}, fmt.Errorf("read randomness for an ID: %w", err)
	}
	ms := uint64(now.UnixMilli())
	binary.BigEndian.PutUint16(id[0:], uint16(ms>>32))
	binary.BigEndian.PutUint32(id[2:], uint32(ms))
	id.mark()
	return id, nil
}

// ParseID reads an ID in its one spelling: 36 characters, lower case, version 7.
func ParseID[T ~string | ~[]byte](s T) (ID, error) {
	var id ID
	if len(s) != idText {
		return ID{}, errID
	}
	at := 0
	for i := 0; i < idText; {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			if s[i] != '-' {
				return ID{}, errID
			}
			i++
			continue
		}
		hi, lo := nibble(s[i]), nibble(s[i+1])
		if hi > 15 || lo > 15 {
			return ID{}, errID
		}
		id[at] = hi<<4 | lo
		at++
		i += 2
	}
	if id[6]>>4 != 7 || id[8]>>6 != 2 {
		return ID{}, errID
	}
	return id, nil
}

// String returns the ID as text, for example
// "0199a3e2-7c1b-7f00-8a2b-3c4d5e6f7081".
func (id ID) String() string {
	b, _ := id.AppendText(make([]byte, 0, idText))
	return string(b)
}

// AppendText appends the ID as text. The error is always nil; it is there for
// [encoding.TextAppender].
func (id ID) AppendText(dst []byte) ([]byte, error) {
	dst = hex.AppendEncode(dst, id[0:4])
	dst = hex.AppendEncode(append(dst, '-'), id[4:6])
	dst = hex.AppendEncode(append(dst, '-'), id[6:8])
	dst = hex.AppendEncode(append(dst, '-'), id[8:10])
	return hex.AppendEncode(append(dst, '-'), id[10:16]), nil
}

// MarshalText is AppendText for [encoding.TextMarshaler].
func (id ID) MarshalText() ([]byte, error) { return id.AppendText(nil) }

// UnmarshalText is ParseID for [encoding.TextUnmarshaler].
func (id *ID) UnmarshalText(b []byte) error {
	parsed, err := ParseID(b)
	if err != nil {
		return err
	}
	*id = parsed
	return nil
}

// IsZero says whether this is the zero ID, which stands for none.
func (id ID) IsZero() bool { return id == ID{} }

// Time returns the millisecond in which the ID was made, in UTC.
func (id ID) Time() time.Time {
	ms := uint64(binary.BigEndian.Uint16(id[0:]))<<32 | uint64(binary.BigEndian.Uint32(id[2:]))
	return time.UnixMilli(int64(ms)).UTC()
}

// Derive returns the ID that belongs to this one under a label: a UUIDv7 with
// the same time, its other bits from SHA-256 of the ID and the label. The same
// ID and label always give the same result, so whoever makes something twice
// after a crash makes it under one ID.
func (id ID) Derive(label string) ID {
	h := sha256.New()
	h.Write(id[:])
	h.Write([]byte(label))
	var sum [sha256.Size]byte
	h.Sum(sum[:0])
	derived := id
	copy(derived[6:], sum[:])
	derived.mark()
	return derived
}

// mark sets version and variant.
func (id *ID) mark() {
	id[6] = id[6]&0x0f | 0x70
	id[8] = id[8]&0x3f | 0x80
}

// nibble returns the value of a lower-case hexadecimal digit, above 15 for any
// other byte.
func nibble(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	}
	return 0xff
}
