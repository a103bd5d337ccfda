package db

import (
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/chat"
)

// historyVariable says how long the history is; where it is set pages are timed, too.
const historyVariable = "ROOM_HISTORY"

// Any page of a long history is whole, stays what it is while new messages arrive, and,
// where the test is told to measure, costs at most twice the newest.
func TestALongHistory(t *testing.T) {
	length, measured := int64(20_000), false
	if text := os.Getenv(historyVariable); text != "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		length, measured = n, true
	}
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		r := longRoom(t, d, length)
		store := d.Chat()
		page := func(before int64) time.Duration {
			t.Helper()
			var list []chat.Message
			began := time.Now()
			err := store.Read(soon(t), func(v chat.View) (err error) {
				list, _, err = v.History(r.N, before, false, 50, 1<<20)
				return err
			})
			took := time.Since(began)
			if err != nil || len(list) != 50 || list[0].Seq != before-1 || list[49].Seq != before-50 {
				t.Fatalf("the page before %d has %d messages, %v", before, len(list), err)
			}
			return took
		}
		stop, done := make(chan struct{}), make(chan struct{})
		go arrive(t, store, &r, stop, done)
		times := make(map[string][]time.Duration)
		for range 200 {
			for name, before := range map[string]int64{"newest": length + 1, "middle": length / 2, "tenth": length / 10, "oldest": 51} {
				times[name] = append(times[name], page(before))
			}
		}
		close(stop)
		<-done
		newest := median(times["newest"])
		for name, list := range times {
			m := median(list)
			t.Logf("%s: %s, %.2f of the newest", name, m, float64(m)/float64(newest))
			if measured && m > 2*newest {
				t.Errorf("the %s page takes %s, the newest %s", name, m, newest)
			}
		}
		for word, most := range map[string]int64{"all": length, "rare": length / 2, "n7": length} {
			began := time.Now()
			err := store.Read(soon(t), func(v chat.View) error {
				list, err := v.WordList(r.N, word, most, 50)
				if want := map[string]int{"n7": 1}[word]; err == nil && len(list) != max(want, 50*(1-want)) {
					t.Errorf("%s: %d are found", word, len(list))
				}
				return err
			})
			if err != nil {
				t.Error(err)
			}
			t.Logf("the word %s: %s", word, time.Since(began))
		}
	})
}

// arrive sends messages to the room until it is to stop.
func arrive(t *testing.T, store *Chat, r *chat.Room, stop <-chan struct{}, done chan<- struct{}) {
	defer close(done)
	for seq := r.LastSeq + 1; ; seq++ {
		select {
		case <-stop:
			return
		case <-time.After(2 * time.Millisecond): // so that the database has something else to do
		}
		err := store.Write(soon(t), func(tx chat.Tx) error {
			return tx.AddMessages([]chat.Message{{Room: r.N, Seq: seq, ID: idOf(r.N, seq), Author: 1, Content: []byte(`1`), At: seq}})
		})
		if err != nil {
			t.Error(err)
			return
		}
	}
}

func median(list []time.Duration) time.Duration {
	sorted := slices.Sorted(slices.Values(list))
	return sorted[len(sorted)/2]
}
