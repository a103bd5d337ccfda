package nodetest

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"
)

// outages is a cluster on islands, on which anything can go wrong with any node:
// with its process, with what joins it to the others, with its clients' cable.
type outages struct {
	*Cluster
	t      *testing.T
	chance *rand.Rand
	isles  *islands
	front  *Front
	all    []outage       // what may happen
	most   time.Duration  // that a fault lasts
	counts map[string]int // of faults
}

// startOnIslands starts a cluster of n nodes with settings, each on an island of
// its own.
func startOnIslands(t *testing.T, n int, settings string) (*Cluster, *islands) {
	t.Helper()
	isles := newIslands(t, n)
	var places []string
	for i := range n {
		places = append(places, nodeAt(i))
	}
	c := StartCluster(t, n, func(i int, s *NodeSettings) {
		s.Listen, s.Peers, s.Host, s.before, s.More = nodeAt(i), places, hostOf(i), isles.inside(i), settings
	})
	return c, isles
}

func newOutages(t *testing.T, n int, chance *rand.Rand) *outages {
	t.Helper()
	o := &outages{t: t, chance: chance, all: allOutages(), most: longestFault, counts: make(map[string]int)}
	o.Cluster, o.isles = startOnIslands(t, n, roomyApp)
	var doors []string
	for _, node := range o.Nodes {
		doors = append(doors, node.Addr)
	}
	o.front = StartFront(t, doors...)
	return o
}

// outage is one thing that goes wrong with a node. The test's own goroutine calls
// it; it returns when the fault is over.
type outage struct {
	name   string
	happen func(o *outages, i int)
}

func allOutages() []outage {
	return []outage{
		{"kill", (*outages).kill},
		{"kill for long", (*outages).killForLong},
		{"stop", (*outages).freeze},
		{"cut off from the others", (*outages).isolate},
		{"cut off from all", (*outages).unplug},
		{"two do not hear each other", (*outages).cutOneCable},
		{"one is heard and does not hear", (*outages).deafen},
		{"clients cut", func(o *outages, _ int) { o.front.Cut() }},
		{"restart", (*outages).restart},
		{"rolling restart", func(o *outages, _ int) { o.roll() }},
		{"all killed", func(o *outages, _ int) { o.killAll() }},
	}
}

// longestFault is about twice as long as a lease: takeovers are begun, ended, and
// come too late.
const longestFault = 12 * time.Second

// last lets a fault last for a while, and sometimes lets one of the others be
// killed and started meanwhile: then no two of three are there for a moment.
func (o *outages) last(i int) {
	o.t.Helper()
	o.rest(50*time.Millisecond, o.most)
	if o.chance.IntN(4) == 0 && len(o.Nodes) > 1 {
		other := (i + 1 + o.chance.IntN(len(o.Nodes)-1)) % len(o.Nodes)
		o.counts["kill meanwhile"]++
		o.Nodes[other].Kill()
		o.rest(0, 2*time.Second)
		ready := o.Nodes[other].launch()
		defer func() { o.await(other, ready) }() // without the first one it may not become ready
	}
}

func (o *outages) rest(least, most time.Duration) {
	select {
	case <-time.After(least + time.Duration(o.chance.Int64N(int64(most-least)))):
	case <-o.t.Context().Done():
	}
}

// await waits for a node that was launched.
func (o *outages) await(i int, ready <-chan struct{}) {
	o.t.Helper()
	if !o.Nodes[i].becomesReady(ready) {
		o.t.Fatalf("node %d did not start again: %v\n%s", i+1, o.Nodes[i].err, tail(o.Nodes[i].Output(), 100))
	}
}

func (o *outages) kill(i int) {
	o.Nodes[i].Kill()
	o.rest(0, time.Second)
	o.Nodes[i].Start()
}

func (o *outages) killForLong(i int) {
	o.Nodes[i].Kill()
	o.rest(2*time.Second, o.most)
	for range o.chance.IntN(3) {
		killWhileStarting(o.t, o.Nodes[i], time.Duration(o.chance.Int64N(int64(2*time.Second))))
	}
	o.Nodes[i].Start()
}

func (o *outages) killAll() {
	for _, n := range o.Nodes {
		n.Kill()
	}
	o.rest(0, time.Second)
	o.Launch(o.Nodes...)
}

func (o *outages) freeze(i int) {
	o.Nodes[i].Signal(syscall.SIGSTOP)
	o.last(i)
	o.Nodes[i].Signal(syscall.SIGCONT)
}

func (o *outages) isolate(i int) {
	o.isles.isolate(i, true)
	o.last(i)
	o.isles.isolate(i, false)
}

func (o *outages) unplug(i int) {
	o.isles.plug(i, false)
	o.isolate(i)
	o.isles.plug(i, true)
}

func (o *outages) cutOneCable(i int) {
	other := (i + 1) % len(o.Nodes)
	if other == i {
		return // it is the only one
	}
	o.isles.join(i, other, false)
	o.rest(50*time.Millisecond, o.most)
	o.isles.join(i, other, true)
}

func (o *outages) deafen(i int) {
	for j := range o.Nodes {
		if j != i {
			o.isles.set(j, i, false)
		}
	}
	o.last(i)
	o.isles.isolate(i, false)
}

// restart stops a node as its operator does, and starts it.
func (o *outages) restart(i int) {
	o.t.Helper()
	if code := o.Nodes[i].Stop(); code != 0 {
		o.t.Errorf("node %d was asked to stop, its exit code is %d\n%s", i+1, code, tail(o.Nodes[i].Output(), 100))
	}
	o.Nodes[i].Start()
}

// roll restarts each in turn, as an upgrade does.
func (o *outages) roll() {
	for i := range o.Nodes {
		o.restart(i)
		o.AwaitReady()
	}
}

// run lets things go wrong for a time: in phases, each with its own few faults,
// and every fourth of them quiet.
func (o *outages) run(total time.Duration) {
	o.t.Helper()
	for end := time.Now().Add(total); time.Now().Before(end); {
		phase := time.Now().Add(min(total/4, 40*time.Second))
		if o.chance.IntN(4) == 0 {
			o.rest(total/32, max(total/32, time.Until(phase)/2)+time.Millisecond)
			continue
		}
		some := o.chance.Perm(len(o.all))[:1+o.chance.IntN(4)]
		for time.Now().Before(phase) {
			f, i := o.all[some[o.chance.IntN(len(some))]], o.chance.IntN(len(o.Nodes))
			o.counts[f.name]++
			f.happen(o, i)
			o.rest(0, 2*time.Second)
		}
	}
}

// A cluster goes on while one node after the other is killed, stopped, cut off and
// restarted, and messages flow. Afterwards nothing that was accepted is lost.
// FAULT_TIME sets how long one run lasts; FAULT_SOAK how long runs with ever new
// seeds go on.
func TestWhateverHappensToItsNodesAClusterLosesNothing(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	survive(t, outageSeeds(), surviveOutages)
}

// survive has a mix of outages survived for FAULT_TIME with each seed that always
// runs and a new one, then with ever new ones for FAULT_SOAK.
func survive(t *testing.T, always []uint64, mix func(t *testing.T, seed uint64, total time.Duration)) {
	t.Helper()
	usual := 30 * time.Second
	if testing.Short() {
		usual = 10 * time.Second
	}
	once, soak := durationFromEnvironment(t, "FAULT_TIME", usual), durationFromEnvironment(t, "FAULT_SOAK", 0)
	began := time.Now()
	for _, n := range faultSeedsToRun(t, always, 1) {
		mix(t, n, once)
	}
	for left := soak - time.Since(began); left > 0 && !t.Failed(); left = soak - time.Since(began) {
		mix(t, rand.Uint64N(1_000_000_000), min(left, 5*time.Minute))
	}
}

func surviveOutages(t *testing.T, seed uint64, total time.Duration) {
	t.Run(fmt.Sprint(seed), func(t *testing.T) {
		t.Logf("for %s; FAULT_SEED=%d draws the same faults again", total.Round(time.Second), seed)
		chance := rand.New(rand.NewPCG(seed, 12))
		o := newOutages(t, numberFromEnvironment(t, nodesVariable, 3), chance)
		defer o.tell()
		w := startWorkload(t, &Server{t: t, Addr: o.front.Addr}, chance, restOfProducers(t), 200, 2000, 20_000)
		w.awaitAccepted(10)
		o.run(total)
		o.AwaitReady()
		o.front.Cut() // a connection may have lost its other end in silence
		w.awaitAccepted(10)
		w.hush()
		w.drain(o.Face())
		t.Logf("%d accepted; faults: %v", w.acceptedSoFar(), o.counts)
		wantGood(t, w.history)
	})
}
