package nodetest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// settled is nodes whose settings come from a Git repository, by a meta server. They make
// no cluster: whether they do is nothing to their settings, and takes longer.
type settled struct {
	Nodes []*Server
	meta  *Meta
	repo  string
}

// startSettled starts the meta server, on a repository with these files, and three nodes
// that have nothing but its URL.
func startSettled(t *testing.T, files map[string]string) *settled {
	t.Helper()
	s := &settled{repo: t.TempDir()}
	s.git(t, "init", "--quiet", "--initial-branch=main")
	s.commit(t, files)
	s.meta = &Meta{t: t, Addr: freeAddress(t), data: filepath.Join(t.TempDir(), "meta"), args: []string{"--git", s.repo, "--settings", "conf", "--every", "100ms"}}
	s.meta.Start()
	t.Cleanup(func() { s.meta.Kill() })
	for range 3 {
		s.Nodes = append(s.Nodes, StartCluster(t, 1, func(_ int, n *NodeSettings) {
			n.More = fmt.Sprintf("settings: {url: \"http://%s\"}\naudit: {file: \"-\"}\n", s.meta.Addr)
			n.before = []string{"env", "SHOP_JWT=" + shopSecret}
		}).Nodes...)
	}
	return s
}

const shopSecret = "0123456789abcdef-of-the-shop-0123456789abcdef"

func (s *settled) git(t *testing.T, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"-C", s.repo, "-c", "user.name=test", "-c", "user.email=test@example.org"}, args...)...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// commit has the repository hold files, and returns the commit.
func (s *settled) commit(t *testing.T, files map[string]string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(s.repo, "conf"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(s.repo, "conf", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s.git(t, "add", "--all")
	s.git(t, "commit", "--quiet", "--message", "a change")
	return s.git(t, "rev-parse", "HEAD")
}

// settingsView is what GET /v1/settings says.
type settingsView struct {
	Source   struct{ Commit string }
	Pending  []struct{ Key, Value string }
	Troubles []struct {
		Kind, Commit string
		Text         []string
	}
	Settings []struct{ Key, Value, From, Place string }
}

// everywhere waits until the settings of all nodes are as they should be.
func (s *settled) everywhere(t *testing.T, what string, is func(v settingsView) bool) {
	t.Helper()
	begun := time.Now()
	Eventually(t, what, func() bool {
		for _, n := range s.Nodes {
			var v settingsView
			if n.Ask("/v1/settings", &v); !is(v) {
				return false
			}
		}
		return true
	})
	t.Logf("%s: on all nodes %s after the commit", what, time.Since(begun).Round(time.Millisecond))
}

// is says whether a setting has a value from a place.
func (v settingsView) is(key, value, from, place string) bool {
	for _, s := range v.Settings {
		if s.Key == key {
			return s.Value == value && s.From == from && strings.HasPrefix(s.Place, place)
		}
	}
	return false
}

const (
	anz  = "  - {appName: ANZ, appId: app-id-343, authEnabled: false}\n"
	shop = "  - {appName: SHOP, appId: shop-id, jwt: {secret: {secret: SHOP_JWT}}}\n"
)

func TestACommitChangesSettingsOfAllNodesAndDropsNoSession(t *testing.T) {
	t.Parallel()
	s := startSettled(t, map[string]string{
		"application.yaml": "company: {name: of all services}\nlimits: {sessionsPerUser: 3}\n",
		"switchboard.yaml": "apps:\n" + anz,
	})
	var peers []*Peer
	for i, n := range s.Nodes {
		peers = append(peers, SignIn(t, n, fmt.Sprintf("ANZ-%d", i+1), ""))
	}
	stay := func() {
		t.Helper()
		for i, p := range peers {
			p.Message(fmt.Sprintf("ANZ-%d", i+1), "still here", "")
			p.Expect("MESSAGE")
		}
	}
	stay()

	good := s.commit(t, map[string]string{
		"switchboard.yaml": "apps:\n" + anz + shop + "limits: {sessionsPerUser: 1}\nlog: {level: debug}\n" +
			"gateway: {routes: [{path: /orders/, service: orders, auth: none, fallback: {status: 503, body: later}}]}\n",
	})
	s.everywhere(t, "a limit, an app, a route and the level of the log are others", func(v settingsView) bool {
		return v.Source.Commit == good && v.is("limits.sessionsPerUser", "1", "repository", "switchboard.yaml:4 in commit "+good[:10]) &&
			v.is("apps[1].jwt.secret", "(hidden)", "repository", "switchboard.yaml:3") && v.is("log.level", "debug", "repository", "switchboard.yaml:5") &&
			v.is("gateway.routes[0].path", "/orders/", "repository", "switchboard.yaml:6")
	})
	for i, n := range s.Nodes {
		Eventually(t, "who has changed it is noted", func() bool {
			return strings.Contains(n.Output(), `"event":"settingsChanged","by":"commit `+good+`"`)
		})
		Eventually(t, "a second session is refused", func() bool {
			err := Dial(t, n).TrySignIn("app-id-343", fmt.Sprintf("ANZ-%d", i+1), "")
			return err != nil && strings.Contains(err.Error(), "TOO_MANY_SESSIONS")
		})
		Eventually(t, "the app is known, and asks for a token", func() bool {
			err := Dial(t, n).TrySignIn("shop-id", "SHOP-1", "")
			return err != nil && !strings.Contains(err.Error(), "UNKNOWN_APP")
		})
		Eventually(t, "the route leads to a service, of which there is no instance", func() bool {
			status, body := get(t, "http://"+n.Addr+"/orders/1")
			return status == 503 && body == "later"
		})
		if !strings.Contains(n.Output(), "level=DEBUG") || strings.Contains(n.Output(), shopSecret) {
			t.Errorf("the log of %s says:\n%s", n.Addr, n.Output())
		}
	}
	stay()

	s.refusesBadCommits(t, good)
	stay()

	restart := s.commit(t, map[string]string{"switchboard.yaml": "apps:\n" + anz + shop + "limits: {sessionsPerUser: 2}\nlog: {level: debug, format: json}\n"})
	s.everywhere(t, "what takes a restart is pending, all else in force", func(v settingsView) bool {
		return v.Source.Commit == restart && len(v.Troubles) == 0 && v.is("limits.sessionsPerUser", "2", "repository", "") && v.is("log.format", "text", "default", "") &&
			len(v.Pending) == 1 && v.Pending[0].Key == "log.format" && v.Pending[0].Value == "json"
	})
	for _, n := range s.Nodes {
		if got := strings.Count(n.Output(), `msg="these settings take effect at the next start" keys=[log.format] commit=`+restart[:10]); got != 1 {
			t.Errorf("that log.format takes a restart is said %d times", got)
		}
		if got := n.Metric("switchboard_settings_pending_restart"); got != 1 {
			t.Errorf("%v settings are pending", got)
		}
	}
	stay()
	s.outlivesItsMetaServer(t, restart)
}

// refusesBadCommits makes commits that are bad: one that is no YAML, which the meta server
// refuses, and one that is no settings of a node, which the nodes do.
func (s *settled) refusesBadCommits(t *testing.T, good string) {
	t.Helper()
	for _, c := range []struct{ text, kind, says string }{
		{"limits: [\n", "repository", "switchboard.yaml:1: not YAML"},
		{"apps:\n" + anz + "limits: {frame: 64KB}\n", "bad", "switchboard.yaml:3 in commit "},
		{"apps:\n" + anz + "db: {url: {secret: NOWHERE}}\n", "bad", "there is no secret NOWHERE"},
	} {
		s.commit(t, map[string]string{"switchboard.yaml": c.text})
		s.everywhere(t, "what is bad changes nothing and is told: "+c.says, func(v settingsView) bool {
			return v.Source.Commit == good && v.is("limits.sessionsPerUser", "1", "repository", "") &&
				len(v.Troubles) == 1 && v.Troubles[0].Kind == c.kind && strings.Contains(strings.Join(v.Troubles[0].Text, "\n"), c.says)
		})
		for _, n := range s.Nodes {
			if got := n.Metric(`switchboard_settings_in_trouble{kind="` + c.kind + `"}`); got != 1 {
				t.Errorf("%s: in_trouble is %v", c.says, got)
			}
			if !strings.Contains(n.Output(), c.says) {
				t.Errorf("the log does not say %s:\n%s", c.says, n.Output())
			}
		}
	}
}

// outlivesItsMetaServer kills the meta server, and a node, which starts with its last good
// copy; with the meta server back all goes on.
func (s *settled) outlivesItsMetaServer(t *testing.T, commit string) {
	t.Helper()
	s.meta.Kill()
	first := s.Nodes[0]
	first.Kill()
	first.Start()
	var v settingsView
	if first.Ask("/v1/settings", &v); v.Source.Commit != commit || len(v.Pending) != 0 || !v.is("log.format", "json", "repository", "") || !v.is("limits.sessionsPerUser", "2", "repository", "") {
		t.Errorf("without a meta server it starts with %+v", v)
	}
	s.meta.Start()
	next := s.commit(t, map[string]string{"switchboard.yaml": "apps:\n" + anz + "limits: {sessionsPerUser: 5}\n"})
	s.everywhere(t, "with the meta server back a commit is taken", func(v settingsView) bool {
		return v.Source.Commit == next && v.is("limits.sessionsPerUser", "5", "repository", "")
	})
}
