package relay

import (
	"bytes"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
)

// Thirty senders at once, as an uploader of ours has; compare spool's bare loop.
func BenchmarkCollector1K(b *testing.B) { benchmarkCollector(b, 1<<10) }
func BenchmarkCollector1M(b *testing.B) { benchmarkCollector(b, 1<<20) }

func benchmarkCollector(b *testing.B, size int) {
	c := startCollector(b, nil)
	content := make([]byte, size)
	_, _ = rand.Read(content)
	sum := sha256.Sum256(content)
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}}
	defer client.CloseIdleConnections()
	var n atomic.Int64
	b.SetBytes(int64(size))
	b.SetParallelism(15) // times two processors
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			name := fmt.Sprintf("file-%d.bin", n.Add(1))
			r, err := http.NewRequestWithContext(b.Context(), http.MethodPut, "http://"+c.says("listen")+"/"+name, bytes.NewReader(content))
			if err != nil {
				b.Error(err)
				return
			}
			key := sha256.Sum256([]byte(name))
			r.Header.Set(headerDigest, Digest(sum).header())
			r.Header.Set(headerKey, `"`+hex.EncodeToString(key[:])+`"`)
			answer, err := client.Do(r)
			if err != nil {
				b.Error(err)
				return
			}
			_ = answer.Body.Close() // its status is what counts
			if answer.StatusCode != http.StatusOK {
				b.Error(answer.Status)
				return
			}
		}
	})
	b.StopTimer()
}
