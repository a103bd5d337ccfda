package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

// folder is an open folder. Its calls are relative to the descriptor and take
// plain names, so that they stay in it whatever happens to the path.
type folder struct {
	path string // for people
	f    *os.File
}

func openFolder(path string) (*folder, error) {
	fd, err := again(func() (int, error) {
		return unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	return &folder{path: path, f: os.NewFile(uintptr(fd), path)}, nil
}

// inner opens a folder in this one. It follows no link: what is ours lies in the spool,
// whatever another who may write there puts in its place.
func (d *folder) inner(name string) (*folder, error) {
	fd, err := again(func() (int, error) {
		return unix.Openat(d.fd(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	path := filepath.Join(d.path, name)
	return &folder{path: path, f: os.NewFile(uintptr(fd), path)}, nil
}

func (d *folder) close() error { return d.f.Close() }

func (d *folder) fd() int { return int(d.f.Fd()) }

// fail names the file in an error.
func (d *folder) fail(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: filepath.Join(d.path, name), Err: err}
}

// open opens a file, with O_CREAT for all who may by the umask. It follows no
// link and does not wait for the other end of a pipe.
func (d *folder) open(name string, flags int) (*os.File, error) {
	fd, err := again(func() (int, error) {
		return unix.Openat(d.fd(), name, flags|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o666)
	})
	if err != nil {
		return nil, d.fail("open", name, err)
	}
	return os.NewFile(uintptr(fd), filepath.Join(d.path, name)), nil
}

// stat looks at an entry, and not at where a link leads.
func (d *folder) stat(name string) (unix.Stat_t, error) {
	var st unix.Stat_t
	_, err := again(func() (int, error) {
		return 0, unix.Fstatat(d.fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW)
	})
	return st, d.fail("stat", name, err)
}

func (d *folder) remove(name string) error {
	return d.fail("remove", name, unix.Unlinkat(d.fd(), name, 0))
}

func (d *folder) removeFolder(name string) error {
	return d.fail("remove", name, unix.Unlinkat(d.fd(), name, unix.AT_REMOVEDIR))
}

func (d *folder) makeFolder(name string, mode uint32) error {
	return d.fail("make", name, unix.Mkdirat(d.fd(), name, mode))
}

// sync makes the entries safe.
func (d *folder) sync() error { return d.f.Sync() }

// move gives an entry a name in another folder, unless something there has it:
// then it fails with fs.ErrExist.
func (d *folder) move(name string, to *folder, newName string) error {
	err := renameAside(d.fd(), name, to.fd(), newName)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) || errors.Is(err, unix.ENOTSUP) {
		err = d.moveByLink(name, to, newName)
	}
	return d.fail("move", name, err)
}

// moveByLink is move on a file system that cannot rename without overwriting.
func (d *folder) moveByLink(name string, to *folder, newName string) error {
	err := unix.Linkat(d.fd(), name, to.fd(), newName, 0)
	if err == nil {
		return unix.Unlinkat(d.fd(), name, 0)
	}
	if !errors.Is(err, unix.EPERM) && !errors.Is(err, unix.ENOSYS) && !errors.Is(err, unix.ENOTSUP) {
		return err
	}
	if _, err := to.stat(newName); err == nil {
		return unix.EEXIST
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return unix.Renameat(d.fd(), name, to.fd(), newName)
}

// replace gives an entry a name in the same folder, over one that is there.
func (d *folder) replace(name, newName string) error {
	return d.fail("rename", name, unix.Renameat(d.fd(), name, d.fd(), newName))
}

// portion is how many names are read at once.
const portion = 1024

// each calls do with every name, in no order, holding a portion of them only.
func (d *folder) each(do func(name string) error) error {
	fd, err := again(func() (int, error) {
		return unix.Openat(d.fd(), ".", unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	})
	if err != nil {
		return d.fail("open", "", err)
	}
	f := os.NewFile(uintptr(fd), d.path)
	defer f.Close() // it was read
	for {
		names, err := f.Readdirnames(portion)
		for _, name := range names {
			if err := do(name); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// write writes a small file whole, syncs it, and gives it its name, over the one
// that is there.
func (d *folder) write(name string, content []byte) error {
	f, err := d.open(name+".new", unix.O_WRONLY|unix.O_CREAT|unix.O_TRUNC)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = d.replace(name+".new", name)
	}
	if err != nil {
		return err
	}
	return d.sync()
}

// written says whether somebody has a file open for writing, as far as can be told;
// see hold. It ends at once: one who opens the file for writing waits for it.
func written(f *os.File) bool {
	if hold(f) {
		return true
	}
	release(f)
	return false
}

func regular(st *unix.Stat_t) bool { return st.Mode&unix.S_IFMT == unix.S_IFREG }

// again calls do until no signal interrupts it.
func again(do func() (int, error)) (int, error) {
	for {
		n, err := do()
		if !errors.Is(err, unix.EINTR) {
			return n, err
		}
	}
}

// endless stands for a room that the file system does not tell of, or does not bound.
const endless = 1 << 60

// free returns the bytes that an unprivileged process may still write, and the files
// that may still be made.
func (d *folder) free() (bytes, files int64, err error) {
	var st unix.Statfs_t
	_, err = again(func() (int, error) { return 0, unix.Fstatfs(d.fd(), &st) })
	if err != nil {
		return 0, 0, fmt.Errorf("ask for the room on the disk of %s: %w", d.path, err)
	}
	bytes, files = endless, endless
	if st.Blocks > 0 {
		bytes = int64(st.Bavail) * int64(st.Bsize)
	}
	if st.Files > 0 {
		files = int64(st.Ffree)
	}
	return bytes, files, nil
}
