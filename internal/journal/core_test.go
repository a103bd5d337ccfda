package journal

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawEvent(t *rapid.T) Event {
	return Event{
		ID: fmt.Sprint("id-", rapid.IntRange(0, 400).Draw(t, "id")), At: rapid.Int64Range(1, 4e12).Draw(t, "at"),
		Type: rapid.SampledFrom(Types()).Draw(t, "type"), Device: fmt.Sprint("device-", rapid.IntRange(0, 30).Draw(t, "device")),
		App: rapid.SampledFrom([]string{"", "ANZ", "SHOP"}).Draw(t, "app"), Amount: rapid.Int64Range(0, 1000).Draw(t, "amount"),
	}
}

func TestALineIsReadAsItWasWritten(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Event{
			ID: rapid.StringMatching(`[A-Za-z0-9._:-]{1,64}`).Draw(t, "id"), At: rapid.Int64Range(1, 253402300799999).Draw(t, "at"),
			Stored: rapid.Int64Range(1, 253402300799999).Draw(t, "stored"), Type: rapid.SampledFrom(append(Types(), Traffic)).Draw(t, "type"),
			Device: rapid.String().Draw(t, "device"), App: rapid.String().Draw(t, "app"), Domain: rapid.String().Draw(t, "domain"),
			Capability: rapid.String().Draw(t, "capability"), Amount: rapid.Int64Min(0).Draw(t, "amount"),
		}
		if e.Count = rapid.Int64Range(0, 9).Draw(t, "count"); e.Count > 0 {
			e.Min, e.Max = rapid.Int64().Draw(t, "min"), rapid.Int64().Draw(t, "max")
			if sketch := rapid.SliceOf(rapid.Byte()).Draw(t, "sketch"); len(sketch) > 0 {
				e.Sketch = sketch
			}
		}
		for _, text := range []*string{&e.Device, &e.App, &e.Domain, &e.Capability} {
			*text = strings.ToValidUTF8(*text, "")
		}
		if rapid.Bool().Draw(t, "is imported") {
			e.Imported = rapid.Int64Range(1, 253402300799999).Draw(t, "imported")
			if rapid.Bool().Draw(t, "is carried") {
				e.Type, e.Before = Carried, new(State)
				for _, n := range e.Before.counts() {
					*n = rapid.Int64Min(0).Draw(t, "before")
				}
			}
		}
		line := appendLine(nil, &e)
		if strings.Count(string(line), "\n") != 1 {
			t.Fatalf("%s", line)
		}
		read, err := parseBatch(line, nil)
		if err != nil || len(read) != 1 || !reflect.DeepEqual(read[0], e) {
			t.Fatalf("%s\nis read as %+v, %v\nit was     %+v", line, read, err, e)
		}
	})
}

func TestWhatIsNoLineOfTheJournalIsRefused(t *testing.T) {
	whole := string(AppendJSON(nil, &Event{ID: "a", At: 1, Stored: 1, Type: Matched, Device: "ü\"", Amount: 1}))
	for i := range len(whole) {
		if _, err := parseLine([]byte(whole[:i])); err == nil {
			t.Errorf("%q is taken", whole[:i])
		}
	}
	if e, err := parseLine([]byte(`{"id":"a","later":"x","more":7,"amount":1}`)); err != nil || e.ID != "a" || e.Amount != 1 {
		t.Errorf("what a later version adds: %+v, %v", e, err)
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add([]byte(`{"id":"a","at":"2026-11-26T08:30:00.000Z","type":"matched","device":"\u00fc","amount":1}`))
	f.Add([]byte(`{"sketch":"AA==","count":1,"min":-1,"max":9}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		e, err := parseLine(line)
		if err != nil {
			return
		}
		again, err := parseLine(AppendJSON(nil, &e))
		if err != nil || e.ID == again.ID && (e.Amount != again.Amount || e.At != again.At) {
			t.Errorf("%+v is read again as %+v, %v", e, again, err)
		}
	})
}

func FuzzDecodeRequest(f *testing.F) {
	q := request{source: "a", number: 7, events: []Event{{ID: "x", At: 1, Type: Matched, Device: "d", Amount: 1}}}
	f.Add(q.encode()[1:])
	f.Fuzz(func(_ *testing.T, b []byte) {
		_, _ = decodeRequest(b, len(b)%2 == 0) // does not panic, nor take memory without end
		_, _ = readAnswer(b)
		_, _ = readVerdict(b)
		_, _ = decodeSummary(b)
		_ = newDevices(1).Load(0, b)
	})
}

func TestARequestIsReadAsItWasSent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		q := request{source: "node", number: rapid.Uint64().Draw(t, "number"), events: rapid.SliceOf(rapid.Custom(drawEvent)).Draw(t, "events")}
		b := q.encode()
		got, err := decodeRequest(b[1:], false)
		if err != nil || got.source != q.source || got.number != q.number || !slices.EqualFunc(got.events, q.events, func(a, b Event) bool { return reflect.DeepEqual(a, b) }) {
			t.Fatalf("%+v, %v, not %+v", got, err, q)
		}
		if _, err := decodeRequest(b[1:len(b)-1], false); err == nil && len(b) > 2 {
			t.Fatal("one that is cut off is taken")
		}
	})
}

// failing is a test, or one of many that rapid makes.
type failing interface{ Fatal(args ...any) }

// keeper is an owner without goroutines: a core with the store around it.
type keeper struct {
	m *memory
	o *owner
}

func newKeeper(t failing, m *memory) *keeper {
	r := &Room{opts: Options{Log: m, States: m, Still: func(context.Context, int) (bool, error) { return true, nil }, Now: func() time.Time { return time.UnixMilli(1000) }, Limits: func() Limits { return Limits{Keep: 1 << 50, Devices: 1 << 20} }}}
	k := &keeper{m, &owner{room: r}}
	if err := k.o.open(context.Background()); err != nil {
		t.Fatal(err)
	}
	return k
}

// put stores requests at a time, whoever else stores.
func (k *keeper) put(t failing, now int64, list ...request) {
	c := k.o.core
	b := c.form(now)
	for i := range list {
		c.admit(b, &list[i], 1<<20)
	}
	if len(b.events) == 0 {
		return
	}
	pos, err := k.m.Append(context.Background(), 0, k.o.last, head(b.sources), b.data)
	if err != nil {
		if err := k.o.catchUp(context.Background()); err != nil {
			t.Fatal(err)
		}
		k.put(t, now, list...)
		return
	}
	c.apply(pos, b.sources, b.events, len(b.data))
	k.o.last = pos
}

func TestStatesAreWhatTheEventsSayWhateverWasKeptOfThem(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := newMemory()
		owners := []*keeper{newKeeper(t, m)}
		numbers, now := map[string]uint64{}, int64(1000)
		var sent []request
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			k := owners[len(owners)-1]
			if len(owners) > 1 && rapid.IntRange(0, 3).Draw(t, "a former owner") == 0 {
				k = owners[rapid.IntRange(0, len(owners)-1).Draw(t, "which")]
			}
			now += rapid.Int64Range(-50, 100).Draw(t, "time")
			switch rapid.IntRange(0, 9).Draw(t, "step") {
			case 0, 1, 2, 3:
				from := rapid.SampledFrom([]string{"a", "b"}).Draw(t, "source")
				numbers[from]++
				q := request{source: from, number: numbers[from], events: rapid.SliceOfN(rapid.Custom(drawEvent), 1, 8).Draw(t, "events")}
				sent = append(sent, q)
				m.meet(rapid.SampledFrom([]fault{works, works, lost, unheard, overtaken}).Draw(t, "fault"))
				k.put(t, now, q)
			case 4:
				if len(sent) > 0 { // again, since nobody heard of it
					k.put(t, now, sent[rapid.IntRange(max(0, len(sent)-3), len(sent)-1).Draw(t, "again")])
				}
			case 5, 6:
				h := k.o.core.kinds[0]
				for i := range h.chunks {
					if h.chunks[i].dirty && rapid.Bool().Draw(t, "kept") {
						_ = k.o.save(context.Background(), h, i) // of a former owner that fails
					}
				}
				if rapid.Bool().Draw(t, "summary") {
					_ = k.o.summarize(context.Background())
				}
			case 7:
				_ = k.o.check(context.Background(), true)
			default:
				owners = append(owners, newKeeper(t, m))
			}
		}
		last := newKeeper(t, m)
		events := m.events(0)
		if err := same(last.o.core.devices.states(), folded(events)); err != nil {
			t.Fatal(err)
		}
		type identity struct{ app, device, id string }
		seen, at := map[identity]int{}, int64(0)
		for _, e := range events {
			key := identity{e.App, e.Device, e.ID}
			if seen[key]++; seen[key] > 1 {
				t.Fatalf("%s is stored twice", e.ID)
			}
			if e.Device != "other" && e.Stored < at {
				t.Fatalf("%s was stored at %d, after one at %d", e.ID, e.Stored, at)
			}
			at = max(at, e.Stored)
		}
		for _, q := range sent {
			for _, e := range q.events {
				if seen[identity{e.App, e.Device, e.ID}] == 0 {
					t.Fatalf("%s is not stored", e.ID)
				}
			}
		}
	})
}

func TestACheckpointSparesReadingAllOfTheJournal(t *testing.T) {
	m := newMemory()
	k := newKeeper(t, m)
	for i := range uint64(10) {
		k.put(t, int64(i), request{source: "a", number: i + 1, events: []Event{{ID: fmt.Sprint(i), At: 1, Type: Matched, Device: fmt.Sprint(i), Amount: 1}}})
	}
	if err := k.o.check(t.Context(), true); err != nil {
		t.Fatal(err)
	}
	before := k.o.core.devices.states()
	m.gone = m.last(0) // what was folded long ago is gone by age
	after := newKeeper(t, m)
	if err := same(after.o.core.devices.states(), before); err != nil {
		t.Fatal(err)
	}
	after.put(t, 100, request{source: "a", number: 11, events: []Event{{ID: "later", At: 1, Type: Matched, Device: "0", Amount: 1}}})
	if s := newKeeper(t, m).o.core.devices.states()[[2]string{"", "0"}]; s.Matched != 2 {
		t.Errorf("after all else was gone the state is %+v", s)
	}
}

func TestEventsOfFurtherDevicesAreRefusedWhereThereAreTooMany(t *testing.T) {
	c := newCore(0, 1<<50, nil)
	add := func(number uint64, events ...Event) []int {
		b := c.form(1)
		refused := c.admit(b, &request{source: "a", number: number, events: events}, 2).refused
		c.apply(number, b.sources, b.events, len(b.data))
		return refused
	}
	event := func(id, device string) Event { return Event{ID: id, At: 1, Type: Matched, Device: device, Amount: 1} }
	if refused := add(1, event("1", "a"), event("2", "b"), event("3", "c")); !slices.Equal(refused, []int{2}) {
		t.Errorf("refused are %v", refused)
	}
	if refused := add(2, event("4", "c"), event("5", "a"), Event{ID: "6", At: 1, Type: Traffic, Amount: 1}); !slices.Equal(refused, []int{0}) {
		t.Errorf("refused are %v", refused)
	}
}

func TestDevicesOfWhichNothingComesAreForgotten(t *testing.T) {
	c := newCore(0, 100, nil)
	add := func(now int64, id, device, app string) {
		b := c.form(now)
		c.admit(b, &request{source: id, number: 1, events: []Event{{ID: id, At: 1, Type: Matched, Device: device, App: app, Amount: 1}}}, 10)
		c.apply(uint64(now), b.sources, b.events, len(b.data))
	}
	add(1000, "1", "a", "")
	add(1050, "2", "b", "ANZ")
	add(1099, "3", "a", "ANZ")
	c.tick(1101)
	if got := c.devices.states(); len(got) != 2 || c.devices.count != 2 || got[[2]string{"", "a"}].Events != 0 {
		t.Errorf("there are %+v", got)
	}
	if c.tick(5000); c.devices.count != 0 || len(c.devices.states()) != 0 {
		t.Errorf("there are %+v", c.devices.states())
	}
}

func TestAnIDIsOneEventsOfItsDeviceAndApp(t *testing.T) {
	m := newMemory()
	first := Event{ID: "x", At: 5, Type: BytesSent, Device: "d", App: "ANZ", Amount: 4}
	newKeeper(t, m).put(t, 1, request{source: "a", number: 1, events: []Event{first}})
	k := newKeeper(t, m) // who knows it from what is stored
	with := func(change func(*Event)) Event {
		e := first
		change(&e)
		return e
	}
	for what, c := range map[string]struct {
		event Event
		want  verdict
		adds  int
	}{
		"the same again":              {first, verdict{repeated: 1}, 0},
		"again, at no time said":      {with(func(e *Event) { e.At, e.Filled = 9, true }), verdict{repeated: 1}, 0},
		"another time":                {with(func(e *Event) { e.At = 9 }), verdict{conflicts: []int{0}}, 0},
		"another amount":              {with(func(e *Event) { e.Amount = 5 }), verdict{conflicts: []int{0}}, 0},
		"another type":                {with(func(e *Event) { e.Type = BytesReceived }), verdict{conflicts: []int{0}}, 0},
		"that of another device":      {with(func(e *Event) { e.Device = "e" }), verdict{}, 1},
		"that of another app":         {with(func(e *Event) { e.App = "SHOP" }), verdict{}, 1},
		"that of a device and no app": {with(func(e *Event) { e.App = "" }), verdict{}, 1},
	} {
		b := k.o.core.form(1)
		got := k.o.core.admit(b, &request{source: "b", number: 1, events: []Event{c.event}}, 10)
		if !reflect.DeepEqual(got, c.want) || len(b.events) != c.adds {
			t.Errorf("%s: %+v, and %d are stored", what, got, len(b.events))
		}
	}
	b := k.o.core.form(1)
	other := with(func(e *Event) { e.ID = "y" })
	twice := request{source: "b", number: 1, events: []Event{other, first, with(func(e *Event) { e.ID, e.Amount = "y", 1 })}}
	if got := k.o.core.admit(b, &twice, 10); !slices.Equal(got.conflicts, []int{2}) || got.repeated != 1 || len(b.events) != 1 {
		t.Errorf("within a request: %+v, and %d are stored", got, len(b.events))
	}
	k.o.core.apply(9, b.sources, b.events, len(b.data))
	if got := k.o.core.admit(k.o.core.form(1), &twice, 10); !slices.Equal(got.conflicts, []int{2}) || got.repeated != 2 {
		t.Errorf("the same request again: %+v", got)
	}
}

func TestTheLastIDsAreRemembered(t *testing.T) {
	d := newIDs()
	for i := range uint64(remembered + 10) {
		d.add(i, content{}, i/5+1)
	}
	if d.has(9) || !d.has(10) || len(d.of) != remembered || d.from(99) != 2 {
		t.Errorf("%t, %t, %d, from %d", d.has(9), d.has(10), len(d.of), d.from(99))
	}
}

// However many devices one app has, others have room for some of theirs.
func TestNoAppHasTheRoomOfAllDevices(t *testing.T) {
	c := newCore(0, 100, nil)
	var number uint64
	// add stores an event of each of many new devices of an app, and returns for how many there was room.
	add := func(app string, devices, most int) int {
		number++
		q := request{source: "a", number: number}
		for i := range devices {
			q.events = append(q.events, Event{At: 1, ID: fmt.Sprint(number, i), Type: Matched, Device: fmt.Sprint(number, i), App: app, Amount: 1})
		}
		b := c.form(1000)
		refused := c.admit(b, &q, most).refused
		c.apply(number, b.sources, b.events, len(b.data))
		return devices - len(refused)
	}
	for i, step := range []struct {
		app  string
		want int
	}{{"ANZ", 90}, {"SHOP", 5}, {"ANZ", 0}, {"SHOP", 0}, {"", 3}, {"TAXI", 1}, {"BANK", 1}, {"LATE", 0}} {
		if got := add(step.app, 200, 100); got != step.want {
			t.Errorf("step %d: room for %d devices of %q, not %d", i, got, step.app, step.want)
		}
	}
	if got := add("ANZ", 50, 200); got != 50 { // there is more room
		t.Errorf("room for %d", got)
	}
	if c.tick(2000); c.devices.count != 0 || len(c.devices.apps) != 0 {
		t.Errorf("when all are forgotten there are %d, of %v", c.devices.count, c.devices.apps)
	}
	if got := add("ANZ", 200, 100); got != 90 {
		t.Errorf("room for %d", got)
	}
}
