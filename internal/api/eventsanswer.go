package api

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/events"
)

// endPatience is how long a client that was sent the end of its events may take
// to close its side.
const endPatience = 2 * time.Second

// eventsAnswer is an answer of events that is under way. Its wait returns when
// the client is gone or the answer was ended, and then nothing of it is left.
type eventsAnswer interface {
	events.Out
	wait(done <-chan struct{})
}

// eventsHeader says what kind of answer it is, and that nobody on its way may
// keep it back.
func eventsHeader(h http.Header) {
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store, no-transform")
	h.Set("X-Accel-Buffering", "no")
}

// beginEvents begins an answer of events. An HTTP/1 connection is taken over: so
// an idle client costs little more than its connection. alone says so: then the
// handler may return while the answer goes on.
func beginEvents(w http.ResponseWriter, unanswered time.Duration) (answer eventsAnswer, alone bool, err error) {
	eventsHeader(w.Header())
	rc := http.NewResponseController(w)
	conn, _, err := rc.Hijack()
	if errors.Is(err, http.ErrNotSupported) {
		return &sharedAnswer{w: w, rc: rc, done: make(chan struct{})}, false, nil
	}
	if err != nil {
		return nil, false, fmt.Errorf("take the connection over: %w", err)
	}
	noticeLoss(conn, unanswered)
	h := w.Header().Clone()
	h.Set("Connection", "close") // which ends the answer, too
	h.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	var head bytes.Buffer
	head.WriteString("HTTP/1.1 200 OK\r\n")
	_ = h.Write(&head) // a buffer takes everything
	head.WriteString("\r\n")
	return &ownAnswer{conn: conn, head: head.Bytes()}, true, nil
}

// ownAnswer is an answer on a connection of its own.
type ownAnswer struct {
	conn net.Conn

	mu    sync.Mutex // guards what follows
	head  []byte     // not yet written
	hurry time.Time  // zero: there is none
	ended bool
}

// Write implements events.Out. One piece is one write.
func (a *ownAnswer) Write(p []byte, patience time.Duration) error {
	a.mu.Lock()
	if a.ended {
		a.mu.Unlock()
		return net.ErrClosed
	}
	_ = a.conn.SetWriteDeadline(sooner(a.hurry, patience)) // fails only on a closed connection
	if a.head != nil {
		p = append(a.head, p...)
		a.head = nil
	}
	a.mu.Unlock()
	_, err := a.conn.Write(p)
	return err
}

// sooner returns when a write has to be done by: after so long, or earlier when
// there is hurry.
func sooner(hurry time.Time, patience time.Duration) time.Time {
	by := time.Now().Add(patience)
	if !hurry.IsZero() && hurry.Before(by) {
		return hurry
	}
	return by
}

// Hurry implements events.Out.
func (a *ownAnswer) Hurry(by time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hurry = by
	if !a.ended {
		_ = a.conn.SetWriteDeadline(by) // as in Write
	}
}

// End implements events.Out. What was written arrives; the connection is closed
// by wait, when the client has closed it or has had its time.
func (a *ownAnswer) End() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return
	}
	a.ended = true
	_ = a.conn.SetWriteDeadline(time.Unix(1, 0)) // fails only on a closed connection, as do the others
	if half, ok := a.conn.(*net.TCPConn); ok {
		_ = half.CloseWrite()
		_ = a.conn.SetReadDeadline(time.Now().Add(endPatience))
		return
	}
	_ = a.conn.SetReadDeadline(time.Unix(1, 0)) // as above
}

// wait throws away what the client sends, which is nothing, until it closes.
func (a *ownAnswer) wait(<-chan struct{}) {
	discard(a.conn)
	a.End()
	_ = a.conn.Close() // nothing is lost by it
}

// discard reads until there is nothing more. While it waits it holds no buffer.
func discard(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		if raw, err := tcp.SyscallConn(); err == nil {
			_ = raw.Read(func(fd uintptr) bool { return drained(int(fd)) }) // ends with the connection or its deadline
			return
		}
	}
	scrap := make([]byte, 64)
	for {
		if _, err := conn.Read(scrap); err != nil {
			return
		}
	}
}

// drained reads what there is, and says whether it was all that will come.
func drained(fd int) bool {
	var scrap [64]byte
	for {
		n, err := syscall.Read(fd, scrap[:])
		switch {
		case n > 0 || errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EAGAIN):
			return false
		default:
			return true
		}
	}
}

// sharedAnswer is an answer on a connection that has others, or that cannot be
// taken over: HTTP/2.
type sharedAnswer struct {
	w  http.ResponseWriter
	rc *http.ResponseController

	writing sync.Mutex // held while something is written, and for ever once wait has returned

	mu    sync.Mutex // guards what follows
	busy  bool       // something is being written
	hurry time.Time  // zero: there is none
	ended bool
	done  chan struct{} // closed when ended
}

// Write implements events.Out.
func (a *sharedAnswer) Write(p []byte, patience time.Duration) error {
	a.writing.Lock()
	defer a.writing.Unlock()
	if !a.begin(patience) {
		return net.ErrClosed
	}
	defer a.finish()
	if _, err := a.w.Write(p); err != nil {
		return err
	}
	return a.rc.Flush()
}

func (a *sharedAnswer) begin(patience time.Duration) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return false
	}
	a.busy = true
	a.limit(sooner(a.hurry, patience))
	return true
}

func (a *sharedAnswer) finish() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.busy = false
	if !a.ended {
		a.limit(time.Time{}) // silence is no fault
	}
}

// limit bounds the writing. Where that is not supported the server's own bound
// holds. The caller holds mu.
func (a *sharedAnswer) limit(by time.Time) { _ = a.rc.SetWriteDeadline(by) }

// Hurry implements events.Out.
func (a *sharedAnswer) Hurry(by time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.hurry = by
	if a.busy && !a.ended {
		a.limit(by)
	}
}

// End implements events.Out.
func (a *sharedAnswer) End() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ended {
		return
	}
	a.ended = true
	close(a.done)
	if a.busy {
		a.limit(time.Unix(1, 0))
	}
}

// wait returns when the answer was ended or the client is gone. Nothing is
// written after that: the handler may return.
func (a *sharedAnswer) wait(gone <-chan struct{}) {
	select {
	case <-a.done:
	case <-gone:
	}
	a.End()
	a.writing.Lock()
}

// noticeLoss has the connection fail when what was written to it is not taken by
// the client's machine, or the proxy's before it, in so long. Nothing answers an
// event by itself, as a WebSocket does a ping; without this a client whose
// network is gone would be thought to be there for a quarter of an hour. Where
// the system has no such thing it stays so.
func noticeLoss(conn net.Conn, unanswered time.Duration) {
	for around, ok := conn.(interface{ NetConn() net.Conn }); ok; around, ok = conn.(interface{ NetConn() net.Conn }) {
		conn = around.NetConn() // from TLS down to the socket
	}
	on, ok := conn.(syscall.Conn)
	if !ok {
		return
	}
	raw, err := on.SyscallConn()
	if err != nil {
		return
	}
	_ = raw.Control(func(fd uintptr) { _ = setUserTimeout(int(fd), unanswered) }) // see above
}
