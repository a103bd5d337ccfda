package socket

import (
	"bytes"
	"io"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// chunks gives out bytes in pieces of drawn sizes.
type chunks struct {
	t    *rapid.T
	left []byte
}

func (c *chunks) Read(p []byte) (int, error) {
	if len(c.left) == 0 {
		return 0, io.EOF
	}
	n := min(len(p), len(c.left), rapid.IntRange(1, 40).Draw(c.t, "chunk"))
	copy(p, c.left[:n])
	c.left = c.left[n:]
	return n, nil
}

// However the bytes arrive, the guard passes on everything before the first
// frame that is wrong, at most a part of that frame's header, and then says what
// is wrong with it.
func TestGuardFindsTheFirstWrongFrame(t *testing.T) {
	bad := []struct {
		bytes []byte
		code  uint16
	}{
		{frame(0x82, []byte("x")), wire.CloseUnsupported},
		{frame(finText|0x20, nil), wire.CloseProtocolError},
		{frame(finText, make([]byte, 301)), wire.CloseTooBig},
		{[]byte{finText, 0}, wire.CloseProtocolError},
		{frame(finPing, make([]byte, 200)), wire.CloseProtocolError},
		{frame(0x80, nil), wire.CloseProtocolError},
		{frames(frame(0x01, make([]byte, 200)), frame(0x80, make([]byte, 101))), wire.CloseTooBig},
		{frames(frame(0x01, nil), frame(finText, nil)), wire.CloseProtocolError},
	}
	rapid.Check(t, func(t *rapid.T) {
		var good []byte
		for range rapid.IntRange(0, 10).Draw(t, "frames") {
			payload := make([]byte, rapid.IntRange(0, 300).Draw(t, "size"))
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				good = append(good, frame(finText|rsv1, payload)...)
			case 1:
				good = append(good, frame(finPong, payload[:len(payload)/3])...)
			case 2:
				half := len(payload) / 2
				good = append(good, frames(frame(0x01, payload[:half]), frame(finPing, nil), frame(0x00, nil), frame(0x80, payload[half:]))...)
			default:
				good = append(good, frame(finText, payload)...)
			}
		}
		wrong := bad[rapid.IntRange(0, len(bad)-1).Draw(t, "wrong")]
		all := frames(good, wrong.bytes, frame(finText, []byte("after")))
		early := rapid.IntRange(0, len(all)).Draw(t, "early")
		g := &guard{
			src: &chunks{t, all[early:]}, early: bytes.Clone(all[:early]), limit: 300, first: 300, deflate: true,
			bytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "n"}),
		}
		got, err := io.ReadAll(g)
		if err == nil || g.broken == nil || g.broken.code != wrong.code {
			t.Fatalf("ended with %v, %v", err, g.broken)
		}
		if len(got) < len(good) || !bytes.HasPrefix(all, got) || len(got) >= len(good)+len(wrong.bytes) {
			t.Fatalf("%d bytes passed; %d are good, %d wrong", len(got), len(good), len(wrong.bytes))
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
		for _, joined := range []bool{false, true} {
			g := &guard{
				src:   bytes.NewReader(frames(frame(finText, make([]byte, 100)), large)),
				limit: 300, first: 100, joined: func() bool { return joined },
				bytes: prometheus.NewCounter(prometheus.CounterOpts{Name: "n"}),
			}
			_, err := io.ReadAll(g)
			if refused := err != nil && g.broken.code == wire.CloseTooBig; refused == joined {
				t.Errorf("%s, joined %v: ended with %v", name, joined, err)
			}
		}
	}
}
