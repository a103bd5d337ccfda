package nodetest

import (
	"strings"
	"testing"
)

func TestTheNATSOutsideComesBackAtItsAddress(t *testing.T) {
	n := StartNATS(t)
	for range 2 {
		p := dialTCP(t, n.addr)
		if line, err := p.r.ReadString('\n'); err != nil || !strings.HasPrefix(line, "INFO ") || !strings.Contains(line, `"jetstream":true`) {
			t.Errorf("it begins with %q, %v", line, err)
		}
		n.Kill()
		n.Start()
	}
}
