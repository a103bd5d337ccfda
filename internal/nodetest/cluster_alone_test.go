package nodetest

import (
	"encoding/json"
	"net/http"
	"testing"
	"time"
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

func TestANodeAloneIsAClusterOfOne(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonDemo)
	s := Start(t)
	list := clusterOf(t, s)
	if len(list) != 1 || list[0]["self"] != true || list[0]["status"] != "up" || list[0]["address"] != s.Addr || list[0]["id"] == "" {
		t.Fatal(list)
	}
	SignIn(t, s, "ANZ-1", "")
	for late := time.Now().Add(time.Minute); clusterOf(t, s)[0]["sessions"] != 1.0; {
		if time.Now().After(late) {
			t.Fatal("the session is not counted")
		}
	}
}
