package nodetest

import (
	"path/filepath"
	"strings"
	"testing"
)

// What an import leaves behind is said where an operator looks.
func TestAnImportWarnsOfAJournalThatStaysBehind(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonFolder)
	for _, wrote := range []bool{false, true} {
		a := &aloneStore{data: filepath.Join(t.TempDir(), "data"), settings: plainApp}
		s := StartIn(t, a.data, "--config", Settings(t, a.settings))
		if wrote {
			key := makeKey(t, s, "--app", "ANZ", "--scope", "journal:write")
			if got := s.Call("POST", "/device/event", key, `{"deviceId":"x","eventType":"bytesSent","amount":4}`); got.Status != 201 {
				t.Fatal(got.Status, got.Body)
			}
		}
		s.Stop()
		c := a.join(t)
		c.Launch(c.Nodes...)
		a.wantAside(t)
		if warned := strings.Contains(c.Nodes[0].Output(), "is not imported"); warned != wrote {
			t.Errorf("events were written: %v; the node warns: %v", wrote, warned)
		}
	}
}
