package nearby

import (
	"errors"
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func drawPosition(t *rapid.T) Position {
	m := func(name string, most float64) Measure {
		if rapid.Bool().Draw(t, name) {
			return Measure{rapid.Float64Range(0, most).Draw(t, name), true}
		}
		return Measure{}
	}
	return Position{
		Lat: rapid.Float64Range(-90, 90).Draw(t, "lat"), Lon: rapid.Float64Range(-180, 180).Draw(t, "lon"),
		At:       start.Add(time.Duration(rapid.IntRange(-1000, 1000).Draw(t, "at")) * time.Millisecond),
		Accuracy: m("accuracy", 1000), Heading: m("heading", 359), Speed: m("speed", 100),
	}
}

func TestWhatAnotherNodeAsksIsWhatIsAskedHere(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		here, there := newCore(0, Limits{}), newCore(0, Limits{})
		p := drawPosition(t)
		if rapid.Bool().Draw(t, "now") {
			p.At = time.Time{}
		}
		if rapid.Bool().Draw(t, "bad") {
			p.Lat = math.NaN()
		}
		want := here.put(start, "app", "app-7", p)
		reply, mark, err := there.serve(start, "n", appendPut(nil, "app", "app-7", &p))
		if err != nil || mark != 0 {
			t.Fatal(mark, err)
		}
		if got := readPut(reply); fieldOf(got) != fieldOf(want) {
			t.Fatalf("it is refused as %v, not %v", got, want)
		}
		is, known := here.get("app", "app-7")
		reply, err = there.look(appendGet(nil, "app", "app-7"))
		if err != nil {
			t.Fatal(err)
		}
		if got, knows, err := readGet(reply); got != is || knows != known || err != nil {
			t.Fatalf("he is at %+v, not %+v (%v)", got, is, err)
		}
		waits, _ := here.hide(start, "app", "app-7")
		if _, mark, err = there.serve(start, "n", appendHide(nil, "app", "app-7")); err != nil || (mark > 0) != waits || waits && mark != here.mark() {
			t.Fatalf("he waits for %d, not %d, %v", mark, here.mark(), err)
		}
	})
}

func TestARefusalTravelsWhole(t *testing.T) {
	want := &Refusal{Code: "A", Field: "b", Reason: "c d"}
	var got *Refusal
	if _, err := readReply(appendReply(want)); !errors.As(err, &got) || *got != *want {
		t.Errorf("%+v", got)
	}
}

func FuzzServe(f *testing.F) {
	p := Position{Lat: 1, Lon: 2, At: start}
	for _, b := range [][]byte{
		appendPut(nil, "app", "app-1", &p), appendHide(nil, "app", "app-1"), appendGet(nil, "app", "app-1"),
		appendNear(nil, "app", &View{Radius: 5}, 3), appendNear(nil, "app", &View{Box: true, North: 1}, 3),
		{askWant, 1, 1, cmdWant, 1, 'a', 0, cmdDrop, 1, 'a', 0},
	} {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, request []byte) {
		c := newCore(0, Limits{})
		_ = c.put(start, "a", "a-1", Position{})
		reply, _, err := c.serve(start, "n", request)
		if err == nil && len(reply) == 0 {
			t.Error("it is not answered")
		}
		c.news(start.UnixMilli())
		c.tick(start.Add(time.Hour))
	})
}

func FuzzReplay(f *testing.F) {
	c := newCore(0, Limits{})
	c.begin(3)
	_ = c.put(start, "app", "app-1", Position{Lat: 1})
	f.Add(store(c, start)[0])
	_, _ = c.hide(start, "app", "app-1")
	f.Add(store(c, start)[0])
	f.Fuzz(func(_ *testing.T, batch []byte) {
		c := newCore(0, Limits{})
		_ = c.replay(1, batch)
		c.replayed(1, start)
		c.tick(start.Add(time.Hour))
		store(c, start)
	})
}

func FuzzHear(f *testing.F) {
	k := newCore(0, Limits{Users: 2})
	d := newDesk(Limits{Users: 2}, 1)
	v := d.open("a", silent{})
	_ = d.watch(start, v, "w", View{Radius: 100}, nil)
	list, _ := d.requests(start)
	_ = k.put(start, "a", "a-1", Position{})
	_, _, _ = k.serve(start, "n", list[0].Request)
	for range 2 {
		for _, p := range k.news(start.UnixMilli()) {
			f.Add(p.Message)
		}
		for i := range 9 {
			_ = k.put(start, "a", string(appendName(nil, "a", int64(i))), Position{})
		}
	}
	f.Fuzz(func(t *testing.T, message []byte) {
		d := newDesk(Limits{Users: 2}, 1)
		v := d.open("a", silent{})
		if err := d.watch(start, v, "w", View{Radius: 100}, nil); err != nil {
			t.Fatal(err)
		}
		d.requests(start)
		_ = d.heard(slices.Clone(message))
		d.flush(start)
		d.flush(start.Add(time.Minute))
		d.close(v)
	})
}

// silent is an outlet that takes everything.
type silent struct{}

func (silent) Answer(string, Answer, []byte) bool { return true }
func (silent) Enter(string, []User) bool          { return true }
func (silent) Move(string, []User) bool           { return true }
func (silent) Leave(string, []string) bool        { return true }
func (silent) Cells(string, []Cell) bool          { return true }
func (silent) Trouble(string, []byte, error) bool { return true }
