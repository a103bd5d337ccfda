package wire

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// AppendString appends s as a JSON string, with quotes. Bytes that are not UTF-8
// become U+FFFD. It is how to make a reference from text.
func AppendString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c >= 0x20 && c != '"' && c != '\\' {
				i++
				continue
			}
			dst = appendEscape(append(dst, s[start:i]...), c)
			i++
			start = i
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if r == utf8.RuneError && size == 1 {
			dst = append(append(dst, s[start:i]...), "\ufffd"...)
			start = i + 1
		}
		i += size
	}
	return append(append(dst, s[start:]...), '"')
}

// appendEscape appends a quote, a backslash or a control character.
func appendEscape(dst []byte, c byte) []byte {
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	}
	return append(dst, '\\', 'u', '0', '0', hexDigits[c>>4], hexDigits[c&15])
}

// name returns the text of a member's name. Names with escapes are written to
// buf; those that do not fit are no names that anyone looks for, and come back
// empty.
func (t token) name(buf *[32]byte) []byte {
	if !t.escaped {
		return t.raw
	}
	if len(t.raw) > 6*len(buf) { // \u0041 is the longest way to write a byte
		return nil
	}
	return appendText(buf[:0], t.raw)
}

// text returns the text of a JSON string, given with its quotes. It allocates
// only when there are escapes.
func text(raw []byte) []byte {
	inner := raw[1 : len(raw)-1]
	if bytes.IndexByte(inner, '\\') < 0 {
		return inner
	}
	return appendText(make([]byte, 0, len(inner)), inner)
}

// str returns the text of a JSON string as a Go string that is valid UTF-8.
func str(raw []byte) string {
	return string(appendText(make([]byte, 0, len(raw)), raw[1:len(raw)-1]))
}

// EachString calls each with the text of every string in a valid JSON value, names
// of members left out. The text is valid during the call, and may not be UTF-8.
func EachString(value []byte, each func(text []byte)) {
	for i := 0; i < len(value); i++ {
		if value[i] != '"' {
			continue
		}
		start := i
		for i++; i < len(value) && value[i] != '"'; i++ {
			if value[i] == '\\' {
				i++
			}
		}
		rest := scanner{b: value, i: i + 1}
		if i < len(value) && rest.space() != ':' {
			each(text(value[start : i+1]))
		}
	}
}

// appendText appends what s, the inside of a valid JSON string, stands for. As
// in encoding/json, bytes that are not UTF-8 and halves of surrogate pairs
// become U+FFFD.
func appendText(dst, s []byte) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '\\' && s[i+1] == 'u':
			r, size := codepoint(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
		case c == '\\':
			dst = append(dst, escapedByte(s[i+1]))
			i += 2
		case c < utf8.RuneSelf:
			dst = append(dst, c)
			i++
		default:
			r, size := utf8.DecodeRune(s[i:])
			dst = utf8.AppendRune(dst, r)
			i += size
		}
	}
	return dst
}

// codepoint reads \uXXXX, or two of them that are a surrogate pair, and returns
// how many bytes it read.
func codepoint(s []byte) (rune, int) {
	r := hex4(s[2:])
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(s) >= 12 && s[6] == '\\' && s[7] == 'u' {
		if pair := utf16.DecodeRune(r, hex4(s[8:])); pair != utf8.RuneError {
			return pair, 12
		}
	}
	return utf8.RuneError, 6
}

func escapedByte(c byte) byte {
	switch c {
	case 'b':
		return '\b'
	case 'f':
		return '\f'
	case 'n':
		return '\n'
	case 'r':
		return '\r'
	case 't':
		return '\t'
	}
	return c // quote, backslash, slash
}

// hex4 returns the value of four hexadecimal digits, below 0 if they are not.
func hex4(s []byte) rune {
	if len(s) < 4 {
		return -1
	}
	var r rune
	for _, c := range s[:4] {
		if 'A' <= c && c <= 'F' {
			c += 'a' - 'A'
		}
		n := nibble(c)
		if n > 15 {
			return -1
		}
		r = r<<4 | rune(n)
	}
	return r
}

// shorten makes text from a stranger fit into an error's reason.
func shorten(s string) string {
	const most = 80
	if len(s) <= most {
		return s
	}
	cut := most
	for cut > 0 && !utf8.RuneStart(s[cut]) {
		cut--
	}
	return s[:cut] + "…"
}

// ContentSize returns how many bytes a valid JSON value counts as content: of a string
// its text in UTF-8, of any other value its JSON.
func ContentSize(raw []byte) int {
	if len(raw) < 2 || raw[0] != '"' {
		return len(raw)
	}
	return len(text(raw))
}
