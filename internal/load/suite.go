package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"
)

// SuiteOptions says how the suite runs.
type SuiteOptions struct {
	Short    bool     // seconds in all, small: shows that everything works
	Only     []string // names of rows; empty: all
	Rounds   int
	Duration time.Duration // of each measurement
	Folder   string        // of the servers' data; empty: the system's for temporary files
	Child    Child
	// Crowd makes accounts and members of the first room in a data folder, as of a server
	// that does not run: db.Crowd. Without it there is no row of rooms.
	Crowd    func(ctx context.Context, data, prefix string, members int) error
	LoadCPU  int // processor of the generator; below 0: any
	Version  string
	Progress io.Writer // as in Options
	Log      io.Writer // a line for each row and round; nil: none
}

// shortNote is the first note of a short report.
const shortNote = "A short run: it shows that everything works, and says nothing about speed."

// found is what one round finds for one Found.
type found struct {
	what, unit  string
	value, base float64
	reach       float64
	atMost      bool
}

// suiteRow is one row of the table.
type suiteRow struct {
	name, what string
	measure    func(context.Context, *suite) ([]found, error)
}

// suite is a suite that runs.
type suite struct {
	o    SuiteOptions
	size sizes
	runs []Run
}

// CheckSuite says what is wrong with the options.
func CheckSuite(o SuiteOptions) error {
	if o.Rounds < 1 || o.Rounds > 100 {
		return fmt.Errorf("--rounds %d: give a number from 1 to 100", o.Rounds)
	}
	if err := checkDuration(o.Duration, 10*time.Millisecond, time.Hour); err != nil {
		return err
	}
	var names []string
	for _, row := range suiteRows(sizes{}) {
		names = append(names, row.name)
	}
	for _, name := range o.Only {
		if !slices.Contains(names, name) {
			return fmt.Errorf("--only %s: choose of %s", name, strings.Join(names, ", "))
		}
	}
	return nil
}

// ListRows prints the names of the rows and what they measure.
func ListRows(w io.Writer) error {
	for _, row := range suiteRows(sizes{}) {
		if _, err := fmt.Fprintf(w, "%-16s %s\n", row.name, row.what); err != nil {
			return err
		}
	}
	return nil
}

// CanPin says whether a server and the generator can each be kept to a
// processor of its own.
func CanPin() bool { return runtime.GOOS == "linux" && runtime.NumCPU() > 1 }

// Suite measures the rows. Rows that could not be measured are left out and
// stand in the error. When ctx ends, what was measured until then is returned.
func Suite(ctx context.Context, o SuiteOptions) (Report, error) {
	if err := CheckSuite(o); err != nil {
		return Report{}, err
	}
	report := NewReport(o.Version)
	if o.Short {
		o.Rounds, o.Duration = 1, min(o.Duration, 300*time.Millisecond)
		report.Notes = append(report.Notes, shortNote)
	}
	report.Notes = append(report.Notes, o.pinning())
	if o.LoadCPU >= 0 {
		if err := PinSelf(o.LoadCPU); err != nil {
			return Report{}, err
		}
	}
	s := &suite{o: o, size: sizes{o.Short}}
	var failed []error
	for _, row := range suiteRows(s.size) {
		if len(o.Only) > 0 && !slices.Contains(o.Only, row.name) {
			continue
		}
		measured, err := s.row(ctx, row)
		if ctx.Err() != nil {
			report.Notes = append(report.Notes, "Interrupted: rows are missing.")
			break
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("row %s: %w", row.name, err))
			continue
		}
		report.Rows = append(report.Rows, measured)
	}
	report.Runs = s.runs
	return report, errors.Join(failed...)
}

func (o SuiteOptions) pinning() string {
	if o.Child.ServerCPU < 0 || o.LoadCPU < 0 {
		return "Servers and generator share the processors: the ratios are those of both together."
	}
	return fmt.Sprintf("Servers ran on processor %d with GOMAXPROCS=%d, the generator on processor %d.", o.Child.ServerCPU, o.Child.Procs, o.LoadCPU)
}

// row measures all rounds of a row.
func (s *suite) row(ctx context.Context, row suiteRow) (Row, error) {
	r := Row{Name: row.name, What: row.what, Command: "switchboard bench suite --only " + row.name}
	var rounds [][]found
	for round := range s.o.Rounds {
		if s.o.Log != nil {
			fmt.Fprintf(s.o.Log, "%s, round %d of %d: %s\n", row.name, round+1, s.o.Rounds, row.what)
		}
		f, err := row.measure(ctx, s)
		if err != nil {
			return Row{}, err
		}
		rounds = append(rounds, f)
	}
	r.Findings = medians(rounds)
	for i := range r.Findings {
		r.Findings[i].judge(!s.o.Short)
	}
	return r, nil
}

// judge says whether a finding reaches what it is to reach. In a short run none
// is judged: it says nothing about speed.
func (f *Found) judge(judged bool) {
	f.NotJudged = !judged
	f.Reached = judged && f.value() >= f.Reach
	if f.AtMost {
		f.Reached = judged && f.value() <= f.Reach
	}
}

// value returns what is compared with the reach: the ratio, where there is one.
func (f Found) value() float64 {
	if f.Baseline != 0 {
		return f.Ratio
	}
	return f.Measured
}

// medians makes one finding of those of all rounds.
func medians(rounds [][]found) []Found {
	var all []Found
	for i, first := range rounds[0] {
		f := Found{What: first.what, Unit: first.unit, Reach: first.reach, AtMost: first.atMost}
		var bases, ratios []float64
		for _, round := range rounds {
			f.Rounds = append(f.Rounds, round[i].value)
			if base := round[i].base; base != 0 {
				bases, ratios = append(bases, base), append(ratios, round[i].value/base)
			}
		}
		f.Measured, f.Baseline, f.Ratio = median(f.Rounds), median(bases), median(ratios)
		all = append(all, f)
	}
	return all
}

func median(of []float64) float64 {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	mid := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[mid]
	}
	return (sorted[mid-1] + sorted[mid]) / 2
}

// anyURL stands for that of a server which will be started.
const anyURL = "ws://127.0.0.1/ws"

// options returns what all measurements have in common.
func (s *suite) options(feature string, connections int) Options {
	o := Options{
		AppID: "app-id-343", UserPrefix: "ANZ", FirstUser: 1_000_000, Connections: s.size.connections(connections), Payload: 1000,
		Feature: feature, Pattern: PatternSelf, Mode: ModeClosed, Outstanding: 1, Absent: 1, Messages: 10,
		Warmup: time.Second, Duration: s.o.Duration, Drain: 10 * time.Second, Pause: 2 * time.Millisecond, Progress: s.o.Progress,
		URLs: []string{anyURL},
	}
	if s.o.Short {
		o.Warmup = 50 * time.Millisecond
	}
	return o
}

// baseline measures the bare echo under the same load.
func (s *suite) baseline(ctx context.Context, o Options) (Run, error) {
	run, err := Baseline(ctx, s.o.Child, o)
	return s.keep(run, err)
}

// serve starts a server with a folder of its own, drives it, and stops it.
func (s *suite) serve(ctx context.Context, o Options) (Run, error) {
	var run Run
	err := s.withFolder(func(data string) error {
		server, err := s.start(ctx, data)
		if err != nil {
			return err
		}
		o.URLs, o.PIDs, o.Key = []string{server.url}, watchable(server), server.key
		if o.streams {
			o.URLs[0] = streamsURL(server.url)
		}
		if o.Mode == ModeSingle {
			o.SyncFolder = data
		}
		run, err = Measure(ctx, o)
		return errors.Join(err, server.stop())
	})
	return s.keep(run, err)
}

// keep notes a run for the report; one that went wrong counts for no row.
func (s *suite) keep(run Run, err error) (Run, error) {
	if run.Name != "" {
		s.runs = append(s.runs, run)
	}
	if err == nil {
		err = run.Trouble()
	}
	return run, err
}

// start starts a server of ours on a data folder.
func (s *suite) start(ctx context.Context, data string) (*server, error) {
	return s.o.Child.start(ctx, "serve", "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", data)
}

// withFolder gives do a folder that is removed afterwards.
func (s *suite) withFolder(do func(data string) error) (err error) {
	folder, err := os.MkdirTemp(s.o.Folder, "switchboard-bench-")
	if err != nil {
		return fmt.Errorf("make a data folder: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(folder)) }()
	return do(filepath.Join(folder, "data"))
}
