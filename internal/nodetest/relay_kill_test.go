package nodetest

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

// Uploader, collectors and network server are killed at random while files go
// through them. In the end each file is in each spool that it is for, once, byte for
// byte. One service takes its files out of the spool as they come, so that nobody
// but the collector's memory can tell a file that is sent again. RELAY_FILES says how
// many files.
func TestFilesAreInEverySpoolOnceWhateverIsKilled(t *testing.T) {
	t.Parallel()
	chance := rand.New(rand.NewPCG(seed(t), 31))
	files := numberFromEnvironment(t, "RELAY_FILES", 1000)
	out, taken := t.TempDir(), t.TempDir()
	network, at := startNetwork(t, "expireAfter: 2s\n")
	spools := map[string]string{"left-1": t.TempDir(), "left-2": t.TempDir(), "right-1": t.TempDir()}
	movers := []*mover{network}
	for i, port := range portsFor(t, 3) {
		id := []string{"left-1", "left-2", "right-1"}[i]
		movers = append(movers, startMover(t, "collector", fmt.Sprintf(
			"id: %s\naddress: 127.0.0.1\nport: %d\nspool: %s\nnetwork: {server: %s, cluster: %s, heartbeat: 500ms}\n", id, port, spools[id], at, id[:len(id)-2])))
	}
	movers = append(movers, startMover(t, "uploader", fmt.Sprintf(
		"spool: %s\nquiet: 0s\nevery: 1s\nnexthop: [{pattern: '*.left', cluster: left}, {pattern: '*.right', cluster: right}]\nnetwork: {server: %s, heartbeat: 500ms}\n", out, at)))

	want := map[string]map[string][32]byte{"left": {}, "right": {}}
	stop := make(chan struct{})
	var busy sync.WaitGroup
	busy.Go(func() { takeAll(t, spools["right-1"], taken, stop) })
	busy.Go(func() {
		for chance := rand.New(rand.NewPCG(chance.Uint64(), 32)); ; {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(100+chance.IntN(500)) * time.Millisecond):
			}
			m := movers[chance.IntN(len(movers))]
			m.kill()
			<-time.After(time.Duration(chance.IntN(300)) * time.Millisecond)
			m.start()
		}
	})
	for i := range files {
		side := []string{"left", "right"}[i%2]
		name, content := fmt.Sprintf("%06d.%s", i, side), make([]byte, sizeOf(chance))
		for j := 0; j < len(content); j += 8 {
			content[j] = byte(chance.Uint64())
		}
		want[side][name] = sha256.Sum256(content)
		drop(t, out, name, content)
		if i == files/2 {
			Eventually(t, "half of the files are on their way", func() bool { return filesIn(t, out) < files/4 })
		}
	}
	for left := filesIn(t, out); left > 0; { // as long as it takes, so that there may be any number
		Eventually(t, "more files have left", func() bool {
			before := left
			left = filesIn(t, out)
			return left < before
		})
	}
	close(stop)
	busy.Wait()
	takeRest(t, spools["right-1"], taken)
	wantFiles(t, "left-1", spools["left-1"], want["left"])
	wantFiles(t, "left-2", spools["left-2"], want["left"])
	wantFiles(t, "what the service took of right-1", taken, want["right"])
	if n := filesIn(t, filepath.Join(out)); n > 0 {
		t.Errorf("%d files are left with the uploader", n)
	}
}

// sizeOf is the size of a file of the workload: most are small, some empty, a few
// large enough to be gone on with.
func sizeOf(chance *rand.Rand) int {
	switch n := chance.IntN(100); {
	case n < 3:
		return 0
	case n < 97:
		return 1 + chance.IntN(20_000)
	}
	return 1<<20 + chance.IntN(4<<20)
}

// takeAll is a service: it takes what is in a spool, until stop.
func takeAll(t *testing.T, spool, taken string, stop <-chan struct{}) {
	for {
		takeRest(t, spool, taken)
		select {
		case <-stop:
			return
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// takeRest takes what is in a spool now. What came before comes twice: that is an
// error.
func takeRest(t *testing.T, spool, taken string) {
	entries, err := os.ReadDir(spool)
	if err != nil {
		t.Error(err)
		return
	}
	for _, e := range entries {
		if e.IsDir() {
			continue
		}
		if _, err := os.Lstat(filepath.Join(taken, e.Name())); err == nil {
			t.Errorf("%s came twice", e.Name())
		}
		if err := os.Rename(filepath.Join(spool, e.Name()), filepath.Join(taken, e.Name())); err != nil {
			t.Error(err)
		}
	}
}
