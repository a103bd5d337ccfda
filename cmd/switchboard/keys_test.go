package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
)

// runKeys runs `switchboard keys` with an environment of its own.
func runKeys(t *testing.T, environ []string, args ...string) (stdout, stderr, code string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), nodetest.Binary(t), append([]string{"keys"}, args...)...)
	cmd.Stdout, cmd.Stderr, cmd.Env = &out, &errs, append(os.Environ(), environ...)
	err := cmd.Run()
	return out.String(), errs.String(), exitCode(err)
}

func TestKeysAreManagedOverTheNetworkWithAKey(t *testing.T) {
	t.Parallel()
	s := nodetest.Start(t, "--set", "limits.apiPage=2")
	at := func(args ...string) []string { return append(args, "--url", "http://"+s.Addr+"/") }
	with := func(key string) []string { return []string{"SWITCHBOARD_KEY=" + key} }

	made, says, code := runKeys(t, with(s.Key), at("create", "--app", "ANZ", "--scope", "keys:manage,users:read")...)
	if code != "0" || !strings.HasPrefix(made, "sb_") || strings.Contains(says, strings.TrimSpace(made)) {
		t.Fatalf("exit code %s\n%s%s", code, made, says)
	}
	manager := strings.TrimSpace(made)
	for range 4 {
		if _, says, code := runKeys(t, nil, at("create", "--app", "ANZ", "--scope", "users:read", "--key", manager)...); code != "0" {
			t.Fatalf("exit code %s\n%s", code, says)
		}
	}
	list, _, code := runKeys(t, with(manager), at("list")...)
	if code != "0" || strings.Count(list, "\n") != 1+5 || strings.Contains(list, "all") {
		t.Errorf("exit code %s\n%s", code, list)
	}
	_, says, code = runKeys(t, with(manager), at("create", "--admin")...)
	if code != "1" || !strings.Contains(says, "only an admin key makes admin keys (FORBIDDEN)") {
		t.Errorf("exit code %s\n%s", code, says)
	}
	// The whole key names it as well as its ID.
	said, _, code := runKeys(t, with(s.Key), at("revoke", manager)...)
	if code != "0" || !strings.HasSuffix(said, " is revoked\n") || strings.Contains(said, manager) {
		t.Errorf("exit code %s\n%s", code, said)
	}
	_, says, code = runKeys(t, with(manager), at("list")...)
	if code != "1" || !strings.Contains(says, "(KEY_INVALID)") {
		t.Errorf("exit code %s\n%s", code, says)
	}
	_, says, code = runKeys(t, with(s.Key), "list", "--url", "http://"+s.Addr+"/elsewhere")
	if code != "1" || !strings.Contains(says, "(NOT_FOUND)") {
		t.Errorf("exit code %s\n%s", code, says)
	}
}

func TestAKeyThatIsOverIsMarked(t *testing.T) {
	now := time.Now()
	for want, ends := range map[string]*time.Time{
		"-": nil,
		now.Add(time.Hour).UTC().Format("2006-01-02T15:04Z"):                 new(now.Add(time.Hour)),
		now.Add(-time.Hour).UTC().Format("2006-01-02T15:04Z") + " (expired)": new(now.Add(-time.Hour)),
	} {
		if got := (keyInfo{ExpiresAt: ends}).end(); got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}
