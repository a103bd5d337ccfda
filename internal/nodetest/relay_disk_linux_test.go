package nodetest

import (
	"crypto/sha256"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/faultfs"
)

// The power fails while many send to a collector. What was answered with success is
// in the spool, whole; what was not is there whole or not at all.
func TestAPowerCutTakesBackNoFileThatWasAnswered(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	chance := rand.New(rand.NewPCG(seed(t), 34))
	for round := range 2 * numberFromEnvironment(t, "FAULT_ROUNDS", 1) {
		rule := ruleOf(uint64(round))
		t.Run(fmt.Sprint(rule, " ", round), func(t *testing.T) {
			d := newDisk(t, rule)
			c := startMover(t, "collector", fmt.Sprintf("address: 127.0.0.1\nport: %d\nspool: %s\nlimits: {free: 0}\n", portsFor(t, 1)[0], d.data()))
			var mu sync.Mutex
			answered, sent := map[string][32]byte{}, map[string][32]byte{}
			enough := make(chan struct{})
			most := 20 + chance.IntN(300)
			var senders sync.WaitGroup
			for i := range 8 {
				senders.Go(func() {
					client := &http.Client{Transport: &http.Transport{}}
					defer client.CloseIdleConnections()
					for n := 0; ; n++ {
						name, content := fmt.Sprintf("%d-%04d", i, n), strings.Repeat(fmt.Sprint(i, n, " "), 100)
						mu.Lock()
						sent[name] = sha256.Sum256([]byte(content))
						mu.Unlock()
						status, err := putFile(t, client, c.addr(), name, content)
						if err != nil {
							return // the power is off
						}
						mu.Lock()
						if status == http.StatusOK {
							answered[name] = sent[name]
							if len(answered) == most {
								close(enough)
							}
						}
						mu.Unlock()
					}
				})
			}
			<-enough
			d.cut(c.cmd.Process, func() { <-c.done }, chance, anySurvival(chance))
			senders.Wait()
			c.start()
			for name, sum := range lying(t, d.data()) {
				if sum != sent[name] {
					t.Errorf("%s is not what was sent", name)
				}
			}
			have := lying(t, d.data())
			for name := range answered {
				if _, ok := have[name]; !ok {
					t.Errorf("%s was answered with success and is gone", name)
				}
			}
			t.Logf("%d were answered; on the disk are %q", len(answered), d.Listing())
		})
	}
}

// Without room a collector says so, and when to come again. Uploaders hold back, and
// go on when there is room. Nothing half is left.
func TestAFullDiskHoldsUploadersBack(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	for _, lies := range []bool{false, true} {
		t.Run(fmt.Sprintf("lies=%v", lies), func(t *testing.T) {
			d, out := newDisk(t, faultfs.Journaled), t.TempDir()
			port := portsFor(t, 1)[0]
			c := startMover(t, "collector", fmt.Sprintf("address: 127.0.0.1\nport: %d\nspool: %s\nlimits: {free: 0}\n", port, d.data()))
			d.Fill(lies)
			r, err := http.NewRequestWithContext(t.Context(), http.MethodPut, "http://"+c.addr()+"/a", strings.NewReader(strings.Repeat("x", 100_000)))
			if err != nil {
				t.Fatal(err)
			}
			answer, err := http.DefaultClient.Do(r)
			if err != nil {
				t.Fatal(err)
			}
			_ = answer.Body.Close()
			if answer.StatusCode != http.StatusServiceUnavailable || answer.Header.Get("Retry-After") == "" {
				t.Errorf("the answer is %s, to come again after %q", answer.Status, answer.Header.Get("Retry-After"))
			}
			want := map[string][32]byte{}
			for i := range 20 {
				content := []byte(strings.Repeat(fmt.Sprint(i), 10_000))
				want[fmt.Sprint(i)] = sha256.Sum256(content)
				drop(t, out, fmt.Sprint(i), content)
			}
			u := startMover(t, "uploader", fmt.Sprintf("spool: %s\nquiet: 0s\nadmin: 127.0.0.1:0\nnexthop: [{pattern: '*', cluster: all}]\nclusters: {all: [{id: one, address: 127.0.0.1, port: %d}]}\n", out, port))
			Eventually(t, "the uploader holds back", func() bool {
				_, status := get(t, u.says("admin")+"/status")
				return strings.Contains(status, `"state":"held"`)
			})
			if n := filesIn(t, d.data()); n > 0 {
				t.Errorf("%d files are on the full disk", n)
			}
			d.Room()
			Eventually(t, "all files have left", func() bool { return filesIn(t, out) == 0 })
			wantFiles(t, "the spool", d.data(), want)
		})
	}
}

// A spool that is taken away, or closed to the program, is refused with its reason,
// and taken into use again when it is back.
func TestASpoolThatGoesAwayComesBack(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	above := t.TempDir()
	spool, out := filepath.Join(above, "spool"), t.TempDir()
	port := portsFor(t, 1)[0]
	c := startMover(t, "collector", fmt.Sprintf("address: 127.0.0.1\nport: %d\nspool: %s\n", port, spool))
	startMover(t, "uploader", fmt.Sprintf("spool: %s\nquiet: 0s\nevery: 1s\nnexthop: [{pattern: '*', cluster: all}]\nclusters: {all: [{id: one, address: 127.0.0.1, port: %d}]}\n", out, port))
	drop(t, out, "before", []byte("1"))
	Eventually(t, "the first file comes", func() bool { return filesIn(t, out) == 0 })
	if err := os.RemoveAll(spool); err != nil {
		t.Fatal(err)
	}
	client := &http.Client{}
	if status, err := putFile(t, client, c.addr(), "a", "x"); err != nil || status != http.StatusServiceUnavailable {
		t.Errorf("without the folder: %d, %v", status, err)
	}
	drop(t, out, "meanwhile", []byte("2"))
	if err := os.Mkdir(spool, 0o700); err != nil {
		t.Fatal(err)
	}
	Eventually(t, "the file comes into the new folder", func() bool { return filesIn(t, out) == 0 })
	wantFiles(t, "the spool", spool, map[string][32]byte{"meanwhile": sha256.Sum256([]byte("2"))})

	// The uploader's own folder.
	if err := os.RemoveAll(out); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(out, 0o700); err != nil {
		t.Fatal(err)
	}
	drop(t, out, "again", []byte("3"))
	Eventually(t, "the file goes out of the new folder", func() bool { return filesIn(t, out) == 0 })
	if _, ok := lying(t, spool)["again"]; !ok {
		t.Error("it did not come")
	}
}
