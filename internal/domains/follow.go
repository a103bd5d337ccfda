package domains

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"time"
)

// errSilent is why a stream was given up.
var errSilent = errors.New("the stream is silent")

// follow keeps the meta server's stream of changes open, and has the description
// fetched when one opens, tells of a change, or cannot be had. So a domain to
// which no stream comes through asks as often as it tries.
func (s *Source) follow(ctx context.Context) {
	for failures := 0; ctx.Err() == nil; {
		lived, t := s.stream(ctx)
		s.told.Store(0)
		s.open.Store(false)
		if ctx.Err() != nil {
			return
		}
		if lived {
			failures = 0
		}
		if t != nil {
			s.refresh(ctx, true) // it may have the same trouble, which is said of it, then
			// A stream that ends as it begins may have met a server that ends: what keeps
			// streams from coming through is there the next time, too.
			s.ledger.raise(following, t, lived || failures > 0)
		}
		failures++
		s.wait(ctx, s.delay(failures), nil)
		if t == nil {
			s.kick()
		}
	}
}

// stream follows one stream until it ends. It has lived if anything came after
// its first event; the end of one that has is no trouble: a meta server that is
// started anew ends its streams.
func (s *Source) stream(ctx context.Context) (lived bool, t *trouble) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	deadline := time.AfterFunc(s.o.Timeout, func() { cancel(errSlow) })
	defer deadline.Stop()
	resp, t := s.ask(ctx, "events", "text/event-stream", "")
	if t != nil {
		return false, t
	}
	defer resp.Body.Close()
	deadline.Stop()
	silence := time.AfterFunc(s.o.Silence, func() { cancel(errSilent) })
	defer silence.Stop()
	s.open.Store(true)
	s.kick()
	in := eventReader{in: bufio.NewReaderSize(resp.Body, maxEvent)}
	for told := false; ; {
		e, err := in.next()
		silence.Reset(s.o.Silence)
		switch {
		case err != nil && context.Cause(ctx) == errSilent:
			return lived, newTrouble(kindStream, "the meta server's stream of changes was silent for %s", s.o.Silence)
		case errors.Is(err, bufio.ErrBufferFull):
			return lived, newTrouble(kindStream, "the meta server's stream of changes has a line of more than %d bytes", maxEvent)
		case err != nil && lived:
			return true, nil
		case err != nil:
			return false, newTrouble(kindStream, "the meta server's stream of changes ends as soon as it begins: something in between may not let it through")
		}
		if told {
			lived = true
			s.ledger.clear(following)
		}
		if e.name != "network" {
			continue
		}
		if t := s.hear(e.data); t != nil {
			return lived, t
		}
		told = true
		s.ledger.clearUnless(following, kindStream)
	}
}

// hear notes which version the meta server has.
func (s *Source) hear(data []byte) *trouble {
	var said struct {
		Version uint64 `json:"version"`
	}
	if err := json.Unmarshal(data, &said); err != nil || said.Version == 0 || said.Version > MaxVersion {
		return newTrouble(kindStream, "the meta server's stream tells of a change without its version")
	}
	s.told.Store(said.Version)
	if n := s.Current(); n == nil || n.Version != said.Version {
		s.kick()
	}
	return nil
}

// maxEvent is the longest line of a stream, in bytes. A meta server's has less
// than 50.
const maxEvent = 4 << 10

// event is a server-sent event, or a comment, which has no name.
type event struct {
	name string
	data []byte
}

// eventReader reads server-sent events with one line of data.
type eventReader struct{ in *bufio.Reader }

// next returns the next event or comment.
func (r *eventReader) next() (event, error) {
	var e event
	for {
		line, err := r.in.ReadSlice('\n')
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return event{}, err
		}
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			return e, nil
		}
		key, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(key) {
		case "event":
			e.name = string(value)
		case "data":
			e.data = bytes.Clone(value)
		}
	}
}
