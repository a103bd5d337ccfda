package domains_test

import (
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/domains"
)

func TestTheLinkUserOfADomain(t *testing.T) {
	for name, want := range map[string]string{
		"domain-02":             "domain2-1",
		"domain-2":              "domain2-1",
		"domain-10":             "domain10-1",
		"domain-0":              "domain0-1",
		"domain-000":            "domain0-1",
		"perth":                 "link_perth-1",
		"domain2":               "link_domain2-1",
		"Site_3":                "link_Site_3-1",
		"7":                     "link_7-1",
		strings.Repeat("x", 59): "link_" + strings.Repeat("x", 59) + "-1",
	} {
		if user, err := domains.LinkUser(name); err != nil || string(user) != want {
			t.Errorf("%q: %q, %v; want %q", name, user, err, want)
		}
	}
}

// An entry may say as whom its domain signs in: then its name may be another.
func TestAnEntryMayNameItsLinkUser(t *testing.T) {
	n, notices, err := domains.Parse([]byte("domains:\n  - {name: eu-west, linkUser: EUWEST-3, urls: ['ws://a']}\n  - {name: domain-02, urls: ['ws://b']}\ndomainLinks: [{n1: eu-west, n2: domain-02}]\n"))
	if err != nil || len(notices) > 0 {
		t.Fatal(err, notices)
	}
	for name, want := range map[string]string{"eu-west": "EUWEST-3", "domain-02": "domain2-1"} {
		if d, ok := n.Domain(name); !ok || string(d.User()) != want {
			t.Errorf("%s signs in as %s, want %s", name, d.User(), want)
		}
	}
	_, _, err = domains.Parse([]byte("domains: [{name: eu-west, linkUser: EUWEST-3}]\nclientApps: [{appName: EUWEST, appId: x}]\n"))
	if err == nil || !strings.Contains(err.Error(), "EUWEST") {
		t.Errorf("an app of a link's name: %v", err)
	}
}

func TestNamesThatNoDomainMayHave(t *testing.T) {
	for _, name := range []string{"", "domain-", "domain-x", "domain-1x", "domain--1", "eu-west", "a.b", "a b", "ä", "domain-١", "x\x00", strings.Repeat("x", 60)} {
		if user, err := domains.LinkUser(name); err == nil {
			t.Errorf("%q has the link user %q", name, user)
		}
	}
}
