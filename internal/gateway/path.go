package gateway

import (
	"net/url"
	"strings"
	"unicode/utf8"
)

// badPath says why a path is refused, whatever route it may be of; empty where it is not.
// It gets the path as it was written. Services differ in what they make of such paths, so one of them might see
// another path than the one whose route, and check, was found here: dot segments, empty
// segments, separators that are escaped (once or twice), parameters of segments, and
// characters that no path has, overlong UTF-8 among them.
func badPath(escaped string) string {
	if !strings.HasPrefix(escaped, "/") {
		return "does not begin with /"
	}
	for i := 0; i < len(escaped); i++ {
		switch c := escaped[i]; {
		case c == '\\' || c == ';' || c <= ' ' || c == 0x7f:
			return "has a character that may mean another path"
		case c != '%':
			continue
		case i+2 >= len(escaped):
			return "has an escape that is none"
		}
		b, ok := unhex(escaped[i+1], escaped[i+2])
		if !ok {
			return "has an escape that is none"
		}
		if b == '/' || b == '\\' || b == ';' || b == '.' || b < ' ' || b == 0x7f {
			return "has an escaped character that may mean another path"
		}
		i += 2
	}
	plain, err := url.PathUnescape(escaped)
	if err != nil || !utf8.ValidString(plain) {
		return "is not UTF-8"
	}
	for i := 0; i+2 < len(plain); i++ {
		if _, twice := unhex(plain[i+1], plain[i+2]); twice && plain[i] == '%' {
			return "is escaped twice"
		}
	}
	for segment := range strings.SplitSeq(strings.TrimSuffix(escaped[1:], "/"), "/") {
		switch {
		case segment == "." || segment == "..":
			return "has a segment of dots"
		case segment == "" && escaped != "/":
			return "has an empty segment"
		}
	}
	return ""
}

func unhex(high, low byte) (byte, bool) {
	h, ok1 := nibble(high)
	l, ok2 := nibble(low)
	return h<<4 | l, ok1 && ok2
}

func nibble(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// cutQuery takes the path and the query of a setting apart.
func cutQuery(text string) (path, query string, found bool) { return strings.Cut(text, "?") }

// without returns a query without all parameters of a name, the others as they were.
func without(query, name string) string {
	if !strings.Contains(query, name) && !strings.Contains(query, "%") {
		return query
	}
	var kept []string
	for part := range strings.SplitSeq(query, "&") {
		key, _, _ := strings.Cut(part, "=")
		if plain, err := url.QueryUnescape(key); err != nil || plain != name {
			kept = append(kept, part)
		}
	}
	return strings.Join(kept, "&")
}

// join puts a path behind that of an instance's URL.
func join(base, path string) string { return strings.TrimSuffix(base, "/") + path }
