// Package lifecycle holds what a process needs to begin and end in order: the
// lock that keeps a second process off its data folder, and files that are whole
// whenever it ends.
package lifecycle

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"github.com/gofrs/flock"
)

// lockName is the lock's file in the data folder. It holds the owner's process
// ID, and stays when the process ends: the lock is the kernel's, not the file's.
const lockName = "switchboard.lock"

// InUseError says that another process holds the lock of a folder.
type InUseError struct {
	Folder string
	Holder string // "process 123"
}

func (e *InUseError) Error() string {
	return fmt.Sprintf("the data folder %s is in use by %s: stop it, or give --data another folder", e.Folder, e.Holder)
}

// LockFolder makes dir if there is none, for its owner only, and locks it
// against other processes on this machine until release is called or the
// process ends. When another process holds it, the error is an *InUseError, which
// names it.
func LockFolder(dir string) (release func() error, err error) {
	if err := MakeFolder(dir, 0o700); err != nil {
		return nil, fmt.Errorf("make the data folder: %w", err)
	}
	path := filepath.Join(dir, lockName)
	lock := flock.New(path, flock.SetPermissions(0o600), flock.SetFlag(os.O_CREATE|os.O_RDONLY|syscall.O_NOFOLLOW))
	locked, err := lock.TryLock()
	if err != nil {
		return nil, fmt.Errorf("lock the data folder %s: %w", dir, err)
	}
	if !locked {
		return nil, &InUseError{Folder: dir, Holder: holder(path)}
	}
	if err := note(path, os.Getpid()); err != nil {
		return nil, errors.Join(fmt.Errorf("write the lock of the data folder: %w", err), lock.Unlock())
	}
	return lock.Unlock, nil
}

// note writes who has a lock into its file, and through no link.
func note(path string, process int) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_TRUNC|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(f, "%d\n", process)
	return errors.Join(err, f.Close())
}

// MakeFolder makes dir, and the folders that it lies in, so that a power cut does
// not take them away: whatever is synced in a folder is lost with the folder's
// name, which is an entry of the one above.
func MakeFolder(dir string, mode fs.FileMode) error {
	above := []string{filepath.Dir(dir)}
	for top := dir; ; top = filepath.Dir(top) {
		if _, err := os.Stat(top); err == nil || top == filepath.Dir(top) {
			break
		}
		above = append(above, filepath.Dir(top))
	}
	if err := os.MkdirAll(dir, mode); err != nil {
		return err
	}
	for _, folder := range above {
		// A folder that was there before may lie in one that is not ours to
		// read; a process that was killed may have made it a moment ago.
		if err := SyncFolder(folder); err != nil && len(above) > 1 {
			return err
		}
	}
	return nil
}

// holder says who has the lock, for a sentence.
func holder(path string) string {
	b, err := os.ReadFile(path)
	if err == nil {
		if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil {
			return fmt.Sprintf("process %d", pid)
		}
	}
	return "another process"
}
