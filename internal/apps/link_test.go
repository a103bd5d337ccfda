package apps_test

import (
	"errors"
	"log/slog"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	linkUser   = wire.UserID("domain2-1")
	linkSecret = "0123456789abcdef0123456789abcdef"
	near       = "127.0.0.1:4711"
	far        = "192.0.2.7:4711"
)

func linked(link apps.Link) func(wire.UserID) (apps.Link, bool) {
	return func(user wire.UserID) (apps.Link, bool) { return link, user == linkUser }
}

func TestALinkSignsInByItsSecretOrFromLoopbackAndNobodyElseDoes(t *testing.T) {
	withSecret := apps.Link{Domain: "domain-02", Secret: linkSecret, Loopback: true}
	bare := apps.Link{Domain: "domain-02", Loopback: true}
	named := apps.Link{Domain: "domain-02", Secret: linkSecret, Certificate: true}
	good := wire.Auth{AppID: apps.LinkAppID, User: linkUser, Token: linkSecret}
	empty := wire.Auth{AppID: apps.LinkAppID, User: linkUser}
	for _, test := range []struct {
		name    string
		link    apps.Link
		auth    wire.Auth
		address string
		want    string
		names   []string
	}{
		{"the secret, from anywhere", withSecret, good, far, "OK", nil},
		{"another secret", withSecret, wire.Auth{AppID: apps.LinkAppID, User: linkUser, Token: linkSecret + "x"}, near, "BAD_TOKEN", nil},
		{"no secret where there is one", withSecret, empty, near, "BAD_TOKEN", nil},
		{"a secret where there is none", bare, good, near, "BAD_TOKEN", nil},
		{"no secret, from loopback", bare, empty, near, "OK", nil},
		{"no secret, from IPv6's loopback", bare, empty, "[::1]:4711", "OK", nil},
		{"no secret, from elsewhere", bare, empty, far, "REFUSED", nil},
		{"no secret, from a proxy on this machine", apps.Link{}, empty, near, "REFUSED", nil},
		{"no secret, from nowhere", bare, empty, "", "REFUSED", nil},
		{"no secret, from elsewhere, and that is meant", apps.Link{Open: true}, empty, far, "OK", nil},
		{"the secret cannot be read", apps.Link{Open: true, Loopback: true, Err: errors.New("no file")}, empty, near, "REFUSED", nil},
		{"another appId", withSecret, wire.Auth{AppID: appID, User: linkUser, Token: linkSecret}, near, "WRONG_APP_ID", nil},
		{"no certificate where one is wanted", named, good, far, "REFUSED", nil},
		{"that of another domain", named, good, far, "REFUSED", []string{"domain-03", "domain-03.example"}},
		{"its certificate", named, good, far, "OK", []string{"", "Domain-02"}},
		{"its certificate, and another secret", named, wire.Auth{AppID: apps.LinkAppID, User: linkUser, Token: linkSecret + "x"}, far, "BAD_TOKEN", []string{"domain-02"}},
		{"no neighbour", withSecret, wire.Auth{AppID: apps.LinkAppID, User: "domain3-1", Token: linkSecret}, near, "UNKNOWN_APP", nil},
		{"a user", withSecret, wire.Auth{AppID: appID, User: ann, Token: linkSecret}, near, "UNKNOWN_APP", nil},
	} {
		reg := prometheus.NewRegistry()
		r := start(t, apps.Options{Apps: []apps.App{open()}, Link: linked(test.link), Metrics: reg})
		grant, err := r.AuthenticateLink(test.auth, test.address, test.names...)
		if got := code(t, err); got != test.want {
			t.Errorf("%s: %s, want %s", test.name, got, test.want)
		} else if got == "OK" && grant != (apps.Grant{User: linkUser, Domain: test.link.Domain}) {
			t.Errorf("%s: %+v", test.name, grant)
		}
		if metric(t, reg, "link_sign_ins_total", "result", test.want) != 1 {
			t.Errorf("%s: not counted", test.name)
		}
		// It is no user.
		if got := signIn(t, r, test.auth); test.auth.User != ann && got != "UNKNOWN_APP" {
			t.Errorf("%s: as a user: %s", test.name, got)
		}
	}
}

func TestADomainWithoutOthersLetsNoLinkIn(t *testing.T) {
	r := start(t, apps.Options{Apps: []apps.App{open()}})
	_, err := r.AuthenticateLink(wire.Auth{AppID: apps.LinkAppID, User: linkUser}, near)
	wantCode(t, err, "UNKNOWN_APP")
}

func TestOperatorHearsOfEachLinkWithoutASecretByName(t *testing.T) {
	var log logged
	r := start(t, apps.Options{Apps: []apps.App{open()}, Link: linked(apps.Link{Domain: "domain-02", Loopback: true}), Log: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		if _, err := r.AuthenticateLink(wire.Auth{AppID: apps.LinkAppID, User: linkUser}, near); err != nil {
			t.Fatal(err)
		}
	}
	if text := log.String(); strings.Count(text, "level=WARN") != 2 || strings.Count(text, "domain=domain-02") != 2 {
		t.Errorf("logged:\n%s", text)
	}
}

func TestTheOperatorIsToldWhichSecretOfALinkIsMissing(t *testing.T) {
	for _, test := range []struct{ ours, shown, want string }{
		{linkSecret, "", "links.secret there"},
		{"", linkSecret, "links.secret here, or into links.secrets under the name domain-02"},
		{"", "", "links.secret of both domains"},
	} {
		r := start(t, apps.Options{Apps: []apps.App{open()}, Link: linked(apps.Link{Domain: "domain-02", Secret: test.ours})})
		_, err := r.AuthenticateLink(wire.Auth{AppID: apps.LinkAppID, User: linkUser, Token: test.shown}, far)
		if err == nil || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), linkSecret) {
			t.Errorf("%q and %q: %v", test.ours, test.shown, err)
		}
	}
}
