package load

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
)

// Compare prints two reports side by side, under the names of their files: what
// both have measured, under the same name, and the ratio of B to A.
func Compare(w io.Writer, nameA, nameB string, a, b Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "\tA: %s\tB: %s\tB/A\n\t%s, %s\t%s, %s\t\n", nameA, nameB, a.Version, a.Made.Format("2006-01-02"), b.Version, b.Made.Format("2006-01-02"))
	n := 0
	line := func(what string, x, y float64, unit string) {
		ratio := "—"
		if x > 0 && y >= 0 {
			ratio = fmt.Sprintf("%.2f", y/x)
		}
		n++
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", what, number(x, unit), number(y, unit), ratio)
	}
	for _, row := range a.Rows {
		compareRows(row, b.Rows, line)
	}
	// The suite's runs are rounds of its rows; those stand above.
	if len(a.Rows) == 0 || len(b.Rows) == 0 {
		used := make([]bool, len(b.Runs))
		for _, run := range a.Runs {
			for i, other := range b.Runs {
				if run.Name == other.Name && !used[i] {
					used[i] = true
					compareRuns(t, run, other, line)
					break
				}
			}
		}
	}
	if n == 0 {
		return errors.New("the two reports have no measurement in common: give reports of the same bench command")
	}
	return t.Flush()
}

func compareRows(row Row, others []Row, line func(what string, x, y float64, unit string)) {
	for _, other := range others {
		if other.Name != row.Name {
			continue
		}
		for _, f := range row.Findings {
			for _, g := range other.Findings {
				if f.What != g.What {
					continue
				}
				line(row.Name+": "+f.What, f.Measured, g.Measured, f.Unit)
				if f.Baseline != 0 && g.Baseline != 0 {
					line("  as a ratio", f.Ratio, g.Ratio, unitRatio)
				}
			}
		}
	}
}

func compareRuns(w io.Writer, a, b Run, line func(what string, x, y float64, unit string)) {
	fmt.Fprintln(w, a.Name+"\t\t\t")
	if a.Idle == nil && a.Mailbox == nil {
		line("  arrived", a.ArrivedRate, b.ArrivedRate, unitRate)
	}
	if a.ConfirmedRate != 0 || b.ConfirmedRate != 0 {
		line("  confirmed", a.ConfirmedRate, b.ConfirmedRate, unitRate)
	}
	for _, l := range []struct {
		what string
		a, b *Latency
	}{{"latency", a.Latency, b.Latency}, {"confirmation", a.Confirmation, b.Confirmation}} {
		if l.a == nil || l.b == nil {
			continue
		}
		line("  "+l.what+" p50", l.a.P50, l.b.P50, unitMicro)
		line("  "+l.what+" p99", l.a.P99, l.b.P99, unitMicro)
		line("  "+l.what+" p99.9", l.a.P999, l.b.P999, unitMicro)
		line("  "+l.what+" max", l.a.Max, l.b.Max, unitMicro)
	}
	if a.Unknown != 0 || b.Unknown != 0 {
		line("  unknown", float64(a.Unknown), float64(b.Unknown), "")
	}
	line("  lost", float64(a.Lost), float64(b.Lost), "")
	line("  duplicated", float64(a.Duplicated), float64(b.Duplicated), "")
	line("  reordered", float64(a.Reordered), float64(b.Reordered), "")
	if a.Server != nil && b.Server != nil {
		line("  server CPU a message", a.Server.CPUPerMessage, b.Server.CPUPerMessage, unitMicro)
		line("  server memory a connection", float64(a.Server.RSSPerConn), float64(b.Server.RSSPerConn), unitBytes)
	}
	if a.Idle != nil && b.Idle != nil {
		line("  silent memory a connection", float64(a.Idle.Idle.RSSPerConn), float64(b.Idle.Idle.RSSPerConn), unitBytes)
		line("  after traffic", float64(a.Idle.After.RSSPerConn), float64(b.Idle.After.RSSPerConn), unitBytes)
		line("  silent CPU a connection and second", a.Idle.Idle.CPUPerConn, b.Idle.Idle.CPUPerConn, unitMicro)
	}
	if a.Mailbox != nil && b.Mailbox != nil {
		line("  stored", a.Mailbox.StoredRate, b.Mailbox.StoredRate, unitRate)
		line("  fetched", a.Mailbox.FetchedRate, b.Mailbox.FetchedRate, unitRate)
	}
}
