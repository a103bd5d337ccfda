package nodetest

import (
	"fmt"
	"net"
	"os/exec"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// islands are networks of their own, one for each node. Each has a cable to the
// test, on which clients and operators come, and one to each other island, for the
// nodes. Whether what an island sends reaches another is decided by where it sends
// it to: to the other's end of the cable, or to nobody, of which neither side
// hears. So each way between each two can be cut by itself.
type islands struct {
	t       *testing.T
	holders []*exec.Cmd // each keeps a network
}

// nodePort is where nodes listen for each other, on all islands.
const nodePort = 7000

// newIslands makes n islands in the test's own world, with which they go.
func newIslands(t *testing.T, n int) *islands {
	t.Helper()
	is := &islands{t: t}
	for i := range n {
		holder := exec.Command("sleep", "infinity")
		holder.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWNET}
		if err := holder.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = holder.Process.Kill() // it does not end by itself
			_ = holder.Wait()         // killed: always an error
		})
		is.holders = append(is.holders, holder)
		is.ip(-1, fmt.Sprintf("link add %s type veth peer name out netns %d", cableTo(i), holder.Process.Pid),
			fmt.Sprintf("addr add %s/24 dev %s", nearOf(i), cableTo(i)))
		t.Cleanup(func() { command(t, "ip", "link", "del", cableTo(i)) }) // by itself it goes only some time later
		is.ip(i, "link set lo up", "link set out up", fmt.Sprintf("addr add %s/24 dev out", hostOf(i)), fmt.Sprintf("addr add %s/32 dev lo", placeOf(i)))
		is.plug(i, true)
		for j := range i {
			is.lay(i, j)
		}
	}
	return is
}

// lay lays the cable between two islands.
func (is *islands) lay(i, j int) {
	is.t.Helper()
	is.ip(-1, fmt.Sprintf("link add %s address %s netns %d type veth peer name %s address %s netns %d",
		wayTo(j), endOf(i, j), is.holders[i].Process.Pid, wayTo(i), endOf(j, i), is.holders[j].Process.Pid))
	for _, way := range [][2]int{{i, j}, {j, i}} {
		is.ip(way[0], fmt.Sprintf("link set %s up", wayTo(way[1])), fmt.Sprintf("route add %s/32 dev %s src %s", placeOf(way[1]), wayTo(way[1]), placeOf(way[0])))
		is.set(way[0], way[1], true)
	}
}

func cableTo(i int) string { return fmt.Sprint("sbc", i+1) } // the test's end of the cable to an island
func nearOf(i int) string  { return fmt.Sprintf("10.77.%d.1", i+1) }
func hostOf(i int) string  { return fmt.Sprintf("10.77.%d.2", i+1) } // where clients and operators come to
func wayTo(i int) string   { return fmt.Sprint("to", i+1) }          // an island's end of the cable to another one
func placeOf(i int) string { return fmt.Sprintf("10.78.0.%d", i+1) } // where other nodes come to

// nodeAt is where the node of an island listens for the others.
func nodeAt(i int) string { return net.JoinHostPort(placeOf(i), fmt.Sprint(nodePort)) }

// endOf is the hardware address of island i's end of its cable to island j.
func endOf(i, j int) string { return fmt.Sprintf("02:00:00:00:%02x:%02x", i+1, j+1) }

// nobody is a hardware address that no end has.
const nobody = "02:ff:ff:ff:ff:ff"

// ip runs commands of ip(8) on an island; -1: in the test's own network.
func (is *islands) ip(i int, lines ...string) {
	is.t.Helper()
	var words []string
	if i >= 0 {
		words = is.inside(i)
	}
	words = append(words, "ip", "-batch", "-")
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Stdin = strings.NewReader(strings.Join(lines, "\n") + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		is.t.Fatalf("ip, on island %d: %v\n%s\n%s", i+1, err, strings.Join(lines, "\n"), out)
	}
}

// inside are the words before a command that runs on an island.
func (is *islands) inside(i int) []string {
	return []string{"nsenter", "--net=" + is.network(i), "--"}
}

func (is *islands) network(i int) string {
	return fmt.Sprintf("/proc/%d/ns/net", is.holders[i].Process.Pid)
}

// set says whether what island i sends to island j arrives there.
func (is *islands) set(i, j int, arrives bool) {
	is.t.Helper()
	end := nobody
	if arrives {
		end = endOf(j, i)
	}
	is.ip(i, fmt.Sprintf("neigh replace %s lladdr %s dev %s nud permanent", placeOf(j), end, wayTo(j)))
}

// join cuts what is between two islands, both ways, or mends it.
func (is *islands) join(i, j int, joined bool) {
	is.t.Helper()
	is.set(i, j, joined)
	is.set(j, i, joined)
}

// isolate cuts an island off from all others, or joins it again. Its clients are
// still there.
func (is *islands) isolate(i int, alone bool) {
	is.t.Helper()
	for j := range is.holders {
		if j != i {
			is.join(i, j, !alone)
		}
	}
}

// plug puts the cable of an island's clients in, or pulls it out. They come over it
// to where other nodes come to as well.
func (is *islands) plug(i int, in bool) {
	is.t.Helper()
	if !in {
		is.ip(-1, fmt.Sprintf("link set %s down", cableTo(i)))
		return
	}
	is.ip(-1, fmt.Sprintf("link set %s up", cableTo(i)), fmt.Sprintf("route replace %s/32 via %s dev %s", placeOf(i), hostOf(i), cableTo(i)))
}

// on runs f in a thread that is on an island: what f opens is there, and stays
// there. f must not start goroutines that open anything.
func (is *islands) on(i int, f func() error) error {
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with the goroutine
		ns, err := unix.Open(is.network(i), unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Setns(ns, unix.CLONE_NEWNET)
			_ = unix.Close(ns)
		}
		if err == nil {
			err = f()
		}
		done <- err
	}()
	return <-done
}

// What is cut is silent on both sides, by itself; what was said meanwhile arrives
// when it is mended.
func TestIslandsAreCutSilentlyAndEachWayByItself(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	is := newIslands(t, 3)
	echo := make([]net.Listener, 3)
	for i := range echo {
		if err := is.on(i, func() (err error) {
			echo[i], err = net.Listen("tcp", nodeAt(i))
			return err
		}); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = echo[i].Close() }) // it may be closed already
		go func() {
			for {
				c, err := echo[i].Accept()
				if err != nil {
					return
				}
				go func() {
					defer c.Close()
					b := make([]byte, 1)
					for {
						if _, err := c.Read(b); err != nil {
							return
						}
						if _, err := c.Write(b); err != nil {
							return
						}
					}
				}()
			}
		}()
	}
	dial := func(i, j int) (c net.Conn) {
		if err := is.on(i, func() (err error) {
			c, err = net.Dial("tcp", nodeAt(j))
			return err
		}); err != nil {
			t.Fatalf("from %d to %d: %v", i+1, j+1, err)
		}
		t.Cleanup(func() { _ = c.Close() }) // it may be closed already
		return c
	}
	say := func(c net.Conn) {
		t.Helper()
		if _, err := c.Write([]byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	hears := func(c net.Conn, within time.Duration) bool {
		t.Helper()
		if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
			t.Fatal(err)
		}
		n, err := c.Read(make([]byte, 1))
		if e, ok := err.(net.Error); err != nil && (!ok || !e.Timeout()) {
			t.Fatalf("the connection did not outlive a cut: %v", err)
		}
		return n == 1
	}
	const briefly = 300 * time.Millisecond
	onetwo, onethree, twothree := dial(0, 1), dial(0, 2), dial(1, 2)
	all := []net.Conn{onetwo, onethree, twothree}
	for _, c := range all {
		if say(c); !hears(c, Patience) {
			t.Fatal("no echo, and nothing is cut")
		}
	}
	is.isolate(0, true)
	for _, c := range all {
		say(c)
	}
	if !hears(twothree, Patience) {
		t.Error("two and three do not hear each other, and only one was cut off")
	}
	if hears(onetwo, briefly) || hears(onethree, briefly) {
		t.Error("one was cut off and was heard")
	}
	is.set(0, 1, true)
	if hears(onetwo, briefly) {
		t.Error("what two sends to one is cut, and arrived")
	}
	is.isolate(0, false)
	if !hears(onetwo, Patience) || !hears(onethree, Patience) {
		t.Error("what was said during the cut did not arrive after it")
	}
}
