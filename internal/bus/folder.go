package bus

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// A server of a cluster deletes the streams in its folder that the cluster does not
// know to be its own: those of a server that was alone, and those of a server of
// another name. So whose folder it is stands beside it, and is looked at first.

// ownerFile is that file, in the folder above the one of the streams.
const ownerFile = "owner"

// claimFolder fails when the folder is another server's, and notes whose it is when
// nobody has had it yet.
func (o *Options) claimFolder() error {
	want := "alone\n"
	if o.Cluster != nil {
		want = fmt.Sprintf("cluster %s\nserver %s\n", o.Cluster.Name, o.Cluster.Node)
	}
	file := filepath.Join(filepath.Dir(o.Folder), ownerFile)
	have, err := os.ReadFile(file)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return o.firstClaim(file, want)
	case err != nil:
		return fmt.Errorf("look whose folder %s is: %w", o.Folder, err)
	case string(have) != want:
		return fmt.Errorf("the folder %s is of another server (%s says %q, this one is %q): it would lose what is in it; give this server its old name, or another folder", o.Folder, file, have, want)
	}
	return nil
}

func (o *Options) firstClaim(file, want string) error {
	streams, err := os.ReadDir(filepath.Join(o.Folder, account, "streams"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look whose folder %s is: %w", o.Folder, err)
	}
	if o.Cluster == nil {
		return nil // no server alone leaves a note: it has the folder to itself
	}
	if len(streams) > 0 {
		return fmt.Errorf("the folder %s has streams of a server that was alone: in a cluster it would lose them; give this server another folder, and copy what is to be kept", o.Folder)
	}
	f, err := os.OpenFile(file, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("note whose folder it is: %w", err)
	}
	_, err = f.WriteString(want)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = syncDir(filepath.Dir(file))
	}
	if err != nil {
		return fmt.Errorf("note whose folder it is: %w", err)
	}
	return nil
}
