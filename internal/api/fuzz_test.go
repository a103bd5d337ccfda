package api

import (
	"context"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Whatever is sent, a request is either taken with all that it must have, or
// refused with a problem.
func FuzzRequest(f *testing.F) {
	for _, body := range []string{
		`{"to":"ANZ-1"}`, `{"to":"ANZ-1","count":1,"data":{"a":[1,"\u00e9"]},"parts":[{"name":"x","user":"ANZ-1"}],"on":true,"due":"2026-11-26T08:00:00Z"}`,
		`{"to":1}`, `{"too":1}`, `{"to":"ANZ-1","to":"ANZ-2"}`, `{"to":"ANZ-1"}x`, `[`, ``, "{\"to\":\"\xff\"}", `{"parts":[null,{}]}`, `{"data":null}`, `{"count":1e400}`,
	} {
		f.Add("ANZ-7", "n=1&yes=true", body)
	}
	f.Add("ANZ-7/../x", "at=2026&kind=%zz&cursor=A", `{}`)
	x := newWorld(f, thingCall(func(_ context.Context, who Identity, q thing) (thingAnswer, error) {
		_, bad := wire.ParseUserID(q.Body.To)
		if q.User.App() != who.App || string(q.App) != who.App || bad != nil || !jsontext.Value(q.Body.Data).IsValid() && len(q.Body.Data) > 0 {
			panic("a request that is not checked")
		}
		return thingAnswer{Data: q.Body.Data}, nil
	}))
	_, key, err := x.ring.Make(f.Context(), keys.Wish{App: "ANZ", Scopes: keys.Scopes()}, nil)
	if err != nil {
		f.Fatal(err)
	}
	x.limits.Rate = 1_000_000_000
	f.Fuzz(func(t *testing.T, user, query, text string) {
		r := httptest.NewRequest("POST", "/v1/users/"+url.PathEscape(user)+"/things", strings.NewReader(text))
		r.URL.RawQuery = query
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+key)
		w := httptest.NewRecorder()
		x.h.ServeHTTP(w, r)
		kind := w.Header().Get("Content-Type")
		good := w.Code == 201 && kind == "application/json" || w.Code >= 400 && w.Code < 500 && kind == "application/problem+json"
		if !good || !jsontext.Value(strings.TrimSpace(w.Body.String())).IsValid() {
			t.Errorf("%q ?%q %q: %d %s", user, query, text, w.Code, w.Body)
		}
	})
}
