package bus

import (
	"context"
	"fmt"
	"net"
	"sync"
	"testing"
	"time"
)

// standing are three servers that reach each other without proxies, and what the first
// knows of the others' doors.
func standing(t *testing.T) (c *nodes, d *Doors) {
	t.Helper()
	c = planned(t, 3, nil)
	c.change = func(i int, o *Options) {
		o.Cluster.Peers = nil
		for other, address := range c.listen {
			if other != i {
				o.Cluster.Peers = append(o.Cluster.Peers, address)
			}
		}
	}
	c.start(0, 1, 2)
	d = c.bus[0].Doors()
	ctx, cancel := context.WithCancel(context.Background())
	var looking sync.WaitGroup
	looking.Go(func() { d.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		looking.Wait()
	})
	return c, d
}

// knows waits until the door of a node is known.
func (d *Doors) knows(t *testing.T, node string) {
	t.Helper()
	d.Find(node)
	for deadline := time.Now().Add(20 * time.Second); ; {
		d.mu.Lock()
		_, known := d.known[node]
		d.mu.Unlock()
		switch {
		case known:
			return
		case time.Now().After(deadline):
			t.Fatalf("the door of %s was not found", node)
		}
		<-time.After(5 * time.Millisecond)
	}
}

func TestADoorIsShutWhenItsServerHasEndedAndNobodyListensThere(t *testing.T) {
	t.Parallel()
	c, d := standing(t)
	d.knows(t, "n1")
	d.knows(t, "n2")
	for _, node := range []string{"n1", "n2", "n7"} { // of which the last is unknown
		if d.Shut(t.Context(), node) {
			t.Errorf("the door of %s is shut", node)
		}
	}
	c.stop(1)
	if !d.Shut(t.Context(), "n1") || d.Shut(t.Context(), "n2") {
		t.Error("it is not known which of two has ended")
	}
	// Whoever does not take connections, as a process that is frozen, has not ended.
	l, err := net.Listen("tcp", c.listen[1])
	must(t, err)
	if d.Shut(t.Context(), "n1") {
		t.Error("somebody listens, and the door is shut")
	}
	must(t, l.Close())
	d.Find("n1") // another process has its name, and is not met
	if d.Shut(t.Context(), "n1") {
		t.Error("the door of an earlier process counts for a later one")
	}
}

func TestTheDoorOfAnotherClusterIsNotTakenForOnesOwn(t *testing.T) {
	t.Parallel()
	for cluster, is := range map[string]bool{"ours.x": true, "theirs.x": false, "": false} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close() })
		go func() {
			if conn, err := l.Accept(); err == nil {
				_, _ = fmt.Fprintf(conn, "INFO {\"server_name\":\"n1\",\"cluster\":%q}\r\n", cluster)
			}
		}()
		d := (&Bus{opts: Options{Cluster: &Cluster{Name: "ours", Peers: []string{l.Addr().String()}}}}).Doors()
		d.look(t.Context())
		if _, known := d.known["n1"]; known != is {
			t.Errorf("of the cluster %q: known %v", cluster, known)
		}
	}
}

func TestADoorFromWhichNothingIsHeardIsNotShut(t *testing.T) {
	t.Parallel()
	d := (&Bus{opts: Options{Cluster: &Cluster{}}}).Doors()
	d.met("n1", freePort(t)) // where nobody listens
	if !d.Shut(t.Context(), "n1") {
		t.Error("nobody listens, and the door is not shut")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel() // before an answer
	if d.Shut(ctx, "n1") {
		t.Error("nothing is heard, and the door is shut")
	}
}

func TestAServerThatIsStartedAnewTakesItsLeave(t *testing.T) {
	t.Parallel()
	c, a, b := two(t)
	if b.Left("a") || b.Left("c") {
		t.Fatal("nobody has left")
	}
	anew := c.bus[0]
	anew.mu.Lock()
	anew.stop()
	anew.mu.Unlock()
	b.until("it went down", func() bool { return !b.up["a"] })
	if !b.Left("a") {
		t.Error("it shut its door without a word")
	}
	must(t, anew.Recover(t.Context()))
	a.until("it is up again", func() bool { return a.up["b"] })
	b.until("it is up again", func() bool { return b.up["a"] })
	if b.Left("a") {
		t.Error("it is back, and counts as one that left")
	}
	b.Close()
	a.until("it went down", func() bool { return !a.up["b"] })
	if !a.Left("b") {
		t.Error("it stopped without a word")
	}
}
