package match

import (
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// solo runs a test on one node that owns the only shard.
func solo(t *testing.T, f func(*testing.T, *rig)) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, 1, "n1")
		r.own(0, "n1")
		f(t, r)
	})
}

// in has a device ask, and waits until that has had its effect.
func (r *rig) in(t *testing.T, name string, q Request) *device {
	t.Helper()
	if q.Pool == (Pool{}) {
		q.Pool = anyone.Pool
	}
	d := r.open("n1", name)
	d.ask(t, q)
	settle(time.Millisecond)
	return d
}

func at(lat, lon float64) *Point { return &Point{lat, lon} }

func TestPlainNumbersMatchBelowTheirDistanceTheNearestFirst(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		spot := func(x, y float64) Request { return Request{At: at(x, y), Radius: 1.42, Plane: true, Nearest: true} }
		a := r.in(t, "a", spot(1, 1))
		b := r.in(t, "b", spot(1, 3))
		c := r.in(t, "c", spot(1, 2.42))
		a.expect(t, "waiting") // 1.42 is not below 1.42
		b.expect(t, "waiting", "matched [c]")
		c.expect(t, "waiting", "matched [b]")
		far := r.in(t, "far", spot(2.2, 1))
		far.expect(t, "waiting", "matched [a]")
		r.in(t, "x", spot(10, 1))
		y := r.in(t, "y", spot(10, 2.42))
		z := r.in(t, "z", spot(10, 1.8)) // nearer to y, though x waits for longer
		z.expect(t, "waiting", "matched [y]")
		y.expect(t, "waiting", "matched [z]")
	})
}

func TestMetresHoldAcrossTheDateLineAndAtThePoles(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		near := func(lat, lon float64) Request { return Request{At: at(lat, lon), Radius: 1000} }
		for i, c := range []struct {
			a, b    Point
			matched bool
		}{
			{Point{0, 179.996}, Point{0, -179.996}, true}, // 890 m
			{Point{0, 179.995}, Point{0, -179.995}, false},
			{Point{89.996, 0}, Point{89.996, 180}, true}, // 890 m over the pole
			{Point{89.995, 0}, Point{89.995, 180}, false},
			{Point{-90, 0}, Point{-90, 77}, true},
			{Point{52.52, 13.40}, Point{52.52, 13.4147}, true}, // 995 m
			{Point{52.52, 13.40}, Point{52.52, 13.4149}, false},
		} {
			a := r.in(t, fmt.Sprint("a", i), near(c.a.Lat, c.a.Lon))
			b := r.in(t, fmt.Sprint("b", i), near(c.b.Lat, c.b.Lon))
			if matched := a.in().ID != (wire.ID{}); matched != c.matched {
				t.Errorf("%v and %v: matched %v", c.a, c.b, matched)
			}
			a.Close()
			b.Close()
			settle(time.Millisecond)
		}
	})
}

func TestBothHaveToLikeEachOther(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		ask := func(text, query string) Request {
			q, err := ParseQuery([]byte(query))
			must(t, err)
			return Request{Properties: properties(t, text), Query: q}
		}
		beginner := r.in(t, "beginner", ask(`{"level":1}`, `{}`))
		expert := r.in(t, "expert", ask(`{"level":9}`, `{"level":{"min":8}}`))
		beginner.expect(t, "waiting")
		other := r.in(t, "other", ask(`{"level":8}`, `{"level":{"min":5}}`))
		expert.expect(t, "waiting", "matched [other]")
		if got := string(other.in().Peers[0].Properties.AppendJSON(nil)); got != `{"level":9}` {
			t.Errorf("the peer's properties are %s", got)
		}
	})
}

func TestWhoHasWaitedLongestComesFirst(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		key := func(k string) Request { return Request{Key: k} }
		first := r.in(t, "first", Request{Key: "k", Min: 3})
		second := r.in(t, "second", Request{Key: "k", Min: 3})
		r.in(t, "other", key("other"))
		third := r.in(t, "third", Request{Key: "k", Min: 3})
		third.expect(t, "waiting", "matched [first second]")
		first.expect(t, "waiting", "matched [second third]")
		second.expect(t, "waiting", "matched [first third]")
	})
}

func TestGesturesMeetWithinTheirWindow(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		left := r.in(t, "left", Request{Gesture: SwipeLeft})
		again := r.in(t, "again", Request{Gesture: SwipeLeft})
		up := r.in(t, "up", Request{Gesture: SwipeUp})
		bump := r.in(t, "bump", Request{Gesture: Bump})
		settle(500 * time.Millisecond)
		right := r.in(t, "right", Request{Gesture: SwipeRight})
		right.expect(t, "waiting", "matched [again]", "ambiguous") // the nearer in time of two
		again.expect(t, "waiting", "matched [right]", "ambiguous")
		left.expect(t, "waiting")
		settle(1600 * time.Millisecond)
		left.expect(t, "timed out")
		up.expect(t, "waiting", "timed out")
		late := r.in(t, "late", Request{Gesture: Bump})
		late.expect(t, "waiting")
		bump.expect(t, "waiting", "timed out")
		early := r.in(t, "early", Request{Gesture: Bump})
		early.expect(t, "waiting", "matched [late]")
	})
}

// Ambiguous is what was so when the match was made: a pair that is made at once does not
// hear of who makes the same gesture after that.
func TestAGestureThatComesAfterThePairMakesItNotAmbiguous(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		a, b, c := r.in(t, "a", Request{Gesture: Bump}), r.in(t, "b", Request{Gesture: Bump}), r.in(t, "c", Request{Gesture: Bump})
		a.expect(t, "waiting", "matched [b]")
		b.expect(t, "waiting", "matched [a]")
		c.expect(t, "waiting")
		settle(2 * time.Second)
		c.expect(t, "timed out")
	})
}

func TestAWindowThatWidensFindsWhoWasTooFar(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		q, err := ParseQuery([]byte(`{"level":{"min":5,"max":5}}`))
		must(t, err)
		a := r.in(t, "a", Request{Query: q, Widen: Widen{Over: 10 * time.Second, Ranges: []Range{{"level", 0, 15}}}})
		b := r.in(t, "b", Request{Properties: properties(t, `{"level":8}`)})
		settle(2400 * time.Millisecond) // up to 7.4
		a.expect(t, "waiting")
		settle(700 * time.Millisecond)
		a.expect(t, "matched [b]")
		b.expect(t, "waiting", "matched [a]")
		// Of places both radii count.
		c := r.in(t, "c", Request{At: at(1, 1), Radius: 100, Widen: Widen{Over: 10 * time.Second, Radius: 2000}})
		d := r.in(t, "d", Request{At: at(1.01, 1), Radius: 1200, Widen: Widen{Over: 4 * time.Second, Radius: 1300}})
		settle(5 * time.Second)
		c.expect(t, "waiting")
		settle(time.Second)
		c.expect(t, "matched [d]")
		d.Close()
	})
}

func TestAGroupIsAsLargeAsItCanBeWhenPatienceIsOver(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		q := Request{Min: 2, Max: 4, Patience: 3 * time.Second}
		a, b, c := r.in(t, "a", q), r.in(t, "b", q), r.in(t, "c", q)
		settle(2900 * time.Millisecond)
		a.expect(t, "waiting")
		settle(200 * time.Millisecond)
		a.expect(t, "matched [b c]")
		b.expect(t, "waiting", "matched [a c]")
		c.expect(t, "waiting", "matched [a b]")
		for _, name := range []string{"d", "e", "f"} {
			r.in(t, name, q)
		}
		g := r.in(t, "g", q)
		g.expect(t, "waiting", "matched [d e f]")
		small := r.in(t, "small", Request{Min: 2, Max: 4, Patience: time.Second})
		settle(2 * time.Second)
		r.in(t, "pair", Request{}).expect(t, "waiting", "matched [small]") // a pair is as many as it wants
		small.expect(t, "waiting", "matched [pair]")
	})
}

// However patient they are: that they are fewer than they may be is no reason to let
// their time run out.
func TestAGroupThatIsLargeEnoughIsMadeBeforeItsTimeIsOver(t *testing.T) {
	for name, q := range map[string]Request{
		"a bump":          {Gesture: Bump, Min: 2, Max: 4},
		"a short time":    {Min: 2, Max: 4, Timeout: time.Second},
		"great patience":  {Min: 2, Max: 4, Timeout: 10 * time.Second, Patience: time.Hour},
		"no less than it": {Min: 2, Max: 4, Timeout: 3 * time.Second, Patience: 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			solo(t, func(t *testing.T, r *rig) {
				a, b := r.in(t, "a", q), r.in(t, "b", q)
				settle(10 * time.Second)
				a.expect(t, "waiting", "matched [b]")
				b.expect(t, "waiting", "matched [a]")
			})
		})
	}
}

// One whose patience is over closes a group, also for those who would wait for more.
func TestTheFirstWhosePatienceIsOverClosesTheGroup(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		patient := Request{Min: 2, Max: 4, Patience: time.Minute}
		a := r.in(t, "a", patient)
		b := r.in(t, "b", patient)
		settle(5 * time.Second)
		c := r.in(t, "c", Request{Min: 2, Max: 4, Patience: time.Second})
		settle(900 * time.Millisecond)
		a.expect(t, "waiting")
		settle(200 * time.Millisecond)
		a.expect(t, "matched [b c]")
		b.expect(t, "waiting", "matched [a c]")
		c.expect(t, "waiting", "matched [a b]")
	})
}

func TestGroupsAreOfAnySizeUpToEight(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		for size := 2; size <= MaxGroup; size++ {
			q := Request{Key: fmt.Sprint(size), Min: size}
			var all []*device
			for i := range size {
				all = append(all, r.in(t, fmt.Sprint(size, "-", i), q))
				if i < size-1 {
					all[i].expect(t, "waiting")
				}
			}
			for i, d := range all {
				if m := d.in(); len(m.Peers) != size-1 {
					t.Errorf("member %d of a group of %d has %d peers", i, size, len(m.Peers))
				}
			}
		}
	})
}

func TestSwipesMeetTheOppositeOnesAndBumpsMeetBumps(t *testing.T) {
	all := []Gesture{Bump, SwipeLeft, SwipeRight, SwipeUp, SwipeDown}
	meets := map[Gesture]Gesture{Bump: Bump, SwipeLeft: SwipeRight, SwipeRight: SwipeLeft, SwipeUp: SwipeDown, SwipeDown: SwipeUp}
	solo(t, func(t *testing.T, r *rig) {
		for _, one := range all {
			for _, other := range all {
				key := fmt.Sprint(one, other)
				a, b := r.in(t, "a"+key, Request{Key: key, Gesture: one}), r.in(t, "b"+key, Request{Key: key, Gesture: other})
				if matched := a.in().ID != (wire.ID{}); matched != (meets[one] == other) || matched != (b.in().ID != (wire.ID{})) {
					t.Errorf("%v and %v: matched %v", one, other, matched)
				}
			}
		}
	})
}

func TestAGroupLivesUntilOneIsLeft(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		q := Request{Min: 3}
		a, b, c := r.in(t, "a", q), r.in(t, "b", q), r.in(t, "c", q)
		for _, d := range []*device{a, b, c} {
			d.news()
		}
		must(t, b.Leave(b.in().ID, []byte("r")))
		settle(time.Millisecond)
		b.expect(t, "left r 0")
		a.expect(t, "b left [c] false")
		must(t, a.Send(a.in().ID, nil, []byte("two of us")))
		if err := a.Send(a.in().ID, []string{"b"}, nil); err == nil {
			t.Error("one can send to who has left")
		}
		c.expect(t, "b left [a] false", "a: two of us")
		c.Close()
		settle(time.Millisecond)
		a.expect(t, "c left [] true")
		if _, ok := a.Match(a.in().ID); ok {
			t.Error("the match lives")
		}
	})
}

func TestAnotherSessionOfADeviceTakesItsPlaceInAMatch(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		a, b := r.in(t, "a", Request{Replace: true}), r.in(t, "b", Request{Replace: true})
		a.news()
		b.news()
		again := r.in(t, "a", Request{Replace: true, Key: "elsewhere"})
		a.expect(t, "left  1")
		b.expect(t, "a left [] true")
		again.expect(t, "waiting")
	})
}

// Which session is the later one does not depend on when it asks: an earlier one that
// takes part once more, as after its peer has left, does not get the place back.
func TestTheLaterSessionOfADeviceHasItsPlaceHoweverOftenTheEarlierAsks(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		q := anyone
		q.Replace = true
		earlier := r.open("n1", "a")
		settle(time.Second)
		later := r.open("n1", "a")
		later.ask(t, q)
		settle(time.Second)
		earlier.ask(t, q)
		settle(time.Millisecond)
		earlier.expect(t, "waiting", "canceled  1")
		later.expect(t, "waiting")
		b := r.in(t, "b", Request{})
		b.expect(t, "waiting", "matched [a]")
		later.expect(t, "matched [b]")
		settle(time.Second)
		earlier.ask(t, q)
		settle(time.Millisecond)
		earlier.expect(t, "waiting", "canceled  1")
	})
}

func TestASessionHasSoManyTicketsAndAShardToo(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		r.nodes["n1"].room.SetLimits(Limits{PerSession: 2, Tickets: 2})
		d := r.open("n1", "d")
		for i := range 2 {
			d.ask(t, Request{Pool: Pool{"app", fmt.Sprint(i)}})
		}
		if _, err := d.Request(Request{Pool: Pool{"app", "3"}}); err == nil || err.(*Refusal).Code != codeTooMany {
			t.Errorf("a third one: %v", err)
		}
		settle(time.Millisecond)
		d.expect(t, "waiting", "waiting")
		r.in(t, "e", Request{}).expect(t, "refused  BUSY")
		d.Close()
		settle(time.Millisecond)
		r.in(t, "e", Request{}).expect(t, "waiting")
	})
}

func TestAShardHasSoManyMatches(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		r.nodes["n1"].room.SetLimits(Limits{Matches: 1})
		a, b := r.in(t, "a", Request{}), r.in(t, "b", Request{})
		a.expect(t, "waiting", "matched [b]")
		b.expect(t, "waiting", "matched [a]")
		r.in(t, "c", Request{}).expect(t, "refused  BUSY")
		a.Close()
		settle(time.Millisecond)
		r.in(t, "c", Request{}).expect(t, "waiting")
	})
}

func TestNothingIsHeardOfAClosedSession(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		a := r.in(t, "a", Request{})
		a.Close()
		b := r.in(t, "b", Request{})
		b.expect(t, "waiting")
		a.expect(t, "waiting")
		if _, err := a.Request(anyone); err == nil {
			t.Error("a closed session can ask")
		}
	})
}

func TestPoolsOfDifferentAppsAndNamesAreDifferent(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		for _, p := range []Pool{{"a", "p"}, {"b", "p"}, {"a", "q"}, {"", "p"}, {"a", ""}} {
			if p.Name == "" {
				continue
			}
			r.in(t, "d", Request{Pool: p}).expect(t, "waiting")
		}
	})
}

// The log does not grow with what is over.
func TestTheLogHoldsWhatLives(t *testing.T) {
	solo(t, func(t *testing.T, r *rig) {
		long := r.in(t, "long", Request{Key: "long"})
		r.in(t, "too", Request{Key: "long"})
		log, written := r.logs[0], 0
		for i := 0; i < 200; i++ {
			var all []*device
			for j := range 400 {
				q := anyone
				q.Key, q.Properties = fmt.Sprint(i, j/2), properties(t, `{"about":"some words, so that it is as long as properties are in the end of the day"}`)
				d := r.open("n1", fmt.Sprint(i, "-", j))
				d.ask(t, q)
				all = append(all, d)
			}
			settle(time.Millisecond)
			for _, d := range all {
				d.Close()
			}
			settle(time.Millisecond)
		}
		size := 0
		for _, b := range log.batches {
			size += len(b.buf)
		}
		written = int(log.seq)
		if log.purged == 0 || size > 6<<20 {
			t.Errorf("the log has %d bytes in %d batches after %d, purged below %d", size, len(log.batches), written, log.purged)
		}
		r.own(0, "n1") // a new owner, which reads it
		settle(3 * time.Second)
		must(t, long.Send(long.in().ID, nil, []byte("still here")))
		if heard := long.news(); !slices.Equal(heard, []string{"waiting", "matched [too]"}) {
			t.Errorf("it heard %q", heard)
		}
	})
}
