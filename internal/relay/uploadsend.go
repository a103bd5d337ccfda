package relay

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// Bounds of sending.
const (
	wholeMost    = 1 << 20  // bytes; a file of so many is read once, and sent from memory
	askFrom      = 4 << 20  // bytes; of such a file it is asked first how much is held
	expectAbove  = 1 << 20  // bytes; a larger body waits for a 100 Continue: see put
	expectWary   = 64 << 10 // bytes; likewise while the collector does not take files
	maxSaid      = 64 << 10 // bytes that are read of an answer
	maxDigests   = 1024     // of large files that are remembered
	longestRetry = 10 * time.Minute
)

// fate is what became of sending a file to a collector.
type fate int

const (
	fateDelivered  fate = iota
	fateGone            // the file changed, or is no longer there
	fateUnreadable      // the file cannot be read: no collector is at fault
	fateRefused         // the collector takes others, but not this one
	fateHeld            // the collector asks to wait
	fateDown            // the collector does not take files
	fateCut             // the program stops, or the collector is none any more
)

// class names a fate in a metric.
func (f fate) class() string {
	return [...]string{"", "CHANGED", "UNREADABLE", "REFUSED", "HELD", "DOWN", "CUT"}[f]
}

// outcome is a fate and what is to be said of it.
type outcome struct {
	fate   fate
	reason string
	wait   time.Duration // what a collector that holds back asks for; 0 for nothing
	began  bool          // it broke off when a part of the file may have arrived
	denied bool          // the collector does not go on where it said that it would
}

func failed(f fate, format string, args ...any) outcome {
	return outcome{fate: f, reason: fmt.Sprintf(format, args...)}
}

// courier sends files to collectors. It is safe for concurrent use.
type courier struct {
	creds   *credentials
	client  *http.Client
	tuning  uploadTuning
	spool   string // its ID
	digests *digests
	buffers sync.Pool // of *parcel
}

func newCourier(creds *credentials, perHost int, t uploadTuning, id string) *courier {
	return &courier{
		creds: creds, tuning: t, spool: id, digests: t.digests,
		client: creds.caller(perHost),
	}
}

// load is a file that is being sent.
type load struct {
	id     fileID
	entry  spool.Entry
	file   *os.File
	digest Digest
	key    string
	small  *parcel // the content of a small one
	expect int64   // bytes; a larger body waits for a 100 Continue
}

// parcel is the memory of a small file. The transport may read of a body after the
// answer has come: who closes it last gives it back.
type parcel struct {
	content []byte
	users   atomic.Int32
	home    *sync.Pool
}

func (p *parcel) release() {
	if p.users.Add(-1) == 0 {
		p.home.Put(p)
	}
}

// send sends a file of a lane to a collector at a base URL. wary says that the
// collector did not take what it was sent last.
func (c *courier) send(ctx context.Context, base string, it *item, f *os.File, wary bool) outcome {
	e := it.entry
	l := &load{id: it.id, entry: e, file: f, expect: expectAbove}
	if it.again || wary {
		l.expect = expectWary
	}
	if out := c.prepare(ctx, l); out.fate != fateDelivered {
		return out
	}
	if l.small != nil {
		defer l.small.release()
	}
	target := base + "/" + url.PathEscape(e.Name)
	offset := int64(0)
	if (e.Size >= askFrom || it.again) && !it.whole {
		held, done, out := c.held(ctx, target, l)
		if out.fate != fateDelivered {
			return out
		}
		if done {
			return c.arrived(l)
		}
		offset = held
	}
	return c.put(ctx, target, l, offset)
}

// prepare reads the file, for its digest at least.
func (c *courier) prepare(ctx context.Context, l *load) outcome {
	var err error
	if l.entry.Size <= wholeMost {
		err = c.readSmall(l)
	} else {
		l.digest, err = c.digests.of(ctx, l.id, l.file, l.entry.Size)
	}
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return failed(fateCut, "it was cut off")
	case errors.Is(err, errChanged):
		return failed(fateGone, "it changed while it was read")
	default:
		return failed(fateUnreadable, "cannot be read: %s", err)
	}
	l.key = c.keyOf(l)
	return outcome{}
}

// keyNow returns the key that a file has as it is, or false if it cannot be read now.
func (c *courier) keyNow(ctx context.Context, id fileID, e spool.Entry, f *os.File) (string, bool) {
	l := &load{id: id, entry: e, file: f}
	out := c.prepare(ctx, l)
	if l.small != nil {
		l.small.release()
	}
	return l.key, out.fate == fateDelivered
}

// keyOf returns the key of a file: the same for each try, whatever becomes of its
// mode, owner and other names meanwhile, and another for one that is dropped anew,
// though it have the same name, content, date and inode.
func (c *courier) keyOf(l *load) string {
	born, told := spool.Born(l.file)
	if !told {
		born = l.entry.Changed // sooner twice than never
	}
	h := sha256.New()
	fmt.Fprintf(h, "%s\x00%s\x00", c.spool, l.entry.Name)
	var b [40]byte
	binary.BigEndian.PutUint64(b[0:], uint64(l.entry.Size))
	binary.BigEndian.PutUint64(b[8:], uint64(l.entry.Modified.UnixNano()))
	binary.BigEndian.PutUint64(b[16:], uint64(born.UnixNano()))
	binary.BigEndian.PutUint64(b[24:], l.entry.Inode)
	binary.BigEndian.PutUint64(b[32:], uint64(l.entry.Turn))
	h.Write(b[:])
	h.Write(l.digest[:])
	return `"` + hex.EncodeToString(h.Sum(nil)) + `"`
}

var errChanged = errors.New("the file changed")

func (c *courier) readSmall(l *load) error {
	p, _ := c.buffers.Get().(*parcel)
	if p == nil {
		p = &parcel{home: &c.buffers}
	}
	p.users.Store(1)
	size := int(l.entry.Size)
	if cap(p.content) < size+1 {
		p.content = make([]byte, parcelFor(size)+1)
	}
	n, err := io.ReadFull(l.file, p.content[:size+1])
	if err == nil || n != size {
		if err == nil || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			err = errChanged
		}
		p.release()
		return err
	}
	p.content = p.content[:size]
	l.small, l.digest = p, sha256.Sum256(p.content)
	return nil
}

// parcelFor returns how much memory a file of n bytes gets, one of few sizes: it is
// used again for others.
func parcelFor(n int) int {
	size := 4 << 10
	for size < n {
		size *= 2
	}
	return size
}

// request makes a request about a file.
func (c *courier) request(ctx context.Context, method, target string, l *load) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, method, target, nil)
	if err != nil {
		return nil, err
	}
	c.creds.authorize(r)
	r.Header.Set(headerDigest, l.digest.header())
	r.Header.Set(headerKey, l.key)
	return r, nil
}

// held asks how much of a file a collector has, or whether it has it all. One that
// does not know the question has nothing.
func (c *courier) held(ctx context.Context, target string, l *load) (offset int64, done bool, out outcome) {
	asking, cancel := context.WithTimeout(ctx, c.tuning.idle)
	defer cancel()
	r, err := c.request(asking, http.MethodHead, target, l)
	if err != nil {
		return 0, false, failed(fateDown, "cannot be asked: %s", err)
	}
	answer, err := c.client.Do(r)
	if err != nil {
		return 0, false, c.unreached(ctx, err)
	}
	_ = answer.Body.Close() // of a HEAD, which has none
	switch {
	case answer.StatusCode == http.StatusServiceUnavailable || answer.StatusCode == http.StatusTooManyRequests:
		return 0, false, c.refusal(answer, "")
	case answer.StatusCode != http.StatusOK:
		return 0, false, outcome{}
	}
	if answer.Header.Get(headerComplete) == "?1" {
		return 0, true, outcome{}
	}
	held, err := strconv.ParseInt(answer.Header.Get(headerOffset), 10, 64)
	if err != nil || held < 0 || held >= l.entry.Size {
		held = 0 // a stranger; or all of it, which has to be sent again to be stored
	}
	return held, false, outcome{}
}

// put sends the file from an offset on.
func (c *courier) put(ctx context.Context, target string, l *load, offset int64) outcome {
	sending, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	r, err := c.request(sending, http.MethodPut, target, l)
	if err != nil {
		return failed(fateDown, "cannot be sent to: %s", err)
	}
	length := l.entry.Size - offset
	w := watchProgress(c.tuning.idle, c.tuning.answer, cancel)
	defer w.stop()
	r.Header.Set("Content-Type", "application/octet-stream")
	r.ContentLength = length
	if length > 0 {
		// A connection that was closed meanwhile has the transport try another.
		r.GetBody = func() (io.ReadCloser, error) { return w.body(l, offset), nil }
		r.Body = w.body(l, offset)
	} else {
		r.Body = http.NoBody
		w.sent()
	}
	if offset > 0 {
		r.Header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", offset, l.entry.Size-1, l.entry.Size))
	}
	if length > l.expect {
		// It is a round trip, for which a refusal costs no body. And a large one
		// that breaks off is not sent again from its start by the transport.
		r.Header.Set("Expect", "100-continue")
	}
	answer, err := c.client.Do(r)
	if err != nil {
		if cause := context.Cause(sending); cause != nil && ctx.Err() == nil {
			err = cause
		}
		out := c.unreached(ctx, err)
		switch {
		case errors.Is(err, errChanged):
			out = failed(fateGone, "it changed while it was sent")
		case w.unreadable.Load() && ctx.Err() == nil:
			out = failed(fateUnreadable, "cannot be read: %s", err)
		}
		return out
	}
	defer func() { _ = answer.Body.Close() }() // read as far as it matters
	// What it says at length is its own affair, and holds the connection only for so
	// long: success is in the status.
	late := time.AfterFunc(c.tuning.said, func() { cancel(errNoAnswer) })
	defer late.Stop()
	said, _ := io.ReadAll(io.LimitReader(answer.Body, maxSaid))
	if answer.StatusCode/100 != 2 {
		out := c.refusal(answer, c.creds.said(string(said)))
		out.denied = offset > 0 && answer.StatusCode == http.StatusConflict
		return out
	}
	d, ok, err := parseDigest(answer.Header.Get(headerDigest))
	switch {
	case err != nil || ok && d != l.digest:
		return failed(fateRefused, "says that it stored other content than was sent")
	case !ok && !w.done.Load(): // one of ours has it from before, and says what
		return failed(fateRefused, "answered %d before it was sent all of the file", answer.StatusCode)
	}
	return c.arrived(l)
}

// arrived says whether what a collector has is the file as it is.
func (c *courier) arrived(l *load) outcome {
	if !l.entry.Is(l.file) {
		return failed(fateGone, "it changed while it was sent")
	}
	c.digests.arrived(l.id, l.key)
	return outcome{}
}

// unreached is the outcome of a call without an answer.
func (c *courier) unreached(ctx context.Context, err error) outcome {
	if ctx.Err() != nil {
		return outcome{fate: fateCut, reason: "it was cut off", began: true}
	}
	out := failed(fateDown, "cannot be reached: %s", plainCause(err))
	if errors.Is(err, errNoProgress) || errors.Is(err, errNoAnswer) {
		out.reason = err.Error()
	}
	var timeout net.Error
	if errors.Is(err, context.DeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() && out.reason == "" {
		out.reason = "did not answer in time"
	}
	out.began = true
	return out
}

// refusal is the outcome of an answer that is no success.
func (c *courier) refusal(answer *http.Response, said string) outcome {
	out := outcome{fate: fateDown, reason: (&statusError{Status: answer.StatusCode, Said: said}).Error()}
	switch code := answer.StatusCode; code {
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		out.wait = retryAfter(answer.Header.Get("Retry-After"), time.Now())
		if out.wait > 0 {
			out.fate = fateHeld
		}
		if strings.HasPrefix(said, codeBusy+":") {
			out.fate, out.began = fateRefused, true
		}
	case http.StatusConflict: // what it holds is not what it said: ask again
		out.fate, out.began = fateRefused, true
	case http.StatusBadRequest, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity,
		http.StatusUnsupportedMediaType, http.StatusRequestURITooLong:
		out.fate = fateRefused
	}
	return out
}

// retryAfter reads how long a collector asks to wait: seconds, or a date. 0 is for
// nothing that can be read.
func retryAfter(text string, now time.Time) time.Duration {
	if n, err := strconv.ParseUint(text, 10, 31); err == nil {
		return min(max(time.Duration(n)*time.Second, time.Second), longestRetry)
	}
	if at, err := http.ParseTime(text); err == nil {
		return min(max(at.Sub(now), time.Second), longestRetry)
	}
	return 0
}

var (
	errNoProgress = errors.New("took no byte for too long")
	errNoAnswer   = errors.New("took the file, but did not answer in time")
)
