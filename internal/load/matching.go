package load

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// Matching is what `switchboard bench matching` found: devices that look for each other
// while others wait, in this process, with the log of matches on the disk.
type Matching struct {
	Waiting   int     `json:"waiting"`   // tickets that wait all the time, and fit nobody
	Pairs     int     `json:"pairs"`     // that look for each other at once
	Matches   int64   `json:"matches"`   // that were made while it was measured
	Rate      float64 `json:"rate"`      // of those, a second
	CPU       float64 `json:"cpu"`       // µs of the process for one match: two tickets, the match, and its end
	P50       float64 `json:"p50"`       // µs from the second request until both have heard
	P99       float64 `json:"p99"`       // the same
	Batches   int64   `json:"batches"`   // in which all was stored
	Strangers int64   `json:"strangers"` // devices that were matched with another than theirs
}

// Print writes it for people.
func (m Matching) Print(w io.Writer) error {
	_, err := fmt.Fprintf(w, `%s wait, %s look for each other at once
  matches a second   %.0f
  CPU a match        %.2f µs
  until both know    %s in the middle, 99 %% within %s
  matches a batch    %.1f
`, plural(m.Waiting, "ticket"), plural(m.Pairs, "pair"), m.Rate, m.CPU, micros(m.P50), micros(m.P99), float64(m.Matches)/float64(max(1, m.Batches)))
	return err
}

// measureMatching measures how matching bears those who wait.
func measureMatching(ctx context.Context, s *suite) ([]found, error) {
	few, err := s.matching(ctx, s.size.of(10_000, 100))
	if err != nil {
		return nil, err
	}
	many, err := s.matching(ctx, s.size.of(100_000, 100))
	if err != nil {
		return nil, err
	}
	return []found{
		{what: "matches", unit: unitRate, value: few.Rate, reach: 20_000},
		{what: "CPU a match, with " + spaced(many.Waiting) + " waiting", unit: unitMicro, value: many.CPU, base: few.CPU, reach: 2, atMost: true},
	}, nil
}

// matching has a process of its own measure matching.
func (s *suite) matching(ctx context.Context, waiting int) (m Matching, err error) {
	err = s.withFolder(func(data string) error {
		out, err := s.o.Child.output(ctx, "bench", "matching", "--json", "--waiting", strconv.Itoa(waiting), "--duration", s.o.Duration.String(), "--folder", data)
		if err != nil {
			return err
		}
		return json.Unmarshal(out, &m)
	})
	return m, err
}

// output runs the program and returns what it prints.
func (c Child) output(ctx context.Context, args ...string) ([]byte, error) {
	program := c.Program
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			return nil, fmt.Errorf("find this program: %w", err)
		}
	}
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "SWITCHBOARD_") })
	if c.Procs > 0 {
		cmd.Env = append(cmd.Env, fmt.Sprintf("GOMAXPROCS=%d", c.Procs))
	}
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := startPinned(cmd, c.ServerCPU)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("run %s: %w", strings.Join(args, " "), err), errors.New(said.String()))
	}
	return out.Bytes(), nil
}
