package chat

import (
	"context"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Serve does what a frame of a session asks for, and answers it. It returns when the
// session's next frame may be served: with a message as soon as it waits for the
// committer, so that one session fills a batch, with anything else when all that the
// session has sent is stored and this is answered. done is called once, when it is.
//
// Calls for one session come one at a time. The frame is the callee's from now on.
func (c *Chat) Serve(s Session, f *wire.Frame, done func()) {
	e := c.serve(s, f, done)
	if e != nil {
		s.Failed(e, f.Reference)
		done()
	}
}

// serve returns an error where nothing was answered, and done is not called.
func (c *Chat) serve(s Session, f *wire.Frame, done func()) *wire.Error {
	who, e := c.actor(s.User())
	if e != nil {
		return e
	}
	ask, e := wire.ParseRoom(f)
	if e != nil {
		return e
	}
	a := c.local.get(s.ID())
	if a == nil {
		return general(wire.CodeBusy, "the session is ending")
	}
	ctx, cancel := context.WithTimeout(context.Background(), opTime)
	defer cancel()
	if err := c.ready(ctx, a); err != nil {
		return c.failed(err)
	}
	who.session = s.ID()
	switch ask.Type {
	case wire.TypeRoomTyping:
		if e := c.typing(ctx, a, &ask, c.mono()); e != nil {
			return e
		}
		done()
		return nil
	case wire.TypeRoomSend:
		return c.serveSend(ctx, a, who, &ask, f.Reference, done)
	}
	a.sends.Wait() // each of which is bounded
	answer, err := c.do(ctx, who, &ask)
	if err != nil {
		return c.failed(err)
	}
	s.Answer(wire.AppendRoomFrame(nil, answer.Type, answer.Data, f.Reference))
	done()
	return nil
}

// serveSend has a message of a session stored, without waiting for it.
func (c *Chat) serveSend(ctx context.Context, a *attached, who actor, ask *wire.RoomAsk, reference []byte, done func()) *wire.Error {
	if e := c.check(ask); e != nil {
		return e
	}
	j, err := c.jobOf(ctx, who, ask)
	if err != nil {
		return c.failed(err)
	}
	a.sends.Add(1)
	j.done = func(j *job) {
		if j.err != nil {
			a.s.Failed(c.failed(j.err), reference)
		} else {
			a.s.Answer(wire.AppendRoomFrame(make([]byte, 0, 256), wire.TypeRoomSent, &j.sent, reference))
		}
		a.sends.Done()
		done()
	}
	if e := c.submit(j); e != nil {
		a.sends.Done()
		return e
	}
	return nil
}
