package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// refuseSyntax turns what the YAML parser says into a problem with a line.
func (r *fileReader) refuseSyntax(err error, content []byte) {
	text := strings.TrimPrefix(err.Error(), "yaml: ")
	at := Place{File: r.name, Line: 1} // the parser leaves out the first line's number
	if m := regexp.MustCompile(`^line (\d+): (.*)$`).FindStringSubmatch(text); m != nil {
		at.Line, _ = strconv.Atoi(m[1])
		text = m[2]
		if regexp.MustCompile(`^did not find expected (key|<|'-'|',')`).MatchString(text) {
			at.Line++ // it counts lines from 0 when the tokens are good, and only their order is not
		}
	}
	if line, slip := slipOf(text, at.Line, strings.Split(string(content), "\n")); slip != "" {
		at.Line = line
		r.refuse(at, "", "not YAML: %s", slip)
		return
	}
	if strings.HasPrefix(text, "did not find") {
		text += ", here or in a later line" // the line is where the list or mapping around it begins
	}
	r.refuse(at, "", "not YAML: %s", text)
}

// slipOf returns what people get wrong first, with its line, where the parser says it in
// words of its own, or at the line where what is around it begins: patterns without
// quotes, and tabs. It is empty for another mistake. It repeats nothing of the text,
// which may be a secret.
func slipOf(said string, at int, lines []string) (line int, slip string) {
	begins := `(?:^|[:,\[{-])\s*`
	one, rest := lines[min(at, len(lines))-1:min(at, len(lines))], lines[min(at, len(lines))-1:]
	switch {
	case strings.Contains(said, "cannot start any token") || strings.Contains(said, "tab character"):
		if indent := one[0][:len(one[0])-len(strings.TrimLeft(one[0], " \t"))]; strings.Contains(indent, "\t") {
			return at, "a tab is before the first word: indent with spaces"
		}
		return beginsWith(begins+"([@`%][^\\s,\\]}]*)", at, one)
	case strings.Contains(said, "unknown anchor"):
		return beginsWith(begins+`([*][^\s,\]}]*)`, 1, lines)
	case strings.Contains(said, "alphabetic or numeric"):
		if line, slip = beginsWith(begins+`([*&][^\s,\]}]*)`, at, one); slip == "" {
			line, slip = bracketed(at, one)
		}
		return line, slip
	case strings.HasPrefix(said, "did not find expected ','"), strings.HasPrefix(said, "did not find expected key"):
		return bracketed(at, rest)
	}
	return 0, ""
}

// beginsWith finds text that begins with what YAML has another use for.
func beginsWith(pattern string, first int, lines []string) (line int, slip string) {
	line, found := findPlain(pattern, first, lines)
	if found == "" {
		return 0, ""
	}
	return line, fmt.Sprintf("text that begins with %[1]s needs quotes, as in \"%[1]s.csv\"", found[:1])
}

// bracketed finds text with brackets in it where they stand for a list or a mapping:
// after other text within braces, or before it.
func bracketed(first int, lines []string) (line int, slip string) {
	const text = `[^\s"',\[\]{}#]`
	line, found := findPlain(`(?:[\[{].*[:,\[{]\s*|[\[{]\s*)(`+text+`+[\[{][^\s,]*)`, first, lines)
	if after, other := findPlain(`[:,-]\s+([\[{][^\[\]{}]*[\]}]`+text+`[^\s,]*)`, first, lines); other != "" && (found == "" || after < line) {
		line, found = after, other
	}
	if found == "" || strings.HasSuffix(found, ":") {
		return 0, ""
	}
	return line, "text with brackets or braces in it needs quotes, as in \"[a-c]*.csv\""
}

// findPlain returns what the group of a pattern matches first, outside of quotes and
// comments, and in which line, counted from the number of the first one.
func findPlain(pattern string, first int, lines []string) (line int, found string) {
	quoted, wanted := regexp.MustCompile(`"[^"]*"|'[^']*'|(?:^|\s)#.*`), regexp.MustCompile(pattern)
	for i, text := range lines {
		bare := quoted.ReplaceAllStringFunc(text, func(s string) string { return strings.Repeat(`"`, len(s)) })
		if m := wanted.FindStringSubmatch(bare); m != nil && m[1] != "" {
			return first + i, m[1]
		}
	}
	return 0, ""
}
