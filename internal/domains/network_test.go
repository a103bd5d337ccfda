package domains_test

import (
	"encoding/json"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// example is the file that the documentation shows.
const example = `
domains:
  - name: domain-01
    urls: ["wss://d1.example.org:8088"]
  - name: domain-02
    urls: ["wss://d2.example.org:8088"]
domainLinks:
  - {n1: domain-01, n2: domain-02, cost: 1}
clientApps:
  - appName: ANZ
    appId: app-id-343
    masterUserId: ANZ-123223
    authUrl: http://localhost:4200/auth
    authEnabled: false
    userDistributions:
      - {domainName: domain-01, from: 0, to: 999999}
      - {domainName: domain-02, from: 1000000}
`

// parsed returns what a good file describes.
func parsed(t testing.TB, file string) *domains.Network {
	t.Helper()
	n, _, err := domains.Parse([]byte(file))
	if err != nil {
		t.Fatalf("%v\n%s", err, file)
	}
	return n
}

// encoded returns a network as a meta server serves it.
func encoded(t testing.TB, n *domains.Network) []byte {
	t.Helper()
	text, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestAFileBecomesTheJSONThatAMetaServerServes(t *testing.T) {
	n, notices, err := domains.Parse([]byte(example))
	if err != nil || len(notices) != 0 {
		t.Fatal(notices, err)
	}
	const want = `{"version":7,"domains":[{"name":"domain-01","urls":["wss://d1.example.org:8088"]},{"name":"domain-02","urls":["wss://d2.example.org:8088"]}],` +
		`"domainLinks":[{"n1":"domain-01","n2":"domain-02","cost":1}],` +
		`"clientApps":[{"appName":"ANZ","appId":"app-id-343","masterUserId":"ANZ-123223","authUrl":"http://localhost:4200/auth","authEnabled":false,` +
		`"userDistributions":[{"domainName":"domain-01","from":0,"to":999999},{"domainName":"domain-02","from":1000000}]}]}`
	if n.Version != 0 {
		t.Errorf("a file has version %d", n.Version)
	}
	text := encoded(t, n.WithVersion(7))
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	again, err := domains.ParseJSON(text)
	if err != nil || again.Version != 7 || again.Hash() != n.Hash() {
		t.Errorf("read again: version %d, hash %s instead of %s, %v", again.Version, again.Hash(), n.Hash(), err)
	}
}

func TestWhatIsLeftOutHasItsDefault(t *testing.T) {
	n := parsed(t, "domains: [{name: a, urls: [ws://a]}, {name: b, urls: [ws://b]}]\ndomainLinks: [{n1: b, n2: a}]\nclientApps: [{appName: A, appId: x}]")
	if n.Links[0] != (domains.Link{N1: "a", N2: "b", Cost: 1}) {
		t.Errorf("the link is %+v", n.Links[0])
	}
	if a := n.Apps[0]; !a.AuthEnabled || a.Distributions != nil {
		t.Errorf("the app is %+v", a)
	}
	alone := parsed(t, "domains: [{name: a, urls: [ws://a]}]")
	if text := string(encoded(t, alone)); !strings.Contains(text, `"domainLinks":[],"clientApps":[]`) {
		t.Errorf("empty lists are %s", text)
	}
}

func TestTheHashIsOfTheMeaning(t *testing.T) {
	one := parsed(t, example)
	other := parsed(t, `
clientApps:
  - userDistributions:
      - {from: 1_000_000, to: 9223372036854775807, domainName: domain-02}
      - {from: 500, to: 999999, domainName: domain-01}
      - {from: 0, to: 499, domainName: domain-01}
    authEnabled: false
    authUrl: "http://localhost:4200/auth"
    appId: app-id-343
    appName: ANZ
    masterUserId: ANZ-123223
domainLinks: [{n2: domain-01, n1: domain-02}]
domains:
  - {urls: ["tcp://old:1", "wss://d2.example.org:8088"], name: domain-02}
  - {urls: [wss://d1.example.org:8088], name: domain-01}
`)
	if one.Hash() != other.Hash() || one.Hash() != one.WithVersion(3).Hash() {
		t.Errorf("the same meaning has the hashes\n%s\n%s\n%s", one.Hash(), other.Hash(), one.WithVersion(3).Hash())
	}
	if string(encoded(t, one)) != string(encoded(t, other)) {
		t.Errorf("the same meaning is served as\n%s\n%s", encoded(t, one), encoded(t, other))
	}
	byHand := &domains.Network{Version: 9, Domains: slices.Clone(one.Domains), Links: slices.Clone(one.Links), Apps: slices.Clone(one.Apps)}
	slices.Reverse(byHand.Domains)
	if byHand.Hash() != one.Hash() {
		t.Error("a network made by hand has another hash")
	}
}

func TestEveryChangeOfMeaningChangesTheHash(t *testing.T) {
	seen := map[string]string{parsed(t, example).Hash(): "the example"}
	for _, change := range [][2]string{
		{"wss://d1.example.org:8088", "wss://d1.example.org:8089"},
		{`["wss://d1.example.org:8088"]`, `["wss://d1.example.org:8088", "wss://d3.example.org"]`},
		{`["wss://d1.example.org:8088"]`, `["wss://d3.example.org", "wss://d1.example.org:8088"]`}, // they are tried in turn
		{"cost: 1", "cost: 2"},
		{"appId: app-id-343", "appId: app-id-344"},
		{"masterUserId: ANZ-123223", "masterUserId: ANZ-123224"},
		{"4200/auth", "4200/other"},
		{"authEnabled: false", "authEnabled: true"},
		{"appName: ANZ\n", "appName: BNZ\n"},
		{"from: 1000000}", "from: 1000000, to: 2000000}"},
		{"to: 999999}\n      - {domainName: domain-02, from: 1000000", "to: 999998}\n      - {domainName: domain-02, from: 999999"},
	} {
		file := strings.Replace(example, change[0], change[1], 1)
		if strings.Contains(change[0], "appName") {
			file = strings.Replace(file, "ANZ-123223", "BNZ-123223", 1)
		}
		hash := parsed(t, file).Hash()
		if other := seen[hash]; other != "" || file == example {
			t.Errorf("%q has the hash of %s", change[1], other)
		}
		seen[hash] = change[1]
	}
}

func TestWhereANumberLives(t *testing.T) {
	n := parsed(t, `
domains: [{name: a, urls: [ws://a]}, {name: b, urls: [ws://b]}]
domainLinks: [{n1: a, n2: b}]
clientApps:
  - appName: OPEN
    appId: x
    userDistributions: [{domainName: a, from: 0, to: 9}, {domainName: b, from: 10, to: 10}, {domainName: a, from: 11}]
  - {appName: CLOSED, appId: x, userDistributions: [{domainName: b, from: 0, to: 99}]}
  - {appName: FREE, appId: x}
`)
	for _, test := range []struct {
		app    string
		number int64
		home   string
		ok     bool
	}{
		{"OPEN", 0, "a", true}, {"OPEN", 9, "a", true}, {"OPEN", 10, "b", true}, {"OPEN", 11, "a", true}, {"OPEN", math.MaxInt64, "a", true},
		{"CLOSED", 99, "b", true}, {"CLOSED", 100, "", true}, {"CLOSED", math.MaxInt64, "", true}, {"CLOSED", -1, "", true},
		{"FREE", 5, "", false}, {"NONE", 5, "", false}, {"", 5, "", false},
	} {
		if home, ok := n.Home(test.app, test.number); home != test.home || ok != test.ok {
			t.Errorf("%s-%d lives in %q, %v; want %q, %v", test.app, test.number, home, ok, test.home, test.ok)
		}
	}
	for _, test := range []struct {
		app, domain string
		from, next  int64
		ok          bool
	}{
		{"OPEN", "a", 0, 0, true}, {"OPEN", "a", 9, 9, true}, {"OPEN", "a", 10, 11, true}, {"OPEN", "a", math.MaxInt64, math.MaxInt64, true},
		{"OPEN", "b", 0, 10, true}, {"OPEN", "b", 11, 0, false}, {"CLOSED", "a", 0, 0, false}, {"CLOSED", "b", 99, 99, true}, {"CLOSED", "b", 100, 0, false},
		{"FREE", "a", 5, 5, true}, {"NONE", "a", 5, 5, true},
	} {
		if next, ok := n.Next(test.app, test.domain, test.from); next != test.next || ok != test.ok {
			t.Errorf("from %s-%d on the first of %s is %d, %v; want %d, %v", test.app, test.from, test.domain, next, ok, test.next, test.ok)
		}
	}
}

func TestDomainsAndAppsAreFoundByName(t *testing.T) {
	n := parsed(t, example)
	if d, ok := n.Domain("domain-02"); !ok || d.URLs[0] != "wss://d2.example.org:8088" {
		t.Errorf("domain-02 is %+v, %v", d, ok)
	}
	if a, ok := n.App("ANZ"); !ok || a.ID != "app-id-343" {
		t.Errorf("ANZ is %+v, %v", a, ok)
	}
	_, domain := n.Domain("domain-03")
	_, app := n.App("A")
	if domain || app {
		t.Error("found what is not there")
	}
}

func TestNamesThatAreNoDomainsAreToldWithWhatMayBeMeant(t *testing.T) {
	n := parsed(t, "domains: [{name: perth, urls: [ws://a]}, {name: domain-02, urls: [ws://b]}]\ndomainLinks: [{n1: perth, n2: domain-02}]")
	got := n.Unknown([]string{"domain-02", "pert", "sydney_harbour"})
	want := []string{`"pert" is not one of the domains; did you mean perth?`, `"sydney_harbour" is not one of the domains`}
	if !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}
