package faultfs

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Rule says what a sync makes safe.
type Rule int

// The rules; see the package's comment.
const (
	Strict Rule = iota
	Journaled
)

func (r Rule) String() string {
	if r == Strict {
		return "strict"
	}
	return "journaled"
}

// Disk is the file system. Its methods may be called from any goroutine. A
// program meets it through Mount.
type Disk struct {
	rule Rule

	mu      sync.Mutex
	root    *node
	nodes   uint64 // that were ever made, which numbers them
	ops     []*op  // not synced, in the order in which they were made
	size    int64  // bytes that fit
	used    int64
	full    bool // takes nothing more
	lies    bool // and says that it has room
	delay   time.Duration
	off     bool
	frozen  chan struct{} // closed when off is set
	removed chan struct{} // closed when those who wait for it are to give up
}

// node is a file or a folder.
type node struct {
	ino  uint64
	dir  bool
	mode uint32 // permissions
	open int    // handles of a file
	name string // for people: its last one
	gone bool   // no entry names it

	content, safe       []byte           // of a file: as it is, and as it was synced
	entries, safeNaming map[string]*node // of a folder, likewise
}

// op is a change that is not synced: one write or truncation of a file, or edits
// of folders that happen together.
type op struct {
	file  *node
	at    int64
	data  []byte
	trunc bool // to the length at

	edits []edit
}

// edit puts an entry into a folder, or removes one if node is nil.
type edit struct {
	dir  *node
	name string
	node *node
}

// New returns an empty disk on which size bytes fit.
func New(rule Rule, size int64) *Disk {
	d := &Disk{rule: rule, size: size, frozen: make(chan struct{}), removed: make(chan struct{})}
	d.root = d.node(true, 0o755)
	return d
}

func (d *Disk) node(dir bool, mode uint32) *node {
	d.nodes++
	n := &node{ino: d.nodes, dir: dir, mode: mode & 0o7777}
	if dir {
		n.entries, n.safeNaming = make(map[string]*node), make(map[string]*node)
	}
	return n
}

// SlowSyncs lets every sync take that much longer. 0 ends it.
func (d *Disk) SlowSyncs(delay time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.delay = delay
}

// Fill lets the disk take nothing more: what would grow it fails with ENOSPC.
// With lies it goes on saying that it has room, as one does whose inodes or
// quota are used up. Room ends it.
func (d *Disk) Fill(lies bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full, d.lies = true, lies
}

// Room ends a Fill.
func (d *Disk) Room() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.full = false
}

// Unsynced describes the changes that are not synced, in their order.
func (d *Disk) Unsynced() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	var list []string
	for _, o := range d.ops {
		list = append(list, o.String())
	}
	return list
}

func (o *op) String() string {
	switch {
	case o.trunc:
		return fmt.Sprintf("%s cut to %d", o.file.name, o.at)
	case o.file != nil:
		return fmt.Sprintf("%s write %d at %d", o.file.name, len(o.data), o.at)
	}
	var parts []string
	for _, e := range o.edits {
		if e.node == nil {
			parts = append(parts, e.dir.name+"/"+e.name+" removed")
		} else {
			parts = append(parts, e.dir.name+"/"+e.name+" made")
		}
	}
	return strings.Join(parts, ", ")
}

// Listing describes what is on the disk: paths and sizes.
func (d *Disk) Listing() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.root.list(nil, "")
}

func (n *node) list(to []string, path string) []string {
	if !n.dir {
		return append(to, fmt.Sprintf("%s %d", path, len(n.content)))
	}
	for _, name := range slices.Sorted(maps.Keys(n.entries)) {
		to = n.entries[name].list(to, path+"/"+name)
	}
	return to
}

// free returns what the disk says is left. mu is held.
func (d *Disk) free() int64 {
	if d.full && !d.lies {
		return 0
	}
	return max(0, d.size-d.used)
}

// enter takes the lock for one call of a program. It fails when the power is
// off, and not before the program was ended or the disk removed, so that
// nobody can act on what he learns.
func (d *Disk) enter() syscall.Errno {
	d.mu.Lock()
	if !d.off {
		return 0
	}
	d.mu.Unlock()
	<-d.removed
	return syscall.EIO
}

// create makes a file or folder in dir. mu is held.
func (d *Disk) create(dir *node, name string, folder bool, mode uint32) (*node, syscall.Errno) {
	switch {
	case dir.entries[name] != nil:
		return nil, syscall.EEXIST
	case dir.gone:
		return nil, syscall.ENOENT
	case d.full:
		return nil, syscall.ENOSPC
	}
	n := d.node(folder, mode)
	n.name = name
	d.change(edit{dir, name, n})
	return n, 0
}

// change edits folders. mu is held.
func (d *Disk) change(edits ...edit) {
	for _, e := range edits {
		e.apply(e.dir.entries)
	}
	d.ops = append(d.ops, &op{edits: edits})
}

func (e edit) apply(entries map[string]*node) {
	if e.node == nil {
		delete(entries, e.name)
		return
	}
	entries[e.name] = e.node
}

// remove takes an entry out of dir. mu is held.
func (d *Disk) remove(dir *node, name string, folder bool) syscall.Errno {
	n := dir.entries[name]
	switch {
	case n == nil:
		return syscall.ENOENT
	case folder && !n.dir:
		return syscall.ENOTDIR
	case !folder && n.dir:
		return syscall.EISDIR
	case len(n.entries) > 0:
		return syscall.ENOTEMPTY
	}
	d.change(edit{dir, name, nil})
	d.drop(n)
	return 0
}

// drop forgets a node that no entry names, and gives its room back. mu is held.
func (d *Disk) drop(n *node) {
	n.gone = true
	if n.open == 0 {
		d.used -= int64(len(n.content))
		n.content = nil
	}
}

// rename moves an entry, over one that is there. mu is held.
func (d *Disk) rename(from *node, name string, to *node, newName string) syscall.Errno {
	n, old := from.entries[name], to.entries[newName]
	switch {
	case n == nil:
		return syscall.ENOENT
	case n == old:
		return 0
	case old != nil && old.dir && !n.dir:
		return syscall.EISDIR
	case old != nil && !old.dir && n.dir:
		return syscall.ENOTDIR
	case old != nil && len(old.entries) > 0:
		return syscall.ENOTEMPTY
	}
	d.change(edit{from, name, nil}, edit{to, newName, n})
	n.name = newName
	if old != nil {
		d.drop(old)
	}
	return 0
}

// write puts data into a file. mu is held.
func (d *Disk) write(n *node, data []byte, at int64) syscall.Errno {
	if grow := at + int64(len(data)) - int64(len(n.content)); grow > 0 {
		if d.full || d.used+grow > d.size {
			return syscall.ENOSPC
		}
		d.used += grow
	}
	o := &op{file: n, at: at, data: slices.Clone(data)}
	n.content = o.apply(n.content)
	if !n.gone {
		d.ops = append(d.ops, o)
	}
	return 0
}

// truncate gives a file a length. mu is held.
func (d *Disk) truncate(n *node, length int64) syscall.Errno {
	grow := length - int64(len(n.content))
	if grow > 0 && (d.full || d.used+grow > d.size) {
		return syscall.ENOSPC
	}
	d.used += grow
	o := &op{file: n, at: length, trunc: true}
	n.content = o.apply(n.content)
	if !n.gone {
		d.ops = append(d.ops, o)
	}
	return 0
}

// apply makes a write or a truncation.
func (o *op) apply(content []byte) []byte {
	end := o.at + int64(len(o.data))
	if grow := end - int64(len(content)); grow > 0 {
		content = append(content, make([]byte, grow)...)
	}
	if o.trunc {
		return content[:o.at]
	}
	copy(content[o.at:], o.data)
	return content
}

// sync is fsync of a file or a folder.
func (d *Disk) sync(n *node) syscall.Errno {
	if errno := d.enter(); errno != 0 {
		return errno
	}
	delay := d.delay
	d.mu.Unlock()
	if delay > 0 {
		late := time.NewTimer(delay)
		defer late.Stop()
		select {
		case <-late.C:
		case <-d.frozen:
		}
	}
	if errno := d.enter(); errno != 0 {
		return errno
	}
	defer d.mu.Unlock()
	d.settle(n)
	return 0
}

// settle makes a node safe as the rule says. mu is held.
func (d *Disk) settle(n *node) {
	named := map[*node]bool{n: true} // whose names are made safe
	chosen := make([]bool, len(d.ops))
	for grown := true; grown; {
		grown = false
		last := make(map[*node]int) // by folder, the last of its edits that is chosen
		for i := len(d.ops) - 1; i >= 0; i-- {
			o := d.ops[i]
			if !chosen[i] && (o.file == n || slices.ContainsFunc(o.edits, func(e edit) bool { return d.settles(n, named, e) || last[e.dir] > 0 })) {
				chosen[i], grown = true, true
			}
			for _, e := range o.edits {
				if chosen[i] {
					// One folder's edits are made safe in their order, and
					// what happened together stays so.
					last[e.dir] = max(last[e.dir], i+1)
					named[e.dir] = true
				}
			}
		}
	}
	rest := d.ops[:0]
	for i, o := range d.ops {
		if chosen[i] {
			o.keep()
		} else {
			rest = append(rest, o)
		}
	}
	clear(d.ops[len(rest):])
	d.ops = rest
}

// settles says whether a sync of n makes an edit safe.
func (d *Disk) settles(n *node, named map[*node]bool, e edit) bool {
	return e.dir == n || d.rule == Journaled && named[e.node]
}

// keep makes an op safe.
func (o *op) keep() {
	if o.file != nil {
		o.file.safe = o.apply(o.file.safe)
	}
	for _, e := range o.edits {
		e.apply(e.dir.safeNaming)
	}
}
