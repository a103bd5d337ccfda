package nodetest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheNATSOutsideComesBackAtItsAddress(t *testing.T) {
	t.Parallel()
	n := StartNATS(t)
	for range 2 {
		p := dialTCP(t, n.addr)
		if line, err := p.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "INFO ") || !strings.Contains(line, `"jetstream":true`) {
			t.Errorf("it begins with %q, %v", line, err)
		}
		n.Kill()
		n.Start()
	}
}

// What does not sync before it says that something is stored is found out by its system
// account, and is used only by whoever accepts that by name: then all who look are told.
func TestANATSThatDoesNotSyncIsAcceptedByNameAndSaysSo(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	lazy := startNATS(t, "sync_interval: 1m")
	for more, want := range map[string]string{
		", systemUrl: '" + lazy.System + "'": "does not sync each message before it says that it is stored",
		"":                                   "it cannot be found out whether NATS at",
	} {
		file := filepath.Join(t.TempDir(), "settings.yaml")
		if err := os.WriteFile(file, []byte(demoApps+"nats: {url: '"+lazy.URL+"'"+more+"}\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		code, text := refusedStart(t, "--config", file, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", t.TempDir())
		if code != 1 || !strings.Contains(text, want) || !strings.Contains(text, "--accept-unsynced") {
			t.Errorf("exit code %d, it says %s", code, text)
		}
	}
	for _, c := range []struct {
		nats   *NATS
		args   []string
		note   bool
		metric float64
	}{
		{lazy, []string{"--accept-unsynced"}, true, 0},
		{StartNATS(t), nil, false, 1},
	} {
		n := startWith(t, demoApps+"nats: {url: '"+c.nats.URL+"', systemUrl: '"+c.nats.System+"'}\n", c.args...)
		if _, body := n.Get("/readyz"); strings.Contains(body, "may not survive a power cut") != c.note {
			t.Errorf("it says %s", body)
		}
		if v := n.Metric("switchboard_store_synced"); v != c.metric {
			t.Errorf("the metric is %v", v)
		}
	}
}

func TestANATSWithLessRoomThanTheSettingsAskForIsRefusedByWhatToChange(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	small := startNATS(t, "sync_interval: always, max_file_store: 256MB")
	file := Settings(t, plainApp+fmt.Sprintf("nats: {url: %q, systemUrl: %q}\n", small.URL, small.System))
	code, text := refusedStart(t, "--config", file, "--listen", "127.0.0.1:0", "--admin", "127.0.0.1:0", "--data", t.TempDir())
	if code != 1 || !strings.Contains(text, "raise its max_file_store") {
		t.Errorf("exit code %d, it says %s", code, text)
	}
}
