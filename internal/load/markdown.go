package load

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print writes the report for people at a terminal.
func (r Report) Print(w io.Writer) error {
	if len(r.Rows) > 0 {
		return r.printRows(w)
	}
	for _, run := range r.Runs {
		if err := run.Print(w); err != nil {
			return err
		}
	}
	if len(r.Profile) > 0 {
		return printProfile(w, r.Profile)
	}
	return nil
}

func (r Report) printRows(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "row\twhat\tmeasured\tcompared with\tratio\treach\t")
	for _, row := range r.Rows {
		for _, f := range row.Findings {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Name, f.What, f.measured(), f.baseline(), f.ratio(), f.reach(), f.verdict())
		}
	}
	if err := t.Flush(); err != nil {
		return err
	}
	lost, duplicated, reordered := r.Verdict()
	_, err := fmt.Fprintf(w, "In %s: lost %d, duplicated %d, reordered %d.\n%s", plural(len(r.Runs), "run"), lost, duplicated, reordered, r.notes())
	return err
}

// notes writes what one has to know to read the report, a line each.
func (r Report) notes() string {
	var b strings.Builder
	for _, note := range r.Notes {
		b.WriteString(note + "\n")
	}
	return b.String()
}

func (f Found) measured() string { return number(f.Measured, f.Unit) }

func (f Found) baseline() string {
	if f.Baseline == 0 {
		return "—"
	}
	return number(f.Baseline, f.Unit)
}

func (f Found) ratio() string {
	if f.Baseline == 0 {
		return "—"
	}
	return fmt.Sprintf("%.2f", f.Ratio)
}

func (f Found) reach() string {
	bound := "≥ "
	if f.AtMost {
		bound = "≤ "
	}
	if f.Baseline != 0 {
		return fmt.Sprintf("%s%.2f", bound, f.Reach)
	}
	return bound + number(f.Reach, f.Unit)
}

func (f Found) verdict() string {
	if f.NotJudged {
		return "not judged"
	}
	if f.Reached {
		return "reached"
	}
	return "not reached"
}

// Units of findings.
const (
	unitRate  = "a second"
	unitMicro = "µs"
	unitBytes = "bytes"
)

func number(v float64, unit string) string {
	switch unit {
	case unitMicro:
		if v < 100 {
			return fmt.Sprintf("%.2f µs", v)
		}
		return micros(v)
	case unitBytes:
		return bytesText(int64(v))
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

// WriteMarkdown writes the report as a page.
func (r Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	m := r.Machine
	fmt.Fprintf(&b, "Measured %s with switchboard %s on %s/%s, %d processors%s, %s.\n", r.Made.Format("2006-01-02"), r.Version, m.OS, m.Arch, m.Processors,
		strings.TrimSuffix(" ("+m.Model+")", " ()"), m.Go)
	b.WriteString(r.notes())
	if len(r.Rows) > 0 {
		b.WriteString("\n| row | what | measured | compared with | ratio | reach | |\n| --- | --- | --- | --- | --- | --- | --- |\n")
		for _, row := range r.Rows {
			for _, f := range row.Findings {
				fmt.Fprintf(&b, "| `%s` | %s | %s | %s | %s | %s | %s |\n", row.Name, f.What, f.measured(), f.baseline(), f.ratio(), f.reach(), f.verdict())
			}
		}
	}
	if len(r.Profile) > 0 {
		b.WriteString("\n```\n")
		if err := printProfile(&b, r.Profile); err != nil {
			return err
		}
		b.WriteString("```\n")
	}
	b.WriteString("\n| run | arrived a second | p50 | p99 | server µs a message | lost | duplicated | reordered |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, run := range r.Runs {
		p50, p99, cost := "—", "—", "—"
		if run.Latency != nil {
			p50, p99 = micros(run.Latency.P50), micros(run.Latency.P99)
		}
		if run.Server != nil {
			cost = fmt.Sprintf("%.2f", run.Server.CPUPerMessage)
		}
		fmt.Fprintf(&b, "| %s | %.0f | %s | %s | %s | %d | %d | %d |\n", run.Name, run.ArrivedRate, p50, p99, cost, run.Lost, run.Duplicated, run.Reordered)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
