package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// serverFrame makes a server's frame: not masked.
func serverFrame(first byte, payload []byte) []byte {
	b := appendFrame(nil, 0, payload)
	at := bytes.Index(b, []byte{0, 0, 0, 0}) // nothing else in these headers is 0 that often
	if len(payload) > 0xffff {
		at = 10
	}
	b = append(b[:at:at], b[at+4:]...)
	b[0], b[1] = first, b[1]&^masked
	return b
}

func TestFramesAreCutWhereverTheyAreSplit(t *testing.T) {
	for _, n := range []int{0, 1, 125, 126, 1000, 0xffff, 0x10000} {
		want := bytes.Repeat([]byte{'x'}, n)
		whole := serverFrame(fin|opText, want)
		for _, split := range []int{0, 1, 2, 3, 9, len(whole) - 1} {
			if split < 0 || split >= len(whole) {
				continue
			}
			if _, _, size, err := nextFrame(whole[:split]); size != 0 || err != nil {
				t.Errorf("%d bytes of %d: size %d, %v", split, len(whole), size, err)
			}
		}
		op, payload, size, err := nextFrame(append(whole, "next"...))
		if op != opText || !bytes.Equal(payload, want) || size != len(whole) || err != nil {
			t.Errorf("%d bytes: got opcode %d, %d bytes, size %d, %v", n, op, len(payload), size, err)
		}
	}
}

func TestFramesThatAServerMayNotSendAreRefused(t *testing.T) {
	for want, frames := range map[error][][]byte{
		errReserved: {{fin | 0x40 | opText, 0}, {fin | opText, masked, 0, 0, 0, 0}, {fin | 3, 0}, {fin | 11, 0}},
		errFragment: {{opText, 0}, {fin, 0}},
		errTooLarge: {{fin | opText, 127, 1, 0, 0, 0, 0, 0, 0, 0}},
	} {
		for _, frame := range frames {
			if _, _, _, err := nextFrame(frame); !errors.Is(err, want) {
				t.Errorf("% x: got %v, want %v", frame, err, want)
			}
		}
	}
}

// What the composer writes, the protocol's own reader understands, and what the
// serverFrame makes of it, the generator's.
func TestMessagesAreThoseOfTheProtocol(t *testing.T) {
	for _, o := range []Options{
		{Feature: FeatureFast, Payload: 1000, Pattern: PatternSelf},
		{Feature: FeatureReliable, Payload: markSize, Pattern: PatternSelf, Reference: true},
		{Feature: FeatureReliable, Payload: 70_000, Pattern: PatternAbsent},
	} {
		want := mark{1, 2, 3, 4 * time.Second}
		frame := newComposer(&o).append(nil, `"ANZ-7"`, want)
		payload := unmasked(t, frame)
		f, err := wire.ParseFrame(payload)
		if err != nil {
			t.Fatalf("%v: %s", err, payload)
		}
		to, content, err := wire.ParseMessage(&f)
		if err != nil || string(to) != "ANZ-7" || len(content) != o.Payload+2 || f.Fast != (o.Feature == FeatureFast) {
			t.Errorf("%+v: to %s, %d bytes, %v: %s", o, to, len(content), err, payload)
		}
		got, ok := contentMark(wire.AppendMessage(nil, "ANZ-8", content, f.Reference))
		if !ok || got != want {
			t.Errorf("%+v: got %+v, want %+v", o, got, want)
		}
		if f.Reference == nil {
			continue
		}
		for start, receipt := range map[string][]byte{confirmationStart: wire.AppendConfirmation(nil, f.Reference), storedStart: wire.AppendStored(nil, f.Reference)} {
			if m, ok := referenceMark(receipt, start); !ok || m.run != want.run || m.at != want.at {
				t.Errorf("%s: got %+v", receipt, m)
			}
		}
	}
}

// unmasked returns the payload of a client's frame.
func unmasked(t *testing.T, frame []byte) []byte {
	t.Helper()
	n, head := int(frame[1]&^masked), 6
	switch n {
	case 126:
		head = 8
	case 127:
		head = 14
	}
	if frame[0] != fin|opText || frame[1]&masked == 0 || !bytes.Equal(frame[head-4:head], make([]byte, 4)) {
		t.Fatalf("the header is % x", frame[:head])
	}
	if !json.Valid(frame[head:]) {
		t.Fatalf("the length is wrong: %s", frame[head:])
	}
	return frame[head:]
}

func TestTheIDOfAFrameIsFound(t *testing.T) {
	id, err := wire.NewID(time.Unix(1, 0), strings.NewReader("0123456789"))
	if err != nil {
		t.Fatal(err)
	}
	plain := wire.AppendMessage(nil, "ANZ-1", []byte(`"x"`), nil)
	if got := idOf(wire.AppendWithID(nil, plain, id)); string(got) != id.String() {
		t.Errorf("got %s, want %s", got, id)
	}
	if got := idOf(plain); got != nil {
		t.Errorf("a frame without one has %s", got)
	}
}

func BenchmarkComposeAndJudge(b *testing.B) {
	c := newComposer(&Options{Feature: FeatureFast, Payload: 1000, Pattern: PatternSelf})
	var buf []byte
	var j judge
	var v verdict
	content := append([]byte(`"`), mark{}.append(nil)...)
	message := wire.AppendMessage(nil, "ANZ-1000000", append(content, '"'), nil)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		buf = c.append(buf[:0], `"ANZ-1000000"`, mark{1, 2, uint32(i), time.Second})
		if _, ok := contentMark(message); !ok {
			b.Fatal("no mark")
		}
		j.arrived(uint32(i), &v)
	}
}
