package socket

import (
	"strconv"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// pingEvery is how many bytes are written at most between two pings.
	pingEvery = 32 << 10
	// maxPings is how many pings a client may have to answer: some libraries
	// close a connection on which too many wait for their pongs (one of
	// JavaScript, 60). soonPings is from where on frames that need proof wait for
	// an answer before they get a ping: the rest is for the length of what is
	// written, which shows whether a slow client gets on.
	maxPings  = 48
	soonPings = maxPings / 2
	// maxMarks is maxPings of a Pipe, whose pings nothing but this package sees:
	// past it those are left out that no frame needs as its proof.
	maxMarks = 1024
	// maxFastProofs is how many FAST frames may be unproved for whose proof
	// somebody waits; past it such frames are dropped. (The keeper bounds the
	// RELIABLE ones.)
	maxFastProofs = 4096
)

// proofs knows what a session was sent and what it has proved. The session's
// lock guards it.
type proofs struct {
	delivered uint64       // the keeper's number of the last RELIABLE frame
	fast      fifo[func()] // what to call when FAST frames are proved
	fastGone  uint64       // how many were called, or dropped, before those

	marks fifo[mark] // one for each unanswered ping
	asked uint64     // the last ping's number; some may wait to be written
	sent  uint64     // the last that was given to the connection
	heard uint64     // the last that was answered

	wanted   bool          // frames that need proof follow the last ping
	unpinged int           // bytes since the last ping
	progress time.Duration // when the client last showed that it reads
}

// mark is what a ping's answer proves.
type mark struct {
	delivered uint64 // RELIABLE frames up to this number
	fast      uint64 // as many FAST frames since the session began
}

// added notes that a frame was queued, and says whether much was since the last
// ping.
func (p *proofs) added(bytes int) bool {
	p.unpinged += bytes
	return p.unpinged >= pingEvery
}

// appendPing appends the next ping's frame.
func (p *proofs) appendPing(dst []byte) []byte {
	p.asked++
	p.marks.push(mark{p.delivered, p.fastGone + uint64(p.fast.len())})
	p.wanted, p.unpinged = false, 0
	dst, start := beginFrame(dst)
	return endFrame(strconv.AppendUint(dst, p.asked, 10), start, finPing)
}

// written notes that all pings so far were given to the connection.
func (p *proofs) written(now time.Duration) {
	if p.sent == p.heard && p.asked > p.sent {
		p.progress = now // from now on the client has something to answer
	}
	p.sent = p.asked
}

// pending says whether the client has something to answer.
func (p *proofs) pending() bool { return p.sent > p.heard }

// answered takes a pong. It returns what it proves: RELIABLE frames up to
// delivered, and calls to make; ok is false when it proves nothing.
func (p *proofs) answered(payload []byte, now time.Duration) (delivered uint64, calls []func(), ok bool) {
	number, valid := pingNumber(payload)
	if !valid || number <= p.heard || number > p.sent {
		return 0, nil, false
	}
	n := int(number - p.heard)
	m := p.marks.at(n - 1)
	p.marks.drop(n)
	p.heard, p.progress = number, now
	if count := int(m.fast - p.fastGone); count > 0 {
		calls = make([]func(), count)
		for i := range calls {
			calls[i] = p.fast.at(i)
		}
		p.fast.drop(count)
		p.fastGone = m.fast
	}
	return m.delivered, calls, true
}

// pingNumber reads the number in a pong, in the one spelling that a ping has.
func pingNumber(b []byte) (uint64, bool) {
	if len(b) == 0 || len(b) > 19 || b[0] == '0' {
		return 0, false
	}
	var n uint64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n, true
}

// acks knows which RELIABLE frames a session with "ack" has not acknowledged.
// The session's lock guards it.
type acks struct {
	waiting fifo[unacked]
	passed  uint64        // deliveries up to this number have arrived
	since   time.Duration // since when something that arrived waits; see overdue
	late    bool          // something that arrived waits
}

type unacked struct {
	id wire.ID
	n  uint64
}

// arrived notes that deliveries up to n are with the client.
func (a *acks) arrived(n uint64, now time.Duration) {
	a.passed = max(a.passed, n)
	if !a.late && a.waiting.len() > 0 && a.waiting.at(0).n <= a.passed {
		a.late, a.since = true, now
	}
}

// acknowledged takes a MESSAGE_ACK and returns up to which delivery it holds;
// ok is false when the message is not among those that wait.
func (a *acks) acknowledged(id wire.ID, now time.Duration) (n uint64, ok bool) {
	for i := range a.waiting.len() {
		w := a.waiting.at(i)
		if w.id != id {
			continue
		}
		a.waiting.drop(i + 1)
		a.passed = max(a.passed, w.n)
		a.late = false
		a.arrived(a.passed, now)
		return w.n, true
	}
	return 0, false
}
