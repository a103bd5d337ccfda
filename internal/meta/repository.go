package meta

import (
	"context"
	"errors"
	"io/fs"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/storage/filesystem"
)

// repository is a description, or settings, on a branch of a Git repository of this machine.
// They are read where they are: nothing is copied, and nothing is written there.
type repository struct {
	path, branch string
	read         reading

	commit plumbing.Hash // that known is of
	known  content
}

// String returns the repository's path.
func (r *repository) String() string { return r.path }

func (r *repository) look(context.Context) (content, error) {
	// Opened anew each time: it may have been packed, or be another one.
	repo, err := git.PlainOpenWithOptions(r.path, &git.PlainOpenOptions{EnableDotGitCommonDir: true})
	switch {
	case errors.Is(err, git.ErrRepositoryNotExists), errors.Is(err, fs.ErrNotExist):
		return content{}, troubled(troubleRepository, "there is no Git repository at %s", r.path)
	case err != nil:
		return content{}, troubled(troubleRepository, "the Git repository at %s cannot be opened: %w", r.path, err)
	}
	if err := r.checkBranch(repo); err != nil {
		return content{}, err
	}
	ref, err := repo.Reference(plumbing.NewBranchReferenceName(r.branch), true)
	if errors.Is(err, plumbing.ErrReferenceNotFound) {
		return content{}, noBranch(r.branch, r.path, branchesOf(repo))
	}
	if err != nil {
		return content{}, troubled(troubleRepository, "branch %s of %s cannot be read: %w", r.branch, r.path, err)
	}
	if !r.commit.IsZero() && ref.Hash() == r.commit {
		return r.known, nil
	}
	found, err := readCommit(repo.Storer, ref.Hash(), r.read, r.path)
	if err != nil {
		return content{}, err
	}
	r.commit, r.known = ref.Hash(), found
	return found, nil
}

// checkBranch refuses a branch whose file is empty, as a power cut may leave it: the
// library would take what the branch was when it was packed last.
func (r *repository) checkBranch(repo *git.Repository) error {
	at, ok := repo.Storer.(*filesystem.Storage)
	if !ok {
		return nil
	}
	info, err := at.Filesystem().Stat(plumbing.NewBranchReferenceName(r.branch).String())
	if err == nil && info.Mode().IsRegular() && info.Size() == 0 {
		return troubled(troubleRepository, "branch %s of %s cannot be read: its file is empty, as after a power cut; push it again", r.branch, r.path)
	}
	return nil // what is wrong otherwise is said by who reads it
}

// branchesOf returns the names of a repository's branches, as far as they can be
// read: they are for a sentence.
func branchesOf(repo *git.Repository) []string {
	var names []string
	branches, err := repo.Branches()
	if err != nil {
		return nil
	}
	_ = branches.ForEach(func(ref *plumbing.Reference) error {
		names = append(names, ref.Name().Short())
		return nil
	})
	return names
}
