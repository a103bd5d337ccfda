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

	stored *Stored // it was delivered before: what comes is let go

	// Guarded by the Store's mu.
	counted int64 // bytes of it that are counted as coming
	writing int64 // bytes that it was given on the disk, and may not have written

	mu         sync.Mutex
	f          *os.File
	name       string    // in parts
	was        *heldPart // what it goes on with, or takes the place of
	at         int64     // bytes that are held
	sum        hash.Hash
	unsynced   int64
	failed     error // what every further call answers
	ended      bool
	committing bool
}

const (
	syncEvery   = 32 << 20 // of a large part, so that its end does not take long
	mostSize    = 1 << 60  // of a file: no disk has more, and sums of a few stay numbers
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
	p.end(nil)
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
	if o := s.options(); u.Size > o.most() {
		return nil, o.tooLarge("it has %d bytes, and %d is the most", u.Size, o.most())
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
		p.end(p.was)
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

// take has a part go on with what is held of its key, or begin anew in its place.
func (s *Store) take(p *Part) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.was = p.g.held.take(p.id)
	if p.u.Offset == 0 {
		return
	}
	if p.was == nil || p.was.size != p.u.Offset {
		p.was = &heldPart{id: p.id, size: p.u.Offset, since: s.o.Now()}
	}
	p.at = p.u.Offset
	s.come(p, p.at)
}

// release gives the key of a part back, and what it was given. What it leaves is held.
func (s *Store) release(p *Part, left *heldPart) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.active[p.id] == p {
		delete(s.active, p.id)
	}
	delete(s.nameless, p)
	s.come(p, -p.counted)
	if left != nil {
		p.g.held.add(left)
	}
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
	flags := unix.O_RDWR
	if p.u.Offset > 0 {
		p.s.take(p)
	} else {
		flags |= unix.O_CREAT | unix.O_TRUNC
	}
	if err := p.s.fits(p); err != nil {
		return err
	}
	if p.u.Offset == 0 {
		p.s.take(p)
	}
	for {
		p.f, err = p.g.parts.open(p.name, flags)
		if err == nil || !p.s.relieved(p.g, err, 0) {
			break
		}
	}
	if err != nil || p.u.Offset == 0 {
		return err
	}
	return p.readHeld()
}

// readHeld brings the digest to where the part ends.
func (p *Part) readHeld() error {
	if p.was.state != nil && p.sum.(encoding.BinaryUnmarshaler).UnmarshalBinary(p.was.state) == nil {
		_, err := p.f.Seek(p.at, io.SeekStart)
		return err
	}
	p.sum.Reset()
	p.s.reading <- struct{}{}
	defer func() { <-p.s.reading }()
	n, err := io.CopyBuffer(p.sum, io.LimitReader(p.f, p.at), make([]byte, readingSize))
	if err == nil && n != p.at {
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
		if errors.Is(err, ErrFull) {
			p.keep() // until others need the room
		} else {
			p.drop() // what was written is not known, or not wanted
		}
		return n, p.failed
	}
	return n, nil
}

func (p *Part) write(b []byte) (int, error) {
	end := p.at + int64(len(b))
	if o := p.s.options(); end > o.most() {
		return 0, o.tooLarge("it has more than %d bytes", o.most())
	}
	if p.u.Size >= 0 && end > p.u.Size {
		return 0, fmt.Errorf("%w: more came than the %d bytes that were announced", ErrTooLarge, p.u.Size)
	}
	if len(b) == 0 {
		return 0, nil
	}
	if err := p.s.room(p, int64(len(b)), max(p.u.Size-p.at, int64(len(b))), false); err != nil {
		return 0, err
	}
	n, err := p.append(b)
	if err != nil {
		return n, err
	}
	if p.unsynced += int64(n); p.unsynced >= syncEvery {
		return n, p.sync()
	}
	return n, nil
}

// append writes what there is room for.
func (p *Part) append(b []byte) (n int, err error) {
	defer p.s.wrote(p)
	for again := true; again; {
		var more int
		more, err = p.f.Write(b[n:])
		n += more
		again = err != nil && p.s.relieved(p.g, err, int64(len(b)-n))
	}
	p.sum.Write(b[:n])
	p.at += int64(n)
	return n, err
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
	if p.stored != nil || !p.keyed() || p.at == 0 {
		p.drop()
		return
	}
	p.end(p.rest())
}

// rest is what the part leaves for one that goes on.
func (p *Part) rest() *heldPart {
	state, err := p.sum.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		state = nil // the part is read instead
	}
	return &heldPart{id: p.id, size: p.at, since: p.s.options().Now(), state: state}
}

// drop ends the part and removes its file. mu is held.
func (p *Part) drop() {
	if p.ended || p.stored != nil {
		p.ended = true
		return
	}
	if p.f == nil {
		p.end(p.was)
		return
	}
	err := p.g.parts.remove(p.name)
	if err == nil || errors.Is(err, fs.ErrNotExist) {
		p.end(nil)
		return
	}
	p.s.options().Log.Warn("a part that is of no use cannot be removed", "spool", p.s.dir, "err", err)
	if !p.keyed() {
		p.end(nil)
		return
	}
	p.end(p.rest())
}

// end closes the part's file and gives its key back. What it leaves, if anything, is
// held. mu is held.
func (p *Part) end(left *heldPart) {
	if p.ended {
		return
	}
	p.ended = true
	if p.f != nil {
		_ = p.f.Close() // it was synced, or is not to be relied on
	}
	p.s.release(p, left)
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
