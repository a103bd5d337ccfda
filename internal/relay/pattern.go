package relay

import (
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
)

// maxPattern bounds the text of a pattern, in bytes.
const maxPattern = 1000

// pattern says which names of files are meant. It is safe for concurrent use.
type pattern struct {
	text string
	glob string         // when there is no expression
	re   *regexp.Regexp // matches anywhere in the name
}

// parsePattern reads a glob, which has to match the whole name (* and ? and [a-z],
// as path.Match reads them), or a regular expression between slashes, which has to
// match somewhere in it.
func parsePattern(text string) (pattern, error) {
	switch {
	case text == "":
		return pattern{}, errors.New("a pattern is empty: * matches all files")
	case len(text) > maxPattern:
		return pattern{}, fmt.Errorf("a pattern has at most %d bytes", maxPattern)
	}
	if inner, found := strings.CutPrefix(text, "/"); found {
		inner, found = strings.CutSuffix(inner, "/")
		if !found || inner == "" {
			return pattern{}, fmt.Errorf("pattern %s: a regular expression stands between two slashes", text)
		}
		re, err := regexp.Compile(inner)
		if err != nil {
			return pattern{}, fmt.Errorf("pattern %s: %w", text, err)
		}
		return pattern{text: text, re: re}, nil
	}
	if strings.Contains(text, "/") {
		return pattern{}, fmt.Errorf("pattern %s: matches nothing, no name of a file has a slash", text)
	}
	if _, err := path.Match(text, ""); err != nil {
		return pattern{}, fmt.Errorf("pattern %s: %w", text, err)
	}
	return pattern{text: text, glob: text}, nil
}

// String returns the pattern as it was written.
func (p pattern) String() string { return p.text }

// matches says whether a name is meant. That without a text matches nothing.
func (p pattern) matches(name string) bool {
	if p.re != nil {
		return p.re.MatchString(name)
	}
	ok, err := path.Match(p.glob, name)
	return ok && err == nil
}

// covers says whether a rule surely takes all files of another one that comes later.
func (r Rule) covers(later Rule) bool {
	if r.Pattern == later.Pattern || r.Pattern == "*" {
		return true
	}
	p, err := parsePattern(r.Pattern)
	return err == nil && !strings.ContainsAny(later.Pattern, `*?[\/`) && p.matches(later.Pattern)
}

// Doubts says of patterns that are good what they most likely should be instead, and
// which rules the filter leaves no file, each with its key.
func (s UploaderSettings) Doubts() (all []string) {
	add := func(text, key string, args ...any) {
		if why := doubtful(text); why != "" {
			all = append(all, fmt.Sprintf(key, args...)+": pattern "+text+": "+why)
		}
	}
	for i, r := range s.NextHop {
		add(r.Pattern, "nexthop[%d]", i)
	}
	for _, text := range s.Filter {
		add(text, "filter")
	}
	for i, r := range s.NextHop {
		may := func(text string) bool { return doubtful(text) != "" || !apart(text, r.Pattern) }
		if len(s.Filter) > 0 && doubtful(r.Pattern) == "" && !slices.ContainsFunc(s.Filter, may) {
			all = append(all, fmt.Sprintf("nexthop[%d]: pattern %s: no file is left for it, the filter takes none of that name", i, r.Pattern))
		}
	}
	return all
}

// apart says whether no name can match both of two good patterns. Of those that are more
// than a name, or a star and an end, it is not known.
func apart(a, b string) bool {
	literal := func(text string) bool { return !strings.ContainsAny(text, `*?[\/`) }
	endOfA, starA := strings.CutPrefix(a, "*")
	endOfB, starB := strings.CutPrefix(b, "*")
	switch {
	case literal(a) || literal(b):
		p, errA := parsePattern(a)
		q, errB := parsePattern(b)
		return errA == nil && errB == nil && !p.matches(b) && !q.matches(a)
	case starA && starB && literal(endOfA) && literal(endOfB):
		return !strings.HasSuffix(endOfA, endOfB) && !strings.HasSuffix(endOfB, endOfA)
	}
	return false
}

// doubtful says what a glob most likely should be; empty for what is not suspicious.
func doubtful(text string) string {
	switch {
	case strings.HasPrefix(text, "/"):
		return ""
	case regexp.MustCompile(`\{[^{}]*,[^{}]*\}`).MatchString(text):
		return "a glob has no choice in braces; most likely two rules are meant, or a regular expression: /[.](csv|txt)$/"
	case regexp.MustCompile(`^\^|\$$|^[.][*+]|\\[.dws]|\(.*\|.*\)`).MatchString(text):
		return "most likely a regular expression: that stands between slashes, as /^a.*[.]csv$/"
	case strings.HasPrefix(text, ".") || strings.HasSuffix(text, ".tmp"):
		return "no file is sent whose name begins with a dot or ends in .tmp; most likely *.csv is meant, say"
	}
	return ""
}

// filter says which files are sent at all: those that match any of its patterns, and
// all of them when it has none.
type filter []pattern

// parseFilter reads a filter.
func parseFilter(texts []string) (filter, error) {
	var f filter
	for _, text := range texts {
		p, err := parsePattern(text)
		if err != nil {
			return nil, err
		}
		f = append(f, p)
	}
	return f, nil
}

// takes says whether a file is to be sent.
func (f filter) takes(name string) bool {
	return len(f) == 0 || slices.ContainsFunc(f, func(p pattern) bool { return p.matches(name) })
}
