package domains

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a description.
type Problem struct {
	Line  int    // in the file, from 1
	Entry string // "domainLinks[3].n2", counted from 0; empty when it is about the whole
	Text  string // what is wrong, and what to do
}

// Error returns "line 12: domainLinks[3].n2: text" on one line.
func (p Problem) Error() string {
	parts := []string{"line " + strconv.Itoa(p.Line), p.Entry, p.Text}
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), ": ")
}

// Problems is everything that is wrong with a description, in the order of the
// file. As an error it has at least one.
type Problems []Problem

// Error returns the problems, each on a line of its own.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// orNil returns the problems as an error: nil when there are none.
func (ps Problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int { return cmp.Compare(a.Line, b.Line) })
	if more := len(ps) - maxProblems; more > 0 {
		first := ps[maxProblems]
		ps = append(ps[:maxProblems:maxProblems], Problem{Line: first.Line, Text: fmt.Sprintf("at least %d more from here on: put those before right first", more)})
	}
	return ps
}

// quote returns text as it may stand in a problem: quoted, and not long.
func quote(text string) string {
	const most = 80 // longer than any good name
	if len(text) > most {
		return strconv.QuoteToASCII(text[:most]) + "…"
	}
	return strconv.Quote(text)
}

// nearest returns "; did you mean X?" for the known name that differs least, or
// nothing when none is near.
func nearest(name string, known []string) string {
	if len(name) > MaxName {
		return ""
	}
	best, least := "", len(name)/3+1
	for _, k := range known {
		if d := distance(strings.ToLower(name), strings.ToLower(k)); d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return "; did you mean " + best + "?"
}

// distance counts the bytes to insert, delete or replace to turn a into b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(row[j+1]+1, row[j]+1, before+cost)
		}
	}
	return row[len(b)]
}
