package spool

import (
	"cmp"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// ownFolder is ours in every spool.
const ownFolder = ".switchboard"

// Errors of both sides.
var (
	// ErrGone says that the folder cannot be used: it was removed, or nothing
	// can be written there. It is used again once it is back.
	ErrGone = errors.New("the spool cannot be used")
	// ErrFull says that there is no room: on the disk, by a quota, or by a limit.
	// The error that wraps it says by which.
	ErrFull = errors.New("the spool is full")
)

// home is the open spool of one side, and what is its own in it. It is for the
// folder as it was when it was opened: see stands.
type home struct {
	spool   *folder
	own     *folder // .switchboard/<role>
	work    *folder // in own, or own: files that are on their way in or out
	release func() error
	let     atomic.Bool // the lock was given back: another may have taken it
	device  uint64
	inode   uint64 // of work
}

// openHome makes and opens a spool, with a folder for work (own, if its name is
// empty), and locks it for a role.
// An ID that is kept there is read; else it keeps the one that it is given, or a new
// one.
func openHome(dir, role, work, id string) (*home, string, error) {
	for _, folder := range []string{dir, filepath.Join(dir, ownFolder)} { // each one's name is made safe
		if err := lifecycle.MakeFolder(folder, 0o777); err != nil {
			return nil, "", fmt.Errorf("make the spool: %w", err)
		}
	}
	own := filepath.Join(dir, ownFolder, role)
	for _, folder := range []string{filepath.Join(dir, ownFolder), own, filepath.Join(own, work)} {
		if about, err := os.Lstat(folder); err == nil && !about.IsDir() { // before anything is written there
			return nil, "", fmt.Errorf("%s is not a folder, and no link to one is followed there: take it away", folder)
		}
	}
	release, err := lifecycle.LockFolder(own)
	if used := (*lifecycle.InUseError)(nil); errors.As(err, &used) {
		return nil, "", fmt.Errorf("the spool %s has its %s already, %s: stop it, or use another folder", dir, role, used.Holder)
	}
	if err != nil {
		return nil, "", fmt.Errorf("lock the spool %s: %w", dir, err)
	}
	h := &home{release: release}
	if id, err = h.open(dir, role, work, id); err != nil {
		return nil, "", errors.Join(err, h.close())
	}
	return h, id, nil
}

func (h *home) open(dir, role, work, id string) (_ string, err error) {
	if h.spool, err = openFolder(dir); err != nil {
		return "", fmt.Errorf("open the spool: %w", err)
	}
	ours, err := h.spool.inner(ownFolder)
	if err != nil {
		return "", fmt.Errorf("open the spool: %w", err)
	}
	defer ours.close() // it was read
	if h.own, err = ours.inner(role); err != nil {
		return "", fmt.Errorf("open the spool: %w", err)
	}
	if err := h.own.makeFolder(cmp.Or(work, "."), 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return "", fmt.Errorf("open the spool: %w", err)
	}
	if h.work, err = h.own.inner(cmp.Or(work, ".")); err != nil {
		return "", fmt.Errorf("open the spool: %w", err)
	}
	st, err := h.work.stat(".")
	if err != nil {
		return "", fmt.Errorf("open the spool: %w", err)
	}
	h.device, h.inode = uint64(st.Dev), st.Ino
	if id, err = h.identity(id); err != nil {
		return "", fmt.Errorf("read the ID of the spool %s: %w", dir, err)
	}
	return id, errors.Join(h.own.sync(), h.spool.sync())
}

// idName is the file that holds the ID.
const idName = "id"

// identity returns the ID that is kept, or keeps one.
func (h *home) identity(id string) (string, error) {
	f, err := h.own.open(idName, unix.O_RDONLY)
	if err == nil {
		var b []byte
		b, err = io.ReadAll(io.LimitReader(f, 256))
		err = errors.Join(err, f.Close())
		if kept := strings.TrimSpace(string(b)); err == nil && kept != "" {
			return kept, nil
		}
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if id == "" {
		var b [16]byte
		_, _ = rand.Read(b[:]) // it never fails
		id = hex.EncodeToString(b[:])
	}
	return id, h.own.write(idName, []byte(id+"\n"))
}

// stands says whether the path still leads to this home. One whose lock was given back
// does not stand again, though it be the same folder.
func (h *home) stands() bool {
	if h.let.Load() {
		return false
	}
	var st unix.Stat_t
	_, err := again(func() (int, error) { return 0, unix.Stat(h.work.path, &st) })
	return err == nil && uint64(st.Dev) == h.device && st.Ino == h.inode
}

// returned fails with ErrGone unless a folder that can be this home's next is
// where it was, and gives this one's lock back then. A path that leads to another file system now is most likely what
// lies below a disk that is not mounted, and is taken only with our ID in it.
func (h *home) returned(id string) error {
	var st unix.Stat_t
	if _, err := again(func() (int, error) { return 0, unix.Stat(h.spool.path, &st) }); err != nil {
		return gone(h.spool.path, err)
	}
	if uint64(st.Dev) == h.device {
		h.let.Store(true)
		return h.release() // what is ours may be there, without the folder for work
	}
	b, err := os.ReadFile(filepath.Join(h.own.path, idName))
	if err != nil || strings.TrimSpace(string(b)) != id {
		return fmt.Errorf("%w: %s lies on another file system than before: mount what was there, or start again", ErrGone, h.spool.path)
	}
	h.let.Store(true)
	return h.release()
}

func (h *home) close() error {
	var errs []error
	for _, d := range []*folder{h.spool, h.own, h.work} {
		if d != nil {
			errs = append(errs, d.close())
		}
	}
	return errors.Join(append(errs, h.release())...)
}

// gone says what became of a folder.
func gone(path string, err error) error {
	return fmt.Errorf("%w: %s: %w", ErrGone, path, err)
}

// told gives an error of the system the kind that callers know.
func told(path string, err error) error {
	switch {
	case err == nil || errors.Is(err, ErrFull) || errors.Is(err, ErrGone):
		return err
	case errors.Is(err, syscall.ENOSPC):
		return fmt.Errorf("%w: the disk of %s has no room: %w", ErrFull, path, err)
	case errors.Is(err, syscall.EDQUOT):
		return fmt.Errorf("%w: the quota on %s is used up: %w", ErrFull, path, err)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ESTALE), errors.Is(err, syscall.ENOTDIR),
		errors.Is(err, fs.ErrPermission), errors.Is(err, syscall.EROFS):
		return gone(path, err)
	}
	return err
}
