package nodetest

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/faultfs"
)

// roomyApp is plainApp with mailboxes that no workload fills.
const roomyApp = plainApp + "limits: {mailboxMessages: 10000000, mailboxBytes: 64GiB, minDiskFree: 64MiB}\n"

// fromEnvironment returns a number that FAULT_… may set.
func fromEnvironment(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}

// powerCut takes the power from the server's machine: its process is killed and
// the disk forgets. The server is not started again.
func powerCut(s *Server, d *disk, chance *rand.Rand, leaves faultfs.Survival) {
	d.t.Helper()
	after := d.PowerCut(chance, leaves)
	if err := s.cmd.Process.Kill(); err != nil {
		d.t.Fatalf("kill: %v", err)
	}
	d.Remove() // or the process would wait for its disk for ever
	s.Kill()
	d.remove()
	d.mount(after)
}

// The power fails at random moments, and each time the disk keeps something
// else of what was not synced. Whatever was accepted is delivered.
func TestAPowerCutLosesNothingThatWasAccepted(t *testing.T) {
	if !ownWorld(t) {
		return
	}
	for _, n := range powerCutSeeds(t) {
		for _, rule := range []faultfs.Rule{faultfs.Journaled, faultfs.Strict} {
			t.Run(fmt.Sprintf("%s-%d", rule, n), func(t *testing.T) { cutAndJudge(t, rule, n) })
		}
	}
}

// cutAndJudge is one workload that survives three power cuts.
func cutAndJudge(t *testing.T, rule faultfs.Rule, seed uint64) {
	chance := rand.New(rand.NewPCG(seed, 3))
	d := newDisk(t, rule)
	s := StartIn(t, d.data(), "--config", Settings(t, roomyApp))
	w := startWorkload(t, s, chance, time.Millisecond, 200, 2000, 40_000)
	for range 3 {
		w.awaitAccepted(1 + chance.IntN(1500))
		leaves := []faultfs.Survival{faultfs.Nothing, faultfs.Prefix, faultfs.Scattered}[chance.IntN(3)]
		unsynced := d.Unsynced()
		powerCut(s, d, chance, leaves)
		t.Logf("cut after %d were accepted; it leaves %s of %q; left are %q", w.acceptedSoFar(), leaves, unsynced, d.Listing())
		s.Start()
	}
	w.hush()
	w.drain(s)
	wantGood(t, w.history)
}

// The server below the log begins a new file now and then. One whose name is not
// safe would take with it all that was accepted since.
func TestAPowerCutAfterTheLogHasBegunAnotherFileLosesNothing(t *testing.T) {
	if !ownWorld(t) {
		return
	}
	d := newDisk(t, faultfs.Strict)
	s := StartIn(t, d.data(), "--config", Settings(t, roomyApp))
	ann, n := SignIn(t, s, "ANZ-1", `{"receipts":true}`), 0
	for files := range 3 {
		another := fmt.Sprintf("/msgs/%d.blk ", files+2)
		for !strings.Contains(strings.Join(d.Listing(), "\n"), another) {
			post(t, ann, "ANZ-2", "m", n, n+20, 50_000)
			n += 20
		}
		powerCut(s, d, nil, faultfs.Nothing)
		s.Start()
		if kept := s.Metric("switchboard_mailbox_messages"); kept != float64(n) {
			t.Fatalf("%v messages are left of %d; on the disk are %q", kept, n, d.Listing())
		}
		ann = SignIn(t, s, "ANZ-1", `{"receipts":true}`)
	}
	missed, _ := SignIn(t, s, "ANZ-2", "").Fetch(2000)
	wantSeries(t, "after the cuts", missed, "m", 0, n)
}

// A data folder that was just made is safe before the first message is.
func TestAPowerCutDoesNotTakeANewDataFolderAway(t *testing.T) {
	if !ownWorld(t) {
		return
	}
	d := newDisk(t, faultfs.Strict)
	s := StartIn(t, filepath.Join(d.dir, "var", "lib", "data"), "--config", Settings(t, roomyApp))
	post(t, SignIn(t, s, "ANZ-1", `{"receipts":true}`), "ANZ-2", "m", 0, 10, 100)
	powerCut(s, d, nil, faultfs.Nothing)
	s.Start()
	missed, _ := SignIn(t, s, "ANZ-2", "").Fetch(2000)
	wantSeries(t, "after the cut", missed, "m", 0, 10)
}

// drain waits until nothing is in the mailboxes, and lets everybody go.
func (w *workload) drain(s *Server) {
	w.t.Helper()
	awaitWaiting(w.t, s, 0)
	w.end()
}

// powerCutSeeds are those that always run, and one by chance; FAULT_SEED is the
// only one if it is set, FAULT_ROUNDS asks for more.
func powerCutSeeds(t *testing.T) []uint64 {
	t.Helper()
	if n := fromEnvironment(t, "FAULT_SEED", 0); n > 0 {
		return []uint64{uint64(n)}
	}
	seeds := faultSeeds()
	for range fromEnvironment(t, "FAULT_ROUNDS", 1) {
		seeds = append(seeds, rand.Uint64N(1_000_000_000))
	}
	return seeds
}
