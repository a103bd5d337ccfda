package nodetest

import (
	"encoding/json"
	"errors"
	"math/rand/v2"
	"net/http"
	"os/exec"
	"strings"
	"testing"
)

// placing is what a node says of where the copies are.
type placing struct {
	Members []struct {
		Name, Status string
		Copies       *struct{ Streams, Behind int }
	}
	Store *struct {
		Streams    int
		Short, Due []string
		Gone       []struct{ Name string }
	}
}

func (s *Server) placing() (p placing) {
	s.t.Helper()
	status, text := s.Get("/cluster")
	if err := json.Unmarshal([]byte(text), &p); err != nil || status != http.StatusOK {
		s.t.Fatalf("%d %s: %v", status, text, err)
	}
	return p
}

// awaitCopies waits until every stream has its copies, on these nodes.
func (s *Server) awaitCopies(names ...string) {
	s.t.Helper()
	var p placing
	defer func() {
		if s.t.Failed() {
			s.t.Logf("%+v", p)
		}
	}()
	Eventually(s.t, "every stream has its copies", func() bool {
		p = s.placing()
		if p.Store == nil || len(p.Store.Short)+len(p.Store.Gone) > 0 {
			return false
		}
		has := 0
		for _, m := range p.Members {
			if m.Copies != nil && m.Copies.Streams == p.Store.Streams && m.Copies.Behind == 0 {
				has++
			}
		}
		return has == len(names)
	})
}

// says runs the program for a node, and returns what it says and its exit code.
func (s *Server) says(words ...string) (out string, code int) {
	s.t.Helper()
	text, err := exec.CommandContext(s.t.Context(), Binary(s.t), append(words, "--data", s.Data)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if exit != nil {
		code = exit.ExitCode()
	}
	return string(text), code
}

// A cluster of two gets a third processor, of which the first two know nothing; one is
// replaced by one of another name; and then any other may die. All the while
// messages go through it.
func TestAClusterGrowsAndGetsAnotherNodeForOneThatIsGone(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	c := newCluster(t, 3, func(_ int, s *NodeSettings) { s.More = roomyApp })
	places := c.Settings[2].Peers
	c.Settings[0].Peers, c.Settings[1].Peers = places[:2], places[:2]
	for i := range c.Settings {
		c.Nodes = append(c.Nodes, c.node(i))
	}
	t.Cleanup(c.tell)
	n1, n2, n3 := c.Nodes[0], c.Nodes[1], c.Nodes[2]
	c.Launch(n1, n2)
	n1.awaitCopies("n1", "n2")
	c.Launch(n3)
	w := work{startWorkload(t, c.Face(), rand.New(rand.NewPCG(seed(t), 23)), restOfProducers(t), 200, 2000, 20_000), c, t}
	w.awaitAll()
	n2.awaitCopies("n1", "n2", "n3")
	n2.Kill()
	t.Logf("grown to three, one is killed: all are served after %s", w.awaitAll())
	n2.Start()
	c.AwaitReady()
	n1.awaitCopies("n1", "n2", "n3")

	if out, code := n1.says("cluster", "remove", "n3"); code != 1 || !strings.Contains(out, "n3 is alive") {
		t.Errorf("exit code %d: %s", code, out)
	}
	n3.Kill()
	n4 := c.Add(func(s *NodeSettings) { s.Peers = []string{places[0], places[1], s.Listen} })
	w.awaitAll()
	if out, code := n1.says("cluster", "status"); code != 1 || !strings.Contains(out, "switchboard cluster remove n3") || !strings.Contains(out, "fewer complete copies") {
		t.Errorf("exit code %d: %s", code, out)
	}
	var out string
	Eventually(t, "the node that is gone is taken out", func() bool {
		var code int
		out, code = n1.says("cluster", "remove", "n3")
		return code == 0
	})
	t.Log(out)
	if !strings.Contains(out, "streams have their copies\n") {
		t.Error(out)
	}
	n4.awaitCopies("n1", "n2", "n4")
	if out, code := n4.says("cluster", "status"); code != 0 || strings.Contains(out, "n3") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if out, code := n4.says("cluster", "remove", "n3"); code != 1 || !strings.Contains(out, "there are n1, n2, n4") {
		t.Errorf("exit code %d: %s", code, out)
	}
	n2.Kill()
	t.Logf("replaced, and another one is killed: all are served after %s", w.awaitAll())
	c.AwaitReady(n1, n4)
	w.hush()
	w.drain(behind(t, []*Server{n1, n4}, ""))
	t.Logf("%d accepted", w.acceptedSoFar())
	wantGood(t, w.history)
}

func TestServersOfANATSThatExistsAreTakenOutWithItsOwnTools(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	nats := StartNATS(t)
	c := StartCluster(t, 1, func(_ int, s *NodeSettings) { s.NATS, s.More = nats, roomyApp })
	if out, code := c.Nodes[0].says("cluster", "remove", "n2"); code != 1 || !strings.Contains(out, "nats server cluster peer-remove") {
		t.Errorf("exit code %d: %s", code, out)
	}
	if p := c.Nodes[0].placing(); p.Store != nil || p.Members[0].Copies != nil {
		t.Errorf("%+v", p)
	}
}
