package relay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

const (
	bodyBuffer = 128 << 10
	// leastProgress is how many bytes have to come in the time after which an
	// upload that rests is cut off: who trickles does not hold a connection.
	leastProgress = 4 << 10
)

// look answers how much of an upload is held.
func (c *collector) look(w http.ResponseWriter, u spool.Upload) {
	held, stored := c.store.Look(u.Name, u.Key, u.Digest)
	w.Header().Set(headerOffset, strconv.FormatInt(held, 10))
	if stored {
		w.Header().Set(headerComplete, "?1")
	} else {
		w.Header().Set(headerComplete, "?0")
	}
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusOK)
}

// put takes a file.
func (c *collector) put(w http.ResponseWriter, r *http.Request, u spool.Upload) {
	body := &bodyReader{from: r.Body, control: http.NewResponseController(w), idle: c.settings.Load().Limits.Idle}
	u.Replaced = body.stop
	body.await() // also when it is let go unread
	stored, size, err := c.receive(r.Context(), u, body)
	if err == nil {
		c.took(stored, size)
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		if stored.Digest != (spool.Digest{}) {
			w.Header().Set(headerDigest, Digest(stored.Digest).header())
		}
		// The caller may be gone; he will ask again.
		_, _ = io.WriteString(w, answerSuccess)
		return
	}
	var broken *brokenError
	if errors.As(err, &broken) {
		c.broken(w, broken)
		return
	}
	no := refusalOf(err)
	switch no.code {
	case codeFull, codeSpool:
		if !errors.Is(err, spool.ErrNoFit) {
			c.noteFull(no.reason)
		}
	}
	if no.kept {
		c.tally.fail(Failure{Name: u.Name, Where: hostOf(r.RemoteAddr), Reason: no.reason})
	}
	if body.ended {
		c.refuse(w, no)
		return
	}
	c.refuseUnread(w, r, no)
}

// receive brings a body into the spool, and says how large the file is.
func (c *collector) receive(ctx context.Context, u spool.Upload, body *bodyReader) (spool.Stored, int64, error) {
	p, err := c.store.Begin(u)
	if err != nil {
		return spool.Stored{}, 0, err
	}
	defer p.Break() // unless it was committed
	size := u.Offset
	if !p.Again() {
		n, err := c.copy(p, body)
		if err != nil {
			return spool.Stored{}, 0, err
		}
		size += n
	}
	// It is all here: whether its sender still waits does not matter.
	stored, err := p.Commit(context.WithoutCancel(ctx))
	return stored, size, err
}

// copy reads a body into a part.
func (c *collector) copy(p *spool.Part, body *bodyReader) (int64, error) {
	buffer := c.buffers.Get().(*[]byte)
	defer c.buffers.Put(buffer)
	total := int64(0)
	for {
		n, err := body.Read(*buffer)
		if n > 0 {
			total += int64(n)
			if _, err := p.Write((*buffer)[:n]); err != nil {
				return total, err
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return total, nil
		case err != nil && body.replaced():
			return total, spool.ErrBusy
		case err != nil:
			return total, &brokenError{err}
		}
	}
}

// took counts a file that is in the spool.
func (c *collector) took(stored spool.Stored, size int64) {
	if stored.Again {
		return
	}
	c.tally.done(size)
	if c.full.Load() != nil && c.full.Swap(nil) != nil && c.told.Swap(false) {
		c.log.Info("files are taken again", "spool", c.settings.Load().Spool)
	}
}

// warnEvery is how often the log says the same: near a limit small files are taken
// between large ones that are not.
const warnEvery = time.Minute

// noteFull notes why everything is refused, until something is taken.
func (c *collector) noteFull(why string) {
	c.full.Store(&why)
	now, last := c.o.Now().UnixNano(), c.warned.Load()
	if now-last >= int64(warnEvery) && c.warned.CompareAndSwap(last, now) {
		c.log.Warn("files are refused: make room, or put the spool right", "spool", c.settings.Load().Spool, "err", why)
		c.told.Store(true)
	}
}

// warnOfRoom says so when the disk has less room than is to stay free: then nothing is
// taken, however little waits.
func (c *collector) warnOfRoom(s CollectorSettings) {
	if free, err := c.store.Free(); err == nil && free < int64(s.Limits.FreeBytes) { // what it cannot tell, a file will
		c.log.Warn("the disk has less room than limits.free: no file is taken before there is more", "spool", s.Spool, "free", free, "needed", s.Limits.FreeBytes.String())
	}
}

// brokenError is a body that did not come to its end.
type brokenError struct{ err error }

func (e *brokenError) Error() string { return "the upload broke off: " + e.err.Error() }
func (e *brokenError) Unwrap() error { return e.err }

// broken ends an upload that broke off. Its sender is told, should he still be there.
func (c *collector) broken(w http.ResponseWriter, err *brokenError) {
	w.Header().Set("Connection", "close")
	var timeout net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		c.refuse(w, refusal{status: http.StatusRequestTimeout, code: codeBroken, reason: "too little came for too long"})
		return
	}
	c.refuse(w, refusal{status: http.StatusBadRequest, code: codeBroken, reason: "the body did not come to its end"})
}

// bodyReader reads a body that has to make progress.
type bodyReader struct {
	from    io.Reader
	control *http.ResponseController
	idle    time.Duration // 0 for ever
	ended   bool          // all of it was read

	came int64 // since the deadline was set

	mu      sync.Mutex
	stopped bool
}

// await gives the sender time for the next bytes.
func (b *bodyReader) await() {
	b.came = 0
	if b.idle > 0 {
		b.deadline(time.Now().Add(b.idle))
	}
}

// Read implements io.Reader.
func (b *bodyReader) Read(p []byte) (int, error) {
	if b.came >= leastProgress {
		b.await()
	}
	n, err := b.from.Read(p)
	b.came += int64(n)
	if errors.Is(err, io.EOF) {
		b.ended = true
		b.deadline(time.Time{})
	}
	return n, err
}

// deadline sets when reading fails, unless it was stopped. A connection that takes no
// deadline is one that ended.
func (b *bodyReader) deadline(at time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.stopped || b.ended {
		_ = b.control.SetReadDeadline(at)
	}
}

// stop has reading fail: another connection goes on with the file.
func (b *bodyReader) stop() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.stopped = true
	_ = b.control.SetReadDeadline(time.Now())
}

// replaced says whether it was stopped.
func (b *bodyReader) replaced() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.stopped
}
