package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/journal"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
)

// importSays is how often it is logged how far an import has come.
const importSays = 5 * time.Second

// importAlone brings what waits in the store of a node that was alone, if there is
// one in the data folder, into the cluster, and moves that store aside. It may be
// killed at any moment: the next start goes on. stopped says that the node is to
// end, or has to, before that was done.
func (n *node) importAlone(ctx context.Context) (stopped bool, err error) {
	folder := filepath.Join(n.opts.Settings.Data, aloneFolder)
	if !n.opts.Settings.Shared() {
		return false, nil
	}
	switch _, err := os.Stat(folder); {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("look for the store of a node that was alone: %w", err)
	}
	began := time.Now()
	importing, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		select {
		case <-n.refused: // it is no member any more
			cancel()
		case <-importing.Done():
		}
	})
	result, err := n.importFrom(importing, folder)
	stopped = importing.Err() != nil
	cancel()
	watching.Wait()
	switch {
	case err != nil && stopped:
		n.log.Info("stopped before the store of a node that was alone was imported; the next start goes on", "err", err)
		return true, nil
	case err != nil:
		return false, fmt.Errorf("import the store in %s, which stays as it is: %w", folder, err)
	}
	aside, err := moveAside(folder, time.Now())
	if err != nil {
		return false, fmt.Errorf("all of the store in %s is in the cluster, but it cannot be moved aside: %w", folder, err)
	}
	_ = os.Remove(folder + importNote) // what is left of it is of no other store
	n.log.Info("the store of a node that was alone is in the cluster",
		"messages", result.Messages, "users", result.Users, "checksum", fmt.Sprintf("%016x", result.Sum),
		"waiting", result.Waiting, "delivered", result.Gone, "sessions", result.sessions,
		"events", result.journal.Events, "states", result.journal.States, "keys", result.keys,
		"took", time.Since(began).Round(time.Millisecond), "kept", aside)
	return false, nil
}

// imported is what an import has brought.
type imported struct {
	mailbox.Compared
	sessions int // that were open, and are closed
	journal  journal.Imported
	keys     int
}

// importFrom copies what is in a store, and compares.
func (n *node) importFrom(ctx context.Context, folder string) (result imported, err error) {
	n.stage.is("importing the store of a node that was alone")
	n.log.Info("the store of a node that was alone is being imported", "folder", folder)
	old, err := bus.Open(ctx, bus.Options{Folder: folder, Logger: n.log.With("store", aloneFolder)})
	if err != nil {
		return result, fmt.Errorf("open it: %w", err)
	}
	defer func() { err = errors.Join(err, old.Close()) }()
	log, err := old.Log(ctx, 0)
	if err != nil {
		return result, err
	}
	name, err := log.Name(ctx)
	if err != nil {
		return result, err
	}
	s := n.settings.Load()
	archive, err := mailbox.ReadArchive(ctx, log, s.Limits.MailboxAge, subscriptionsOf(hookApps(*s)))
	if err != nil {
		return result, err
	}
	i := &shards.Import{
		Source: mailbox.ArchiveSource(name), Archive: archive, Now: time.Now,
		Log: func(ctx context.Context, shard int) (mailbox.Log, error) { return n.bus.Log(ctx, shard) },
	}
	saying, quiet := context.WithCancel(ctx)
	var said sync.WaitGroup
	said.Go(func() {
		n.sayImport(saying, func() string {
			return fmt.Sprintf("%d of %d messages", min(i.Done(), archive.Waiting()), archive.Waiting())
		})
	})
	result.Compared, err = n.office.Import(ctx, i)
	quiet()
	said.Wait()
	if err != nil {
		return result, err
	}
	result.sessions = archive.Open()
	if result.journal, err = n.importJournal(ctx, old); err != nil {
		return result, fmt.Errorf("import the journal: %w", err)
	}
	// Last, in a moment: of keys nothing tells whether one is missing because it is
	// yet to come, or because it was revoked.
	result.keys, err = importKeys(ctx, old, n.bus)
	return result, err
}

// sayImport logs how far an import has come, until ctx ends.
func (n *node) sayImport(ctx context.Context, done func() string) {
	tick := time.NewTicker(importSays)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.stage.is("importing the store of a node that was alone: " + done())
			n.log.Info("the store of a node that was alone is being imported", "done", done())
		}
	}
}

// importKeys copies the API keys that are not there yet, and returns how many there
// are of the old ones.
func importKeys(ctx context.Context, from, to *bus.Bus) (int, error) {
	old, err := from.Table(ctx, "keys")
	if err != nil {
		return 0, fmt.Errorf("read the API keys: %w", err)
	}
	table, err := to.Table(ctx, "keys")
	if err != nil {
		return 0, fmt.Errorf("open the table of API keys: %w", err)
	}
	rows := make(map[string][]byte)
	old.Watch(func(key string, row []byte) { rows[key] = row })()
	for key, row := range rows {
		if err := createRow(ctx, table, key, row); err != nil {
			return 0, fmt.Errorf("copy an API key: %w", err)
		}
	}
	return len(rows), nil
}

// createRow adds a row that is not there yet, as soon as the cluster takes it.
func createRow(ctx context.Context, table *bus.Table, key string, row []byte) error {
	began := time.Now()
	for {
		err := table.Create(ctx, key, row)
		if err == nil || errors.Is(err, bus.ErrExists) {
			return nil
		}
		if time.Since(began) > settleTime {
			return err
		}
		select {
		case <-time.After(importSays / 10):
		case <-ctx.Done():
			return errors.Join(ctx.Err(), err)
		}
	}
}

// moveAside gives a folder the name under which it is kept.
func moveAside(folder string, now time.Time) (string, error) {
	aside := folder + ".imported-" + now.UTC().Format("20060102T150405Z")
	return aside, rename(folder, aside)
}

// rename gives something in a folder another name there, and makes sure that it has that
// after a power cut, too.
func rename(from, to string) error {
	if err := os.Rename(from, to); err != nil {
		return err
	}
	parent, err := os.Open(filepath.Dir(to))
	if err != nil {
		return err
	}
	return errors.Join(parent.Sync(), parent.Close())
}
