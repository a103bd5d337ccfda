package webhooks

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestAFrameOfAReplayIsTheSameEventWithANewTime(t *testing.T) {
	text := []byte("{\"type\":\"delivered\",\n \"timestamp\":\"2026-11-01T00:00:00.000Z\",\"data\":{\"to\":\"ANZ-2\",\"from\":\"ANZ-1\"}}")
	plain, err := readFrame(1, numbered(1), text)
	if err != nil || plain.id != numbered(1) || plain.user != "ANZ-2" || !plain.since.Equal(time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)) || string(plain.body) != string(text) {
		t.Errorf("%+v, %v", plain, err)
	}
	again, err := readFrame(2, numbered(2), replayFrame(numbered(1), begin(), text))
	if err != nil || again.id != numbered(1) || again.queued != numbered(2) || again.user != "ANZ-2" || !again.since.Equal(begin()) || string(again.body) != string(text) {
		t.Errorf("%+v, %v", again, err)
	}
}

// What a receiver took and lost is posted once more, in order, under its IDs.
func TestWhatWasDeliveredCanBeReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, nil)
		s, _, end := onPipes(t, r)
		defer end()
		s.begin()
		var ids [3][]wire.ID
		for i := range ids {
			ids[i] = s.fill(5, 2)
			time.Sleep(time.Hour)
		}
		r.mu.Lock()
		r.good = nil
		r.mu.Unlock()
		done, err := s.room.Replay(t.Context(), billing, Replay{From: time.Now().Add(-150 * time.Minute), To: time.Now().Add(-30 * time.Minute), State: Delivered})
		if err != nil || done.Events != 20 || done.Next != nil {
			t.Fatalf("%+v, %v", done, err)
		}
		time.Sleep(time.Minute)
		s.judge(slices.Concat(ids[1], ids[2]), r.got())
		if n := len(s.history(Delivered)); n != 50 {
			t.Errorf("%d stand in the history", n)
		}
	})
}

// What was given up can be replayed although it is older than events are tried.
func TestWhatWasGivenUpHasTimeAgainWhenItIsReplayed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, func(w http.ResponseWriter, _ *http.Request, _ arrival) { w.WriteHeader(http.StatusInternalServerError) })
		s, _, end := onPipes(t, r)
		defer end()
		s.begin()
		ids := s.fill(7, 3)
		time.Sleep(80 * time.Hour)
		if n := len(s.history(Failed)); n != 21 {
			t.Fatalf("%d are given up", n)
		}
		done, err := s.room.Replay(t.Context(), billing, Replay{State: Failed})
		if err != nil || done.Events != 21 {
			t.Fatalf("%+v, %v", done, err)
		}
		time.Sleep(70 * time.Hour)
		if s.left() != 21 {
			t.Errorf("%d are left after 70 h", s.left())
		}
		r.set(nil)
		time.Sleep(2 * time.Minute)
		s.judge(ids, r.got())
	})
}

func TestAReplayIsBoundedAndGoesOnWhereItEnded(t *testing.T) {
	const all = 2*mostReplayed + 7
	records := make([]string, 0, 20)
	for n := 0; n < all; n += 1003 {
		records = append(records, strings.Repeat("d", min(1003, all-n)))
	}
	s := stopped(t, records...)
	var got []int
	for at := (ReplayCursor{}); ; {
		done, err := s.room.Replay(t.Context(), billing, Replay{State: Delivered, At: at})
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, done.Events)
		if done.Next == nil {
			break
		}
		at = *done.Next
	}
	if fmt.Sprint(got) != fmt.Sprint([]int{mostReplayed, mostReplayed, 7}) {
		t.Errorf("replayed %v", got)
	}
	for i, item := range s.queue.box(billing).items {
		if ev, err := readFrame(1, item.id, item.frame); err != nil || string(ev.body) != fmt.Sprintf(`{"n": %d}`, i+1) {
			t.Fatalf("item %d is %s", i, ev.body)
		}
	}
}

func TestAReplayReadsABoundedNumberOfRecordsAndGoesOnWhereItEnded(t *testing.T) {
	s := stopped(t)
	c := newClerk(t, s.archive)
	for range mostRead + 10 {
		c.write(billing, "d")
	}
	c.write(billing, "f")
	done, err := s.room.Replay(t.Context(), billing, Replay{State: Failed})
	if err != nil || done.Events != 0 || done.Next == nil {
		t.Fatalf("%+v, %v", done, err)
	}
	if done, err = s.room.Replay(t.Context(), billing, Replay{State: Failed, At: *done.Next}); err != nil || done.Events != 1 || done.Next != nil {
		t.Errorf("%+v, %v", done, err)
	}
}

// What a replay has sent again stands in the history too; its later pages, also
// those of a node that was started anew, leave that out.
func TestAReplayOfManyPagesReplaysEachEventOnce(t *testing.T) {
	for _, to := range []time.Time{{}, begin().Add(100 * 24 * time.Hour)} {
		const all = 12_000
		s := stopped(t)
		c := newClerk(t, s.archive)
		for range all / 1000 {
			c.write(billing, strings.Repeat("d", 1000))
		}
		pages := 0
		for at := (ReplayCursor{}); pages < 5; pages++ {
			done, err := s.room.Replay(t.Context(), billing, Replay{State: Delivered, To: to, At: at})
			if err != nil {
				t.Fatal(err)
			}
			c.write(billing, strings.Repeat("d", done.Events)) // it has arrived
			if done.Next == nil {
				break
			}
			at = *done.Next
		}
		if s.left() != all || pages != 1 {
			t.Errorf("up to %v: %d events are queued again, and there are %d pages more", to, s.left(), pages)
		}
	}
}

// stopped sets a stage with a history, whose room does not run.
func stopped(t *testing.T, records ...string) *stage {
	s := newStage(t, "http://receiver.example")
	s.options.Now = func() time.Time { return begin().Add(30 * 24 * time.Hour) }
	room, err := New(s.options)
	if err != nil {
		t.Fatal(err)
	}
	s.room = room
	c := newClerk(t, s.archive)
	for _, r := range records {
		c.write(billing, r)
	}
	return s
}

func TestAReplayStopsWhereTheQueueIsFullAndGoesOnThere(t *testing.T) {
	s := stopped(t, "dfd", "fdd")
	s.queue.full = 2
	done, err := s.room.Replay(t.Context(), billing, Replay{State: Delivered})
	if !errors.Is(err, ErrQueueFull) || done.Events != 2 || done.Next == nil || *done.Next != (ReplayCursor{Cursor{2, 1}, 2}) {
		t.Fatalf("%+v, %v", done, err)
	}
	s.queue.full = 0
	done, err = s.room.Replay(t.Context(), billing, Replay{State: Delivered, At: *done.Next})
	if err != nil || done.Events != 2 || done.Next != nil || s.left() != 4 {
		t.Errorf("%+v, %v, %d queued", done, err, s.left())
	}
}

func TestAReplayTakesTheTimeInWhichEventsEnded(t *testing.T) {
	s := stopped(t, "ddd", "ddd", "ddd")
	for _, c := range []struct{ from, to, want int }{{0, 0, 9}, {1, 9, 9}, {3, 5, 3}, {4, 0, 6}, {0, 2, 2}, {10, 0, 0}, {5, 4, 0}} {
		what := Replay{}
		if c.from > 0 {
			what.From = begin().Add(time.Duration(c.from) * time.Second)
		}
		if c.to > 0 {
			what.To = begin().Add(time.Duration(c.to) * time.Second)
		}
		if done, err := s.room.Replay(t.Context(), billing, what); err != nil || done.Events != c.want {
			t.Errorf("from %d to %d: %+v, %v", c.from, c.to, done, err)
		}
	}
}

func TestOneReplayOfAWebhookAtATime(t *testing.T) {
	s := stopped(t, "d")
	h, err := s.room.find(billing)
	if err != nil {
		t.Fatal(err)
	}
	h.replays.Lock()
	if _, err := s.room.Replay(t.Context(), billing, Replay{}); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v", err)
	}
	h.replays.Unlock()
	if _, err := s.room.Replay(t.Context(), Name{"ANZ", "none"}, Replay{}); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	for _, at := range []ReplayCursor{{Cursor{1, 5}, 1}, {Cursor{1, -1}, 1}, {Cursor{2, 0}, 1}, {Cursor{1, 0}, 0}} {
		if _, err := s.room.Replay(t.Context(), billing, Replay{At: at}); !errors.Is(err, ErrCursor) {
			t.Errorf("from %v: %v", at, err)
		}
	}
}

func TestATestSaysAtOnceWhatCameBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := answer(t, nil)
		s, network, end := onPipes(t, r)
		defer end()
		s.begin()
		got, err := s.room.Test(t.Context(), billing)
		if err != nil || !got.Delivered || got.Status != 204 || got.ID.IsZero() {
			t.Errorf("%+v, %v", got, err)
		}
		if a := r.got(); len(a) != 1 || a[0].id != got.ID.String() || a[0].text != `{"app":"ANZ"}` {
			t.Errorf("it got %+v", a)
		}
		network.set(errors.New("connection refused"))
		synctest.Wait() // the connection that was kept is known to be closed
		got, err = s.room.Test(t.Context(), billing)
		if err != nil || got.Delivered || got.Reason != "no answer: connection refused" {
			t.Errorf("%+v, %v", got, err)
		}
		if n := len(s.history(0)); n != 0 {
			t.Errorf("%d stand in the history", n)
		}
		if _, err := s.room.Test(t.Context(), Name{"ANZ", "none"}); !errors.Is(err, ErrUnknown) {
			t.Errorf("got %v", err)
		}
		h, _ := s.room.find(billing)
		for range mostTests {
			h.testing <- struct{}{}
		}
		if _, err := s.room.Test(t.Context(), billing); !errors.Is(err, ErrBusy) {
			t.Errorf("got %v", err)
		}
	})
}
