package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// The server syncs the file that holds a message before it acknowledges it, but
// when it begins another file it does not sync the folder. ext4, xfs and btrfs
// keep the name of a file that was synced all the same; POSIX does not promise
// it, and where it is not so a power cut takes the whole file, with all that was
// acknowledged in it. So a log syncs its folder itself, when a file has come,
// before it says that a batch is stored. In a cluster it does not: other servers
// have the batch, and the files of the one that leads are not here as a rule.

// keepNames makes the names of all files of the log safe. mu is held.
func (l *Log) keepNames() (err error) {
	l.newest, err = keepNames(l.folder())
	return err
}

// keepNewName does so if the server has begun a file since. It costs one look at
// the folder. mu is held.
//
// The server numbers its files one by one, and what it appends to is the last.
// Only a purge may take that one away, and begin another: see Log.Purge.
func (l *Log) keepNewName() error {
	_, err := os.Lstat(filepath.Join(l.folder(), fmt.Sprintf("%d.blk", l.newest+1)))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return fmt.Errorf("look for a new file: %w", err)
	}
	return l.keepNames()
}

// folder is where the log's files are.
func (l *Log) folder() string { return l.bus.messages(l.name) }

// messages is where the files of a stream are.
func (b *Bus) messages(stream string) string { return filepath.Join(b.streamsDir(), stream, "msgs") }

// keepNames makes the names of a stream's files safe, where they are here and
// nowhere else.
func (b *Bus) keepNames(stream string) error {
	if b.opts.shared() {
		return nil
	}
	_, err := keepNames(b.messages(stream))
	return err
}

// keepNames makes the names of all files in a stream's folder safe, and returns
// the number of the newest, 0 for none.
func keepNames(folder string) (newest int, err error) {
	blocks, _, err := blockFiles(folder)
	if err != nil {
		return 0, fmt.Errorf("look for new files: %w", err)
	}
	if err := syncDir(folder); err != nil {
		return 0, err
	}
	if len(blocks) > 0 {
		newest = blocks[len(blocks)-1]
	}
	return newest, nil
}
