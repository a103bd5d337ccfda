package relay

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// refusal is why an upload is not taken.
type refusal struct {
	status int
	code   string
	reason string
	later  time.Duration // when to try again; 0 for never
	held   int64         // bytes that are held, with codeOffset
	kept   bool          // it is kept among the failures for operators
}

// How long senders wait before they try again.
const (
	laterFull  = 10 * time.Second // something may have been taken
	laterBusy  = time.Second
	laterSpool = 10 * time.Second // an operator may have put it right
	laterStart = 5 * time.Second  // it may have been started again
)

// refusalOf returns how an error of a spool is answered.
func refusalOf(err error) refusal {
	var name *spool.NameError
	var offset *spool.OffsetError
	switch {
	case errors.As(err, &name):
		return refusal{status: http.StatusBadRequest, code: codeName, reason: name.Reason, kept: true}
	case errors.As(err, &offset):
		return refusal{status: http.StatusConflict, code: codeOffset, reason: offset.Error(), held: offset.Held}
	case errors.Is(err, spool.ErrTooLarge):
		return refusal{status: http.StatusRequestEntityTooLarge, code: codeTooLarge, reason: withKey(err), kept: true}
	case errors.Is(err, spool.ErrDigest):
		return refusal{status: http.StatusUnprocessableEntity, code: codeDigest, reason: err.Error(), kept: true}
	case errors.Is(err, spool.ErrShort):
		return refusal{status: http.StatusBadRequest, code: codeBroken, reason: err.Error()}
	case errors.Is(err, spool.ErrFull):
		return refusal{status: http.StatusServiceUnavailable, code: codeFull, reason: withKey(err), later: laterFull, kept: true}
	case errors.Is(err, spool.ErrBusy):
		return refusal{status: http.StatusServiceUnavailable, code: codeBusy, reason: err.Error(), later: laterBusy}
	case errors.Is(err, spool.ErrClosed):
		return refusal{status: http.StatusServiceUnavailable, code: codeStopping, reason: "this collector stops", later: laterStart}
	}
	// ErrGone, and what a disk may say.
	return refusal{status: http.StatusServiceUnavailable, code: codeSpool, reason: err.Error(), later: laterSpool, kept: true}
}

// limitKeys are the settings of the limits of a spool.
var limitKeys = map[string]string{"MaxFile": "limits.file", "MaxBytes": "limits.spool", "MaxFiles": "limits.files", "MinFree": "limits.free"}

// withKey is what a spool says, with the setting that makes it say so.
func withKey(err error) string {
	var limit *spool.LimitError
	if errors.As(err, &limit) {
		return err.Error() + " (" + limitKeys[limit.Limit] + ")"
	}
	return err.Error()
}

// refuse answers and counts a refusal.
func (c *collector) refuse(w http.ResponseWriter, no refusal) {
	c.refused.WithLabelValues(no.code).Inc()
	if no.later > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(no.later/time.Second)))
	}
	if no.code == codeOffset {
		w.Header().Set(headerOffset, strconv.FormatInt(no.held, 10))
	}
	refuse(w, no.status, no.code, no.reason)
}

// refuseUnread refuses a request of which the body was not read. The connection ends
// then: to go on with it the rest would have to be waited for.
func (c *collector) refuseUnread(w http.ResponseWriter, r *http.Request, no refusal) {
	if r.ContentLength != 0 {
		w.Header().Set("Connection", "close")
	}
	c.refuse(w, no)
}

// badHeader refuses a header that cannot be read.
func badHeader(format string, args ...any) *refusal {
	return &refusal{status: http.StatusBadRequest, code: codeHeader, reason: fmt.Sprintf(format, args...)}
}

// readUpload reads what a request says of a file.
func readUpload(r *http.Request) (spool.Upload, *refusal) {
	u := spool.Upload{Size: r.ContentLength}
	// As it was sent: what was escaped is part of the name.
	name, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), "/"))
	if err == nil {
		err = spool.CheckName(name)
	}
	if err != nil {
		no := refusalOf(err)
		if no.code != codeName { // of an escape
			no = refusal{status: http.StatusBadRequest, code: codeName, reason: err.Error(), kept: true}
		}
		return u, &no
	}
	u.Name = name
	digest, known, no := readDigest(r)
	if no != nil {
		return u, no
	}
	u.Digest = spool.Digest(digest)
	header, no := readOnce(r, headerKey)
	if no != nil {
		return u, no
	}
	key, no := readKey(header)
	if no != nil {
		return u, no
	}
	if known {
		// Without a digest a key alone would have one file taken for another.
		u.Key = key
	}
	if r.Method == http.MethodHead {
		if u.Key == "" {
			return u, badHeader("HEAD is for asking what is held of a file: give %s and %s", headerDigest, headerKey)
		}
		return u, nil
	}
	if r.ContentLength == 0 && r.Header.Get("Content-Length") == "" && len(r.TransferEncoding) == 0 {
		return u, &refusal{status: http.StatusLengthRequired, code: codeHeader, reason: "give Content-Length, or send the body in chunks"}
	}
	return u, readRange(r, &u)
}

// readOnce reads a header that says one thing: lines of it that differ are refused,
// since whoever stands between may have gone by another of them.
func readOnce(r *http.Request, name string) (string, *refusal) {
	lines := r.Header.Values(name)
	for _, line := range lines {
		if line != lines[0] {
			return "", badHeader("%s is given twice, and not the same", name)
		}
	}
	return r.Header.Get(name), nil
}

// readDigest reads Repr-Digest, in which two that differ are refused, likewise.
func readDigest(r *http.Request) (digest Digest, known bool, _ *refusal) {
	for _, line := range r.Header.Values(headerDigest) {
		for member := range strings.SplitSeq(line, ",") {
			one, ok, err := parseDigest(member)
			switch {
			case err != nil:
				return digest, false, badHeader("%s", err)
			case ok && known && one != digest:
				return digest, false, badHeader("%s has two digests of one kind", headerDigest)
			case ok:
				digest, known = one, true
			}
		}
	}
	return digest, known, nil
}

// maxKey bounds the key that a stranger gives.
const maxKey = 256

// readKey reads Idempotency-Key, which is text in quotes; some leave them out.
func readKey(header string) (string, *refusal) {
	if header == "" {
		return "", nil
	}
	text, begun := strings.CutPrefix(header, `"`)
	text, ended := strings.CutSuffix(text, `"`)
	if begun != ended || text == "" || len(text) > maxKey || strings.ContainsAny(text, `"\`) {
		return "", badHeader("%s must be at most %d bytes in quotes", headerKey, maxKey)
	}
	return text, nil
}

// readRange reads Content-Range: where a body goes on.
func readRange(r *http.Request, u *spool.Upload) *refusal {
	header, no := readOnce(r, "Content-Range")
	if no != nil || header == "" {
		return no
	}
	bad := badHeader("Content-Range must be bytes FIRST-LAST/LENGTH, to the end of the file")
	text, bytes := strings.CutPrefix(header, "bytes ")
	first, rest, dash := strings.Cut(text, "-")
	last, length, slash := strings.Cut(rest, "/")
	from, err1 := readCount(first)
	to, err2 := readCount(last)
	size, err3 := readCount(length)
	if !bytes || !dash || !slash || errors.Join(err1, err2, err3) != nil || from > to || to != size-1 {
		return bad
	}
	if r.ContentLength >= 0 && r.ContentLength != size-from {
		return badHeader("Content-Range and Content-Length do not go together")
	}
	if from > 0 && u.Key == "" {
		return badHeader("only an upload with %s and %s can go on", headerDigest, headerKey)
	}
	u.Offset, u.Size = from, size
	return nil
}

// readCount reads a number of bytes: digits, and no sign.
func readCount(text string) (int64, error) {
	n, err := strconv.ParseUint(text, 10, 63)
	return int64(n), err
}
