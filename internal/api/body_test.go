package api

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/iotest"
)

// dribble gives a body in parts, and sees how much room there is for the next.
type dribble struct {
	left, part int
	read, room int // bytes given, and the most that was offered at once
	over       float64
}

func (d *dribble) Read(p []byte) (int, error) {
	if d.left == 0 {
		return 0, io.EOF
	}
	d.room = max(d.room, len(p))
	if d.read >= firstRead {
		d.over = max(d.over, float64(d.read+len(p))/float64(d.read))
	}
	n := min(len(p), d.part, d.left)
	d.left -= n
	d.read += n
	return n, nil
}

func (d *dribble) Close() error { return nil }

func TestABodyIsGivenRoomAsItComes(t *testing.T) {
	const claimed = 1 << 20
	for _, given := range []int{0, 1, firstRead, 100_000, claimed} {
		d := &dribble{left: given, part: 1000}
		body, err := readAll(&http.Request{ContentLength: claimed, Body: d})
		if len(body) != given || (err == nil) != (given == claimed) {
			t.Errorf("%d bytes of %d: read %d, %v", given, claimed, len(body), err)
		}
		if given <= 1 && d.room > firstRead || d.over > readGrowth {
			t.Errorf("%d bytes of %d: there was room for %d, and for %.1f times what had come", given, claimed, d.room, d.over)
		}
	}
}

func TestABodyIsReadAsItIsHoweverItComes(t *testing.T) {
	want := bytes.Repeat([]byte("0123456789abcdef"), 3*1<<16)
	for _, size := range []int{1, firstRead - 1, firstRead, firstRead + 1, readGrowth * firstRead, 70_000, 1 << 20, len(want)} {
		for _, length := range []int{size, -1} {
			for name, from := range map[string]io.Reader{"at once": bytes.NewReader(want[:size]), "with its end": iotest.DataErrReader(bytes.NewReader(want[:size])), "by halves": iotest.HalfReader(bytes.NewReader(want[:size]))} {
				body, err := readAll(&http.Request{ContentLength: int64(length), Body: io.NopCloser(from)})
				if err != nil || !bytes.Equal(body, want[:size]) {
					t.Errorf("%d bytes, Content-Length %d, %s: read %d, %v", size, length, name, len(body), err)
				}
			}
		}
	}
}

func BenchmarkReadAll(b *testing.B) {
	for _, size := range []int{200, 4 << 10, 30 << 10, 100 << 10, 1 << 20} {
		text := make([]byte, size)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.ReportAllocs()
			b.SetBytes(int64(size))
			from := bytes.NewReader(text)
			r := &http.Request{ContentLength: int64(size), Body: io.NopCloser(from)}
			for b.Loop() {
				from.Reset(text)
				if body, err := readAll(r); err != nil || len(body) != size {
					b.Fatal(err)
				}
			}
		})
	}
}
