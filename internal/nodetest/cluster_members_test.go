package nodetest

import (
	"fmt"
	"syscall"
	"testing"
	"time"
)

// Whoever asks for the nodes has them in time, though one of them answers nobody, and
// nobody knows yet that it does not.
func TestTheNodesAreShownInTimeWhoeverIsFrozen(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	const inTime = 300 * time.Millisecond
	c := StartCluster(t, 3, func(_ int, s *NodeSettings) { s.Args = []string{"--set", "cluster.askTimeout=" + inTime.String()} })
	t.Cleanup(c.tell)
	statusOf := func(asked, of int) string {
		began := time.Now()
		list := clusterOf(t, c.Nodes[asked])
		// What is more than half a second is not the machine's.
		if took := time.Since(began); took > inTime+500*time.Millisecond {
			t.Errorf("n%d took %s to answer", asked+1, took.Round(time.Millisecond))
		}
		for _, m := range list {
			if m["name"] == c.Settings[of].Name {
				return fmt.Sprint(m["status"])
			}
		}
		return "none"
	}
	for i := range c.Nodes[:2] {
		Eventually(t, "all are up", func() bool { return statusOf(i, 0) == "up" && statusOf(i, 1) == "up" && statusOf(i, 2) == "up" })
		for k, m := range clusterOf(t, c.Nodes[i]) {
			wantMember(t, m, c.Settings[k].Name, c.Nodes[k].Addr)
		}
	}
	frozen := c.Nodes[2]
	frozen.Signal(syscall.SIGSTOP)
	thaw := time.AfterFunc(Patience, func() { _ = frozen.cmd.Process.Signal(syscall.SIGCONT) }) // whatever becomes of the test
	for i := range c.Nodes[:2] {
		Eventually(t, "the frozen one is unreachable", func() bool { return statusOf(i, 2) == "unreachable" })
	}
	thaw.Stop()
	frozen.Signal(syscall.SIGCONT)
	for i := range c.Nodes {
		Eventually(t, "the frozen one is back", func() bool { return statusOf(i, 2) == "up" })
	}
}
