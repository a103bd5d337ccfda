package bus

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

func openTable(t testing.TB, b *Bus) *Table {
	t.Helper()
	table, err := b.Table(t.Context(), "things")
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// secondTable is the table as another node would have it: with a memory of its
// own.
func secondTable(t testing.TB, b *Bus) *Table {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	table, err := b.newTable(t.Context(), "things")
	if err != nil {
		t.Fatal(err)
	}
	b.tables["things of another node"] = table // so that it is detached
	return table
}

// view is what a watcher of a table knows.
type view struct {
	mu   sync.Mutex
	rows map[string]string
	told chan struct{} // one for each change
}

func watch(t testing.TB, table *Table) *view {
	t.Helper()
	v := &view{rows: map[string]string{}, told: make(chan struct{}, 10_000)}
	t.Cleanup(table.Watch(func(key string, row []byte) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if row == nil {
			delete(v.rows, key)
		} else {
			v.rows[key] = string(row)
		}
		v.told <- struct{}{}
	}))
	return v
}

func (v *view) is(want map[string]string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	return maps.Equal(v.rows, want)
}

// comes waits until the watcher knows just these rows.
func (v *view) comes(t testing.TB, want map[string]string) {
	t.Helper()
	late := time.After(time.Minute)
	for !v.is(want) {
		select {
		case <-v.told:
		case <-late:
			t.Fatalf("a watcher knows %v, want %v", v.rows, want)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAWriterSeesItsOwnRowsAtOnceAndOthersSoon(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	one, two := openTable(t, b), secondTable(t, b)
	mine, theirs := watch(t, one), watch(t, two)
	want := map[string]string{}
	for i := range 50 {
		key := fmt.Sprint("k", i%7)
		switch {
		case i%5 == 4:
			must(t, one.Delete(t.Context(), key))
			delete(want, key)
		default:
			must(t, one.Put(t.Context(), key, fmt.Append(nil, "v", i)))
			want[key] = fmt.Sprint("v", i)
		}
		if row, _, _ := one.Get(key); !mine.is(want) || string(row) != want[key] {
			t.Fatalf("after change %d its watcher knows %v, want %v", i, mine.rows, want)
		}
	}
	theirs.comes(t, want)
	watch(t, two).comes(t, want) // one that comes later
	must(t, two.Put(t.Context(), "k0", []byte("theirs")))
	want["k0"] = "theirs"
	mine.comes(t, want)
}

func TestOfTwoThatMakeARowOneSucceeds(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	one, two := openTable(t, b), secondTable(t, b)
	for round := range 5 {
		key := fmt.Sprint("k", round%2) // some were there before, and are gone
		errs := make([]error, 8)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() {
				table := one
				if i%2 == 1 {
					table = two
				}
				errs[i] = table.Create(t.Context(), key, fmt.Append(nil, i))
			})
		}
		all.Wait()
		winner := -1
		for i, err := range errs {
			switch {
			case err == nil && winner < 0:
				winner = i
			case !errors.Is(err, ErrExists):
				t.Fatalf("writer %d: %v, and %d had made it", i, err, winner)
			}
		}
		if got, _, _ := one.Get(key); winner < 0 || winner%2 == 0 && string(got) != fmt.Sprint(winner) {
			t.Fatalf("%d made it, it is %q", winner, got)
		}
		must(t, two.Delete(t.Context(), key))
		watch(t, one).comes(t, map[string]string{})
	}
	if err := one.Create(t.Context(), "fresh", []byte("x")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, one.Create(t.Context(), "fresh", []byte("y")), ErrExists)
}

func TestATableSurvivesRestarts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want := map[string]string{}
	for round := range 4 {
		b := open(t, dir)
		table := openTable(t, b)
		v := watch(t, table)
		if !v.is(want) {
			t.Fatalf("round %d begins with %v, want %v", round, v.rows, want)
		}
		for i := range 200 {
			key, row := fmt.Sprint("k", (round*31+i)%40), fmt.Sprint(round, " ", i, strings.Repeat("x", 500))
			if i%3 == 2 {
				must(t, table.Delete(t.Context(), key))
				delete(want, key)
				continue
			}
			must(t, table.Put(t.Context(), key, []byte(row)))
			want[key] = row
		}
		shut(t, b)
	}
}

func TestATableGoesOnWhenTheServerIsStartedAnew(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	one, two := openTable(t, b), secondTable(t, b)
	mine, theirs := watch(t, one), watch(t, two)
	must(t, one.Put(t.Context(), "a", []byte("1")))
	must(t, one.Put(t.Context(), "b", []byte("1")))
	theirs.comes(t, map[string]string{"a": "1", "b": "1"})
	b.current.Load().fail(errors.New("for the test"))
	if err := one.Put(t.Context(), "a", []byte("2")); err == nil {
		t.Fatal("a server that failed stored something")
	}
	must(t, b.Recover(t.Context()))
	must(t, two.Put(t.Context(), "a", []byte("3")))
	must(t, two.Delete(t.Context(), "b"))
	mine.comes(t, map[string]string{"a": "3"})
	theirs.comes(t, map[string]string{"a": "3"})
}

// What a node missed while it was away, it is told when it is back, also when no
// trace is left of what went.
func TestRowsThatWentUnseenAreToldAsGone(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	table := openTable(t, b)
	v := watch(t, table)
	must(t, table.Put(t.Context(), "a", []byte("1")))
	must(t, table.Put(t.Context(), "b", []byte("1")))
	e, err := b.engine()
	must(t, err)
	b.mu.Lock()
	table.detach()
	b.mu.Unlock()
	stream, err := e.js.Stream(t.Context(), table.name)
	must(t, err)
	must(t, stream.Purge(t.Context(), jetstream.WithPurgeSubject(table.prefix+"a")))
	_, err = e.js.PublishMsg(t.Context(), &nats.Msg{Subject: table.prefix + "c", Data: []byte("1")})
	must(t, err)
	b.mu.Lock()
	err = table.attach(t.Context(), e)
	b.mu.Unlock()
	must(t, err)
	if !v.is(map[string]string{"b": "1", "c": "1"}) {
		t.Fatalf("it knows %v", v.rows)
	}
}

// Whoever makes and deletes rows for ever must not make memory or disk grow.
func TestWhatIsGoneLeavesNothingInMemoryAndAMessageForADayOnDisk(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	table := openTable(t, b)
	for i := range 100 {
		must(t, table.Create(t.Context(), fmt.Sprint("k", i), []byte("x")))
		must(t, table.Delete(t.Context(), fmt.Sprint("k", i)))
	}
	other := secondTable(t, b) // which has them from the feed alone
	must(t, table.Put(t.Context(), "last", []byte("x")))
	watch(t, other).comes(t, map[string]string{"last": "x"})
	other.mu.Lock()
	n := len(other.rows)
	other.mu.Unlock()
	if n != 1 {
		t.Errorf("%d rows are in memory", n)
	}
	e, err := b.engine()
	must(t, err)
	stream, err := e.js.Stream(t.Context(), table.name)
	must(t, err)
	m, err := stream.GetLastMsgForSubject(t.Context(), table.prefix+"k7")
	must(t, err)
	if life := m.Header.Get(jetstream.MsgTTLHeader); life != "24h0m0s" || len(m.Data) > 0 {
		t.Errorf("it lives for %s: %v", life, m)
	}
}

func TestATableTakesNoRowThatIsNone(t *testing.T) {
	t.Parallel()
	b := open(t, t.TempDir())
	table := openTable(t, b)
	for _, key := range []string{"", "a.b", "a b", "*", ">", "ä", strings.Repeat("k", 129)} {
		if err := table.Put(t.Context(), key, []byte("x")); err == nil {
			t.Errorf("took the key %q", key)
		}
	}
	for _, row := range [][]byte{nil, {}, make([]byte, maxRow+1)} {
		if err := table.Put(t.Context(), "k", row); err == nil {
			t.Errorf("took %d bytes", len(row))
		}
	}
	must(t, table.Put(t.Context(), "k", make([]byte, maxRow)))
	for _, name := range []string{"", "a.b", "a b", ">"} {
		if _, err := b.Table(t.Context(), name); err == nil {
			t.Errorf("took the name %q", name)
		}
	}
	shut(t, b)
	wantErr(t, table.Put(t.Context(), "k", []byte("x")), errStopped)
	wantErr(t, table.Create(t.Context(), "k", []byte("x")), errStopped)
	wantErr(t, table.Delete(t.Context(), "k"), errStopped)
	if _, err := b.Table(t.Context(), "other"); !errors.Is(err, errStopped) {
		t.Errorf("got %v", err)
	}
}

// tableWriterDir is the variable of who changes a table, tableWriterFrom that of
// the change to begin with.
const (
	tableWriterDir  = "SWITCHBOARD_BUS_TEST_TABLE_WRITER"
	tableWriterFrom = "SWITCHBOARD_BUS_TEST_TABLE_WRITER_FROM"
)

// tableChange is change i of the helper process: a key, and its row, empty for
// one that goes.
func tableChange(i int) (key, row string) {
	key = fmt.Sprint("k", i*i%23)
	if i%4 == 3 {
		return key, ""
	}
	return key, fmt.Sprint(i, " ", strings.Repeat("x", 20_000))
}

// writeTable makes one change after the other.
func writeTable(ctx context.Context, b *Bus) error {
	table, err := b.Table(ctx, "things")
	if err != nil {
		return err
	}
	i, err := strconv.Atoi(os.Getenv(tableWriterFrom))
	if err != nil {
		return err
	}
	for ; ; i++ {
		if key, row := tableChange(i); row == "" {
			err = table.Delete(ctx, key)
		} else {
			err = table.Put(ctx, key, []byte(row))
		}
		if err != nil {
			return err
		}
		fmt.Println(i)
	}
}

func TestRowsThatWereAcknowledgedSurviveAKill(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	want, next := map[string]string{}, 0
	apply := func(i int) map[string]string {
		after := maps.Clone(want)
		if key, row := tableChange(i); row == "" {
			delete(after, key)
		} else {
			after[key] = row
		}
		return after
	}
	for round := range 5 {
		// The blocks of the store change several times.
		killWriter(t, []string{tableWriterDir + "=" + dir, fmt.Sprint(tableWriterFrom, "=", next)}, 300+100*round, func(line string) {
			if line != fmt.Sprint(next) {
				t.Errorf("the helper says %q, change %d is due", line, next)
			}
			want = apply(next)
			next++
		})
		b := open(t, dir)
		v := watch(t, openTable(t, b))
		if begun := apply(next); v.is(begun) && !maps.Equal(begun, want) {
			want = begun
			next++
		}
		if !v.is(want) {
			t.Fatalf("round %d: %d rows, want %d; change %d was the next", round, len(v.rows), len(want), next)
		}
		shut(t, b)
	}
}

func TestARowIsRemovedOnlyIfItIsTheOneThatIsMeant(t *testing.T) {
	b := open(t, t.TempDir())
	one, other := openTable(t, b), secondTable(t, b)
	if err := one.Create(t.Context(), "a", []byte("1")); err != nil {
		t.Fatal(err)
	}
	_, first, _ := one.Get("a")
	if err := other.Put(t.Context(), "a", []byte("2")); err != nil {
		t.Fatal(err)
	}
	if err := one.Remove(t.Context(), "a", first); !errors.Is(err, ErrChanged) {
		t.Errorf("got %v", err)
	}
	row, second, ok := one.Get("a") // as it is by now
	if !ok || string(row) != "2" {
		t.Fatalf("the row is %q, %v", row, ok)
	}
	if err := one.Remove(t.Context(), "a", second); err != nil {
		t.Error(err)
	}
	if _, _, ok := one.Get("a"); ok {
		t.Error("the row is still there")
	}
	if err := one.Remove(t.Context(), "a", second); !errors.Is(err, ErrChanged) {
		t.Errorf("a row that is gone: %v", err)
	}
	if err := one.Create(t.Context(), "a", []byte("3")); err != nil {
		t.Error(err)
	}
}
