package events

import (
	"bytes"
	"encoding/base64"
	"io"
	"strconv"
	"strings"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	handleBytes = 12 // bytes that name a stream in the IDs of its events: the tag of its node, and random ones
	tagBytes    = 6
	secretBytes = 18 // random bytes that open it, besides the handle
	handleText  = handleBytes / 3 * 4
	tagText     = tagBytes / 3 * 4
	secretText  = secretBytes / 3 * 4

	// heartbeat is a comment, which no client shows.
	heartbeat = ":\n\n"
)

// newText returns n random bytes as text that may stand in a URL and a header.
func newText(random io.Reader, n int) (string, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(random, b); err != nil {
		return "", err
	}
	return base64.RawURLEncoding.EncodeToString(b), nil
}

var (
	cr   = []byte("\r")
	lf   = []byte("\n")
	crlf = []byte("\r\n")
)

// appendEvent appends a frame as an event. Its lines, of which it has several
// where a client wrote line breaks between the tokens of its content, are lines
// of data: their reader joins them by LF, and takes the one space away that
// follows the colon. To the format CR ends a line like LF and CRLF, so there is
// no way to carry it: LF stands for both, which is the same to JSON.
func appendEvent(dst []byte, handle string, n uint64, frame []byte) []byte {
	dst = append(dst, "id: "...)
	dst = appendID(dst, handle, n)
	if bytes.IndexByte(frame, '\r') >= 0 {
		frame = bytes.ReplaceAll(bytes.ReplaceAll(frame, crlf, lf), cr, lf)
	}
	for line := range bytes.SplitSeq(frame, lf) {
		dst = append(dst, "\ndata: "...)
		dst = append(dst, line...)
	}
	return append(dst, "\n\n"...)
}

// appendID appends the ID of an event.
func appendID(dst []byte, handle string, n uint64) []byte {
	dst = append(dst, handle...)
	dst = append(dst, '.')
	return strconv.AppendUint(dst, n, 10)
}

// parseID takes an event's ID apart; ok is false when it is none of ours.
func parseID(id string) (handle string, n uint64, ok bool) {
	handle, digits, found := strings.Cut(id, ".")
	if !found || len(handle) != handleText || digits == "" || digits[0] == '0' {
		return "", 0, false
	}
	for i := range len(digits) {
		if digits[i] < '0' || digits[i] > '9' {
			return "", 0, false
		}
	}
	n, err := strconv.ParseUint(digits, 10, 63)
	return handle, n, err == nil
}

// appendPreamble appends what every answer begins with: after how many
// milliseconds a client that was cut off should come back.
func appendPreamble(dst []byte, retry int) []byte {
	dst = append(dst, "retry: "...)
	dst = strconv.AppendInt(dst, int64(retry), 10)
	return append(dst, "\n\n"...)
}

// appendClose appends the last event of a session. It has no ID: what the client
// has is what it had before.
func appendClose(dst []byte, code uint16, reason string) []byte {
	dst = append(dst, "event: close\ndata: {\"code\":"...)
	dst = strconv.AppendUint(dst, uint64(code), 10)
	dst = append(dst, `,"reason":`...)
	dst = wire.AppendString(dst, reason)
	return append(dst, "}\n\n"...)
}

// appendSession appends the reply that grants a sign-in, with the session's
// secret in its data.
func appendSession(dst, reply []byte, secret string) []byte {
	dst = append(dst, bytes.TrimSuffix(reply, []byte("}}"))...)
	dst = append(dst, `,"session":`...)
	dst = wire.AppendString(dst, secret)
	return append(dst, "}}"...)
}
