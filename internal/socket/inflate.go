package socket

import (
	"bytes"
	"io"
	"sync"

	"github.com/klauspost/compress/flate"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// inflateTail ends a message as flate wants it: the empty block that RFC 7692
// section 7.2.2 leaves out, and an empty last one.
const inflateTail = "\x00\x00\xff\xff\x01\x00\x00\xff\xff"

// keepInflated is how large a result may have grown and its memory still be used
// again.
const keepInflated = 128 << 10

// inflaters decompresses messages, each without memory of the one before.
type inflaters struct{ pool sync.Pool }

// inflater is a decompressor with its input and output.
type inflater struct {
	in   bytes.Reader
	tail bytes.Reader
	out  bytes.Buffer
	r    io.ReadCloser
}

// bytes returns the message, valid until put.
func (z *inflater) bytes() []byte { return z.out.Bytes() }

// unpack decompresses a message of at most limit bytes. The result has to be
// put back.
func (f *inflaters) unpack(message []byte, limit int) (*inflater, *violation) {
	z, _ := f.pool.Get().(*inflater)
	if z == nil {
		z = &inflater{r: flate.NewReader(nil)}
	}
	z.in.Reset(message)
	z.tail.Reset([]byte(inflateTail))
	z.out.Reset()
	if err := z.r.(flate.Resetter).Reset(io.MultiReader(&z.in, &z.tail), nil); err != nil {
		return nil, unreadable()
	}
	n, err := z.out.ReadFrom(io.LimitReader(z.r, int64(limit)+1))
	switch {
	case n > int64(limit):
		f.put(z)
		return nil, &violation{wire.CloseTooBig, "the message is larger than the limit"}
	case err != nil:
		f.put(z)
		return nil, unreadable()
	}
	return z, nil
}

func unreadable() *violation {
	return &violation{wire.CloseInvalidText, "the message cannot be decompressed"}
}

func (f *inflaters) put(z *inflater) {
	z.in.Reset(nil)
	if z.out.Cap() > keepInflated {
		z.out = bytes.Buffer{}
	}
	f.pool.Put(z)
}
