package nodetest

import (
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// meter is a way to a collector that counts what is sent, and breaks off after as
// many bytes as it is told.
type meter struct {
	listener net.Listener
	target   string
	sent     atomic.Int64
	left     atomic.Int64 // bytes until the next break; below zero for no more breaks
	breaks   atomic.Int64
	open     sync.WaitGroup
}

func startMeter(t *testing.T, target string) *meter {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{listener: l, target: target}
	m.left.Store(-1)
	m.open.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			m.open.Go(func() { m.carry(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		m.open.Wait()
	})
	return m
}

func (m *meter) carry(near net.Conn) {
	defer near.Close()
	far, err := net.Dial("tcp", m.target)
	if err != nil {
		return
	}
	defer far.Close()
	var back sync.WaitGroup
	back.Go(func() {
		_, _ = io.Copy(near, far) // ends with either
		_ = near.Close()
	})
	buffer := make([]byte, 32<<10)
	for {
		n, err := near.Read(buffer)
		m.sent.Add(int64(n))
		if left := m.left.Load(); left >= 0 && m.left.Add(-int64(n)) < 0 {
			m.left.Store(-1)
			m.breaks.Add(1)
			break
		}
		if _, werr := far.Write(buffer[:n]); err != nil || werr != nil {
			break
		}
	}
	_ = far.Close()
	back.Wait()
}

// A large file goes on where it was cut off, however often: in the end each of its
// bytes was sent about once. RELAY_MIB says how large it is.
func TestALargeFileGoesOnWhereItWasCutOff(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(seed(t), 33))
	size := int64(numberFromEnvironment(t, "RELAY_MIB", 64)) << 20
	out, spool := t.TempDir(), t.TempDir()
	c := startMover(t, "collector", fmt.Sprintf("address: 127.0.0.1\nport: %d\nspool: %s\n", portsFor(t, 1)[0], spool))
	way := startMeter(t, c.addr())
	u := startMover(t, "uploader", fmt.Sprintf("spool: %s\nquiet: 0s\nevery: 1s\nnexthop: [{pattern: '*', cluster: all}]\nclusters: {all: [{id: one, address: 127.0.0.1, port: %d}]}\n", out, way.listener.Addr().(*net.TCPAddr).Port))
	sum, scratch := sha256.New(), filepath.Join(out, "large.tmp")
	file, err := os.Create(scratch)
	if err != nil {
		t.Fatal(err)
	}
	for block := make([]byte, 1<<20); size > 0; size -= int64(len(block)) {
		for i := 0; i < len(block); i += 512 {
			block[i] = byte(chance.Uint64())
		}
		if _, err := io.MultiWriter(file, sum).Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := file.Close(); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(scratch)
	if err != nil {
		t.Fatal(err)
	}
	size = info.Size()
	way.left.Store(size / 7)
	if err := os.Rename(scratch, filepath.Join(out, "large")); err != nil {
		t.Fatal(err)
	}
	// The way breaks, either end is killed.
	for i := range 4 {
		Eventually(t, "the way breaks", func() bool { return way.breaks.Load() == int64(i+1) })
		switch i {
		case 1:
			u.kill()
			u.start()
		case 2:
			c.kill()
			c.start()
		}
		if i < 3 {
			way.left.Store(size / 7)
		}
	}
	Eventually(t, "the file has left", func() bool { return filesIn(t, out) == 0 })
	wantFiles(t, "the spool", spool, map[string][32]byte{"large": [32]byte(sum.Sum(nil))})
	// What is in the buffers of a socket that breaks was sent and has not come.
	if sent := way.sent.Load(); sent > size+size/10+4*(8<<20) {
		t.Errorf("%d bytes were sent of a file of %d", sent, size)
	}
	t.Logf("%d bytes were sent of a file of %d, which was cut off %d times", way.sent.Load(), size, way.breaks.Load())
}

// Of three collectors one is dead, one takes connections and says nothing. The third
// gets all files at once; the dead one gets them when it comes, and they are removed
// only then.
func TestADeadCollectorHoldsUpNobody(t *testing.T) {
	t.Parallel()
	out, living, late := t.TempDir(), t.TempDir(), t.TempDir()
	ports := portsFor(t, 2)
	mute, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer mute.Close()
	settings := "address: 127.0.0.1\nport: %d\nspool: %s\n"
	startMover(t, "collector", fmt.Sprintf(settings, ports[0], living))
	u := startMover(t, "uploader", fmt.Sprintf("spool: %s\nquiet: 0s\nmaxConn: 6\nnexthop: [{pattern: 'm*', cluster: mute}, {pattern: '*', cluster: all}]\nclusters: {all: [{id: living, address: 127.0.0.1, port: %d}, {id: late, address: 127.0.0.1, port: %d}], mute: [{id: mute, address: 127.0.0.1, port: %d}]}\n",
		out, ports[0], ports[1], mute.Addr().(*net.TCPAddr).Port))
	want := map[string][32]byte{}
	for i := range 300 {
		name, content := fmt.Sprintf("%03d", i), []byte(fmt.Sprint("content ", i))
		want[name] = sha256.Sum256(content)
		drop(t, out, name, content)
		drop(t, out, "m"+name, content)
	}
	Eventually(t, "the living one has all", func() bool { return filesIn(t, living) == len(want) })
	wantFiles(t, "the living one's spool", living, want)
	if n := filesIn(t, out); n != 2*len(want) {
		t.Errorf("%d of %d files wait for the others", n, 2*len(want))
	}
	u.kill() // what the living one has is remembered
	startMover(t, "collector", fmt.Sprintf(settings, ports[1], late))
	u.start()
	Eventually(t, "the one that comes late has all", func() bool { return filesIn(t, out) == len(want) })
	wantFiles(t, "the late one's spool", late, want)
	wantFiles(t, "the living one's spool", living, want)
}

// A collector that is stopped, for an upgrade say, is owed what comes meanwhile.
func TestACollectorThatIsStoppedGetsItsFilesWhenItIsBack(t *testing.T) {
	t.Parallel()
	_, at := startNetwork(t, "expireAfter: 300ms\n")
	out, spools := t.TempDir(), []string{t.TempDir(), t.TempDir()}
	var collectors []*mover
	for i, spool := range spools {
		collectors = append(collectors, startMover(t, "collector", fmt.Sprintf(
			"address: 127.0.0.1\nspool: %s\nid: c%d\nnetwork: {server: %s, cluster: all, heartbeat: 100ms}\n", spool, i, at)))
	}
	startMover(t, "uploader", fmt.Sprintf("spool: %s\nquiet: 0s\nnexthop: [{pattern: '*', cluster: all}]\nnetwork: {server: %s, heartbeat: 100ms}\n", out, at))
	drop(t, out, "before", []byte("1"))
	Eventually(t, "the first file has left", func() bool { return filesIn(t, out) == 0 })
	collectors[1].stop()
	Eventually(t, "the network server has dropped it", func() bool {
		_, clusters := get(t, "http://"+at+"/clusters")
		return strings.Contains(clusters, "c0") && !strings.Contains(clusters, "c1")
	})
	drop(t, out, "meanwhile", []byte("2"))
	Eventually(t, "the other one has the file", func() bool { return filesIn(t, spools[0]) == 2 })
	collectors[1].start()
	Eventually(t, "the file has left", func() bool { return filesIn(t, out) == 0 })
	want := map[string][32]byte{"before": sha256.Sum256([]byte("1")), "meanwhile": sha256.Sum256([]byte("2"))}
	for i, spool := range spools {
		wantFiles(t, fmt.Sprint("the spool of c", i), spool, want)
	}
}

// What lies in an uploader's spool and is no whole file of good name stays, and the
// others go. A file that grows goes when it has grown, whole.
func TestOnlyWholeFilesGo(t *testing.T) {
	t.Parallel()
	out, spool, elsewhere := t.TempDir(), t.TempDir(), t.TempDir()
	c := startMover(t, "collector", fmt.Sprintf("address: 127.0.0.1\nport: %d\nspool: %s\n", portsFor(t, 1)[0], spool))
	_, port, _ := net.SplitHostPort(c.addr())
	want := map[string][32]byte{}
	good := func(name, content string) {
		drop(t, out, name, []byte(content))
		want[name] = sha256.Sum256([]byte(content))
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.WriteFile(filepath.Join(elsewhere, "secret"), []byte("not to be sent"), 0o600))
	must(os.Symlink(filepath.Join(elsewhere, "secret"), filepath.Join(out, "link")))
	must(os.Mkdir(filepath.Join(out, "folder"), 0o700))
	must(syscall.Mkfifo(filepath.Join(out, "pipe"), 0o600))
	must(os.WriteFile(filepath.Join(out, "half.tmp"), []byte("half"), 0o600))
	must(os.WriteFile(filepath.Join(out, ".hidden"), []byte("hidden"), 0o600))
	must(os.WriteFile(filepath.Join(elsewhere, "twice"), []byte("linked"), 0o600))
	must(os.Link(filepath.Join(elsewhere, "twice"), filepath.Join(out, "hard")))
	want["hard"] = sha256.Sum256([]byte("linked"))
	good("empty", "")
	good("..two dots in..it..", "dots")
	delete(want, "..two dots in..it..") // it begins with a dot
	good("100%2f %00 ?#&+;=", "signs")
	good(strings.Repeat("n", 251), "long") // .tmp is put behind it while it is written
	good("e\u0301", "two code points")
	good("\u00e9", "one code point")
	good("日本語 \U0001F600", "not Latin")
	growing, err := os.Create(filepath.Join(out, "growing"))
	must(err)
	defer growing.Close()
	startMover(t, "uploader", fmt.Sprintf("spool: %s\nquiet: 300ms\nevery: 1s\nnexthop: [{pattern: '*', cluster: all}]\nclusters: {all: [{id: one, address: 127.0.0.1, port: %s}]}\n", out, port))
	whole := strings.Repeat("grows\n", 12)
	for line := range strings.Lines(whole) {
		_, err := growing.WriteString(line)
		must(err)
		<-time.After(100 * time.Millisecond)
	}
	must(growing.Close())
	want["growing"] = sha256.Sum256([]byte(whole))
	Eventually(t, "all that may go have gone", func() bool { return filesIn(t, spool) >= len(want) })
	Eventually(t, "what has gone is removed", func() bool { return filesIn(t, out) == 3 })
	wantFiles(t, "the spool", spool, want)
	for _, name := range []string{"link", "folder", "pipe", "half.tmp", ".hidden", "..two dots in..it.."} {
		if _, err := os.Lstat(filepath.Join(out, name)); err != nil {
			t.Errorf("what is no whole file does not stay: %v", err)
		}
	}
}

// The second program that works on a folder says who the first one is, and ends.
func TestASecondProgramOnASpoolIsRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for kind, settings := range map[string]string{
		"uploader":  fmt.Sprintf("spool: %s\nnexthop: [{pattern: '*', cluster: all}]\nclusters: {all: [{id: one, address: 127.0.0.1, port: 1}]}\n", dir),
		"collector": fmt.Sprintf("address: 127.0.0.1\nport: %d\nspool: %s\n", portsFor(t, 1)[0], dir),
	} {
		first := startMover(t, kind, settings)
		second := &mover{t: t, kind: kind, config: first.config}
		second.launch()
		<-second.done
		if code := second.cmd.ProcessState.ExitCode(); code != 1 || !strings.Contains(second.output(), fmt.Sprint(first.cmd.Process.Pid)) {
			t.Errorf("the second %s ends with %d: %s", kind, code, second.output())
		}
		first.stop()
	}
}
