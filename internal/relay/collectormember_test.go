package relay

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestACollectorJoinsItsClusterWithThePortThatItIsGivenAndLeavesIfItIsTo(t *testing.T) {
	// The first port that is given out is taken here.
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = other.Close() }() // it was not used
	first := other.Addr().(*net.TCPAddr).Port
	data, spool := t.TempDir(), t.TempDir()
	n := startTestNetwork(t, data, 0, first)
	server := n.says("listen")
	_, port, err := net.SplitHostPort(server)
	if err != nil {
		t.Fatal(err)
	}
	networkPort, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	settings := func(s *CollectorSettings) {
		s.Spool, s.Network = spool, AtNetwork{Server: server, Cluster: "all", Heartbeat: 20 * time.Millisecond}
	}
	members := func() string {
		answer, err := http.Get("http://" + server + pathClusters)
		if err != nil {
			return err.Error()
		}
		defer func() { _ = answer.Body.Close() }() // it was read
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			return err.Error()
		}
		return string(bytes.TrimSpace(body))
	}
	c := startCollector(t, settings)
	at := c.says("listen")
	_, given, _ := net.SplitHostPort(at)
	if given == fmt.Sprint(first) {
		t.Fatalf("it has the port of another")
	}
	there := fmt.Sprintf(`{"all":{"%s":{"address":"127.0.0.1","port":%s}}}`, c.says("cluster"), given)
	soon(t, "it is there", func() bool { return members() == there })
	soon(t, "it reports", func() bool {
		_, status := get(t, request(t, http.MethodGet, "http://"+server+pathStatus))
		return strings.Contains(status, `"program":"collector"`)
	})
	wantAnswer(t, "a file", put(t, c, []string{"/a HTTP/1.1", "Host: 127.0.0.1"}, "one"), 200, "success")

	// The network server is away for a while, and knows nothing any more.
	n.stop()
	wantAnswer(t, "without a network server", put(t, c, []string{"/b HTTP/1.1", "Host: 127.0.0.1"}, "two"), 200, "success")
	n = startTestNetwork(t, t.TempDir(), networkPort, first)
	soon(t, "it is there again", func() bool { return members() == there })
	// Who stops is still owed its files; who is to leave then is not.
	c.stop()
	if got := members(); got != there {
		t.Errorf("after it stopped there is %s", got)
	}
	c = startCollector(t, func(s *CollectorSettings) {
		settings(s)
		s.Network.Leave = true
	})
	c.stop()
	if got := members(); got != "{}" {
		t.Errorf("after it left there is %s", got)
	}
	c = startCollector(t, settings)
	if c.says("listen") != at {
		t.Errorf("it comes back at %s and not at %s", c.says("listen"), at)
	}
	soon(t, "it comes back", func() bool { return members() == there })

	// While its network server is away it comes back where it was.
	c.stop()
	n.stop()
	c = startCollector(t, settings)
	if c.says("listen") != at {
		t.Errorf("without a network server it comes back at %s and not at %s", c.says("listen"), at)
	}
	c.stop()
	// One that never had a port waits for it.
	if err := os.Remove(filepath.Join(spool, ".switchboard", "collector", portName)); err != nil {
		t.Fatal(err)
	}
	waiting := newTestCollector(t, settings)
	startTestNetwork(t, data, networkPort, first)
	waiting.wait()
	soon(t, "the one that waited is there", func() bool { return members() == there })
}

func TestACollectorThatLeavesWaitsForTheCallThatIsOnItsWay(t *testing.T) {
	beating, finish := make(chan struct{}), make(chan struct{})
	var events []string
	var (
		mu   sync.Mutex
		once sync.Once
	)
	note := func(what string) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, what)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == pathRemove:
			note("removed")
		case r.URL.Path == pathRegister && r.FormValue("port") != undefined:
			once.Do(func() { close(beating) })
			select {
			case <-finish:
				note("registered")
			case <-r.Context().Done():
				note("given up")
			}
		}
		_, _ = io.WriteString(w, `{"port":1}`) // to who still listens
	}))
	defer server.Close()
	c := startCollector(t, func(s *CollectorSettings) {
		s.Port = freePorts(t, 1)[0]
		s.Network = AtNetwork{Server: server.Listener.Addr().String(), Cluster: "all", Leave: true}
	})
	<-beating
	stopped := make(chan struct{})
	go func() {
		defer close(stopped)
		c.stop()
	}()
	soon(t, "its door is closed", func() bool {
		conn, err := net.Dial("tcp", c.says("listen"))
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	close(finish)
	<-stopped
	if want := []string{"registered", "removed"}; !slices.Equal(events, want) {
		t.Errorf("the server saw %q", events)
	}
}
