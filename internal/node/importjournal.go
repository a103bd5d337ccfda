package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/journal"
)

// importJournal copies the journal of a store, and of its states what the events in it do
// not say any more.
func (n *node) importJournal(ctx context.Context, old *bus.Bus) (done journal.Imported, err error) {
	// Nothing goes by age or size while it is imported: the next attempt is to find the same.
	log, err := old.Events(ctx, bus.EventLimits{Bytes: -1})
	if err != nil {
		return done, fmt.Errorf("open it: %w", err)
	}
	parts, err := old.Parts(ctx)
	if err != nil {
		return done, fmt.Errorf("open its checkpoints: %w", err)
	}
	archive, err := journal.ReadArchive(ctx, log, parts)
	if err != nil {
		return done, err
	}
	if err := beginImport(ctx, filepath.Join(n.opts.Settings.Data, aloneFolder), archive); err != nil {
		return done, fmt.Errorf("note where it begins: %w", err)
	}
	i := &journal.Import{Archive: archive}
	saying, quiet := context.WithCancel(ctx)
	var said sync.WaitGroup
	said.Go(func() {
		n.sayImport(saying, func() string { return fmt.Sprintf("%d events of the journal", i.Done()) })
	})
	done, err = n.journal.room.Import(ctx, i)
	quiet()
	said.Wait()
	if err == nil && done.Conflicts > 0 {
		n.log.Warn("events of the node that was alone are not in the journal of the cluster: their devices have others with their IDs there", "events", done.Conflicts)
	}
	return done, err
}

// importNote ends the name of the file, beside the store's folder, that says where its
// journal began when the first attempt read it.
const importNote = ".import"

// importBegan is what is in that file.
type importBegan struct {
	Source string `json:"source"`
	From   uint64 `json:"from"`
}

// beginImport sets from where on an archive is held: from where it was at the first
// attempt. The engine may have events again after a kill that were gone by then.
func beginImport(ctx context.Context, folder string, archive *journal.Archive) error {
	name := folder + importNote
	var note importBegan
	text, err := os.ReadFile(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err == nil && json.Unmarshal(text, &note) == nil && note.Source == archive.Source() {
		archive.From = note.From
		return nil
	}
	if note.From, err = archive.First(ctx); err != nil {
		return err
	}
	note.Source, archive.From = archive.Source(), note.From
	if text, err = json.Marshal(note); err != nil {
		return err
	}
	f, err := os.OpenFile(name+".new", os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return rename(name+".new", name)
}
