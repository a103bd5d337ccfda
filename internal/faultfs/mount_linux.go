package faultfs

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// Mount makes the disk the file system at dir, until the returned function is
// called; then the calls of programs that still use it fail, and it is taken
// away even if they hold files open. It needs /dev/fuse and the right to mount.
//
// The program that mounts must not use files below dir itself: it would wait for
// its own answer.
func (d *Disk) Mount(dir string) (unmount func() error, err error) {
	cache := time.Minute // nobody but the mount's users changes anything
	server, err := fs.Mount(dir, &inode{disk: d, node: d.root}, &fs.Options{
		MountOptions: fuse.MountOptions{
			DirectMountStrict: true, FsName: "faultfs", Name: "faultfs", DisableXAttrs: true,
			Options: []string{"default_permissions"},
		},
		EntryTimeout: &cache, AttrTimeout: &cache, NullPermissions: true,
		RootStableAttr: &fs.StableAttr{Ino: d.root.ino},
	})
	if err != nil {
		return nil, fmt.Errorf("mount a file system by FUSE at %s: %w", dir, err)
	}
	if err := keepToItself(); err != nil {
		return nil, err
	}
	return func() error {
		d.Remove()
		if err := unix.Unmount(dir, unix.MNT_DETACH); err != nil {
			return fmt.Errorf("unmount %s: %w", dir, err)
		}
		server.Wait()
		return nil
	}, nil
}

// keepToItself closes the descriptors by which this process serves file systems
// to programs that it starts. go-fuse does not: a program on the disk would keep
// its own disk alive when this process is killed, and wait for it for ever.
func keepToItself() error {
	const own = "/proc/self/fd"
	entries, err := os.ReadDir(own)
	if err != nil {
		return fmt.Errorf("look for the descriptor of FUSE: %w", err)
	}
	for _, e := range entries {
		target, err := os.Readlink(filepath.Join(own, e.Name()))
		if err != nil || target != "/dev/fuse" { // it may be closed by now
			continue
		}
		if fd, err := strconv.Atoi(e.Name()); err == nil {
			unix.CloseOnExec(fd)
		}
	}
	return nil
}

// inode is a node as FUSE sees it.
type inode struct {
	fs.Inode
	disk *Disk
	node *node
}

// handle is a file that was opened.
type handle struct{ sync bool } // after every write

var _ interface {
	fs.NodeStatfser
	fs.NodeGetattrer
	fs.NodeSetattrer
	fs.NodeLookuper
	fs.NodeReaddirer
	fs.NodeCreater
	fs.NodeMkdirer
	fs.NodeUnlinker
	fs.NodeRmdirer
	fs.NodeRenamer
	fs.NodeOpener
	fs.NodeReader
	fs.NodeWriter
	fs.NodeFsyncer
	fs.NodeReleaser
} = (*inode)(nil)

// child returns the FUSE inode of a node in this folder, and its attributes.
// The disk's lock is held.
func (i *inode) child(ctx context.Context, n *node, out *fuse.EntryOut) *fs.Inode {
	n.attributes(&out.Attr)
	return i.NewInode(ctx, &inode{disk: i.disk, node: n}, fs.StableAttr{Mode: out.Mode & syscall.S_IFMT, Ino: n.ino})
}

func (n *node) attributes(a *fuse.Attr) {
	kind := uint32(syscall.S_IFREG)
	if n.dir {
		kind = syscall.S_IFDIR
	}
	a.Ino, a.Mode, a.Nlink = n.ino, kind|n.mode, 1
	a.Size, a.Blksize = uint64(len(n.content)), page
	a.Blocks = (a.Size + 511) / 512
}

func (i *inode) Statfs(_ context.Context, out *fuse.StatfsOut) syscall.Errno {
	d := i.disk
	if errno := d.enter(); errno != 0 {
		return errno
	}
	defer d.mu.Unlock()
	out.Bsize, out.Frsize, out.NameLen = page, page, 255
	out.Blocks, out.Bfree = uint64(d.size/page), uint64(d.free()/page)
	out.Bavail = out.Bfree
	out.Files, out.Ffree = 1<<20, 1<<20
	return 0
}

func (i *inode) Getattr(_ context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	if errno := i.disk.enter(); errno != 0 {
		return errno
	}
	defer i.disk.mu.Unlock()
	i.node.attributes(&out.Attr)
	return 0
}

func (i *inode) Setattr(_ context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if errno := i.disk.enter(); errno != 0 {
		return errno
	}
	defer i.disk.mu.Unlock()
	if size, ok := in.GetSize(); ok {
		if errno := i.disk.truncate(i.node, int64(size)); errno != 0 {
			return errno
		}
	}
	if mode, ok := in.GetMode(); ok {
		i.node.mode = mode & 0o7777
	}
	i.node.attributes(&out.Attr)
	return 0
}

func (i *inode) Lookup(ctx context.Context, name string, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := i.disk.enter(); errno != 0 {
		return nil, errno
	}
	defer i.disk.mu.Unlock()
	n := i.node.entries[name]
	if n == nil {
		return nil, syscall.ENOENT
	}
	return i.child(ctx, n, out), 0
}

func (i *inode) Readdir(context.Context) (fs.DirStream, syscall.Errno) {
	if errno := i.disk.enter(); errno != 0 {
		return nil, errno
	}
	defer i.disk.mu.Unlock()
	var list []fuse.DirEntry
	for name, n := range i.node.entries {
		var a fuse.Attr
		n.attributes(&a)
		list = append(list, fuse.DirEntry{Name: name, Mode: a.Mode & syscall.S_IFMT, Ino: n.ino})
	}
	return fs.NewListDirStream(list), 0
}

func (i *inode) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if errno := i.disk.enter(); errno != 0 {
		return nil, errno
	}
	defer i.disk.mu.Unlock()
	n, errno := i.disk.create(i.node, name, true, mode)
	if errno != 0 {
		return nil, errno
	}
	return i.child(ctx, n, out), 0
}

func (i *inode) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	if errno := i.disk.enter(); errno != 0 {
		return nil, nil, 0, errno
	}
	defer i.disk.mu.Unlock()
	n, errno := i.disk.create(i.node, name, false, mode)
	if errno != 0 {
		return nil, nil, 0, errno
	}
	n.open++
	return i.child(ctx, n, out), newHandle(flags), 0, 0
}

func newHandle(flags uint32) *handle {
	return &handle{sync: flags&(syscall.O_SYNC|syscall.O_DSYNC) != 0}
}

func (i *inode) Unlink(_ context.Context, name string) syscall.Errno {
	return i.unlink(name, false)
}

func (i *inode) Rmdir(_ context.Context, name string) syscall.Errno {
	return i.unlink(name, true)
}

func (i *inode) unlink(name string, folder bool) syscall.Errno {
	if errno := i.disk.enter(); errno != 0 {
		return errno
	}
	defer i.disk.mu.Unlock()
	return i.disk.remove(i.node, name, folder)
}

func (i *inode) Rename(_ context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	if flags&^unix.RENAME_NOREPLACE != 0 {
		return syscall.EINVAL
	}
	if errno := i.disk.enter(); errno != 0 {
		return errno
	}
	defer i.disk.mu.Unlock()
	if flags != 0 && to.(*inode).node.entries[newName] != nil {
		return syscall.EEXIST
	}
	return i.disk.rename(i.node, name, to.(*inode).node, newName)
}

func (i *inode) Open(_ context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	if errno := i.disk.enter(); errno != 0 {
		return nil, 0, errno
	}
	defer i.disk.mu.Unlock()
	i.node.open++
	return newHandle(flags), fuse.FOPEN_KEEP_CACHE, 0
}

func (i *inode) Read(_ context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	if errno := i.disk.enter(); errno != 0 {
		return nil, errno
	}
	defer i.disk.mu.Unlock()
	content := i.node.content
	return fuse.ReadResultData(dest[:copy(dest, content[min(off, int64(len(content))):])]), 0
}

func (i *inode) Write(_ context.Context, f fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	if errno := i.disk.enter(); errno != 0 {
		return 0, errno
	}
	errno := i.disk.write(i.node, data, off)
	i.disk.mu.Unlock()
	if h, ok := f.(*handle); errno == 0 && ok && h.sync {
		errno = i.disk.sync(i.node)
	}
	if errno != 0 {
		return 0, errno
	}
	return uint32(len(data)), 0
}

func (i *inode) Fsync(context.Context, fs.FileHandle, uint32) syscall.Errno {
	return i.disk.sync(i.node)
}

func (i *inode) Release(context.Context, fs.FileHandle) syscall.Errno {
	d := i.disk
	d.mu.Lock()
	defer d.mu.Unlock()
	if i.node.open--; i.node.gone {
		d.drop(i.node)
	}
	return 0
}
