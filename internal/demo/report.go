package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// report is what the sensor says once a second.
type report struct {
	Number int64      `json:"number"` // 1, 2, 3 …, over all starts of the sensor
	At     time.Time  `json:"at"`     // UTC
	Host   string     `json:"host"`   // name of the machine
	Load   [3]float64 `json:"load"`   // averages over one, five and fifteen minutes
}

const (
	maxReport    = 4 << 10 // bytes of one
	reportPrefix = "report-"
	reportSuffix = ".json"
	unfinished   = ".tmp" // ends the name of a file that is being written
)

// name is the report's file. Names are in the order of numbers.
func (r report) name() string { return reportName(r.Number) }

func reportName(number int64) string {
	return fmt.Sprintf("%s%09d%s", reportPrefix, number, reportSuffix)
}

// numberOf returns the number that a file's name has, or 0.
func numberOf(name string) int64 {
	text, begins := strings.CutPrefix(name, reportPrefix)
	text, ends := strings.CutSuffix(text, reportSuffix)
	n, err := strconv.ParseInt(text, 10, 64)
	if !begins || !ends || err != nil || n < 1 || reportName(n) != name {
		return 0
	}
	return n
}

// readReport reads a file that may be anything.
func readReport(path string) (report, error) {
	var r report
	f, err := os.Open(path)
	if err != nil {
		return r, err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxReport+1))
	if err = errors.Join(err, f.Close()); err != nil {
		return r, err
	}
	if len(text) > maxReport {
		return r, fmt.Errorf("%s is no report: it has more than %d bytes", path, maxReport)
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r, fmt.Errorf("%s is no report: %w", path, err)
	}
	r.At = r.At.UTC()
	if r.Number < 1 || r.At.Year() < 1970 || r.At.Year() > 9999 {
		return r, fmt.Errorf("%s is no report: it lacks a number or a time", path)
	}
	for _, l := range r.Load {
		if l < 0 || math.IsInf(l, 0) {
			return r, fmt.Errorf("%s is no report: a load of %v", path, l)
		}
	}
	return r, nil
}

// writeWhole has a file with a content in a folder, or none.
func writeWhole(folder, name string, content []byte) error {
	beside := filepath.Join(folder, name+unfinished)
	f, err := os.OpenFile(beside, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	if err := os.Rename(beside, filepath.Join(folder, name)); err != nil {
		return err
	}
	return lifecycle.SyncFolder(folder)
}
