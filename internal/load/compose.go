package load

import (
	"bytes"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// composer writes the frames of one run. It allocates only when dst has to grow.
type composer struct {
	kind      string // up to the receiver
	pad       string // content after the mark
	end       string // after the content, up to the reference
	feature   string
	reference bool
}

// padText is what contents are filled with: text without need of escapes, as
// most is.
const padText = "The quick brown fox jumps over the lazy dog and comes back at noon. "

func newComposer(o *Options) *composer {
	c := &composer{
		kind: `{"type":"MESSAGE","data":{"to":`, end: `"},"feature":"` + o.Feature + `"`, feature: o.Feature,
		reference: o.Reference || o.Pattern == PatternAbsent,
	}
	if o.Pattern == PatternGroup {
		c.kind = `{"type":"GROUP_MESSAGE","data":{"to":`
	}
	if o.inRoom() {
		c.kind, c.reference = `{"type":"ROOM_SEND","data":{"room":`, true
	}
	if o.Pattern == PatternAbsent {
		c.end += `,"confirmationEnabled":false` // MESSAGE_STORED is asked for instead
	}
	c.pad = strings.Repeat(padText, o.Payload/len(padText)+1)[:o.Payload-markSize]
	return c
}

// referenceSize is the length of the references that we give: run and time.
const referenceSize = 8 + 16

// append appends a client's frame with a message to the receivers, which are
// JSON: a string, or an array for a group.
func (c *composer) append(dst []byte, to string, m mark) []byte {
	const middle, reference = `,"content":"`, `,"reference":"`
	n := len(c.kind) + len(to) + len(middle) + markSize + len(c.pad) + len(c.end) + 1
	if c.reference {
		n += len(reference) + referenceSize + 1
	}
	dst = appendHeader(dst, opText, n)
	dst = append(dst, c.kind...)
	dst = append(dst, to...)
	dst = append(dst, middle...)
	dst = m.append(dst)
	dst = append(dst, c.pad...)
	dst = append(dst, c.end...)
	if c.reference {
		dst = append(dst, reference...)
		dst = appendHex(dst, uint64(m.run), 8)
		dst = appendHex(dst, uint64(m.at), 16)
		dst = append(dst, '"')
	}
	return append(dst, '}')
}

// appendPosted appends a message as it stands in a batch that is posted.
func (c *composer) appendPosted(dst []byte, from, to string, m mark) []byte {
	dst = append(append(dst, `{"to":`...), to...)
	dst = append(append(append(dst, `,"from":"`...), from...), `","content":"`...)
	dst = append(m.append(dst), c.pad...)
	dst = append(append(dst, `","feature":"`...), c.feature...)
	if c.reference {
		dst = append(dst, `","confirmationEnabled":true,"reference":"`...)
		dst = appendHex(dst, uint64(m.run), 8)
		dst = appendHex(dst, uint64(m.at), 16)
	}
	return append(dst, `"}`...)
}

// The beginnings of the frames that a run gets by the million. Others are read
// with care instead of speed.
const (
	messageStart      = `{"type":"MESSAGE",`
	confirmationStart = `{"type":"` + wire.NameConfirmation + `","data":{"reference":"`
	storedStart       = `{"type":"` + wire.NameStored + `","data":{"reference":"`
	contentStart      = `"content":"`
	contentWithin     = 256 // bytes: what stands before the content is short
)

// contentMark finds the mark in a MESSAGE.
func contentMark(payload []byte) (mark, bool) {
	if !bytes.HasPrefix(payload, []byte(messageStart)) && !bytes.HasPrefix(payload, []byte(roomMessageStart)) {
		return mark{}, false
	}
	at := bytes.Index(payload[:min(len(payload), contentWithin)], []byte(contentStart))
	if at < 0 {
		return mark{}, false
	}
	return readMark(payload[at+len(contentStart):])
}

// referenceMark finds the run and the time in a receipt that begins with start.
func referenceMark(payload []byte, start string) (m mark, ok bool) {
	if len(payload) < len(start)+referenceSize || string(payload[:len(start)]) != start {
		return mark{}, false
	}
	rest := payload[len(start):]
	run, ok := readHex(rest[:8])
	at, ok2 := readHex(rest[8:referenceSize])
	m.run, m.at = uint32(run), time.Duration(at)
	return m, ok && ok2
}

// idOf returns the ID of a frame to a session with ack, nil if it has none: the
// last member of the envelope.
func idOf(payload []byte) []byte {
	const start, size = `,"id":"`, 36
	at := len(payload) - len(start) - size - len(`"}`)
	if at < 0 || string(payload[at:at+len(start)]) != start {
		return nil
	}
	return payload[at+len(start) : at+len(start)+size]
}
