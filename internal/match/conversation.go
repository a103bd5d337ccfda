package match

import (
	"encoding/binary"
	"errors"
	"time"
)

// A node asks the owner of a shard with requests that are part of a conversation. A
// request has the number of the conversation, which the node raises whenever it begins
// anew, whether it begins with this, and commands.
const (
	cmdEnter  byte = 1 // see appendEntry
	cmdHold   byte = 2 // ticket, how many members it knows of
	cmdSynced byte = 3
	cmdCancel byte = 4 // ticket
	cmdQuit   byte = 5 // ticket
	cmdGone   byte = 6 // ticket
)

// What an owner answers, in one byte.
const (
	answerTaken byte = 0
	answerAgain byte = 1 // nothing was taken: the conversation has to begin anew
)

func appendRequestHeader(dst []byte, epoch uint64, begins bool) []byte {
	return append(binary.AppendUvarint(dst, epoch), flag(begins))
}

// appendEntry appends cmdEnter.
func appendEntry(dst []byte, e *entry) []byte {
	dst = append(append(dst, cmdEnter), e.id[:]...)
	dst = appendText(appendText(appendText(dst, e.pool.App), e.pool.Name), e.device)
	dst = appendProperties(dst, e.props)
	dst = binary.AppendUvarint(binary.AppendUvarint(dst, uint64(e.waited)), uint64(e.age))
	var flags byte
	for i, is := range []bool{e.located, e.plane, e.nearest, e.replace} {
		flags |= flag(is) << i
	}
	dst = append(dst, flags, byte(e.gesture), byte(e.min), byte(e.max))
	if e.located {
		dst = appendFloat(appendFloat(dst, e.request.at.Lat), e.request.at.Lon)
	}
	dst = appendText(appendFloat(dst, e.radius), e.key)
	dst = appendQuery(dst, e.query)
	dst = binary.AppendUvarint(dst, uint64(e.timeout))
	dst = binary.AppendUvarint(dst, uint64(e.patience))
	dst = binary.AppendUvarint(dst, uint64(e.widen.Over))
	if e.widen.Over == 0 {
		return dst
	}
	dst = append(appendFloat(dst, e.widen.Radius), byte(len(e.widen.Ranges)))
	for _, w := range e.widen.Ranges {
		dst = appendFloat(appendFloat(appendText(dst, w.Name), w.Min), w.Max)
	}
	return dst
}

func (r *reader) entry() *entry {
	e := &entry{id: r.id(), pool: Pool{r.text(), r.text()}, device: r.text(), props: r.properties()}
	e.waited, e.age = r.duration(), r.duration()
	flags := r.byte()
	e.located, e.plane, e.nearest, e.replace = flags&1 != 0, flags&2 != 0, flags&4 != 0, flags&8 != 0
	e.gesture, e.min, e.max = Gesture(r.byte()), int(r.byte()), int(r.byte())
	if e.located {
		e.request.at = Point{r.float(), r.float()}
	}
	e.radius, e.key = r.float(), r.text()
	e.query = r.query()
	e.timeout, e.patience, e.widen.Over = r.duration(), r.duration(), r.duration()
	if e.widen.Over > 0 {
		e.widen.Radius = r.float()
		for range min(r.byte(), MaxProperties) {
			e.widen.Ranges = append(e.widen.Ranges, Range{r.text(), r.float(), r.float()})
		}
	}
	if e.min < 2 || e.max < e.min || e.max > MaxGroup {
		r.fail()
	}
	return e
}

var errCommand = errors.New("match: a node of a newer version says what this one does not know")

// take takes a request of a node through the core. It returns the answer.
func (c *core) take(now time.Time, from string, request []byte) (byte, error) {
	r := reader{b: request}
	epoch, begins := r.uvarint(), r.byte() == 1
	if r.err != nil {
		return 0, r.err
	}
	n := c.nodes[from]
	switch {
	case begins && (n == nil || n.epoch < epoch):
		c.sync(now, from, epoch)
	case n == nil || n.epoch != epoch || begins: // it was said a conversation ago
		return answerAgain, nil
	}
	for len(r.b) > 0 {
		c.command(now, from, &r)
	}
	return answerTaken, r.err
}

func (c *core) command(now time.Time, from string, r *reader) {
	switch r.byte() {
	case cmdEnter:
		if e := r.entry(); r.err == nil {
			c.enter(now, from, e)
		}
	case cmdHold:
		if id, n := r.id(), int(r.byte()); r.err == nil {
			c.hold(now, from, id, n)
		}
	case cmdSynced:
		c.synced(now, from)
	case cmdCancel:
		if id := r.id(); r.err == nil {
			c.cancel(now, from, id)
		}
	case cmdQuit:
		if id := r.id(); r.err == nil {
			c.quit(now, from, id)
		}
	case cmdGone:
		if id := r.id(); r.err == nil {
			c.gone(now, from, id)
		}
	default:
		r.b, r.err = nil, errCommand
	}
}
