package apps_test

import (
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestABearerIsWhomATokenNamesIfHisAppVouchesForHim(t *testing.T) {
	c := newClock()
	s := newHS256(secret)
	plain, hooked := open(), open()
	plain.Name, plain.Master, hooked.Name, hooked.Master = "OPEN", "", "HOOK", ""
	plain.ID, hooked.ID = "open-id", "hook-id"
	hooked.AuthEnabled, hooked.AuthURL = true, "http://127.0.0.1:1/"
	r := start(t, apps.Options{
		Apps: []apps.App{signed(apps.JWT{Secret: secret}), plain, hooked}, Now: c.Now,
		Home: func(string, int64) (string, bool) { return "elsewhere", false },
	})
	g, err := r.Bearer(t.Context(), s.token(t, fresh(c)))
	if err != nil || g.User != ann || g.Expires.IsZero() {
		t.Errorf("got %+v, %v", g, err)
	}
	for what, token := range map[string]string{
		"nothing": "", "no token": "x.y.z", "another key's": newHS256(secret+"x").token(t, fresh(c)), "nobody's": s.token(t, fresh(c, "sub", "")),
		"of no app": s.token(t, fresh(c, "sub", "NONE-1")), "of an open app": s.token(t, fresh(c, "sub", "OPEN-1")), "of an app with a hook": s.token(t, fresh(c, "sub", "HOOK-1")),
	} {
		if _, err := r.Bearer(t.Context(), token); code(t, err) != wire.CodeBadToken {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
