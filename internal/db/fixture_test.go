package db

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/postgres"
)

func TestMain(m *testing.M) {
	if asked() {
		return // this process was a part of a test
	}
	goleak.VerifyTestMain(everything{m})
}

// everything runs the tests, and ends what they share.
type everything struct{ tests *testing.M }

// Run implements goleak.TestingM.
func (m everything) Run() int {
	code := m.tests.Run()
	if err := postgres.End(); err != nil {
		fmt.Println(err)
		return max(code, 1)
	}
	return code
}

// onBoth runs a test on an empty database of each kind. Opening it again with the
// same options finds what is there.
func onBoth(t *testing.T, test func(t *testing.T, o Options)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, Options{Path: filepath.Join(t.TempDir(), "switchboard.db")})
	})
	t.Run("postgres", func(t *testing.T) {
		test(t, Options{URL: postgres.Database(t)})
	})
}

// open opens a database, which is closed with the test.
func open(t *testing.T, o Options) *DB {
	t.Helper()
	d, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// patience is how long anything may take before it counts as failed.
const patience = time.Minute

// soon is a context that is long enough for anything.
func soon(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}

// eventually waits until cond holds, looking again and again.
func eventually(t *testing.T, what string, cond func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); !cond(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("not within %s: %s", patience, what)
		}
	}
}
