package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	longSecret  = "0123456789abcdef0123456789abcdef"
	otherSecret = "fedcba9876543210fedcba9876543210"
)

func TestWithADescriptionOfAllDomainsNoAppNeedsToBeNamed(t *testing.T) {
	s := load(t, Sources{File: write(t, `
domain: domain-01
meta: http://meta.example:9000
`)})
	if s.Demo || len(s.Apps) != 0 || !s.MetaURL() {
		t.Errorf("got %+v", s)
	}
	// allowApps may name an app of the network.
	s = load(t, Sources{File: write(t, `
domain: domain-01
meta: http://meta.example:9000
apps: [{appName: SHOP, appId: shop, authEnabled: false, allowApps: [ANZ]}]
`)})
	if s.Demo || len(s.Apps) != 1 || s.Apps[0].AllowApps[0] != "ANZ" {
		t.Errorf("got %+v", s.Apps)
	}
	if s := load(t, Sources{Flags: []Flag{{Name: "--domain", Key: "domain", Value: "perth"}}}); !s.Demo || s.Domain != "perth" {
		t.Error("a name alone changes more than the name")
	}
}

func TestTheSecretOfALinkIsItsOwnOrThatOfAll(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(longSecret+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		links string
		want  map[string]string
	}{
		{`{}`, map[string]string{"domain-02": ""}},
		{`{secret: ` + longSecret + `}`, map[string]string{"domain-02": longSecret}},
		{`{secretFile: ` + file + `}`, map[string]string{"domain-02": longSecret}},
		{`{secret: ` + longSecret + `, secrets: {domain-02: ` + otherSecret + `}}`, map[string]string{"domain-02": otherSecret, "domain-03": longSecret}},
	} {
		s := load(t, Sources{File: write(t, "domain: domain-01\nmeta: http://meta.example\nlinks: "+test.links+"\n")})
		for domain, want := range test.want {
			if got, err := s.LinkSecret(domain); err != nil || string(got) != want {
				t.Errorf("%s: %s: got %q, %v", test.links, domain, string(got), err)
			}
		}
		if text := string(s.YAML()); strings.Contains(text, longSecret) || strings.Contains(text, otherSecret) {
			t.Errorf("%s: printed:\n%s", test.links, text)
		}
	}
	s := load(t, Sources{Environ: []string{
		"SWITCHBOARD_DOMAIN=domain-01", "SWITCHBOARD_META=http://meta.example", `SWITCHBOARD_LINKS_SECRETS={"domain-02":"` + otherSecret + `"}`,
	}})
	if got, _ := s.LinkSecret("domain-02"); string(got) != otherSecret {
		t.Errorf("from a variable: %q", string(got))
	}
	// A file may be lost while the node runs.
	s = load(t, Sources{File: write(t, "domain: domain-01\nmeta: http://meta.example\nlinks: {secretFile: "+file+"}\n")})
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := s.LinkSecret("domain-02"); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("got %v", err)
	}
}

func TestWhatIsWrongWithDomainsIsSaidByKeyAndLine(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "none")
	short := filepath.Join(t.TempDir(), "short")
	if err := os.WriteFile(short, []byte("short"), 0o600); err != nil {
		t.Fatal(err)
	}
	const tooShort = "is too short: whoever has it gets what is meant for a whole domain; at least 32 bytes, as openssl rand -hex 32 makes"
	const head = "domain: domain-01\nmeta: http://meta.example\n"
	for text, want := range map[string]string{
		"meta: http://meta.example\n":                                 "s.yaml:1: domain: is required: with meta this domain has to know which of those that are described it is",
		"domain: perth, australia\n":                                  `s.yaml:1: domain: "perth, australia" is not the name of a domain: 1 to 59 letters, digits, _, - and dots`,
		"domain: a\nmeta: ftp://meta.example\n":                       "s.yaml:2: meta: begins with ftp://: the URL of a meta server begins with http:// or https://; anything else is a file",
		"domain: a\nmeta: http://\n":                                  "s.yaml:2: meta: is not a URL such as http://meta.example:9000",
		"domain: a\nmeta: http://u:p@meta.example\n":                  "s.yaml:2: meta: must not carry a user name or password: put what the meta server asks for into metaSecret",
		"domain: a\nmeta: http://meta.example?x=1\n":                  "s.yaml:2: meta: must not have a query or a fragment (?… or #…)",
		"domain: a\nmeta: " + missing + "\n":                          "s.yaml:2: meta: " + missing + " is no file that can be read, and no URL of a meta server (http:// or https://)",
		"domain: a\nmeta: " + short + "\nmetaSecret: x\n":             "s.yaml:3: metaSecret: is for a meta server, but meta names a file",
		"links: {secret: " + longSecret + "}\n":                       "s.yaml:1: meta: is required: without it this domain knows no others, and links.secret means nothing",
		"insecureLinks: true\n":                                       "s.yaml:1: meta: is required: without it this domain knows no others, and insecureLinks means nothing",
		head + "links: {secret: short}\n":                             "s.yaml:3: links.secret: " + tooShort,
		head + "links: {secretFile: " + short + "}\n":                 "s.yaml:3: links.secretFile: " + short + " " + tooShort,
		head + "links: {secretFile: " + missing + "}\n":               "s.yaml:3: links.secretFile: read links.secretFile: stat " + missing + ": no such file or directory",
		head + "links: {secrets: {domain-02: short}}\n":               "s.yaml:3: links.secrets: that of domain-02 " + tooShort,
		head + "links: {secrets: {domain-01: " + longSecret + "}}\n":  "s.yaml:3: links.secrets: domain-01 is this domain: name its neighbours",
		head + "links: {secrets: {a: x, a: y}}\n":                     "s.yaml:3: links.secrets: a is set twice",
		head + "links: {secrets: [x]}\n":                              "s.yaml:3: links.secrets: must be a single value",
		head + "links: {secrets: \"hunter2\"}\n":                      `s.yaml:3: links.secrets: must be a secret for each name, as {"domain-02": "…"}`,
		head + "links: {secrets: {\"a b\": " + longSecret + "}}\n":    `s.yaml:3: links.secrets: "a b" is not the name of a domain: 1 to 59 letters, digits, _, - and dots`,
		head + "links: {secret: " + longSecret + ", secretFile: s}\n": "s.yaml:3: links.secretFile: links.secret and links.secretFile exclude each other",
	} {
		got := problems(t, Sources{File: write(t, text)})
		if len(got) == 0 || got[0] != want {
			t.Errorf("%s got  %q\n want %q", text, got, want)
		}
	}
}
