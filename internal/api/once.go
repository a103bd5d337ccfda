package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"net/http"
	"sync"
	"time"
)

// Once is a request that must not be carried out twice. A handler that stores
// something hands it on, so that a repeat is known also when this process has
// forgotten it; within the process, and its time, the frame sees to it alone.
type Once struct {
	Key   [16]byte // of the app and the Idempotency-Key
	Print uint32   // of the request
}

const (
	onceHeader   = "Idempotency-Key"
	replayHeader = "Idempotency-Replayed"
	// maxOnceKey is the longest Idempotency-Key, in bytes.
	maxOnceKey = 128
	// onceCost is what one remembered request takes besides its answer.
	onceCost = 400
)

// OnceLimits bound what is remembered.
type OnceLimits struct {
	Keys  int
	Bytes int64
	Time  time.Duration
}

// fingerprint tells requests apart.
type fingerprint [sha256.Size]byte

// onceKey is an Idempotency-Key in its space.
type onceKey [sha256.Size]byte

// askedOnce returns what a request with an Idempotency-Key is remembered by; ok is
// false when it has none. space is that of the names.
func askedOnce(r *http.Request, space string, body []byte) (key onceKey, print fingerprint, ok bool, refused *Refusal) {
	sent := r.Header.Values(onceHeader)
	if len(sent) == 0 {
		return key, print, false, nil
	}
	if len(sent) > 1 || !visible(sent[0]) {
		return key, print, false, Invalid(onceHeader, "must be 1 to %d visible ASCII characters", maxOnceKey)
	}
	key = sha256.Sum256([]byte(space + "\x00" + sent[0]))
	h := sha256.New() // takes everything
	for _, part := range []string{r.Method, r.URL.EscapedPath(), r.URL.RawQuery} {
		h.Write([]byte(part + "\x00"))
	}
	h.Write(body)
	h.Sum(print[:0])
	return key, print, true, nil
}

func visible(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return len(s) > 0 && len(s) <= maxOnceKey
}

// asOnce returns what a handler gets.
func asOnce(key onceKey, print fingerprint) *Once {
	return &Once{Key: [16]byte(key[:16]), Print: binary.BigEndian.Uint32(print[:])}
}

// reply is an answer that is held back until it is whole, to be given again.
type reply struct {
	status    int
	header    http.Header
	body      bytes.Buffer
	unsettled bool // a repeat may bring another answer
}

// Header implements http.ResponseWriter.
func (p *reply) Header() http.Header { return p.header }

// WriteHeader implements http.ResponseWriter.
func (p *reply) WriteHeader(status int) {
	if p.status == 0 {
		p.status = status
	}
}

// Write implements http.ResponseWriter.
func (p *reply) Write(b []byte) (int, error) {
	p.WriteHeader(http.StatusOK)
	return p.body.Write(b)
}

// done says whether the request was carried out. One that was refused did
// nothing, and may be tried again under the same key; so may one of which some was
// refused for now, as far as its handler knows what it has done already.
func (p *reply) done() bool { return p.status >= 200 && p.status < 300 && !p.unsettled }

// write gives the answer.
func (p *reply) write(w http.ResponseWriter, replayed bool) {
	h := w.Header()
	for name, values := range p.header {
		h[name] = values
	}
	if replayed {
		h.Set(replayHeader, "true")
	}
	w.WriteHeader(p.status)
	// The client may be gone; there is nobody else to tell.
	_, _ = w.Write(p.body.Bytes())
}

// memory remembers the answers to requests with an Idempotency-Key, in memory,
// for a time. What is full forgets the oldest; requests under way are never
// forgotten, and there are no more of them than connections.
type memory struct {
	limits func() OnceLimits
	now    func() time.Time
	forgot func() // called for what is forgotten before its time

	mu     sync.Mutex
	known  map[onceKey]*memo
	oldest []*memo // those that are answered, by age
	bytes  int64
}

// memo is one request.
type memo struct {
	key   onceKey
	print fingerprint
	ended chan struct{} // closed when it has an answer, or is forgotten
	reply *reply        // nil until then
	at    time.Time
}

func newMemory(limits func() OnceLimits, now func() time.Time, forgot func()) *memory {
	return &memory{limits: limits, now: now, forgot: forgot, known: make(map[onceKey]*memo)}
}

// do carries out a request unless it was carried out before. While the same
// request is under way it waits for that one's end.
func (m *memory) do(ctx context.Context, key onceKey, print fingerprint, carryOut func(*reply)) (answer *reply, replayed bool, refused *Refusal) {
	for {
		mine, first := m.claim(key, print)
		if mine.print != print {
			return nil, false, errMismatch()
		}
		if first {
			return m.run(mine, carryOut), false, nil
		}
		select {
		case <-mine.ended:
		case <-ctx.Done():
			return nil, false, asRefusal(ctx.Err())
		}
		m.mu.Lock()
		answer = mine.reply
		m.mu.Unlock()
		if answer != nil {
			return answer, true, nil
		}
	}
}

// errMismatch says that a key was of another request.
func errMismatch() *Refusal {
	return Refuse(http.StatusUnprocessableEntity, CodeMismatch,
		"another request was sent with this Idempotency-Key; give each request a key of its own, and repeat it unchanged")
}

// claim returns the memo of a key; first says that it was made by this call.
func (m *memory) claim(key onceKey, print fingerprint) (found *memo, first bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.forgetOld()
	if found = m.known[key]; found != nil {
		return found, false
	}
	found = &memo{key: key, print: print, ended: make(chan struct{})}
	m.known[key] = found
	return found, true
}

// run carries out the request of a memo that was just made.
func (m *memory) run(mine *memo, carryOut func(*reply)) *reply {
	answer := &reply{header: make(http.Header)}
	defer func() { // also when it panics
		m.mu.Lock()
		defer m.mu.Unlock()
		m.keep(mine, answer)
		close(mine.ended)
	}()
	carryOut(answer)
	return answer
}

// keep remembers an answer, or that there is none. mu is held.
func (m *memory) keep(mine *memo, answer *reply) {
	limits, size := m.limits(), int64(answer.body.Len()+onceCost)
	if !answer.done() || size > limits.Bytes {
		delete(m.known, mine.key)
		if answer.done() {
			m.forgot()
			mine.reply = answer // for those who wait
		}
		return
	}
	mine.reply, mine.at = answer, m.now()
	m.oldest = append(m.oldest, mine)
	m.bytes += size
	for len(m.oldest) > limits.Keys || m.bytes > limits.Bytes {
		m.forgetFirst()
		m.forgot()
	}
}

// forgetOld forgets what has had its time. mu is held.
func (m *memory) forgetOld() {
	limit := m.now().Add(-m.limits().Time)
	for len(m.oldest) > 0 && !m.oldest[0].at.After(limit) {
		m.forgetFirst()
	}
}

func (m *memory) forgetFirst() {
	first := m.oldest[0]
	m.oldest[0] = nil
	m.oldest = m.oldest[1:]
	m.bytes -= int64(first.reply.body.Len() + onceCost)
	delete(m.known, first.key)
}
