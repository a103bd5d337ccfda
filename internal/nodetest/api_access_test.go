package nodetest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
)

// Who may make which call, tried with every call of the table: a call that is
// added later is tried without a word here.

// anyApps are two apps with master users.
const anyApps = `
apps:
  - {appName: ANZ, appId: app-id-343, masterUserId: ANZ-1, authEnabled: false}
  - {appName: SHOP, appId: shop-id, masterUserId: SHOP-1, authEnabled: false}
`

// openapi is what these tests read of the OpenAPI document.
type openapi struct {
	Paths map[string]map[string]struct {
		Parameters  []map[string]any `json:"parameters"`
		RequestBody struct {
			Content map[string]struct{ Example json.RawMessage } `json:"content"`
		} `json:"requestBody"`
	} `json:"paths"`
}

// described fetches the document.
func described(t *testing.T, s *Server) (d openapi) {
	t.Helper()
	if err := json.Unmarshal([]byte(s.Call("GET", "/openapi.json", "", "").Body), &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// apiRequest is one good request of a call, as the document's example has it.
type apiRequest struct{ method, path, body string }

// example returns a good request of a call for a user or an app. things replace
// other parameters of its path.
func (d openapi) example(t *testing.T, c api.Call, app string, things map[string]string) apiRequest {
	t.Helper()
	operation, ok := d.Paths[c.Path][strings.ToLower(c.Method)]
	if !ok {
		t.Fatalf("the document lacks %s %s", c.Method, c.Path)
	}
	r := apiRequest{method: c.Method, path: strings.NewReplacer("{userId}", app+"-7", "{user}", app+"-7").Replace(c.Path)}
	for name, value := range things {
		r.path = strings.ReplaceAll(r.path, "{"+name+"}", value)
	}
	for _, p := range operation.Parameters {
		if p["$ref"] == "#/components/parameters/App" || p["name"] == "app" {
			r.path += "?app=" + app
		}
	}
	body := string(operation.RequestBody.Content["application/json"].Example)
	r.body = strings.NewReplacer(`"ANZ"`, `"`+app+`"`, `"ANZ-`, `"`+app+`-`).Replace(body)
	return r
}

func (r apiRequest) do(s *Server, key string) Answer { return s.Call(r.method, r.path, key, r.body) }

// badKeys are keys that open nothing, by what is wrong with them.
func badKeys(t *testing.T, s *Server) map[string]struct{ key, code string } {
	t.Helper()
	all := `"scopes":["` + strings.Join(scopeNames(), `","`) + `"]`
	revoked, revokedKey := s.NewKey(`{"app":"ANZ",` + all + `}`)
	if a := s.CallControl("DELETE", "/v1/keys/"+revoked, ""); a.Status != 200 {
		t.Fatal(a)
	}
	_, admin := s.NewKey(`{"admin":true}`)
	id, secret := admin[3:19], admin[20:]
	_, other := s.NewKey(`{"admin":true}`)
	_, expiring := s.NewKey(`{"app":"ANZ",` + all + `,"expiresAt":"` + time.Now().Add(300*time.Millisecond).UTC().Format(time.RFC3339Nano) + `"}`)
	Eventually(t, "a key expires", func() bool { return s.Call("GET", "/v1/keys", expiring, "").Code() == "KEY_EXPIRED" })
	return map[string]struct{ key, code string }{
		"none":            {"", "AUTH_REQUIRED"},
		"malformed":       {admin + "x", "KEY_INVALID"},
		"a word":          {"letmein", "KEY_INVALID"},
		"unknown":         {"sb_" + strings.Repeat("a", 16) + "_" + secret, "KEY_INVALID"},
		"another secret":  {"sb_" + id + other[19:], "KEY_INVALID"},
		"revoked":         {revokedKey, "KEY_INVALID"},
		"expired":         {expiring, "KEY_EXPIRED"},
		"secret in caps":  {"sb_" + id + "_" + strings.ToUpper(secret), "KEY_INVALID"},
		"only the secret": {secret, "KEY_INVALID"},
	}
}

func scopeNames() (names []string) {
	for _, s := range keys.Scopes() {
		names = append(names, string(s))
	}
	return names
}

func TestEachCallIsOpenedByTheRightKeyAlone(t *testing.T) {
	t.Parallel()
	s := startWith(t, anyApps)
	d := described(t, s)
	bad := badKeys(t, s)
	_, admin := s.NewKey(`{"admin":true}`)
	tried := 0
	for _, c := range api.Calls(api.Rooms{}) {
		if c.Auth != api.ByKey {
			continue
		}
		// Of the other app, and so not there to be found by either.
		shops, _ := s.NewKey(`{"app":"SHOP","scopes":["users:read"]}`)
		r := d.example(t, c, "ANZ", map[string]string{"id": shops, "name": "none", "instance": "none"})
		for what, b := range bad {
			a := r.do(s, b.key)
			if a.Status != 401 || a.Code() != b.code || a.Header.Get("WWW-Authenticate") == "" {
				t.Errorf("%s %s with a key that is %s: %d %s", r.method, r.path, what, a.Status, a.Body)
			}
			tried++
		}
		_, other := s.NewKey(fmt.Sprintf(`{"app":"ANZ","scopes":["%s"]}`, strings.Join(without(scopeNames(), string(c.Scope)), `","`)))
		if a := r.do(s, other); a.Status != 403 || a.Code() != "SCOPE_MISSING" || a.Field("scope") != string(c.Scope) {
			t.Errorf("%s %s with all scopes but its own: %d %s", r.method, r.path, a.Status, a.Body)
		}
		_, right := s.NewKey(fmt.Sprintf(`{"app":"ANZ","scopes":["%s"]}`, c.Scope))
		for what, key := range map[string]string{"just its scope": right, "an admin key": admin} {
			// What the key makes or asks for may be refused, but not the key.
			if a := r.do(s, key); a.Status == 401 || a.Code() == "SCOPE_MISSING" || a.Status >= 500 {
				t.Errorf("%s %s with %s: %d %s", r.method, r.path, what, a.Status, a.Body)
			}
		}
		tried += 3
	}
	t.Logf("%d requests were tried", tried)
}

func without(list []string, one string) (rest []string) {
	for _, s := range list {
		if s != one {
			rest = append(rest, s)
		}
	}
	return rest
}

func TestNoCallReachesAnotherAppsUsersKeysOrLists(t *testing.T) {
	t.Parallel()
	s := startWith(t, anyApps)
	d := described(t, s)
	_, shop := s.NewKey(`{"app":"SHOP","scopes":["` + strings.Join(scopeNames(), `","`) + `"]}`)
	for _, c := range api.Calls(api.Rooms{}) {
		if c.Auth != api.ByKey {
			continue
		}
		anz, _ := s.NewKey(`{"app":"ANZ","scopes":["users:read"]}`)
		r := d.example(t, c, "ANZ", map[string]string{"id": anz, "name": "none", "instance": "none"})
		if c.Scope == keys.StatsRead || c.Scope == keys.ServicesRead || c.Scope == keys.ServicesWrite {
			continue // of the node, or of services, which are of no app
		}
		if a := r.do(s, shop); a.Status != 403 && a.Status != 404 && !eachForbidden(a) {
			t.Errorf("%s %s with another app's key: %d %s", r.method, r.path, a.Status, a.Body)
		}
		if a := s.CallControl("GET", "/v1/keys/"+anz, ""); a.Status != 200 {
			t.Errorf("%s %s: the other app's key is gone", r.method, r.path)
		}
	}
}

// eachForbidden says whether a batch was answered, and each part of it refused.
func eachForbidden(a Answer) bool {
	var batch struct{ Results []struct{ Code string } }
	if json.Unmarshal([]byte(a.Body), &batch) != nil || len(batch.Results) == 0 {
		return false
	}
	for _, r := range batch.Results {
		if r.Code != "FORBIDDEN" {
			return false
		}
	}
	return true
}

func TestTheOperatorNeedsNoKeyAtTheControlSocket(t *testing.T) {
	t.Parallel()
	s := startWith(t, anyApps)
	d := described(t, s)
	for _, c := range api.Calls(api.Rooms{}) {
		if c.Auth != api.ByKey {
			continue
		}
		id, _ := s.NewKey(`{"app":"ANZ","scopes":["users:read"]}`)
		r := d.example(t, c, "ANZ", map[string]string{"id": id, "name": "none", "instance": "none"})
		if a := s.CallControl(r.method, r.path, r.body); a.Status == 401 || a.Status == 403 || a.Status >= 500 {
			t.Errorf("%s %s: %d %s", r.method, r.path, a.Status, a.Body)
		}
	}
	if a := s.CallControl("GET", "/metrics", ""); a.Status != 404 {
		t.Errorf("got %d", a.Status)
	}
}
