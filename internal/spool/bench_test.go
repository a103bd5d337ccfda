package spool

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Thirty senders at once against one loop that writes, syncs, renames, and syncs
// the folder: what a careful program by hand would do. The folder is TMPDIR's,
// which has to lie on a disk for the numbers to mean something.
func BenchmarkStore1K(b *testing.B)    { benchmarkStore(b, 1<<10) }
func BenchmarkStore1M(b *testing.B)    { benchmarkStore(b, 1<<20) }
func BenchmarkBareLoop1K(b *testing.B) { benchmarkBareLoop(b, 1<<10) }
func BenchmarkBareLoop1M(b *testing.B) { benchmarkBareLoop(b, 1<<20) }

// A look at a folder in which many files wait.
func BenchmarkScan(b *testing.B) {
	const files = 1000
	for _, age := range []time.Duration{10 * time.Second, time.Hour} {
		b.Run(age.String(), func(b *testing.B) {
			dir := b.TempDir()
			for i := range files {
				if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), nil, 0o600); err != nil {
					b.Fatal(err)
				}
			}
			out, err := OpenOutbox(dir, OutboxOptions{Now: func() time.Time { return time.Now().Add(age) }})
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				found := 0
				if err := out.Scan(b.Context(), func(Entry) error { found++; return nil }); err != nil || found != files {
					b.Fatal(found, err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*files), "ns/file")
			if err := out.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}

// Taking a file away that was delivered, and making it.
func BenchmarkRemove(b *testing.B) {
	dir := b.TempDir()
	out, err := OpenOutbox(dir, OutboxOptions{})
	if err != nil {
		b.Fatal(err)
	}
	path := filepath.Join(dir, "file")
	b.ReportAllocs()
	for b.Loop() {
		if err := os.WriteFile(path, nil, 0o600); err != nil {
			b.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(path, &st); err != nil {
			b.Fatal(err)
		}
		if err := out.Remove(Entry{Name: "file", Modified: time.Unix(st.Mtim.Unix()), Changed: time.Unix(st.Ctim.Unix()), Inode: st.Ino}); err != nil {
			b.Fatal(err)
		}
	}
	if err := out.Close(); err != nil {
		b.Fatal(err)
	}
}

func benchmarkStore(b *testing.B, size int) {
	s, err := OpenStore(b.TempDir(), StoreOptions{})
	if err != nil {
		b.Fatal(err)
	}
	content := make([]byte, size)
	_, _ = rand.Read(content)
	var n atomic.Int64
	b.SetBytes(int64(size))
	b.SetParallelism(15) // times two processors
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			name := fmt.Sprintf("file-%d.bin", n.Add(1))
			p, err := s.Begin(Upload{Name: name, Key: name, Size: int64(size)})
			if err != nil {
				b.Error(err)
				return
			}
			for at := 0; at < size; at += 128 << 10 {
				if _, err := p.Write(content[at:min(size, at+128<<10)]); err != nil {
					b.Error(err)
					return
				}
			}
			if _, err := p.Commit(context.Background()); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.StopTimer()
	if err := s.Close(); err != nil {
		b.Fatal(err)
	}
}

func benchmarkBareLoop(b *testing.B, size int) {
	dir := b.TempDir()
	content := make([]byte, size)
	_, _ = rand.Read(content)
	folder, err := os.Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(size))
	b.ResetTimer()
	for i := range b.N {
		if err := bareStore(dir, folder, fmt.Sprintf("file-%d.bin", i), content); err != nil {
			b.Fatal(err)
		}
	}
	b.StopTimer()
	if err := folder.Close(); err != nil {
		b.Fatal(err)
	}
}

func bareStore(dir string, folder *os.File, name string, content []byte) error {
	path := filepath.Join(dir, name)
	f, err := os.Create(path + ".tmp")
	if err != nil {
		return err
	}
	if _, err := f.Write(content); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(path+".tmp", path); err != nil {
		return err
	}
	return folder.Sync()
}
