package domains_test

import (
	"errors"
	"math"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// FuzzParse checks that no file brings the reader down, that whatever is wrong
// is said with its line, and that what is accepted keeps its promises, and is
// accepted again as the JSON that a meta server makes of it.
func FuzzParse(f *testing.F) {
	f.Add([]byte(example))
	f.Add([]byte(two))
	f.Add([]byte("domains: &d [{name: a, urls: &u [ws://a]}, {name: b, urls: *u}]\ndomainLinks: [{n1: a, n2: b, cost: 1_0}]\nspring: *d"))
	f.Add([]byte("domains: &d [*d]\n"))
	f.Add([]byte("domains: [{name: a, urls: ['tcp://a', 'http://a:1/b?c']}]\nclientApps: [{appName: A, appId: \"\\u00e9\\n\", masterUserId: A-7, userDistributions: [{domainName: a, from: 0, to: 9223372036854775807}]}]\n"))
	for _, bad := range badFiles {
		if len(bad.file) < 1000 {
			f.Add([]byte(bad.file))
		}
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		n, notices, err := domains.Parse(file)
		for _, notice := range notices {
			if notice == "" {
				t.Error("an empty notice")
			}
		}
		if !accepted(t, n, err) {
			return
		}
		text := encoded(t, n)
		again, err := domains.ParseJSON(text)
		if err != nil {
			t.Fatalf("served, yet refused: %v\n%s", err, text)
		}
		if again.Hash() != n.Hash() || string(encoded(t, again)) != string(text) {
			t.Fatalf("it comes back as another:\n%s\n%s", text, encoded(t, again))
		}
		if len(text) <= domains.MaxFile && n.Version == 0 {
			asYAML(t, n, text)
		}
	})
}

// asYAML reads the JSON of a network as the YAML that it is, but for its
// version.
func asYAML(t *testing.T, n *domains.Network, text []byte) {
	t.Helper()
	const version = `{"version":0,`
	again, _, err := domains.Parse(append([]byte("{"), text[len(version):]...))
	if err != nil || again.Hash() != n.Hash() {
		t.Fatalf("not the same as YAML: %v\n%s", err, text)
	}
}

// FuzzParseJSON checks the same of what comes from a meta server.
func FuzzParseJSON(f *testing.F) {
	f.Add([]byte(good))
	f.Add([]byte(`{"version":9007199254740991,"domains":[{"name":"domain-02","urls":["https://a"]}]}`))
	f.Add([]byte(`{"version":1,"domains":null}`))
	f.Add([]byte("{\"version\":1,\n\"domains\":[{\"name\":\"\\u0061\",\"urls\":[\"ws://\\ud800\"]}]}"))
	f.Fuzz(func(t *testing.T, data []byte) {
		n, err := domains.ParseJSON(data)
		if !accepted(t, n, err) {
			return
		}
		text := encoded(t, n)
		again, err := domains.ParseJSON(text)
		if err != nil || again.Hash() != n.Hash() || again.Version != n.Version || string(encoded(t, again)) != string(text) {
			t.Fatalf("it comes back as another: %v\n%s", err, text)
		}
	})
}

// accepted says whether a description was accepted, and checks what is promised
// of it either way.
func accepted(t *testing.T, n *domains.Network, err error) bool {
	t.Helper()
	if err != nil {
		var problems domains.Problems
		if !errors.As(err, &problems) || len(problems) == 0 || n != nil {
			t.Fatalf("refused without problems, or not altogether: %v", err)
		}
		for _, p := range problems {
			if p.Line < 1 || p.Text == "" || len(p.Error()) > 1000 {
				t.Fatalf("a problem without its line or its text, or one that is too long: %+v", p)
			}
		}
		return false
	}
	routes := n.Routes(n.Domains[0].Name)
	for _, d := range n.Domains {
		if d.User() == "" || len(routes.Path(d.Name)) == 0 {
			t.Fatalf("domain %+v: path %v", d, routes.Path(d.Name))
		}
	}
	for _, a := range n.Apps {
		next := int64(0)
		for i, r := range a.Distributions {
			if home, ok := n.Home(a.Name, r.From); home != r.Domain || !ok || r.From != next {
				t.Fatalf("range %d of %s begins at %d, after %d, and lives in %q, %v", i, a.Name, r.From, next-1, home, ok)
			}
			if r.To == nil {
				if home, _ := n.Home(a.Name, math.MaxInt64); home != r.Domain || i != len(a.Distributions)-1 {
					t.Fatalf("range %d of %s is open-ended, and the last number lives in %q", i, a.Name, home)
				}
				break
			}
			if home, _ := n.Home(a.Name, *r.To); home != r.Domain {
				t.Fatalf("the end of range %d of %s lives in %q", i, a.Name, home)
			}
			next = *r.To + 1
		}
	}
	return true
}
