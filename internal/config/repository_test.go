package config

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const secretive = `
apps:
  - appName: SHOP
    appId: {secret: SHOP_ID}
    jwt: {secret: {secret: SHOP_JWT}}
    webhooks:
      - {name: back, url: {secret: HOOK}, secret: {secret: hook.key}, events: [connected]}
db: {url: {secret: DB}}
`

// secrets are variables, and a folder, that hold what secretive names.
func secrets(t *testing.T) (environ []string, folder string) {
	t.Helper()
	folder = t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "hook.key"), []byte(strings.Repeat("k", 40)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("hook.key", filepath.Join(folder, "SHOP_ID")); err != nil { // as Kubernetes has it
		t.Fatal(err)
	}
	return []string{
		EnvSecrets + "=" + folder, "SHOP_JWT=" + strings.Repeat("j", 40), "HOOK=https://hooks.example/hidden-path", "DB=postgres://u:hidden@db.example/sb?x=hidden-too",
	}, folder
}

func TestAValueIsReadFromTheSecretThatItNamesAndNeverShown(t *testing.T) {
	environ, _ := secrets(t)
	file := write(t, secretive)
	p, err := LoadPlaced(Sources{File: file, Environ: environ})
	if err != nil {
		t.Fatal(err)
	}
	app := p.Settings.Apps[0]
	if app.ID != strings.Repeat("k", 40) || string(app.JWT.Secret) != strings.Repeat("j", 40) || app.Webhooks[0].URL != "https://hooks.example/hidden-path" || !strings.HasPrefix(p.Settings.DB.URL, "postgres://u:hidden@") {
		t.Errorf("got %+v", p.Settings.Apps)
	}
	adopted, err := Placed{Settings: Defaults()}.Adopt(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, of := range []Placed{p, adopted} {
		shown := string(of.Settings.YAML())
		for _, s := range of.List() {
			shown += s.Key + "=" + s.Value + "\n"
		}
		for _, hidden := range []string{"kkkk", "jjjj", "hidden-", "u:hidden"} {
			if strings.Contains(shown, hidden) {
				t.Errorf("%s is shown:\n%s", hidden, shown)
			}
		}
		if !strings.Contains(shown, "apps[0].appId="+mask) {
			t.Errorf("no mask:\n%s", shown)
		}
	}
}

func TestASecretThatIsNotThereIsAProblemWithItsPlaceAndTheNameOfTheSecret(t *testing.T) {
	environ, folder := secrets(t)
	if err := os.Mkdir(filepath.Join(folder, "FOLDER"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/etc/hostname", filepath.Join(folder, "OUTSIDE")); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ text, want string }{
		{"db: {url: {secret: NONE}}", "f.yaml:1: db.url: there is no secret NONE: the variable NONE is not set, and in the folder "},
		{"db: {url: {secret: FOLDER}}", "it is not a file"},
		{"db: {url: {secret: OUTSIDE}}", "there is no secret OUTSIDE"},
		{"db: {url: {secret: ../x}}", "is not the name of a secret"},
		{"db: {url: {secret: SWITCHBOARD_KEY}}", "is a setting; call the secret otherwise"},
		{"db: {url: {secret: SHOP_JWT}}", "f.yaml:1: db.url: " + hiddenProblem},
		{"apps: [{appName: A, appId: a, authUrl: {secret: SHOP_JWT}}]", "apps[0].authUrl: " + hiddenProblem},
		{"limits: {frame: {secret: SHOP_JWT}}", "limits.frame: cannot be a secret"},
		{"apps: [{appName: {secret: SHOP_JWT}, appId: a, authEnabled: false}]", "apps[0].appName: cannot be a secret"},
		{"listen: {secret: SHOP_JWT}", "listen: cannot be a secret"},
	} {
		file := filepath.Join(t.TempDir(), "f.yaml")
		if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err := Load(Sources{File: file, Environ: environ})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "jjjj") {
			t.Errorf("%s: %v", c.text, err)
		}
	}
	_, err := Load(Sources{File: write(t, `apps: [{appName: A, appId: a, authUrl: {secret: NONE}},
  {appName: B, appId: b, jwt: {secret: {secret: NONE}}}, {appName: C, appId: c, jwt: {jwksUrl: {secret: NONE}}}]`)})
	if err == nil || strings.Count(err.Error(), "there is no secret NONE") != 3 || strings.Count(err.Error(), "\n") != 2 {
		t.Errorf("what follows from a missing secret is told as well: %v", err)
	}
	_, err = Load(Sources{File: write(t, "db: {url: {secret: NONE}}")})
	if err == nil || !strings.Contains(err.Error(), "or have SWITCHBOARD_SECRETS name a folder with a file NONE") {
		t.Errorf("without a folder: %v", err)
	}
}

// served is a repository as a meta server serves it.
func served(settings string, places ...string) *Repository {
	r := &Repository{Commit: "0123456789abcdef", Settings: json.RawMessage(settings), Places: map[string]string{}}
	for i := 0; i < len(places); i += 2 {
		r.Places[places[i]] = places[i+1]
	}
	return r
}

func TestARepositoryWinsOverTheFileAndTheEnvironmentOverBoth(t *testing.T) {
	file := write(t, "settings: {url: 'http://127.0.0.1:1'}\nlimits: {frame: 2KiB, connections: 2, apiRate: 2, apiPage: 2}\napps: [{appName: A, appId: a, authUrl: 'http://x'}, {appName: B, appId: b, authEnabled: false}]\n")
	p, err := LoadPlaced(Sources{
		File: file, Environ: []string{"SWITCHBOARD_LIMITS_API_RATE=3", "SWITCHBOARD_LIMITS_API_PAGE=3"},
		Flags: []Flag{{Name: "--set", Key: "limits.apiPage", Value: "4"}},
		Repository: served(`{"other":{"of":"another service"},"data":{"dir":"/x"},"settings":{"url":"no URL"},"log":{"unknown":1,"level":"debug"},"limits":{"connections":3,"apiRate":9,"apiPage":9},"apps":[{"appName":"C","appId":"007","authEnabled":false}]}`,
			"other", "application.yaml:1", "data", "application.yaml:8", "settings.url", "application.yaml:9", "log.unknown", "application.yaml:3", "limits.connections", "switchboard.yaml:4", "apps[0].appName", "switchboard.yaml:6"),
	})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"limits.frame": "2KiB file", "limits.connections": "3 repository", "limits.apiRate": "3 environment", "limits.apiPage": "4 flag", "limits.queueFrames": "1000 default",
		"apps[0].appName": "C repository", "apps[0].appId": "007 repository", "log.level": "debug repository", "settings.url": "http://127.0.0.1:1 file",
	}
	for _, s := range p.List() {
		if w, ok := want[s.Key]; ok && s.Value+" "+s.Place.Source() != w {
			t.Errorf("%s is %s from %s, want %s", s.Key, s.Value, s.Place.Source(), w)
		}
		delete(want, s.Key)
	}
	if len(want) > 0 || len(p.Settings.Apps) != 1 {
		t.Errorf("not listed: %v, apps %+v", want, p.Settings.Apps)
	}

	// What takes a restart stays, with where it came from.
	changed, err := LoadPlaced(Sources{File: file, Repository: served(`{"limits":{"frame":"3KiB"},"db":{"connections":9},"log":{"format":"json"}}`)})
	if err != nil {
		t.Fatal(err)
	}
	next, err := p.Adopt(changed)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range next.List() {
		switch got := s.Value + " " + s.Place.Source(); s.Key {
		case "limits.frame":
			if got != "3KiB repository" {
				t.Errorf("the frame is %s", got)
			}
		case "db.connections", "log.format":
			if s.Place.Source() != "default" || s.Live {
				t.Errorf("%s is %s", s.Key, got)
			}
		}
	}
	if got := Diff(next.Settings, changed.Settings).Restart; !slices.Equal(got, []string{"db.connections", "log.format"}) {
		t.Errorf("a restart is needed for %v", got)
	}
}

func TestWhatIsWrongInARepositoryNamesItsFileLineAndCommit(t *testing.T) {
	at := "switchboard.yaml:4"
	for _, c := range []struct{ settings, key, want string }{
		{`{"limits":{"frame":"64KB"}}`, "limits.frame", "switchboard.yaml:4 in commit 0123456789: limits.frame: "},
		{`{"limitz":{}}`, "limitz", "switchboard.yaml:4 in commit 0123456789: limitz: unknown key: did you mean limits?"},
		{`{"apps":[{"appName":"A"}]}`, "apps[0]", "switchboard.yaml:4 in commit 0123456789: apps[0].appId: is required"},
		{`{"apps":[]}`, "apps", "must name at least one app"},
		{`{"data":"/elsewhere"}`, "data", "data: cannot be set in the repository"},
		{`{"settings":{"url":"http://other"}}`, "settings.url", "settings.url: cannot be set in the repository"},
		{`[]`, "", "not as a meta server serves them"},
		{`{"limits":`, "", "not as a meta server serves them"},
		{`{"db":{"url":{"secret":"NONE"}}}`, "db.url", "switchboard.yaml:4 in commit 0123456789: db.url: there is no secret NONE"},
	} {
		_, err := Load(Sources{File: write(t, "settings: {url: 'http://127.0.0.1:1'}"), Repository: served(c.settings, c.key, at)})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", c.settings, err)
		}
	}
	if ps := CheckRepository(*served(`{"db":{"url":{"secret":"NONE"}},"limits":{"frame":1}}`)); len(ps) != 1 || ps[0].Key != "limits.frame" {
		t.Errorf("checked without its secrets: %v", ps)
	}
}
