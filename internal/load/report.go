package load

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"time"
)

// Report is what a command found.
type Report struct {
	Version string    `json:"version"` // of this program
	Made    time.Time `json:"made"`
	Machine Machine   `json:"machine"`
	Notes   []string  `json:"notes,omitempty"` // what one has to know to read it
	Runs    []Run     `json:"runs"`
	Rows    []Row     `json:"rows,omitempty"`    // of the suite
	Profile []Step    `json:"profile,omitempty"` // of a profile
}

// Machine is where it was measured.
type Machine struct {
	OS         string `json:"os"`
	Arch       string `json:"arch"`
	Processors int    `json:"processors"`
	Model      string `json:"model,omitempty"`
	Go         string `json:"go"`
}

// Row is one line of the suite's table.
type Row struct {
	Name     string  `json:"name"`
	What     string  `json:"what"`
	Command  string  `json:"command"`
	Findings []Found `json:"findings"`
}

// Found is one number of a row beside what it is to reach.
type Found struct {
	What      string    `json:"what"`
	Unit      string    `json:"unit"`
	Measured  float64   `json:"measured"` // the median
	Rounds    []float64 `json:"rounds"`
	Baseline  float64   `json:"baseline,omitempty"` // what it is compared with, the median
	Ratio     float64   `json:"ratio,omitempty"`    // measured to baseline; the median of the rounds' ratios
	Reach     float64   `json:"reach"`
	AtMost    bool      `json:"atMost"`              // reach is an upper bound; else a lower one
	Reached   bool      `json:"reached"`             // of the ratio where there is one, else of what was measured
	NotJudged bool      `json:"notJudged,omitempty"` // a short run
}

// NewReport returns a report of runs that were measured now, here. Runs that
// measured nothing are left out.
func NewReport(version string, runs ...Run) Report {
	r := Report{Version: version, Made: time.Now().UTC().Truncate(time.Second), Machine: Machine{
		OS: runtime.GOOS, Arch: runtime.GOARCH, Processors: runtime.NumCPU(), Model: processorModel(), Go: runtime.Version(),
	}}
	for _, run := range runs {
		if run.Name != "" {
			r.Runs = append(r.Runs, run)
		}
	}
	return r
}

// processorModel returns the processor's name, where the system tells it.
func processorModel() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(b) {
		if key, value, ok := bytes.Cut(line, []byte(":")); ok && string(bytes.TrimSpace(key)) == "model name" {
			return string(bytes.TrimSpace(value))
		}
	}
	return ""
}

// Empty says whether nothing was measured.
func (r Report) Empty() bool { return len(r.Runs) == 0 && len(r.Rows) == 0 }

// Trouble returns what went wrong in runs that should not have.
func (r Report) Trouble() error {
	var all []error
	for _, run := range r.Runs {
		all = append(all, run.Trouble())
	}
	return errors.Join(all...)
}

// Verdict returns what was lost, repeated and out of order in all runs.
func (r Report) Verdict() (lost, duplicated, reordered int64) {
	for _, run := range r.Runs {
		l, d, o := run.Verdict()
		lost, duplicated, reordered = lost+l, duplicated+d, reordered+o
	}
	return lost, duplicated, reordered
}

// WriteJSON writes the report as JSON.
func (r Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}

// WriteTo writes report.json, report.md and report.svg into a folder, which is
// made if it is not there.
func (r Report) WriteTo(folder string) error {
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	for name, write := range map[string]func(io.Writer) error{"report.json": r.WriteJSON, "report.md": r.WriteMarkdown, "report.svg": r.WriteSVG} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			return fmt.Errorf("write %s: %w", name, err)
		}
		if err := os.WriteFile(filepath.Join(folder, name), b.Bytes(), 0o644); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

// ReadReport reads a report.json.
func ReadReport(path string) (Report, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return Report{}, fmt.Errorf("read a report: %w", err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil {
		return Report{}, fmt.Errorf("%s is no report of bench --json: %w", path, err)
	}
	if r.Empty() {
		return Report{}, fmt.Errorf("%s is no report of bench --json: it holds no measurement", path)
	}
	return r, nil
}
