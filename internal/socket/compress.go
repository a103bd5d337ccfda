package socket

import (
	"bytes"
	"sync"

	"github.com/klauspost/compress/flate"
)

// flushTail ends what flate's Flush writes; RFC 7692 section 7.2.1 leaves it out.
const flushTail = 4

// compressors makes compressed frames, each without memory of the one before.
type compressors struct{ pool sync.Pool }

// compressor is a compressor with its output.
type compressor struct {
	out bytes.Buffer
	w   *flate.Writer
}

// pack appends the frames in batch to dst, those text frames compressed that
// have more than above bytes and get smaller by it.
func (c *compressors) pack(dst, batch []byte, above int) []byte {
	z, _ := c.pool.Get().(*compressor)
	if z == nil {
		z = new(compressor)
		z.w, _ = flate.NewWriter(&z.out, flate.BestSpeed) // fails for an unknown level only
	}
	defer c.pool.Put(z)
	for len(batch) > 0 {
		first, payload, rest := splitFrame(batch)
		packed := []byte(nil)
		if first == finText && len(payload) > above {
			packed = z.compress(payload)
		}
		if packed != nil && len(packed) < len(payload) {
			dst = appendFrame(dst, first|rsv1, packed)
		} else {
			dst = append(dst, batch[:len(batch)-len(rest)]...)
		}
		batch = rest
	}
	return dst
}

// compress returns the payload compressed, valid until the next call, or nil
// when that failed.
func (z *compressor) compress(payload []byte) []byte {
	z.out.Reset()
	z.w.Reset(&z.out)
	if _, err := z.w.Write(payload); err != nil {
		return nil
	}
	if err := z.w.Flush(); err != nil {
		return nil
	}
	return z.out.Bytes()[:z.out.Len()-flushTail]
}
