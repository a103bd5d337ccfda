package wire_test

import (
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func benchmarkFrame() []byte {
	return []byte(`{"type":"MESSAGE","data":{"to":"ANZ-1232121","content":"` + strings.Repeat("0123456789", 100) +
		`"},"feature":"RELIABLE","reference":"abc123"}`)
}

// What a MESSAGE of 1000 characters costs on its way through a connector.
func BenchmarkMessage(b *testing.B) {
	in, out := benchmarkFrame(), make([]byte, 0, 2048)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		f, err := wire.ParseFrame(in)
		if err != nil {
			b.Fatal(err)
		}
		_, content, err := wire.ParseMessage(&f)
		if err != nil {
			b.Fatal(err)
		}
		out = wire.AppendMessage(out[:0], "ANZ-123223", content, f.Reference)
	}
}

// The same with an object of many small values as content.
func BenchmarkMessageObject(b *testing.B) {
	in := []byte(`{"type":"MESSAGE","data":{"to":"ANZ-1232121","content":[` +
		strings.Repeat(`{"lat":-31.95,"lon":115.86,"ok":true},`, 25) + `null]},"reference":"abc123"}`)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		f, err := wire.ParseFrame(in)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err = wire.ParseMessage(&f); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkGroup100(b *testing.B) {
	in := []byte(`{"to":["ANZ-1000"` + strings.Repeat(`,"ANZ-1232121","ANZ-77"`, 50) + `],"content":"x"}`)
	b.ReportAllocs()
	for b.Loop() {
		if _, _, _, err := wire.ParseGroup(in, 1000); err != nil {
			b.Fatal(err)
		}
	}
}
