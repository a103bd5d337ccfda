package db

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/chat"
	"github.com/seed-3d8c1042/switchboard/internal/postgres"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// longRoom fills a room with messages, of which each has the word "all" and every
// hundredth "rare".
func longRoom(t *testing.T, d *DB, messages int64) chat.Room {
	t.Helper()
	r := chat.Room{OneToOne: false, Name: "long", Members: 1, LastSeq: messages}
	words := func(seq int64) []string {
		if seq%100 == 0 {
			return []string{"all", "rare"}
		}
		return []string{"all", fmt.Sprint("n", seq)}
	}
	const part = 2000
	for from := int64(0); from < messages; from += part {
		err := d.Chat().Write(soon(t), func(tx chat.Tx) (err error) {
			if from == 0 {
				if r.N, err = tx.NextRoom(); err != nil {
					return err
				}
				r.ID = idOf(r.N, 0)
				if _, err = tx.AddRoom(&r); err != nil {
					return err
				}
			}
			var list []chat.Message
			var index []chat.Word
			for seq := from + 1; seq <= min(from+part, messages); seq++ {
				list = append(list, chat.Message{Room: r.N, Seq: seq, ID: idOf(r.N, seq), Author: 1 + seq%50, Content: []byte(`"all"`), At: seq})
				for _, w := range words(seq) {
					index = append(index, chat.Word{Room: r.N, Seq: seq, Word: w})
				}
			}
			if err := tx.AddMessages(list); err != nil {
				return err
			}
			return tx.AddWords(index)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return r
}

// idOf makes an ID of two numbers.
func idOf(a, b int64) wire.ID {
	id, err := wire.NewID(time.UnixMilli(1_764_000_000_000), strings.NewReader("0123456789"))
	if err != nil {
		panic(err)
	}
	return id.Derive(fmt.Sprint(a, " ", b))
}

// inOrder says whether what a query reads is read in its order, and never sorted.
func inOrder(query text) bool { return query == wordQuery || query == changedQuery }

// plan returns how a database would carry a query out.
func plan(t *testing.T, d *DB, query text, args ...any) string {
	t.Helper()
	var lines []string
	err := d.Read(soon(t), func(tx *Tx) error {
		if d.kind == onServer {
			if inOrder(query) {
				if err := (&chatTx{ctx: soon(t), Tx: tx}).ordered(); err != nil {
					return err
				}
			}
			return tx.Each(soon(t), "EXPLAIN "+query, func(row func(...any) error) error {
				var line string
				err := row(&line)
				lines = append(lines, line)
				return err
			}, args...)
		}
		return tx.Each(soon(t), "EXPLAIN QUERY PLAN "+query, func(row func(...any) error) error {
			var a, b, c int64
			var line string
			err := row(&a, &b, &c, &line)
			lines = append(lines, line)
			return err
		}, args...)
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(lines, "\n")
}

// Whatever is read page by page is read by an index, however long the history is and
// however common a word. What is sorted then is the page, and of words nothing.
func TestPagesAreReadByAnIndex(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		r := longRoom(t, d, 20_000)
		for _, analyzed := range []bool{false, true} {
			if analyzed {
				if _, err := d.write.ExecContext(soon(t), "ANALYZE"); err != nil {
					t.Fatal(err)
				}
			}
			for what, query := range map[string]struct {
				text text
				args []any
			}{
				"the newest page":   {historyDown, []any{r.N, 19_950, 20_000}},
				"a page in between": {historyDown, []any{r.N, 6949, 6999}},
				"a page forwards":   {historyUp, []any{r.N, 7001, 7051}},
				"a common word":     {wordQuery, []any{r.N, "all", 20_000, 256}},
				"a rare word":       {wordQuery, []any{r.N, "rare", 20_000, 256}},
				"one's own unread":  {ownQuery, []any{r.N, 7, 19_000, 19_100}},
				"changes":           {changedQuery, []any{r.N, 1, 200}},
			} {
				p := plan(t, d, query.text, query.args...)
				for _, bad := range []string{"Seq Scan", "SCAN", "Sort", "TEMP B-TREE"} {
					if strings.Contains(p, bad) && (bad != "Sort" || inOrder(query.text)) {
						t.Errorf("%s, analyzed %t:\n%s", what, analyzed, p)
					}
				}
			}
		}
	})
}

// A page in the middle of a long history reads as many rows as the newest.
func TestAnyPageReadsTheSame(t *testing.T) {
	d := open(t, Options{URL: postgres.Database(t)})
	r := longRoom(t, d, 20_000)
	if _, err := d.write.ExecContext(soon(t), "VACUUM ANALYZE"); err != nil {
		t.Fatal(err)
	}
	touched := func(query text, args ...any) int64 {
		t.Helper()
		p := plan(t, d, "(ANALYZE, BUFFERS, TIMING OFF, SUMMARY OFF) "+query, args...)
		var hit, read int64
		_, buffers, _ := strings.Cut(p, "Buffers: shared ")
		for field := range strings.FieldsSeq(buffers) {
			_, _ = fmt.Sscanf(field, "hit=%d", &hit)
			if n, _ := fmt.Sscanf(field, "read=%d", &read); n == 1 || strings.Contains(field, "Planning") {
				break
			}
		}
		if hit+read == 0 {
			t.Fatalf("no blocks in\n%s", p)
		}
		return hit + read
	}
	newest := touched(historyDown, r.N, 19_950, 20_000)
	for _, before := range []int64{19_000, 10_000, 5000, 52} {
		if n := touched(historyDown, r.N, before-51, before-1); n > 2*newest {
			t.Errorf("the page before %d touches %d blocks, the newest %d", before, n, newest)
		}
	}
	for _, most := range []int64{20_000, 10_000, 300} {
		if n := touched(wordQuery, r.N, "all", most, 256); n > 20 {
			t.Errorf("256 places of a common word from %d on touch %d blocks", most, n)
		}
	}
}

// A room's rows leave bit by bit; whoever looks meanwhile does not find the room.
func TestWhatWasInARoomIsClearedAwayInParts(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		r := longRoom(t, d, 3000)
		kept := longRoom(t, d, 10)
		if err := d.Chat().Write(soon(t), func(tx chat.Tx) error { return tx.DropRoom(r.N) }); err != nil {
			t.Fatal(err)
		}
		parts := 0
		for more := true; more; parts++ {
			var err error
			if more, err = d.Chat().Sweep(soon(t)); err != nil {
				t.Fatal(err)
			}
		}
		if parts < 6 {
			t.Errorf("all at once, in %d parts", parts)
		}
		err := d.Read(soon(t), func(tx *Tx) error {
			for _, query := range []text{
				"SELECT count(*) FROM chat_messages WHERE room <> $1", "SELECT count(*) FROM chat_words WHERE room <> $1", "SELECT count(*) FROM chat_gone WHERE room <> $1",
			} {
				var n int
				if err := tx.Row(context.Background(), query, kept.N).Scan(&n); err != nil || n > 0 {
					t.Errorf("%s: %d are left, %v", query, n, err)
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

// Rooms are locked in the order of their numbers, so those who lock several do not wait
// for each other in a circle.
func TestWritersOfTheSameRoomsDoNotBlockEachOther(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		a, b := longRoom(t, d, 1), longRoom(t, d, 1)
		done := make(chan error, 8)
		for i := range cap(done) {
			go func() {
				order := []wire.ID{a.ID, b.ID}
				if i%2 == 1 {
					order = []wire.ID{b.ID, a.ID}
				}
				for range 20 {
					err := d.Chat().Write(context.Background(), func(tx chat.Tx) error {
						rooms, err := tx.Lock(order)
						if err != nil {
							return err
						}
						for _, r := range rooms {
							r.LastAt++
							if err := tx.PutRoom(r); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						done <- err
						return
					}
				}
				done <- nil
			}()
		}
		for range cap(done) {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		err := d.Chat().Read(soon(t), func(v chat.View) error {
			r, err := v.Room(a.ID)
			if err == nil && r.LastAt != int64(20*cap(done)) {
				t.Errorf("%d of %d changes took effect", r.LastAt, 20*cap(done))
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}
