package nodetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// clusterOf reads the nodes that a server shows at /cluster.
func clusterOf(t *testing.T, s *Server) []map[string]any {
	t.Helper()
	status, body := s.Get("/cluster")
	var answer struct{ Members []map[string]any }
	if err := json.Unmarshal([]byte(body), &answer); err != nil || status != http.StatusOK {
		t.Fatal(status, err, body)
	}
	return answer.Members
}

// wantMember checks that a node that runs, and has both roles, is shown whole.
func wantMember(t *testing.T, m map[string]any, name, address string) {
	t.Helper()
	text, _ := m["since"].(string)
	since, err := time.Parse(time.RFC3339, text)
	load, isNumber := m["load"].(float64)
	version, _ := m["version"].(string)
	if m["id"] == "" || m["name"] != name || m["address"] != address || fmt.Sprint(m["roles"]) != "[connector processor]" || version == "" ||
		!isNumber || load < 0 || err != nil || time.Since(since) < 0 || time.Since(since) > 10*time.Minute {
		t.Errorf("want %s at %s, with all that there is to say: %v", name, address, m)
	}
}

func TestANodeAloneIsAClusterOfOne(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonDemo)
	s := Start(t)
	list := clusterOf(t, s)
	if len(list) != 1 || list[0]["self"] != true || list[0]["status"] != "up" {
		t.Fatal(list)
	}
	wantMember(t, list[0], config.Settings{}.NodeName(), s.Addr) // the host's, as far as it can be one
	SignIn(t, s, "ANZ-1", "")
	for late := time.Now().Add(time.Minute); clusterOf(t, s)[0]["sessions"] != 1.0; {
		if time.Now().After(late) {
			t.Fatal("the session is not counted")
		}
	}
}
