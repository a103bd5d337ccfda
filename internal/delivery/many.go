package delivery

import "github.com/seed-3d8c1042/switchboard/wire"

// SendAll does what Send does with each message of one request, in their order:
// FAST ones are handed over, RELIABLE ones passed to the keeper in one go. once
// may be nil. The list belongs to the hub, too.
func (h *Hub) SendAll(list []*Send, once *Once) {
	fast := 0
	for _, s := range list {
		if s.Fast {
			fast++
		}
	}
	h.askedFast.Add(float64(fast))
	h.askedReliable.Add(float64(len(list) - fast))
	h.sendAll(list, once)
}

// sendAll does it, and leaves counting to its callers.
func (h *Hub) sendAll(list []*Send, once *Once) {
	var due dueWrites
	size, reliable := 0, list[:0]
	for _, s := range list {
		switch {
		case !h.admit(s):
		case s.Fast:
			if s.Later == nil {
				s.Later = &due
			}
			h.sendFast(s)
		default:
			size += frameSize(s)
			reliable = append(reliable, s)
			continue
		}
		if s.Done != nil {
			s.Done()
		}
	}
	due.write()
	switch {
	case len(reliable) == 0:
	case h.anyStrays(reliable):
		h.sendReliable(reliable, once)
	default:
		h.opts.Keeper.AcceptAll(reliable, framesOf(reliable, size), once)
	}
}

// frameSize is how many bytes the frame of a message has at most, and its
// reference, which is kept beside it.
func frameSize(s *Send) int {
	size := len(s.Content) + 2*len(s.Reference) + len(s.From) + 64
	if s.Producer != "" {
		size += len(s.Producer) + 48
	}
	if !s.Match.IsZero() {
		size += 64
	}
	return size
}

// appendFrame appends the frame of a message: with its number, where it has one, so that
// a receiver can tell its sender's order whatever ways its messages took.
func appendFrame(dst []byte, s *Send) []byte {
	switch {
	case !s.Match.IsZero():
		return wire.AppendMatchMessage(dst, s.Match, s.From, s.Content, s.Reference)
	case s.Producer != "":
		return wire.AppendNumbered(dst, s.From, s.Content, s.Reference, s.Producer, s.Seq)
	}
	return wire.AppendMessage(dst, s.From, s.Content, s.Reference)
}

// framesOf makes the frames of messages, and moves their references beside them,
// in one piece of memory of size bytes.
func framesOf(list []*Send, size int) [][]byte {
	buf, frames := make([]byte, 0, size), make([][]byte, len(list))
	taken := func(start int) []byte { return buf[start:len(buf):len(buf)] }
	for i, s := range list {
		start := len(buf)
		buf = appendFrame(buf, s)
		frames[i] = taken(start)
		s.Content = nil
		if len(s.Reference) > 0 {
			start = len(buf)
			buf = append(buf, s.Reference...)
			s.Reference = taken(start)
		}
	}
	return frames
}

// dueWrites are the receivers of a request's FAST messages, who are written to
// when all of them are handed over.
type dueWrites struct{ receivers []Receiver }

// Later implements Later.
func (d *dueWrites) Later(r Receiver) {
	if n := len(d.receivers); n == 0 || d.receivers[n-1] != r {
		d.receivers = append(d.receivers, r)
	}
}

func (d *dueWrites) write() {
	for _, r := range d.receivers {
		r.Write()
	}
}
