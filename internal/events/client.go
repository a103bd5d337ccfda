package events

import (
	"context"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What the client does: it comes and goes, acknowledges, sends and leaves.

// Attach has the client reached through out from now on, beginning with what it
// has not acknowledged. A former one is ended. It returns false when the session
// is over.
func (st *Stream) Attach(out Out) bool {
	st.mu.Lock()
	if st.closing {
		st.mu.Unlock()
		return false
	}
	old := st.out
	st.out, st.greet, st.beat, st.turn = out, true, false, false
	st.kept.rewind()
	st.mu.Unlock()
	if old != nil {
		st.streams.metrics.takenOver.Inc()
		old.End()
	}
	st.tell()
	st.pump()
	return true
}

// Detach says that a client was lost.
func (st *Stream) Detach(out Out) {
	st.mu.Lock()
	if st.out == out {
		st.out = nil
	}
	st.mu.Unlock()
	out.End()
	st.tell()
}

// tell tells the pipe whether the client is there.
func (st *Stream) tell() {
	st.telling.Lock()
	defer st.telling.Unlock()
	st.mu.Lock()
	away, ended := st.out == nil, st.closing
	st.mu.Unlock()
	if away == st.told || ended {
		return
	}
	st.told = away
	if away {
		st.streams.metrics.away.Add(1)
	} else {
		st.streams.metrics.away.Add(-1)
	}
	st.pipe.Away(away)
}

// Ack takes the ID of the last event that the client has.
func (st *Stream) Ack(id string) error {
	handle, n, ok := parseID(id)
	if !ok || handle != st.handle {
		return ErrBadID
	}
	return st.ack(n)
}

// ack takes the number of the last event that the client has.
func (st *Stream) ack(n uint64) error {
	st.mu.Lock()
	if st.gone {
		st.mu.Unlock()
		return ErrUnknown
	}
	if n > st.kept.tried {
		st.mu.Unlock()
		return ErrBadID
	}
	if n > st.kept.acked {
		st.turn, st.turned = false, false
	}
	reliable := st.kept.ack(n)
	number := st.kept.answered()
	st.signal()
	st.mu.Unlock()
	if !reliable.IsZero() {
		st.pipe.Acknowledge(reliable)
	}
	if number > 0 {
		st.pipe.Pong(number)
	}
	st.finish()
	return nil
}

// Send hands the session a frame of the client's, which is valid. It waits for
// room. The error is ErrMany, ErrBusy or ErrUnknown: then it was not taken.
func (st *Stream) Send(ctx context.Context, frame []byte) error {
	limits := st.streams.opts.Limits()
	defer st.waiting.Add(-1)
	if int(st.waiting.Add(1)) > limits.Frames {
		return ErrMany
	}
	if st.acknowledges(frame) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, limits.Frame)
	defer cancel()
	if err := st.pipe.Text(ctx, frame); err != nil {
		if ctx.Err() != nil {
			return ErrBusy
		}
		return ErrUnknown
	}
	return nil
}

// acknowledges takes a MESSAGE_ACK of what the client has as one of its event:
// so it is not sent that again.
func (st *Stream) acknowledges(frame []byte) bool {
	f, bad := wire.ParseFrame(frame)
	if bad != nil || f.Type != wire.TypeMessageAck {
		return false
	}
	id, bad := wire.ParseAck(f.Data)
	if bad != nil {
		return false // the session will say so
	}
	st.mu.Lock()
	n := st.kept.find(id)
	st.mu.Unlock()
	return n > 0 && st.ack(n) == nil
}

// End ends the session for its client, whose secret opens nothing from now on.
func (st *Stream) End(code uint16) {
	st.mu.Lock()
	if !st.closing {
		st.code = code
	}
	st.signedOut = true
	st.mu.Unlock()
	st.pipe.Close(code)
}

// replaced ends the session of a client that was signed in anew, maybe with a newer
// token, if it is the same user's; it named the number of an event.
func (st *Stream) replaced(user wire.UserID, n uint64) {
	if st.User() == user {
		_ = st.ack(n) // it may be no event of this session: then nothing is acknowledged
		st.End(wire.CloseNormal)
	}
}

// over says whether the session is over, and with which code.
func (st *Stream) over() (code uint16, over bool) {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.code, st.closing
}
