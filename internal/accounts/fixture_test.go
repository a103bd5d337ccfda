package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/db"
	"github.com/seed-3d8c1042/switchboard/internal/postgres"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(everything{m})
}

// everything runs the tests, and ends what they share.
type everything struct{ tests *testing.M }

// Run implements goleak.TestingM.
func (m everything) Run() int {
	code := m.tests.Run()
	if err := postgres.End(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// world is a room of accounts on a real database, at a time that the test sets.
type world struct {
	t       *testing.T
	options accounts.Options
	room    *accounts.Room
	db      *db.DB
	store   *db.Accounts
	metrics *prometheus.Registry

	mu  sync.Mutex
	now time.Time
}

const (
	password = "correct horse"
	address  = "192.0.2.1:4711"
)

// onBoth runs a test on each kind of database.
func onBoth(t *testing.T, test func(t *testing.T, w *world)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) {
		test(t, newWorld(t, db.Options{Path: filepath.Join(t.TempDir(), "switchboard.db")}))
	})
	t.Run("postgres", func(t *testing.T) { test(t, newWorld(t, db.Options{URL: postgres.Database(t)})) })
}

// onFile returns a world on SQLite, for what does not depend on the database.
func onFile(t *testing.T) *world {
	t.Helper()
	return newWorld(t, db.Options{Path: filepath.Join(t.TempDir(), "switchboard.db")})
}

func newWorld(t *testing.T, o db.Options) *world {
	t.Helper()
	d, err := db.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{t: t, db: d, store: d.Accounts(), now: time.Date(2026, 11, 26, 8, 30, 0, 0, time.UTC)}
	w.options = accounts.Options{
		Store: w.store, App: "chat", AppID: "chat-id", SignUp: true,
		Lifetimes: accounts.Lifetimes{Access: 15 * time.Minute, Refresh: 720 * time.Hour, Reset: time.Hour},
		Limits:    func() accounts.Limits { return accounts.Limits{SignUps: 1000, Sessions: 100, Blocks: 10} },
		Cost:      accounts.Cost{Memory: 64, Passes: 1, Threads: 1},
		Now:       w.time,
	}
	w.build(func(*accounts.Options) {})
	return w
}

// build makes the room anew, with other options.
func (w *world) build(change func(o *accounts.Options)) {
	w.t.Helper()
	w.metrics = prometheus.NewRegistry()
	w.options.Metrics = w.metrics
	change(&w.options)
	w.room = w.another(w.options)
}

// another makes one more room on the same database: another node.
func (w *world) another(o accounts.Options) *accounts.Room {
	w.t.Helper()
	room, err := accounts.New(o)
	if err != nil {
		w.t.Fatal(err)
	}
	return room
}

func (w *world) time() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.now
}

// pass lets time pass.
func (w *world) pass(d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.now = w.now.Add(d)
}

// signUp makes an account.
func (w *world) signUp(name string) wire.UserID {
	w.t.Helper()
	p, err := w.room.SignUp(w.t.Context(), address, name, password)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.room.UserOf(p.Number)
}

// signIn signs an account in.
func (w *world) signIn(name string) accounts.Tokens {
	w.t.Helper()
	tokens, err := w.room.SignIn(w.t.Context(), address, name, password)
	if err != nil {
		w.t.Fatal(err)
	}
	return tokens
}

// holder is who has a token.
func (w *world) holder(t accounts.Tokens) accounts.Holder {
	w.t.Helper()
	h, err := w.room.Verify(w.t.Context(), t.Access)
	if err != nil {
		w.t.Fatal(err)
	}
	return h
}

// member signs somebody up and in.
func (w *world) member(name string) accounts.Holder {
	w.t.Helper()
	w.signUp(name)
	return w.holder(w.signIn(name))
}

// good says whether a token is good.
func (w *world) good(t accounts.Tokens) bool {
	w.t.Helper()
	_, err := w.room.Verify(w.t.Context(), t.Access)
	if err != nil && !errors.Is(err, &accounts.Refusal{Code: accounts.CodeTokenExpired}) {
		w.t.Errorf("got %v", err)
	}
	return err == nil
}

// wantCode fails unless an error is a refusal with a code.
func wantCode(t *testing.T, what string, err error, code string) {
	t.Helper()
	if !errors.Is(err, &accounts.Refusal{Code: code}) {
		t.Errorf("%s: got %v, want %s", what, err, code)
	}
}

// count is the value of a counter.
func (w *world) count(name string) int {
	w.t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			return int(f.Metric[0].GetCounter().GetValue())
		}
	}
	w.t.Fatalf("there is no metric %s", name)
	return 0
}

// run runs a room until the test ends.
func run(t *testing.T, room *accounts.Room) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- room.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}
