package events

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// endedMost is how many sessions that are over are remembered, see doc.go.
const endedMost = 10_000

// Pipe is one session, from its client's end. socket.Pipe says what the methods
// promise.
type Pipe interface {
	User() wire.UserID
	Text(ctx context.Context, frame []byte) error
	Pong(number uint64)
	Acknowledge(id wire.ID) bool
	Away(away bool)
	Close(code uint16)
}

// Out is one answer through which a client is reached.
type Out interface {
	// Write sends, in at most so long. After an error nothing more is written.
	Write(p []byte, patience time.Duration) error
	// Hurry bounds the writing under way and all that follows. It must not
	// wait.
	Hurry(by time.Time)
	// End ends the answer; a write under way fails. It must not wait, and may
	// be called more than once.
	End()
}

// Options configure Streams. Open and Limits are needed.
type Options struct {
	// Open begins a session that is not signed in, for a client at an address.
	// The error is a *wire.Error.
	Open   func(address string, far *Stream) (Pipe, error)
	Limits func() Limits

	Node    string                // ID of this node among those that a client may come to
	Now     func() time.Time      // nil: time.Now
	Random  io.Reader             // nil: crypto/rand.Reader
	Metrics prometheus.Registerer // nil: nothing is registered
}

// Limits bound what one client may cost.
type Limits struct {
	Write  time.Duration // for a write of at most chunkMost bytes, or the answer is ended
	Resume time.Duration // for which a session that is over is remembered
	Frames int           // of one client that wait to be taken
	Frame  time.Duration // for one of them
}

// Why a request was refused, besides a *wire.Error with what the session says.
var (
	ErrUnknown = errors.New("there is no such session, or it is over")
	ErrMany    = errors.New("as many frames of this session wait as may")
	ErrBusy    = errors.New("the session has no room for another frame at present")
	ErrBadID   = errors.New("this is not the ID of an event that the session was sent")
)

// OverError says that a session is over in a way in which its client must not
// sign in again by itself.
type OverError struct{ Code uint16 }

// Error names the close code.
func (e *OverError) Error() string { return fmt.Sprintf("the session was closed with %d", e.Code) }

// Credentials are what a client signs in with.
type Credentials struct{ AppID, UserID, Token string }

// print returns what tells credentials apart.
func (c *Credentials) print() [sha256.Size]byte {
	text, err := json.Marshal([]string{c.AppID, c.UserID, c.Token})
	if err != nil {
		panic(err) // strings always marshal
	}
	return sha256.Sum256(text)
}

// Request is a client that wants its events.
type Request struct {
	Credentials
	Push, Receipts bool
	Presence       []string
	Producer       string // empty: none
	LastEventID    string // empty: none
	Address        string
}

// Streams are the streams of this node. Its methods may be called from any
// goroutine.
type Streams struct {
	opts     Options
	tag      string // of this node
	metrics  *metrics
	askAfter time.Duration // see Stream.watch

	buffers  buffers
	randomMu sync.Mutex // guards opts.Random

	mu      sync.Mutex
	streams map[string]*Stream // by handle
	ended   map[string]ended   // by handle
	order   []string           // of them, the oldest first
}

// ended is a session that is over.
type ended struct {
	code  uint16
	at    time.Time
	proof [sha256.Size]byte
}

// New returns Streams without any.
func New(o Options) (*Streams, error) {
	if o.Open == nil || o.Limits == nil {
		return nil, errors.New("events: Open and Limits are needed")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	m, err := newMetrics(o.Metrics)
	if err != nil {
		return nil, fmt.Errorf("register the metrics of event streams: %w", err)
	}
	return &Streams{opts: o, tag: tag(o.Node), metrics: m, askAfter: time.Second, streams: make(map[string]*Stream), ended: make(map[string]ended)}, nil
}

// Connect returns the stream that a client wants: the one that it had, if it
// names its last event and has the credentials with which it signed in, and a
// new one otherwise, for which it is signed in. The caller attaches an Out, or
// ends the stream. The error is a *wire.Error, an *OverError or ErrBadID.
func (s *Streams) Connect(ctx context.Context, r Request) (*Stream, error) {
	proof := r.print()
	st, old, n, err := s.back(r.LastEventID, &proof)
	if st != nil || err != nil {
		return st, err
	}
	if st, err = s.open(ctx, r, proof); err != nil {
		return nil, err
	}
	if old != nil {
		old.replaced(st.User(), n)
	}
	return st, nil
}

// back returns the stream with which a client goes on that names its last event;
// or, if it has to be signed in, the one that its new session replaces when that is
// the same user's, with the event's number; nil for none.
func (s *Streams) back(id string, proof *[sha256.Size]byte) (st, old *Stream, n uint64, err error) {
	old, n, err = s.earlier(id, proof)
	if err != nil || old == nil || subtle.ConstantTimeCompare(proof[:], old.proof[:]) == 0 {
		return nil, old, n, err
	}
	if err := old.ack(n); errors.Is(err, ErrBadID) {
		return nil, nil, 0, err
	}
	switch code, over := old.over(); {
	case !over:
		s.metrics.resumed.Inc()
		return old, nil, 0, nil
	case final(code):
		return nil, nil, 0, &OverError{code}
	}
	return nil, nil, 0, nil
}

// earlier returns the stream that an event's ID names, with the event's number;
// nil when there is none, and an *OverError when it is over for good for who
// signed in with these credentials.
func (s *Streams) earlier(id string, proof *[sha256.Size]byte) (*Stream, uint64, error) {
	handle, n, ok := parseID(id)
	if !ok {
		return nil, 0, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.expire()
	if e, over := s.ended[handle]; over && subtle.ConstantTimeCompare(proof[:], e.proof[:]) == 1 {
		return nil, 0, &OverError{e.code}
	}
	return s.streams[handle], n, nil
}

// open begins a stream and signs its client in.
func (s *Streams) open(ctx context.Context, r Request, proof [sha256.Size]byte) (*Stream, error) {
	st, err := s.newStream(proof)
	if err != nil {
		return nil, err
	}
	pipe, err := s.opts.Open(r.Address, st)
	if err != nil {
		return nil, err
	}
	s.add(st, pipe)
	signedIn := st.signedIn
	if err := pipe.Text(ctx, r.signIn()); err == nil {
		select {
		case <-signedIn:
		case <-ctx.Done():
		}
	}
	if err := st.begun(); err != nil {
		pipe.Close(wire.CloseNormal)
		return nil, err
	}
	s.metrics.opened.Inc()
	return st, nil
}

// signIn returns the AUTH_CLIENT.
func (r *Request) signIn() []byte {
	options := map[string]any{"ack": true, "push": r.Push, "receipts": r.Receipts}
	if len(r.Presence) > 0 {
		options["presence"] = r.Presence
	}
	if r.Producer != "" {
		options["producer"] = r.Producer
	}
	frame, err := json.Marshal(map[string]any{
		"type": wire.NameAuthClient,
		"data": map[string]any{"appId": r.AppID, "userId": r.UserID, "token": r.Token, "options": options},
	})
	if err != nil {
		panic(err) // strings and switches always marshal
	}
	return frame
}

// newStream returns a stream without a session.
func (s *Streams) newStream(proof [sha256.Size]byte) (*Stream, error) {
	s.randomMu.Lock()
	defer s.randomMu.Unlock()
	secret, err := s.newSecret()
	if err != nil {
		return nil, fmt.Errorf("read randomness for a stream: %w", err)
	}
	var spread [1]byte
	if _, err := io.ReadFull(s.opts.Random, spread[:]); err != nil {
		return nil, fmt.Errorf("read randomness for a stream: %w", err)
	}
	return &Stream{
		streams: s, handle: secret[:handleText], secret: secret, proof: proof, signedIn: make(chan struct{}),
		retry: uint16(retryLeast + int(spread[0])*(retryMost-retryLeast)/255),
	}, nil
}

// newSecret returns a secret whose handle no stream has. The caller holds randomMu.
func (s *Streams) newSecret() (string, error) {
	for {
		text, err := newText(s.opts.Random, handleBytes-tagBytes+secretBytes)
		if err != nil {
			return "", err
		}
		secret := s.tag + text
		if s.named(secret[:handleText]) == nil {
			return secret, nil
		}
	}
}

// named returns the stream of a handle; nil for none.
func (s *Streams) named(handle string) *Stream {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.streams[handle]
}

// Find returns the stream that a session's secret opens, or ErrUnknown.
func (s *Streams) Find(secret string) (*Stream, error) {
	if len(secret) != handleText+secretText {
		return nil, ErrUnknown
	}
	st := s.named(secret[:handleText])
	if st == nil || subtle.ConstantTimeCompare([]byte(secret), []byte(st.secret)) == 0 {
		return nil, ErrUnknown
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.signedOut {
		return nil, ErrUnknown
	}
	return st, nil
}

// add makes a stream known, which has a session now.
func (s *Streams) add(st *Stream, pipe Pipe) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.mu.Lock()
	defer st.mu.Unlock()
	st.pipe = pipe
	if !st.gone {
		s.streams[st.handle] = st
		s.metrics.streams.Add(1)
	}
}

// remove forgets a stream whose session is over; why is its close code.
func (s *Streams) remove(st *Stream, why uint16) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.streams[st.handle] != st {
		return
	}
	delete(s.streams, st.handle)
	s.metrics.streams.Add(-1)
	if final(why) {
		s.ended[st.handle] = ended{why, s.opts.Now(), st.proof}
		s.order = append(s.order, st.handle)
	}
	s.expire()
}

// expire forgets the sessions that have been over for long. The caller holds mu.
func (s *Streams) expire() {
	since := s.opts.Now().Add(-s.opts.Limits().Resume)
	for len(s.order) > 0 && (len(s.order) > endedMost || s.ended[s.order[0]].at.Before(since)) {
		delete(s.ended, s.order[0])
		s.order = shortened(s.order, 1)
	}
}

// final says whether a session that is closed with a code is over for good: its
// client must not sign in again by itself.
func final(code uint16) bool {
	for _, c := range wire.CloseCodes() {
		if c.Code == code {
			return !c.Retry
		}
	}
	return false
}
