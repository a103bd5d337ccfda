package meta

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-git/go-git/v5"
	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/filemode"
	"github.com/go-git/go-git/v5/plumbing/object"
)

// depot is a Git repository of a test.
type depot struct {
	t       *testing.T
	path    string
	repo    *git.Repository
	commits int
}

// newDepot makes a repository, whose branch is main, with a commit in which net/work.yaml describes so
// many domains.
func newDepot(t *testing.T, bare bool, domains int) *depot {
	t.Helper()
	path := filepath.Join(t.TempDir(), "depot")
	repo, err := git.PlainInitWithOptions(path, &git.PlainInitOptions{
		Bare: bare, InitOptions: git.InitOptions{DefaultBranch: plumbing.NewBranchReferenceName("main")},
	})
	if err != nil {
		t.Fatal(err)
	}
	d := &depot{t: t, path: path, repo: repo}
	d.commit("main", describe(domains))
	return d
}

// commit puts a commit onto a branch in which net/work.yaml has a text.
func (d *depot) commit(branch, text string) plumbing.Hash {
	d.t.Helper()
	return d.place(branch, d.tree(filemode.Regular, text), d.head(branch))
}

// force makes a branch one commit without history.
func (d *depot) force(branch, text string) plumbing.Hash {
	d.t.Helper()
	return d.place(branch, d.tree(filemode.Regular, text), plumbing.ZeroHash)
}

func (d *depot) head(branch string) plumbing.Hash {
	ref, err := d.repo.Reference(plumbing.NewBranchReferenceName(branch), true)
	if err != nil {
		return plumbing.ZeroHash
	}
	return ref.Hash()
}

// tree makes the tree of a commit, with net/work.yaml and something beside it.
func (d *depot) tree(mode filemode.FileMode, text string) plumbing.Hash {
	d.t.Helper()
	file := d.blob(text)
	readme := d.blob("a network\n")
	net := d.store(&object.Tree{Entries: []object.TreeEntry{{Name: "work.yaml", Mode: mode, Hash: file}}})
	return d.store(&object.Tree{Entries: []object.TreeEntry{
		{Name: "README.md", Mode: filemode.Regular, Hash: readme}, {Name: "net", Mode: filemode.Dir, Hash: net},
	}})
}

// place puts a commit of a tree onto a branch.
func (d *depot) place(branch string, tree, parent plumbing.Hash) plumbing.Hash {
	d.t.Helper()
	d.commits++
	who := object.Signature{Name: "test", Email: "test@example.org", When: time.Unix(int64(d.commits), 0)}
	c := &object.Commit{Author: who, Committer: who, Message: "a change", TreeHash: tree}
	if !parent.IsZero() {
		c.ParentHashes = []plumbing.Hash{parent}
	}
	hash := d.store(c)
	if err := d.repo.Storer.SetReference(plumbing.NewHashReference(plumbing.NewBranchReferenceName(branch), hash)); err != nil {
		d.t.Fatal(err)
	}
	return hash
}

func (d *depot) blob(text string) plumbing.Hash {
	d.t.Helper()
	o := d.repo.Storer.NewEncodedObject()
	o.SetType(plumbing.BlobObject)
	w, err := o.Writer()
	if err == nil {
		_, err = w.Write([]byte(text))
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		d.t.Fatal(err)
	}
	return d.put(o)
}

func (d *depot) store(what interface {
	Encode(plumbing.EncodedObject) error
}) plumbing.Hash {
	d.t.Helper()
	o := d.repo.Storer.NewEncodedObject()
	if err := what.Encode(o); err != nil {
		d.t.Fatal(err)
	}
	return d.put(o)
}

func (d *depot) put(o plumbing.EncodedObject) plumbing.Hash {
	d.t.Helper()
	hash, err := d.repo.Storer.SetEncodedObject(o)
	if err != nil {
		d.t.Fatal(err)
	}
	return hash
}

// delete deletes a branch.
func (d *depot) delete(branch string) {
	d.t.Helper()
	if err := d.repo.Storer.RemoveReference(plumbing.NewBranchReferenceName(branch)); err != nil {
		d.t.Fatal(err)
	}
}

// roads are the ways in which a repository is reached. Each gives what --git is
// called with, once the depot is there.
func roads() map[string]func(*testing.T, *depot) string {
	return map[string]func(*testing.T, *depot) string{
		"path": func(_ *testing.T, d *depot) string { return d.path },
		"file URL": func(_ *testing.T, d *depot) string {
			return (&url.URL{Scheme: "file", Path: d.path}).String()
		},
		"HTTP without snapshots": func(t *testing.T, d *depot) string { return plainServer(t, d).URL },
		"HTTP":                   func(t *testing.T, d *depot) string { return gitServer(t, d).URL },
		"SSH":                    sshServer,
	}
}

// overEachRoad runs a test for each way to a repository.
func overEachRoad(t *testing.T, test func(t *testing.T, d *depot, r *running)) {
	for name, road := range roads() {
		t.Run(name, func(t *testing.T) {
			d := newDepot(t, true, 2)
			test(t, d, start(t, gitOptions(t, road(t, d))))
		})
	}
}

func gitOptions(t *testing.T, repository string) Options {
	t.Helper()
	o := quiet(t)
	o.Git, o.Config = repository, "net/work.yaml"
	o.Credentials = Credentials{SSHKey: os.Getenv("META_TEST_KEY")}
	return o
}

func TestANewCommitTakesEffect(t *testing.T) {
	overEachRoad(t, func(t *testing.T, d *depot, r *running) {
		version := r.serves(2)
		hash := d.commit("main", describe(3))
		r.look()
		if v := r.serves(3); v <= version {
			t.Errorf("version %d comes after %d", v, version)
		}
		r.logged(1, `place="net/work.yaml in commit `+hash.String()[:shortHash]+`"`)
		if _, err := os.Stat(filepath.Join(r.options.Data, scratchName)); err == nil {
			t.Error("the snapshot is left behind")
		}
	})
}

func TestABadCommitIsRefusedOnceAndTheLastGoodOneStays(t *testing.T) {
	overEachRoad(t, func(t *testing.T, d *depot, r *running) {
		version := r.serves(2)
		bad := d.commit("main", strings.Replace(describe(3), "n2: domain-3", "n2: domain-9", 1))
		for range 3 {
			r.look()
		}
		if v := r.serves(2); v != version {
			t.Errorf("the version went from %d to %d", version, v)
		}
		r.logged(1, "domainLinks[1].n2")
		r.logged(1, bad.String()[:shortHash]+`" err="line `)
		// Another commit of the same content is not said again.
		d.commit("main", strings.Replace(describe(3), "n2: domain-3", "n2: domain-9", 1))
		r.look()
		r.logged(1, "domainLinks[1].n2")
		// Over a restart, too, the last good one stays.
		r = r.again()
		if v := r.serves(2); v != version {
			t.Errorf("the version went from %d to %d over a restart", version, v)
		}
		d.commit("main", describe(4))
		r.look()
		r.serves(4)
	})
}

func TestAForcePushTakesEffect(t *testing.T) {
	overEachRoad(t, func(t *testing.T, d *depot, r *running) {
		d.commit("main", describe(3))
		r.look()
		version := r.serves(3)
		d.force("main", describe(2))
		r.look()
		if v := r.serves(2); v <= version {
			t.Errorf("version %d comes after %d", v, version)
		}
	})
}

func TestADeletedBranchChangesNothing(t *testing.T) {
	overEachRoad(t, func(t *testing.T, d *depot, r *running) {
		d.commit("other", describe(5))
		d.delete("main")
		for range 3 {
			r.look()
		}
		r.serves(2)
		r.logged(1, "has no branch main: it has other")
		d.delete("other")
		d.commit("main", describe(3))
		r.look()
		r.serves(3)
		r.logged(1, "the trouble with the description is over")
	})
}

// As a power cut leaves it: what the branch was when it was packed is older than what is served.
func TestABranchWhoseFileIsEmptyChangesNothing(t *testing.T) {
	d := newDepot(t, true, 2)
	if err := d.repo.Storer.PackRefs(); err != nil {
		t.Fatal(err)
	}
	d.commit("main", describe(3))
	r := start(t, gitOptions(t, d.path))
	version := r.serves(3)
	if err := os.WriteFile(filepath.Join(d.path, "refs", "heads", "main"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	r.look()
	if now := r.serves(3); now != version {
		t.Errorf("version %d is served instead of %d", now, version)
	}
	r.logged(1, "its file is empty")
	d.commit("main", describe(4))
	r.look()
	r.serves(4)
}

func TestARepositoryThatVanishesAndComesBackChangesNothing(t *testing.T) {
	overEachRoad(t, func(t *testing.T, d *depot, r *running) {
		version := r.serves(2)
		if err := os.Rename(d.path, d.path+".away"); err != nil {
			t.Fatal(err)
		}
		for range 3 {
			r.look()
		}
		if v := r.serves(2); v != version {
			t.Errorf("the version went from %d to %d", version, v)
		}
		r.logged(1, "the description cannot be read: the last good one stays")
		r = r.again()
		if v := r.serves(2); v != version {
			t.Errorf("the version went from %d to %d over a restart", version, v)
		}
		if err := os.Rename(d.path+".away", d.path); err != nil {
			t.Fatal(err)
		}
		r.look()
		if v := r.serves(2); v != version {
			t.Errorf("the version went from %d to %d", version, v)
		}
		r.logged(1, "the trouble with the description is over")
		d.commit("main", describe(3))
		r.look()
		r.serves(3)
	})
}

func TestACommitWithoutTheFileChangesNothing(t *testing.T) {
	overEachRoad(t, func(t *testing.T, d *depot, r *running) {
		for what, tree := range map[string]plumbing.Hash{
			"has no file net/work.yaml": d.store(&object.Tree{Entries: []object.TreeEntry{{Name: "README.md", Mode: filemode.Regular, Hash: d.blob("x")}}}),
			"is a symbolic link":        d.tree(filemode.Symlink, "other.yaml"),
			"is a folder": d.store(&object.Tree{Entries: []object.TreeEntry{{Name: "net", Mode: filemode.Dir, Hash: d.store(&object.Tree{Entries: []object.TreeEntry{
				{Name: "work.yaml", Mode: filemode.Dir, Hash: d.tree(filemode.Regular, "x")},
			}})}}}),
		} {
			d.place("main", tree, d.head("main"))
			r.look()
			r.serves(2)
			r.logged(1, what)
			d.commit("main", describe(2))
			r.look()
		}
	})
}

func TestAFileThatIsTooLargeIsRefused(t *testing.T) {
	overEachRoad(t, func(t *testing.T, d *depot, r *running) {
		for _, size := range []int{1 << 20, 3 << 20} { // a little more than may be, and so much that a server leaves it out
			d.commit("main", describe(3)+strings.Repeat("#", size))
			r.look()
			r.serves(2)
		}
		log := r.log.String()
		if !strings.Contains(log, "at most 1048576") && !strings.Contains(log, "larger than 1 MiB") {
			t.Error(log)
		}
	})
}

func TestARepositoryOfAWorkingCopyIsRead(t *testing.T) {
	d := newDepot(t, false, 2)
	r := start(t, gitOptions(t, d.path))
	r.serves(2)
	// What is not committed is nothing.
	if err := os.MkdirAll(filepath.Join(d.path, "net"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(d.path, "net", "work.yaml"), describe(7))
	r.look()
	r.serves(2)
	d.commit("main", describe(3))
	r.look()
	r.serves(3)
}

func TestAnotherBranchIsReadWhereItIsNamed(t *testing.T) {
	d := newDepot(t, true, 2)
	d.commit("live/eu", describe(4))
	o := gitOptions(t, d.path)
	o.Branch = "live/eu"
	r := start(t, o)
	r.serves(4)
	d.commit("main", describe(3))
	r.look()
	r.serves(4)
}

func TestAnEmptyRepositoryIsNothingToServeAndSaysSo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "empty")
	if _, err := git.PlainInit(path, true); err != nil {
		t.Fatal(err)
	}
	d := &depot{t: t, path: path}
	for name, road := range roads() {
		t.Run(name, func(t *testing.T) {
			err := Run(t.Context(), gitOptions(t, road(t, d)))
			if err == nil || !strings.Contains(err.Error(), "has no branch yet") {
				t.Errorf("it says: %v", err)
			}
		})
	}
}
