package nodetest

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/api"
)

// Every call that an account opens is refused to whoever has no good token of one.
func TestEachCallOfAccountsIsOpenedByAGoodTokenAlone(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn)
	d := described(t, s)
	ada, ended := s.signUp("ada"), s.signUp("grace")
	s.want(204, "DELETE", "/v1/sessions", ended.access, "")
	_, admin := s.NewKey(`{"admin":true}`)
	parts := strings.Split(ada.access, ".")
	bad := map[string]struct{ token, code string }{
		"none":            {"", "AUTH_REQUIRED"},
		"a word":          {"letmein", "BAD_TOKEN"},
		"an admin key":    {admin, "BAD_TOKEN"},
		"a refresh token": {ada.refresh, "BAD_TOKEN"},
		"alg none":        {base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`)) + "." + parts[1] + ".", "BAD_TOKEN"},
		"another's claim": {parts[0] + "." + strings.Split(ended.access, ".")[1] + "." + parts[2], "BAD_TOKEN"},
		"an ended one":    {ended.access, "TOKEN_EXPIRED"},
	}
	tried := 0
	for _, c := range api.Calls(api.Rooms{}) {
		if c.Auth != api.ByAccount {
			continue
		}
		r := d.example(t, c, "chat", nil)
		for what, b := range bad {
			if c.Also != "" && b.token == admin {
				continue // it opens this one
			}
			a := r.do(s, b.token)
			if a.Status != 401 || a.Code() != b.code || a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with %s: %d %s", r.method, r.path, what, a.Status, a.Body)
			}
			tried++
		}
		if a := s.CallControl(r.method, r.path, r.body); c.Also == "" && a.Status != 401 {
			t.Errorf("%s %s of the operator, who has no account: %d %s", r.method, r.path, a.Status, a.Body)
		}
	}
	if tried == 0 {
		t.Error("nothing was tried")
	}
	s.want(200, "GET", "/v1/accounts/me", ada.access, "")
}

func TestBadInputAboutAccountsIsRefusedByItsField(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	s := startWith(t, chatOn)
	ada := s.signUp("ada")
	for _, c := range []struct {
		method, path, token, body string
		status                    int
		field                     string
	}{
		{"POST", "/v1/accounts", "", `{"username":"ab","password":"correct horse"}`, 400, "username"},
		{"POST", "/v1/accounts", "", `{"username":"a\u0000b","password":"correct horse"}`, 400, "username"},
		{"POST", "/v1/accounts", "", `{"username":"` + strings.Repeat("a", 21) + `","password":"correct horse"}`, 400, "username"},
		{"POST", "/v1/accounts", "", `{"username":"ada","password":"short"}`, 400, "password"},
		{"POST", "/v1/accounts", "", `{"username":"ada"}`, 400, "password"},
		{"POST", "/v1/accounts", "", `{"username":["ada"],"password":"correct horse"}`, 400, "username"},
		{"POST", "/v1/accounts", "", `{"username":"ada","username":"bob","password":"correct horse"}`, 400, "username"},
		{"POST", "/v1/accounts", "", `{"username":"ada","password":"correct horse","admin":true}`, 400, "admin"},
		{"POST", "/v1/accounts", "", `not JSON`, 400, ""},
		{"POST", "/v1/accounts", "", ``, 400, ""},
		{"POST", "/v1/sessions", "", `{"username":"ada' OR '1'='1","password":"correct horse"}`, 400, "username"},
		{"POST", "/v1/sessions", "", `{"username":"ada","password":"` + strings.Repeat("x", 100_000) + `"}`, 400, "password"},
		{"PATCH", "/v1/accounts/me", ada.access, `{"avatarUrl":"javascript:alert(1)"}`, 400, "avatarUrl"},
		{"PATCH", "/v1/accounts/me", ada.access, `{"displayName":"a\nb"}`, 400, "displayName"},
		{"PATCH", "/v1/accounts/me", ada.access, `{"username":"bob"}`, 400, "username"},
		{"GET", "/v1/accounts/none", ada.access, "", 400, "userId"},
		{"GET", "/v1/accounts/ANZ-1", ada.access, "", 403, ""},
		{"GET", "/v1/accounts/chat-9223372036854775807", ada.access, "", 404, ""},
		{"GET", "/v1/accounts", ada.access, "", 400, "username"},
		{"GET", "/v1/profiles", ada.access, "", 400, "ids"},
		{"GET", "/v1/profiles?ids=chat-1,,chat-2", ada.access, "", 400, "ids"},
		{"GET", "/v1/profiles?ids=chat-1" + strings.Repeat(",chat-2", 100), ada.access, "", 400, "ids"},
		{"PUT", "/v1/accounts/me/blocks/chat-1", ada.access, "", 400, "userId"},
		{"DELETE", "/v1/sessions?all=maybe", ada.access, "", 400, "all"},
		{"POST", "/v1/passwords", "", `{"token":"sbp_x","password":"short"}`, 400, "password"},
		{"POST", "/v1/resets", "", `{"username":"a/b"}`, 400, "username"},
		{"BREW", "/v1/accounts/me", ada.access, "", 405, ""},
		{"PUT", "/v1/accounts/me", ada.access, "", 405, ""},
	} {
		a := s.Call(c.method, c.path, c.token, c.body)
		if a.Status != c.status || a.Code() == "" || a.Field("field") != c.field {
			t.Errorf("%s %s %.60s: got %d %s", c.method, c.path, c.body, a.Status, a.Body)
		}
	}
	s.want(200, "GET", "/v1/accounts/me", ada.access, "")
}
