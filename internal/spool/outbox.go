package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// ErrChanged says that a file is not the one any more that was found: it was
// removed, written to, or another has its name now.
var ErrChanged = errors.New("the file is not the one that was found")

// OutboxOptions are an Outbox's settings. Zero values stand for the defaults.
type OutboxOptions struct {
	Quiet time.Duration // how long ago a file was written to last; none
	Log   *slog.Logger
	Now   func() time.Time

	step func(what string) // for tests: before a step of a removal, and before a Scan opens a file
}

func (o *OutboxOptions) fill() {
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

// Entry is a file as it was found.
type Entry struct {
	Name     string
	Size     int64
	Modified time.Time // its content
	Changed  time.Time // its content, name, or anything else of it
	Inode    uint64
	Turn     int64 // another one each time that the same file is linked here; most often 0
}

// identity is what stays the same of a file that is moved.
type identity struct {
	inode      uint64
	size, nano int64
}

func (e Entry) identity() identity { return identity{e.Inode, e.Size, e.Modified.UnixNano()} }

func identityOf(st *unix.Stat_t) identity {
	return identity{st.Ino, st.Size, time.Unix(st.Mtim.Unix()).UnixNano()}
}

// Is says whether an open file is the entry, and nothing of it changed since: not even
// its times, which a program can set back after it wrote.
func (e Entry) Is(f *os.File) bool {
	var st unix.Stat_t
	return unix.Fstat(int(f.Fd()), &st) == nil && e.is(&st)
}

func (e Entry) is(st *unix.Stat_t) bool {
	return regular(st) && identityOf(st) == e.identity() && time.Unix(st.Ctim.Unix()).Equal(e.Changed)
}

// String is what begins a name in the trash.
func (i identity) String() string { return fmt.Sprintf("%d-%d-%d", i.inode, i.size, i.nano) }

// Outbox is the sending side of a spool. Its methods may be called from any
// goroutine.
type Outbox struct {
	dir string
	id  string
	o   OutboxOptions

	mu      sync.Mutex
	ground  *outGround
	left    map[Reason]int
	linked  linked
	unkept  error             // why it was not written down last that a linked file goes; nil if it was
	arrived []chan<- struct{} // told by Scan that a file is not quiet yet
	watch   func()            // sets the watch anew

	unkeptAt time.Time // of unkept
	watched  uint64    // inode of the ground that is watched; 0 for none
}

// outGround is what an Outbox stands on; see ground.
type outGround struct {
	*home
	trash *folder // its work

	scans   int  // that use it without holding the Outbox's mu, which guards both
	retired bool // it is closed by the last one
}

// OpenOutbox makes dir if there is none, opens it for sending, and deals with what
// a process that was killed was about to remove. It fails when another process
// sends from there; the error names it.
func OpenOutbox(dir string, o OutboxOptions) (*Outbox, error) {
	o.fill()
	b := &Outbox{dir: dir, o: o, left: map[Reason]int{}}
	var err error
	if b.ground, err = b.open(); err != nil {
		return nil, err
	}
	return b, nil
}

func (b *Outbox) open() (*outGround, error) {
	h, id, err := openHome(b.dir, "uploader", "trash", b.id)
	if err != nil {
		return nil, err
	}
	g := &outGround{home: h, trash: h.work}
	if err := b.linked.move(h.own); err != nil {
		return nil, errors.Join(fmt.Errorf("open the spool %s: read which linked files were sent: %w", b.dir, err), g.close())
	}
	if err := b.empty(g); err != nil {
		return nil, errors.Join(fmt.Errorf("open the spool %s: bring back what was about to be removed: %w", b.dir, err), g.close())
	}
	if b.id == "" {
		b.id = id
	}
	return g, nil
}

// ID names the spool: random, made once, kept in it.
func (b *Outbox) ID() string { return b.id }

// State is the folder for what the sender has to remember.
func (b *Outbox) State() string { return filepath.Join(b.dir, ownFolder, "uploader") }

// Close gives the spool back. No other call may be under way.
func (b *Outbox) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.ground.close()
}

// settled returns the ground that is there now. mu is held.
func (b *Outbox) settled() (*outGround, error) {
	if b.ground.stands() {
		return b.ground, nil
	}
	if err := b.ground.returned(b.id); err != nil {
		return nil, err
	}
	g, err := b.open()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	b.ground.retired = true
	b.leave(b.ground)
	b.ground = g
	b.o.Log.Info("the spool was removed and is there again", "spool", b.dir)
	return g, nil
}

// leave closes a folder that was removed and that nobody uses. mu is held.
func (b *Outbox) leave(g *outGround) {
	if g.retired && g.scans == 0 {
		_ = g.close() // nothing was written there
	}
}

// Open opens a file that was found, for reading. It fails with ErrChanged if it is
// another now, or somebody has it open for writing.
func (b *Outbox) Open(e Entry) (*os.File, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.settled()
	if err != nil {
		return nil, err
	}
	f, err := g.spool.openEntry(e)
	if err == nil && written(f) {
		err = errors.Join(fmt.Errorf("%w: %s is being written to", ErrChanged, e.Name), f.Close())
		f = nil
	}
	return f, told(b.dir, err)
}

// openEntry opens a file, if it is as it was found.
func (d *folder) openEntry(e Entry) (*os.File, error) {
	f, err := d.openSame(e.Name, e.identity())
	if err == nil && !e.Is(f) {
		return nil, errors.Join(fmt.Errorf("%w: %s", ErrChanged, e.Name), f.Close())
	}
	return f, err
}

// openSame opens a file, if it is the one.
func (d *folder) openSame(name string, want identity) (*os.File, error) {
	if name == "" || filepath.Base(name) != name {
		return nil, &NameError{Name: name, Reason: "there is a slash in it"}
	}
	f, err := d.open(name, unix.O_RDONLY)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ELOOP) || errors.Is(err, unix.ENXIO) {
		return nil, fmt.Errorf("%w: %s", ErrChanged, name)
	}
	if err != nil {
		return nil, err
	}
	var st unix.Stat_t
	if err = unix.Fstat(int(f.Fd()), &st); err == nil && (!regular(&st) || identityOf(&st) != want) {
		err = fmt.Errorf("%w: %s", ErrChanged, name)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// Remove takes a file away that was delivered. If it is another now, or somebody
// writes to it, it stays, and the error is ErrChanged.
//
// It moves the file aside first and looks at what it moved: what comes under the
// name in the instant before is not lost. What a killed process moved aside is
// looked at by the next one. From before the first look to the end nobody can begin to
// write to the file unseen, since the move itself changes the only time that a writer
// cannot set back; but where the system does not tell of writers, one who then sets
// the file's time back within that instant is not seen.
func (b *Outbox) Remove(e Entry) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.settled()
	if err != nil {
		return err
	}
	return told(b.dir, b.remove(g, e))
}

func (b *Outbox) remove(g *outGround, e Entry) error {
	f, err := g.spool.openSame(e.Name, e.identity())
	if err != nil {
		return err
	}
	defer f.Close() // and with it the hold; it was looked at
	if hold(f) || !e.Is(f) {
		return fmt.Errorf("%w: %s", ErrChanged, e.Name)
	}
	if err := b.rested(f); err != nil {
		return err
	}
	in, held := g.trash, e.identity().String()+"_"+e.Name
	if len(held) > longestName {
		crate, err := g.crate(e.identity())
		if err != nil {
			return err
		}
		defer crate.close() // nothing was written
		in, held = crate, e.Name
	}
	b.o.step("move aside")
	if err := g.spool.move(e.Name, in, held); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fmt.Errorf("%w: %s", ErrChanged, e.Name)
		}
		return errors.Join(err, g.discard(in))
	}
	b.o.step("look")
	return errors.Join(b.dispose(g, in, held, e.Name, e.identity()), g.discard(in))
}

// crate makes a folder in the trash, for a file whose name is too long to have
// what it was found as before it.
func (g *outGround) crate(want identity) (*folder, error) {
	if err := g.trash.makeFolder(want.String(), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return g.trash.inner(want.String())
}

// discard removes a crate, unless something is left in it.
func (g *outGround) discard(crate *folder) error {
	if crate == g.trash {
		return nil
	}
	err := g.trash.removeFolder(filepath.Base(crate.path))
	if errors.Is(err, unix.ENOTEMPTY) {
		return nil // why, was said
	}
	return err
}

// dispose removes a file that was moved aside, or puts it back under its name if
// it is not the one.
func (b *Outbox) dispose(g *outGround, in *folder, held, name string, want identity) error {
	f, err := in.openSame(held, want)
	if err == nil && written(f) {
		err = fmt.Errorf("%w: %s is being written to", ErrChanged, name)
	}
	ours := err == nil
	if ours {
		err = b.outlives(f, name, want)
	}
	if f != nil {
		_ = f.Close() // it was looked at
	}
	switch {
	case err == nil:
		b.o.step("remove")
		return in.remove(held)
	case ours, errors.Is(err, ErrChanged):
		if _, back := putAside(in, held, g.spool, name, 0); back != nil {
			return back
		}
	}
	return err
}

// outlives writes down that a file is about to be taken away, if it has other names.
func (b *Outbox) outlives(f *os.File, name string, i identity) error {
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink < 2 {
		return err
	}
	if b.unkept = b.linked.keep(name, i, time.Unix(st.Ctim.Unix()).UnixNano()); b.unkept != nil {
		b.unkeptAt = b.o.Now()
	}
	return b.unkept
}

// unkeptRest is how long no file is moved aside that has other names, after that could
// not be written down.
const unkeptRest = 10 * time.Second

// rested gives the error of what could not be written down a moment ago, of a file
// for which that has to be done: to move it aside and back tells whoever watches that
// there is something new, and so this would be tried again and again without a rest.
func (b *Outbox) rested(f *os.File) error {
	if since := b.o.Now().Sub(b.unkeptAt); b.unkept == nil || since < 0 || since >= unkeptRest {
		return nil
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &st); err != nil || st.Nlink < 2 {
		return err
	}
	return b.unkept
}

// empty deals with what lies in the trash after a kill.
func (b *Outbox) empty(g *outGround) error {
	return g.trash.each(func(held string) error {
		var want identity
		found, name, single := strings.Cut(held, "_")
		if n, err := fmt.Sscanf(found, "%d-%d-%d", &want.inode, &want.size, &want.nano); n != 3 || err != nil {
			return nil // not ours
		}
		if single {
			return settled(b.dispose(g, g.trash, held, name, want))
		}
		crate, err := g.trash.inner(held)
		if err != nil {
			return err
		}
		defer crate.close() // nothing was written
		err = crate.each(func(file string) error { return settled(b.dispose(g, crate, file, file, want)) })
		return errors.Join(err, g.discard(crate))
	})
}

// settled is the error of a dispose but that a file was put back.
func settled(err error) error {
	if errors.Is(err, ErrChanged) {
		return nil
	}
	return err
}

// mostBeside is how many names are tried.
const mostBeside = 100_000

// putAside gives a file a name in another folder, or one like it that is free, so
// short that extra bytes can be added.
func putAside(from *folder, name string, to *folder, want string, extra int) (string, error) {
	for n := 1; n <= mostBeside; n++ {
		as := numbered(want, n, extra)
		if err := from.move(name, to, as); !errors.Is(err, fs.ErrExist) {
			return as, err
		}
	}
	return "", fmt.Errorf("every name that %s could get in %s is taken", name, to.path)
}

// numbered is the nth name like another.
func numbered(name string, n, extra int) string {
	if n == 1 && len(name)+extra <= longestName {
		return name
	}
	return beside(name, strconv.Itoa(n), extra)
}

const (
	failedFolder = "failed"
	reasonSuffix = ".reason"
)

// Fail moves a file that cannot be delivered to the folder failed of the spool,
// over nothing that is there, with the reason beside it. If it is another now, it
// stays, and the error is ErrChanged.
func (b *Outbox) Fail(e Entry, reason string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, err := b.settled()
	if err != nil {
		return err
	}
	return told(b.dir, b.fail(g, e, reason))
}

func (b *Outbox) fail(g *outGround, e Entry, reason string) error {
	f, err := g.spool.openSame(e.Name, e.identity())
	if err != nil {
		return err
	}
	_ = f.Close() // it was looked at
	if err := g.spool.makeFolder(failedFolder, 0o777); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	failed, err := g.spool.inner(failedFolder)
	if err != nil {
		return err
	}
	defer failed.close() // it is synced below
	for n := 1; n <= mostBeside; n++ {
		as := numbered(e.Name, n, len(reasonSuffix))
		// The reason first: its name keeps the other free, and a file without
		// a reason would tell nobody anything.
		err := failed.writeNew(as+reasonSuffix, reason+"\n")
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err == nil {
			b.o.step("move to failed")
			err = g.spool.move(e.Name, failed, as)
		}
		if err == nil {
			return b.failedIs(g, failed, as, e)
		}
		if gone := failed.remove(as + reasonSuffix); !errors.Is(err, fs.ErrExist) {
			return errors.Join(err, gone)
		}
	}
	return fmt.Errorf("every name that %s could get in %s is taken", e.Name, failed.path)
}

// failedIs looks at what was moved to failed, and puts it back if it is not the
// one.
func (b *Outbox) failedIs(g *outGround, failed *folder, as string, e Entry) error {
	f, err := failed.openSame(as, e.identity())
	if err == nil {
		return errors.Join(f.Close(), failed.sync(), g.spool.sync())
	}
	if !errors.Is(err, ErrChanged) {
		return err
	}
	if _, back := putAside(failed, as, g.spool, e.Name, 0); back != nil {
		return back
	}
	return errors.Join(err, failed.remove(as+reasonSuffix))
}

// writeNew writes a small file that is not there yet, and syncs it.
func (d *folder) writeNew(name, content string) error {
	f, err := d.open(name, unix.O_WRONLY|unix.O_CREAT|unix.O_EXCL)
	if err != nil {
		return err
	}
	_, err = f.WriteString(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, d.remove(name))
	}
	return nil
}
