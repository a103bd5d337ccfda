package webhooks

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// numbered is the ID of event n.
func numbered(n int) wire.ID {
	return wire.ID{6: 0x70, 8: 0x80, 14: byte(n >> 8), 15: byte(n)}
}

// clerk writes histories for tests. Its events are numbered through; one ends
// each second.
type clerk struct {
	t       rapid.TB
	archive Archive
	scribes map[Name]*scribe
	n       int
}

func newClerk(t rapid.TB, a Archive) *clerk {
	return &clerk{t: t, archive: a, scribes: make(map[Name]*scribe)}
}

// write writes a record, given as letters: d for delivered, f for failed. It
// returns its events.
func (c *clerk) write(of Name, letters string) (events []Ended) {
	c.t.Helper()
	for _, letter := range letters {
		c.n++
		e := Ended{
			ID: numbered(c.n), State: Delivered, At: begin().Add(time.Duration(c.n) * time.Second),
			Attempts: c.n, Status: 200, Body: fmt.Appendf(nil, `{"n": %d}`, c.n),
		}
		if letter == 'f' {
			e.State, e.Reason = Failed, "no"
		}
		events = append(events, e)
	}
	s := c.scribes[of]
	if s == nil {
		s = &scribe{archive: c.archive, of: of}
		c.scribes[of] = s
	}
	if err := s.write(context.Background(), events); err != nil {
		c.t.Fatalf("%v", err)
	}
	return events
}

// readAll reads a history page by page.
func readAll(t rapid.TB, a Archive, of Name, state State, limit int) (all []Ended) {
	t.Helper()
	for at := (Cursor{}); ; {
		p, err := page(context.Background(), a, of, state, at, limit)
		if err != nil {
			t.Fatalf("%v", err)
		}
		if len(p.Events) > limit || len(p.Events) < limit && p.Next != nil {
			t.Fatalf("a page of %d has %d, more: %v", limit, len(p.Events), p.Next)
		}
		all = append(all, p.Events...)
		if p.Next == nil {
			return all
		}
		at = *p.Next
	}
}

func ofState(list []Ended, state State) []Ended {
	return slices.DeleteFunc(slices.Clone(list), func(e Ended) bool { return state != 0 && e.State != state })
}

func same(a, b []Ended) bool { return len(a) == 0 && len(b) == 0 || reflect.DeepEqual(a, b) }

func TestTheHistoryIsReadNewestFirstByStateInPages(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a := &memArchive{}
		c := newClerk(t, a)
		var want []Ended
		for range rapid.IntRange(0, 12).Draw(t, "records") {
			letters := rapid.StringMatching(`[df]{1,5}`).Draw(t, "record")
			if rapid.Bool().Draw(t, "of another webhook") {
				c.write(Name{"ANZ", "other"}, letters)
				continue
			}
			want = append(want, c.write(billing, letters)...)
			if rapid.IntRange(0, 3).Draw(t, "restart") == 0 {
				delete(c.scribes, billing)
			}
		}
		slices.Reverse(want)
		for state := range State(3) {
			limit := rapid.IntRange(1, 7).Draw(t, "limit")
			if got := readAll(t, a, billing, state, limit); !same(got, ofState(want, state)) {
				t.Fatalf("state %d: got %+v\nwant %+v", state, got, ofState(want, state))
			}
		}
	})
}

func TestReadingByStateReadsNoRecordInVain(t *testing.T) {
	a := &memArchive{}
	c := newClerk(t, a)
	c.write(billing, "ddf")
	for range 1000 {
		c.write(billing, "ddd")
	}
	c.write(billing, "df")
	p, err := page(t.Context(), a, billing, Failed, Cursor{}, 10)
	if err != nil || len(p.Events) != 2 || p.Next != nil || a.reads != 2 {
		t.Errorf("%+v, %v, after %d reads", p, err, a.reads)
	}
}

func TestOnePageReadsABoundedNumberOfRecords(t *testing.T) {
	a := &memArchive{}
	c := newClerk(t, a)
	for range 1000 {
		c.write(billing, "d")
	}
	p, err := page(t.Context(), a, billing, 0, Cursor{}, 1000)
	if err != nil || len(p.Events) != pageRecords || p.Next == nil || a.reads != pageRecords {
		t.Fatalf("%d events, %v, after %d reads", len(p.Events), err, a.reads)
	}
	rest, err := page(t.Context(), a, billing, 0, *p.Next, 1000)
	if err != nil || rest.Events[0].ID != numbered(1000-pageRecords) {
		t.Errorf("it goes on with %v, %v", rest.Events[0].ID, err)
	}
}

func TestOnePageHoldsABoundedNumberOfBytes(t *testing.T) {
	a := &memArchive{}
	s := scribe{archive: a, of: billing}
	for i := range 10 {
		if err := s.write(t.Context(), []Ended{{ID: numbered(i), State: Delivered, At: begin(), Body: make([]byte, pageBytes/2)}}); err != nil {
			t.Fatal(err)
		}
	}
	p, err := page(t.Context(), a, billing, 0, Cursor{}, 100)
	if err != nil || len(p.Events) != 2 || p.Next == nil || p.Next.Record != 8 {
		t.Errorf("%d events, %v, %v", len(p.Events), p.Next, err)
	}
}

func TestPagesStayInPlaceWhileTheHistoryGrowsAndIsTrimmed(t *testing.T) {
	a := &memArchive{}
	c := newClerk(t, a)
	c.write(billing, "ddd")
	c.write(billing, "ddd")
	first, err := page(t.Context(), a, billing, 0, Cursor{}, 2)
	if err != nil || first.Next == nil {
		t.Fatal(first, err)
	}
	c.write(billing, "ddd")
	next, err := page(t.Context(), a, billing, 0, *first.Next, 2)
	if err != nil || len(next.Events) != 2 || next.Events[0].ID != numbered(4) || next.Events[1].ID != numbered(3) {
		t.Errorf("%+v, %v", next, err)
	}
	a.drop(1)
	last, err := page(t.Context(), a, billing, 0, *next.Next, 2)
	if err != nil || len(last.Events) != 0 || last.Next != nil {
		t.Errorf("of what is gone: %+v, %v", last, err)
	}
}

func TestCursorsOfOthersAreRefused(t *testing.T) {
	a := &memArchive{}
	c := newClerk(t, a)
	c.write(billing, "dd")
	c.write(Name{"ANZ", "other"}, "dd")
	for _, at := range []Cursor{{Record: 2}, {Record: 1, Event: 2}} {
		if _, err := page(t.Context(), a, billing, 0, at, 10); !errors.Is(err, ErrCursor) {
			t.Errorf("%+v: %v", at, err)
		}
	}
}

func TestARecordThatIsNotOursIsAnError(t *testing.T) {
	a := &memArchive{records: []memRecord{{billing, begin(), []byte("what?")}}}
	if _, err := page(t.Context(), a, billing, 0, Cursor{}, 10); err == nil || !strings.Contains(err.Error(), "record 1: ") {
		t.Errorf("got %v", err)
	}
	s := scribe{archive: a, of: billing}
	if err := s.write(t.Context(), nil); err == nil {
		t.Error("it writes behind a record that it cannot read")
	}
}

func TestAnotherWriterIsNotOverlooked(t *testing.T) {
	a := &memArchive{}
	mine, other := newClerk(t, a), newClerk(t, a)
	mine.write(billing, "d")
	other.write(billing, "f")
	s := mine.scribes[billing]
	events := []Ended{{ID: numbered(9), State: Delivered, At: begin()}}
	if err := s.write(t.Context(), events); !errors.Is(err, ErrFollowed) {
		t.Fatalf("got %v", err)
	}
	if err := s.write(t.Context(), events); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, a, billing, 0, 10); len(got) != 3 || got[0].ID != numbered(9) || got[1].State != Failed {
		t.Errorf("got %+v", got)
	}
}

// A record of which it is not known whether it is stored is tried again as it was
// when the room stops, whatever has ended since: so its events stand there once.
func TestARecordThatMayBeStoredIsTriedAgainUnchangedInTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		archive := &memArchive{}
		archive.fail(errors.New("no answer"), true)
		h := newHook(Webhook{Of: billing}, Limits{}, &Options{Archive: archive, Logger: slog.New(slog.DiscardHandler)}, nil, nil)
		session, err := newMemQueue().Open(billing, 0, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := newArchivist(h, session)
		var running sync.WaitGroup
		running.Go(a.run)
		end := func(n int) {
			a.add(finished{uint64(n), Ended{ID: numbered(n), State: Delivered, At: begin(), Body: []byte("{}")}})
		}
		end(1)
		time.Sleep(2 * archiveGap) // it is tried, and to be tried again
		end(2)
		archive.fail(nil, false)
		a.stop(time.Second)
		running.Wait()
		all := readAll(t, archive, billing, 0, 10)
		if len(all) != 2 || all[0].ID != numbered(2) || all[1].ID != numbered(1) {
			t.Errorf("the history has %v", all)
		}
	})
}

func FuzzRecordsAreReadAsTheyWereWritten(f *testing.F) {
	f.Add(appendRecord(nil, record{of: billing, links: [2]uint64{1, 1 << 40}, events: []Ended{
		{ID: numbered(1), State: Delivered, At: begin(), Attempts: 3, Status: 204, Body: []byte("{}")},
		{ID: numbered(2), State: Failed, At: begin().Add(time.Millisecond), Reason: "no", Body: []byte(`{"a":1}`)},
	}}))
	f.Add([]byte{})
	f.Add([]byte{recordVersion, 0, 0, 0, 0, 1})
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := readRecord(b)
		if err != nil {
			return
		}
		again, err := readRecord(appendRecord(nil, r))
		if err != nil || !reflect.DeepEqual(r, again) {
			t.Errorf("%+v became %+v, %v", r, again, err)
		}
	})
}

func TestACutRecordIsRefused(t *testing.T) {
	whole := appendRecord(nil, record{of: billing, events: []Ended{{ID: numbered(1), State: Failed, At: begin(), Reason: "no", Body: []byte("{}")}}})
	for n := range whole {
		if _, err := readRecord(whole[:n]); err == nil {
			t.Errorf("%d of %d bytes are read", n, len(whole))
		}
	}
	if _, err := readRecord(append(whole, 0)); err == nil {
		t.Error("what follows is passed over")
	}
}
