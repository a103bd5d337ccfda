package spool

import (
	"fmt"
	"testing"
)

// What it costs to be given the room for 128 KiB while a thousand others upload.
func BenchmarkRoomBesideMany(b *testing.B) {
	s, err := OpenStore(b.TempDir(), StoreOptions{MaxBytes: 1 << 50, MaxFiles: 1 << 20, MinFree: 1 << 20})
	if err != nil {
		b.Fatal(err)
	}
	var parts []*Part
	for i := range 1000 {
		p, err := s.Begin(Upload{Name: "file", Key: fmt.Sprint(i), Size: -1})
		if err != nil {
			b.Fatal(err)
		}
		parts = append(parts, p)
	}
	p := parts[0]
	b.ReportAllocs()
	for b.Loop() {
		if err := s.room(p, bodySize, bodySize, false); err != nil {
			b.Fatal(err)
		}
		s.wrote(p)
	}
	for _, p := range parts {
		p.Break()
	}
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

const bodySize = 128 << 10
