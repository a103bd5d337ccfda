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

// reading reads of a commit what is wanted. where names the commit and the repository.
type reading func(root *object.Tree, where string) (content, error)

// readCommit reads a commit.
func readCommit(objects storer.EncodedObjectStorer, commit plumbing.Hash, read reading, repository string) (content, error) {
	short := commit.String()[:shortHash]
	where := fmt.Sprintf("commit %s of %s", short, repository)
	c, err := object.GetCommit(objects, commit)
	if err != nil {
		return content{}, unreadable(where, err)
	}
	tree, err := c.Tree()
	if err != nil {
		return content{}, unreadable(where, err)
	}
	found, err := read(tree, where)
	if err != nil {
		return content{}, err
	}
	found.commit = commit.String()
	found.place += "commit " + short
	return found, nil
}

func unreadable(where string, err error) *trouble {
	return troubled(troubleRepository, "%s cannot be read: %w", where, err)
}

// oneFile reads a description.
func oneFile(path string) reading {
	return func(root *object.Tree, where string) (content, error) {
		entry, err := root.FindEntry(path)
		if errors.Is(err, object.ErrEntryNotFound) || errors.Is(err, object.ErrDirectoryNotFound) {
			return content{}, troubled(troubleFile, "%s has no file %s", where, path)
		}
		if err != nil {
			return content{}, unreadable(where, err)
		}
		switch entry.Mode {
		case filemode.Regular, filemode.Executable, filemode.Deprecated:
		case filemode.Symlink:
			return content{}, troubled(troubleFile, "%s in %s is a symbolic link: name the file itself", path, where)
		default:
			return content{}, troubled(troubleFile, "%s in %s is a folder, not a file", path, where)
		}
		f, err := root.TreeEntryFile(entry)
		if errors.Is(err, plumbing.ErrObjectNotFound) {
			// A server that can was asked to leave out what is larger than that.
			return content{}, troubled(troubleFile, "%s in %s is not there, or larger than 1 MiB", path, where)
		}
		if err != nil {
			return content{}, unreadable(where, err)
		}
		text, err := blobText(f, longestText)
		if err != nil {
			return content{}, unreadable(where, err)
		}
		return content{text: text, place: path + " in "}, nil
	}
}

// blobText reads a file of a commit, and no more of it than that.
func blobText(f *object.File, most int64) ([]byte, error) {
	r, err := f.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close() // nothing was written
	return readText(r, most)
}

// settingsFolder reads the files of settings in a folder, "." for the whole tree.
func settingsFolder(path string) reading {
	return func(root *object.Tree, where string) (content, error) {
		tree := root
		if path != "." {
			entry, err := root.FindEntry(path)
			switch {
			case errors.Is(err, object.ErrEntryNotFound) || errors.Is(err, object.ErrDirectoryNotFound):
				return content{}, troubled(troubleFile, "%s has no folder %s", where, path)
			case err != nil:
				return content{}, unreadable(where, err)
			case entry.Mode != filemode.Dir:
				return content{}, troubled(troubleFile, "%s in %s is no folder", path, where)
			}
			if tree, err = root.Tree(path); err != nil {
				return content{}, unreadable(where, err)
			}
		}
		in := newShelf()
		for _, entry := range tree.Entries {
			if !in.wants(entry.Name, entry.Mode == filemode.Dir || entry.Mode == filemode.Submodule, entry.Mode.IsRegular() || entry.Mode == filemode.Executable) {
				continue
			}
			f, err := tree.TreeEntryFile(&entry)
			if errors.Is(err, plumbing.ErrObjectNotFound) {
				in.tooLarge(entry.Name) // as with descriptions
				continue
			}
			if err != nil {
				return content{}, unreadable(where, err)
			}
			text, err := blobText(f, maxSettings+1)
			if err != nil {
				return content{}, unreadable(where, err)
			}
			in.put(entry.Name, text)
		}
		return content{files: in.files, problems: in.problems, place: ""}, nil
	}
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
