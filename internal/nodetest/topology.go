package nodetest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Topology is what Start starts: how many processes, and who does what. The same
// tests hold for all of them.
type Topology string

// The topologies. A test that is about one process calls Alone.
const (
	One      Topology = ""         // one node: the default
	Fronted  Topology = "front"    // one node behind the front: what fails here and not without, fails because of the front
	Split    Topology = "split"    // a connector, and a processor
	Three    Topology = "cluster"  // three nodes, each of which does all
	External Topology = "external" // three nodes on one NATS server that was there before
)

// topologyVariable names the topology of a run of tests.
const topologyVariable = "NODETEST_TOPOLOGY"

func topologyOf(t testing.TB) Topology {
	t.Helper()
	topology := Topology(os.Getenv(topologyVariable))
	if !slices.Contains([]Topology{One, Fronted, Split, Three, External}, topology) {
		t.Fatalf("%s: %q is no topology", topologyVariable, topology)
	}
	return topology
}

// Reason is why a test is about one process.
type Reason string

// The reasons.
const (
	ReasonEnds   Reason = "it ends, stops or signals the process"
	ReasonFolder Reason = "it brings or looks into the data folder"
	ReasonMemory Reason = "it measures the process"
	ReasonOutput Reason = "it reads what the process prints"
	ReasonDemo   Reason = "it is about the demo, which is one node"
	ReasonLine   Reason = "it is about the client's own connection to the process"
	ReasonAnswer Reason = "it is about answers that one process has in memory"
	ReasonShare  Reason = "it counts up to a limit that each process has for itself"
	ReasonOwn    Reason = "it starts several processes itself"
	ReasonWorld  Reason = "it runs in a world of its own, where it says itself what is started"
)

// Alone says that the test is about one process, and why. Where a run is on
// another topology the test is skipped: it runs with one node already.
func Alone(t testing.TB, why Reason) {
	t.Helper()
	if topology := topologyOf(t); topology != One {
		t.Skipf("not on %q: %s", topology, why)
	}
}

// one fails the test if s is several processes.
func (s *Server) one(what string) {
	if s.nodes != nil {
		s.t.Helper()
		s.t.Fatalf("%s is for one process, and these are %d: the test must call Alone, or go through Nodes", what, len(s.nodes))
	}
}

// Nodes returns the processes: of one node itself.
func (s *Server) Nodes() []*Server {
	if s.nodes != nil {
		return s.nodes
	}
	return []*Server{s}
}

// outputOfAll is what all nodes have printed.
func (s *Server) outputOfAll() string {
	var all strings.Builder
	for i, n := range s.nodes {
		fmt.Fprintf(&all, "--- node %d\n%s", i+1, n.Output())
	}
	return all.String()
}

// demoApps are the demo's apps where there is no demo.
const demoApps = "apps: [{appName: ANZ, appId: app-id-343, masterUserId: ANZ-123223, authEnabled: false}]\n"

// startTopology starts a topology with a test's arguments.
func startTopology(t testing.TB, topology Topology, args []string) *Server {
	t.Helper()
	path, text, rest := settingsOf(t, args)
	if topology == Fronted {
		n := start(t, Binary(t), filepath.Join(t.TempDir(), "data"), args)
		n.config = path
		return behind(t, []*Server{n}, n.Key)
	}
	if !strings.Contains(text, "apps:") {
		text += demoApps
	}
	count, nats := 3, (*NATS)(nil)
	switch topology {
	case Split:
		count = 2
	case External:
		nats = StartNATS(t)
	}
	c := StartCluster(t, count, func(i int, s *NodeSettings) {
		s.More, s.Args, s.NATS = text, rest, nats
		if topology == Split {
			s.Roles = []string{[]string{"connector", "processor"}[i]}
			s.Peers = s.Peers[1:]
		}
	})
	s := c.Face()
	if path == "" { // where there is the demo otherwise, which has a key
		_, s.Key = s.NewKey(`{"admin":true}`)
	}
	return s
}

// behind returns one face of nodes: clients come to all that take connections, in
// turn, operators to the first.
func behind(t testing.TB, nodes []*Server, key string) *Server {
	t.Helper()
	var doors []string
	for _, n := range nodes {
		if n.connects() {
			doors = append(doors, n.Addr)
		}
	}
	return &Server{t: t, Addr: StartFront(t, doors...).Addr, Admin: nodes[0].Admin, Data: nodes[0].Data, Key: key, nodes: nodes}
}

// settingsOf takes the settings file out of arguments: its path, which is empty
// for none, and its text.
func settingsOf(t testing.TB, args []string) (path, text string, rest []string) {
	t.Helper()
	rest = slices.Clone(args)
	i := slices.Index(rest, "--config")
	if i < 0 {
		return "", "", rest
	}
	path = rest[i+1]
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return path, string(b), slices.Delete(rest, i, i+2)
}
