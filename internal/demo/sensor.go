package demo

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// SensorOptions are what a sensor works with.
type SensorOptions struct {
	Folder string // of its own: ready/, journal
	Out    string // spool of its uploader
	Log    *slog.Logger

	every time.Duration       // between two reports
	at    func(moment string) // for tests: called where a process may be killed; nil: nothing
}

// Moments at which tests kill.
const (
	momentReady     = "ready"     // the report is whole, and not numbered in the journal
	momentJournaled = "journaled" // numbered, and not in the spool
	momentSpooled   = "spooled"
)

const reportEvery = time.Second

// RunSensor reports the load every second until ctx ends, and returns nil then. A
// report that could not be made is logged and left out; one that has its number is
// never lost, and there is no second one with it.
func RunSensor(ctx context.Context, o SensorOptions) error {
	if o.every == 0 {
		o.every = reportEvery
	}
	if o.at == nil {
		o.at = func(string) {}
	}
	s := &sensor{SensorOptions: o, ready: filepath.Join(o.Folder, "ready")}
	if err := s.open(); err != nil {
		return fmt.Errorf("sensor: %w", err)
	}
	defer func() { _ = s.journal.Close() }() // every line of it is synced
	beat := time.NewTicker(o.every)
	defer beat.Stop()
	for {
		if err := s.report(); err != nil {
			s.Log.Error("no report this time", "err", err)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-beat.C:
		}
	}
}

type sensor struct {
	SensorOptions
	ready   string
	journal *os.File // the numbers of all reports, a line each
	size    int64    // of the whole lines
	last    int64    // the number given last
}

// open finds out where the process before has stopped.
func (s *sensor) open() error {
	for _, folder := range []string{s.ready, s.Out} {
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
	}
	return s.openJournal(filepath.Join(s.Folder, "journal"))
}

// openJournal reads the last number, and cuts off the half of a line.
func (s *sensor) openJournal(path string) error {
	j, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(path)
	if err == nil {
		whole := bytes.LastIndexByte(text, '\n') + 1
		s.size, err = int64(whole), j.Truncate(int64(whole))
		if lines := strings.Fields(string(text[:whole])); err == nil && len(lines) > 0 {
			s.last, err = strconv.ParseInt(lines[len(lines)-1], 10, 64)
		}
	}
	if err == nil {
		err = lifecycle.SyncFolder(s.Folder)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("read %s: %w", path, err), j.Close())
	}
	s.journal = j
	return nil
}

// goOn hands on what lies in ready/, and removes what was not finished there.
func (s *sensor) goOn() error {
	entries, err := os.ReadDir(s.ready)
	if err != nil {
		return err
	}
	for _, e := range entries { // in the order of numbers
		n := numberOf(e.Name())
		switch {
		case strings.HasSuffix(e.Name(), unfinished):
			err = os.Remove(filepath.Join(s.ready, e.Name()))
		case n == 0:
			s.Log.Warn("this is not the sensor's and stays", "file", filepath.Join(s.ready, e.Name()))
		case n > s.last:
			err = s.number(n)
			fallthrough
		default:
			err = errors.Join(err, s.hand(e.Name()))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// report makes one and hands it on, after those that were not handed on before.
func (s *sensor) report() error {
	if err := s.goOn(); err != nil {
		return err
	}
	load, err := loadAverages()
	if err != nil {
		return err
	}
	host, err := os.Hostname()
	if err != nil {
		return err
	}
	r := report{Number: s.last + 1, At: time.Now().UTC().Round(time.Millisecond), Host: host, Load: load}
	text, err := json.Marshal(r)
	if err != nil {
		return err
	}
	if err := writeWhole(s.ready, r.name(), append(text, '\n')); err != nil {
		return err
	}
	s.at(momentReady)
	if err := s.number(r.Number); err != nil {
		return err
	}
	s.at(momentJournaled)
	if err := s.hand(r.name()); err != nil {
		return err
	}
	s.at(momentSpooled)
	s.Log.Debug("reported", "number", r.Number)
	return nil
}

// number notes that a number is given.
func (s *sensor) number(n int64) error {
	line := fmt.Appendf(nil, "%d\n", n)
	if _, err := s.journal.WriteAt(line, s.size); err != nil { // over what a try before left
		return err
	}
	if err := s.journal.Sync(); err != nil {
		return err
	}
	s.size += int64(len(line))
	s.last = n
	return nil
}

// hand lets go of a report.
func (s *sensor) hand(name string) error {
	if err := os.Rename(filepath.Join(s.ready, name), filepath.Join(s.Out, name)); err != nil {
		return err
	}
	return lifecycle.SyncFolder(s.Out)
}
