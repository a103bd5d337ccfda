package nodetest

import (
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// visit asks for a page, and returns 0 when nobody answers.
func visit(url string) (status int, body string, header http.Header) {
	client := http.Client{Timeout: Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url)
	if err != nil {
		return 0, err.Error(), nil
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		return 0, err.Error(), nil
	}
	return res.StatusCode, string(b), res.Header
}

// clusterStatus runs `switchboard cluster status` on a node's folder.
func clusterStatus(t *testing.T, s *Server) (said string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), Binary(t), "cluster", "status", "--data", s.Data)
	b, _ := cmd.CombinedOutput() // how it ended, the code says
	return string(b), cmd.ProcessState.ExitCode()
}

// rowOf returns the line of a table that begins with a name.
func rowOf(table, name string) string {
	for line := range strings.Lines(table) {
		if strings.HasPrefix(line, name+" ") {
			return strings.Join(strings.Fields(line), " ")
		}
	}
	return ""
}

// A node that waits for others lives, says what it waits for, and is not ready.
func TestANodeThatWaitsForAMajorityAnswersAtAllItsDoors(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	c := newCluster(t, 3, nil)
	for i := range c.Settings {
		c.Nodes = append(c.Nodes, c.node(i))
	}
	first, public, admin := c.Nodes[0], freeAddress(t), freeAddress(t)
	first.Addr, first.Admin = public, admin
	ready := first.launch()
	for _, door := range []string{public, admin} {
		base := "http://" + door
		Eventually(t, "the node says that it waits", func() bool {
			status, body, _ := visit(base + "/readyz")
			return status == 503 && strings.Contains(body, "no other server is connected to this one")
		})
		if status, body, _ := visit(base + "/healthz"); status != 200 {
			t.Errorf("/healthz: %d %s", status, body)
		}
		for _, path := range []string{"/ws", "/v1/users", "/", "/metrics"} {
			status, body, header := visit(base + path)
			if status != 503 || header.Get("Retry-After") == "" || !strings.Contains(body, `"code":"BUSY"`) || !strings.Contains(body, "the server is starting: waiting for ") {
				t.Errorf("%s: %d %s", path, status, body)
			}
		}
	}
	said, code := clusterStatus(t, first)
	if row := rowOf(said, "n1 (this)"); code != 0 || !strings.HasPrefix(row, "n1 (this) joining ") || !strings.Contains(said, "\nn1: waiting for ") {
		t.Errorf("exit code %d\n%s", code, said)
	}
	if status, body, _ := visit("http://" + admin + "/cluster"); status != 200 || !strings.Contains(body, `"status":"joining"`) {
		t.Errorf("/cluster: %d %s", status, body)
	}
	select {
	case <-ready:
		t.Error("it says that it is ready")
	default:
	}
	second, third := c.Nodes[1].launch(), c.Nodes[2].launch()
	for i, sign := range []<-chan struct{}{ready, second, third} {
		if n := c.Nodes[i]; !n.becomesReady(sign) {
			t.Fatal(n.Output())
		}
	}
	c.AwaitReady()
	if status, body, _ := visit("http://" + public + "/"); status != 200 {
		t.Errorf("/: %d %s", status, body)
	}
	SignIn(t, first, "ANZ-1", "")
}

// When one of three dies the others stay ready. When two are gone, what is left knows
// it, shows it, and keeps nobody waiting.
func TestANodeStandsAsItSays(t *testing.T) {
	t.Parallel()
	c := three(t, plainApp)
	n := c.Nodes[0]
	SignIn(t, n, "ANZ-1", "")

	c.Nodes[2].Kill()
	dead, noted := time.Now(), false
	shown := func() bool {
		for _, m := range clusterOf(t, n) {
			if m["name"] == "n3" && m["status"] == "unreachable" {
				return true
			}
		}
		return false
	}
	Eventually(t, "the dead node's shards have keepers", func() bool {
		for _, x := range c.Nodes[:2] {
			status, body := x.Get("/readyz")
			if status != http.StatusOK {
				t.Fatalf("%s after a node died: %d %s", time.Since(dead), status, body)
			}
			noted = noted || strings.Contains(body, "no keeper is known of the shards")
		}
		if !shown() {
			return false
		}
		_, body := n.Get("/readyz")
		return !strings.Contains(body, "no keeper")
	})
	t.Logf("%s after a node died all is as before; that shards had no keeper was noted: %v", time.Since(dead).Round(time.Millisecond), noted)
	said, code := clusterStatus(t, n)
	if code != 1 || !strings.HasPrefix(rowOf(said, "n3"), "n3 unreachable ") || !strings.HasPrefix(rowOf(said, "n1 (this)"), "n1 (this) up ") {
		t.Errorf("exit code %d\n%s", code, said)
	}

	silent := Dial(t, n) // does not sign in
	signed := SignIn(t, n, "ANZ-2", "")
	c.Nodes[1].Kill()
	for _, p := range []*Peer{silent, signed} {
		if got := p.CloseCode(); got != 1012 {
			t.Errorf("closed with %d: %v", got, p.err)
		}
	}
	if status, body := n.Get("/readyz"); status != 503 || !strings.Contains(body, "lost touch with the cluster") {
		t.Errorf("/readyz: %d %s", status, body)
	}
	began := time.Now()
	for path, want := range map[string]string{"/ws": "SERVICE_UNAVAILABLE", "/v1/users?app=ANZ": "STORE_DOWN", "/v1/events?appId=app-id-343&userId=ANZ-3": "STORE_DOWN"} {
		request, err := http.NewRequest("GET", "http://"+n.Addr+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if path == "/ws" {
			for k, v := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA=="} {
				request.Header.Set(k, v)
			}
		}
		res, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		_ = res.Body.Close() // all was read
		if err != nil || res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(string(body), fmt.Sprintf(`"code":%q`, want)) {
			t.Errorf("%s: %s %s, %v", path, res.Status, body, err)
		}
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %s to refuse", took)
	}
	Eventually(t, "all are shown as unreachable", func() bool {
		for _, m := range clusterOf(t, n) {
			if m["status"] != "unreachable" || (m["self"] == true) != (m["reason"] != nil) {
				return false
			}
		}
		return true
	})
	said, code = clusterStatus(t, n)
	if code != 1 || !strings.HasPrefix(rowOf(said, "n1 (this)"), "n1 (this) unreachable ") ||
		!strings.Contains(said, "\nn1: this node has lost touch with the cluster") || !strings.Contains(said, "unreachable: n1, n2, n3") {
		t.Errorf("exit code %d\n%s", code, said)
	}
}

// The same holds where the nodes share a NATS of its own, and that is gone.
func TestNodesWhoseNATSIsGoneSayThatTheyHaveLostTouch(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	nats := StartNATS(t)
	c := StartCluster(t, 2, func(_ int, s *NodeSettings) { s.NATS = nats })
	nats.Kill()
	Eventually(t, "both are shown as unreachable", func() bool {
		list := clusterOf(t, c.Nodes[0])
		return len(list) == 2 && list[0]["status"] == "unreachable" && list[1]["status"] == "unreachable"
	})
	if said, code := clusterStatus(t, c.Nodes[1]); code != 1 || !strings.Contains(said, "\nn2: this node has lost touch with the cluster") {
		t.Errorf("exit code %d\n%s", code, said)
	}
	nats.Start()
	c.AwaitReady()
	if said, code := clusterStatus(t, c.Nodes[0]); code != 0 {
		t.Errorf("exit code %d\n%s", code, said)
	}
}
