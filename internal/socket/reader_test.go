package socket

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// heard is what a reader passed on.
type heard struct {
	events   []string
	stranger bool
	dealt    func() // called by through; nil for nothing
}

func (h *heard) known() bool { return !h.stranger }
func (h *heard) through() {
	if h.dealt != nil {
		h.dealt()
	}
}
func (h *heard) text(p []byte) { h.events = append(h.events, fmt.Sprintf("text %q", p)) }
func (h *heard) ping(p []byte) { h.events = append(h.events, fmt.Sprintf("ping %q", p)) }
func (h *heard) pong(p []byte) { h.events = append(h.events, fmt.Sprintf("pong %q", p)) }

// readerFor returns a reader without a connection, for messages of up to 300
// bytes, 100 of a stranger.
func readerFor(h *heard) *frameReader {
	return &frameReader{in: h, deflate: true, readTerms: &readTerms{
		inflate: new(inflaters), limit: 300, first: 100,
		bytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "n"}),
	}}
}

// feedAll gives a reader copies of the pieces that next cuts, until it is done or
// the bytes are at their end.
func feedAll(r *frameReader, all []byte, next func(left int) int) (done bool) {
	for len(all) > 0 && !done {
		n := next(len(all))
		done = !r.feed(slices.Clone(all[:n]))
		all = all[n:]
	}
	return done
}

// However the bytes arrive, everything before the first frame that is wrong is
// heard, in order, and nothing after it.
func TestReaderFindsTheFirstWrongFrame(t *testing.T) {
	bad := []struct {
		bytes []byte
		code  uint16
	}{
		{frame(0x82, []byte("x")), wire.CloseUnsupported},
		{frame(finText|0x20, nil), wire.CloseProtocolError},
		{frame(finPing|rsv1, nil), wire.CloseProtocolError},
		{frame(0x83, nil), wire.CloseProtocolError},
		{frame(0x8b, nil), wire.CloseProtocolError},
		{frame(finText, make([]byte, 301)), wire.CloseTooBig},
		{[]byte{finText, 0}, wire.CloseProtocolError},
		{[]byte{finText, 0xfe, 0, 125, 0, 0, 0, 0}, wire.CloseProtocolError},
		{[]byte{finText, 0xff, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0}, wire.CloseProtocolError},
		{[]byte{finText, 0xff, 0x80, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, wire.CloseProtocolError},
		{frame(finPing, make([]byte, 200)), wire.CloseProtocolError},
		{frame(0x09, nil), wire.CloseProtocolError},
		{frame(0x80, nil), wire.CloseProtocolError},
		{frames(frame(0x01, make([]byte, 200)), frame(0x80, make([]byte, 101))), wire.CloseTooBig},
		{frames(frame(0x01, nil), frame(finText, nil)), wire.CloseProtocolError},
		{frame(finText, []byte("\xff")), wire.CloseInvalidText},
		{frames(frame(0x01, []byte("\xe2")), frame(0x80, []byte("\x82"))), wire.CloseInvalidText},
		{frame(finText|rsv1, []byte("no deflate")), wire.CloseInvalidText},
		{frame(finClose, []byte{3}), wire.CloseProtocolError},
		{frame(finClose, []byte{3, 0xed}), wire.CloseProtocolError},
		{frame(finClose, []byte{3, 0xe8, 0xff}), wire.CloseInvalidText},
	}
	packer := new(compressors)
	rapid.Check(t, func(t *rapid.T) {
		var good []byte
		var want []string
		for range rapid.IntRange(0, 10).Draw(t, "frames") {
			payload := []byte(rapid.StringN(0, 75, 300).Draw(t, "payload"))
			control := payload[:len(payload)/4]
			switch rapid.IntRange(0, 4).Draw(t, "kind") {
			case 0:
				_, packed, _ := splitFrame(packer.pack(nil, appendFrame(nil, finText, payload), -1))
				if len(packed) >= len(payload) {
					packed = nil // pack has left it as it was
					good = append(good, frame(finText, payload)...)
				} else {
					good = append(good, frame(finText|rsv1, packed)...)
				}
				want = append(want, fmt.Sprintf("text %q", payload))
			case 1:
				good = append(good, frame(finPong, control)...)
				want = append(want, fmt.Sprintf("pong %q", control))
			case 2:
				half := len(payload) / 2
				good = append(good, frames(frame(0x01, payload[:half]), frame(finPing, control), frame(0x00, nil), frame(0x80, payload[half:]))...)
				want = append(want, fmt.Sprintf("ping %q", control), fmt.Sprintf("text %q", payload))
			default:
				good = append(good, frame(finText, payload)...)
				want = append(want, fmt.Sprintf("text %q", payload))
			}
		}
		wrong := bad[rapid.IntRange(0, len(bad)-1).Draw(t, "wrong")]
		all := frames(good, wrong.bytes, frame(finText, []byte("after")))
		h := new(heard)
		r := readerFor(h)
		done := feedAll(r, all, func(left int) int { return min(left, rapid.IntRange(1, 200).Draw(t, "piece")) })
		if !done || r.end.send != wrong.code || !r.end.frame {
			t.Fatalf("done %v, ends with %+v, want %d", done, r.end, wrong.code)
		}
		if !slices.Equal(h.events, want) {
			t.Fatalf("heard %q\nwant  %q", h.events, want)
		}
	})
}

// What came together with the handshake is dealt with like all that comes later:
// nothing that it caused waits for the next read.
func TestWhatCameWithTheHandshakeIsDealtWithAtOnce(t *testing.T) {
	near, far := net.Pipe()
	dealt := make(chan string, 10)
	h := new(heard)
	h.dealt = func() { dealt <- strings.Join(h.events, " ") }
	r := readerFor(h)
	r.conn, r.early = near, frame(finText, []byte("first"))
	ended := make(chan ending)
	go func() { ended <- r.read() }()
	select {
	case got := <-dealt:
		if got != `text "first"` {
			t.Errorf("dealt with %q", got)
		}
	case <-time.After(patience):
		t.Error("it waits for the next read")
	}
	far.Close()
	if end := <-ended; end.code != closeLost {
		t.Errorf("ends with %+v", end)
	}
}

// Whatever arrives, it makes no difference in which pieces.
func FuzzReader(f *testing.F) {
	for _, seed := range [][]byte{
		frame(finText, []byte(`{"type":"MESSAGE"}`)),
		frames(frame(0x01, []byte("a")), frame(finPing, []byte("1")), frame(0x80, []byte("b"))),
		frames(frame(finText|rsv1, []byte{0xca, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00}), frame(finClose, []byte{3, 0xe8})),
		{finText, 0xfe, 1, 0}, {finText, 0xff, 0, 0},
	} {
		f.Add(seed, uint8(1))
	}
	f.Fuzz(func(t *testing.T, all []byte, size uint8) {
		var whole, parts heard
		a, b := readerFor(&whole), readerFor(&parts)
		doneA := feedAll(a, all, func(left int) int { return left })
		doneB := feedAll(b, all, func(left int) int { return min(left, int(size)+1) })
		if doneA != doneB || !slices.Equal(whole.events, parts.events) || a.end != b.end {
			t.Fatalf("at once: %v %+v %q\nin pieces of %d: %v %+v %q", doneA, a.end, whole.events, int(size)+1, doneB, b.end, parts.events)
		}
		if kept := len(b.rest) + len(b.message); kept > len(all) || len(b.message) > b.limit {
			t.Fatalf("%d bytes are kept of %d", kept, len(all))
		}
	})
}

// Before the client is known it may send small frames only: nothing is kept for
// the payload of a larger one, whether it comes in one piece or in many.
func TestStrangersMaySendSmallFramesOnly(t *testing.T) {
	for name, large := range map[string][]byte{
		"whole":     frame(finText, make([]byte, 101)),
		"fragments": frames(frame(0x01, make([]byte, 60)), frame(0x80, make([]byte, 41))),
	} {
		for _, stranger := range []bool{true, false} {
			r := readerFor(&heard{stranger: stranger})
			done := feedAll(r, frames(frame(finText, make([]byte, 100)), large), func(left int) int { return left })
			if refused := done && r.end.send == wire.CloseTooBig; refused != stranger {
				t.Errorf("%s, stranger %v: ended %v with %+v", name, stranger, done, r.end)
			}
		}
	}
}
