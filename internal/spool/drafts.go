package spool

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"
)

// Drafts is the side of a spool that makes files bit by bit: they lie beside the
// folder, by the names that they will have, until they are complete. Its methods may
// be called from any goroutine, for one draft by one at a time.
type Drafts struct {
	dir string
	id  string

	mu     sync.Mutex
	ground *home
}

// OpenDrafts makes dir if there is none and opens it for making files. It fails when
// another process makes files there; the error names it.
func OpenDrafts(dir string) (*Drafts, error) {
	h, id, err := openHome(dir, "maker", "", "")
	if err != nil {
		return nil, err
	}
	return &Drafts{dir: dir, id: id, ground: h}, nil
}

// ID names the spool: random, made once, kept in it.
func (d *Drafts) ID() string { return d.id }

// Close gives the spool back. The drafts stay.
func (d *Drafts) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.ground.close()
}

// settled returns the ground that is there now, that of a folder which came back
// included. mu is held.
func (d *Drafts) settled() (*home, error) {
	if d.ground.stands() {
		return d.ground, nil
	}
	if err := d.ground.returned(d.id); err != nil {
		return nil, err
	}
	h, _, err := openHome(d.dir, "maker", "", d.id)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrGone, err)
	}
	_ = d.ground.close() // it was removed, and nobody can put it right
	d.ground = h
	return h, nil
}

// Names returns what drafts there are, sorted.
func (d *Drafts) Names() ([]string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	h, err := d.settled()
	if err != nil {
		return nil, err
	}
	var names []string
	err = h.own.each(func(name string) error {
		if st, err := h.own.stat(name); err == nil && regular(&st) && CheckName(name) == nil && !slices.Contains([]string{idName, idName + ".new", "switchboard.lock"}, name) {
			names = append(names, name)
		}
		return nil
	})
	slices.Sort(names)
	return names, told(d.dir, err)
}

// Draft is a file that is being made of records, which end with a newline.
type Draft struct {
	Name string

	d      *Drafts
	ground *home // that it lies in
	f      *os.File
	size   int64 // that is synced
}

// Open begins a draft, or goes on with one; the half of a record at its end, which a
// process that was killed left there, is cut off.
func (d *Drafts) Open(name string) (*Draft, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	h, err := d.settled()
	if err != nil {
		return nil, err
	}
	f, err := h.own.open(name, unix.O_RDWR|unix.O_CREAT)
	if err != nil {
		return nil, told(d.dir, err)
	}
	t := &Draft{Name: name, d: d, ground: h, f: f}
	if t.size, err = wholeRecords(f); err == nil {
		err = errors.Join(f.Truncate(t.size), f.Sync(), h.own.sync())
	}
	if err != nil {
		return nil, told(d.dir, errors.Join(err, f.Close()))
	}
	return t, nil
}

// wholeRecords returns where the last newline of a file ends.
func wholeRecords(f *os.File) (int64, error) {
	end, err := f.Seek(0, io.SeekEnd)
	block := make([]byte, 64<<10)
	for err == nil && end > 0 {
		b := block[:min(end, int64(len(block)))]
		if _, err = f.ReadAt(b, end-int64(len(b))); err != nil {
			break
		}
		if at := bytes.LastIndexByte(b, '\n'); at >= 0 {
			return end - int64(len(b)) + int64(at) + 1, nil
		}
		end -= int64(len(b))
	}
	return 0, err
}

// Size is how many bytes of it are safe.
func (t *Draft) Size() int64 { return t.size }

// Append adds whole records and syncs them. When it fails nothing was added. It fails
// with ErrFull or ErrGone where that is the reason; a draft that is gone is of no more
// use.
func (t *Draft) Append(records []byte) error {
	_, err := t.f.WriteAt(records, t.size)
	if err == nil {
		err = t.f.Sync()
	}
	if err == nil && !t.ground.stands() {
		return gone(t.d.dir, fs.ErrNotExist)
	}
	if err != nil {
		// What is behind the size is overwritten by the next, and cut off at the end.
		return told(t.d.dir, errors.Join(err, t.f.Truncate(t.size)))
	}
	t.size += int64(len(records))
	return nil
}

// Close leaves the draft where it is.
func (t *Draft) Close() error { return t.f.Close() }

// Publish gives the draft its name in the folder, or, if that is taken, one beside
// it, and returns that. A draft without records is removed, and the name is empty.
// After an error it is still there, and closed only if it is gone.
func (t *Draft) Publish() (name string, err error) {
	if !t.ground.stands() {
		_ = t.f.Close() // there is nothing to be kept
		return "", gone(t.d.dir, fs.ErrNotExist)
	}
	own, spool := t.ground.own, t.ground.spool
	if t.size == 0 {
		err = own.remove(t.Name)
	} else {
		err = errors.Join(t.f.Truncate(t.size), t.f.Sync())
		if err == nil {
			name, err = t.place(spool)
		}
	}
	if err == nil {
		err = errors.Join(spool.sync(), own.sync())
	}
	if err != nil {
		return "", told(t.d.dir, err)
	}
	return name, t.f.Close()
}

// place moves the draft to a name that is free.
func (t *Draft) place(to *folder) (string, error) {
	err := t.ground.own.move(t.Name, to, t.Name)
	if !errors.Is(err, fs.ErrExist) {
		return t.Name, err
	}
	hash := sha256.New()
	if _, err := io.Copy(hash, io.NewSectionReader(t.f, 0, t.size)); err != nil {
		return "", err
	}
	digest := Digest(hash.Sum(nil))
	names := candidates(t.Name, digest)[1:]
	for n := 2; ; n++ {
		for _, name := range names {
			if err := t.ground.own.move(t.Name, to, name); !errors.Is(err, fs.ErrExist) {
				return name, err
			}
		}
		// The same records, in the same slice, once more: they are more records.
		names = []string{beside(t.Name, hex.EncodeToString(digest[:4])+"-"+strconv.Itoa(n), 0)}
	}
}
