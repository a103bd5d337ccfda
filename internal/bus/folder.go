package bus

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// A server of a cluster deletes the streams in its folder that the cluster does not
// know to be its own: those of a server that was alone, those of a server of another
// name, and those of another cluster. So whose folder it is stands beside it, and is
// looked at first.

// ownerFile is that file, in the folder above the one of the streams.
const ownerFile = "owner"

// idLine begins the last line of that file, which has the cluster's ID. Folders that were
// made before clusters had IDs lack it.
const idLine = "id "

// ownerFile returns the path of that file.
func (o *Options) ownerFile() string { return filepath.Join(filepath.Dir(o.Folder), ownerFile) }

// owner is what is in that file, but for the ID.
func (o *Options) owner() string {
	if o.Cluster == nil {
		return "alone\n"
	}
	return fmt.Sprintf("cluster %s\nserver %s\n", o.Cluster.Name, o.Cluster.Node)
}

// claimFolder fails when the folder is another server's, and takes the cluster's ID from
// it.
func (o *Options) claimFolder() error {
	have, err := os.ReadFile(o.ownerFile())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look whose folder %s is: %w", o.Folder, err)
	}
	if len(have) == 0 { // also what is left of a note that was being written when the power went
		return o.firstClaim()
	}
	id, ours := strings.CutPrefix(string(have), o.owner())
	if !ours {
		return fmt.Errorf("the folder %s is of another server (%s says %q, this one is %q): it would lose what is in it; give this server its old name, or another folder", o.Folder, o.ownerFile(), have, o.owner())
	}
	if o.Cluster == nil || id == "" {
		return nil
	}
	id, whole := strings.CutSuffix(id, "\n")
	id, named := strings.CutPrefix(id, idLine)
	if !whole || !named || !isToken(id) {
		return fmt.Errorf("the file %s does not say whose folder it is: it says %q", o.ownerFile(), have)
	}
	o.Cluster.id = id
	return nil
}

// firstClaim fails where there are streams already of which nothing says whose they are.
func (o *Options) firstClaim() error {
	some, err := o.hasStreams()
	if err != nil || o.Cluster == nil || !some {
		return err // no server alone leaves a note: it has the folder to itself
	}
	return fmt.Errorf("the folder %s has streams, and no file %s says whose they are: if they are of a server that was alone, or of another cluster, this one would lose them. "+
		"Give this server another folder; or if they are its own, as one of this cluster, write that file again: %q", o.Folder, o.ownerFile(), o.owner())
}

// hasStreams says whether there are any in the folder.
func (o *Options) hasStreams() (bool, error) {
	streams, err := os.ReadDir(filepath.Join(o.Folder, account, "streams"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look whose folder %s is: %w", o.Folder, err)
	}
	return len(streams) > 0, nil
}

// knowCluster finds out of which cluster the server is, unless that is known, and notes
// it beside the streams before there are any.
func (o *Options) knowCluster(ctx context.Context) error {
	if o.Cluster == nil || o.Cluster.id != "" {
		return nil
	}
	kept := false
	if o.stores() {
		var err error
		if kept, err = o.hasStreams(); err != nil {
			return err
		}
	} else if err := o.sayLeft(); err != nil {
		return err
	}
	id, err := o.identify(ctx, kept)
	if err != nil {
		return err
	}
	o.Logger.Info("this server's cluster is known by its ID", "cluster", o.Cluster.Name, "id", id)
	if o.stores() {
		if err := o.noteOwner(o.owner() + idLine + id + "\n"); err != nil {
			return fmt.Errorf("note whose folder it is: %w", err)
		}
	}
	o.Cluster.id = id
	return nil
}

// noteOwner writes the file whole or not at all, and safe from a power cut.
func (o *Options) noteOwner(text string) error {
	aside := o.ownerFile() + ".new"
	f, err := os.OpenFile(aside, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(aside, o.ownerFile()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(aside))
}

// sayLeft warns when a server that is to keep nothing has streams in its folder: the
// others go on counting on them.
func (o *Options) sayLeft() error {
	if o.Folder == "" {
		return nil
	}
	some, err := o.hasStreams()
	if some {
		o.Logger.Warn("this node kept streams of the cluster as a processor, and as a connector serves none of them: their copies stay in its folder, fall behind, and are missed by the others, "+
			"which have fewer than they count with. Start it as a processor again; or give this connector another cluster.node and data folder, and let another processor take the place of the old one",
			"folder", o.Folder)
	}
	return err
}
