package journal

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// oldStore is a store that nobody serves any more, with what is to come of it.
type oldStore struct {
	m      *memory
	from   uint64  // where it begins
	events []Event // that it holds
	states map[[2]string]State
}

// newOldStore stores batches of events; of some only the states know any more, if gone.
func newOldStore(t failing, batches [][]Event, checkAfter int, gone bool) *oldStore {
	m := newMemory()
	m.mark = 7
	k := newKeeper(t, m)
	for i, events := range batches {
		k.put(t, int64(10_000+1000*i), request{source: "old", number: uint64(i + 1), events: events})
		if i == checkAfter {
			if err := k.o.check(context.Background(), true); err != nil {
				t.Fatal(err)
			}
			if gone {
				m.gone = m.last(0) - 1
			}
		}
	}
	return &oldStore{m, m.gone + 1, m.events(0), k.o.core.devices.states()}
}

// drawBatches draws what was stored. Each event has an ID of its own.
func drawBatches(t *rapid.T) (batches [][]Event) {
	for i := range rapid.IntRange(1, 30).Draw(t, "batches") {
		events := rapid.SliceOfN(rapid.Custom(drawEvent), 1, 8).Draw(t, "events")
		for k := range events {
			events[k].ID = fmt.Sprintf("old-%d-%d", i, k)
			if k == 7 {
				events[k].Type, events[k].Device = Traffic, ""
			}
		}
		batches = append(batches, events)
	}
	return batches
}

// importing is an import into a journal that two nodes keep, in turn.
type importing struct {
	m     *memory
	p     *place
	rooms []*Room
	at    int
	added int
}

func (w *importing) once(ctx context.Context, old *oldStore) (Imported, error) {
	archive, err := ReadArchive(ctx, old.m, old.m)
	if err != nil {
		return Imported{}, err
	}
	if first, err := archive.First(ctx); err != nil || first > old.from {
		return Imported{}, fmt.Errorf("it begins at %d, not at %d: %w", first, old.from, err)
	}
	archive.From = old.from
	return w.rooms[1].Import(ctx, &Import{Archive: archive, most: 10})
}

// happen has the import be killed after a while, and other things happen meanwhile.
func (w *importing) happen(t *testing.T, old *oldStore, s step) error {
	w.m.meet(s.faults...)
	ctx, kill := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() {
		_, err := w.once(ctx, old)
		ended <- err
	}()
	for i := range s.add {
		w.rooms[s.node].Note(Event{Type: Matched, Device: fmt.Sprint("device-", i), Amount: 1})
		w.added++
	}
	if s.move {
		w.rooms[w.at].End(0)
		w.at = 1 - w.at
		owned(t, w.rooms[w.at], w.p)
	}
	time.Sleep(time.Duration(s.add) * 20 * time.Millisecond)
	kill()
	if err := <-ended; err != nil && !errors.Is(err, context.Canceled) && !errors.Is(err, ErrUnknown) {
		return err
	}
	return nil
}

// judge compares what is stored with what there was.
func (w *importing) judge(old *oldStore) error {
	var brought, own []Event
	at, carried := int64(0), map[[2]string]int{}
	for _, e := range w.m.events(0) {
		switch {
		case e.Imported == 0:
			own = append(own, e)
			if e.Device != "other" && e.Stored < at {
				return fmt.Errorf("%s was stored at %d, after what came at %d", e.ID, e.Stored, at)
			}
		case e.Type == Carried:
			if carried[[2]string{e.App, e.Device}]++; carried[[2]string{e.App, e.Device}] > 1 {
				return fmt.Errorf("the state of %s was carried twice", e.Device)
			}
		default:
			is := e
			is.Imported = 0
			brought = append(brought, is)
		}
		at = max(at, e.Stored, e.Imported)
	}
	if !slices.EqualFunc(brought, old.events, func(a, b Event) bool { return reflect.DeepEqual(a, b) }) {
		return fmt.Errorf("there are\n%+v\nthere were\n%+v", brought, old.events)
	}
	want := folded(own)
	for key, s := range old.states {
		more := want[key]
		s.add(&more)
		want[key] = s
	}
	return same(w.rooms[w.at].owner(0).core.devices.states(), want)
}

// A story of two nodes, of which one is told of a store's events again and again, while the
// owner moves, writes fail in all ways, and others are told of events.
func TestAnImportBringsEveryEventAndStateOnceWhateverFails(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		batches := drawBatches(rt)
		old := newOldStore(rt, batches, rapid.IntRange(0, len(batches)-1).Draw(rt, "check after"), rapid.Bool().Draw(rt, "gone"))
		steps := rapid.SliceOfN(rapid.Custom(drawStep), 0, 8).Draw(rt, "steps")
		var err error
		synctest.Test(t, func(t *testing.T) {
			w := &importing{m: newMemory(), p: &place{}}
			w.m.clock = func() int64 { return time.Now().UnixMilli() }
			w.rooms = []*Room{newRoom(t, "a", w.p, w.m, roomy), newRoom(t, "b", w.p, w.m, roomy)}
			owned(t, w.rooms[0], w.p)
			stops := []func(){running(w.rooms[0]), running(w.rooms[1])}
			for _, s := range steps {
				if err == nil {
					err = w.happen(t, old, s)
				}
				if s.revise {
					old.m.gone = 0 // what was gone is there again
				}
			}
			var all Imported
			if err == nil {
				all, err = w.once(context.Background(), old)
			}
			for _, stop := range stops {
				stop()
			}
			if err == nil && (all.Events != len(old.events) || all.Conflicts != 0) {
				err = fmt.Errorf("of %d events it says %+v", len(old.events), all)
			}
			if err == nil {
				err = w.judge(old)
			}
			if done, failed := w.rooms[0].Rebuild(context.Background()); err == nil && (failed != nil || done.Changed != 0) {
				err = fmt.Errorf("made anew: %+v, %w", done, failed)
			}
			w.rooms[w.at].End(0)
		})
		if err != nil {
			rt.Fatal(err)
		}
	})
}

// Whoever sends events of before again finds them stored; whoever has sent others with
// their IDs meanwhile keeps those, which the import says.
func TestEventsOfAnImportAreKnownByTheirIDs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		event := func(id string, amount int64) Event {
			return Event{ID: id, Type: BytesSent, Device: "d", Amount: amount, At: 5000}
		}
		old := newOldStore(t, [][]Event{{event("again", 1), event("other", 2)}, {event("later", 3)}}, 0, false)
		w := &importing{m: newMemory(), p: &place{}}
		w.rooms = []*Room{newRoom(t, "a", w.p, w.m, roomy), newRoom(t, "b", w.p, w.m, roomy)}
		owned(t, w.rooms[0], w.p)
		stop := running(w.rooms[0])
		anyTime := event("again", 1) // nobody says when it happened
		anyTime.At = 0
		if err := w.rooms[0].Add(t.Context(), []Event{anyTime, event("other", 20)}); err != nil {
			t.Fatal(err)
		}
		if all, err := w.once(t.Context(), old); err != nil || all.Conflicts != 1 || all.Events != 3 {
			t.Errorf("%+v, %v", all, err)
		}
		if err := w.rooms[0].Add(t.Context(), []Event{event("later", 3)}); err != nil {
			t.Error(err)
		}
		if err := w.rooms[0].Add(t.Context(), []Event{event("later", 4)}); !errors.Is(err, ErrConflict) {
			t.Errorf("another event with the ID of one that was imported: %v", err)
		}
		page, err := w.rooms[0].Page(t.Context(), Query{Limit: 10})
		if err != nil || len(page.Events) != 3 {
			t.Errorf("%+v, %v", page, err)
		}
		stop()
		w.rooms[0].End(0)
	})
}

// The bound of how many devices are known does not count for an import: they were known.
func TestAnImportHasRoomForAllDevices(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var batch []Event
		for i := range 50 {
			batch = append(batch, Event{ID: "a", Type: Matched, Device: fmt.Sprint(i), Amount: 1, At: 1})
		}
		old := newOldStore(t, [][]Event{batch}, 0, false)
		w := &importing{m: newMemory(), p: &place{}}
		few := roomy
		few.Devices = 10
		w.rooms = []*Room{nil, newRoom(t, "b", w.p, w.m, few)}
		owned(t, w.rooms[1], w.p)
		if all, err := w.once(t.Context(), old); err != nil || all.Events != 50 {
			t.Errorf("%+v, %v", all, err)
		}
		if n := len(w.rooms[1].owner(0).core.devices.states()); n != 50 {
			t.Errorf("%d devices are known", n)
		}
		w.rooms[1].End(0)
	})
}
