package nodetest

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

// Cluster is several nodes that belong together.
type Cluster struct {
	Nodes []*Server
	// Settings are those of each node, as it was started.
	Settings []NodeSettings

	t    testing.TB
	path string // of the program
}

// NodeSettings say what a node of a cluster is started with.
type NodeSettings struct {
	Name    string   // of the node, which it keeps
	Cluster string   // the cluster's name
	Listen  string   // host:port for the other nodes
	Peers   []string // host:port of all of them that keep what is stored
	Secret  string
	NATS    *NATS    // that exists; nil for their own
	Roles   []string // both if empty
	More    string   // the rest of the settings file; empty: the demo's apps
	Args    []string // further arguments
	Lease   string   // empty: clusterLease
	Data    string   // folder
	Host    string   // where clients and operators come to

	before []string // words that start the program
}

// clusterSecret is the secret of all clusters of tests.
const clusterSecret = "0123456789abcdef0123456789abcdef"

// clusterLease is how long a node that is not heard of counts as alive in tests:
// short, since many wait for it, but not so short that a machine under test cannot
// elect a leader in it.
const clusterLease = "4s"

// text is the settings file.
func (s NodeSettings) text() string { return s.More + s.extra() }

// extra is what makes the node one of a cluster. One by itself is none.
func (s NodeSettings) extra() string {
	var b strings.Builder
	if len(s.Peers) == 1 && s.NATS == nil && len(s.Roles) == 0 {
		return ""
	}
	lease := cmp.Or(s.Lease, clusterLease)
	fmt.Fprintf(&b, "\ncluster: {name: %s, node: %s, listen: %q, peers: [%s], secret: %s, lease: %s}\n",
		s.Cluster, s.Name, s.Listen, quoted(s.Peers), s.Secret, lease)
	if s.NATS != nil {
		b.Reset()
		fmt.Fprintf(&b, "\nnats: {url: %q, systemUrl: %q}\ncluster: {node: %s, lease: %s}\n", s.NATS.URL, s.NATS.System, s.Name, lease)
	}
	if len(s.Roles) > 0 {
		fmt.Fprintf(&b, "roles: [%s]\n", strings.Join(s.Roles, ", "))
	}
	return b.String()
}

func quoted(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = fmt.Sprintf("%q", w)
	}
	return strings.Join(list, ", ")
}

// StartCluster starts n nodes on loopback, side by side, and waits until all are
// ready. change, unless nil, changes the settings of node i before it is started.
// They end with the test.
func StartCluster(t testing.TB, n int, change func(i int, s *NodeSettings)) *Cluster {
	t.Helper()
	c := newCluster(t, n, change)
	for i := range c.Settings {
		c.Nodes = append(c.Nodes, c.node(i))
	}
	c.Launch(c.Nodes...)
	return c
}

// newCluster writes the settings of n nodes down.
func newCluster(t testing.TB, n int, change func(i int, s *NodeSettings)) *Cluster {
	t.Helper()
	c := &Cluster{t: t, path: Binary(t)}
	var places []string
	for range n {
		places = append(places, freeAddress(t))
	}
	for i := range n {
		s := NodeSettings{
			Name: fmt.Sprint("n", i+1), Cluster: "test", Listen: places[i], Peers: slices.Clone(places), Secret: clusterSecret,
			More: demoApps, Data: filepath.Join(t.TempDir(), "data"), Host: "127.0.0.1",
		}
		if change != nil {
			change(i, &s)
		}
		c.Settings = append(c.Settings, s)
	}
	return c
}

// node returns a node that is not running yet. It ends with the test.
func (c *Cluster) node(i int) *Server {
	c.t.Helper()
	s := c.Settings[i]
	file := filepath.Join(c.t.TempDir(), s.Name+".yaml")
	if err := os.WriteFile(file, []byte(s.text()), 0o600); err != nil {
		c.t.Fatal(err)
	}
	server := &Server{
		t: c.t, path: c.path, before: s.before, Data: s.Data, config: file, extra: s.extra(), roles: s.Roles,
		Addr: net.JoinHostPort(s.Host, "0"), Admin: net.JoinHostPort(s.Host, "0"), Args: append(slices.Clone(s.Args), "--config", file),
	}
	c.t.Cleanup(func() {
		if server.cmd != nil {
			server.Kill()
		}
	})
	return server
}

// Add starts one more node with the settings of the last one, changed.
func (c *Cluster) Add(change func(s *NodeSettings)) *Server {
	c.t.Helper()
	n := c.prepare(change)
	c.Launch(n)
	return n
}

// prepare is Add without starting it.
func (c *Cluster) prepare(change func(s *NodeSettings)) *Server {
	c.t.Helper()
	s := c.Settings[len(c.Settings)-1]
	s.Name = fmt.Sprint("n", len(c.Settings)+1)
	s.Listen = freeAddress(c.t)
	s.Data = filepath.Join(c.t.TempDir(), "data")
	change(&s)
	c.Settings = append(c.Settings, s)
	n := c.node(len(c.Settings) - 1)
	c.Nodes = append(c.Nodes, n)
	return n
}

// Launch starts nodes, side by side, and waits until they are ready.
func (c *Cluster) Launch(nodes ...*Server) {
	c.t.Helper()
	launchAll(c.t, nodes)
	c.AwaitReady(nodes...)
}

func launchAll(t testing.TB, nodes []*Server) {
	t.Helper()
	signs := make([]<-chan struct{}, len(nodes))
	for i, n := range nodes {
		signs[i] = n.launch()
	}
	for i, n := range nodes {
		if !n.becomesReady(signs[i]) {
			t.Fatalf("%s ended before it was ready: %v\n%s", n.config, n.err, n.Output())
		}
	}
}

// AwaitReady waits until nodes say that they are ready; all if none is named.
func (c *Cluster) AwaitReady(nodes ...*Server) {
	c.t.Helper()
	if len(nodes) == 0 {
		nodes = c.Nodes
	}
	for _, n := range nodes {
		Eventually(c.t, n.config+" is ready", func() bool {
			status, _ := n.Get("/readyz")
			return status == http.StatusOK
		})
	}
}

// Face returns one Server for all nodes: clients come to each in turn.
func (c *Cluster) Face() *Server {
	c.t.Helper()
	return behind(c.t, c.Nodes, "")
}

// Metric returns the sum of a metric's values on all nodes.
func (c *Cluster) Metric(name string) float64 {
	c.t.Helper()
	sum := 0.0
	for _, n := range c.Nodes {
		sum += n.Metric(name)
	}
	return sum
}

// connects says whether clients come to this node.
func (s *Server) connects() bool {
	return len(s.roles) == 0 || slices.Contains(s.roles, "connector")
}

// given are the addresses that freeAddress has given away, which are not to be
// given again before somebody listens there.
var given struct {
	sync.Mutex
	addresses map[string]bool
}

// freeAddress returns an address of loopback at which nobody listens. Its port is
// none of those that the system gives away, so nobody gets it by chance before it
// is used.
func freeAddress(t testing.TB) string {
	t.Helper()
	given.Lock()
	defer given.Unlock()
	if given.addresses == nil {
		given.addresses = make(map[string]bool)
	}
	for range 1000 {
		addr := fmt.Sprint("127.0.0.1:", 20_000+rand.IntN(10_000))
		if given.addresses[addr] {
			continue
		}
		l, err := net.Listen("tcp", addr)
		if err != nil {
			continue
		}
		_ = l.Close() // nobody came
		given.addresses[addr] = true
		return addr
	}
	t.Fatal("no port is free")
	return ""
}
