package socket

import (
	"bytes"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/coder/websocket"
	"github.com/klauspost/compress/flate"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func inflated(t testing.TB, b []byte) string {
	t.Helper()
	r := flate.NewReader(bytes.NewReader(append(b, 0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff)))
	out, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestLargeFramesAreCompressedIfTheClientCan(t *testing.T) {
	r := newRig(t)
	p := r.dial(deflateOffer)
	p.signIn("ANZ-7", "")
	s, release := r.held()
	small, large, big := message(100), message(5000), message(50_000)
	for _, f := range [][]byte{small, large, small, big} {
		s.Fast(f, nil)
	}
	release()
	p.text(string(small))
	for _, want := range [][]byte{large, big} {
		got := p.next(finText | rsv1)
		if len(got) > len(want)/10 || inflated(t, []byte(got)) != string(want) {
			t.Errorf("%d bytes of %d", len(got), len(want))
		}
		if len(want) == len(large) {
			p.text(string(small))
		}
	}
	p.next(finPing)
}

func TestFramesThatDoNotShrinkAreLeftAsTheyAre(t *testing.T) {
	r := newRig(t)
	p := r.dial(deflateOffer)
	p.signIn("ANZ-7", "")
	noise := make([]byte, 4000)
	x := uint32(1)
	for i := range noise {
		x = x*1664525 + 1013904223
		noise[i] = byte(x >> 24)
	}
	r.session().Fast(noise, nil) // no JSON; nobody looks
	p.text(string(noise))
}

func TestPlainClientsGetPlainFrames(t *testing.T) {
	r := newRig(t)
	p := r.join("ANZ-7", "")
	large := message(5000)
	r.session().Fast(large, nil)
	p.text(string(large))
}

// A client that somebody else wrote, in every mode of compression.
func TestOrdinaryClient(t *testing.T) {
	for name, mode := range map[string]websocket.CompressionMode{
		"plain": websocket.CompressionDisabled, "takeover": websocket.CompressionContextTakeover, "no takeover": websocket.CompressionNoContextTakeover,
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			ctx, cancel := context.WithTimeout(context.Background(), patience)
			defer cancel()
			ws, _, err := websocket.Dial(ctx, "ws://"+r.addr+"/ws", &websocket.DialOptions{CompressionMode: mode, CompressionThreshold: 1})
			if err != nil {
				t.Fatal(err)
			}
			defer ws.CloseNow()
			ws.SetReadLimit(1 << 20)
			write := func(text string) {
				if err := ws.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
					t.Fatal(err)
				}
			}
			read := func() string {
				_, b, err := ws.Read(ctx)
				if err != nil {
					t.Fatal(err)
				}
				return string(b)
			}
			write(auth("ANZ-7", ""))
			read()
			r.expect("open ANZ-7")
			for n := range 20 {
				content := `"` + strings.Repeat("größer ", 10<<(n%9)) + `"`
				write(`{"type":"MESSAGE","data":{"to":"ANZ-7","content":` + content + `},"feature":"FAST"}`)
				if got := read(); got != `{"type":"MESSAGE","data":{"from":"ANZ-7","content":`+content+`}}` {
					t.Fatalf("message %d came back as %.100s", n, got)
				}
			}
			r.deliver(1, number(1))
			read()
			go func() { _, _, _ = ws.Read(ctx) }() // it answers pings only while it reads
			r.expect("prove 1")
			if err := ws.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Error(err)
			}
			r.expect("close ANZ-7")
		})
	}
}

func TestPackedFramesAreTheSameFrames(t *testing.T) {
	var c compressors
	for range 3 {
		var batch []byte
		sizes := []int{0, 1, 125, 126, 1000, 1025, 65535, 65536, 100_000}
		for _, n := range sizes {
			batch = appendFrame(batch, finText, bytes.Repeat([]byte("ab"), n/2+n%2)[:n])
			batch = appendFrame(batch, finPing, []byte("1"))
		}
		batch = appendClose(batch, wire.CloseNormal, "bye")
		packed := c.pack(nil, batch, 1024)
		for _, n := range sizes {
			first, payload, rest := splitFrame(packed)
			text := string(payload)
			if (first&rsv1 != 0) != (n > 1024) {
				t.Errorf("%d bytes: first byte %#x", n, first)
			}
			if first&rsv1 != 0 {
				text = inflated(t, bytes.Clone(payload))
			}
			if text != strings.Repeat("ab", n/2+n%2)[:n] {
				t.Errorf("%d bytes came back as %d", n, len(text))
			}
			if first, payload, rest = splitFrame(rest); first != finPing || string(payload) != "1" {
				t.Errorf("ping is %#x %q", first, payload)
			}
			packed = rest
		}
		if first, payload, rest := splitFrame(packed); first != finClose || string(payload) != "\x03\xe8bye" || len(rest) > 0 {
			t.Errorf("close is %#x %q", first, payload)
		}
	}
}
