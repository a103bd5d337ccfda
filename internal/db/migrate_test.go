package db

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/seed-3d8c1042/switchboard/internal/postgres"
)

// steps makes migrations of SQL, one file each.
func steps(texts ...string) fstest.MapFS {
	files := fstest.MapFS{}
	for i, one := range texts {
		files[fmt.Sprintf("%05d_step.sql", i+1)] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + one)}
	}
	return files
}

const (
	firstStep = "CREATE TABLE counters (name TEXT PRIMARY KEY, value BIGINT NOT NULL);\nINSERT INTO counters VALUES ('accounts', 0);\n"
	goodStep  = "ALTER TABLE counters ADD COLUMN more BIGINT;\nUPDATE counters SET value = 7;\n"
	badStep   = "ALTER TABLE counters ADD COLUMN more BIGINT;\nUPDATE counters SET value = 7;\nUPDATE nothing SET value = 7;\n"
	// longStep does not end in the time of a test, on either database.
	longStep = goodStep + "CREATE TABLE much AS WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000000000) SELECT count(*) AS c FROM n;\n"
)

func TestAStepThatFailsHalfWayHasNotHappened(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		o.migrations = steps(firstStep, badStep)
		if d, err := Open(t.Context(), o); err == nil {
			d.Close()
			t.Fatal("no error")
		}
		o.migrations = steps(firstStep)
		if n, err := value(t.Context(), open(t, o)); n != 0 || err != nil {
			t.Errorf("what was before: got %d, %v, want 0", n, err)
		}
		o.migrations = steps(firstStep, goodStep)
		if n, err := value(t.Context(), open(t, o)); n != 7 || err != nil {
			t.Errorf("the step anew: got %d, %v, want 7", n, err)
		}
	})
}

// theOther names the database that a process of its own is to migrate.
const theOther = "DB_TEST_MIGRATE"

// asked does what a test wants of a process of its own, and says whether it did.
func asked() bool {
	place := os.Getenv(theOther)
	if place == "" {
		return false
	}
	o := Options{Path: place, migrations: steps(firstStep, longStep)}
	if strings.HasPrefix(place, "postgres://") {
		o = Options{URL: place, migrations: o.migrations}
	}
	d, err := New(o)
	if err == nil {
		err = d.Migrate(context.Background())
	}
	fmt.Println("it ended:", err)
	return true
}

func TestAProcessThatIsKilledInAStepHasNotTakenIt(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		if o.URL != "" { // one that notices at once that its client is gone
			o.URL = postgres.Start(t, "client_connection_check_interval=50ms").Database()
		}
		place := o.Path + o.URL
		before := o
		before.migrations = steps(firstStep)
		watching := open(t, before)

		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), theOther+"="+place)
		var out strings.Builder
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the other process is in the step", func() bool { return locked(t, watching) })
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Fatalf("it was not killed: %s", out.String())
		}
		eventually(t, "the step is undone", func() bool { return !locked(t, watching) })
		if n, err := value(t.Context(), watching); n != 0 || err != nil {
			t.Errorf("what was before: got %d, %v, want 0", n, err)
		}
		after := o
		after.migrations = steps(firstStep, goodStep)
		if n, err := value(t.Context(), open(t, after)); n != 7 || err != nil {
			t.Errorf("the step anew: got %d, %v, want 7", n, err)
		}
	})
}

// locked says whether somebody else holds what a step that changes the table
// counters holds.
func locked(t *testing.T, d *DB) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if d.kind == onServer {
		n := 0
		err := d.write.QueryRowContext(ctx, "SELECT count(*) FROM pg_locks WHERE relation = 'counters'::regclass AND mode = 'AccessExclusiveLock'").Scan(&n)
		if err != nil {
			t.Fatal(err)
		}
		return n > 0
	}
	c, err := d.write.Conn(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := c.ExecContext(ctx, "PRAGMA busy_timeout = 1"); err != nil {
		t.Fatal(err)
	}
	_, err = c.ExecContext(ctx, "BEGIN IMMEDIATE")
	if err == nil {
		_, err = c.ExecContext(ctx, "ROLLBACK")
		return err != nil
	}
	return errors.Is(classify(err), ErrDown)
}

func TestADatabaseThatIsNewerIsRefusedAndLeftAsItIs(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		o.migrations = steps(firstStep, goodStep, "UPDATE counters SET value = 8;\n")
		open(t, o)
		o.migrations = steps(firstStep)
		_, err := Open(t.Context(), o)
		if !errors.Is(err, ErrNewer) || !strings.Contains(err.Error(), "at version 3") || !strings.Contains(err.Error(), "up to 1;") {
			t.Errorf("got %v", err)
		}
		o.migrations = steps(firstStep, goodStep, "UPDATE counters SET value = 8;\n")
		if n, err := value(t.Context(), open(t, o)); n != 8 || err != nil {
			t.Errorf("got %d, %v, want 8", n, err)
		}
	})
}

func TestNodesThatStartAtOnceMigrateOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		if o.URL == "" {
			return // one process has the folder
		}
		o.migrations = steps(firstStep, "UPDATE counters SET value = value + 1;\n")
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				d, err := Open(t.Context(), o)
				if err != nil {
					t.Error(err)
					return
				}
				if n, err := value(t.Context(), d); n != 1 || err != nil {
					t.Errorf("got %d, %v, want 1", n, err)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	})
}

func TestTheStepsAreNumberedWithoutGapsAndHaveOnlyTypesThatBothKnow(t *testing.T) {
	files, err := ours.ReadDir("migrations")
	if err != nil {
		t.Fatal(err)
	}
	column := regexp.MustCompile(`(?m)^\s+([a-z_]+)\s+([A-Z]+)`)
	for i, f := range files {
		if !strings.HasPrefix(f.Name(), fmt.Sprintf("%05d_", i+1)) {
			t.Errorf("%s is number %d", f.Name(), i+1)
		}
		content, err := ours.ReadFile("migrations/" + f.Name())
		if err != nil {
			t.Fatal(err)
		}
		for _, found := range column.FindAllStringSubmatch(string(content), -1) {
			if found[2] != "TEXT" && found[2] != "BIGINT" {
				t.Errorf("%s: %s is %s", f.Name(), found[1], found[2])
			}
		}
	}
}

func TestAFileThatIsNoDatabaseIsSaidToBeDamagedUntilItIsReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "switchboard.db")
	if err := os.WriteFile(path, bytes.Repeat([]byte("garbage "), 1000), 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := New(Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Migrate(t.Context()); !errors.Is(err, ErrDamaged) || errors.Is(err, ErrDown) || !strings.Contains(err.Error(), path+" is damaged") {
		t.Errorf("got %v", err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Migrate(t.Context()); err != nil {
		t.Fatal(err)
	}
	if n, err := next(t.Context(), d); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
}

// A part that is damaged is found when it is read, and known of from then on; what is
// elsewhere in the file is served.
func TestDamageThatIsFoundWhileItRunsIsSaidAndStaysKnown(t *testing.T) {
	path := filepath.Join(t.TempDir(), "switchboard.db")
	d, err := Open(t.Context(), Options{Path: path})
	if err != nil {
		t.Fatal(err)
	}
	var page, size int64
	err = d.Read(t.Context(), func(tx *Tx) error {
		return errors.Join(
			tx.Row(t.Context(), "SELECT rootpage FROM sqlite_master WHERE name = 'chat_bans'").Scan(&page),
			tx.Row(t.Context(), "PRAGMA page_size").Scan(&size))
	})
	if err := errors.Join(err, d.Close()); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err == nil {
		_, err = f.WriteAt(bytes.Repeat([]byte("garbage "), 64), (page-1)*size)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	d = open(t, Options{Path: path, Log: slog.New(slog.NewTextHandler(&log, nil))})
	if d.Damaged() {
		t.Error("it is known before it is read")
	}
	for range 2 {
		err := d.Read(t.Context(), func(tx *Tx) error { return tx.Row(t.Context(), "SELECT count(by_whom) FROM chat_bans").Scan(new(int)) })
		if !errors.Is(err, ErrDamaged) || errors.Is(err, ErrDown) {
			t.Errorf("got %v", err)
		}
	}
	if n, err := next(t.Context(), d); n != 1 || err != nil {
		t.Errorf("got %d, %v", n, err)
	}
	if !d.Damaged() || d.Down() {
		t.Errorf("damaged is %v, down is %v", d.Damaged(), d.Down())
	}
	if said := log.String(); strings.Count(said, "level=ERROR") != 1 || !strings.Contains(said, path) {
		t.Errorf("the log says %s", said)
	}
}

func TestWhatIsLookedAfterIsThereAsSoonAsItCanBe(t *testing.T) {
	server := postgres.Start(t)
	url := server.Database()
	server.Stop()
	d, err := New(Options{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Tend(ctx) }()
	server.Start()
	eventually(t, "it is ready", d.Ready)
	server.Stop()
	eventually(t, "it is known to be gone", d.Down)
	server.Start()
	eventually(t, "it is known to be back", func() bool { return !d.Down() })
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
