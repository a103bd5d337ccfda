package socket

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/traffic"
)

// One FAST message of 1 kB to oneself and back; with a proof, in the same write
// as its ping, whose pong goes out with the next message. The client makes no
// allocations: those counted are the server's.
func BenchmarkFastEcho(b *testing.B) {
	meters := traffic.NewMeters(nil)
	for _, c := range []struct {
		name, reference string
		count           rigOption
	}{{"plain", "", func(*Options) {}}, {"counted", "", counted(meters)}, {"proved", `,"reference":"r"`, counted(meters)}, {"paced", "", paced}} {
		b.Run(c.name, func(b *testing.B) {
			r := newRig(b, c.count)
			p := r.join("ANZ-7", "")
			e := &echo{p: p}
			e.message = frame(finText, []byte(`{"type":"MESSAGE","data":{"to":"ANZ-7","content":"`+strings.Repeat("x", 1000)+`"},"feature":"FAST","confirmationEnabled":`+strconv.FormatBool(c.reference != "")+c.reference+`}`))
			r.store.drop = true
			_ = p.conn.SetDeadline(time.Time{})
			b.ReportAllocs()
			for b.Loop() {
				e.once(b)
			}
		})
	}
}

// paced has all rates counted, and none of them reached.
func paced(o *Options) {
	o.SignIns = &strangers{}
	o.Limits = func() Limits {
		l := DefaultLimits()
		most := Rates{Frames: 1_000_000_000, Bytes: 1 << 50}
		l.Session, l.User, l.App = most, most, most
		return l
	}
}

// echo is a client without allocations.
type echo struct {
	p       *peer
	message []byte
	out     []byte
	in      [2048]byte
}

// once sends a message, with the pongs that are due, and reads until it is back.
func (e *echo) once(b *testing.B) {
	e.out = append(e.out, e.message...)
	if _, err := e.p.conn.Write(e.out); err != nil {
		b.Fatal(err)
	}
	e.out = e.out[:0]
	for back := false; !back || e.p.br.Buffered() > 0; {
		back = e.frame(b) == finText || back
	}
}

// frame reads a frame, and notes the answer if it is a ping.
func (e *echo) frame(b *testing.B) byte {
	head := e.in[:2]
	if _, err := io.ReadFull(e.p.br, head); err != nil {
		b.Fatal(err)
	}
	first, n := head[0], int(head[1])
	if n == 126 {
		if _, err := io.ReadFull(e.p.br, e.in[:2]); err != nil {
			b.Fatal(err)
		}
		n = int(binary.BigEndian.Uint16(e.in[:]))
	}
	if _, err := io.ReadFull(e.p.br, e.in[:n]); err != nil {
		b.Fatal(err)
	}
	if first == finPing {
		e.out = append(e.out, finPong, 0x80|byte(n), 0, 0, 0, 0)
		e.out = append(e.out, e.in[:n]...)
	}
	return first
}

// What a signed-in connection costs that does nothing: memory of the process,
// both ends counted; the client's end is a bare socket.
func BenchmarkIdleConnection(b *testing.B) {
	const count = 2000
	for b.Loop() {
		r := newRig(b)
		r.gate.set(nil)
		heap0, stack0 := inUse()
		conns := make([]net.Conn, count)
		for i := range conns {
			p := r.dial()
			p.signIn("ANZ-"+strconv.Itoa(i), "")
			r.expect("open ANZ-" + strconv.Itoa(i))
			conns[i], p.br, p.t = p.conn, nil, nil
		}
		heap, stack := inUse()
		b.ReportMetric(float64(heap-heap0)/count, "heap-B/conn")
		b.ReportMetric(float64(stack-stack0)/count, "stack-B/conn")
		for _, c := range conns {
			c.Close()
		}
		r.stop()
	}
}

// inUse returns the bytes of heap and of stacks.
func inUse() (heap, stack int64) {
	var m runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc), int64(m.StackInuse)
}
