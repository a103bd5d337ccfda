package meta

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/plumbing/storer"
)

// shortHash is how many digits name a commit for people.
const shortHash = 10

// readCommit reads one file of a commit.
func readCommit(objects storer.EncodedObjectStorer, commit plumbing.Hash, path, repository string) (content, error) {
	short := commit.String()[:shortHash]
	c, err := object.GetCommit(objects, commit)
	if err != nil {
		return content{}, troubled(troubleRepository, "commit %s of %s cannot be read: %w", short, repository, err)
	}
	tree, err := c.Tree()
	if err != nil {
		return content{}, troubled(troubleRepository, "commit %s of %s cannot be read: %w", short, repository, err)
	}
	entry, err := tree.FindEntry(path)
	if errors.Is(err, object.ErrEntryNotFound) || errors.Is(err, object.ErrDirectoryNotFound) {
		return content{}, troubled(troubleFile, "commit %s of %s has no file %s", short, repository, path)
	}
	if err != nil {
		return content{}, troubled(troubleRepository, "commit %s of %s cannot be read: %w", short, repository, err)
	}
	switch entry.Mode {
	case filemode.Regular, filemode.Executable, filemode.Deprecated:
	case filemode.Symlink:
		return content{}, troubled(troubleFile, "%s in commit %s of %s is a symbolic link: name the file itself", path, short, repository)
	default:
		return content{}, troubled(troubleFile, "%s in commit %s of %s is a folder, not a file", path, short, repository)
	}
	blob, err := object.GetBlob(objects, entry.Hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) {
		// A server that can was asked to leave out what is larger than that.
		return content{}, troubled(troubleFile, "%s in commit %s of %s is not there, or larger than 1 MiB", path, short, repository)
	}
	if err != nil {
		return content{}, troubled(troubleRepository, "commit %s of %s cannot be read: %w", short, repository, err)
	}
	r, err := blob.Reader()
	if err != nil {
		return content{}, troubled(troubleRepository, "commit %s of %s cannot be read: %w", short, repository, err)
	}
	defer r.Close() // nothing was written
	text, err := readText(r)
	if err != nil {
		return content{}, troubled(troubleRepository, "commit %s of %s cannot be read: %w", short, repository, err)
	}
	return content{text, fmt.Sprintf("%s in commit %s", path, short)}, nil
}

// mostBranches is how many branches a sentence names.
const mostBranches = 8

// noBranch says that a branch is not there, and which are.
func noBranch(branch, repository string, have []string) *trouble {
	if len(have) == 0 {
		return troubled(troubleBranch, "%s has no branch yet", repository)
	}
	slices.Sort(have)
	more := ""
	if n := len(have) - mostBranches; n > 0 {
		have, more = have[:mostBranches], fmt.Sprintf(" and %d more", n)
	}
	return troubled(troubleBranch, "%s has no branch %s: it has %s%s", repository, branch, strings.Join(have, ", "), more)
}
