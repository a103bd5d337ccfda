package bus

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
)

// ErrDamaged is what Open and Recover fail with when a file of the store holds
// damage that no crash explains; they change nothing on disk then.
var ErrDamaged = errors.New("the message store is damaged")

// A block file of the server is a row of records:
//
//	length     4 bytes, little endian, of the whole record; the highest bit says that there are headers
//	sequence   8 bytes; two high bits mark erased messages and tombstones
//	time       8 bytes
//	subject    2 bytes its length
//	subject
//	headers    4 bytes their length, then they; only with the bit above
//	message
//	checksum   8 bytes, HighwayHash-64 of all but the lengths
const (
	recordHead    = 22
	recordSum     = 8
	recordLongest = 32 << 20
	headersBit    = 1 << 31
	tombstoneBit  = 1 << 62
	erasedBit     = 1 << 63
)

// inspectStore reads all streams below dir and fails with ErrDamaged when one
// has a record that does not match its checksum, unless it is the last one and
// not in the server's index: a crash may have cut that off, and it was not
// acknowledged then. A missing dir is an empty store.
//
// The server itself would cut the file off at the bad record, and lose what
// was acknowledged after it.
//
// In a cluster (shared) a server syncs what it is told by the others, and the files
// of its streams only now and then: so after a power cut the index may know more.
// The server gets that from its own notes, or from the others.
//
// read is told how many bytes of all are read, after each file; nil: nobody is.
func inspectStore(ctx context.Context, dir string, shared bool, read func(done, all int64)) error {
	streams, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("inspect the message store: %w", err)
	}
	streams = slices.DeleteFunc(streams, func(s fs.DirEntry) bool { return !s.IsDir() || strings.HasPrefix(s.Name(), ".") })
	var done, all int64
	for _, s := range streams {
		_, bytes, err := blockFiles(filepath.Join(dir, s.Name(), "msgs"))
		if err != nil {
			return fmt.Errorf("inspect stream %s: %w", s.Name(), err)
		}
		all += bytes
	}
	tell := func(n int) {
		done += int64(n)
		if read != nil {
			read(done, all)
		}
	}
	tell(0)
	for _, s := range streams {
		if err := inspectStream(ctx, filepath.Join(dir, s.Name()), shared, tell); err != nil {
			return fmt.Errorf("inspect stream %s: %w", s.Name(), err)
		}
	}
	return nil
}

func inspectStream(ctx context.Context, dir string, shared bool, read func(bytes int)) error {
	msgs := filepath.Join(dir, "msgs")
	blocks, bytes, err := blockFiles(msgs)
	if err != nil {
		return err
	}
	in := inspector{stream: filepath.Base(dir)}
	index := filepath.Join(msgs, "index.db")
	known, err := in.indexed(index)
	if err != nil {
		return err
	}
	if bytes == 0 && known == 0 {
		return clearUnfinished(dir)
	}
	for i, number := range blocks {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := in.block(filepath.Join(msgs, fmt.Sprintf("%d.blk", number)), number, i == len(blocks)-1); err != nil {
			return err
		}
		read(in.buf.Len())
	}
	if known > in.last && !shared {
		return fmt.Errorf("%w: the good records end at sequence %d, but %s knows of %d: the last file is damaged or was cut off", ErrDamaged, in.last, index, known)
	}
	return nil
}

// blockFiles returns the numbers of a stream's block files, in order, and their
// bytes together.
func blockFiles(dir string) (blocks []int, bytes int64, err error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, 0, err
	}
	for _, f := range entries {
		index, err := strconv.Atoi(strings.TrimSuffix(f.Name(), ".blk"))
		if err != nil || !strings.HasSuffix(f.Name(), ".blk") {
			continue
		}
		info, err := f.Info()
		if err != nil {
			return nil, 0, err
		}
		blocks, bytes = append(blocks, index), bytes+info.Size()
	}
	slices.Sort(blocks)
	return blocks, bytes, nil
}

// clearUnfinished removes the folder of a stream whose creation a crash cut
// short: it has no message and no complete description. The server would
// neither serve it nor make it anew.
func clearUnfinished(dir string) error {
	for _, name := range []string{"meta.inf", "meta.sum"} {
		info, err := os.Stat(filepath.Join(dir, name))
		if errors.Is(err, fs.ErrNotExist) || err == nil && info.Size() == 0 {
			return os.RemoveAll(dir)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// clearProbes removes the empty files by which the server finds out, each time
// it starts, whether it can write to its folder. One killed in that moment
// leaves its file behind, and every later one would take it for the folder of an
// account that it does not know.
func clearProbes(dir string) error {
	files, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("look for what a kill left behind: %w", err)
	}
	for _, f := range files {
		if !strings.HasPrefix(f.Name(), "_test_") || !f.Type().IsRegular() {
			continue
		}
		info, err := f.Info()
		if err == nil && info.Size() == 0 {
			err = os.Remove(filepath.Join(dir, f.Name()))
		}
		if err != nil {
			return fmt.Errorf("remove what a kill left behind: %w", err)
		}
	}
	return nil
}

// inspector checks the block files of one stream.
type inspector struct {
	stream string
	last   uint64 // the highest sequence of a good record
	buf    bytes.Buffer
	hash   hash.Hash
}

func (in *inspector) block(file string, index int, last bool) error {
	if err := in.load(file); err != nil {
		return err
	}
	b := in.buf.Bytes()
	if bytes.HasPrefix(b, []byte("cmp")) {
		return fmt.Errorf("%w: %s is compressed, which this program never asks for", ErrDamaged, file)
	}
	if err := in.key(fmt.Sprintf("%s-%d", in.stream, index)); err != nil {
		return err
	}
	good, seq := in.walk(b)
	in.last = max(in.last, seq)
	if good == len(b) || last && !in.more(b[good:], seq) {
		return nil
	}
	return fmt.Errorf("%w: file %s, byte %d, after sequence %d: the record there does not match its checksum, and it is not the last", ErrDamaged, file, good, seq)
}

// indexed returns the last sequence that the server's index knows, 0 when there
// is no good index: the server makes another one then. It writes the index when
// it stops, and now and then, and never before the records that it is about.
//
// The index begins with two bytes for its kind and version; then, as varints,
// messages, bytes, first sequence, first time, last sequence; a HighwayHash-64
// of it all is at its end.
func (in *inspector) indexed(file string) (last uint64, err error) {
	if err := in.load(file); errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	} else if err != nil {
		return 0, err
	}
	b := in.buf.Bytes()
	if err := in.key(in.stream); err != nil {
		return 0, err
	}
	end := len(b) - recordSum
	if end < 2 || b[0] != 11 || b[1] > 4 {
		return 0, nil
	}
	if in.hash.Write(b[:end]); !bytes.Equal(in.hash.Sum(nil), b[end:]) {
		return 0, nil
	}
	b = b[2:end]
	for range 5 { // a time is a varint of another sort, and as long
		var n int
		if last, n = binary.Uvarint(b); n <= 0 {
			return 0, nil
		}
		b = b[n:]
	}
	return last, nil
}

// key makes the hash that is keyed by a name.
func (in *inspector) key(name string) (err error) {
	key := sha256.Sum256([]byte(name))
	in.hash, err = highwayhash.New64(key[:])
	return err
}

func (in *inspector) load(file string) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	in.buf.Reset()
	_, err = in.buf.ReadFrom(f)
	return err
}

// walk returns where the first bad record begins, len(b) when there is none,
// and the highest sequence before it.
func (in *inspector) walk(b []byte) (good int, seq uint64) {
	for good < len(b) {
		size, s := in.record(b[good:])
		if size == 0 {
			break
		}
		seq = max(seq, s&^(erasedBit|tombstoneBit))
		good += size
	}
	return good, seq
}

// more says whether a good record with a sequence above after begins somewhere
// in b and good ones follow to the end: then what stands before it is no torn
// end.
func (in *inspector) more(b []byte, after uint64) bool {
	highest := after + uint64(len(b)/recordHead)
	for at := 1; at+recordHead < len(b); at++ {
		if s := binary.LittleEndian.Uint64(b[at+4:]) &^ erasedBit; s <= after || s > highest {
			continue
		}
		if size, _ := in.record(b[at:]); size > 0 {
			if good, _ := in.walk(b[at:]); at+good == len(b) {
				return true
			}
		}
	}
	return false
}

// record returns the size and sequence of the record at the beginning of b; 0
// when it is not complete and right.
func (in *inspector) record(b []byte) (size int, seq uint64) {
	if len(b) < recordHead+recordSum {
		return 0, 0
	}
	length := binary.LittleEndian.Uint32(b)
	size = int(length &^ headersBit)
	subject := int(binary.LittleEndian.Uint16(b[20:]))
	skip := 0
	if length&headersBit != 0 {
		skip = 4
	}
	if size > len(b) || size > recordLongest || recordHead+subject+skip+recordSum > size {
		return 0, 0
	}
	end := size - recordSum
	in.hash.Reset()
	in.hash.Write(b[4:20])
	in.hash.Write(b[recordHead : recordHead+subject])
	in.hash.Write(b[recordHead+subject+skip : end])
	if !bytes.Equal(in.hash.Sum(nil), b[end:size]) {
		return 0, 0
	}
	return size, binary.LittleEndian.Uint64(b[4:])
}
