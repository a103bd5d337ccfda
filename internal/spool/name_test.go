package spool

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

func TestNamesThatAFileMayHave(t *testing.T) {
	for _, name := range []string{"a", "a b.txt", "ü.txt", "a..b", "-rf", "~", "a.tmp.gz", "%2f", "文件", strings.Repeat("x", 255), "CON", "a:b", "e\u0301"} {
		if err := CheckName(name); err != nil {
			t.Error(err)
		}
	}
	for name, reason := range map[string]string{
		"": "empty", ".": "a dot", "..": "a dot", ".hidden": "a dot", "a/b": "slash", "/a": "slash", `a\b`: "slash",
		"a\x00": "control", "a\nb": "control", "a\x7f": "control", "a\u0085": "control", "a\u2028": "control", "a\xff": "UTF-8", "a.tmp": "being written",
		strings.Repeat("ü", 128): "256 bytes",
	} {
		err := CheckName(name)
		if named := (*NameError)(nil); !errors.As(err, &named) || named.Name != name || !strings.Contains(err.Error(), reason) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestNamesBesideALongOneAreNames(t *testing.T) {
	digest := Digest{0xab}
	for _, name := range []string{
		strings.Repeat("x", 255), strings.Repeat("x", 251) + ".txt", strings.Repeat("ü", 127), strings.Repeat("文", 83) + ".txt", "." + "a", "a." + strings.Repeat("e", 253),
	} {
		seen := map[string]bool{}
		for _, c := range candidates(name, digest) {
			if len(c) > 255 || !utf8.ValidString(c) || seen[c] {
				t.Errorf("%q may become %q", name, c)
			}
			seen[c] = true
		}
		if n := numbered(name, 100, len(reasonSuffix)) + reasonSuffix; len(n) > 255 || !utf8.ValidString(n) {
			t.Errorf("%q may become %q", name, n)
		}
	}
}
