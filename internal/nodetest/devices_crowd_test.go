package nodetest

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// throng is many devices at one place, each of which connects again when its connection is
// lost, at another node. It follows what they are told.
type throng struct {
	t     *testing.T
	c     *Cluster
	ended chan struct{} // closed when they are to connect no more
	wg    sync.WaitGroup

	mu      sync.Mutex
	gone    map[int]bool         // nodes that are not there
	partner map[string]string    // of devices that are matched
	since   map[string]time.Time // when those began to wait that do
	met     map[string]bool      // those that had a partner, or lost a connection
	waits   []spell
	wrong   []string // what no device may see
}

// spell is the time that a device waited for one partner.
type spell struct {
	since time.Time
	took  time.Duration
	first bool // it never had one, and connected once only
}

func newThrong(t *testing.T, c *Cluster) *throng {
	d := &throng{t: t, c: c, ended: make(chan struct{}), gone: map[int]bool{}, partner: map[string]string{}, since: map[string]time.Time{}, met: map[string]bool{}}
	t.Cleanup(func() {
		close(d.ended)
		d.wg.Wait()
	})
	return d
}

// join has device i connect, and follows it from then on.
func (d *throng) join(i int) {
	x := d.connect(i, i)
	d.wg.Go(func() {
		for turn := i; x != nil; x = d.connect(i, turn) {
			d.follow(x)
			turn++
		}
	})
}

// connect connects device i to a node, the turn'th or one after it.
func (d *throng) connect(i, turn int) *Device {
	query := url.Values{"id": {fmt.Sprint("d", i)}, "lat": {"1"}, "lon": {"1"}}
	for {
		select {
		case <-d.ended:
			return nil
		default:
		}
		n := turn % len(d.c.Nodes)
		turn++
		d.mu.Lock()
		gone := d.gone[n]
		d.mu.Unlock()
		if gone {
			continue
		}
		d.mu.Lock()
		d.since[query.Get("id")] = time.Now()
		d.mu.Unlock()
		x, _, err := TryDevice(d.t, d.c.Nodes[n], query, nil)
		if err == nil {
			return x
		}
		<-time.After(50 * time.Millisecond) // a node that has ended refuses at once
	}
}

// follow takes what a device is told, until its connection ends.
func (d *throng) follow(x *Device) {
	defer x.Abort()
	for {
		select {
		case line, ok := <-x.lines:
			if !ok {
				d.lost(x.Name)
				return
			}
			d.told(x.Name, line)
		case <-d.ended:
			return
		}
	}
}

func (d *throng) lost(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.partner, name)
	d.met[name] = true
}

func (d *throng) told(name, line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	who := ""
	if parts := strings.Split(line, "'"); len(parts) == 3 {
		who = parts[1]
	}
	have, matched := d.partner[name]
	switch {
	case strings.HasPrefix(line, "I matched with device"):
		if matched {
			d.wrong = append(d.wrong, fmt.Sprintf("%s has %s and is matched with %s", name, have, who))
		}
		d.partner[name] = who
		d.waits = append(d.waits, spell{d.since[name], time.Since(d.since[name]), !d.met[name]})
		d.met[name] = true
	case strings.HasPrefix(line, "device '") && strings.HasSuffix(line, "' left"):
		if have != who {
			d.wrong = append(d.wrong, fmt.Sprintf("%s has %q and loses %s", name, have, who))
		}
		delete(d.partner, name)
		d.since[name] = time.Now()
	}
}

// alone returns how many of n devices have no partner who has them.
func (d *throng) alone(n int) (count int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range n {
		name := fmt.Sprint("d", i)
		if with, matched := d.partner[name]; !matched || d.partner[with] != name {
			count++
		}
	}
	return count
}

// judge fails unless every device has one partner, who has it, and none ever had two.
func (d *throng) judge(n int) {
	d.t.Helper()
	Eventually(d.t, "every device has a partner", func() bool { return d.alone(n) == 0 })
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, what := range d.wrong[:min(len(d.wrong), 10)] {
		d.t.Error(what)
	}
}

// sayWaits logs how long devices waited for their partners, by when they began to: before
// a node was killed, before its lease was over, or later.
func (d *throng) sayWaits(killed, over time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	sets := []struct {
		who  string
		have func(spell) bool
	}{
		{"devices that connected once, for the first partner", func(s spell) bool { return s.first }},
		{"of these, before the kill", func(s spell) bool { return s.first && s.since.Before(killed) }},
		{"of these, in a lease after it", func(s spell) bool {
			return s.first && !s.since.Before(killed) && s.since.Before(over)
		}},
		{"of these, later", func(s spell) bool { return s.first && !s.since.Before(over) }},
		{"devices that lost a partner or their connection, for the next", func(s spell) bool { return !s.first }},
	}
	for _, set := range sets {
		var took []time.Duration
		for _, s := range d.waits {
			if set.have(s) {
				took = append(took, s.took.Round(100*time.Microsecond))
			}
		}
		slices.Sort(took)
		if n := len(took); n > 0 {
			d.t.Logf("%s: %d waits, half of them within %s, 99%% within %s, all within %s", set.who, n, took[n/2], took[n*99/100], took[n-1])
		}
	}
}

// keeper returns which node keeps the pool, as it shows when one device waits.
func (d *throng) keeper() (keeps int) {
	one := ConnectDevice(d.t, d.c.Nodes[0], "lone", 1, 1)
	Eventually(d.t, "a node says that a device waits", func() bool {
		keeps = slices.IndexFunc(d.c.Nodes, func(s *Server) bool { return s.Metric("switchboard_match_waiting") == 1 })
		return keeps >= 0
	})
	one.Close()
	Eventually(d.t, "no device waits", func() bool { return d.c.Nodes[keeps].Metric("switchboard_match_waiting") == 0 })
	return keeps
}

// away says whether a node is not to be reckoned with.
func (d *throng) away(node int, is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.gone[node] = is
}

// joinAll has devices connect from first up to end, many side by side: each a millisecond
// after the one before, counted from began, or as soon as it can be.
func (d *throng) joinAll(first, end int, began time.Time) {
	var wg sync.WaitGroup
	for worker := range 64 {
		wg.Go(func() {
			for i := first + worker; i < end; i += 64 {
				<-time.After(time.Until(began.Add(time.Duration(i) * time.Millisecond)))
				d.join(i)
			}
		})
	}
	wg.Wait()
}

// The node that keeps the pool is killed while the devices come, a thousand in each
// second, as far as the machine lets them.
func TestEveryDeviceOfAThrongHasOnePartnerThoughANodeIsKilledWhileTheyCome(t *testing.T) {
	const lease = 6 * time.Second // as where there is no setting
	c := threeLeased(t, devicesOn, lease.String())
	const all = 10_000
	d := newThrong(t, c)
	keeps := d.keeper()
	began := time.Now()
	d.joinAll(0, all/2, began)
	d.away(keeps, true)
	killed, dead := time.Now(), make(chan struct{})
	go func() {
		defer close(dead)
		c.Nodes[keeps].Kill()
	}()
	d.joinAll(all/2, all, began)
	<-dead
	t.Logf("%d devices connected in %s", all, time.Since(began).Round(time.Millisecond))
	d.judge(all)
	d.sayWaits(killed, killed.Add(lease))
}

// A node that is frozen keeps what it kept of pools and devices, as far as it knows when it goes
// on; others have done so meanwhile.
func TestNoDeviceHasTwoPartnersThoughNodesAreFrozen(t *testing.T) {
	t.Parallel()
	c := three(t, devicesOn)
	const all = 150
	d := newThrong(t, c)
	d.joinAll(0, all, time.Now())
	d.judge(all)
	for i, n := range c.Nodes {
		d.away(i, true)
		n.Signal(syscall.SIGSTOP)
		thaw := time.AfterFunc(2*Patience, func() { _ = n.cmd.Process.Signal(syscall.SIGCONT) }) // whatever becomes of the test
		place := float64(100 * (i + 1))
		a, b := ConnectDevice(t, c.Nodes[(i+1)%3], fmt.Sprint("a", i), place, 1), ConnectDevice(t, c.Nodes[(i+2)%3], fmt.Sprint("b", i), place, 1)
		a.Expect(fmt.Sprintf("I matched with device 'b%d'!", i)) // by another node, where it was that one's
		b.Expect(fmt.Sprintf("I matched with device 'a%d'!", i))
		Eventually(t, "the others count it as gone", func() bool {
			return !slices.ContainsFunc(c.Nodes, func(o *Server) bool { return o != n && o.Metric(`switchboard_cluster_members{status="up"}`) == 3 })
		})
		thaw.Stop()
		n.Signal(syscall.SIGCONT)
		c.AwaitReady()
		d.away(i, false)
		d.judge(all)
	}
}

func TestDevicesStayMatchedWhileTheNodesStopAndStartOneAfterTheOther(t *testing.T) {
	t.Parallel()
	c := three(t, devicesOn)
	const all = 300
	d := newThrong(t, c)
	d.joinAll(0, all, time.Now())
	d.judge(all)
	for i, n := range c.Nodes {
		d.away(i, true)
		if code := n.Stop(); code != 0 {
			t.Errorf("node %d ended with %d\n%s", i+1, code, n.Output())
		}
		d.judge(all)
		c.Launch(n)
		d.away(i, false)
	}
	a := ConnectDevice(t, c.Nodes[0], "last-a", 900, 900)
	ConnectDevice(t, c.Nodes[2], "last-b", 900, 900).Expect("I matched with device 'last-a'!")
	a.Expect("I matched with device 'last-b'!")
	select {
	case line, ok := <-a.lines:
		t.Errorf("told %q, %v, %v", line, ok, errors.Unwrap(a.err))
	default:
	}
}
