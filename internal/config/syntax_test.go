package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTextThatNeedsQuotesAndTabsAreToldAtTheirLineWithTheRemedy(t *testing.T) {
	const brackets = "text with brackets or braces in it needs quotes, as in"
	for text, want := range map[string]string{
		"spool: a\nrules:\n  - {pattern: *.csv, cluster: a}\n": `:3: not YAML: text that begins with * needs quotes, as in "*.csv"`,
		"spool: a\nrules:\n  - pattern: *\n    cluster: a\n":   ":3: not YAML: text that begins with * needs",
		"spool: a\nrules:\n  *.csv: a\n":                       ":3: not YAML: text that begins with * needs",
		"spool: '*a' # *b\nfilter: *csv\n":                     ":2: not YAML: text that begins with * needs",
		"spool: a\nfilter: [\"a\", *.txt]\n":                   ":2: not YAML: text that begins with * needs",
		"spool: a\nfilter: &x.csv\n":                           ":2: not YAML: text that begins with & needs",
		"spool: a\nfilter: @x\n":                               ":2: not YAML: text that begins with @ needs",
		"spool: a\nrules:\n  - {pattern: x, cluster: a}\n  - {pattern: .*[.]csv$, cluster: a}\nquiet: 1s\n": ":4: not YAML: " + brackets,
		"spool: a\nrules:\n  - {pattern: /^a{2}/, cluster: a}\n":                                            ":3: not YAML: " + brackets,
		"spool: a\nrules:\n  - {pattern: [a-z]*.csv, cluster: a}\n":                                         ":3: not YAML: " + brackets,
		"spool: a\nfilter: {a,b}.csv\nquiet: 1s\n":                                                          ":2: not YAML: " + brackets,
		"spool: a\nrules:\n\t- pattern: x\n":                                                                ":3: not YAML: a tab is before the first word: indent with spaces",
		"spool: a\nfilter: 'a' b\n":                                                                         ":2: not YAML: did not find expected key, here or in a later line",
		"spool: a\nfilter: [a, b\nquiet: 1s\n":                                                              ":2: not YAML: did not find expected ',' or ']', here or in a later line",
		"spool: a\nrules: [{pattern: \"a[b]\", cluster: {x: [y]}}\nquiet: 1s\n":                             ":2: not YAML: did not find expected ',' or ']'",
	} {
		file := filepath.Join(t.TempDir(), "s.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		d, err := ReadDocument(file, []string{"spool", "rules", "filter", "quiet"})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q\nsays %v, not …%s", text, err, want)
		}
	}
}
