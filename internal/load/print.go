package load

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Print writes a run for people.
func (r Run) Print(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(key, format string, args ...any) { fmt.Fprintf(t, "  %s\t%s\n", key, fmt.Sprintf(format, args...)) }
	fmt.Fprintln(t, r.Name)
	r.printRates(line)
	for _, l := range []struct {
		key string
		l   *Latency
	}{{r.latencyName(), r.Latency}, {"sent to confirmed", r.Confirmation}, {"disk, 1 kB synced", r.DiskSync}} {
		if l.l != nil {
			line(l.key, "p50 %s, p90 %s, p99 %s, p99.9 %s, max %s", micros(l.l.P50), micros(l.l.P90), micros(l.l.P99), micros(l.l.P999), micros(l.l.Max))
		}
	}
	line(r.countName(), "sent %d, arrived %d, %slost %d, duplicated %d, reordered %d", r.Sent, r.Arrived, r.unknown(), r.Lost, r.Duplicated, r.Reordered)
	r.printTrouble(line)
	r.printCosts(line)
	return t.Flush()
}

// unknown writes, if there are any, how many messages nobody can tell the fate
// of.
func (r Run) unknown() string {
	if r.Unknown == 0 {
		return ""
	}
	return fmt.Sprintf("unknown %d (connections ended), ", r.Unknown)
}

// countName says what the counts are of.
func (r Run) countName() string {
	if r.Mode == ModeIdle || r.Mailbox != nil {
		return "count"
	}
	return "with warm-up"
}

// latencyName says between which moments Latency is.
func (r Run) latencyName() string {
	switch {
	case r.Pattern == PatternAbsent:
		return "sent to stored"
	case r.Mode == ModePaced:
		return "due to arrived"
	}
	return "sent to arrived"
}

func (r Run) printRates(line func(key, format string, args ...any)) {
	if r.Mode != ModeIdle && r.Mailbox == nil {
		offered := ""
		if r.OfferedRate > 0 {
			offered = fmt.Sprintf("offered %.0f, ", r.OfferedRate)
		}
		line("a second", "%ssent %.0f, arrived %.0f, for %.1f s", offered, r.SentRate, r.ArrivedRate, r.Seconds)
	}
	if r.ConfirmedRate > 0 {
		line("", "confirmed %.0f", r.ConfirmedRate)
	}
	if m := r.Mailbox; m != nil {
		line("stored", "%s for %s, %.0f a second", plural(int(m.Stored), "message"), plural(m.Users, "absent user"), m.StoredRate)
		if m.FetchedRate > 0 {
			line("fetched", "%d, %.0f a second", m.Fetched, m.FetchedRate)
		}
		switch {
		case m.RSSPerMessage < 0:
			line("memory", gaveBack)
		case m.RSSPerMessage > 0:
			line("memory", "%.0f bytes a waiting message", m.RSSPerMessage)
		}
	}
}

func (r Run) printTrouble(line func(key, format string, args ...any)) {
	if r.Unsent > 0 {
		line("not sent", "%d that were due: the connections took no more", r.Unsent)
	}
	if r.Refused > 0 {
		line("refused", "%d, the first with %s", r.Refused, r.Refusal)
	}
	switch {
	case r.Dropped > 0 && r.whySaid:
		line("connections", "%d ended too early", r.Dropped)
	case r.Dropped > 0:
		line("connections", "%d ended too early, the first because: %s", r.Dropped, r.DropWhy)
	}
	if r.Interrupted {
		line("interrupted", "what was measured until then")
	}
}

func (r Run) printCosts(line func(key, format string, args ...any)) {
	if c := r.Server; c != nil {
		line("server", "%.2f µs of CPU a message, %.0f %% of a processor, %s resident, %s", c.CPUPerMessage, c.CPUPercent, bytesText(c.RSS), perConnection(c.RSSPerConn))
	}
	if c := r.Load; c != nil {
		line("generator", "%.2f µs of CPU a message, %.0f %% of a processor", c.CPUPerMessage, c.CPUPercent)
	}
	if i := r.Idle; i != nil {
		line("without them", "%s resident", bytesText(i.RSSBefore))
		for _, s := range []struct {
			key string
			s   Silence
		}{{"silent", i.Idle}, {"after traffic", i.After}} {
			if s.s == (Silence{}) {
				continue // there was none
			}
			line(s.key, "%s, %s → %s resident, %.2f µs of CPU a connection and second",
				perConnection(s.s.RSSPerConn), bytesText(s.s.RSSFirst), bytesText(s.s.RSSLast), s.s.CPUPerConn)
		}
	}
}

// gaveBack is said instead of a size below zero.
const gaveBack = "the server gave memory back meanwhile: start it anew to measure"

// perConnection writes what a connection takes.
func perConnection(n int64) string {
	if n < 0 {
		return gaveBack
	}
	return bytesText(n) + " a connection"
}

// micros writes a time given in microseconds.
func micros(v float64) string {
	switch {
	case v < 1000:
		return fmt.Sprintf("%.0f µs", v)
	case v < 10_000:
		return fmt.Sprintf("%.2f ms", v/1000)
	case v < 1_000_000:
		return fmt.Sprintf("%.0f ms", v/1000)
	}
	return fmt.Sprintf("%.1f s", v/1e6)
}

// bytesText writes a size.
func bytesText(n int64) string {
	sign := ""
	if n < 0 {
		sign, n = "-", -n
	}
	switch {
	case n < 1<<10:
		return fmt.Sprintf("%s%d B", sign, n)
	case n < 1<<20:
		return fmt.Sprintf("%s%.1f KiB", sign, float64(n)/(1<<10))
	}
	return fmt.Sprintf("%s%.1f MiB", sign, float64(n)/(1<<20))
}

// Trouble says in one sentence what went wrong in a run that should not have,
// nil if nothing did: RELIABLE messages that were lost, repeated or out of
// order. Of FAST messages some may be lost, by what it promises.
func (r Run) Trouble() error {
	if r.Interrupted {
		return nil
	}
	refused := r.Refused
	if r.Mode == ModePaced {
		refused = 0 // who offers more than a server can take must expect to be told so
	}
	var parts []string
	for _, c := range []struct {
		n    int64
		what string
	}{{r.Lost, "lost"}, {r.Unknown, "unknown"}, {r.Duplicated, "duplicated"}, {r.Reordered, "reordered"}, {refused, "refused"}, {int64(r.Dropped), "connections dropped"}} {
		if c.n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", c.n, c.what))
		}
	}
	if len(parts) == 0 || r.Feature != FeatureReliable {
		return nil
	}
	return fmt.Errorf("%s: not every message arrived once and in order: %s", r.Name, strings.Join(parts, ", "))
}
