package meta

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"
)

// folder is a plain folder of settings.
type folder struct {
	path  string
	after func(time.Duration) <-chan time.Time

	known string // its digest when it was last twice the same
}

// String returns the path.
func (f *folder) String() string { return f.path }

func (f *folder) look(ctx context.Context) (content, error) {
	last := f.known
	for range settleTries {
		found, err := readFolder(f.path)
		if err != nil {
			return content{}, &trouble{troubleFile, err}
		}
		if last == found.commit {
			f.known = found.commit
			return found, nil
		}
		last = found.commit
		select {
		case <-ctx.Done():
			return content{}, ctx.Err()
		case <-f.after(settleTime):
		}
	}
	return content{}, troubled(troubleFile, "%s is being written all the time: write elsewhere and rename", f.path)
}

// readFolder reads the files of settings in a folder. Nothing outside of it is opened.
func readFolder(path string) (content, error) {
	const message = "the settings cannot be read: %s: %w"
	root, err := os.OpenRoot(path)
	if err != nil {
		return content{}, fmt.Errorf(message, path, cause(err))
	}
	defer root.Close() // nothing was written
	dir, err := root.Open(".")
	if err != nil {
		return content{}, fmt.Errorf(message, path, cause(err))
	}
	entries, err := dir.ReadDir(maxSettingsEntries + 1)
	if err = errors.Join(ignoreEnd(err), dir.Close()); err != nil {
		return content{}, fmt.Errorf(message, path, cause(err))
	}
	if len(entries) > maxSettingsEntries {
		return content{}, fmt.Errorf("the settings cannot be read: %s has more than %d entries", path, maxSettingsEntries)
	}
	in := newShelf()
	for _, entry := range entries {
		kind := entry.Type()
		if kind&fs.ModeSymlink != 0 { // as a mounted ConfigMap has them
			kind = behind(root, entry.Name())
		}
		if !in.wants(entry.Name(), kind.IsDir(), kind.IsRegular()) {
			continue
		}
		text, err := readIn(root, entry.Name())
		if err != nil {
			return content{}, fmt.Errorf(message, path+"/"+entry.Name(), cause(err))
		}
		in.put(entry.Name(), text)
	}
	sum := sumOf(fmt.Sprint(in.problems), in.files)
	return content{files: in.files, problems: in.problems, commit: hex.EncodeToString(sum[:]), place: path}, nil
}

// behind returns what a symbolic link leads to; one that leads nowhere, or out of the
// folder, is left as what it is.
func behind(root *os.Root, name string) fs.FileMode {
	info, err := root.Stat(name)
	if err != nil {
		return fs.ModeSymlink
	}
	return info.Mode().Type()
}

func ignoreEnd(err error) error {
	if errors.Is(err, io.EOF) {
		return nil
	}
	return err
}

func readIn(root *os.Root, name string) ([]byte, error) {
	f, err := root.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close() // nothing was written
	return readText(f, maxSettings+1)
}
