package domains_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

// two are two domains with a link, as the beginning of a file of five lines.
const two = `domains:
  - {name: a, urls: [ws://a]}
  - {name: b, urls: [ws://b]}
domainLinks:
  - {n1: a, n2: b}
`

// ranges is an app in line 7 with ranges, each a line.
func ranges(list ...string) string {
	return two + "clientApps:\n  - appName: A\n    appId: x\n    userDistributions:\n      - " + strings.Join(list, "\n      - ") + "\n"
}

func app(fields string) string { return two + "clientApps:\n  - {" + fields + "}\n" }

func repeat(count int, line func(i int) string) string {
	var b strings.Builder
	for i := range count {
		b.WriteString(line(i))
	}
	return b.String()
}

// badFiles are files and all that is said of them.
var badFiles = []struct {
	name, file string
	want       []string
}{
	// The form.
	{"empty", "", []string{"line 1: is empty: name the domains under domains, their links under domainLinks, the apps under clientApps"}},
	{"only a comment", "# nothing yet\n", []string{"line 1: is empty: name the domains under domains, their links under domainLinks, the apps under clientApps"}},
	{"null", "~\n", []string{"line 1: is empty: name the domains under domains, their links under domainLinks, the apps under clientApps"}},
	{"not YAML", "domains:\n  - {name: a\n  urls: [}\n", []string{"line 1: not YAML: did not find expected ',' or '}', here or in a later line: correct the line, and mind its indentation"}},
	{"not YAML in the first line", "\tdomains:\n", []string{"line 1: not YAML: found character that cannot start any token: correct the line, and mind its indentation"}},
	{"not text", "domains:\n  \xff\n", []string{"line 2: not YAML: a byte that is not UTF-8 is in this line: take it away"}},
	{"a NUL byte", two + "clientApps: [\x00]\n", []string{"line 6: not YAML: a control character (0x00) is in this line: take it away"}},
	{"two documents", two + "---\ndomains: []\n", []string{"line 6: a second document begins here: a description is one document"}},
	{"too large", "# " + strings.Repeat("x", domains.MaxFile), []string{"line 1: the file has 1048578 bytes: at most 1048576 are read"}},
	{"a list", "- a\n", []string{"line 1: must be keys with values (domains, domainLinks, clientApps), not a list"}},
	{"a word", "hello\n", []string{"line 1: must be keys with values (domains, domainLinks, clientApps), not a single value"}},
	{"an unknown key", two + "domainlinks: []\n", []string{"line 6: domainlinks: unknown key: did you mean domainLinks? The keys here are domains, domainLinks, clientApps"}},
	{"the server's own number", two + "version: 3\n", []string{"line 6: version: unknown key: take it away; the keys here are domains, domainLinks, clientApps"}},
	{"an unknown key below", two + "clientApps:\n  - {appName: A, appId: x, allowApps: [B]}\n", []string{"line 7: clientApps[0].allowApps: unknown key: take it away; the keys here are appName, appId, masterUserId, authUrl, authEnabled, userDistributions"}},
	{"a key twice", two + "domains: []\n", []string{"line 6: domains: is set twice: line 1 sets it already; take one of them away"}},
	{"a key that is no word", "? [a]\n: b\n" + two, []string{`line 1: "": unknown key`}},
	{"a list that is none", "domains: a\n", []string{"line 1: domains: must be a list (each item begins with -), not a single value"}},
	{"an empty item", "domains:\n  - {name: a, urls: [ws://a]}\n  -\n", []string{"line 3: domains[1]: is empty: fill it in, or take the line away"}},
	{"an item that is a word", "domains:\n  - a\n", []string{"line 2: domains[0]: must be keys with values (name, urls, linkUser), not a single value"}},
	{"aliases of aliases", aliases(), []string{"line 7: clientApps[65].userDistributions[466]: the aliases (*name) before this make the description too large: write out what is meant"}},

	// Domains.
	{"no domains", "domains: []\n", []string{"line 1: domains: must name at least one domain, with its name and urls"}},
	{"nothing but apps", "clientApps: []\n", []string{"line 1: domains: must name at least one domain, with its name and urls"}},
	{"a domain without a name", "domains:\n  - urls: [ws://a]\n", []string{"line 2: domains[0].name: is required: give the domain a name of its own"}},
	{"a name that no link user can have", "domains:\n  - {name: eu-west, urls: [ws://a]}\n", []string{`line 2: domains[0].name: "eu-west" is not the name of a domain: use letters, digits and _, or domain- and digits, as in domain-02`}},
	{"a name that is too long", "domains:\n  - {name: " + strings.Repeat("x", 60) + ", urls: [ws://a]}\n", []string{"line 2: domains[0].name: ", " is too long: the name of a domain has at most 59 characters"}},
	{"a name that is a list", "domains:\n  - {name: [a], urls: [ws://a]}\n", []string{"line 2: domains[0].name: must be a single value, not a list"}},
	{"a domain named twice", strings.Replace(two, "name: b", "name: a", 1), []string{"line 3: domains[1].name: a is named twice: line 2 names it already; give each domain a name of its own", `line 5: domainLinks[0].n2: "b" is not one of the domains`}},
	{"two domains of the same link user", "domains:\n  - {name: domain-2, urls: [ws://a]}\n  - {name: domain-02, urls: [ws://b]}\ndomainLinks:\n  - {n1: domain-2, n2: domain-02}\n", []string{"line 3: domains[1].name: domain-2 (line 2) and domain-02 would both be the link user domain2-1: give one of them another name, or a linkUser"}},
	{"a name that says no link user", "domains:\n  - {name: eu-west, urls: ['ws://a']}\n", []string{`line 2: domains[0].name: "eu-west" is not the name of a domain`}},
	{"a link user that is none", "domains:\n  - {name: eu-west, linkUser: EUWEST, urls: ['ws://a']}\n", []string{`line 2: domains[0].linkUser: "EUWEST" is not a user ID`}},
	{"two domains with one link user", "domains:\n  - {name: a, urls: ['ws://a']}\n  - {name: b, linkUser: link_a-7, urls: ['ws://b']}\ndomainLinks: [{n1: a, n2: b}]\n", []string{`line 3: domains[1].name: a (line 2) and b would both be the link user link_a-7`}},
	{"a URL of a bad scheme", "domains:\n  - {name: a, urls: ['ftp://a', 'ws://a']}\n", []string{`line 2: domains[0].urls[0]: has a scheme that is not known here ("ftp"): a URL begins with ws://, wss://, http:// or https://`}},
	{"a URL without a scheme", "domains:\n  - {name: a, urls: ['d1.example.org']}\n", []string{`line 2: domains[0].urls[0]: has a scheme that is not known here (""): a URL begins with ws://`}},
	{"a URL without a host", "domains:\n  - {name: a, urls: ['ws://:80']}\n", []string{"line 2: domains[0].urls[0]: names no host: write the host behind ws://"}},
	{"a URL with a bad port", "domains:\n  - {name: a, urls: ['ws://a:70000']}\n", []string{"line 2: domains[0].urls[0]: has no valid port: write a number from 1 to 65535"}},
	{"a URL with a fragment", "domains:\n  - {name: a, urls: ['ws://a/#b']}\n", []string{"line 2: domains[0].urls[0]: must not have a fragment (#…): take it away"}},
	{"a URL with a password", "domains:\n  - {name: a, urls: ['ws://me:pass@a']}\n", []string{"line 2: domains[0].urls[0]: must not carry a user name or password: take them away"}},
	{"a URL that is none", "domains:\n  - {name: a, urls: ['ws://a b']}\n", []string{"line 2: domains[0].urls[0]: is not a URL: write one that begins with ws://"}},
	{"a URL that is empty", "domains:\n  - {name: a, urls: ['']}\n", []string{"line 2: domains[0].urls[0]: is empty: write a URL that begins with ws://"}},
	{"a URL that is too long", "domains:\n  - {name: a, urls: ['ws://a/" + strings.Repeat("x", 2048) + "']}\n", []string{"line 2: domains[0].urls[0]: is too long: a URL has at most 2048 bytes"}},
	{"a URL twice", "domains:\n  - {name: a, urls: ['ws://a', 'ws://a']}\n", []string{"line 2: domains[0].urls[1]: is named twice: take one of them away"}},
	{"too many URLs", "domains:\n  - name: a\n    urls: [" + repeat(17, func(i int) string { return fmt.Sprintf("'ws://a%d',", i) }) + "]\n", []string{"line 3: domains[0].urls: has 17 entries: at most 16 are possible"}},
	{"too many domains", "domains:\n" + repeat(1001, func(i int) string { return fmt.Sprintf("  - {name: n%d, urls: [ws://a]}\n", i) }), []string{"line 1: domains: has 1001 entries: at most 1000 are possible"}},

	// Links.
	{"a link to the unknown", strings.Replace(two, "n2: b", "n2: bb", 1) + "clientApps: []\n", []string{`line 5: domainLinks[0].n2: "bb" is not one of the domains: add it under domains, or correct the name`}},
	{"a link to a name that was mistyped", strings.NewReplacer("name: b", "name: domain-02", "n2: b", "n2: domain-2").Replace(two), []string{`line 5: domainLinks[0].n2: "domain-2" is not one of the domains: add it under domains, or correct the name; did you mean domain-02?`}},
	{"a link without an end", strings.Replace(two, ", n2: b", "", 1), []string{"line 5: domainLinks[0].n2: is required: name a domain"}},
	{"a link to itself", two + "  - {n1: b, n2: b}\n", []string{"line 6: domainLinks[1]: links b to itself: name two domains, or take the link away"}},
	{"a link twice", two + "  - {n1: a, n2: b, cost: 2}\n", []string{"line 6: domainLinks[1]: links a and b again: line 5 does already, and links go both ways; take one of them away"}},
	{"a link twice, the other way round", two + "  - {n1: b, n2: a}\n", []string{"line 6: domainLinks[1]: links a and b again: line 5 does already, and links go both ways; take one of them away"}},
	{"a cost of nothing", strings.Replace(two, "n2: b", "n2: b, cost: 0", 1), []string{"line 5: domainLinks[0].cost: 0 is no cost of a link: write 1 to 1000000, or leave it out for 1"}},
	{"a cost that is too great", strings.Replace(two, "n2: b", "n2: b, cost: 1000001", 1), []string{"line 5: domainLinks[0].cost: 1000001 is no cost of a link: write 1 to 1000000, or leave it out for 1"}},
	{"a cost below nothing", strings.Replace(two, "n2: b", "n2: b, cost: -1", 1), []string{`line 5: domainLinks[0].cost: "-1" is negative: write a number from 0 on`}},
	{"a cost that is no whole number", strings.Replace(two, "n2: b", "n2: b, cost: 1.5", 1), []string{`line 5: domainLinks[0].cost: "1.5" is not a whole number: write decimal digits, without leading zeros`}},
	{"too many links", two + repeat(10000, func(int) string { return "  - {n1: a, n2: b}\n" }), []string{"line 4: domainLinks: has 10001 entries: at most 10000 are possible"}},
	{"a domain without a link", strings.Replace(two, "domainLinks", "  - {name: c, urls: [ws://c]}\ndomainLinks", 1), []string{"line 4: domains[2]: c cannot be reached from a: add a link under domainLinks"}},
	{"no links at all", "domains:\n  - {name: a, urls: [ws://a]}\n  - {name: b, urls: [ws://b]}\n", []string{"line 3: domains[1]: b cannot be reached from a: add a link under domainLinks"}},
	{"an island", "domains:\n" + repeat(9, func(i int) string { return fmt.Sprintf("  - {name: n%d, urls: [ws://a]}\n", i) }) + "domainLinks:\n" + repeat(6, func(i int) string { return fmt.Sprintf("  - {n1: n2, n2: n%d}\n", i+3) }) + "  - {n1: n0, n2: n1}\n",
		[]string{"line 4: domains[2]: n2, n3, n4, n5, n6 and 2 more cannot be reached from n0: add a link under domainLinks"}},

	// Apps.
	{"an app without a name", app("appId: x"), []string{"line 7: clientApps[0].appName: is required: write the name with which the app's user IDs begin"}},
	{"an app of a bad name", app("appName: A-B, appId: x"), []string{`line 7: clientApps[0].appName: "A-B" is not the name of an app: use 1 to 64 letters, digits and _`}},
	{"an app twice", app("appName: A, appId: x") + "  - {appName: A, appId: y}\n", []string{"line 8: clientApps[1].appName: A is named twice: line 7 names it already; take one of them away"}},
	{"an app that is a link's", app("appName: link_b, appId: x"), []string{"line 7: clientApps[0].appName: link_b is the app of the link user of b: give one of them another name"}},
	{"an app without an ID", app("appName: A"), []string{"line 7: clientApps[0].appId: is required: write the ID with which clients of the app sign in"}},
	{"an app's ID that is too long", app("appName: A, appId: " + strings.Repeat("x", 257)), []string{"line 7: clientApps[0].appId: is too long: an app's ID has at most 256 bytes"}},
	{"a master user that is malformed", app("appName: A, appId: x, masterUserId: A-01"), []string{`line 7: clientApps[0].masterUserId: "A-01" is not a user ID of this app: write A- and a number from 0 on, without leading zeros`}},
	{"a master user of another app", app("appName: A, appId: x, masterUserId: B-1"), []string{`line 7: clientApps[0].masterUserId: "B-1" is not a user ID of this app: write A- and a number from 0 on, without leading zeros`}},
	{"a hook's URL of a bad scheme", app("appName: A, appId: x, authUrl: 'ws://a'"), []string{`line 7: clientApps[0].authUrl: has a scheme that is not known here ("ws"): a URL begins with http:// or https://`}},
	{"a switch that is neither", app("appName: A, appId: x, authEnabled: maybe"), []string{"line 7: clientApps[0].authEnabled: must be true or false"}},
	{"too many apps", two + "clientApps:\n" + repeat(1001, func(i int) string { return fmt.Sprintf("  - {appName: A%d, appId: x}\n", i) }), []string{"line 6: clientApps: has 1001 entries: at most 1000 are possible"}},

	// Ranges.
	{"a range of an unknown domain", ranges("{domainName: c, from: 0}"), []string{`line 10: clientApps[0].userDistributions[0].domainName: "c" is not one of the domains: add it under domains, or correct the name`}},
	{"a range of no domain", ranges("{from: 0}"), []string{"line 10: clientApps[0].userDistributions[0].domainName: is required: name a domain"}},
	{"a range that begins nowhere", ranges("{domainName: a}"), []string{"line 10: clientApps[0].userDistributions[0].from: is required: write the first number of the range"}},
	{"ranges that overlap", ranges("{domainName: a, from: 0, to: 10}", "{domainName: b, from: 10}"), []string{"line 11: clientApps[0].userDistributions[1]: begins at 10, yet the range in line 10 goes up to 10: no number may live in two places (to is part of the range)"}},
	{"a range within another", ranges("{domainName: a, from: 0, to: 100}", "{domainName: b, from: 10, to: 20}", "{domainName: a, from: 90}"), []string{
		"line 11: clientApps[0].userDistributions[1]: begins at 10, yet the range in line 10 goes up to 100",
		"line 12: clientApps[0].userDistributions[2]: begins at 90, yet the range in line 10 goes up to 100"}},
	{"ranges that overlap behind others", ranges("{domainName: a, from: 0, to: 9}", "{domainName: b, from: 10, to: 19}", "{domainName: a, from: 15, to: 17}", "{domainName: b, from: 18}"), []string{
		"line 12: clientApps[0].userDistributions[2]: begins at 15, yet the range in line 11 goes up to 19",
		"line 13: clientApps[0].userDistributions[3]: begins at 18, yet the range in line 11 goes up to 19"}},
	{"a hole", ranges("{domainName: b, from: 20}", "{domainName: a, from: 0, to: 9}"), []string{"line 10: clientApps[0].userDistributions[0]: the numbers from 10 to 19 live nowhere: let this range begin at 10, or add one in between"}},
	{"a hole at the beginning", ranges("{domainName: a, from: 1}"), []string{"line 10: clientApps[0].userDistributions[0]: the number 0 lives nowhere: the first range of an app begins at 0"}},
	{"a range that is reversed", ranges("{domainName: a, from: 0, to: 9}", "{domainName: b, from: 20, to: 10}"), []string{"line 11: clientApps[0].userDistributions[1]: is reversed: it goes from 20 to 10; write the lesser number as from (to is part of the range)"}},
	{"a negative range", ranges("{domainName: a, from: -5, to: 9}"), []string{`line 10: clientApps[0].userDistributions[0].from: "-5" is negative: write a number from 0 on`}},
	{"a number beyond all", ranges("{domainName: a, from: 0, to: 9223372036854775808}"), []string{`line 10: clientApps[0].userDistributions[0].to: "9223372036854775808" is too great: the greatest number is 9223372036854775807`}},
	{"a number that YAML takes for an octal one", ranges("{domainName: a, from: 0, to: 010}"), []string{`line 10: clientApps[0].userDistributions[0].to: "010" is not a whole number: write decimal digits, without leading zeros`}},
	{"an open-ended range that is not the last", ranges("{domainName: a, from: 0}", "{domainName: b, from: 10}"), []string{"line 10: clientApps[0].userDistributions[0]: is open-ended, yet the range in line 11 begins at 10: give it a to, only the last range may be without"}},
	{"two open-ended ranges from the same number", ranges("{domainName: a, from: 0}", "{domainName: b, from: 0}"), []string{"line 10: clientApps[0].userDistributions[0]: is open-ended, yet the range in line 11 begins at 0"}},
	{"too many ranges", ranges("{domainName: a, from: 0}" + repeat(1000, func(int) string { return "\n      - {domainName: a, from: 0}" })), []string{"line 9: clientApps[0].userDistributions: has 1001 entries: at most 1000 are possible"}},

	// All at once.
	{"several problems", "domains:\n  - {name: a, urls: [x]}\n  - {name: a-b, urls: [ws://b]}\nclientApps:\n  - {appName: A}\n", []string{"line 2: domains[0].urls[0]: ", "line 3: domains[1].name: ", "line 5: clientApps[0].appId: "}},
	{"more problems than anybody reads", two + repeat(150, func(int) string { return "  - {n1: b, n2: b}\n" }), append(strings.Split(strings.TrimSpace(repeat(100, func(i int) string { return fmt.Sprintf("line %d: domainLinks[%d]: links b to itself\n", i+6, i+1) })), "\n"), "line 106: at least 50 more from here on: put those before right first")},
}

func TestAFileOfRubbishIsRefusedAtOnce(t *testing.T) {
	long := strings.Repeat("x", 50)
	names := "domains:\n" + repeat(1000, func(i int) string { return fmt.Sprintf("  - {name: %s%d, urls: [ws://a]}\n", long, i) })
	for name, file := range map[string]string{
		"links to nowhere": names + "domainLinks:\n" + repeat(10_000, func(i int) string { return fmt.Sprintf("  - {n1: %sy%d, n2: x}\n", long, i) }),
		"keys":             repeat(60_000, func(i int) string { return fmt.Sprintf("%x: 1\n", i) }),
		"items":            "domains: [" + strings.Repeat("[],", 999) + "]\ndomainLinks: [" + strings.Repeat("[],", 9999) + "]\n",
		"ranges":           names + "clientApps:\n" + repeat(1000, func(i int) string { return "  - {userDistributions: [{from: 1}, {from: 1}, {from: 1}]}\n" }),
	} {
		began := time.Now()
		_, _, err := domains.Parse([]byte(file))
		var problems domains.Problems
		if !errors.As(err, &problems) || len(problems) != 101 || !strings.Contains(problems[100].Text, "at least 9") {
			t.Errorf("%s: %d problems, the last: %v", name, len(problems), problems[max(len(problems)-1, 0):])
		}
		if took := time.Since(began); took > patience {
			t.Errorf("%s: it took %s", name, took)
		}
	}
}

// aliases is a short file that would be very long written out.
func aliases() string {
	var b strings.Builder
	b.WriteString(two + "clientApps:\n")
	for i := range 1000 {
		what := "*r"
		if i == 0 {
			what = "&r [" + strings.TrimSuffix(repeat(1000, func(i int) string { return fmt.Sprintf("{domainName: a, from: %d, to: %d},", i, i) }), ",") + "]"
		}
		fmt.Fprintf(&b, "  - {appName: A%d, appId: x, userDistributions: %s}\n", i, what)
	}
	return b.String()
}

func TestBadFilesAreRefusedWithAllThatIsWrong(t *testing.T) {
	for _, test := range badFiles {
		t.Run(test.name, func(t *testing.T) {
			n, _, err := domains.Parse([]byte(test.file))
			var problems domains.Problems
			if !errors.As(err, &problems) || n != nil {
				t.Fatalf("accepted, or no problems: %v", err)
			}
			checkProblems(t, problems, test.want)
		})
	}
}

// checkProblems compares what was said with how each line has to begin; what
// does not begin a problem is a part of the one before.
func checkProblems(t *testing.T, problems domains.Problems, want []string) {
	t.Helper()
	i := -1
	for _, w := range want {
		if strings.HasPrefix(w, "line ") {
			i++
			if i >= len(problems) || !strings.HasPrefix(problems[i].Error(), w) {
				t.Fatalf("problem %d should be\n%s\nall there is:\n%v", i, w, problems)
			}
		} else if !strings.Contains(problems[i].Error(), w) {
			t.Fatalf("problem %d should contain\n%s\nall there is:\n%v", i, w, problems)
		}
	}
	if len(problems) != i+1 {
		t.Fatalf("%d problems, want %d:\n%v", len(problems), i+1, problems)
	}
	for _, p := range problems {
		if p.Line < 1 || p.Text == "" {
			t.Errorf("a problem without its line or its text: %+v", p)
		}
	}
}

func TestAPasswordIsNotRepeated(t *testing.T) {
	for _, file := range []string{
		app("appName: A, appId: x, authUrl: 'ftp://me:sesame@a'"),
		app("appName: A, appId: x, authUrl: 'http://me:sesame@a:99999'"),
		app("appName: A, appId: x, authUrl: 'http://me:sesame@a b'"),
		app("appName: A, appId: x, authUrl: 'sesame'"),
		"domains: [{name: a, urls: ['ws://me:sesame@a', 'wss://me:sesame@%zz']}]",
	} {
		_, notices, err := domains.Parse([]byte(file))
		if err == nil || strings.Contains(err.Error(), "sesame") || strings.Contains(strings.Join(notices, "\n"), "sesame") {
			t.Errorf("%v %q", err, notices)
		}
	}
}

func TestWhatIsPassedOverIsSaid(t *testing.T) {
	n, notices, err := domains.Parse([]byte(`server: {port: 9000}
spring:
  application: {name: meta}
domains:
  - name: a
    urls:
      - tcp://a:4000
      - ws://a:8088
  - {name: b, urls: [tcp://b:4000]}
domainLinks: [{n1: a, n2: b}]
clientApps:
  - appName: A
    appId: x
    masterUserId: A-10
    userDistributions: [{domainName: a, from: 0, to: 9}]
`))
	if err != nil || len(n.Domains[0].URLs) != 1 || len(n.Domains[1].URLs) != 0 {
		t.Fatalf("%+v, %v", n, err)
	}
	want := []string{
		"line 1: server: passed over: it means nothing here",
		"line 2: spring: passed over: it means nothing here",
		"line 7: domains[0].urls[0]: passed over: tcp:// is not spoken here",
		"line 9: domains[1].urls[0]: passed over: tcp:// is not spoken here",
		`line 9: domains[1]: domain "b" has no URL that can be used, so nobody can dial it: name one under urls, as in wss://d1.example.org:8088`,
		"line 14: clientApps[0].masterUserId: A-10 lives nowhere, so nobody can sign in as it: the last range of A ends at 9",
	}
	if got := strings.Join(notices, "\n"); got != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", got, strings.Join(want, "\n"))
	}
}

func TestAHookMayHoldAPassword(t *testing.T) {
	n := parsed(t, app("appName: A, appId: x, authUrl: 'https://me:sesame@a/auth?key=1'"))
	if n.Apps[0].AuthURL != "https://me:sesame@a/auth?key=1" {
		t.Error(n.Apps[0].AuthURL)
	}
}

func TestAliasesStandForWhatTheyName(t *testing.T) {
	n := parsed(t, two+"clientApps:\n  - {appName: A, appId: x, userDistributions: &r [{domainName: a, from: 0}]}\n  - {appName: B, appId: x, userDistributions: *r}\n")
	if n.Apps[1].Distributions[0].Domain != "a" {
		t.Errorf("%+v", n.Apps[1])
	}
}

// good is a description as JSON; what follows breaks it in one place.
const good = `{"version":5,"domains":[{"name":"a","urls":["ws://a"]},{"name":"b","urls":["ws://b"]}],"domainLinks":[{"n1":"a","n2":"b","cost":1}],
"clientApps":[{"appName":"A","appId":"x","authEnabled":true,"userDistributions":[{"domainName":"a","from":0}]}]}`

func TestBadJSONIsRefused(t *testing.T) {
	if _, err := domains.ParseJSON([]byte(good)); err != nil {
		t.Fatal(err)
	}
	change := func(from, to string) string {
		text := strings.Replace(good, from, to, 1)
		if text == good {
			t.Fatalf("%q is not in it", from)
		}
		return text
	}
	for _, test := range []struct {
		name, text string
		want       string
	}{
		{"empty", "", "line 1: not JSON: unexpected end of JSON input at byte 0"},
		{"null", "null", "line 1: is empty"},
		{"half of it", good[:len(good)-20], "line 2: not JSON: unexpected end of JSON input"},
		{"more behind it", good + "{}", "line 2: not JSON: invalid character '{' after top-level value"},
		{"YAML", example, "line 2: not JSON: invalid character 'd'"},
		{"a list", "[]", "line 1: must be keys with values"},
		{"another encoding", change(`"x"`, "\"\xff\""), "line 1: not UTF-8, as JSON has to be"},
		{"no version", change(`"version":5,`, ""), "line 1: version: is required: a meta server numbers what it serves"},
		{"a version of null", change(`"version":5,`, `"version":null,`), "line 1: version: is required: a meta server numbers what it serves"},
		{"a version that is a string", change(`:5`, `:"5"`), "line 1: version: must be a number, not a single value"},
		{"a version below nothing", change(`:5`, `:-5`), `line 1: version: "-5" is negative: write a number from 0 on`},
		{"a version beyond all", change(`:5`, `:9007199254740992`), "line 1: version: 9007199254740992 is more than 9007199254740991, the greatest version"},
		{"a number with a fraction", change(`"cost":1`, `"cost":1.0`), `line 1: domainLinks[0].cost: "1.0" is not a whole number: write decimal digits, without leading zeros`},
		{"a number with an exponent", change(`"from":0`, `"from":0e0`), `line 2: clientApps[0].userDistributions[0].from: "0e0" is not a whole number: write decimal digits, without leading zeros`},
		{"a name that is a number", change(`"name":"a"`, `"name":1`), "line 1: domains[0].name: must be a string"},
		{"a switch that is a string", change(`true`, `"true"`), "line 2: clientApps[0].authEnabled: must be true or false"},
		{"an unknown key", change(`"appId"`, `"appID":"y","appId"`), "line 2: clientApps[0].appID: unknown key"},
		{"a key in another case", change(`"domains"`, `"Domains"`), "line 1: Domains: unknown key"},
		{"a key twice", change(`"appId"`, `"appId":"y","appId"`), "line 2: clientApps[0].appId: is set twice: line 2 sets it already; take one of them away"},
		{"a section of another system", change(`"version":5`, `"version":5,"spring":{}`), "line 1: spring: unknown key"},
		{"a URL of another system", change(`"ws://a"`, `"tcp://a","ws://a"`), "line 1: domains[0].urls[0]: has a scheme that is not known here"},
		{"a link to the unknown", change(`"n2":"b"`, `"n2":"c"`), `line 1: domainLinks[0].n2: "c" is not one of the domains`},
		{"no link", change(`{"n1":"a","n2":"b","cost":1}`, ``), "line 1: domains[1]: b cannot be reached from a"},
		{"a hole", change(`"from":0`, `"from":7`), "line 2: clientApps[0].userDistributions[0]: the numbers from 0 to 6 live nowhere"},
		{"too deep", change(`"x"`, strings.Repeat("[", 5000)+strings.Repeat("]", 5000)), "line 2: is nested too deeply for a description"},
		{"too much", good + strings.Repeat(" ", domains.MaxJSON), "line 1: the description has 4194"},
		{"too many values", change(`"x"`, "["+strings.Repeat("0,", 700_000)+"0]"), "line 2: has more values than a description can have"},
	} {
		t.Run(test.name, func(t *testing.T) {
			n, err := domains.ParseJSON([]byte(test.text))
			var problems domains.Problems
			if !errors.As(err, &problems) || n != nil {
				t.Fatalf("accepted, or no problems: %v", err)
			}
			checkProblems(t, problems[:1], []string{test.want})
		})
	}
}

func TestNullInJSONCountsAsAbsent(t *testing.T) {
	n, err := domains.ParseJSON([]byte(strings.NewReplacer(`"from":0}`, `"from":0,"to":null}`, `"cost":1`, `"cost":null`).Replace(good)))
	if err != nil || n.Apps[0].Distributions[0].To != nil || n.Links[0].Cost != 1 {
		t.Errorf("%+v, %v", n, err)
	}
}
