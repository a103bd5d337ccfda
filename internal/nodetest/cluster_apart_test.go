package nodetest

import (
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
)

// Two clusters that were formed apart, with one name and one secret, have messages of
// their own. Neither a node that knows both nor a list of all of them makes them one:
// what either has stored it has afterwards.
func TestTwoClustersOfOneNameAndSecretStayApartAndLoseNothing(t *testing.T) {
	t.Parallel()
	Alone(t, ReasonOwn)
	const users, each = 20, 5
	var all []string
	c := StartCluster(t, 4, func(i int, s *NodeSettings) {
		all = slices.Clone(s.Peers)
		s.Peers = s.Peers[i/2*2:][:2]
		s.before = []string{"env", "SWITCHBOARD_CLUSTER_REPLICAS=2"} // also where four are listed
	})
	t.Cleanup(c.tell)
	series := []string{"a", "b"}
	user := func(round, u int) string { return fmt.Sprint("ANZ-", 100*(round+1)+u) }
	for cluster, s := range series {
		p := SignIn(t, c.Nodes[2*cluster], "ANZ-2", `{"receipts":true}`)
		for round := range 2 {
			for u := range users {
				post(t, p, user(round, u), s, 0, each, 20)
			}
		}
		p.Close()
	}
	count := func(round int) {
		t.Helper()
		lost, strange := 0, 0
		for cluster, s := range series {
			for u := range users {
				p := SignIn(t, c.Nodes[2*cluster+u%2], user(round, u), "")
				missed, _ := p.Fetch(100)
				own := 0
				for _, f := range missed {
					if of, _ := number(f); of == s {
						own++
					}
				}
				lost += each - own
				strange += len(missed) - own
				p.Close()
			}
		}
		t.Logf("of %d messages in two clusters: lost %d, duplicated or of the other cluster %d", 2*users*each, lost, strange)
		if lost != 0 || strange != 0 {
			t.Errorf("lost %d, duplicated or of the other cluster %d", lost, strange)
		}
	}

	fifth := c.prepare(func(s *NodeSettings) { s.Peers = append(slices.Clone(all), s.Listen) })
	if fifth.Starts() {
		t.Error("a node that knows both clusters is ready")
	} else if code := fifth.Wait(); code != 1 {
		t.Errorf("a node that knows both clusters ended with %d", code)
	}
	awaitSentence(t, "the node that knows both", fifth, regexp.MustCompile(`(?m)^switchboard: .*more than one cluster.* \w+ \(n\d.*\) and \w+ \(n\d.*\)`))
	c.Nodes = c.Nodes[:4]
	count(0)

	if code := c.Face().Stop(); code != 0 {
		t.Errorf("a node ended with %d", code)
	}
	for i, n := range c.Nodes {
		c.Settings[i].Peers = all
		if err := os.WriteFile(n.config, []byte(c.Settings[i].text()), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	c.Launch(c.Nodes...)
	for i, n := range c.Nodes {
		their := []string{"n3|n4", "n1|n2"}[i/2]
		awaitSentence(t, fmt.Sprint("node ", i+1), n, regexp.MustCompile(fmt.Sprintf(`(?m)^.*refused: it is of another cluster.*its="\w+ of (%s)" own="\w+ of n%d"$`, their, i+1)))
	}
	count(1)
}
