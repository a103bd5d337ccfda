package spool

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Digest is the SHA-256 of a file's content. The zero one stands for an unknown
// one.
type Digest = [sha256.Size]byte

// Errors of a Store, besides ErrGone, ErrFull and *NameError.
var (
	// ErrDigest says that what came is not what was announced. Nothing of it is
	// kept.
	ErrDigest = errors.New("the content does not have the digest that was announced")
	// ErrTooLarge says that a file is larger than any may be.
	ErrTooLarge = errors.New("the file is too large")
	// ErrNoFit says, beside ErrFull, that there is room, but not for so large a
	// file.
	ErrNoFit = errors.New("a small file is taken")
	// ErrBusy says that the same upload is being finished, or that a newer one
	// with the same key took the part over.
	ErrBusy = errors.New("the same file is being uploaded by another connection")
	// ErrShort says that less came than was announced.
	ErrShort = errors.New("less came than was announced")
	// ErrClosed says that the Store was closed.
	ErrClosed = errors.New("the spool was closed")
)

// OffsetError says that an upload cannot go on where it wants to.
type OffsetError struct {
	Held int64 // bytes that are held: where it can go on
}

func (e *OffsetError) Error() string {
	return fmt.Sprintf("an upload goes on at byte %d, where the last one broke off", e.Held)
}

// LimitError says which limit it is that takes no more, beside ErrFull or ErrTooLarge.
type LimitError struct {
	Limit string // the field of StoreOptions
	err   error
}

func (e *LimitError) Error() string { return e.err.Error() }
func (e *LimitError) Unwrap() error { return e.err }

// limited is an error of a limit.
func limited(limit, format string, args ...any) error {
	return &LimitError{Limit: limit, err: fmt.Errorf(format, args...)}
}

// StoreOptions are a Store's settings.
type StoreOptions struct {
	// Limits, of which 0 is none.
	MaxFile  int64         // bytes of one file
	MaxBytes int64         // that wait in the spool, or have come of what is on its way
	MaxFiles int           // that wait in the spool
	MinFree  int64         // bytes that stay free on the disk
	PartAge  time.Duration // for which what an upload left is kept

	// Of these 0 stands for the default.
	MaxParts     int           // files that are on their way, or were left by uploads: 10 000. The newest are kept
	Remember     time.Duration // for which a key that was delivered is known: 24h
	RememberKeys int           // of which so many stay longer, and ten times as many at most: 100 000

	Log *slog.Logger
	Now func() time.Time

	step func(what string) // for tests: before a step of a commit
}

func (o *StoreOptions) fill() {
	if o.MaxParts <= 0 {
		o.MaxParts = 10_000
	}
	if o.Remember <= 0 {
		o.Remember = 24 * time.Hour
	}
	if o.RememberKeys <= 0 {
		o.RememberKeys = 100_000
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.step == nil {
		o.step = func(string) {}
	}
}

// Store is the receiving side of a spool. Its methods may be called from any
// goroutine.
type Store struct {
	dir string
	id  string

	// turn is had by the one who commits, writes the log, or opens the folder
	// again. Who has it may take mu, and not the other way round.
	turn    chan struct{}
	heavy   chan struct{} // had by those who sync large parts: they disturb each other
	reading chan struct{} // had by those who read a file for its digest
	parts   sync.WaitGroup
	kick    chan struct{} // asks Run to count

	mu         sync.Mutex
	o          StoreOptions
	ground     *ground
	closed     bool
	active     map[keyID]*Part
	nameless   map[*Part]struct{}
	known      *remembered
	pending    []*item
	count      count
	coming     int64 // bytes that have come of active and nameless
	committing int   // files of them that are whole, and are to be counted
	stats      Stats
}

// ground is what a Store stands on: the folders and the log. When the folder was
// removed and made again there is a new one.
type ground struct {
	*home
	parts *folder // its work
	log   *receivedLog

	// Guarded by the Store's mu.
	held    *heldParts
	disk    disk
	users   int  // parts that use it
	retired bool // it is closed by the last one
}

// Stats is what a Store has in its spool, and what it did since it was opened.
type Stats struct {
	Files  int       // that wait in the spool
	Bytes  int64     // likewise
	Oldest time.Time // when the oldest of them was written; zero if there is none

	Uploads int    // on their way
	Stored  uint64 // files
	Again   uint64 // uploads of what was there already
	Refused uint64 // for want of room, or for what they are
}

// largePart is the size from which a part's sync is one of few at a time.
const largePart = 256 << 10

// OpenStore makes dir if there is none, opens it for receiving, and finishes what
// a process that was killed had promised. It fails when another process receives
// there; the error names it.
func OpenStore(dir string, o StoreOptions) (*Store, error) {
	o.fill()
	s := &Store{
		dir: dir, o: o,
		turn: make(chan struct{}, 1), heavy: make(chan struct{}, 2), reading: make(chan struct{}, 2), kick: make(chan struct{}, 1),
		active: map[keyID]*Part{}, nameless: map[*Part]struct{}{}, known: newRemembered(),
	}
	var err error
	if s.ground, err = s.openGround(s.known); err != nil {
		return nil, err
	}
	err = s.recover()
	if err == nil {
		err = s.recount(context.Background())
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("open the spool %s: %w", dir, err), s.ground.close())
	}
	return s, nil
}

// openGround opens the folders and reads the log.
func (s *Store) openGround(into *remembered) (*ground, error) {
	h, id, err := openHome(s.dir, "collector", "parts", s.id)
	if err != nil {
		return nil, err
	}
	g := &ground{home: h, parts: h.work}
	if err := g.open(s, into); err != nil {
		return nil, errors.Join(fmt.Errorf("open the spool %s: %w", s.dir, err), g.close())
	}
	if s.id == "" {
		s.id = id
	}
	return g, nil
}

func (g *ground) open(s *Store, into *remembered) error {
	var err error
	var lost int64
	if g.log, lost, err = openReceived(g.own, into); err != nil {
		return err
	}
	if g.held, err = listHeld(g.parts); err != nil {
		return err
	}
	if lost > 0 {
		s.o.Log.Info("the log of what was received ends in a record that is not whole, as after a power cut", "spool", s.dir, "bytes", lost)
	}
	return nil
}

func (g *ground) close() error {
	var errs []error
	if g.log != nil {
		errs = append(errs, g.log.close())
	}
	return errors.Join(append(errs, g.home.close())...)
}

// ID names the spool: random, made once, kept in it.
func (s *Store) ID() string { return s.id }

// State is the folder for what else the receiver has to remember.
func (s *Store) State() string { return filepath.Join(s.dir, ownFolder, "collector") }

// Adjust gives the Store other limits and ages. Uploads that are on their way are
// held to them too. Log and Now stay as they were.
func (s *Store) Adjust(o StoreOptions) {
	s.mu.Lock()
	defer s.mu.Unlock()
	o.Log, o.Now, o.step = s.o.Log, s.o.Now, s.o.step
	o.fill()
	s.o = o
}

// most is how large a file may be: one that is larger than all that may wait never has
// room.
func (o *StoreOptions) most() int64 {
	return min(cmp.Or(o.MaxFile, mostSize), cmp.Or(o.MaxBytes, mostSize))
}

// tooLarge says by which limit a file is too large.
func (o *StoreOptions) tooLarge(format string, args ...any) error {
	limit := "MaxFile"
	if o.MaxBytes > 0 && o.MaxBytes == o.most() {
		limit = "MaxBytes"
	}
	return limited(limit, "%w: "+format, append([]any{ErrTooLarge}, args...)...)
}

func (s *Store) options() StoreOptions {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.o
}

// Stats returns what there is and was.
func (s *Store) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.stats
	st.Files, st.Bytes, st.Oldest = s.count.files, s.count.bytes, s.count.oldest
	st.Uploads = len(s.active) + len(s.nameless)
	return st
}

// Free returns how many bytes are free on the disk.
func (s *Store) Free() (int64, error) {
	g, err := s.settled()
	if err != nil {
		return 0, err
	}
	defer s.leave(g)
	bytes, _, err := g.spool.free()
	return bytes, err
}

// Close waits for the uploads that are open, each of which ends by Commit or
// Break, and gives the spool back.
func (s *Store) Close() error {
	s.mu.Lock()
	was := s.closed
	s.closed = true
	s.mu.Unlock()
	if was {
		return nil
	}
	s.parts.Wait()
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	return s.ground.close()
}

// identify returns what stands for a key: always its hash, since others may count
// theirs up behind many zeros.
func identify(key string) keyID {
	sum := sha256.Sum256([]byte(key))
	return keyID(sum[:16])
}

// partName is the name of a key's part.
func (id keyID) partName() string { return hex.EncodeToString(id[:]) }

// partID is the key of a part, by its name.
func partID(name string) (keyID, bool) {
	b, err := hex.DecodeString(name)
	if err != nil || len(b) != len(keyID{}) || name != strings.ToLower(name) {
		return keyID{}, false
	}
	return keyID(b), true
}

// settled takes the ground that is there now, opening the folder again when it was
// removed and made again, for one user more; see leave.
func (s *Store) settled() (*ground, error) {
	s.mu.Lock()
	g := s.ground
	s.mu.Unlock()
	if !g.stands() {
		promised, err := s.move()
		if err != nil {
			return nil, err
		}
		s.keepPromises(promised)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, ErrClosed
	}
	s.ground.users++
	s.parts.Add(1)
	return s.ground, nil
}

// leave ends a use of a ground.
func (s *Store) leave(g *ground) {
	s.mu.Lock()
	g.users--
	last := g.retired && g.users == 0
	s.mu.Unlock()
	if last {
		_ = g.close() // a folder that was removed
	}
	s.parts.Done()
}

// move goes to the folder that lies where ours was, and returns the keys whose parts were
// promised a name there. It may be another that was a spool before: what is known of keys
// in either is known then, since the files of both were answered for.
func (s *Store) move() (promised []keyID, err error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	old, closed := s.ground, s.closed
	s.mu.Unlock()
	if closed {
		return nil, ErrClosed
	}
	if old.stands() {
		return nil, nil // another was faster
	}
	if err := old.returned(s.id); err != nil {
		return nil, err
	}
	there := newRemembered()
	g, err := s.openGround(there)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	g.log.broken = true // it is to be written from what is known
	s.o.Log.Info("the spool was removed and is there again", "spool", s.dir)
	s.mu.Lock()
	s.ground = g
	s.count = count{}
	promised = s.known.join(there, g.held)
	old.retired = true
	unused, all := old.users == 0, s.known.records()
	s.mu.Unlock()
	if unused {
		_ = old.close() // a folder that was removed
	}
	// At once, since who is killed before the next file comes would know the keys of this
	// folder alone.
	if err := g.log.rewrite(all); err != nil {
		s.o.Log.Warn("the log of what was received cannot be written in the folder that is there now; it is tried again with the next file", "spool", s.dir, "err", err)
	}
	return promised, nil
}

// recover finishes the intents whose parts are there, and removes what cannot be
// gone on with.
func (s *Store) recover() error {
	g := s.ground
	whole := s.known.promised(g.held)
	for id := range g.held.byID {
		_, delivered := s.known.delivered[id]
		if _, intended := s.known.intents[id]; delivered && !intended {
			// It was the same content as that of a file that was there.
			if err := g.parts.remove(id.partName()); err != nil {
				return err
			}
			g.held.take(id)
		}
	}
	if err := g.spool.sync(); err != nil { // renames that nobody waited for
		return err
	}
	s.keepPromises(whole)
	return nil
}

// keepPromises finishes intents whose parts are there.
func (s *Store) keepPromises(ids []keyID) {
	for _, id := range ids {
		if err := s.finish(id); err != nil {
			s.o.Log.Warn("a file that was received before the last stop is not in the spool yet; it is tried again", "spool", s.dir, "err", err)
		}
	}
}
