package nearby

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"
)

// lagging is a log of which the first reader sees all but the last batch, as of a copy that
// is behind.
type lagging struct {
	*memLog
	lags bool
}

func (l *lagging) Replay(ctx context.Context, f func(seq uint64, batch []byte) error) (uint64, error) {
	if !l.lags {
		return l.memLog.Replay(ctx, f)
	}
	l.lags = false
	short := &memLog{batches: l.batches[:len(l.batches)-1]}
	return short.Replay(ctx, f)
}

func TestAKeeperThatHasReadTooLittleReadsAgainBeforeItServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "a")
		r.keep(0, "a", 1)
		r.put("a", "app-7", 5)
		time.Sleep(2 * saveEvery)
		synctest.Wait()
		r.rooms["a"].End(0)
		log := &lagging{r.logs[0], true}
		next, err := New(Options{
			Node: "b", Shards: 1, Now: time.Now, Logger: slog.New(slog.DiscardHandler),
			Logs: func(context.Context, int) (Log, error) { return log, nil },
		})
		if err != nil {
			t.Fatal(err)
		}
		next.Attach(rigOwners{r, "b"})
		if err := next.Begin(t.Context(), 0, 2); !errors.Is(err, ErrFenced) {
			t.Fatalf("who has not read the last batch begins: %v", err)
		}
		if err := next.Begin(t.Context(), 0, 2); err != nil {
			t.Fatal(err)
		}
		known := false
		next.Get("app", "app-7", func(_ Position, is bool, err error) { known = is && err == nil })
		if !known {
			t.Error("what the last batch has is not known")
		}
		next.End(0)
	})
}

func TestAKeeperThatWasReplacedWritesNothingMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "a", "b")
		r.keep(0, "a", 1)
		r.put("a", "app-7", 5)
		r.keep(0, "b", 2)
		before := len(r.logs[0].batches)
		time.Sleep(3 * saveEvery)
		synctest.Wait()
		for _, batch := range r.logs[0].batches[before:] {
			if term, err := scan(batch); err != nil || term != 2 {
				t.Errorf("behind the new keeper's there is a batch of term %d, %v", term, err)
			}
		}
	})
}

// holdingOwners are others' that hold back what they are asked, until they are let.
type holdingOwners struct {
	rigOwners
	held *[]func()
}

func (o holdingOwners) Request(shard int, request []byte, answer func(reply []byte, err error)) {
	*o.held = append(*o.held, func() { o.rigOwners.Request(shard, request, answer) })
}

// What waits for a keeper is not overtaken by what is said once the keeper is here: who
// hides last is hidden.
func TestWhatIsSaidLaterIsTakenInLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "a")
		held := new([]func())
		r.rooms["a"].Attach(holdingOwners{rigOwners{r, "a"}, held})
		ignore := func(error) {}
		r.rooms["a"].Put("app", "app-7", Position{Lat: 1}, ignore)
		if err := r.rooms["a"].Begin(r.ctx, 0, 1); err != nil {
			t.Fatal(err)
		}
		r.owner[0] = "a"
		r.rooms["a"].Put("app", "app-7", Position{Lat: 2}, ignore)
		r.rooms["a"].Hide("app", "app-7", ignore)
		for len(*held) > 0 {
			next := (*held)[0]
			*held = (*held)[1:]
			next()
		}
		if r.known("a", "app-7") {
			t.Error("what was said before brings back who has hidden")
		}
	})
}
