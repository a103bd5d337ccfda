package gateway

import (
	"errors"
	"io"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// clientTime is how long a client may send nothing of its body, or take nothing of its
	// answer. Bodies and streams that make progress have all the time that they take.
	clientTime = 30 * time.Second
	// smallBody is how large a body may be that is kept so that it can be sent again.
	smallBody = 64 << 10
	// refusedTime is how long the body of what was refused is waited for.
	refusedTime = time.Second
)

var (
	errTooLarge = errors.New("the body is larger than the route takes")
	errAgain    = errors.New("the body was read already")
)

// deadline is one that moves on with progress.
type deadline struct {
	set   func(time.Time) error
	now   func() time.Time
	time  time.Duration // between two steps
	moved time.Time     // when it last did
}

// move gives whoever it is for its time, once more. It does so some times in that time,
// and not with each byte.
func (d *deadline) move() {
	now := d.now()
	if now.Sub(d.moved) < d.time/16 {
		return
	}
	d.moved = now
	_ = d.set(now.Add(d.time)) // what has no deadlines, as in tests, does without; a closed connection says so itself
}

// body is what a client sends. One try at a time reads it.
type body struct {
	src      io.ReadCloser
	left     int64 // how much more of it is taken
	deadline deadline

	touched atomic.Bool // something may have been read
	mu      sync.Mutex
	err     error // why it did not come to its end
}

// newBody returns the body of a request; nil when it has none. most is the most that it
// may have.
func (g *Gateway) newBody(r *http.Request, c *http.ResponseController, most int64) *body {
	b := &body{src: r.Body, left: most, deadline: deadline{set: c.SetReadDeadline, now: g.opts.Now, time: g.clientTime}}
	if r.ContentLength == 0 {
		b.rest()
		return nil
	}
	b.deadline.move()
	// What the service answers early may go out while the body still comes. What cannot do
	// that, as HTTP/2, does it anyway.
	_ = c.EnableFullDuplex()
	return b
}

// rest lets the client be silent: it has sent everything. Whether it is still there is
// seen by what is written to it, and by its kernel.
func (b *body) rest() { _ = b.deadline.set(time.Time{}) } // as in move

func (b *body) Read(p []byte) (int, error) {
	b.touched.Store(true)
	b.deadline.move()
	n, err := b.src.Read(p)
	b.left -= int64(n)
	switch {
	case b.left < 0:
		err = errTooLarge
		n = 0
	case err == io.EOF:
		b.rest()
		return n, err
	}
	if err != nil {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

// failed returns why the body did not come to its end; nil while nothing is wrong.
func (b *body) failed() error {
	if b == nil {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// keep reads a small body whole.
func (b *body) keep(length int64) ([]byte, error) {
	all := make([]byte, length)
	if _, err := io.ReadFull(b, all); err != nil {
		return nil, err
	}
	b.rest()
	return all, nil
}

// turn is a body as one try reads it. The time that the client takes is not the service's.
type turn struct {
	*body
	patience *patience
	closed   atomic.Bool
}

func (t *turn) Read(p []byte) (int, error) {
	if t.closed.Load() {
		return 0, errAgain
	}
	t.patience.hold()
	n, err := t.body.Read(p)
	t.patience.goOn()
	return n, err
}

// Close ends the try's use of it.
func (t *turn) Close() error {
	t.closed.Store(true)
	return nil
}

// patience ends a try when the service has done nothing for a time.
type patience struct {
	mu    sync.Mutex
	timer *time.Timer
	limit time.Duration
	over  bool
}

// newPatience has end called when limit is over.
func newPatience(limit time.Duration, end func()) *patience {
	return &patience{limit: limit, timer: time.AfterFunc(limit, end)}
}

// hold stops the clock: it is not the service's turn.
func (p *patience) hold() {
	p.mu.Lock()
	p.timer.Stop()
	p.mu.Unlock()
}

// goOn has the service's time begin anew.
func (p *patience) goOn() {
	p.mu.Lock()
	if !p.over {
		p.timer.Reset(p.limit)
	}
	p.mu.Unlock()
}

// end stops the clock for good.
func (p *patience) end() {
	p.mu.Lock()
	p.over = true
	p.timer.Stop()
	p.mu.Unlock()
}

// answer is the body of a service's answer. One that says how long it is has to make
// progress within the route's time; one that does not may be silent as long as it likes.
type answer struct {
	io.ReadCloser
	patience *patience       // nil: there is none
	ended    func(err error) // is told once of its end, io.EOF where it is whole
	done     bool
}

func (a *answer) Read(p []byte) (int, error) {
	if a.patience != nil {
		a.patience.goOn()
	}
	n, err := a.ReadCloser.Read(p)
	if a.patience != nil {
		a.patience.hold()
	}
	if err != nil && !a.done {
		a.done = true
		a.ended(err)
	}
	return n, err
}
