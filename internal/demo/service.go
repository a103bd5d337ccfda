package demo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// ServiceOptions are what a service works with that takes files from a folder.
type ServiceOptions struct {
	In  string // spool of its collector
	Out string // spool of its uploader; of the archive, the warehouse
	Log *slog.Logger

	at func(moment string) // for tests, as SensorOptions has it
}

const (
	momentTaken = "taken" // the service has read the report, which is where it was
	momentMoved = "moved"
)

// lookEvery is how often a service looks into its folder.
const lookEvery = 100 * time.Millisecond

// RunGateway hands reports on until ctx ends, and returns nil then. What is no
// report is put aside, into odd/ beside its folder, as all services do.
func RunGateway(ctx context.Context, o ServiceOptions) error {
	return runService(ctx, o, func(report) string { return "" }, func(report) {})
}

// RunArchive puts reports into a folder for the day of their own time, in UTC, until
// ctx ends, and returns nil then.
func RunArchive(ctx context.Context, o ServiceOptions) error {
	return runService(ctx, o, func(r report) string { return r.At.Format(time.DateOnly) }, func(report) {})
}

// runService takes reports one after the other: see hears of each before it moves to
// the folder below Out that place names. A report that was seen by a process that was
// killed then is seen again.
func runService(ctx context.Context, o ServiceOptions, place func(report) string, see func(report)) error {
	if o.at == nil {
		o.at = func(string) {}
	}
	s := &service{ServiceOptions: o, place: place, see: see}
	for _, folder := range []string{o.In, o.Out} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	beat := time.NewTicker(lookEvery)
	defer beat.Stop()
	for {
		s.say(s.sweep())
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		}
	}
}

type service struct {
	ServiceOptions
	place func(report) string
	see   func(report)
	said  string // the trouble that was logged last
}

// say logs a trouble when it is another than before.
func (s *service) say(err error) {
	text := ""
	if err != nil {
		text = err.Error()
	}
	if text != "" && text != s.said {
		s.Log.Error("reports wait, and are tried again", "err", err)
	}
	if text == "" && s.said != "" {
		s.Log.Info("reports move again")
	}
	s.said = text
}

// sweep takes all that is there, in the order of names.
func (s *service) sweep() error {
	entries, err := os.ReadDir(s.In)
	if err != nil {
		return err
	}
	synced := map[string]bool{}
	for _, e := range entries {
		name := e.Name()
		if strings.HasPrefix(name, ".") || strings.HasSuffix(name, unfinished) || e.IsDir() {
			continue
		}
		folder, err := s.take(name)
		if err != nil {
			return err
		}
		synced[folder] = true
	}
	for folder := range synced {
		if err := lifecycle.SyncFolder(folder); err != nil {
			return err
		}
	}
	return nil
}

// take moves one file, and says where it is now.
func (s *service) take(name string) (folder string, err error) {
	from := filepath.Join(s.In, name)
	folder = filepath.Join(filepath.Dir(s.In), "odd")
	if info, err := os.Lstat(from); err != nil {
		return "", err
	} else if r, err := readReport(from); err == nil && info.Mode().IsRegular() {
		s.see(r)
		folder = filepath.Join(s.Out, s.place(r))
	} else if info.Mode().IsRegular() && unreadable(err) {
		return "", err // the disk's trouble, not the file's
	} else {
		s.Log.Warn("this is no report and is put aside", "file", from, "folder", folder, "err", err)
	}
	s.at(momentTaken)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return "", err
	}
	if err := move(from, filepath.Join(folder, name)); err != nil {
		return "", err
	}
	s.at(momentMoved)
	return folder, nil
}

// unreadable says whether a file could not be read, whatever is in it.
func unreadable(err error) bool {
	var path *fs.PathError
	return errors.As(err, &path)
}

// move renames a file, and never over another: one with the same content is the same
// report, and goes; with other content both stay where they are. Nobody else writes to
// the folder it goes to.
func move(from, to string) error {
	_, err := os.Lstat(to)
	if errors.Is(err, fs.ErrNotExist) {
		return os.Rename(from, to)
	}
	if err != nil {
		return err
	}
	there, err := os.ReadFile(to)
	if err != nil {
		return err
	}
	here, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	if !bytes.Equal(there, here) {
		return fmt.Errorf("%s and %s have one name and are not the same: move one of them away", from, to)
	}
	return os.Remove(from)
}
