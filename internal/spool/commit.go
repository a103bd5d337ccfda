package spool

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// item is a whole, synced part that waits for its name.
type item struct {
	p      *Part
	name   string // that it is to get
	digest Digest
	size   int64
	same   bool // the file of this name has the same content: the part is not needed

	taken bool // something has got the name meanwhile
	err   error
	done  chan struct{}
}

// commit checks a part and brings it into the spool.
func (p *Part) commit(ctx context.Context) (Stored, error) {
	it := &item{p: p, size: p.at, digest: Digest(p.sum.Sum(nil))}
	if p.u.Size >= 0 && it.size != p.u.Size {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.keep()
		return Stored{}, fmt.Errorf("%w: %d bytes of %d", ErrShort, it.size, p.u.Size)
	}
	if p.u.Digest != (Digest{}) && p.u.Digest != it.digest {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.drop()
		return Stored{}, ErrDigest
	}
	if err := p.s.reserve(); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.keep()
		return Stored{}, err
	}
	defer p.s.unreserve()
	p.s.options().step("sync the part")
	if err := p.sync(); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.drop()
		return Stored{}, err
	}
	return p.s.settle(ctx, it)
}

// reserve counts a file that is whole, until it is counted in the spool or was not
// brought there. One that is only announced takes nobody's place.
func (s *Store) reserve() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.filesLeft()
	if err == nil {
		s.committing++
	}
	return err
}

func (s *Store) unreserve() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.committing--
}

// settle gives a whole part its name, and ends it.
func (s *Store) settle(ctx context.Context, it *item) (_ Stored, err error) {
	for it.taken = true; it.taken && err == nil; {
		if err = ctx.Err(); err == nil {
			err = s.choose(it)
		}
		if err == nil {
			err = s.wait(it)
		}
	}
	s.conclude(it, err)
	return Stored{Name: it.name, Digest: it.digest, Again: it.same}, err
}

// conclude ends the part of an item, which keeps its file if it can be finished
// later, and counts it.
func (s *Store) conclude(it *item, err error) {
	p := it.p
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case err != nil && !p.keyed():
		p.drop()
		return
	case err != nil && p.sum == nil:
		p.end(p.was) // as finish found it
		return
	case err != nil:
		p.end(p.rest())
		return
	}
	s.mu.Lock()
	if it.same {
		s.stats.Again++
	} else {
		s.stats.Stored++
		s.count.add(it.size, s.o.Now())
	}
	s.mu.Unlock()
	p.end(nil) // it is counted twice rather than not
}

// choose finds the name that an item is to get: the first that is free, or has the
// same content already.
func (s *Store) choose(it *item) error {
	it.done, it.taken, it.same, it.err = make(chan struct{}), false, false, nil
	for _, name := range candidates(it.p.u.Name, it.digest) {
		st, err := it.p.g.spool.stat(name)
		if errors.Is(err, fs.ErrNotExist) {
			it.name = name
			return nil
		}
		if err != nil {
			return err
		}
		if !regular(&st) || st.Size != it.size {
			continue
		}
		digest, err := s.digestOf(it.p.g.spool, name)
		if errors.Is(err, fs.ErrPermission) {
			continue // it may be another's
		}
		if errors.Is(err, fs.ErrNotExist) {
			it.name = name
			return nil
		}
		if err != nil {
			return err
		}
		if digest == it.digest {
			it.name, it.same = name, true
			return nil
		}
	}
	return fmt.Errorf("every name that the file could get in %s is taken", s.dir)
}

// digestOf reads a file and makes its content safe.
func (s *Store) digestOf(d *folder, name string) (Digest, error) {
	f, err := d.open(name, unix.O_RDONLY)
	if err != nil {
		return Digest{}, err
	}
	defer f.Close() // it was read
	s.reading <- struct{}{}
	defer func() { <-s.reading }()
	sum, err := digest(f)
	if err != nil {
		return Digest{}, err
	}
	return sum, f.Sync()
}

func digest(r io.Reader) (Digest, error) {
	var sum hash.Hash = sha256.New()
	if _, err := io.CopyBuffer(sum, r, make([]byte, readingSize)); err != nil {
		return Digest{}, err
	}
	return Digest(sum.Sum(nil)), nil
}

// wait has an item committed. Of all who wait one gets the turn, and commits for
// all: while he does, the next ones gather.
func (s *Store) wait(it *item) error {
	s.mu.Lock()
	s.pending = append(s.pending, it)
	s.mu.Unlock()
	select {
	case <-it.done:
	case s.turn <- struct{}{}:
		s.commitPending()
		<-s.turn
		<-it.done
	}
	return it.err
}

// commitPending commits all that waits.
func (s *Store) commitPending() {
	s.mu.Lock()
	batch, g, o := s.pending, s.ground, s.o
	s.pending = nil
	s.mu.Unlock()
	here := batch[:0:0]
	for _, it := range batch {
		if it.p.g == g {
			here = append(here, it)
		} else {
			it.err = gone(s.dir, syscall.ENOENT)
		}
	}
	b := batchOf{s: s, g: g, o: o, items: here}
	b.commit()
	for _, it := range batch {
		close(it.done)
	}
	b.forget()
}

// batchOf is a commit of many parts.
type batchOf struct {
	s     *Store
	g     *ground
	o     StoreOptions
	items []*item
}

// fail lets those fail that did not, of which chosen says so.
func (b *batchOf) fail(err error, chosen func(*item) bool) {
	for _, it := range b.items {
		if it.err == nil && !it.taken && chosen(it) {
			it.err = err
		}
	}
}

func (b *batchOf) any(chosen func(*item) bool) bool {
	for _, it := range b.items {
		if it.err == nil && !it.taken && chosen(it) {
			return true
		}
	}
	return false
}

func keyed(it *item) bool { return it.p.keyed() }
func same(it *item) bool  { return it.same }
func named(it *item) bool { return !it.same }

// commit carries out the batch: intents, names, folder; see the package's comment
// and receivedLog.
func (b *batchOf) commit() {
	// What the log is going to rely on is made safe before it: the parts'
	// entries, and those of the files that are there instead of a part.
	if b.any(func(it *item) bool { return keyed(it) && named(it) }) {
		b.o.step("sync the parts' folder")
		if err := b.g.parts.sync(); err != nil {
			b.fail(err, keyed)
		}
	}
	if b.any(same) {
		b.o.step("sync the spool for what is there")
		if err := b.g.spool.sync(); err != nil {
			b.fail(err, same)
		}
	}
	if b.any(keyed) {
		if err := b.record(); err != nil {
			b.fail(err, keyed)
		}
	}
	for _, it := range b.items {
		if it.err != nil || it.same {
			continue
		}
		b.o.step("name a file")
		switch err := b.g.parts.move(it.p.name, b.g.spool, it.name); {
		case errors.Is(err, fs.ErrExist):
			it.taken = true
		case err != nil:
			it.err = err
		}
	}
	if b.any(named) {
		b.o.step("sync the spool")
		if err := b.g.spool.sync(); err != nil {
			b.fail(err, named)
		}
	}
	b.delivered()
}

// record appends the intents to the log.
func (b *batchOf) record() error {
	now := uint32(b.o.Now().Unix())
	var records []byte
	b.s.mu.Lock()
	for _, it := range b.items {
		switch {
		case it.err != nil || !keyed(it):
		case it.same:
			records = outcome{digest: [8]byte(it.digest[:8]), at: now}.append(records, it.p.id)
		default:
			// Known before it is written: a part whose intent may be in the
			// log is not removed without more ado.
			i := intent{name: it.name, digest: it.digest, size: it.size, at: now}
			b.s.known.intents[it.p.id] = i
			records = i.append(records, it.p.id)
		}
	}
	b.s.mu.Unlock()
	b.o.step("write the log")
	return b.s.log(b.g, records)
}

// log appends records to the log, writing it anew first if that is due. The turn
// is had.
func (s *Store) log(g *ground, records []byte) error {
	if g.log.broken {
		s.mu.Lock()
		all := s.known.records()
		s.mu.Unlock()
		if err := g.log.rewrite(all); err != nil {
			return err
		}
	}
	return g.log.append(records)
}

// delivered notes what was done, and removes the parts that are not needed.
func (b *batchOf) delivered() {
	now := uint32(b.o.Now().Unix())
	b.s.mu.Lock()
	for _, it := range b.items {
		if it.err == nil && !it.taken && keyed(it) {
			b.s.known.deliver(it.p.id, it.digest, now)
		}
	}
	b.s.mu.Unlock()
	for _, it := range b.items {
		if it.err == nil && it.same {
			b.o.step("remove a part that is there already")
			if err := b.g.parts.remove(it.p.name); err != nil {
				b.o.Log.Warn("a part that is not needed cannot be removed", "spool", b.s.dir, "err", err)
			}
		}
	}
}

// forget drops old keys, and has the log written anew when it mostly holds such.
// The turn is had.
func (b *batchOf) forget() {
	s := b.s
	s.mu.Lock()
	s.known.forget(b.o.Now().Add(-b.o.Remember), b.o.RememberKeys)
	due := b.g.log.due() && !b.g.log.broken
	var all []byte
	if due {
		all = s.known.records()
	}
	s.mu.Unlock()
	if !due {
		return
	}
	if err := b.g.log.rewrite(all); err != nil {
		b.o.Log.Warn("the log of what was received cannot be written anew; it grows on", "spool", s.dir, "err", err)
	}
}

// finish carries out an intent of which it is not known what became of it: it was
// in the log at the start, or its commit failed half-way. It fails if it still is
// not known then; else the key is delivered, or its part is one that can go on.
func (s *Store) finish(id keyID) error {
	s.mu.Lock()
	i, intended := s.known.intents[id]
	g := s.ground
	if !intended {
		s.mu.Unlock()
		return nil
	}
	if s.active[id] != nil {
		s.mu.Unlock()
		return ErrBusy
	}
	p := &Part{s: s, g: g, u: Upload{Name: i.name, Key: "its own", Digest: i.digest, Size: i.size}, id: id, name: id.partName(), committing: true}
	s.active[id] = p
	p.was = g.held.take(id)
	g.users++
	s.parts.Add(1)
	s.mu.Unlock()

	f, err := g.parts.open(p.name, unix.O_RDWR)
	if errors.Is(err, fs.ErrNotExist) {
		err = s.carriedOut(id, i, g)
		p.finished(nil)
		return told(s.dir, err)
	}
	var sum Digest
	if err == nil {
		p.f = f
		if sum, err = digest(f); err == nil && sum == i.digest {
			err = f.Sync()
		}
	}
	if err != nil {
		p.finished(p.was)
		return told(s.dir, err)
	}
	if sum != i.digest {
		err := s.cancel(id, g)
		p.finished(p.was)
		return told(s.dir, err)
	}
	_, err = s.settle(context.Background(), &item{p: p, digest: sum, size: i.size})
	return told(s.dir, err)
}

func (p *Part) finished(left *heldPart) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.end(left)
}

// carriedOut notes that a file got its name, once that is safe.
func (s *Store) carriedOut(id keyID, i intent, g *ground) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if err := g.spool.sync(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.known.deliver(id, i.digest, i.at)
	return nil
}

// cancel gives an intent up, so that its part may go.
func (s *Store) cancel(id keyID, g *ground) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if err := s.log(g, appendCancelled(nil, id)); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.known.intents, id)
	return nil
}
