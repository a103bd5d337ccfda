package events

import "sync"

// keepBuffer is what a lent buffer may have grown to and still be used again.
const keepBuffer = 4 * chunkMost

// buffers lends buffers to streams that write.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() []byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		return (*p)[:0]
	}
	return make([]byte, 0, 2<<10)
}

func (b *buffers) put(buf []byte) {
	if cap(buf) <= keepBuffer {
		buf = buf[:0]
		b.pool.Put(&buf)
	}
}
