package relay

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

func TestTwoDoorsAtOneAddressAreRefused(t *testing.T) {
	for _, c := range []struct{ program, text, want string }{
		{"collector", "{spool: s, address: 127.0.0.1, port: 5, admin: '127.0.0.1:5'}", ":1: admin: is the address of port, too: give it another port"},
		{"collector", "{spool: s, address: 10.0.0.1, listen: 0.0.0.0, port: 5, admin: '127.0.0.1:5'}", ":1: admin: is the address of port, too"},
		{"collector", "{spool: s, address: 10.0.0.1, port: 5, admin: '127.0.0.1:5'}", ""},
		{"collector", "{spool: s, address: 10.0.0.1, port: 5, admin: ':5'}", ":1: admin: is the address of port, too"},
		{"maker", "{spool: s, listen: 'localhost:5', admin: '127.0.0.1:5'}", ":1: admin: is the address of listen, too"},
		{"maker", "{spool: s, listen: '127.0.0.1:0', admin: '127.0.0.1:0'}", ""},
		{"network", "{server: {address: '::1', port: 5}, admin: '[::1]:5'}", ":1: admin: is the address of server.port, too"},
		{"network", "{server: {port: 5}, admin: '127.0.0.1:6'}", ""},
	} {
		_, err := programs()[c.program].reader(fileWith(t, c.text))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s says %v, not %q", c.program, c.text, err, c.want)
		}
	}
}

func TestARuleForWhichNoFileIsLeftIsRefused(t *testing.T) {
	for rules, want := range map[string]string{
		"[{pattern: a, cluster: c},\n{pattern: a, cluster: d}]":           ":2: nexthop[1]: pattern a: no file is left for it, the rule before it for a takes them all",
		"[{pattern: '*.csv', cluster: c},\n{pattern: x.csv, cluster: d}]": ":2: nexthop[1]: pattern x.csv: no file is left for it, the rule before it for *.csv",
		"{'/[.]csv$/': c, x.csv: d}":                                      "nexthop.x.csv: pattern x.csv: no file is left",
		"{'*': c, '?.csv': d}":                                            "the rule before it for * takes them all",
		"{'x.csv': c, '*.csv': d, 'x.*': e, '*': f}":                      "",
	} {
		_, err := ReadUploader(fileWith(t, "spool: s\nnetwork: {server: 'n:1'}\nnexthop: "+rules), "")
		want = strings.Replace(want, ":2:", ":4:", 1)
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s says %v, not %q", rules, err, want)
		}
	}
}

func TestAPatternThatIsMostLikelyAMistakeIsWarnedOf(t *testing.T) {
	s := UploaderSettings{
		NextHop: []Rule{{"^a", "c"}, {"{a,b}.csv", "c"}, {"*.csv", "c"}, {"[^a]*{1}", "c"}, {"/^a$/", "c"}, {"a.*", "c"}, {".csv", "c"}, {"*.tmp", "c"}, {".*", "c"}},
		Filter:  []string{"csv$"},
	}
	var keys []string
	for _, why := range s.Doubts() {
		key, _, _ := strings.Cut(why, ": ")
		keys = append(keys, key)
	}
	if want := []string{"nexthop[0]", "nexthop[1]", "nexthop[6]", "nexthop[7]", "nexthop[8]", "filter"}; !slices.Equal(keys, want) {
		t.Errorf("in doubt are %q", s.Doubts())
	}
	said := &heard{}
	standard := standardUpload(t.TempDir(), Clusters{})
	standard.NextHop = []Rule{{"^a", "next"}}
	u := newUpload(t, standard)
	u.log = said.log()
	u.start(quickUpload)
	eventually(t, "it warns", func() bool {
		return len(said.lines("level=WARN", "most likely a mistake", "nexthop[0]: pattern ^a: most likely a regular expression")) == 1
	})
}

func TestARuleThatTheFilterLeavesNoFileIsWarnedOf(t *testing.T) {
	for _, c := range []struct {
		filter []string
		rule   string
		want   bool
	}{
		{nil, "*.csv", false}, {[]string{"*.csv"}, "*.csv", false}, {[]string{"*.csv"}, "*.json", true}, {[]string{"*.json", "*.csv"}, "*.csv", false},
		{[]string{"*.gz"}, "*.tar.gz", false}, {[]string{"*.tar.gz"}, "*.gz", false}, {[]string{"*"}, "*.gz", false}, {[]string{"a.csv"}, "*.csv", false},
		{[]string{"a.csv"}, "b.csv", true}, {[]string{"a.csv", "*.gz"}, "b*", false}, {[]string{"a.csv"}, "b*", true}, {[]string{"/csv/"}, "*.json", false},
		{[]string{"a.csv"}, "/b/", true}, {[]string{"a*"}, "*b", false},
	} {
		s := UploaderSettings{Filter: c.filter, NextHop: []Rule{{c.rule, "c"}}}
		if got := s.Doubts(); (len(got) == 1 && strings.Contains(got[0], "no file is left")) != c.want || len(got) > 1 {
			t.Errorf("%q and %s: in doubt are %q", c.filter, c.rule, got)
		}
	}
}

func TestAFileLimitAboveThatOfTheSpoolIsWarnedOf(t *testing.T) {
	for limits, want := range map[string]bool{
		"{file: 2MiB, spool: 1MiB}": true, "{file: 1MiB, spool: 1MiB}": false, "{file: 2MiB}": false, "{spool: 1MiB}": false, "{file: 0, spool: 1MiB}": false,
	} {
		s, err := ReadCollector(fileWith(t, "{spool: s, address: h, port: 1, limits: "+limits+"}"))
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Doubts(); (len(got) == 1 && strings.Contains(got[0], "limits.file: 2MiB")) != want {
			t.Errorf("%s: in doubt are %q", limits, got)
		}
	}
}

func TestAClusterThatIsMistypedIsToldWithTheNearestAndTheFile(t *testing.T) {
	static := fileWith(t, "clusters: {store: [{address: h, port: 1}]}")
	_, err := ReadUploader(fileWith(t, "{spool: s, nexthop: {'*': stroe}}"), static)
	if want := fmt.Sprintf("there is no cluster stroe in %s: did you mean store?", static); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("it says %v, not %s", err, want)
	}
}
