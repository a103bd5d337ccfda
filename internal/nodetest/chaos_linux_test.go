package nodetest

import (
	"fmt"
	"math/rand/v2"
	"syscall"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/faultfs"
)

// chaos is one server in a place where everything can be broken: its disk, its
// network, the line to its clients, itself.
type chaos struct {
	t      *testing.T
	chance *rand.Rand
	disk   *disk
	cable  *cable
	proxy  *proxy
	server *Server
	counts map[string]int // of faults
}

func newChaos(t *testing.T, rule faultfs.Rule, chance *rand.Rand) *chaos {
	t.Helper()
	c := &chaos{t: t, chance: chance, disk: newDisk(t, rule), cable: newCable(t), counts: make(map[string]int)}
	c.server = &Server{
		t: t, path: Binary(t), before: c.cable.inside(), Addr: farAddress + ":0", Admin: farAddress + ":0", Data: c.disk.data(),
		Args: []string{"--config", Settings(t, roomyApp)},
	}
	c.server.Start()
	t.Cleanup(func() {
		c.disk.Remove() // or it could wait for its disk for ever
		c.server.Kill()
	})
	c.proxy = newProxy(t, c.server.Addr)
	return c
}

// front is where clients connect.
func (c *chaos) front() *Server { return &Server{t: c.t, Addr: c.proxy.Addr} }

// fault is one thing that goes wrong. The test's own goroutine calls it; it
// returns when the fault is over, and all is well then.
type fault struct {
	name   string
	happen func(c *chaos)
}

func faults() []fault {
	return []fault{
		{"kill", (*chaos).kill},
		{"power cut", (*chaos).cutPower},
		{"stop", (*chaos).stop},
		{"network down", (*chaos).unplug},
		{"connections cut", func(c *chaos) { c.proxy.cut() }},
		{"line drops", (*chaos).dropLine},
		{"line slow", (*chaos).slowLine},
		{"disk slow", (*chaos).slowDisk},
		{"disk full", func(c *chaos) { c.fillDisk(false) }},
		{"disk fails", func(c *chaos) { c.fillDisk(true) }},
	}
}

// last lets a fault last for a while.
func (c *chaos) last(least, most time.Duration) {
	c.t.Helper()
	select {
	case <-time.After(least + time.Duration(c.chance.Int64N(int64(most-least)))):
	case <-c.t.Context().Done():
	}
}

func (c *chaos) kill() {
	c.server.Kill()
	c.last(0, 300*time.Millisecond)
	c.server.Start()
}

func (c *chaos) cutPower() {
	powerCut(c.server, c.disk, c.chance, anySurvival(c.chance))
	if c.chance.IntN(4) == 0 {
		cutWhileStarting(c.server, c.disk, c.chance)
	}
	c.last(0, 300*time.Millisecond)
	c.server.Start()
}

func (c *chaos) stop() {
	c.server.Signal(syscall.SIGSTOP)
	c.last(50*time.Millisecond, 3*time.Second)
	c.server.Signal(syscall.SIGCONT)
}

func (c *chaos) unplug() {
	c.cable.set("down")
	c.last(50*time.Millisecond, 4*time.Second)
	c.cable.set("up")
}

func (c *chaos) dropLine() {
	c.proxy.drop()
	c.last(10*time.Millisecond, time.Second)
	c.proxy.mend()
}

func (c *chaos) slowLine() {
	c.proxy.slow(time.Duration(c.chance.Int64N(int64(100 * time.Millisecond))))
	c.amid(time.Second)
	c.proxy.slow(0)
}

func (c *chaos) slowDisk() {
	c.disk.SlowSyncs(time.Duration(c.chance.Int64N(int64(200 * time.Millisecond))))
	c.amid(2 * time.Second)
	c.disk.SlowSyncs(0)
}

func (c *chaos) fillDisk(lies bool) {
	c.disk.Fill(lies)
	c.last(10*time.Millisecond, 2*time.Second)
	c.disk.Room()
}

// amid lets something else go wrong in the middle of what lasts, sometimes.
func (c *chaos) amid(most time.Duration) {
	c.last(10*time.Millisecond, most)
	switch c.chance.IntN(4) {
	case 0:
		c.note("kill")
		c.kill()
	case 1:
		c.note("power cut")
		c.cutPower()
	case 2:
		c.note("connections cut")
		c.proxy.cut()
	}
	c.last(10*time.Millisecond, most/2)
}

func (c *chaos) note(name string) { c.counts[name]++ }

// run lets things go wrong for a time: in phases, each with its own few faults,
// and every fourth of them quiet.
func (c *chaos) run(total time.Duration) {
	c.t.Helper()
	all := faults()
	for end := time.Now().Add(total); time.Now().Before(end); {
		phase := time.Now().Add(min(total/8, 20*time.Second))
		if c.chance.IntN(4) == 0 {
			c.last(total/16, time.Until(phase)+time.Millisecond)
			continue
		}
		some := c.chance.Perm(len(all))[:1+c.chance.IntN(4)]
		for time.Now().Before(phase) {
			f := all[some[c.chance.IntN(len(some))]]
			c.note(f.name)
			f.happen(c)
			c.last(0, 700*time.Millisecond)
		}
	}
}

// heal sees to it that everybody has a connection that works.
func (c *chaos) heal() {
	c.t.Helper()
	Eventually(c.t, "the store is ready", func() bool { return ready(c.server) })
	c.proxy.mend()
}

// Everything goes wrong in turn while messages flow. Afterwards nothing that was
// accepted is lost. FAULT_TIME sets how long one mix lasts; FAULT_SOAK how long
// mixes with ever new seeds go on.
func TestInAMixOfAllFaultsNothingAcceptedIsLost(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	usual := 10 * time.Second
	if testing.Short() {
		usual = 3 * time.Second
	}
	once, soak := durationFromEnvironment(t, "FAULT_TIME", usual), durationFromEnvironment(t, "FAULT_SOAK", 0)
	began := time.Now()
	for _, n := range faultSeedsToRun(t, mixSeeds(), 1) {
		mix(t, n, once)
	}
	for left := soak - time.Since(began); left > 0 && !t.Failed(); left = soak - time.Since(began) {
		mix(t, rand.Uint64N(1_000_000_000), min(left, 5*time.Minute))
	}
}

// mix is one workload that survives a mix of faults.
func mix(t *testing.T, seed uint64, total time.Duration) {
	t.Run(fmt.Sprint(seed), func(t *testing.T) {
		t.Logf("for %s; FAULT_SEED=%d draws the same faults again", total.Round(time.Second), seed)
		chance := rand.New(rand.NewPCG(seed, 11))
		rule := ruleOf(seed)
		c := newChaos(t, rule, chance)
		defer func() {
			if t.Failed() {
				t.Logf("the server said:\n%s", tail(c.server.Output(), 100))
			}
		}()
		w := startWorkload(t, c.front(), chance, restOfProducers(t), 200, 2000, 20_000)
		w.awaitAccepted(10)
		c.run(total)
		c.heal()
		w.awaitAccepted(10)
		w.hush()
		w.drain(c.server)
		t.Logf("%s disk, %d accepted; faults: %v", rule, w.acceptedSoFar(), c.counts)
		wantGood(t, w.history)
	})
}
