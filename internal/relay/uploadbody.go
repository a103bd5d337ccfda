package relay

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// progress ends a call whose body does not move, or that is not answered.
type progress struct {
	idle, answer time.Duration
	end          context.CancelCauseFunc
	timer        *time.Timer
	done         atomic.Bool // the body was read to its end, the last one if there were several
	unreadable   atomic.Bool // it was not the collector that failed
}

func watchProgress(idle, answer time.Duration, end context.CancelCauseFunc) *progress {
	w := &progress{idle: idle, answer: answer, end: end}
	w.timer = time.AfterFunc(idle, w.expired)
	return w
}

func (w *progress) expired() {
	if w.done.Load() {
		w.end(errNoAnswer)
		return
	}
	w.end(errNoProgress)
}

func (w *progress) sent() {
	w.done.Store(true)
	w.timer.Reset(w.answer)
}

func (w *progress) stop() { w.timer.Stop() }

// body returns the rest of a file from an offset on.
func (w *progress) body(l *load, offset int64) io.ReadCloser {
	w.done.Store(false)
	b := &body{progress: w, left: l.entry.Size - offset}
	if l.small != nil {
		l.small.users.Add(1)
		b.parcel = l.small
		b.from = bytes.NewReader(l.small.content[offset:])
	} else {
		b.from = io.NewSectionReader(l.file, offset, b.left)
	}
	return b
}

// body is the body of a request. The transport closes it once at least, and may do
// so while it reads.
type body struct {
	*progress
	parcel *parcel

	mu   sync.Mutex
	from io.Reader // nil when it was closed
	left int64
}

// Read implements io.Reader.
func (b *body) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from == nil {
		return 0, fs.ErrClosed
	}
	n, err := b.from.Read(p)
	b.left -= int64(n)
	if b.left == 0 {
		b.sent()
		return n, err
	}
	if n > 0 {
		b.timer.Reset(b.idle)
	}
	if errors.Is(err, io.EOF) {
		err = errChanged
	}
	if err != nil && !errors.Is(err, fs.ErrClosed) {
		b.unreadable.Store(true)
	}
	return n, err
}

// Close implements io.Closer.
func (b *body) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.from != nil && b.parcel != nil {
		b.parcel.release()
	}
	b.from = nil
	return nil
}

// digests remembers what the content of large files is, so that it is read for its
// digest once and not by each collector's upload. It is safe for concurrent use.
type digests struct {
	mu     sync.Mutex
	all    map[fileID]*known
	ledger *ledger // that is told of keys; nil for none
}

// toldTo has a ledger be told under which key a file arrives.
func (d *digests) toldTo(l *ledger) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ledger = l
}

// arrived tells the ledger that a collector has a file.
func (d *digests) arrived(id fileID, key string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.ledger != nil {
		d.ledger.arrived(id, key)
	}
}

type known struct {
	done   chan struct{} // closed when it is known, or not to be had
	digest Digest
	err    error
}

// of returns the digest of a file, which has size bytes. It reads the file, unless
// that was done before, or waits for one that does.
func (d *digests) of(ctx context.Context, id fileID, f *os.File, size int64) (Digest, error) {
	for {
		d.mu.Lock()
		k, found := d.all[id]
		if !found {
			k = &known{done: make(chan struct{})}
			d.add(id, k)
		}
		d.mu.Unlock()
		if !found {
			k.digest, k.err = digestOf(ctx, f, size)
			if k.err != nil {
				d.forget(id)
			}
			close(k.done)
			return k.digest, k.err
		}
		select {
		case <-k.done:
		case <-ctx.Done():
			return Digest{}, ctx.Err()
		}
		if k.err == nil || !errors.Is(k.err, context.Canceled) {
			return k.digest, k.err
		}
		// The one that read was cut off, and not this one.
	}
}

// add remembers one, in the place of another when there are many. mu is held.
func (d *digests) add(id fileID, k *known) {
	for other := range d.all {
		if len(d.all) < maxDigests {
			break
		}
		delete(d.all, other)
	}
	d.all[id] = k
}

func (d *digests) forget(id fileID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.all, id)
}

func digestOf(ctx context.Context, f *os.File, size int64) (digest Digest, err error) {
	h := sha256.New()
	n, err := io.CopyBuffer(h, &cutReader{ctx, io.NewSectionReader(f, 0, size+1)}, make([]byte, 256<<10))
	if err != nil {
		return digest, err
	}
	if n != size {
		return digest, errChanged
	}
	return Digest(h.Sum(nil)), nil
}

// cutReader ends with a context.
type cutReader struct {
	ctx  context.Context // of the one call that made it
	from io.Reader
}

// Read implements io.Reader.
func (r *cutReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.from.Read(p)
}
