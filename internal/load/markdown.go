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
		if err := printProfile(w, r.Profile); err != nil {
			return err
		}
	}
	_, err := io.WriteString(w, r.notes())
	return err
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
	unitRatio = "ratio"
	unitCPU   = "a second of CPU"
)

func number(v float64, unit string) string {
	switch unit {
	case unitMicro:
		if v < 100 {
			return fmt.Sprintf("%.2f µs", v)
		}
		return micros(v)
	case unitBytes:
		if v < 0 {
			return "given back" // gaveBack, short
		}
		return bytesText(int64(v))
	case unitRatio:
		return fmt.Sprintf("%.2f", v)
	case "":
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.0f %s", v, unit)
}

// origin says when, with what and where it was measured.
func (r Report) origin() string {
	m := r.Machine
	return fmt.Sprintf("Measured %s with switchboard %s on %s/%s, %s%s, %s.", r.Made.Format("2006-01-02"), r.Version, m.OS, m.Arch,
		plural(m.Processors, "processor"), strings.TrimSuffix(" ("+m.Model+")", " ()"), m.Go)
}

// essence writes in one line what a run measured.
func (r Run) essence() string {
	var parts []string
	switch {
	case r.Mailbox != nil:
		parts = append(parts, fmt.Sprintf("%d stored, %.0f a second", r.Mailbox.Stored, r.Mailbox.StoredRate))
		if r.Mailbox.FetchedRate > 0 {
			parts = append(parts, fmt.Sprintf("%d fetched, %.0f a second", r.Mailbox.Fetched, r.Mailbox.FetchedRate))
		}
	case r.Crowd != nil:
		parts = append(parts, fmt.Sprintf("all signed in after %s, all reached after %s", micros(r.Crowd.SignedIn), micros(r.Crowd.Reached)))
	case r.Idle != nil:
		for _, s := range []struct {
			when string
			s    Silence
		}{{"silent", r.Idle.Idle}, {"after traffic", r.Idle.After}} {
			if s.s == (Silence{}) {
				continue // there was none
			}
			parts = append(parts, fmt.Sprintf("%s: %s, %.2f µs of CPU a second", s.when, perConnection(s.s.RSSPerConn), s.s.CPUPerConn))
		}
	default:
		parts = append(parts, fmt.Sprintf("%.0f arrived a second", r.ArrivedRate))
		if r.ConfirmedRate > 0 {
			parts = append(parts, fmt.Sprintf("%.0f confirmed", r.ConfirmedRate))
		}
	}
	if r.Interrupted {
		parts = append(parts, "interrupted")
	}
	return strings.Join(parts, "; ")
}

// WriteMarkdown writes the report as a page.
func (r Report) WriteMarkdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString(r.origin() + "\n")
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
	b.WriteString("\n| run | measured | p50 | p99 | server µs a message | lost | duplicated | reordered |\n| --- | --- | --- | --- | --- | --- | --- | --- |\n")
	for _, run := range r.Runs {
		p50, p99, cost := "—", "—", "—"
		if run.Latency != nil {
			p50, p99 = micros(run.Latency.P50), micros(run.Latency.P99)
		}
		if run.Server != nil {
			cost = fmt.Sprintf("%.2f", run.Server.CPUPerMessage)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s%d | %d | %d |\n", run.Name, run.essence(), p50, p99, cost, run.unknown(), run.Lost, run.Duplicated, run.Reordered)
	}
	_, err := io.WriteString(w, b.String())
	return err
}
