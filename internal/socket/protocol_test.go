package socket

import (
	"bytes"
	"encoding/binary"
	"strings"
	"testing"
	"time"

	"github.com/klauspost/compress/flate"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const deflateOffer = "Sec-WebSocket-Extensions: permessage-deflate"

// deflated compresses as a client does.
func deflated(t testing.TB, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	w, err := flate.NewWriter(&out, 9)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()[:out.Len()-4]
}

func TestBrokenFramesCloseWithTheRightCode(t *testing.T) {
	long := func(first byte, n uint64) []byte {
		b := binary.BigEndian.AppendUint64([]byte{first, 0x80 | 127}, n)
		return append(b, 0, 0, 0, 0)
	}
	bomb := frame(finText|rsv1, deflated(t, make([]byte, 10<<20)))
	for _, c := range []struct {
		name    string
		deflate bool
		bytes   []byte
		code    int
	}{
		{"binary", false, frame(0x82, []byte("x")), wire.CloseUnsupported},
		{"binary, payload never sent", false, long(0x82, 1<<16), wire.CloseUnsupported},
		{"not UTF-8", false, frame(finText, []byte("a\xffb")), wire.CloseInvalidText},
		{"not UTF-8 in fragments", false, frames(frame(0x01, []byte("a\xe2")), frame(0x80, []byte("b"))), wire.CloseInvalidText},
		{"above the limit", false, frame(finText, make([]byte, 64<<10+1)), wire.CloseTooBig},
		{"far above the limit, payload never sent", false, long(finText, 1<<40), wire.CloseTooBig},
		{"above the limit in fragments", false, frames(frame(0x01, make([]byte, 40<<10)), frame(0x80, make([]byte, 40<<10))), wire.CloseTooBig},
		{"length with the top bit", false, long(finText, 1<<63+5), wire.CloseProtocolError},
		{"length in a long form", false, long(finText, 5), wire.CloseProtocolError},
		{"a bomb", true, bomb, wire.CloseTooBig},
		{"not deflate", true, frame(finText|rsv1, []byte("\xff\xff\xff\xff garbage")), wire.CloseInvalidText},
		{"compressed, not UTF-8", true, frame(finText|rsv1, deflated(t, []byte("a\xffb"))), wire.CloseInvalidText},
		{"compressed without being asked", false, frame(finText|rsv1, deflated(t, []byte("{}"))), wire.CloseProtocolError},
		{"reserved bit 2", true, frame(finText|0x20, []byte("{}")), wire.CloseProtocolError},
		{"reserved bit 3", true, frame(finText|0x10, []byte("{}")), wire.CloseProtocolError},
		{"compressed continuation", true, frames(frame(0x01, []byte("{")), frame(0x80|rsv1, []byte("}"))), wire.CloseProtocolError},
		{"compressed ping", true, frame(finPing|rsv1, []byte("x")), wire.CloseProtocolError},
		{"not masked", false, []byte{finText, 2, '{', '}'}, wire.CloseProtocolError},
		{"unknown data opcode", false, frame(0x83, nil), wire.CloseProtocolError},
		{"unknown control opcode", false, frame(0x8b, nil), wire.CloseProtocolError},
		{"fragmented ping", false, frame(0x09, nil), wire.CloseProtocolError},
		{"long ping", false, frame(finPing, make([]byte, 126)), wire.CloseProtocolError},
		{"continuation of nothing", false, frame(0x80, []byte("x")), wire.CloseProtocolError},
		{"message inside a message", false, frames(frame(0x01, []byte("x")), frame(finText, []byte("x"))), wire.CloseProtocolError},
		{"close of one byte", false, frame(finClose, []byte("x")), wire.CloseProtocolError},
		{"close with a code that is none", false, frame(finClose, []byte{0x03, 0xed}), wire.CloseProtocolError},
		{"close with a reason that is not UTF-8", false, frame(finClose, []byte{0x03, 0xe8, 0xff}), wire.CloseInvalidText},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			var headers []string
			if c.deflate {
				headers = append(headers, deflateOffer)
			}
			p := r.dial(headers...)
			p.signIn("ANZ-7", "")
			p.write(c.bytes)
			p.closed(c.code)
			r.expect("open ANZ-7")
			r.expect("close ANZ-7")
		})
	}
}

func TestWhatWasBeforeABrokenFrameIsHandled(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	p.write(frames(
		frame(finText, []byte(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":5}}`)),
		frame(finText, []byte(`{"type":"NONSENSE"}`)),
		frame(0x83, nil),
		frame(finText, []byte(`{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":6}}`)),
	))
	r.expect("fetch 5")
	p.fails("INVALID_MESSAGE", "UNKNOWN_TYPE")
	p.closed(wire.CloseProtocolError)
	r.expect("close ANZ-7")
	r.quiet()
}

func TestCloseCodeReachesAClientThatSendsOn(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	// Closed with this unread, the connection would be reset and the close
	// frame lost.
	p.write(frame(finText, make([]byte, 4<<20)))
	p.closed(wire.CloseTooBig)
}

func TestFragmentsMakeAMessage(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	text := `{"type":"FETCH_MISSING_MESSAGES_REQUEST","data":{"count":7}}`
	p.write(frames(frame(0x01, []byte(text[:10])), frame(finPing, []byte("x")), frame(0x00, nil), frame(0x80, []byte(text[10:]))))
	r.expect("fetch 7")
	if got := p.next(finPong); got != "x" {
		t.Errorf("pong %q", got)
	}
}

func TestWhatComesWithTheHandshakeIsRead(t *testing.T) {
	r := newRig(t)
	p := r.dialWith(frames(frame(finText, []byte(auth("ANZ-7", ""))), frame(finPing, []byte("early"))))
	p.deadline()
	seen := ""
	for len(seen) < 2 {
		first, _, err := p.read()
		if err != nil {
			t.Fatal(err)
		}
		if first == finPong {
			seen += "p"
		} else {
			seen += "t"
		}
	}
	r.expect("open ANZ-7")
}

func TestPeersCloseIsAnswered(t *testing.T) {
	for _, c := range []struct {
		payload string
		want    string
		code    string
	}{
		{"", "", "1005"},
		{"\x03\xe8bye", "\x03\xe8", "1000"},
		{"\x03\xe9", "\x03\xe9", "1001"},
		{"\x0f\xa1", "\x0f\xa1", "4001"},
	} {
		r := newRig(t)
		p := r.join("ANZ-7", "")
		p.write(frame(finClose, []byte(c.payload)))
		if got := p.next(finClose); got != c.want {
			t.Errorf("answer to %q is %q", c.payload, got)
		}
		p.ended()
		r.expect("close ANZ-7")
		if n := r.counter("closes_total", "code", c.code); n != 1 {
			t.Errorf("%v closes with %s", n, c.code)
		}
	}
}

func TestLostConnectionEndsItsSession(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	p.conn.Close()
	r.expect("close ANZ-7")
	p = r.join("ANZ-7", "")
	p.write(frame(finText, []byte("half"))[:5]) // in the middle of a frame
	p.conn.Close()
	r.expect("close ANZ-7")
	if n := r.counter("closes_total", "code", "1006"); n != 2 {
		t.Errorf("%v lost connections", n)
	}
}

func TestPanicEndsOneSessionOnly(t *testing.T) {
	r := newRig(t)
	other := r.join("ANZ-8", "")
	p := r.join("ANZ-7", "")
	close(r.store.sends) // sending on it panics
	p.send(`{"type":"MESSAGE","data":{"to":"ANZ-2","content":1}}`)
	payload := p.next(finClose)
	if code := binary.BigEndian.Uint16([]byte(payload)); code != wire.CloseInternal {
		t.Errorf("closed with %d", code)
	}
	other.settledDown()
	if n := r.counter("panics_total"); n != 1 {
		t.Errorf("%v panics", n)
	}
}

func TestCloseFrameNeverSplitsAFrame(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueBytes = 64 << 20 })
	p := r.join("ANZ-7", "")
	s := r.session()
	big := message(3 << 20)
	for range 3 {
		s.Fast(big, nil)
	}
	s.Kick(wire.CloseByMaster, strings.Repeat("é", 100))
	for range 3 {
		p.text(string(big))
		p.next(finPing)
	}
	if reason := p.closed(wire.CloseByMaster); reason != strings.Repeat("é", 61) {
		t.Errorf("reason %q", reason)
	}
	r.expect("close ANZ-7")
}

func TestClosingDoesNotHangOnAPeerThatDoesNotRead(t *testing.T) {
	r := newRig(t)
	r.limit(func(l *Limits) { l.QueueBytes = 64 << 20 })
	r.join("ANZ-7", "")
	s := r.session()
	for s.Fast(message(60_000), nil) && !stuck(s) {
	}
	begin := time.Now()
	s.close(aborting(wire.CloseTooSlow, ""))
	r.expect("close ANZ-7")
	r.srv.stop()
	select {
	case <-r.srv.empty:
	case <-time.After(patience):
		t.Fatal("the connection is not closed")
	}
	if took := time.Since(begin); took > abortPatience+lingerTime+2*time.Second {
		t.Errorf("closing took %v", took)
	}
}
