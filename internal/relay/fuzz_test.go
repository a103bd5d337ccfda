package relay

import (
	"encoding/json"
	"errors"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// FuzzRegister checks that no query brings a network server down, and that whoever
// joins is one that a reader of /clusters takes, and that is kept as it is.
func FuzzRegister(f *testing.F) {
	for _, query := range []string{
		"cluster=store&address=10.0.0.1&id=undefined&port=undefined", "cluster=a&address=%5B::ffff:10.0.0.3%5D&id=c&port=80", "cluster=a&address=fe80::1%25eth0&taken=9300",
		"cluster=a&address=0x7f.1", "cluster=%00&id=%ff", "cluster=a&cluster=b&port=0;", "cluster=a&address=[]", "cluster=a&address=a..b.&port=65536",
	} {
		f.Add(query, "[::1]:1")
	}
	f.Fuzz(func(t *testing.T, text, caller string) {
		query, err := url.ParseQuery(text)
		if err != nil {
			return
		}
		a, err := readAsking(query, caller)
		if err != nil {
			if len(err.Error()) > 1000 {
				t.Errorf("a refusal of %d bytes", len(err.Error()))
			}
			return
		}
		g, now := testRoster(), time.Unix(1_700_000_000, 0)
		m, err := g.register(now, a)
		if err != nil {
			t.Fatal(err)
		}
		var back Clusters
		if err := json.Unmarshal(encode(g.list(true)), &back); err != nil {
			t.Fatal(err)
		}
		got := back[a.cluster][m.id]
		if got.Address != a.address || int(got.Port) != m.port || checkReached(got.Address) != nil {
			t.Errorf("%q joins as %+v", text, got)
		}
		if err := testRoster().restore(now, g.state().file()); err != nil {
			t.Error(err)
		}
	})
}

// FuzzReport checks that no report brings a network server down, and that one which is
// taken is told to others within its bounds.
func FuzzReport(f *testing.F) {
	f.Add(encodeReport(Report{Program: programUploader, ID: "u", Targets: []Target{{ID: "1"}}, Failures: []Failure{{Reason: strings.Repeat("ä", maxText)}}, Full: "no room"}))
	f.Add([]byte(`{"program":"collector","id":"1","cluster":"c","everyMillis":-9223372036854775808,"started":"9999-12-31T23:59:59Z"}`))
	f.Add([]byte(`{"program":"maker","id":"m","process":"` + strings.Repeat("p", 2*maxID) + `","targets":null}`))
	f.Add([]byte(`{"program":"maker","id":[]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := parseReport(body)
		if err != nil {
			return
		}
		s, now := newReportBook(), time.Unix(1_700_000_000, 0)
		s.take(now, r, len(body))
		s.take(now.Add(time.Second), r, len(body))
		s.forgetSilent(now.Add(time.Minute))
		_, programs := s.status(now.Add(time.Minute), testRoster())
		text := encode(programs) // which every report has to survive
		if len(s.last) != 1 || s.bytes != len(body) || len(r.Failures) > maxFailures || !utf8.Valid(text) {
			t.Errorf("%d reports of %d bytes: %s", len(s.last), s.bytes, text)
		}
	})
}

// FuzzListing checks that no answer of a network server brings an uploader down, and
// that what is read of it can be read again.
func FuzzListing(f *testing.F) {
	for _, text := range []string{`{"a":{"1":{"address":"h","port":9300}}}`, `{"a":{"1":{"address":"h","port":"9300","lost":"2026-01-31T12:00:00Z"}}}`, `{"a":null}`, `null`, `{"a":{"":{"port":65536}}}`, `[]`} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		var all Clusters
		if json.Unmarshal(body, &all) != nil {
			return
		}
		l, counts := listing{clusters: all}, map[string]bool{}
		for cluster := range all {
			counts[cluster] = true
		}
		if l.narrow(counts) != nil {
			return
		}
		for _, list := range l.clusters {
			maps.DeleteFunc(list, func(_ string, m Member) bool { return m.problem != "" })
		}
		text := encode(l.clusters)
		var again Clusters
		if err := json.Unmarshal(text, &again); err != nil || string(encode(again)) != string(text) {
			t.Errorf("%s becomes %s: %v", text, encode(again), err)
		}
	})
}

// FuzzSettings checks that no file brings a reader of settings down, and that whatever
// is wrong is said with the file's name.
func FuzzSettings(f *testing.F) {
	for _, text := range []string{
		"spool: out\nnexthop:\n  - {pattern: \"*.csv\", cluster: store}\nevery: \"*/5 * * * * *\"\nnetwork: {server: \"n:9200\"}\n",
		"spool: s\nnexthop: &a {\"/x/\": c}\nfilter: [*a]\nclusters: {c: [{address: \"::1\", port: 1}, *a]}\n",
		"address: h\nport: 1\nspool: s\nlimits: {file: 1 GiB, idle: 7d}\ntls: {cert: /dev/zero, key: .}\nsecretFile: /\n",
		"server: {address: 0x7f.1, port: 99999}\nclusters: {port: {start: 0}}\n", "nexthop: [{'*': c}, 1, null, []]\n", "a: &a [*a]", "? [a] : b\n---\n", "every: 0 61 * * * MOO",
	} {
		f.Add([]byte(text))
	}
	readers := programs()
	file := filepath.Join(f.TempDir(), "settings.yaml")
	f.Fuzz(func(t *testing.T, content []byte) {
		if err := os.WriteFile(file, content, 0o600); err != nil {
			t.Fatal(err)
		}
		for name, p := range readers {
			_, err := p.reader(file)
			var problems config.Problems
			if err == nil {
				continue
			}
			if !errors.As(err, &problems) {
				t.Fatalf("%s: %v", name, err)
			}
			for _, one := range problems {
				if one.Place.File != file || one.Text == "" {
					t.Errorf("%s: %v", name, one)
				}
			}
		}
	})
}
