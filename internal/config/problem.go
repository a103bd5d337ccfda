package config

import (
	"cmp"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with the settings.
type Problem struct {
	Place Place
	Key   string // "limits.frame", "apps[1].appId"; empty when it is about the whole
	Text  string // what is wrong, and what would be right
}

// Place is where a value came from. The zero Place is the defaults.
type Place struct {
	File string // path as it was given
	Line int    // from 1; 0 when unknown
	Env  string // name of the environment variable
	Flag string // the flag, "--listen"

	Commit string // of the repository that the file is in; empty for a file of this node
}

// String returns "file:line", with its commit if it is of one, the variable or the flag;
// empty for a default.
func (p Place) String() string {
	switch {
	case p.Flag != "":
		return p.Flag
	case p.Env != "":
		return p.Env
	}
	text := p.File
	if p.File != "" && p.Line > 0 {
		text += ":" + strconv.Itoa(p.Line)
	}
	if p.Commit != "" {
		return inCommit(text, p.Commit)
	}
	return text
}

// Source returns of which kind the place is: flag, environment, repository, file or
// default.
func (p Place) Source() string {
	return []string{"default", "file", "repository", "environment", "flag"}[p.rank()]
}

// Error returns "place: key: text" on one line.
func (p Problem) Error() string {
	var parts []string
	for _, part := range []string{p.Place.String(), p.Key, p.Text} {
		if part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ": ")
}

// Problems is everything that is wrong with the settings, in the order of the
// file, then the environment, then the flags. As an error it has at least one.
type Problems []Problem

// Error returns the problems, each on a line of its own.
func (ps Problems) Error() string {
	lines := make([]string, len(ps))
	for i, p := range ps {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// FromFlags says whether any of the problems stands on the command line.
func (ps Problems) FromFlags() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Place.Flag != "" })
}

// cover says whether any of the problems is about the same key of the same
// source, or about what that key is part of: then q is only its consequence.
func (ps Problems) cover(q Problem) bool {
	return slices.ContainsFunc(ps, func(p Problem) bool {
		rest, ok := strings.CutPrefix(q.Key, p.Key)
		return ok && p.Key != "" && (rest == "" || rest[0] == '.' || rest[0] == '[') &&
			p.Place.rank() == q.Place.rank()
	})
}

// about says whether one of them is about one of the keys, which then holds something
// though it counts as absent.
func (ps Problems) about(keys ...string) bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return slices.Contains(keys, p.Key) })
}

// orNil returns the problems as an error: nil when there are none.
func (ps Problems) orNil() error {
	if len(ps) == 0 {
		return nil
	}
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Place.rank(), b.Place.rank()), cmp.Compare(a.Place.Line, b.Place.Line))
	})
	return ps
}

func (p Place) rank() int {
	switch {
	case p.Flag != "":
		return 4
	case p.Env != "":
		return 3
	case p.Commit != "":
		return 2
	case p.File != "":
		return 1
	}
	return 0
}

// DidYouMean returns ": did you mean X?" for the nearest of the known names,
// or nothing when none is near.
func DidYouMean(name string, known []string) string {
	word := plain(name)
	best, least := "", len(word)/3+1
	for _, k := range known {
		d := distance(word, plain(k))
		begins := strings.HasPrefix(word, plain(k)) || strings.HasPrefix(plain(k), word)
		if len(word) >= 3 && begins || len(word) >= 4 && strings.HasSuffix(plain(k), word) {
			d = min(d, 1)
		}
		if d < least {
			best, least = k, d
		}
	}
	if best == "" {
		return ""
	}
	return ": did you mean " + best + "?"
}

// MeantBy returns which of the known names another one most likely is, mistyped: it
// differs by its case, or by one letter that is missing, too much, another one or
// swapped. Of names of three letters and less it is the case alone: they are near to
// too many. It is empty when none is that near, or name is known.
func MeantBy(name string, known []string) string {
	if slices.Contains(known, name) {
		return ""
	}
	for _, k := range known {
		if strings.EqualFold(name, k) || len(k) > 3 && distance(strings.ToLower(name), strings.ToLower(k)) == 1 {
			return k
		}
	}
	return ""
}

// plain drops what people get wrong first: case and separators.
func plain(name string) string {
	return strings.ToLower(strings.NewReplacer("_", "", "-", "", ".", "").Replace(name))
}

// distance counts the single-byte insertions, deletions, replacements and
// swaps of neighbours that turn one word into the other.
func distance(a, b string) int {
	var before []int
	last := make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}
