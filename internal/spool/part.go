package spool

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// Upload announces a file.
type Upload struct {
	Name   string
	Key    string // the same for every try to upload the same file; "" if the sender has none
	Digest Digest // of the content; zero if it is unknown
	Size   int64  // bytes of the whole file; -1 if they are unknown
	Offset int64  // where the upload goes on: what Look said, or 0 for the whole file

	// Replaced is called when a newer upload with the same key takes over. It
	// must not wait. May be nil.
	Replaced func()
}

// Stored says what became of an upload.
type Stored struct {
	Name   string // that the file got
	Digest Digest
	Again  bool // it was there already, or had been
}

// Part is an upload that is on its way. It ends by Commit or Break, one of which
// has to be called; a Part that ended takes either again without effect. Its
// methods are for one goroutine at a time.
type Part struct {
	s  *Store
	u  Upload
	id keyID // zero without a key
	g  *ground

	stored *Stored      // it was delivered before: what comes is let go
	at     atomic.Int64 // bytes that are held

	mu         sync.Mutex
	f          *os.File
	name       string // in parts
	sum        hash.Hash
	unsynced   int64
	unasked    int64 // written since the room was looked at
	failed     error // what every further call answers
	ended      bool
	committing bool
}

// heldHash is the state of a digest up to where an upload broke off.
type heldHash struct {
	size  int64
	state []byte
}

const (
	syncEvery   = 32 << 20 // of a large part, so that its end does not take long
	askEvery    = 1 << 20  // for the room on the disk
	mostHashes  = 1024
	anonymous   = "anonymous-"
	readingSize = 256 << 10
)

func (p *Part) keyed() bool { return p.u.Key != "" }

// Look says how much of an upload is held, or that its file is there, or was. An
// upload with the same key that is on its way ends: its sender asks because he has
// given it up.
func (s *Store) Look(name, key string, digest Digest) (offset int64, stored bool) {
	if key == "" || CheckName(name) != nil {
		return 0, false
	}
	g, err := s.settled()
	if err != nil {
		return 0, false
	}
	p, err := s.claim(Upload{Name: name, Key: key, Digest: digest, Size: -1}, g)
	if err != nil || p.stored != nil {
		s.leave(g)
		return 0, err == nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if st, err := g.parts.stat(p.name); err == nil && !p.ended {
		offset = st.Size
	}
	p.end()
	return offset, false
}

// Begin begins to receive a file, or goes on with one. It fails with a *NameError,
// ErrTooLarge, ErrFull, ErrGone, ErrBusy, an *OffsetError, or ErrDigest when the
// key was another content's. A whole part that goes on is read once, which takes
// long if it is large.
//
// A newer upload takes the part of an older one with the same key over, since the
// older is most likely dead; only one that is being committed is waited for, by
// ErrBusy.
func (s *Store) Begin(u Upload) (*Part, error) {
	p, err := s.begin(u)
	if err != nil {
		s.refuse(err)
		return nil, err
	}
	return p, nil
}

func (s *Store) begin(u Upload) (*Part, error) {
	if err := CheckName(u.Name); err != nil {
		return nil, err
	}
	if most := s.options().MaxFile; most > 0 && u.Size > most {
		return nil, fmt.Errorf("%w: it has %d bytes, and %d is the most", ErrTooLarge, u.Size, most)
	}
	g, err := s.settled()
	if err != nil {
		return nil, err
	}
	p, err := s.claim(u, g)
	if err != nil {
		s.leave(g)
		return nil, err
	}
	if p.stored != nil {
		s.leave(g)
		return p, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ended {
		return nil, p.failed // a still newer one was faster
	}
	if err := p.open(); err != nil {
		p.end()
		return nil, told(s.dir, err)
	}
	return p, nil
}

// refuse counts an upload that was not taken.
func (s *Store) refuse(err error) {
	if errors.Is(err, ErrBusy) || errors.Is(err, ErrClosed) || errors.As(err, new(*OffsetError)) {
		return
	}
	s.mu.Lock()
	s.stats.Refused++
	s.mu.Unlock()
}

// claim makes the upload the only one of its key, which release ends.
func (s *Store) claim(u Upload, g *ground) (*Part, error) {
	p := &Part{s: s, u: u, g: g, sum: sha256.New()}
	if u.Key == "" {
		p.name = anonymous + randomName()
		s.mu.Lock()
		defer s.mu.Unlock()
		s.nameless[p] = struct{}{}
		return p, nil
	}
	p.id = identify(u.Key)
	p.name = p.id.partName()
	for {
		s.mu.Lock()
		o, delivered := s.known.delivered[p.id]
		_, intended := s.known.intents[p.id]
		older := s.active[p.id]
		if !delivered && !intended && older == nil {
			s.active[p.id] = p
			s.mu.Unlock()
			return p, nil
		}
		s.mu.Unlock()
		switch {
		case older != nil:
			if err := older.replace(); err != nil {
				return nil, err
			}
		case delivered:
			if u.Digest != (Digest{}) && [8]byte(u.Digest[:8]) != o.digest {
				return nil, fmt.Errorf("%w: its key was another content's", ErrDigest)
			}
			p.stored = &Stored{Name: u.Name, Digest: u.Digest, Again: true}
			return p, nil
		default:
			if err := s.finish(p.id); err != nil {
				return nil, err
			}
		}
	}
}

// release gives the key of a part back.
func (s *Store) release(p *Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[p.id] == p {
		delete(s.active, p.id)
	}
	delete(s.nameless, p)
}

// replace ends an older upload in favour of a newer one.
func (p *Part) replace() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.committing {
		return ErrBusy
	}
	if !p.ended {
		p.failed = ErrBusy
		p.keep()
		if p.u.Replaced != nil {
			p.u.Replaced()
		}
	}
	return nil
}

func randomName() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// open opens the part's file, up to where the upload goes on.
func (p *Part) open() (err error) {
	if p.u.Offset > 0 {
		held := int64(0)
		if st, err := p.g.parts.stat(p.name); err == nil && p.keyed() {
			held = st.Size
		}
		if held != p.u.Offset || p.u.Size >= 0 && held > p.u.Size {
			return &OffsetError{Held: held}
		}
	}
	more := p.u.Size - p.u.Offset
	if p.u.Size < 0 {
		more = askEvery
	}
	if err := p.s.room(p, more); err != nil {
		return err
	}
	flags := unix.O_RDWR | unix.O_CREAT
	if p.u.Offset == 0 {
		flags |= unix.O_TRUNC
	}
	if p.f, err = p.g.parts.open(p.name, flags); err != nil {
		return err
	}
	if p.u.Offset == 0 {
		return nil
	}
	if err := p.readHeld(); err != nil {
		return err
	}
	p.at.Store(p.u.Offset)
	return nil
}

// readHeld brings the digest to where the part ends.
func (p *Part) readHeld() error {
	p.s.mu.Lock()
	h := p.s.hashes[p.id]
	delete(p.s.hashes, p.id)
	p.s.mu.Unlock()
	if h.size == p.u.Offset && p.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(h.state) == nil {
		_, err := p.f.Seek(h.size, io.SeekStart)
		return err
	}
	p.sum.Reset()
	p.s.heavy <- struct{}{}
	defer func() { <-p.s.heavy }()
	n, err := io.CopyBuffer(p.sum, io.LimitReader(p.f, p.u.Offset), make([]byte, readingSize))
	if err == nil && n != p.u.Offset {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// Again says whether the file was delivered before: then there is no need to send
// its content, and Write takes it for nothing.
func (p *Part) Again() bool { return p.stored != nil }

// Write appends to the part. After an error the part is of no use: Break it.
func (p *Part) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.stored != nil:
		return len(b), nil
	case p.failed != nil:
		return 0, p.failed
	case p.ended || p.committing:
		return 0, ErrClosed
	}
	n, err := p.write(b)
	if err != nil {
		p.failed = told(p.s.dir, err)
		p.s.refuse(p.failed)
		p.drop() // room for others; and what was written is not known
		return n, p.failed
	}
	return n, nil
}

func (p *Part) write(b []byte) (int, error) {
	end := p.at.Load() + int64(len(b))
	if most := p.s.options().MaxFile; most > 0 && end > most {
		return 0, fmt.Errorf("%w: it has more than %d bytes", ErrTooLarge, most)
	}
	if p.u.Size >= 0 && end > p.u.Size {
		return 0, fmt.Errorf("%w: more came than the %d bytes that were announced", ErrTooLarge, p.u.Size)
	}
	if p.unasked += int64(len(b)); p.unasked >= askEvery {
		p.unasked = 0
		if err := p.s.room(p, int64(len(b))); err != nil {
			return 0, err
		}
	}
	n, err := p.f.Write(b)
	p.sum.Write(b[:n])
	p.at.Add(int64(n))
	if err != nil {
		return n, err
	}
	if p.unsynced += int64(n); p.unsynced >= syncEvery {
		return n, p.sync()
	}
	return n, nil
}

// sync makes what was written safe.
func (p *Part) sync() error {
	if p.unsynced >= largePart {
		p.s.heavy <- struct{}{}
		defer func() { <-p.s.heavy }()
	}
	p.unsynced = 0
	return p.f.Sync()
}

// Break ends an upload that broke off. What came of one with a key is kept, so
// that it can go on there.
func (p *Part) Break() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.ended && !p.committing {
		p.keep()
	}
}

// keep ends the part without its file, for one that goes on. mu is held.
func (p *Part) keep() {
	if p.stored != nil || !p.keyed() || p.at.Load() == 0 {
		p.drop()
		return
	}
	p.keepHash()
	p.end()
}

// keepHash keeps the state of the part's digest for one that goes on.
func (p *Part) keepHash() {
	state, err := p.sum.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return // it is read instead
	}
	p.s.mu.Lock()
	defer p.s.mu.Unlock()
	for id := range p.s.hashes { // any
		if len(p.s.hashes) < mostHashes {
			break
		}
		delete(p.s.hashes, id)
	}
	p.s.hashes[p.id] = heldHash{size: p.at.Load(), state: state}
}

// drop ends the part and removes its file. mu is held.
func (p *Part) drop() {
	if p.ended || p.stored != nil {
		p.ended = true
		return
	}
	if p.f == nil {
		p.end()
		return
	}
	if err := p.g.parts.remove(p.name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.s.options().Log.Warn("a part that is of no use cannot be removed", "spool", p.s.dir, "err", err)
	}
	p.end()
}

// end closes the part's file and gives its key back. mu is held.
func (p *Part) end() {
	if p.ended {
		return
	}
	p.ended = true
	if p.f != nil {
		_ = p.f.Close() // it was synced, or is not to be relied on
	}
	p.s.release(p)
	p.s.leave(p.g)
}

// Commit makes the file part of the spool: when it returns without an error, the
// file is there and safe, under the name that it says. It fails with ErrDigest,
// ErrShort, ErrFull, ErrGone, ErrBusy, or an error of the disk. It waits for the
// disk, and for ctx only as long as nothing is promised.
func (p *Part) Commit(ctx context.Context) (Stored, error) {
	p.mu.Lock()
	switch {
	case p.stored != nil:
		p.mu.Unlock()
		p.s.mu.Lock()
		p.s.stats.Again++
		p.s.mu.Unlock()
		return *p.stored, nil
	case p.failed != nil:
		defer p.mu.Unlock()
		return Stored{}, p.failed
	case p.ended || p.committing:
		defer p.mu.Unlock()
		return Stored{}, ErrClosed
	}
	p.committing = true
	p.mu.Unlock()
	stored, err := p.commit(ctx)
	if err != nil {
		err = told(p.s.dir, err)
		p.s.refuse(err)
	}
	return stored, err
}
