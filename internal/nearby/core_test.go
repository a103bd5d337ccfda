package nearby

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/internal/grid"
	"github.com/seed-3d8c1042/switchboard/wire"
)

var start = time.Unix(1_800_000_000, 0).UTC()

// fieldOf returns the field that was refused; "-" for nothing.
func fieldOf(err error) string {
	var r *Refusal
	switch {
	case err == nil:
		return "-"
	case errors.As(err, &r) && r.Code == wire.CodeBadField:
		return r.Field
	case errors.As(err, &r):
		return r.Code
	}
	return err.Error()
}

func TestWhatIsNoPositionIsRefused(t *testing.T) {
	given := func(f float64) Measure { return Measure{f, true} }
	for want, list := range map[string][]Position{
		"lat":      {{Lat: math.NaN()}, {Lat: 90.1}, {Lat: math.Inf(-1)}},
		"lon":      {{Lon: math.NaN()}, {Lon: -180.1}, {Lon: math.Inf(1)}},
		"accuracy": {{Accuracy: given(-1)}, {Accuracy: given(math.NaN())}, {Accuracy: given(math.Inf(1))}, {Accuracy: given(wire.MaxAccuracy + 1)}},
		"heading":  {{Heading: given(360)}, {Heading: given(-1)}, {Heading: given(math.NaN())}},
		"speed":    {{Speed: given(-0.1)}, {Speed: given(math.NaN())}, {Speed: given(math.Inf(1))}, {Speed: given(wire.MaxSpeed + 1)}},
		"at":       {{At: start.Add(skew + time.Second)}, {At: start.Add(-6 * time.Minute)}},
		"-":        {{}, {Lat: 90, Lon: 180}, {Lat: -90, Lon: -180, Heading: given(0), Speed: given(0), Accuracy: given(0)}, {At: start.Add(skew)}},
	} {
		for _, p := range list {
			c := newCore(0, Limits{})
			if got := fieldOf(c.put(start, "app", "app-1", p)); got != want {
				t.Errorf("%+v: %s is refused, not %s", p, got, want)
			}
			if _, known := c.get("app", "app-1"); known != (want == "-") || len(c.crowds) != c.known {
				t.Errorf("%+v: it is known: %v", p, known)
			}
		}
	}
	c := newCore(0, Limits{})
	for _, user := range []string{"app", "app-", "other-1", "app-01", "app--1", "app-+1", "app-99999999999999999999", ""} {
		if got := fieldOf(c.put(start, "app", user, Position{})); got != wire.CodeBadUserID {
			t.Errorf("user %q: %s", user, got)
		}
	}
}

func TestWhatIsNoViewIsRefused(t *testing.T) {
	l := Limits{MaxRadius: 1000}.orDefaults()
	for want, list := range map[string][]View{
		"lat":    {{Lat: 91, Radius: 1}, {Lat: math.NaN(), Radius: 1}},
		"lon":    {{Lon: 181, Radius: 1}},
		"radius": {{}, {Radius: -1}, {Radius: 1000.1}, {Radius: math.NaN()}, {Radius: math.Inf(1)}},
		"bbox":   {{Box: true, South: 2, North: 1}, {Box: true, North: 91}, {Box: true, West: -181}, {Box: true, East: math.NaN()}},
		"-":      {{Radius: 1000}, {Box: true}, {Box: true, West: 170, East: -170}, {Box: true, West: -180, South: -90, East: 180, North: 90}},
	} {
		for _, v := range list {
			got := "-"
			if r := v.check(&l); r != nil {
				got = r.Field
			}
			if got != want {
				t.Errorf("%+v: %s is refused, not %s", v, got, want)
			}
		}
	}
}

func TestTheNewestPositionCountsAndOfTwoAsNewTheLast(t *testing.T) {
	c := newCore(0, Limits{})
	for _, step := range []struct {
		lat  float64
		at   time.Duration
		want float64
	}{{1, 0, 1}, {2, -time.Second, 1}, {3, 0, 3}, {4, time.Second, 4}, {5, 999 * time.Millisecond, 4}} {
		if err := c.put(start, "app", "app-1", Position{Lat: step.lat, At: start.Add(step.at)}); err != nil {
			t.Fatal(err)
		}
		if p, known := c.get("app", "app-1"); !known || p.Lat != step.want {
			t.Fatalf("after %v he is at %v, not %v", step.lat, p.Lat, step.want)
		}
	}
}

func TestAUserIsPacedForHimself(t *testing.T) {
	c := newCore(0, Limits{Rate: 3})
	for i := range 5 {
		want := "-"
		if i >= 3 {
			want = wire.CodeTooMany
		}
		if got := fieldOf(c.put(start, "app", "app-1", Position{})); got != want {
			t.Errorf("position %d: %s, not %s", i, got, want)
		}
	}
	if got := fieldOf(c.put(start, "app", "app-2", Position{})); got != "-" {
		t.Errorf("another one's: %s", got)
	}
	if _, err := c.hide(start, "app", "app-1"); fieldOf(err) != wire.CodeTooMany {
		t.Errorf("a hide: %v", err)
	}
	if got := fieldOf(c.put(start.Add(time.Second), "app", "app-1", Position{})); got != "-" {
		t.Errorf("a second later: %s", got)
	}
}

func TestAShardKnowsNoMorePositionsThanItMay(t *testing.T) {
	c := newCore(0, Limits{Positions: 2})
	for i, want := range []string{"-", "-", wire.CodeBusy} {
		if got := fieldOf(c.put(start, "app", fmt.Sprint("app-", i), Position{})); got != want {
			t.Errorf("user %d: %s, not %s", i, got, want)
		}
	}
	c.tick(start.Add(5 * time.Minute))
	if got := fieldOf(c.put(start.Add(5*time.Minute), "app", "app-2", Position{})); got != "-" {
		t.Errorf("when the others have expired: %s", got)
	}
}

// shown says who is visible.
func shown(c *core) (list []string) {
	var out Answer
	c.near("app", View{Box: true, West: -180, South: -90, East: 180, North: 90}, MaxAnswer, &out)
	for _, u := range out.Users {
		list = append(list, u.User)
	}
	slices.Sort(list)
	return list
}

// store has all be stored that is to be, and returns the batches.
func store(c *core, now time.Time) (log [][]byte) {
	for {
		_, b := c.batch(now)
		if b == nil {
			return log
		}
		log = append(log, slices.Clone(b))
		c.landed(c.journal.last + 1)
	}
}

// restart returns a core that knows what a log has.
func restart(t testing.TB, limits Limits, log [][]byte, now time.Time) *core {
	t.Helper()
	c := newCore(0, limits)
	for i, b := range log {
		if err := c.replay(uint64(i+1), b); err != nil {
			t.Fatal(err)
		}
	}
	c.replayed(uint64(len(log)), now)
	c.begin(c.latest + 1)
	return c
}

func TestAPositionExpiresWhenThereIsNoNewsForItsTimeAlsoAcrossARestart(t *testing.T) {
	c := newCore(0, Limits{})
	c.begin(1)
	_ = c.put(start, "app", "app-1", Position{})
	_ = c.put(start.Add(time.Minute), "app", "app-2", Position{At: start.Add(-time.Minute)}) // late news is news
	_ = c.put(start.Add(2*time.Minute), "app", "app-1", Position{})
	log := store(c, start.Add(3*time.Minute))
	for name, c := range map[string]*core{"at once": c, "restarted": restart(t, Limits{}, log, start.Add(4*time.Minute))} {
		for _, step := range []struct {
			after time.Duration
			want  []string
		}{{6*time.Minute - 1, []string{"app-1", "app-2"}}, {6 * time.Minute, []string{"app-1"}}, {7*time.Minute - 1, []string{"app-1"}}, {7 * time.Minute, nil}} {
			c.tick(start.Add(step.after))
			if got := shown(c); !slices.Equal(got, step.want) {
				t.Errorf("%s, after %s: %v, not %v", name, step.after, got, step.want)
			}
		}
	}
	if c := restart(t, Limits{}, log, start.Add(7*time.Minute)); c.known != 0 || len(c.crowds) != 0 {
		t.Errorf("who starts later knows %d", c.known)
	}
}

func TestWhoHidesIsGoneAndNoPositionFromBeforeBringsHimBack(t *testing.T) {
	c := newCore(0, Limits{})
	c.begin(1)
	_ = c.put(start, "app", "app-1", Position{Lat: 5, At: start.Add(3 * time.Second)})
	log := store(c, start)
	mark, now := c.stored(), start.Add(time.Second)
	wait, err := c.hide(now, "app", "app-1")
	if !wait || err != nil || c.mark() != mark+1 {
		t.Fatalf("he waits: %v, for %d, %v", wait, c.mark(), err)
	}
	if got := shown(c); got != nil {
		t.Errorf("%v are visible", got)
	}
	if again, _ := c.hide(now, "app", "app-1"); !again {
		t.Error("who hides again does not wait")
	}
	log = append(log, store(c, now)...)
	if c.stored() != mark+1 || len(log) != 2 {
		t.Errorf("%d batches are stored, of %d", c.stored(), len(log))
	}
	if again, _ := c.hide(now, "app", "app-1"); again {
		t.Error("who has hidden waits")
	}
	for _, c := range []*core{c, restart(t, Limits{}, log, now)} {
		if got := fieldOf(c.put(now, "app", "app-1", Position{At: start.Add(3 * time.Second)})); got != "at" {
			t.Errorf("a position from before: %s", got)
		}
		if got := shown(c); got != nil {
			t.Errorf("%v are visible", got)
		}
		if e := c.crowds["app"].at(1); e.lat != 0 || e.lon != 0 {
			t.Error("it is remembered where he was")
		}
		if err := c.put(now, "app", "app-1", Position{At: start.Add(3001 * time.Millisecond)}); err != nil || len(shown(c)) != 1 {
			t.Errorf("a position from afterwards: %v", err)
		}
	}
}

// A phone that was offline for longer than a position is known sends what it has
// gathered: nothing of that is from after the hide.
func TestWhoHidesWithoutBeingKnownStaysHiddenFromPositionsOfBefore(t *testing.T) {
	c := newCore(0, Limits{})
	c.begin(1)
	wait, err := c.hide(start, "app", "app-1")
	if !wait || err != nil {
		t.Fatalf("he waits: %v, %v", wait, err)
	}
	log := store(c, start)
	for _, c := range []*core{c, restart(t, Limits{}, log, start)} {
		if got := fieldOf(c.put(start.Add(time.Second), "app", "app-1", Position{At: start.Add(-time.Second)})); got != "at" || shown(c) != nil {
			t.Errorf("a position from before: %s, and %v are visible", got, shown(c))
		}
		if err := c.put(start.Add(time.Second), "app", "app-1", Position{At: start.Add(time.Second)}); err != nil || len(shown(c)) != 1 {
			t.Errorf("a position from afterwards: %v", err)
		}
	}
}

func TestWhoHidesAgainIsHiddenFromThenOn(t *testing.T) {
	c := newCore(0, Limits{})
	c.begin(1)
	_ = c.put(start, "app", "app-1", Position{})
	_, _ = c.hide(start, "app", "app-1")
	log := store(c, start)
	later := start.Add(4 * time.Minute)
	wait, err := c.hide(later, "app", "app-1")
	if !wait || err != nil {
		t.Fatalf("he waits: %v, %v", wait, err)
	}
	log = append(log, store(c, later)...)
	now := start.Add(6 * time.Minute) // the first hide is forgotten
	for _, c := range []*core{c, restart(t, Limits{}, log, now)} {
		c.tick(now)
		if got := fieldOf(c.put(now, "app", "app-1", Position{At: start.Add(3 * time.Minute)})); got != "at" || shown(c) != nil {
			t.Errorf("a position from between the two: %s, and %v are visible", got, shown(c))
		}
	}
}

func TestHidingAgainIsPaced(t *testing.T) {
	c := newCore(0, Limits{Rate: 3})
	for i := range 5 {
		want := "-"
		if i >= 3 {
			want = wire.CodeTooMany
		}
		if _, err := c.hide(start, "app", "app-1"); fieldOf(err) != want {
			t.Errorf("hide %d: %v, not %s", i, err, want)
		}
	}
}

func TestOfAPositionNothingLeavesButWhatThePrecisionAllows(t *testing.T) {
	l := Limits{Precision: 500, Rate: 1000}
	exact := Position{Lat: 52.516275, Lon: 13.377704, Heading: Measure{10, true}, Speed: Measure{3, true}, Accuracy: Measure{4, true}}
	c := newCore(0, l)
	c.begin(1)
	_ = c.put(start, "app", "app-1", exact)
	first, _ := c.get("app", "app-1")
	if d := grid.Distance(first.Lat, first.Lon, exact.Lat, exact.Lon); d == 0 || d > 354 || first.Heading.Given || first.Speed.Given || first.Accuracy != (Measure{500, true}) {
		t.Errorf("%+v is said to be %+v, %v m away", exact, first, d)
	}
	// Whoever moves within the square, or asks around, learns no more.
	for range 20 {
		_ = c.put(start, "app", "app-1", exact)
	}
	var near, far Answer
	c.near("app", View{Lat: first.Lat, Lon: first.Lon, Radius: 0.01}, 10, &near)
	c.near("app", View{Lat: exact.Lat, Lon: exact.Lon, Radius: grid.Distance(first.Lat, first.Lon, exact.Lat, exact.Lon) - 0.01}, 10, &far)
	if len(near.Users) != 1 || near.Users[0].Position != first || len(far.Users) != 0 {
		t.Errorf("where he is said to be there are %+v, and where he is %+v", near, far)
	}
	log := store(c, start)
	if p, _ := restart(t, Limits{}, log, start).get("app", "app-1"); p != first {
		t.Errorf("the log has %+v, not %+v", p, first)
	}
	if p, _ := restart(t, Limits{Precision: 5000}, log, start).get("app", "app-1"); p.Accuracy.Value != 5000 {
		t.Errorf("with less precision it is %+v", p)
	}
}

func TestAnAppSeesNobodyOfAnother(t *testing.T) {
	c := newCore(0, Limits{})
	_ = c.put(start, "other", "other-1", Position{})
	_ = c.put(start, "app", "app-1", Position{})
	if got := shown(c); !slices.Equal(got, []string{"app-1"}) {
		t.Errorf("%v", got)
	}
	if _, known := c.get("app", "other-1"); known {
		t.Error("it knows where the other one is")
	}
}

func TestABatchIsStoredOnceASecondAndHoldsTheLastOfEach(t *testing.T) {
	c := newCore(0, Limits{Rate: 1000})
	c.begin(1)
	put := func(after time.Duration, user int, lat float64) {
		_ = c.put(start.Add(after), "app", fmt.Sprint("app-", user), Position{Lat: lat})
	}
	put(0, 1, 1)
	if _, b := c.batch(start); b == nil {
		t.Fatal("who is alone waits")
	}
	if _, b := c.batch(start.Add(time.Hour)); b != nil {
		t.Fatal("two are under way")
	}
	c.landed(7)
	for i := range 100 {
		put(time.Duration(i)*time.Millisecond, 1+i%2, float64(i%90))
	}
	if at, ok := c.due(); !ok || !at.Equal(start.Add(time.Second)) {
		t.Errorf("the next is due at %v, %v", at, ok)
	}
	if _, b := c.batch(start.Add(time.Second - 1)); b != nil {
		t.Error("it comes sooner")
	}
	last, b := c.batch(start.Add(time.Second))
	if last != 7 || len(b) == 0 || len(b) > 100 {
		t.Errorf("behind %d come %d bytes", last, len(b))
	}
	c.again(7)
	if last, again := c.batch(start.Add(time.Second)); last != 7 || !slices.Equal(again, b) {
		t.Error("what was not stored is not offered again")
	}
}

func TestWhatIsManyIsStoredInSeveralBatches(t *testing.T) {
	c := newCore(0, Limits{})
	c.begin(1)
	for i := range 40_000 {
		_ = c.put(start, "app", fmt.Sprint("app-", i), Position{Lat: float64(i) / 1000})
	}
	log := store(c, start)
	if len(log) < 2 {
		t.Errorf("%d batches", len(log))
	}
	for _, b := range log {
		if len(b) > maxBatch+200 {
			t.Errorf("a batch of %d bytes", len(b))
		}
	}
	if again := restart(t, Limits{}, log, start); again.known != 40_000 {
		t.Errorf("%d are known", again.known)
	}
}

func TestARestartKnowsWhatWasStored(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		l := Limits{TTL: 20 * time.Second, Rate: 1000}
		c, now := newCore(0, l), start
		c.begin(1)
		var log [][]byte
		for range rapid.IntRange(1, 200).Draw(t, "steps") {
			user := fmt.Sprint("app-", random.IntN(10))
			switch random.IntN(8) {
			case 0:
				_, _ = c.hide(now, "app", user)
			case 1:
				log = append(log, store(c, now)...)
			case 2:
				now = now.Add(time.Duration(random.IntN(8000)) * time.Millisecond)
				c.tick(now)
			default:
				_ = c.put(now, "app", user, Position{Lat: 180*random.Float64() - 90, Lon: 360*random.Float64() - 180, Speed: Measure{float64(random.IntN(9)), random.IntN(2) == 0}})
			}
		}
		now = now.Add(2 * time.Second)
		c.tick(now)
		log = append(log, store(c, now)...)
		again := newCore(0, l)
		for i, b := range log {
			if err := again.replay(uint64(i+1), b); err != nil {
				t.Fatal(err)
			}
		}
		again.replayed(uint64(len(log)), now)
		if want, got := shown(c), shown(again); !slices.Equal(want, got) {
			t.Fatalf("%v are visible, and afterwards %v", want, got)
		}
		for _, user := range shown(c) {
			want, _ := c.get("app", user)
			if got, _ := again.get("app", user); got != want {
				t.Fatalf("%s is at %+v, and afterwards at %+v", user, want, got)
			}
		}
	})
}

func TestSeveralShardsAnswerAsOneDoes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		one := newCore(0, Limits{})
		parts := []*core{newCore(0, Limits{}), newCore(1, Limits{}), newCore(2, Limits{})}
		for i := range rapid.IntRange(0, 60).Draw(t, "users") {
			user, p := fmt.Sprint("app-", i*7), Position{Lat: float64(random.IntN(3)) / 1000, Lon: float64(random.IntN(3)) / 1000}
			_ = one.put(start, "app", user, p)
			_ = parts[random.IntN(3)].put(start, "app", user, p)
		}
		limit := rapid.IntRange(1, 70).Draw(t, "limit")
		v := View{Radius: 500}
		if rapid.Bool().Draw(t, "box") {
			v = View{Box: true, North: 0.001, East: 0.001}
		}
		var want, got Answer
		one.near("app", v, limit, &want)
		for _, c := range parts {
			reply, err := c.look(appendNear(nil, "app", &v, limit))
			if err != nil {
				t.Fatal(err)
			}
			if err := readAnswer(reply, "app", &got); err != nil {
				t.Fatal(err)
			}
		}
		mergeAnswers(&got, limit)
		if got.Total != want.Total || !slices.Equal(got.Users, want.Users) {
			t.Fatalf("%+v, not %+v", got, want)
		}
		if !slices.IsSortedFunc(got.Users, func(a, b User) int {
			return cmp.Or(cmp.Compare(a.Distance, b.Distance), cmp.Compare(len(a.User), len(b.User)), cmp.Compare(a.User, b.User))
		}) {
			t.Fatalf("%+v are not in order", got.Users)
		}
	})
}
