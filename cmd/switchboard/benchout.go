package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/db"
	"github.com/seed-3d8c1042/switchboard/internal/load"
	"github.com/seed-3d8c1042/switchboard/internal/node"
)

// outputFlags say where results go.
type outputFlags struct {
	JSON   bool   `name:"json" help:"Print the report as JSON."`
	Report string `placeholder:"DIR" help:"Write report.json, report.md and report.svg into this folder, too."`
}

// show prints a report and writes its files. failed is how the measuring ended;
// what was measured before is shown all the same.
func (f outputFlags) show(p *program, r load.Report, failed error) error {
	if r.Empty() {
		return bench(failed)
	}
	if f.Report != "" {
		if err := r.WriteTo(f.Report); err != nil {
			return bench(errors.Join(failed, err))
		}
	}
	print := r.Print
	if f.JSON {
		print = r.WriteJSON
	}
	if err := print(p.out); err != nil {
		return bench(errors.Join(failed, err))
	}
	if failed != nil {
		return bench(failed)
	}
	return bench(r.Trouble())
}

func bench(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("bench: %w", err)
}

// terminal returns where progress is shown: standard error if it is a terminal,
// else nowhere.
func (p *program) terminal() io.Writer {
	f, ok := p.err.(*os.File)
	if !ok {
		return nil
	}
	if info, err := f.Stat(); err != nil || info.Mode()&os.ModeCharDevice == 0 || info.Name() == os.DevNull {
		return nil
	}
	return f
}

// suiteCommand measures all rows.
type suiteCommand struct {
	Short    bool          `help:"All rows in seconds, small: shows that they work, says nothing about speed."`
	Only     []string      `placeholder:"ROW" help:"Only these rows; bench suite --list names them."`
	List     bool          `help:"Print the rows and their reach, and do nothing."`
	Rounds   int           `default:"3" help:"How often each is measured, in turn with the yardstick; the medians count."`
	Duration time.Duration `default:"5s" help:"Of each measurement."`
	Out      string        `placeholder:"DIR" help:"Write report.json, report.md and report.svg into this folder."`
	Folder   string        `placeholder:"DIR" help:"Where the servers keep their data: the disk that is measured. Default: the system's folder for temporary files."`
	JSON     bool          `name:"json" help:"Print the report as JSON."`
	LoadCPU  int           `name:"load-cpu" default:"1" placeholder:"N" help:"Keep the generator to this processor; -1: any."`

	ServerCPU   int `name:"server-cpu" default:"0" placeholder:"N" help:"Keep the servers to this processor; -1: any."`
	ServerProcs int `default:"2" help:"The servers' GOMAXPROCS; 0: as Go chooses."`
}

func (c suiteCommand) options(p *program) load.SuiteOptions {
	if !load.CanPin() {
		c.ServerCPU, c.LoadCPU = -1, -1 // the defaults must work everywhere
	}
	return load.SuiteOptions{
		Short: c.Short, Only: c.Only, Rounds: c.Rounds, Duration: c.Duration, Folder: c.Folder,
		Child: load.Child{ServerCPU: c.ServerCPU, Procs: c.ServerProcs}, LoadCPU: c.LoadCPU, Crowd: crowd, Version: p.version, Progress: p.terminal(), Log: p.err,
	}
}

// crowd makes the members of the room that is measured in the database of a data folder.
func crowd(ctx context.Context, data, prefix string, members int) error {
	d, err := db.Open(ctx, db.Options{Path: filepath.Join(data, node.DatabaseFile)})
	if err != nil {
		return err
	}
	return errors.Join(d.Crowd(ctx, prefix, members), d.Close())
}

// Validate checks the flags; what it says is a matter of usage.
func (c suiteCommand) Validate() error { return load.CheckSuite(c.options(&program{})) }

// Run implements the command.
func (c suiteCommand) Run(p *program) error {
	if c.List {
		return load.ListRows(p.out)
	}
	ctx, done := p.untilSignal()
	defer done()
	report, err := load.Suite(ctx, c.options(p))
	return outputFlags{JSON: c.JSON, Report: c.Out}.show(p, report, err)
}

// compareCommand compares two reports.
type compareCommand struct {
	A string `arg:"" help:"A report.json."`
	B string `arg:"" help:"Another, as from another version or machine."`
}

// Run implements the command.
func (c compareCommand) Run(p *program) error {
	a, err := load.ReadReport(c.A)
	if err != nil {
		return bench(err)
	}
	b, err := load.ReadReport(c.B)
	if err != nil {
		return bench(err)
	}
	return load.Compare(p.out, c.A, c.B, a, b)
}
