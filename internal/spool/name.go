package spool

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// longestName is how many bytes a name may have on every file system that
// matters.
const longestName = 255

// NameError says why a file may not have a name.
type NameError struct {
	Name   string
	Reason string // "it is empty"
}

func (e *NameError) Error() string {
	return fmt.Sprintf("the name %s cannot be a file's here: %s", strconv.QuoteToASCII(shorten(e.Name, 80)), e.Reason)
}

// CheckName says whether a file in a spool may have a name, with a *NameError if
// not. A name is 1 to 255 bytes of UTF-8 without slashes of either kind and
// without control characters. It begins with no dot, since such files are hidden,
// and does not end in .tmp, since such files are still being written.
func CheckName(name string) error {
	if reason := badName(name); reason != "" {
		return &NameError{Name: name, Reason: reason}
	}
	return nil
}

func badName(name string) string {
	switch {
	case name == "":
		return "it is empty"
	case len(name) > longestName:
		return fmt.Sprintf("it has %d bytes, and %d is the most", len(name), longestName)
	case !utf8.ValidString(name):
		return "it is not UTF-8"
	case name[0] == '.':
		return "it begins with a dot"
	case strings.HasSuffix(name, temporary):
		return "it ends in " + temporary + ", as files do that are still being written"
	}
	for _, r := range name {
		switch {
		case r == '/' || r == '\\':
			return "there is a slash in it"
		case r < ' ' || r >= 0x7f && r < 0xa0 || r == '\u2028' || r == '\u2029':
			return "there is a control character in it"
		}
	}
	return ""
}

// temporary ends the names of files that are still being written.
const temporary = ".tmp"

// shorten returns the first most bytes of a name, whole characters only.
func shorten(name string, most int) string {
	if len(name) <= most {
		return name
	}
	name = name[:most]
	for len(name) > 0 {
		if r, size := utf8.DecodeLastRuneInString(name); r != utf8.RuneError || size > 1 {
			return name
		}
		name = name[:len(name)-1]
	}
	return name
}

// beside returns a name like another: with mark between stem and extension, and
// short enough that it and extra more bytes are a name.
func beside(name, mark string, extra int) string {
	stem, extension := name, ""
	if dot := strings.LastIndexByte(name, '.'); dot > 0 && len(name)-dot <= 32 {
		stem, extension = name[:dot], name[dot:]
	}
	return shorten(stem, longestName-extra-len(mark)-1-len(extension)) + "." + mark + extension
}

// candidates are the names that a file may get, in the order in which they are
// tried.
func candidates(name string, digest Digest) []string {
	digits := hex.EncodeToString(digest[:])
	return []string{name, beside(name, digits[:8], 0), beside(name, digits[:16], 0), beside(name, digits, 0)}
}
