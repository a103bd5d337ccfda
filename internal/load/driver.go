package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"syscall"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// opening is how many connections may be on their way to being signed in.
	opening = 128
	// openPatience is how long one may take.
	openPatience = 30 * time.Second
	// maxOut is how much one connection may have to write before it is asked
	// to send no more.
	maxOut = 64 << 10
	// pacedBuffer is what the system may hold for a connection that sends
	// faster than the server reads: thousands of them must fit into memory.
	pacedBuffer = 32 << 10
	// closing is how long saying goodbye may take.
	closing = 3 * time.Second
)

// state is how far a connection is.
type state uint8

const (
	stateNew       state = iota
	stateDialing         // TCP
	stateUpgrading       // the handshake was sent
	stateSigning         // AUTH_CLIENT was sent
	stateReady
	stateGone
)

// conn is one connection as its client sees it.
type conn struct {
	id    int
	state state
	user  string
	in    []byte // the beginning of a frame whose end has not come
	out   []byte // to be written
	began time.Duration

	dirty   bool // is in driver.dirty
	blocked bool // the last write took not everything

	sent        uint32 // messages
	outstanding int    // of them on the way, in closed mode
	reached     int    // receivers that a group message has reached
	acked       []byte // ID of the message to acknowledge
}

// driver keeps connections: it opens them, signs them in, cuts what arrives into
// frames, answers pings, and writes. One goroutine uses it.
type driver struct {
	o     *Options
	net   network
	at    places
	base  time.Time
	conns []*conn
	dirty []*conn
	spare [][]byte // write buffers that nobody uses

	underway int // being opened
	ready    int
	leaving  bool  // connections that end are no surprise
	gone     int   // ended by surprise
	failure  error // the first
	failed   int   // its connection

	text    func(c *conn, payload []byte) // a text frame on a connection that is ready
	read    func(c *conn)                 // all that was read of c is handled
	resumed func(c *conn)                 // c takes more again
}

func newDriver(ctx context.Context, o *Options, connections int) (*driver, error) {
	if err := reserveDescriptors(connections); err != nil {
		return nil, err
	}
	at, err := findAll(ctx, o)
	if err != nil {
		return nil, err
	}
	d := &driver{o: o, at: at, base: time.Now()}
	if d.net, err = newNetwork(at, d, connections); err != nil {
		return nil, err
	}
	d.conns = make([]*conn, connections)
	for i := range d.conns {
		d.conns[i] = &conn{id: i, user: o.user(i)}
	}
	nothing := func(*conn) {}
	d.text, d.read, d.resumed = func(*conn, []byte) {}, nothing, nothing
	return d, nil
}

// now is the time since the driver was made.
func (d *driver) now() time.Duration { return time.Since(d.base) }

// step writes what is to be written and waits for what happens, until the given
// time at the latest.
func (d *driver) step(until time.Duration) error {
	d.flushAll()
	wait := min(until-d.now(), 100*time.Millisecond) // a run that is interrupted ends soon
	if err := d.net.wait(max(wait, 0)); err != nil {
		return fmt.Errorf("wait for the network: %w", err)
	}
	d.flushAll()
	return nil
}

// connect opens the connections from first up to, not including, end and signs
// them in, over the time that ramp says.
func (d *driver) connect(ctx context.Context, first, end int, ramp time.Duration) error {
	began, next, want := d.now(), first, d.ready+end-first
	oldest := first
	for d.ready < want {
		now := d.now()
		for next < end && (d.underway < opening || d.o.atOnce) && (ramp == 0 || now-began >= ramp*time.Duration(next-first)/time.Duration(end-first)) {
			c := d.conns[next]
			c.state, c.began = stateDialing, now
			d.underway++
			next++
			if err := d.net.open(c.id); err != nil {
				return d.explain(c.id, err)
			}
		}
		if err := d.step(now + 10*time.Millisecond); err != nil {
			return err
		}
		for oldest < next && d.conns[oldest].state >= stateReady {
			oldest++
		}
		switch {
		case d.failure != nil:
			return d.explain(d.failed, d.failure)
		case ctx.Err() != nil:
			return fmt.Errorf("interrupted when %d of %s were there", d.ready, plural(len(d.conns), "connection"))
		case oldest < next && d.now()-d.conns[oldest].began > openPatience:
			return fmt.Errorf("%s did not answer the sign-in of %s in %s", d.o.url(oldest), d.conns[oldest].user, openPatience)
		}
	}
	return nil
}

// explain makes a sentence of why a connection could not be made.
func (d *driver) explain(id int, err error) error {
	var said *refusal
	switch {
	case errors.As(err, &said):
		return err
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens at %s: start the server, or give its address with --url", d.at.of(id).addr)
	case errors.Is(err, syscall.EMFILE), errors.Is(err, syscall.ENFILE):
		return fmt.Errorf("no more files may be opened after %s: %w; see ulimit -n", plural(d.ready, "connection"), err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("no free port is left for connections to %s after %d: wait a minute for old ones to be freed, or open fewer", d.at.of(id).addr, d.ready)
	case errors.Is(err, errClosed):
		return fmt.Errorf("%s closed connection %d of %d before it was signed in: look into its log, and at its limits on connections and open files", d.o.url(id), d.ready+1, len(d.conns))
	}
	return fmt.Errorf("connect to %s: %w", d.o.url(id), err)
}

// refusal is what a server says that does not let a client in.
type refusal struct{ text string }

func (r *refusal) Error() string { return r.text }

// writable implements events.
func (d *driver) writable(id int) {
	c := d.conns[id]
	if c.state != stateDialing {
		c.blocked = false
		d.mark(c)
		if c.state == stateReady {
			d.resumed(c)
		}
		return
	}
	c.state = stateUpgrading
	if d.o.events() {
		d.ask(c)
		return
	}
	url := d.at.of(c.id).url
	d.append(c, fmt.Appendf(nil, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: c3dpdGNoYm9hcmQtbG9hZA==\r\n\r\n", url.RequestURI(), url.Host))
}

// lost implements events.
func (d *driver) lost(id int, err error) {
	c := d.conns[id]
	if c.state == stateGone {
		return
	}
	if c.state == stateReady {
		d.ready--
	} else {
		d.underway--
	}
	c.state = stateGone
	if d.leaving {
		return
	}
	d.gone++
	if d.failure == nil {
		d.failure, d.failed = err, id
	}
}

// fail ends a connection for a reason of ours.
func (d *driver) fail(c *conn, err error) {
	d.net.close(c.id)
	d.lost(c.id, err)
}

// arrived implements events.
func (d *driver) arrived(id int, b []byte) {
	c := d.conns[id]
	if len(c.in) > 0 {
		c.in = append(c.in, b...)
		b = c.in
	}
	n := 0
	switch events := d.o.events(); {
	case c.state == stateUpgrading && events:
		n = d.answered(c, b)
	case c.state == stateUpgrading:
		n = d.upgraded(c, b)
	}
	if d.o.events() && c.state > stateUpgrading && c.state < stateGone {
		n += d.eventsArrived(c, b[n:])
	}
	for !d.o.events() && c.state > stateUpgrading && c.state < stateGone {
		op, payload, size, err := nextFrame(b[n:])
		if err != nil {
			d.fail(c, err)
			return
		}
		if size == 0 {
			break
		}
		d.frame(c, op, payload)
		n += size
	}
	switch {
	case c.state == stateGone:
		c.in = nil
		return
	case n < len(b):
		c.in = append(c.in[:0], b[n:]...)
	case cap(c.in) > 0:
		c.in = nil // most frames come whole: no buffer is kept for those that do not
	}
	d.read(c)
	d.flush(c)
}

// upgraded reads the answer to the handshake and returns its length.
func (d *driver) upgraded(c *conn, b []byte) int {
	head, _, whole := bytes.Cut(b, []byte("\r\n\r\n"))
	status, _, _ := strings.Cut(string(head), "\r\n")
	switch {
	case !whole && len(b) < 16<<10:
		return 0
	case !strings.HasPrefix(status, "HTTP/1.1 101"):
		d.fail(c, &refusal{fmt.Sprintf("%s does not take WebSockets there: it answers %q", d.o.url(c.id), shorten(status))})
		return 0
	}
	if d.o.echo {
		d.signedIn(c)
		return len(head) + 4
	}
	c.state = stateSigning
	options := ""
	if d.o.Ack {
		options = `,"options":{"ack":true}`
	} else if d.o.Pattern == PatternAbsent {
		options = `,"options":{"receipts":true}`
	}
	frame := append([]byte(`{"type":"AUTH_CLIENT","data":{"appId":`), wire.AppendString(nil, d.o.AppID)...)
	frame = append(frame, `,"userId":"`+c.user+`","token":`...)
	frame = append(wire.AppendString(frame, d.o.token(c.id)), options+`}}`...)
	d.append(c, appendFrame(nil, opText, frame))
	return len(head) + 4
}

func (d *driver) signedIn(c *conn) {
	c.state = stateReady
	d.ready++
	d.underway--
}

// frame handles one frame of the server.
func (d *driver) frame(c *conn, op byte, payload []byte) {
	switch op {
	case opText:
		if c.state == stateReady {
			d.text(c, payload)
		} else {
			d.authReply(c, payload)
		}
	case opPing:
		c.out = appendFrame(d.room(c), opPong, payload)
		d.mark(c)
	case opClose:
		reason := "it gave no reason"
		if len(payload) >= 2 {
			code := int(payload[0])<<8 | int(payload[1])
			reason = fmt.Sprintf("code %d %s", code, shorten(string(payload[2:])))
			if code == wire.CloseTooBig {
				reason += "; its setting limits.frame says how large a frame may be"
			}
		}
		d.fail(c, &refusal{fmt.Sprintf("%s closed the connection of %s: %s", d.o.url(c.id), c.user, strings.TrimSpace(reason))})
	}
}

func (d *driver) authReply(c *conn, payload []byte) {
	var reply struct {
		Type string
		Data struct {
			IsAuthenticated bool
			Code, Reason    string
		}
	}
	if err := json.Unmarshal(payload, &reply); err != nil || reply.Type != wire.NameAuthReply {
		d.fail(c, &refusal{fmt.Sprintf("%s answers the sign-in of %s with what is no reply to it: %s", d.o.url(c.id), c.user, shorten(string(payload)))})
		return
	}
	if !reply.Data.IsAuthenticated {
		d.fail(c, &refusal{fmt.Sprintf("the sign-in of %s is refused: %s (%s); see --app-id, --user-prefix and --token",
			c.user, reply.Data.Code, strings.TrimSuffix(shorten(reply.Data.Reason), "."))})
		return
	}
	d.signedIn(c)
}

// shorten makes one short line of what a server says.
func shorten(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 200 {
		s = s[:200] + "…"
	}
	return strings.ToValidUTF8(s, "?")
}

// room returns the connection's write buffer, for something to be appended.
func (d *driver) room(c *conn) []byte {
	if c.out != nil {
		return c.out
	}
	if n := len(d.spare); n > 0 {
		b := d.spare[n-1]
		d.spare = d.spare[:n-1]
		return b
	}
	return make([]byte, 0, 2<<10)
}

// append queues bytes on a connection.
func (d *driver) append(c *conn, b []byte) {
	c.out = append(d.room(c), b...)
	d.mark(c)
}

// mark notes that a connection has something to write.
func (d *driver) mark(c *conn) {
	if !c.dirty {
		c.dirty = true
		d.dirty = append(d.dirty, c)
	}
}

func (d *driver) flushAll() {
	for i := 0; i < len(d.dirty); i++ { // writing may mark others
		c := d.dirty[i]
		c.dirty = false
		d.flush(c)
	}
	d.dirty = d.dirty[:0]
}

// flush writes what a connection has to write, in one call.
func (d *driver) flush(c *conn) {
	if len(c.out) == 0 || c.blocked || c.state == stateGone {
		return
	}
	n, err := d.net.write(c.id, c.out)
	switch {
	case err != nil:
		d.fail(c, err)
	case n < len(c.out):
		c.out = c.out[:copy(c.out, c.out[n:])]
		c.blocked = true
	default:
		if cap(c.out) <= maxOut && len(d.spare) < 1024 {
			d.spare = append(d.spare, c.out[:0])
		}
		c.out = nil
	}
}

// full says whether a connection is to be given no more for now.
func (c *conn) full() bool { return c.blocked || len(c.out) >= maxOut }

// close says goodbye on all connections and ends them.
func (d *driver) close() {
	d.leaving = true
	defer d.net.stop()
	for i, c := range d.conns {
		if d.o.events() {
			continue // stop closes them
		}
		if c.state == stateReady {
			d.append(c, appendFrame(nil, opClose, []byte{1000 >> 8, 1000 & 0xff}))
		}
		if i%opening == 0 && d.step(d.now()) != nil {
			return
		}
	}
	for deadline := d.now() + closing; d.ready > 0 && !d.o.events() && d.now() < deadline; {
		if d.step(d.now()+10*time.Millisecond) != nil {
			return
		}
	}
}
