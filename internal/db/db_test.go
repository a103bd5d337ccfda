package db

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
	"github.com/seed-3d8c1042/switchboard/internal/postgres"
)

// next raises the counter "accounts" in a transaction of its own.
func next(ctx context.Context, d *DB) (n int64, err error) {
	err = d.Write(ctx, func(tx *Tx) error {
		n, err = tx.Next(ctx, "accounts")
		return err
	})
	return n, err
}

// value reads the counter.
func value(ctx context.Context, d *DB) (n int64, err error) {
	err = d.Read(ctx, func(tx *Tx) error {
		return tx.Row(ctx, "SELECT value FROM counters WHERE name = $1", "accounts").Scan(&n)
	})
	return n, err
}

func TestWhatIsWrittenIsThereWhenTheDatabaseIsOpenedAgain(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		first, err := Open(t.Context(), o)
		if err != nil {
			t.Fatal(err)
		}
		for want := int64(1); want <= 3; want++ {
			if n, err := next(t.Context(), first); n != want || err != nil {
				t.Fatalf("got %d, %v, want %d", n, err, want)
			}
		}
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if n, err := value(t.Context(), open(t, o)); n != 3 || err != nil {
			t.Errorf("got %d, %v, want 3", n, err)
		}
	})
}

func TestATransactionThatFailsChangesNothing(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		mine := errors.New("mine")
		err := d.Write(t.Context(), func(tx *Tx) error {
			if _, err := tx.Next(t.Context(), "accounts"); err != nil {
				return err
			}
			return mine
		})
		if !errors.Is(err, mine) {
			t.Errorf("got %v", err)
		}
		if n, err := value(t.Context(), d); n != 0 || err != nil {
			t.Errorf("got %d, %v, want 0", n, err)
		}
	})
}

func TestNumbersThatManyTakeAtOnceAreAllDifferent(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		const takers, each = 8, 10
		var mu sync.Mutex
		seen := map[int64]bool{}
		var all sync.WaitGroup
		for range takers {
			all.Go(func() {
				for range each {
					n, err := next(t.Context(), d)
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					seen[n] = true
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if len(seen) != takers*each {
			t.Errorf("got %d numbers, want %d", len(seen), takers*each)
		}
	})
}

func TestTwoTransactionsThatWaitForEachOtherBothEnd(t *testing.T) {
	d := open(t, Options{URL: postgres.Start(t, "deadlock_timeout=100ms").Database()})
	var both, all sync.WaitGroup
	both.Add(2)
	for _, order := range [][2]string{{"accounts", "keys"}, {"keys", "accounts"}} {
		all.Go(func() {
			var once sync.Once
			err := d.Write(t.Context(), func(tx *Tx) error {
				if _, err := tx.Next(t.Context(), order[0]); err != nil {
					return err
				}
				once.Do(func() { both.Done(); both.Wait() })
				_, err := tx.Next(t.Context(), order[1])
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if n, err := value(t.Context(), d); n != 2 || err != nil {
		t.Errorf("got %d, %v, want 2", n, err)
	}
}

func TestARowThatIsThereAlreadyIsAConflict(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		err := d.Write(t.Context(), func(tx *Tx) error {
			_, err := tx.Exec(t.Context(), "INSERT INTO counters (name, value) VALUES ($1, $2)", "accounts", 1)
			return err
		})
		if !errors.Is(err, ErrConflict) || errors.Is(err, ErrDown) {
			t.Errorf("twice: got %v", err)
		}
		err = d.Write(t.Context(), func(tx *Tx) error {
			_, err := tx.Exec(t.Context(), "INSERT INTO account_blocks (account, blocked, created_at) VALUES (1, 2, 3)")
			return err
		})
		if !errors.Is(err, ErrConflict) {
			t.Errorf("of nobody: got %v", err)
		}
	})
}

func TestAListOfParametersIsUnderstood(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		var names []string
		err := d.Read(t.Context(), func(tx *Tx) error {
			names = nil
			return tx.Each(t.Context(), "SELECT name FROM counters WHERE value = $1 AND name IN "+list(2, 3)+" ORDER BY name",
				func(row func(...any) error) error {
					var name string
					err := row(&name)
					names = append(names, name)
					return err
				}, 0, "keys", "accounts", "'; DROP TABLE counters; --")
		})
		if err != nil || fmt.Sprint(names) != "[accounts keys]" {
			t.Errorf("got %v, %v", names, err)
		}
	})
}

func TestWhoReadsCannotWrite(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		err := d.Read(t.Context(), func(tx *Tx) error {
			_, err := tx.Next(t.Context(), "accounts")
			return err
		})
		if err == nil {
			t.Error("a transaction that reads has written")
		}
	})
}

func TestTheFileIsItsOwnersOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "a ?#%.db") // a name that a URL would take apart
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	d := open(t, Options{Path: path})
	if _, err := next(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	files, err := os.ReadDir(dir)
	if err != nil || len(files) < 2 {
		t.Fatalf("got %v, %v: want the database and its log", files, err)
	}
	for _, f := range files {
		info, err := f.Info()
		if err != nil || info.Mode().Perm() != 0o600 || !strings.HasPrefix(f.Name(), "a ?#%.db") {
			t.Errorf("%s: got mode %v, %v", f.Name(), info.Mode(), err)
		}
	}
}

func TestBelowTheReserveOfTheDiskOnlyWhatMakesRoomIsWritten(t *testing.T) {
	free := uint64(100)
	d := open(t, Options{
		Path: filepath.Join(t.TempDir(), "switchboard.db"),
		Free: func() (uint64, error) { return free, nil }, MinFree: func() uint64 { return 100 },
	})
	if _, err := next(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	free = 99
	if _, err := next(t.Context(), d); !errors.Is(err, ErrFull) {
		t.Errorf("got %v", err)
	}
	err := d.Relieve(t.Context(), func(tx *Tx) error {
		_, err := tx.Next(t.Context(), "accounts")
		return err
	})
	if n, read := value(t.Context(), d); n != 2 || err != nil || read != nil {
		t.Errorf("got %d, %v, %v", n, err, read)
	}
}

func TestAServerThatStopsAndComesBackIsUsedAgain(t *testing.T) {
	server := postgres.Start(t)
	metrics := prometheus.NewRegistry()
	d := open(t, Options{URL: server.Database(), Metrics: metrics})
	if _, err := next(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	server.Stop()
	if _, err := next(t.Context(), d); !errors.Is(err, ErrDown) {
		t.Errorf("stopped: got %v", err)
	}
	if _, err := value(t.Context(), d); !errors.Is(err, ErrDown) {
		t.Errorf("stopped: got %v", err)
	}
	server.Start()
	if n, err := next(soon(t), d); n != 2 || err != nil {
		t.Errorf("back: got %d, %v", n, err)
	}
	server.Kill()
	if _, err := next(t.Context(), d); !errors.Is(err, ErrDown) {
		t.Errorf("killed: got %v", err)
	}
	server.Start()
	if n, err := next(soon(t), d); n != 3 || err != nil {
		t.Errorf("back again: got %d, %v", n, err)
	}
	want := "# HELP switchboard_db_errors_total Transactions with the database that failed: because it was gone (down), had no room (full), is damaged, had another row in the place (conflict), or else.\n" +
		"# TYPE switchboard_db_errors_total counter\n" +
		`switchboard_db_errors_total{kind="canceled"} 0` + "\n" + `switchboard_db_errors_total{kind="conflict"} 0` + "\n" + `switchboard_db_errors_total{kind="damaged"} 0` + "\n" +
		`switchboard_db_errors_total{kind="down"} 3` + "\n" + `switchboard_db_errors_total{kind="full"} 0` + "\n" + `switchboard_db_errors_total{kind="other"} 0` + "\n"
	if err := testutil.GatherAndCompare(metrics, strings.NewReader(want), "switchboard_db_errors_total"); err != nil {
		t.Error(err)
	}
}

func TestADatabaseThatHoldsSomebodyUpForTooLongIsDown(t *testing.T) {
	server := postgres.Start(t)
	url := server.Database()
	d := open(t, Options{URL: url, Timeout: 300 * time.Millisecond})
	other := open(t, Options{URL: url})
	err := other.Write(t.Context(), func(tx *Tx) error {
		if _, err := tx.Next(t.Context(), "accounts"); err != nil {
			return err
		}
		if _, err := next(t.Context(), d); !errors.Is(err, ErrDown) {
			t.Errorf("got %v", err)
		}
		// Who does not wait so long himself has not heard that it lives.
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
		defer cancel()
		if _, err := next(ctx, d); err == nil || !d.Down() {
			t.Errorf("got %v, down is %v", err, d.Down())
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	if n, err := next(t.Context(), d); n != 2 || err != nil {
		t.Errorf("afterwards: got %d, %v", n, err)
	}
	if d.Down() {
		t.Error("it is down when it has answered")
	}
}

func TestWhoeverLeavesHearsThatHeLeft(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		ctx, leave := context.WithCancel(t.Context())
		leave()
		if _, err := next(ctx, d); !errors.Is(err, context.Canceled) || errors.Is(err, ErrDown) {
			t.Errorf("got %v", err)
		}
	})
}

func TestOptionsThatCannotBeAreRefusedWithoutTheirPassword(t *testing.T) {
	for _, o := range []Options{{}, {Path: filepath.Join(t.TempDir(), "none", "x.db")}, {URL: "postgres://me:sesame@host:nonsense/x"}} {
		d, err := New(o)
		if err == nil {
			t.Errorf("%+v: no error, but %v", o, d)
		} else if strings.Contains(err.Error(), "sesame") {
			t.Errorf("the error shows the password: %v", err)
		}
	}
}

func TestAServerThatIsNotThereYetIsDownUntilItIs(t *testing.T) {
	server := postgres.Start(t)
	url := server.Database()
	server.Stop()
	d, err := New(Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Migrate(t.Context()); !errors.Is(err, ErrDown) {
		t.Errorf("migrate: got %v", err)
	}
	if _, err := next(t.Context(), d); !errors.Is(err, ErrDown) {
		t.Errorf("use: got %v", err)
	}
	server.Start()
	if err := d.Migrate(soon(t)); err != nil {
		t.Fatal(err)
	}
	if n, err := next(t.Context(), d); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

func TestThePageNamesEveryMetric(t *testing.T) {
	metrics := prometheus.NewRegistry()
	open(t, Options{Path: filepath.Join(t.TempDir(), "switchboard.db"), Metrics: metrics})
	nodetest.WantMetrics(t, nodetest.ReadCheckout(t, "docs/chat.md"), metrics, 3)
}
