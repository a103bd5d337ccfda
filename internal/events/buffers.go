package events

import "sync"

// keepBuffer is what a lent buffer may have grown to and still be used again.
const keepBuffer = 4 * chunkMost

// buffers lends buffers to streams that write.
type buffers struct{ pool sync.Pool }

func (b *buffers) get() *[]byte {
	if p, ok := b.pool.Get().(*[]byte); ok {
		*p = (*p)[:0]
		return p
	}
	p := make([]byte, 0, 2<<10)
	return &p
}

func (b *buffers) put(p *[]byte) {
	if cap(*p) <= keepBuffer {
		b.pool.Put(p)
	}
}
