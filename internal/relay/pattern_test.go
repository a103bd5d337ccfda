package relay

import (
	"strings"
	"testing"
)

func TestAPatternIsAGlobOrARegularExpressionBetweenSlashes(t *testing.T) {
	for _, c := range []struct {
		text, name string
		want       bool
	}{
		{"*", "anything at all", true},
		{"*.log", "a.log", true},
		{"*.log", "a.log.gz", false}, // the whole name
		{"a?[0-9].log", "ab7.log", true},
		{"ä*", "äß", true},
		{"[^a]*", "a", false},
		{`\*`, "*", true},
		{"/log/", "a.log.gz", true}, // somewhere in the name
		{"/^log$/", "a.log", false},
		{`/^\d+\.(csv|json)$/`, "17.json", true},
		{"/(?i)LOG/", "a.log", true},
	} {
		p, err := parsePattern(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		}
		if p.matches(c.name) != c.want || p.String() != c.text {
			t.Errorf("%s and %q: %v", p, c.name, !c.want)
		}
	}
	for _, text := range []string{"", "[", "a/b", "/a", "/", "//", "/(/", "/a(?<b/", strings.Repeat("a", maxPattern+1)} {
		if p, err := parsePattern(text); err == nil {
			t.Errorf("%.20q is the pattern %v", text, p)
		}
	}
}

func TestAFilterTakesWhatAnyOfItsPatternsMatches(t *testing.T) {
	f, err := parseFilter([]string{"*.a", "*.b"})
	if err != nil {
		t.Fatal(err)
	}
	if !f.takes("x.a") || !f.takes("x.b") || f.takes("x.c") || !filter(nil).takes("x.c") {
		t.Error("it takes the wrong ones")
	}
	if _, err := parseFilter([]string{"*.a", "["}); err == nil {
		t.Error("no error")
	}
}
