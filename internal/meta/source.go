package meta

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// longestText is how much of a description is read: more than the
// parser takes, so that it is the parser who says that it is too large.
const longestText = domains.MaxFile + 1

// The kinds of trouble that a look at a description can meet. One of the same
// kind as before is not logged again.
const (
	troubleFile       = "file"       // the file is missing, or cannot be read
	troubleRepository = "repository" // there is none, it is out of reach, or what it says is not Git
	troubleAccess     = "access"     // the repository wants other credentials
	troubleBranch     = "branch"     // the repository has no such branch
	troubleBad        = "bad"        // the description is not good
	troubleDisk       = "disk"       // the last good copy cannot be written
)

func troubleKinds() []string {
	return []string{troubleFile, troubleRepository, troubleAccess, troubleBranch, troubleBad, troubleDisk}
}

// trouble is why a look at a description brought none.
type trouble struct {
	kind string
	err  error
}

// Error implements error.
func (t *trouble) Error() string { return t.err.Error() }

// Unwrap returns the cause.
func (t *trouble) Unwrap() error { return t.err }

func troubled(kind, format string, args ...any) *trouble {
	return &trouble{kind, fmt.Errorf(format, args...)}
}

// content is a description, or settings, as they stand at their place.
type content struct {
	text     []byte            // of a description
	files    map[string][]byte // of settings, by name
	problems config.Problems   // with names in a folder of settings
	commit   string            // that it is of; for a folder without one a digest of the files
	place    string            // where exactly, for people: a file, or one of a commit
}

// sum tells contents from each other. Settings of another commit are another content:
// answers name it.
func (c content) sum() [sha256.Size]byte {
	if c.files == nil {
		return sha256.Sum256(c.text)
	}
	return sumOf(c.commit, c.files)
}

// source is where a description, or settings, stand. It is looked at by one goroutine.
type source interface {
	// look returns what stands there now. An error is a *trouble, or ctx's.
	look(ctx context.Context) (content, error)
	// String names the place for people; it holds no secret.
	String() string
}

// A file that has changed is read until it is twice the same: whoever writes it in
// place may be in the middle, and half a description may be a good one.
const (
	settleTime  = 100 * time.Millisecond
	settleTries = 20
)

// file is a description in a file.
type file struct {
	path  string
	after func(time.Duration) <-chan time.Time

	known []byte // what it held when it was last twice the same
}

// String returns the path.
func (f *file) String() string { return f.path }

func (f *file) look(ctx context.Context) (content, error) {
	// To open what is no file, a pipe for one, could take for ever.
	if info, err := os.Stat(f.path); err == nil && !info.Mode().IsRegular() {
		return content{}, troubled(troubleFile, "the description cannot be read: %s is not a file", f.path)
	}
	last := f.known
	for range settleTries {
		text, err := readFile(f.path)
		if err != nil {
			return content{}, &trouble{troubleFile, err}
		}
		if last != nil && bytes.Equal(text, last) {
			f.known = text
			return content{text: text, place: f.path}, nil
		}
		last = text
		select {
		case <-ctx.Done():
			return content{}, ctx.Err()
		case <-f.after(settleTime):
		}
	}
	return content{}, troubled(troubleFile, "%s is being written all the time: write it elsewhere and rename it", f.path)
}

// readFile reads a file, and no more of it than a description may have.
func readFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("the description cannot be read: %s: %w", path, cause(err))
	}
	defer f.Close() // nothing was written
	text, err := readText(f, longestText)
	if err != nil {
		return nil, fmt.Errorf("the description cannot be read: %s: %w", path, cause(err))
	}
	return text, nil
}

func readText(r io.Reader, most int64) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, most))
	if text == nil {
		text = []byte{}
	}
	return text, err
}

// cause returns what is wrong without the path, which the sentence names already.
func cause(err error) error {
	var path *fs.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}
