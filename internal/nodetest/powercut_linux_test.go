package nodetest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/faultfs"
)

// powerCut takes the power from the server's machine: its process is killed and
// the disk forgets. The server is not started again.
func powerCut(s *Server, d *disk, chance *rand.Rand, leaves faultfs.Survival) {
	d.t.Helper()
	d.cut(s.cmd.Process, s.Kill, chance, leaves)
}

// cut takes the power from a process and its disk. ended waits for the process's
// end.
func (d *disk) cut(p *os.Process, ended func(), chance *rand.Rand, leaves faultfs.Survival) {
	d.t.Helper()
	after := d.PowerCut(chance, leaves)
	if err := p.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		d.t.Fatalf("kill: %v", err)
	}
	d.Remove() // or the process would wait for its disk for ever
	ended()
	d.remove()
	d.mount(after)
}

// cutWhileStarting starts the server's program and takes the power after a
// while, whatever it has come to.
func cutWhileStarting(s *Server, d *disk, chance *rand.Rand) {
	d.t.Helper()
	cmd := s.command()
	if err := cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	most := 150 * time.Millisecond
	if raceEnabled {
		most = 500 * time.Millisecond
	}
	<-time.After(time.Duration(chance.Int64N(int64(most))))
	ended := func() { _ = cmd.Wait() } // killed: always an error
	d.cut(cmd.Process, ended, chance, anySurvival(chance))
}

func anySurvival(chance *rand.Rand) faultfs.Survival {
	return []faultfs.Survival{faultfs.Nothing, faultfs.Prefix, faultfs.Scattered}[chance.IntN(3)]
}

// The power fails at random moments, and each time the disk keeps something
// else of what was not synced. Whatever was accepted is delivered. FAULT_ROUNDS
// sets for how many new seeds.
func TestAPowerCutLosesNothingThatWasAccepted(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	for _, n := range faultSeedsToRun(t, powerCutSeeds(), numberFromEnvironment(t, "FAULT_ROUNDS", 1)) {
		t.Run(fmt.Sprintf("%s-%d", ruleOf(n), n), func(t *testing.T) { cutAndJudge(t, ruleOf(n), n) })
	}
}

// ruleOf says what kind of disk a seed is for.
func ruleOf(seed uint64) faultfs.Rule {
	return []faultfs.Rule{faultfs.Journaled, faultfs.Strict}[seed%2]
}

// cutAndJudge is one workload that survives power cuts.
func cutAndJudge(t *testing.T, rule faultfs.Rule, seed uint64) {
	chance := rand.New(rand.NewPCG(seed, 3))
	cuts, most := 3, 1500 // and how many messages are accepted between two of them
	if raceEnabled {
		cuts, most = 2, 400
	}
	d := newDisk(t, rule)
	s := StartIn(t, d.data(), "--config", Settings(t, roomyApp))
	w := startWorkload(t, s, chance, time.Millisecond, 200, 2000, 40_000)
	for range cuts {
		w.awaitAccepted(1 + chance.IntN(most))
		leaves := anySurvival(chance)
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
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	d := newDisk(t, faultfs.Strict)
	s := StartIn(t, d.data(), "--config", Settings(t, roomyApp))
	ann, n := SignIn(t, s, "ANZ-1", `{"receipts":true}`), 0
	for !strings.Contains(fmt.Sprint(d.Listing()), "/msgs/2.blk ") {
		post(t, ann, "ANZ-2", "m", n, n+20, 60_000)
		n += 20
	}
	powerCut(s, d, nil, faultfs.Nothing)
	s.Start()
	if kept := s.Metric("switchboard_mailbox_messages"); kept != float64(n) {
		t.Fatalf("%v messages are left of %d; on the disk are %q", kept, n, d.Listing())
	}
	missed, _ := SignIn(t, s, "ANZ-2", "").Fetch(2000)
	wantSeries(t, "after the cut", missed, "m", 0, n)
}

// A data folder that was just made is safe before the first message is.
func TestAPowerCutDoesNotTakeANewDataFolderAway(t *testing.T) {
	t.Parallel()
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

// The power fails while the server starts, in a new folder and in one with
// messages, several times in a row. It starts the next time, with all that it had.
func TestAPowerCutDuringTheStartDoesNoHarm(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	chance, config := rand.New(rand.NewPCG(seed(t), 19)), Settings(t, roomyApp)
	rounds, cuts := 3*numberFromEnvironment(t, "FAULT_ROUNDS", 1), 0
	for round := range rounds {
		d := newDisk(t, ruleOf(uint64(round)))
		s := &Server{t: t, path: Binary(t), Addr: "127.0.0.1:0", Admin: "127.0.0.1:0", Data: d.data(), Args: []string{"--config", config}}
		cutting := func() {
			for range 1 + chance.IntN(3) {
				cutWhileStarting(s, d, chance)
				cuts++
			}
		}
		cutting()
		s.Start()
		t.Cleanup(s.Kill)
		post(t, SignIn(t, s, "ANZ-1", `{"receipts":true}`), "ANZ-2", "m", 0, 100, 1000)
		powerCut(s, d, chance, anySurvival(chance))
		cutting()
		s.Start()
		missed, _ := SignIn(t, s, "ANZ-2", "").Fetch(1000)
		wantSeries(t, "after the cuts", missed, "m", 0, 100)
		s.Kill()
	}
	t.Logf("lost 0, duplicated 0, reordered 0 in %d rounds with %d cuts while starting", rounds, cuts)
}

// The power fails while a batch is being written, and the end of the log's file
// is torn: cut off at any byte, or with any pages of it missing. The server
// starts, and has what it had accepted.
func TestATornTailIsDroppedAndNothingElse(t *testing.T) {
	t.Parallel()
	if !ownWorld(t) {
		return
	}
	chance := rand.New(rand.NewPCG(seed(t), 13))
	d := newDisk(t, faultfs.Strict)
	s := StartIn(t, d.data(), "--config", Settings(t, roomyApp))
	n, torn := 0, 0
	for round := range 8 {
		ann := SignIn(t, s, "ANZ-1", `{"receipts":true}`)
		post(t, ann, "ANZ-2", "m", n, n+5, 1000)
		n += 5
		d.SlowSyncs(time.Minute)
		for i := range 8 { // the first is a batch, the others the next one, if it comes to that
			ann.Message("ANZ-2", numbered("torn", i, chance.IntN(60_000)), "")
		}
		Eventually(t, "a batch is written and not synced", func() bool { return strings.Contains(fmt.Sprint(d.Unsynced()), ".blk write") })
		leaves := []faultfs.Survival{faultfs.Prefix, faultfs.Scattered}[round%2]
		powerCut(s, d, chance, leaves)
		s.Start()
		missed, _ := SignIn(t, s, "ANZ-3", "").Fetch(1)
		wantSeries(t, "for somebody else", missed, "m", 0, 0)
		kept := int(s.Metric("switchboard_mailbox_messages"))
		if kept < n+torn {
			t.Fatalf("round %d: %d messages are left of %d; on the disk are %q", round, kept, n+torn, d.Listing())
		}
		torn = kept - n
	}
	missed, left := SignIn(t, s, "ANZ-2", "").Fetch(2000)
	var whole []Frame
	for _, f := range missed {
		if series, _ := number(f); series == "m" {
			whole = append(whole, f)
		}
	}
	wantSeries(t, "in the end", whole, "m", 0, n)
	if left != "0" || len(missed) != n+torn {
		t.Errorf("%d messages came, %s are left, want %d", len(missed), left, n+torn)
	}
	t.Logf("lost 0 of %d; of those that were not accepted %d survived as well", n, torn)
}
