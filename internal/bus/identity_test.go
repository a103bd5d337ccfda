package bus

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// apart is two clusters of two servers each, of one name and secret, formed apart, with a
// log of its own each: ten batches in one, twenty in the other. A fifth server is planned,
// which is to be a connector of the first. Once met is set, servers that start look for all.
func apart(t *testing.T) (c *nodes, logs []*lines, met *bool) {
	t.Helper()
	met = new(bool)
	for range 5 {
		logs = append(logs, new(lines))
	}
	t.Cleanup(func() {
		for i := range logs {
			if t.Failed() {
				t.Logf("server %d said:\n%s", i, logs[i].buf.String())
			}
		}
	})
	c = planned(t, 5, func(i int, o *Options) {
		o.Logger = slog.New(slog.NewTextHandler(logs[i], nil))
		o.Cluster.Replicas = 2
		switch {
		case *met:
		case i == 4:
			o.Cluster.NoStore, o.Cluster.Peers = true, o.Cluster.Peers[:2]
		default:
			other := i ^ 1
			o.Cluster.Peers = []string{o.Cluster.Listen, c.proxies[other][i].addr}
		}
	})
	var both sync.WaitGroup
	both.Go(func() { c.start(0, 1) })
	both.Go(func() { c.start(2, 3) })
	both.Wait()
	fill(t, shardLog(t, c.bus[0], 0), 0, 10, 100)
	fill(t, shardLog(t, c.bus[2], 0), 0, 20, 100)
	return c, logs, met
}

// wantApart says that each of the two clusters has what it stored, and nothing else.
func wantApart(t *testing.T, c *nodes) {
	t.Helper()
	for i := range 4 {
		wantLog(t, shardLog(t, c.bus[i], 0), 1, []uint64{10, 10, 20, 20}[i], 100)
	}
}

func TestTwoClustersOfOneNameAndSecretNeverMeet(t *testing.T) {
	t.Parallel()
	c, logs, met := apart(t)
	ids := []string{c.bus[0].opts.Cluster.id, c.bus[2].opts.Cluster.id}
	if ids[0] == ids[1] || ids[0] != c.bus[1].opts.Cluster.id || ids[1] != c.bus[3].opts.Cluster.id {
		t.Fatalf("the clusters are %s", ids)
	}
	c.start(4) // the engine reckons with every server that it meets, also with one without streams
	for i := range 4 {
		c.stop(i)
	}
	*met = true
	c.start(0, 1, 2, 3)
	wantApart(t, c)
	for i := range 4 {
		logs[i].comes(t, "a server was refused: it is of another cluster of this name")
		logs[i].comes(t, fmt.Sprintf("its=%q", ids[1-i/2]+" of n"+fmt.Sprint(i^2)))
		logs[i].comes(t, fmt.Sprintf("own=%q", ids[i/2]+" of n"+fmt.Sprint(i)))
		logs[i].comes(t, "another server was not taken in: "+anotherCluster)
	}
	wantApart(t, c)
	fill(t, shardLog(t, c.bus[1], 0), 10, 15, 100)
	wantLog(t, shardLog(t, c.bus[0], 0), 1, 15, 100)
}

// A server that is refused says by whom, also when those that refuse it do not look for it.
func TestAServerThatIsRefusedByAnotherClusterNamesIt(t *testing.T) {
	t.Parallel()
	c, logs, met := apart(t)
	c.stop(0)
	*met = true
	c.start(0)
	its, own := c.bus[2].opts.Cluster.id, c.bus[0].opts.Cluster.id
	for _, n := range []string{"n2", "n3"} {
		logs[0].comes(t, fmt.Sprintf("its=\"%s of %s\" own=\"%s of n0\"", its, n, own))
	}
	logs[0].has(t, "another server was not taken in: "+anotherCluster)
	wantApart(t, c)
}

func TestAServerThatReachesTwoClustersJoinsNeitherAndNamesBoth(t *testing.T) {
	t.Parallel()
	c, _, met := apart(t)
	*met = true
	for _, connector := range []bool{false, true} {
		o := c.options(4)
		o.Cluster.NoStore = connector
		_, err := Open(t.Context(), o)
		if !errors.Is(err, errTwoClusters) {
			t.Fatalf("got %v", err)
		}
		t.Log(err)
		for _, i := range []int{0, 2} {
			if want := fmt.Sprintf("%s (n%d, n%d)", c.bus[i].opts.Cluster.id, i, i+1); !strings.Contains(err.Error(), want) {
				t.Errorf("it does not name %s", want)
			}
		}
		if _, err := os.Stat(o.ownerFile()); err == nil {
			t.Error("it has noted a cluster")
		}
	}
	wantApart(t, c)
}

// Folders that were made before clusters had IDs get one: from the servers that have
// one, or, of a cluster of which nobody has one, when more than half are there.
func TestFoldersWithoutAnIDGetOne(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, func(i int, o *Options) {
		o.Cluster.Peers = append(o.Cluster.Peers, o.Cluster.Listen)
	})
	fill(t, shardLog(t, c.bus[0], 0), 0, 20, 100)
	for i := range 3 {
		c.stop(i)
		o := c.options(i)
		must(t, os.WriteFile(o.ownerFile(), []byte(o.owner()), 0o600))
	}
	c.start(0, 2)
	wantLog(t, shardLog(t, c.bus[2], 0), 1, 20, 100)
	c.start(1)
	fill(t, shardLog(t, c.bus[1], 0), 20, 25, 100)
	wantLog(t, shardLog(t, c.bus[0], 0), 1, 25, 100)
	for i := range 3 {
		note, err := os.ReadFile(filepath.Join(c.dirs[i], "cluster", ownerFile))
		must(t, err)
		if want := fmt.Sprintf("cluster test\nserver n%d\nid %s\n", i, c.bus[0].opts.Cluster.id); string(note) != want {
			t.Errorf("it says %q, not %q", note, want)
		}
	}
}

// Two clusters of folders without IDs that meet for the first time are told apart by who
// kept streams with whom.
func TestTwoClustersWithoutIDsAreNotGivenOne(t *testing.T) {
	t.Parallel()
	c, _, met := apart(t)
	for i := range 4 {
		c.stop(i)
		o := c.options(i)
		must(t, os.WriteFile(o.ownerFile(), []byte(o.owner()), 0o600))
	}
	*met = true
	var all sync.WaitGroup
	var told atomic.Int32
	for i := range 4 {
		all.Go(func() {
			o := c.options(i)
			o.StartTimeout = 12 * time.Second // who comes when the others have ended already waits for them
			b, err := Open(t.Context(), o)
			if err == nil {
				t.Errorf("server %d has joined one", i)
				shut(t, b)
			}
			if errors.Is(err, errTwoClusters) {
				told.Add(1)
			}
			t.Log(err)
		})
	}
	all.Wait()
	if told.Load() == 0 {
		t.Error("none says why")
	}
	*met = false
	all.Go(func() { c.start(0, 1) })
	all.Go(func() { c.start(2, 3) })
	all.Wait()
	wantApart(t, c)
}

// A first start that was interrupted is begun again; streams of which nothing says whose
// they are stay.
func TestAFolderWhoseOwnerIsNotKnown(t *testing.T) {
	t.Parallel()
	c := planned(t, 2, func(_ int, o *Options) { o.Cluster.Replicas = 2 })
	for i, left := range []string{ownerFile, ownerFile + ".new"} {
		must(t, os.Mkdir(filepath.Join(c.dirs[i], "cluster"), 0o700))
		must(t, os.WriteFile(filepath.Join(c.dirs[i], "cluster", left), nil, 0o600))
	}
	c.start(0, 1)
	fill(t, shardLog(t, c.bus[0], 0), 0, 20, 100)
	c.stop(0)
	o := c.options(0)
	note, err := os.ReadFile(o.ownerFile())
	must(t, err)
	for _, spoil := range []func() error{
		func() error { return os.Remove(o.ownerFile()) },
		func() error { return os.WriteFile(o.ownerFile(), nil, 0o600) },
		func() error { return os.WriteFile(o.ownerFile(), note[:len(note)-4], 0o600) },
	} {
		must(t, spoil())
		_, err := Open(t.Context(), o)
		if err == nil || !strings.Contains(err.Error(), "whose") || strings.Contains(err.Error(), "another server") {
			t.Fatalf("got %v", err)
		}
		t.Log(err)
	}
	must(t, os.WriteFile(o.ownerFile(), []byte(o.owner()), 0o600)) // as the sentence says
	c.start(0)
	wantLog(t, shardLog(t, c.bus[0], 0), 1, 20, 100)
}

// A server that has lost its disk is given its cluster by those that are there, and
// founds none with another one that has.
func TestServersThatLostTheirDisksFormNoOtherCluster(t *testing.T) {
	t.Parallel()
	c := formed(t, 3, func(i int, o *Options) {
		o.Cluster.Peers = append(o.Cluster.Peers, o.Cluster.Listen)
		o.StartTimeout = 10 * time.Second
	})
	id := c.bus[0].opts.Cluster.id
	fill(t, shardLog(t, c.bus[0], 0), 0, 20, 100)
	for i := range 3 {
		c.stop(i)
	}
	for _, i := range []int{1, 2} {
		must(t, os.RemoveAll(c.dirs[i]))
		must(t, os.Mkdir(c.dirs[i], 0o700))
	}
	var both sync.WaitGroup
	for _, i := range []int{1, 2} {
		both.Go(func() {
			o := c.options(i)
			o.StartTimeout = 4 * time.Second
			b, err := Open(t.Context(), o)
			if err == nil {
				t.Errorf("%d formed another cluster", i)
				shut(t, b)
			}
		})
	}
	both.Wait()
	both.Go(func() {
		if b, err := Open(t.Context(), c.options(0)); err == nil {
			shut(t, b)
		}
	})
	for _, i := range []int{1, 2} {
		both.Go(func() {
			if b, err := Open(t.Context(), c.options(i)); err == nil {
				shut(t, b)
			}
			note, err := os.ReadFile(filepath.Join(c.dirs[i], "cluster", ownerFile))
			if err != nil || !strings.Contains(string(note), id) {
				t.Errorf("%d notes %q: %v", i, note, err)
			}
		})
	}
	both.Wait()
}

func TestAConnectorThatReachesNoProcessorSaysSo(t *testing.T) {
	t.Parallel()
	var log lines
	c := planned(t, 3, func(i int, o *Options) {
		o.Cluster.NoStore = i > 0
		o.Cluster.Replicas, o.Cluster.Sole = 1, i == 0
		o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		o.StartTimeout = 20 * time.Second
	})
	var both sync.WaitGroup
	both.Go(func() { c.start(1, 2) })
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		log.mu.Lock()
		said := strings.Contains(log.buf.String(), errNoProcessor.Error()+`" connected=n`)
		log.mu.Unlock()
		if said {
			break
		}
		if time.Now().After(deadline) {
			t.Error("it does not say so")
			break
		}
	}
	c.start(0)
	both.Wait()
	fill(t, shardLog(t, c.bus[2], 0), 0, 5, 100)
	c.stop(0)
	c.stop(1)
	o := c.options(1)
	o.StartTimeout = 8 * time.Second
	if _, err := Open(t.Context(), o); err == nil || !strings.Contains(err.Error(), "processor") {
		t.Errorf("got %v", err)
	}
}

func TestAProcessorThatBecomesAConnectorIsToldOfWhatItLeavesBehind(t *testing.T) {
	t.Parallel()
	var log lines
	connector := false
	c := formed(t, 3, func(i int, o *Options) {
		if i == 2 {
			o.Cluster.NoStore = connector
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}
	})
	fill(t, shardLog(t, c.bus[0], 0), 0, 5, 100)
	c.stop(2)
	connector = true
	c.start(2)
	log.comes(t, "this node kept streams of the cluster as a processor")
	wantLog(t, shardLog(t, c.bus[2], 0), 1, 5, 100)
}

// What a stranger calls itself goes into the log in part only.
func TestTheNameOfWhoIsRefusedIsCut(t *testing.T) {
	t.Parallel()
	var log lines
	c := formed(t, 2, func(i int, o *Options) {
		o.Cluster.Replicas = 2
		if i == 0 {
			o.Logger = slog.New(slog.NewTextHandler(&log, nil))
		}
	})
	long := strings.Repeat("x", 3000)
	for _, user := range []string{userPrefix + long, userPrefix + protocol + " " + long + " test " + long + " stores", long} {
		conn, err := net.Dial("tcp", c.listen[0])
		must(t, err)
		must(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		r := bufio.NewReader(conn)
		_, err = r.ReadString('\n')
		must(t, err)
		_, err = fmt.Fprintf(conn, "CONNECT {\"user\":%q,\"pass\":\"sesame\",\"name\":\"stranger\",\"cluster\":\"test\"}\r\nPING\r\n", user)
		must(t, err)
		_, _ = io.ReadAll(r) // until it is put out
		must(t, conn.Close())
	}
	log.comes(t, "its version does not go together")
	log.comes(t, "it is of another cluster")
	log.comes(t, "it is none of Switchboard's")
	for line := range strings.Lines(log.buf.String()) {
		if len(line) > 700 {
			t.Errorf("a line has %d bytes", len(line))
		}
	}
}

// Where pods are started their addresses come one by one, and each has the server make its connections anew.
func TestWhoLooksForItsClusterGoesOnWhileAddressesCome(t *testing.T) {
	t.Parallel()
	var known []string
	c := planned(t, 1, func(_ int, o *Options) {
		o.Cluster.Peers = []string{"switchboard.test:1"}
		o.Cluster.lookup = func(context.Context, string) ([]string, error) { return known, nil }
	})
	o := c.options(0)
	o.Cluster.NoStore, o.Cluster.looks = true, func(string, string) {}
	l := &look{e: &engine{opts: &o, failed: make(chan struct{}), quit: make(chan struct{}), bell: make(chan struct{}, 1), differs: make(chan string, 1)}, now: time.Now}
	must(t, l.start(t.Context()))
	defer l.e.stop()
	for i := range 3 {
		known = append(known, fmt.Sprint("127.0.1.", 2*i+1), fmt.Sprint("127.0.1.", 2*i+2))
		made := l.e.reads.Stats().Reconnects
		must(t, l.e.lookOnce(t.Context()))
		for l.e.reads.Stats().Reconnects == made {
			must(t, l.say(whoSubject, nil))
		}
	}
}
