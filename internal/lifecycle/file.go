package lifecycle

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
)

// ReplaceFile has a file with a content, for its owner only, in the place of the one of
// that name. Whenever the process or the machine ends, one of the two is there, whole;
// when it returns without an error it is the new one. It writes NAME.new beside it, and
// one call at a time may be about the same name.
func ReplaceFile(name string, content []byte) error {
	next := name + ".new"
	f, err := os.OpenFile(next, os.O_WRONLY|os.O_CREATE|os.O_TRUNC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return errors.Join(err, os.Remove(next))
	}
	if err := os.Rename(next, name); err != nil {
		return err
	}
	return SyncFolder(filepath.Dir(name))
}

// SyncFolder makes the names in a folder safe from a power cut.
func SyncFolder(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
