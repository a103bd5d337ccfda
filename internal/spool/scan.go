package spool

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/fsnotify/fsnotify"
	"golang.org/x/sys/unix"
)

// Reason says why an Outbox leaves something alone.
type Reason string

// The reasons.
const (
	Hidden    Reason = "HIDDEN"    // its name begins with a dot
	Temporary Reason = "TEMPORARY" // its name ends in .tmp: it is being written
	NotQuiet  Reason = "NOT_QUIET" // it was written to a moment ago, or somebody has it open for that
	BadName   Reason = "BAD_NAME"  // see CheckName
	Symlink   Reason = "SYMLINK"
	Folder    Reason = "FOLDER"
	OtherKind Reason = "OTHER_KIND" // a pipe, a socket, a device
	Denied    Reason = "DENIED"     // it may not be read
)

// Scan calls do with every file that is ready, in no order. It reads the folder in
// portions: its memory does not grow with the number of files, and do may take its
// time, remove files, and end the scan by an error, which Scan returns. A folder
// that is gone is ErrGone; once it is back the next Scan reads it.
func (b *Outbox) Scan(ctx context.Context, do func(Entry) error) error {
	b.mu.Lock()
	g, err := b.settled()
	if err == nil {
		g.scans++
		if b.watch != nil {
			b.watch()
		}
	}
	b.mu.Unlock()
	if err != nil {
		return err
	}
	left := map[Reason]int{}
	err = g.spool.each(func(name string) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if name == ownFolder {
			return nil
		}
		e, reason, err := b.look(g, name)
		if err != nil {
			return told(b.dir, err)
		}
		if name == failedFolder && reason == Folder {
			return nil // a file of that name is one as any other
		}
		if reason != "" {
			left[reason]++
			return nil
		}
		if e.Name == "" {
			return nil // taken meanwhile
		}
		e.Turn = b.turn(e)
		return do(e)
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	g.scans--
	b.leave(g)
	if err == nil {
		b.left = left
	}
	if left[NotQuiet] > 0 {
		for _, c := range b.arrived {
			hint(c)
		}
	}
	return err
}

// LeftAlone says how much the last whole Scan left alone, and why.
func (b *Outbox) LeftAlone() map[Reason]int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return maps.Clone(b.left)
}

// look returns the file of a name, or why it is left alone, or neither if it is
// gone.
func (b *Outbox) look(g *outGround, name string) (Entry, Reason, error) {
	switch {
	case strings.HasPrefix(name, "."):
		return Entry{}, Hidden, nil
	case strings.HasSuffix(name, temporary):
		return Entry{}, Temporary, nil
	case badName(name) != "":
		return Entry{}, BadName, nil
	}
	st, err := g.spool.stat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, "", nil
	}
	if err != nil {
		return Entry{}, "", err
	}
	if !regular(&st) {
		return Entry{}, kindOf(&st), nil
	}
	e := Entry{
		Name: name, Size: st.Size, Inode: st.Ino,
		Modified: time.Unix(st.Mtim.Unix()), Changed: time.Unix(st.Ctim.Unix()),
	}
	if !b.quiet(e) {
		return Entry{}, NotQuiet, nil
	}
	if readable(&st) && b.settledLong(e) {
		return e, "", nil
	}
	b.o.step("open what is found")
	f, err := g.spool.openSame(name, e.identity())
	switch {
	case errors.Is(err, ErrChanged):
		return Entry{}, NotQuiet, nil
	case errors.Is(err, fs.ErrPermission):
		return Entry{}, Denied, nil
	case err != nil:
		return Entry{}, "", err
	}
	defer f.Close() // it was looked at
	if written(f) {
		return Entry{}, NotQuiet, nil
	}
	return e, "", nil
}

// turn says which turn of the same file it is.
func (b *Outbox) turn(e Entry) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.linked.turns) == 0 {
		return 0
	}
	return b.linked.turns[linkedAs(e.Name, e.identity())]
}

// quiet says whether a file was last written to long enough ago. A time of the
// future was set by hand, as archives do: then it counts when that was done.
func (b *Outbox) quiet(e Entry) bool {
	now := b.o.Now()
	at := e.Modified
	if at.After(now) {
		at = e.Changed
	}
	if at.After(now.Add(b.o.Quiet)) {
		return true // the clock was set back since
	}
	return now.Sub(at) >= b.o.Quiet
}

// settledLong says whether a file, its name too, has been as it is for so long that
// most likely nobody is at it: a Scan does not open it, so that many which wait
// cost little. Open asks again before it is sent, and Remove before it goes.
func (b *Outbox) settledLong(e Entry) bool {
	return b.o.Now().Sub(e.Changed) >= max(time.Minute, 2*b.o.Quiet)
}

// readable says whether we may read a file, as far as its mode tells.
func readable(st *unix.Stat_t) bool {
	switch me := os.Geteuid(); {
	case me == 0:
		return true
	case st.Uid == uint32(me):
		return st.Mode&0o400 != 0
	}
	return st.Mode&0o444 == 0o444
}

func kindOf(st *unix.Stat_t) Reason {
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFLNK:
		return Symlink
	case unix.S_IFDIR:
		return Folder
	}
	return OtherKind
}

// hint says without waiting that there may be something.
func hint(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// Watch returns a channel that says, once for many, that a Scan may find something
// new, until ctx ends, when it is closed. It is a hint and misses what the system
// does not tell, as on network file systems: scan now and then without it. It
// cannot be asked for twice.
func (b *Outbox) Watch(ctx context.Context) (<-chan struct{}, error) {
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, err
	}
	out, arrived := make(chan struct{}, 1), make(chan struct{}, 1)
	b.mu.Lock()
	b.watched = 0
	b.arrived = append(b.arrived, arrived)
	var once sync.Once
	b.watch = func() {
		if b.ground.inode == b.watched {
			return
		}
		if b.watched != 0 {
			_ = w.Remove(b.dir) // it is gone
		}
		if err := w.Add(b.dir); err != nil {
			once.Do(func() {
				b.o.Log.Info("the spool cannot be watched; what is new is found when it is scanned", "spool", b.dir, "err", err)
			})
			return
		}
		b.watched = b.ground.inode
	}
	b.watch()
	b.mu.Unlock()
	go func() {
		defer close(out)
		b.pass(ctx, w, arrived, out)
		b.mu.Lock()
		defer b.mu.Unlock()
		b.watch, b.arrived = nil, nil
		_ = w.Close() // nothing was written
	}()
	return out, nil
}

// unwatched notes that the folder is watched no more, since it was moved or removed: the
// next Scan that finds it sets the watch anew, though it be the same.
func (b *Outbox) unwatched() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.watched = 0
}

// pass makes hints of events: one at once, and one when what was being written may
// be quiet.
func (b *Outbox) pass(ctx context.Context, w *fsnotify.Watcher, arrived <-chan struct{}, out chan<- struct{}) {
	later := time.NewTimer(time.Hour)
	later.Stop()
	defer later.Stop()
	waiting, itself := false, filepath.Clean(b.dir)
	for {
		now := true
		select {
		case <-ctx.Done():
			return
		case <-later.C:
			waiting = false
			hint(out)
			continue
		case <-arrived:
			now = false // it was scanned just now
		case e := <-w.Events:
			if e.Name == itself && (e.Has(fsnotify.Rename) || e.Has(fsnotify.Remove)) {
				b.unwatched()
			} else if !e.Has(fsnotify.Create) && !e.Has(fsnotify.Write) {
				continue // most often what we took away
			}
		case <-w.Errors: // such as more events than the system keeps
		}
		if !waiting {
			if now {
				hint(out)
			}
			waiting = true
			later.Reset(b.o.Quiet + b.o.Quiet/8)
		}
	}
}
