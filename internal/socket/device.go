package socket

import (
	"bytes"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/match"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// device is one connection at the simple door: its reader has a goroutine, run, and what
// is to be written one more, while there is something.
type device struct {
	door   *Devices
	conn   net.Conn
	reader frameReader
	id     string
	app    string // whose devices it is among; empty: those of no app
	at     match.Point
	until  time.Time      // when it may be here no longer; zero: it always may
	room   *match.Session // set before anything is read
	bound  bool           // Rates hold for it
	pace   meter          // of what it sends; the reader's
	heard  atomic.Int64   // when the client last sent anything, in Unix nanoseconds

	mu      sync.Mutex // guards what follows; nothing foreign is called under it
	buf     []byte     // frames that wait to be written
	frames  int        // how many, and how many of those that are being written
	taken   int
	writes  int // bytes that are being written
	writing bool
	idle    chan struct{} // closed when nothing is written any more; nil: nobody waits
	closing bool          // a close frame is at the end of buf, or was written
	pinged  bool          // since it was last heard
	match   wire.ID
	matched bool
}

// run serves the device until its connection ends.
func (d *device) run(name string) {
	x := d.door
	defer x.work.Done()
	defer x.leave(d)
	d.heard.Store(x.opts.Now().UnixNano())
	d.note(DeviceConnected, 1)
	d.say("Connected and handled by " + name)
	d.room = x.opts.Matches.Open(d.id, d)
	d.join()
	end := d.read()
	if end.frame {
		d.close(end.send, end.reason)
	}
	d.room.Close()
	d.finish()
	d.mu.Lock()
	matched := d.matched
	d.matched = false
	d.mu.Unlock()
	if matched {
		d.note(DeviceUnmatched, 1)
	}
	d.note(DeviceDisconnected, 1)
}

// read reads until the connection is lost or closed. A panic in handling what was read
// ends this device only.
func (d *device) read() (end ending) {
	defer func() {
		if r := recover(); r != nil {
			d.door.opts.Logger.Error("a device ended by a fault in this server", "err", r)
			end = fault(wire.CloseInternal, "")
		}
	}()
	return d.reader.read()
}

// finish waits until what was queued is written, for a moment, and ends the connection.
func (d *device) finish() {
	d.mu.Lock()
	d.closing = true
	idle := make(chan struct{})
	if d.writing {
		d.idle = idle
	} else {
		close(idle)
	}
	d.mu.Unlock()
	_ = d.conn.SetWriteDeadline(time.Now().Add(abortPatience)) // fails only on a closed connection
	<-idle
	d.conn.Close()
}

// kill ends the device without a word.
func (d *device) kill() {
	d.mu.Lock()
	d.closing, d.buf, d.frames = true, nil, 0
	d.mu.Unlock()
	d.conn.Close()
	d.reader.until.Store(1)
}

// join takes part in matching, again and again: a device wants to be matched for as long
// as it is there.
func (d *device) join() {
	_, err := d.room.Request(match.Request{
		Pool: poolOf(d.app), At: &d.at, Radius: d.door.opts.Limits().MaxDistance, Plane: true,
		Nearest: true, Replace: true, Again: true,
	})
	if err != nil {
		d.refused(err)
	}
}

// poolOf is where devices of an app wait: not in a pool of the same name that users of
// the app have on the main socket, for no app has a slash in its name.
func poolOf(app string) match.Pool {
	if app != "" {
		app += "/"
	}
	return match.Pool{App: app, Name: devicesPool}
}

// refused ends a device that cannot be matched.
func (d *device) refused(err error) {
	if r, ok := err.(*match.Refusal); ok && r.Code == wire.CodeConflict { // a later connection has taken over
		d.replaced()
		return
	}
	d.close(wire.CloseRestart, err.Error())
}

func (d *device) replaced() {
	d.close(wire.CloseReplaced, "another connection has taken over this ID")
}

// known implements inbound, as the next ones do.
func (d *device) known() bool { return true }

func (d *device) through() { d.heard.Store(d.door.opts.Now().UnixNano()) }

func (d *device) text(message []byte) {
	x := d.door
	x.in.Inc()
	if d.bound && !d.pace.take(x.opts.Limits().Rates, x.opts.Now().Sub(x.start), len(message)) {
		x.dropped[dropRate].Inc()
		return
	}
	d.mu.Lock()
	id, matched := d.match, d.matched
	d.mu.Unlock()
	if !matched || d.room.Send(id, nil, bytes.Clone(message)) != nil {
		x.dropped[dropUnmatched].Inc()
		return
	}
	d.note(DeviceSent, len(message))
}

func (d *device) ping(payload []byte) { d.queue(finPong, payload, true) }

func (d *device) pong([]byte) {}

// tend pings a device that is silent, and cuts one off that remains so.
func (d *device) tend(now time.Time, l *DeviceLimits) {
	silent := now.Sub(time.Unix(0, d.heard.Load()))
	d.mu.Lock()
	pinged := d.pinged
	d.pinged = silent >= l.PingInterval
	d.mu.Unlock()
	switch {
	case !d.until.IsZero() && now.After(d.until):
		d.close(wire.CloseTokenExpired, "what it connected with has expired")
	case silent >= l.PingInterval+l.ProofTimeout:
		d.kill()
	case silent >= l.PingInterval && !pinged:
		d.queue(finPing, nil, false)
	}
}

// say queues a text frame of the server's own.
func (d *device) say(text string) {
	d.door.out.Inc()
	if !d.queue(finText, []byte(text), false) {
		d.close(wire.CloseTooSlow, "too much waits to be read")
	}
}

// queue queues a frame, and says whether it did: where bound, not when too many wait
// already. Frames of the server's own are few: those of matches, and pongs, of which
// only some wait.
func (d *device) queue(first byte, payload []byte, bound bool) bool {
	limits := d.door.opts.Limits()
	most := limits.Queue
	d.mu.Lock()
	defer d.mu.Unlock()
	waiting, bytes := d.frames+d.taken, len(d.buf)+d.writes+len(payload)
	if d.closing || bound && (waiting >= most || bytes > limits.QueueBytes) || waiting >= 2*most {
		return false
	}
	d.buf = appendFrame(d.buf, first, payload)
	d.frames++
	d.flush()
	return true
}

// close queues a close frame: what waits is written first.
func (d *device) close(code uint16, reason string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.closing {
		return
	}
	d.closing = true
	d.buf = appendClose(d.buf, code, reason)
	d.frames++
	_ = d.conn.SetWriteDeadline(time.Now().Add(closePatience)) // fails only on a closed connection
	until := time.Now().Add(closePatience + lingerTime)
	d.reader.until.Store(until.UnixNano())
	_ = d.conn.SetReadDeadline(until)
	d.flush()
}

// flush has what is queued written. The caller holds mu.
func (d *device) flush() {
	if d.writing {
		return
	}
	d.writing = true
	d.door.work.Add(1)
	go d.write()
}

// write writes until nothing is queued.
func (d *device) write() {
	defer d.door.work.Done()
	for {
		d.mu.Lock()
		buf, closing := d.buf, d.closing
		d.buf, d.taken, d.writes, d.frames = nil, d.frames, len(buf), 0
		if len(buf) == 0 {
			d.writing = false
			if d.idle != nil {
				close(d.idle)
			}
			d.mu.Unlock()
			if closing {
				d.linger()
			}
			return
		}
		d.mu.Unlock()
		if !closing {
			_ = d.conn.SetWriteDeadline(time.Now().Add(d.door.opts.Limits().ProofTimeout))
		}
		if _, err := d.conn.Write(buf); err != nil {
			d.kill()
		}
	}
}

// linger has the client answer the close frame, after which nothing more is written.
func (d *device) linger() {
	until := time.Now().Add(lingerTime)
	d.reader.until.Store(until.UnixNano())
	_ = d.conn.SetReadDeadline(until) // fails only on a closed connection
}

func (d *device) note(event string, amount int) {
	d.door.opts.Note(DeviceEvent{Device: d.id, App: d.app, Type: event, Amount: amount})
}

// Waiting implements match.Outlet, as the next ones do.
func (d *device) Waiting(match.Ticket) {}

// Refused implements match.Outlet.
func (d *device) Refused(_ match.Ticket, r *match.Refusal) { d.refused(r) }

// TimedOut implements match.Outlet.
func (d *device) TimedOut(match.Ticket) { d.join() }

// Canceled implements match.Outlet.
func (d *device) Canceled(_ match.Ticket, _ []byte, why match.Reason) {
	if why == match.Replaced {
		d.replaced()
		return
	}
	d.join()
}

// Matched implements match.Outlet.
func (d *device) Matched(_ match.Ticket, m match.Match) {
	d.mu.Lock()
	d.match, d.matched = m.ID, true
	d.mu.Unlock()
	d.note(DeviceMatched, 1)
	for _, peer := range m.Peers {
		d.say("I matched with device '" + peer.Device + "'!")
	}
}

// PeerLeft implements match.Outlet. It takes part again by itself.
func (d *device) PeerLeft(m match.Match, peer string, ended bool) {
	if ended {
		d.unmatched(m.ID)
	}
	d.say("device '" + peer + "' left")
}

// Left implements match.Outlet.
func (d *device) Left(m match.Match, _ []byte, why match.Reason) {
	d.unmatched(m.ID)
	if why == match.Replaced {
		d.replaced()
		return
	}
	for _, peer := range m.Peers {
		d.say("device '" + peer.Device + "' left")
	}
	d.join()
}

func (d *device) unmatched(id wire.ID) {
	d.mu.Lock()
	was := d.matched && d.match == id
	if was {
		d.matched = false
	}
	d.mu.Unlock()
	if was {
		d.note(DeviceUnmatched, 1)
	}
}

// Message implements match.Outlet.
func (d *device) Message(_ match.Match, from string, content []byte) {
	text := make([]byte, 0, len(from)+len(content)+16)
	text = append(append(append(append(text, "device "...), from...), " says: "...), content...)
	if !d.queue(finText, text, true) {
		d.door.dropped[dropFull].Inc()
		return
	}
	d.door.out.Inc()
	d.note(DeviceReceived, len(content))
}
