package nodetest

import (
	"math/rand/v2"
	"testing"
)

// The seeds below always run. One that made a fault test fail is added here, with
// what it found. Seeds draw faults, sizes and receivers; what the machine does
// meanwhile they do not, so one run may pass where another failed.

// powerCutSeeds are those of TestAPowerCutLosesNothingThatWasAccepted.
func powerCutSeeds() []uint64 {
	return []uint64{
		377434953, // the log's second file was gone
	}
}

// mixSeeds are those of TestInAMixOfAllFaultsNothingAcceptedIsLost.
func mixSeeds() []uint64 { return nil }

// outageSeeds are those of TestWhateverHappensToItsNodesAClusterLosesNothing.
func outageSeeds() []uint64 { return nil }

// ringSeeds are those of TestWhateverHappensToItsDomainsARingLosesNothing.
func ringSeeds() []uint64 { return nil }

// faultSeedsToRun are the seeds of a fault test: those that always run, but with
// -short, and fresh new ones. FAULT_SEED is the only one if it is set.
func faultSeedsToRun(t *testing.T, always []uint64, fresh int) []uint64 {
	t.Helper()
	if n := numberFromEnvironment(t, "FAULT_SEED", 0); n > 0 {
		return []uint64{uint64(n)}
	}
	seeds := always
	if testing.Short() {
		seeds = nil
	}
	for range fresh {
		seeds = append(seeds, rand.Uint64N(1_000_000_000))
	}
	return seeds
}
