package nodetest

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"regexp"
	"strings"
	"testing"
	"time"
)

// awaitSentence waits until a node says something, in one line.
func awaitSentence(t *testing.T, what string, n *Server, sentence *regexp.Regexp) {
	t.Helper()
	var line string
	Eventually(t, fmt.Sprintf("%s says something like %q", what, sentence), func() bool {
		line = sentence.FindString(n.Output())
		return line != ""
	})
	t.Logf("%s: %s", what, line)
}

// awaitSentenceOfAny is awaitSentence for whichever node it is that says it.
func awaitSentenceOfAny(t *testing.T, nodes []*Server, sentence *regexp.Regexp) {
	t.Helper()
	var line string
	Eventually(t, fmt.Sprintf("a node of the cluster says something like %q", sentence), func() bool {
		for _, n := range nodes {
			if line = sentence.FindString(n.Output()); line != "" {
				return true
			}
		}
		return false
	})
	t.Logf("the cluster: %s", line)
}

// A node that does not belong here is told so, and those that do say who was
// refused, and why. They go on as if nothing had come, and a good one is let in.
func TestANodeThatDoesNotBelongHereIsRefusedWithASentenceOnBothSides(t *testing.T) {
	t.Parallel()
	c := three(t, plainApp)
	own := c.Nodes
	for _, wrong := range []struct {
		name     string
		change   func(s *NodeSettings)
		sentence *regexp.Regexp
	}{
		{"secret", func(s *NodeSettings) { s.Secret = strings.Repeat("f", 32) }, regexp.MustCompile(`(?im)^.*(refused|refuses).*secret.*$`)},
		{"name", func(s *NodeSettings) { s.Cluster = "another" }, regexp.MustCompile(`(?im)^.*(refused|refuses).*(cluster|name).*another.*$|^.*another.*(refused|refuses).*$`)},
	} {
		t.Run(wrong.name, func(t *testing.T) {
			stranger := c.prepare(wrong.change)
			defer func() { c.Nodes = own }() // the test ends the stranger
			ready := stranger.launch()
			defer stranger.Kill()
			awaitSentenceOfAny(t, own, wrong.sentence)
			awaitSentence(t, "the stranger", stranger, wrong.sentence)
			select {
			case <-ready:
				t.Error("it says that it is ready")
			default:
			}
			if strings.Contains(stranger.Output(), clusterSecret) {
				t.Error("it prints a secret")
			}
		})
	}
	t.Run("version", func(t *testing.T) {
		said := knock(t, c.Settings[0], "switchboard-999")
		awaitSentence(t, "the node", c.Nodes[0], regexp.MustCompile(`(?im)^.*(refused|refuses).*version.*999.*$`))
		if !strings.Contains(said, "-ERR") {
			t.Errorf("the stranger was told %q", said)
		}
	})
	for i, n := range own {
		if strings.Contains(n.Output(), clusterSecret) {
			t.Errorf("node %d prints the secret", i+1)
		}
		p := SignIn(t, n, fmt.Sprint("ANZ-", 10+i), `{"receipts":true}`)
		post(t, p, "ANZ-7", fmt.Sprint("m", i), 0, 10, 50)
	}
	good := c.Add(func(s *NodeSettings) { s.Secret, s.Cluster = clusterSecret, "test" })
	p := SignIn(t, good, "ANZ-7", "")
	missed, _ := p.Fetch(100)
	wantWoven(t, "on the node that came last", missed, 10, "m0", "m1", "m2")
}

// knock comes to a node as a server of another version would, under a name by which
// it says which, and returns what it is told until the connection ends.
func knock(t *testing.T, s NodeSettings, user string) string {
	t.Helper()
	conn, err := net.DialTimeout("tcp", s.Listen, Patience)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(Patience)); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	if line, err := r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "INFO ") {
		t.Fatalf("the node begins with %q, %v", line, err)
	}
	_, err = fmt.Fprintf(conn, "CONNECT {\"verbose\":false,\"pedantic\":false,\"user\":%q,\"pass\":%q,\"tls_required\":false,\"name\":\"stranger\",\"cluster\":%q}\r\nPING\r\n", user, s.Secret, s.Cluster)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(r)
	if err != nil && len(text) == 0 {
		t.Logf("the connection ended with %v", err)
	}
	return string(text)
}
