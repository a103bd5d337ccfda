package bus

import (
	"encoding/binary"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

// talker is a node that sends numbered messages to another for as long as it is up,
// and checks those that it gets.
type talker struct {
	t    testing.TB
	self string
	*Links

	mu     sync.Mutex
	up     map[string]bool
	ups    map[string]int    // how often it went up
	sent   map[string]uint64 // in this conversation
	got    map[string]uint64 // likewise
	total  int
	change chan struct{} // something has happened
	hold   chan struct{} // not nil: Receive waits for it
}

func newTalker(t testing.TB, b *Bus, self string) *talker {
	t.Helper()
	k := &talker{
		t: t, self: self, up: map[string]bool{}, ups: map[string]int{}, sent: map[string]uint64{}, got: map[string]uint64{},
		change: make(chan struct{}, 1),
	}
	l, err := b.OpenLinks(self, k)
	if err != nil {
		t.Fatal(err)
	}
	k.Links = l
	t.Cleanup(l.Close)
	return k
}

func (k *talker) changed() {
	select {
	case k.change <- struct{}{}:
	default:
	}
}

func (k *talker) Up(peer string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.up[peer] {
		k.t.Errorf("%s: %s came up twice", k.self, peer)
	}
	k.up[peer], k.sent[peer], k.got[peer] = true, 0, 0
	k.ups[peer]++
	k.changed()
}

func (k *talker) Down(peer string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.up[peer] {
		k.t.Errorf("%s: %s went down twice", k.self, peer)
	}
	k.up[peer] = false
	k.changed()
}

func (k *talker) Receive(peer string, m []byte) {
	k.mu.Lock()
	hold := k.hold
	n := binary.LittleEndian.Uint64(m)
	if !k.up[peer] || n != k.got[peer]+1 {
		k.t.Errorf("%s: message %d of %s came after %d, up %v", k.self, n, peer, k.got[peer], k.up[peer])
	}
	k.got[peer] = n
	k.total++
	k.mu.Unlock()
	k.changed()
	if hold != nil {
		<-hold
	}
}

// say sends the next message, of a size; false when it was not taken.
func (k *talker) say(peer string, size int) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if !k.up[peer] {
		return false
	}
	var head [8]byte
	binary.LittleEndian.PutUint64(head[:], k.sent[peer]+1)
	if !k.Send(peer, head[:], make([]byte, size)) {
		return false
	}
	k.sent[peer]++
	return true
}

// until waits until f, which is called with the lock held.
func (k *talker) until(what string, f func() bool) {
	k.t.Helper()
	deadline := time.NewTimer(20 * time.Second)
	defer deadline.Stop()
	for {
		k.mu.Lock()
		ok := f()
		k.mu.Unlock()
		if ok {
			return
		}
		select {
		case <-k.change:
		case <-deadline.C:
			k.t.Fatalf("%s: it did not come to it that %s: up %v, ups %v, got %v", k.self, what, k.up, k.ups, k.got)
		}
	}
}

// two are two talkers on servers of their own that are up.
func two(t testing.TB) (c *nodes, a, b *talker) {
	t.Helper()
	c = formed(t, 2, func(_ int, o *Options) { o.Cluster.Replicas = 1 })
	a, b = newTalker(t, c.bus[0], "a"), newTalker(t, c.bus[1], "b")
	a.Connect("b")
	b.Connect("a")
	a.until("it is up", func() bool { return a.up["b"] })
	b.until("it is up", func() bool { return b.up["a"] })
	return c, a, b
}

func TestNodesTalkInOrder(t *testing.T) {
	t.Parallel()
	_, a, b := two(t)
	const n = 20_000
	var wg sync.WaitGroup
	for _, w := range []struct {
		from *talker
		to   string
	}{{a, "b"}, {b, "a"}} {
		wg.Go(func() {
			for i := range n {
				if !w.from.say(w.to, i%300) {
					t.Errorf("message %d was not taken", i)
					return
				}
			}
		})
	}
	wg.Wait()
	a.until("all came", func() bool { return a.got["b"] == n })
	b.until("all came", func() bool { return b.got["a"] == n })
	if !a.say("b", LinkMessage-8) || a.Send("b", make([]byte, LinkMessage+1)) {
		t.Fatal("the largest message was not taken, or a larger one was")
	}
	b.until("the largest came", func() bool { return b.got["a"] == n+1 })
	if a.ups["b"] != 1 || b.ups["a"] != 1 {
		t.Fatalf("they lost each other: %v, %v", a.ups, b.ups)
	}
	s := a.Stats()
	t.Logf("%+v, %d messages a packet", s, s.Sent/s.PacketsSent)
	if s.Overflows+s.Lost+s.Strays > 0 {
		t.Fatalf("%+v", s)
	}
	if a.Send("nobody", []byte("x")) {
		t.Fatal("a message for nobody was taken")
	}
}

// However evenly messages come, no more packets go than the pace allows; and a slow
// machine sends fewer.
func TestMessagesThatFollowEachOtherShareAPacket(t *testing.T) {
	t.Parallel()
	_, a, b := two(t)
	const n = 2000
	before, begun := a.Stats().PacketsSent, time.Now()
	for i := range n {
		for time.Since(begun) < time.Duration(i)*20*time.Microsecond {
			runtime.Gosched() // so that write could send each by itself
		}
		if !a.say("b", 100) {
			t.Fatalf("message %d was not taken", i)
		}
	}
	b.until("all came", func() bool { return b.got["a"] == n })
	packets, most := a.Stats().PacketsSent-before, uint64(time.Since(begun)/linkPace)+n*110/linkPacket+2
	t.Logf("%d packets, at most %d", packets, most)
	if packets > most {
		t.Fatalf("%d messages in %d packets, more than %d", n, packets, most)
	}
}

func TestNodesThatAreCutApartBeginAnewAndMissNothingUnheard(t *testing.T) {
	t.Parallel()
	c, a, b := two(t)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for _, w := range []struct {
		from *talker
		to   string
	}{{a, "b"}, {b, "a"}} {
		wg.Go(func() {
			tick := time.NewTicker(100 * time.Microsecond)
			defer tick.Stop()
			for {
				select {
				case <-stop:
					return
				case <-tick.C:
					w.from.say(w.to, 100) // not taken while it is down
				}
			}
		})
	}
	flows := func() {
		t.Helper()
		a.until("messages come", func() bool { return a.up["b"] && a.got["b"] > 500 })
		b.until("messages come", func() bool { return b.up["a"] && b.got["a"] > 500 })
	}
	flows()
	for range 2 {
		a.until("nothing is missed", func() bool { return !a.Apart() })
		c.cut(0, true)
		a.until("something may be missed", a.Apart)
		a.until("it went down", func() bool { return !a.up["b"] })
		if !a.Apart() {
			t.Error("it is down, and nothing is missed")
		}
		b.until("it went down", func() bool { return !b.up["a"] })
		c.cut(0, false)
		flows()
	}
	// A moment's cut loses packets, or not: either way messages come again.
	c.cut(0, true)
	c.cut(0, false)
	total := 0
	a.until("messages come", func() bool { total = a.total; return true })
	a.until("more messages come", func() bool { return a.total > total+5000 })
	close(stop)
	wg.Wait()
	t.Logf("a %+v, b %+v", a.Stats(), b.Stats())
}

func TestAPeerThatDoesNotKeepUpIsBegunAnewWith(t *testing.T) {
	t.Parallel()
	_, a, b := two(t)
	b.mu.Lock()
	b.hold = make(chan struct{})
	b.mu.Unlock()
	for a.say("b", 1<<20) {
	}
	s := a.Stats()
	if s.Overflows != 1 || s.Sent < linkQueue>>20 {
		t.Fatalf("%+v", s)
	}
	b.mu.Lock()
	close(b.hold)
	b.hold = nil
	b.mu.Unlock()
	a.until("it is up again", func() bool { return a.up["b"] && a.ups["b"] == 2 })
	b.until("it is up again", func() bool { return b.up["a"] && b.ups["a"] >= 2 })
	b.mu.Lock()
	before := b.total
	b.mu.Unlock()
	if !a.say("b", 10) {
		t.Fatal("it does not talk")
	}
	b.until("it hears", func() bool { return b.total > before })
}

func TestAPeerThatLeavesIsDownAtOnce(t *testing.T) {
	t.Parallel()
	c, a, b := two(t)
	began := time.Now()
	b.Close()
	a.until("it went down", func() bool { return !a.up["b"] })
	if gone := time.Since(began); gone >= talkSilence {
		t.Fatalf("it took %s", gone)
	}
	// The node comes back as another, as after a restart.
	n := newTalker(t, c.bus[1], "b2")
	n.Connect("a")
	a.Disconnect("b")
	a.Connect("b2")
	a.until("the new one is up", func() bool { return a.up["b2"] })
	n.until("it is up", func() bool { return n.up["a"] })
	if !a.say("b2", 10) {
		t.Fatal("it does not talk")
	}
	n.until("it hears", func() bool { return n.got["a"] == 1 })
}

func TestLinksGoOnWhenTheServerIsStartedAnew(t *testing.T) {
	t.Parallel()
	c, a, b := two(t)
	e, err := c.bus[0].engine()
	must(t, err)
	e.fail(fmt.Errorf("a test says so"))
	must(t, c.bus[0].Recover(t.Context()))
	a.until("it is up again", func() bool { return a.up["b"] && a.ups["b"] == 2 })
	b.until("it is up again", func() bool { return b.up["a"] && b.ups["a"] >= 2 })
	a.say("b", 5)
	b.until("it hears", func() bool { return b.got["a"] == 1 })
}

func BenchmarkLink(b *testing.B) {
	var c *nodes
	c = planned(b, 2, func(i int, o *Options) {
		o.Cluster.Replicas, o.Cluster.Peers = 1, []string{c.listen[1-i]} // not by a proxy
	})
	c.start(0, 1)
	for _, size := range []int{200, 1000} {
		for _, at := range []int{1, 64, 0} {
			name := fmt.Sprintf("%dB/%d-at-a-time", size, at)
			if at == 0 {
				name = fmt.Sprintf("%dB/full", size)
			}
			b.Run(name, func(b *testing.B) { benchmarkLink(b, c, size, at) })
		}
	}
}

// counter counts what it gets.
type counter struct {
	mu   sync.Mutex
	got  int
	up   chan struct{}
	want int
	have chan struct{}
}

func (c *counter) Up(string)   { close(c.up) }
func (c *counter) Down(string) {}
func (c *counter) Receive(string, []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.got++; c.got == c.want {
		c.have <- struct{}{}
	}
}

func (c *counter) await(n int) {
	c.mu.Lock()
	c.want = n
	done := c.got >= n
	c.mu.Unlock()
	if !done {
		<-c.have
	}
}

// benchmarkLink sends messages, at of them before it waits until all have come; 0:
// as many as a queue may hold.
func benchmarkLink(b *testing.B, c *nodes, size, at int) {
	one := &counter{up: make(chan struct{}), have: make(chan struct{}, 1)}
	other := &counter{up: make(chan struct{}), have: make(chan struct{}, 1)}
	l, err := c.bus[0].OpenLinks("a", one)
	must(b, err)
	defer l.Close()
	m, err := c.bus[1].OpenLinks("b", other)
	must(b, err)
	defer m.Close()
	l.Connect("b")
	m.Connect("a")
	<-one.up
	<-other.up
	if at == 0 {
		at = linkQueue / 2 / size
	}
	message := make([]byte, size)
	b.SetBytes(int64(size))
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	for i := range b.N {
		if !l.Send("b", message) {
			b.Fatal("it was not taken")
		}
		if (i+1)%at == 0 {
			other.await(i + 1)
		}
	}
	other.await(b.N)
	b.StopTimer()
	b.ReportMetric(float64((cpuTime(b)-before).Nanoseconds())/float64(b.N), "cpu-ns/op")
}
