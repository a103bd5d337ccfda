package relay

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// What sending a file costs beside the collector, which reads it and says yes.
func BenchmarkSend1K(b *testing.B) { benchmarkSend(b, 1<<10) }
func BenchmarkSend1M(b *testing.B) { benchmarkSend(b, 1<<20) }

func benchmarkSend(b *testing.B, size int) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // who sends it sees whether it arrived
	}))
	defer server.Close()
	path := filepath.Join(b.TempDir(), "file")
	if err := os.WriteFile(path, make([]byte, size), 0o600); err != nil {
		b.Fatal(err)
	}
	var st unix.Stat_t
	if err := unix.Stat(path, &st); err != nil {
		b.Fatal(err)
	}
	tuning := uploadTuning{}
	tuning.fill()
	c := newCourier(&credentials{}, 1, tuning, "bench")
	defer c.client.CloseIdleConnections()
	e := spool.Entry{Name: "file", Size: int64(size), Modified: time.Unix(st.Mtim.Unix()), Changed: time.Unix(st.Ctim.Unix()), Inode: st.Ino}
	b.SetBytes(int64(size))
	b.ReportAllocs()
	for b.Loop() {
		f, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		if out := c.send(b.Context(), server.URL, &item{entry: e}, f, false); out.fate != fateDelivered {
			b.Fatal(out.reason)
		}
		_ = f.Close() // it was read only
	}
}
