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

func TestNamesThatNoDomainMayHave(t *testing.T) {
	for _, name := range []string{"", "domain-", "domain-x", "domain-1x", "domain--1", "eu-west", "a.b", "a b", "ä", "domain-١", "x\x00", strings.Repeat("x", 60)} {
		if user, err := domains.LinkUser(name); err == nil {
			t.Errorf("%q has the link user %q", name, user)
		}
	}
}
