package webhooks

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

// begin is when the tests of the machine begin.
func begin() time.Time { return time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC) }

// rig is a machine with a clock, and a memory of all that it did. It fails the
// test when the machine breaks a promise.
type rig struct {
	t   rapid.TB
	m   *machine
	now time.Time
	n   uint64

	order  map[string][]*event // of each user, as they arrived
	flying []*event
	done   []effect
	ended  map[*event]effectKind
	posts  int
}

func newRig(t rapid.TB, concurrency int) *rig {
	return &rig{
		t: t, m: newMachine(limits{concurrency, 72 * time.Hour}, func() float64 { return 0.5 }),
		now: begin(), order: make(map[string][]*event), ended: make(map[*event]effectKind),
	}
}

// arrive has an event about a user arrive that happened a while ago.
func (r *rig) arrive(user string, ago time.Duration) *event {
	r.n++
	ev := &event{n: r.n, user: user, since: r.now.Add(-ago)}
	r.order[user] = append(r.order[user], ev)
	r.m.arrive(r.now, ev)
	r.see()
	return ev
}

// answer ends an attempt.
func (r *rig) answer(ev *event, o outcome) {
	r.t.Helper()
	r.land(ev)
	r.m.answered(r.now, ev, o)
	r.see()
}

// breakOff ends an attempt as if there had been none.
func (r *rig) breakOff(ev *event) {
	r.t.Helper()
	r.land(ev)
	attempts := ev.attempts
	if r.m.withdrawn(r.now, ev); ev.attempts != attempts {
		r.t.Fatalf("event %d counts an attempt that was broken off", ev.n)
	}
	r.see()
}

func (r *rig) land(ev *event) {
	r.t.Helper()
	i := slices.Index(r.flying, ev)
	if i < 0 {
		r.t.Fatalf("event %d of %s is not on its way", ev.n, ev.user)
	}
	r.flying = slices.Delete(r.flying, i, i+1)
}

// fail and succeed end the attempt at the next event of a user.
func (r *rig) fail(user string)    { r.t.Helper(); r.answer(r.onWay(user), outcome{reason: "no"}) }
func (r *rig) succeed(user string) { r.t.Helper(); r.answer(r.onWay(user), outcome{ok: true}) }

// onWay returns the event of a user that is on its way.
func (r *rig) onWay(user string) *event {
	r.t.Helper()
	for _, ev := range r.flying {
		if ev.user == user {
			return ev
		}
	}
	r.t.Fatalf("nothing of %s is on its way", user)
	return nil
}

// wait lets time pass.
func (r *rig) wait(d time.Duration) {
	r.now = r.now.Add(d)
	r.m.turn(r.now)
	r.see()
}

// see takes the machine's effects and checks them.
func (r *rig) see() {
	r.t.Helper()
	for _, e := range r.m.take() {
		first := r.order[e.ev.user][0]
		if e.ev != first {
			r.t.Fatalf("event %d of %s before event %d", e.ev.n, e.ev.user, first.n)
		}
		if e.kind == effPost {
			if slices.ContainsFunc(r.flying, func(f *event) bool { return f.user == e.ev.user }) {
				r.t.Fatalf("two events of %s are on their way", e.ev.user)
			}
			r.flying = append(r.flying, e.ev)
			r.posts++
			continue
		}
		if _, again := r.ended[e.ev]; again || slices.Contains(r.flying, e.ev) {
			r.t.Fatalf("event %d ended while it had ended or was on its way", e.ev.n)
		}
		if e.kind == effGiven && r.now.Before(e.ev.since.Add(r.m.limits.retry)) {
			r.t.Fatalf("event %d was given up too early", e.ev.n)
		}
		r.ended[e.ev] = e.kind
		r.done = append(r.done, e)
		r.order[e.ev.user] = r.order[e.ev.user][1:]
	}
	if r.m.open && len(r.flying) > 1 {
		for _, ev := range r.flying {
			if ev == r.m.probe {
				r.t.Fatalf("a probe beside others: %d on their way", len(r.flying))
			}
		}
	}
	stuck, waiting := 0, 0
	for _, line := range r.order {
		waiting += len(line)
		if len(line) > 0 && line[0].attempts > 0 {
			stuck++
		}
	}
	if stuck != r.m.stuck {
		r.t.Fatalf("%d users are stuck, it counts %d", stuck, r.m.stuck)
	}
	for _, l := range r.m.retries.lines {
		hopeless := r.m.open && r.m.probes >= convinced
		if !r.m.open && len(r.flying) < r.m.limits.concurrency && !l.retryAt.After(r.now) || hopeless && !l.end.After(r.now) {
			r.t.Fatalf("event %d of %s is due and is not seen to", l.events[0].n, l.user)
		}
		if at, ok := r.m.next(); !r.m.open && (ok && l.retryAt.Before(at) || !ok && len(r.flying) < r.m.limits.concurrency) || hopeless && (!ok || l.end.Before(at)) {
			r.t.Fatalf("event %d of %s is forgotten until %s", l.events[0].n, l.user, at)
		}
	}
	if at, ok := r.m.next(); ok && !at.After(r.now) {
		r.t.Fatalf("it wants to be called at %s, and it is %s", at, r.now)
	} else if !ok && waiting > 0 && len(r.flying) == 0 {
		r.t.Fatalf("%d events wait for nothing", waiting)
	}
}

// The promises of the machine, under whatever comes.
func TestWhateverHappensOrderIsKeptAndNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		concurrency := rapid.IntRange(1, 8).Draw(t, "concurrency")
		r := newRig(t, concurrency)
		r.m.chance = func() float64 { return rapid.Float64Range(0, 1).Draw(t, "chance") }
		users := rapid.IntRange(1, 12).Draw(t, "users")
		good := rapid.IntRange(0, 10).Draw(t, "good answers in ten")
		t.Repeat(map[string]func(*rapid.T){
			"arrive": func(t *rapid.T) {
				for range rapid.IntRange(1, 10).Draw(t, "events") {
					user := fmt.Sprint("ANZ-", rapid.IntRange(1, users).Draw(t, "user"))
					r.arrive(user, time.Duration(rapid.IntRange(0, 80).Draw(t, "hours ago"))*time.Hour)
				}
			},
			"answer": func(t *rapid.T) {
				if len(r.flying) == 0 {
					t.Skip("nothing is on its way")
				}
				for range rapid.IntRange(1, 10).Draw(t, "answers") {
					o := outcome{ok: rapid.IntRange(1, 10).Draw(t, "answer") <= good, reason: "no"}
					if !o.ok {
						o.retryAfter = time.Duration(rapid.IntRange(0, 10_000).Draw(t, "retry after")) * time.Second
					}
					if r.answer(rapid.SampledFrom(r.flying).Draw(t, "event"), o); len(r.flying) == 0 {
						break
					}
				}
			},
			"break off": func(t *rapid.T) {
				if len(r.flying) == 0 {
					t.Skip("nothing is on its way")
				}
				r.breakOff(rapid.SampledFrom(r.flying).Draw(t, "event"))
			},
			"wait": func(t *rapid.T) {
				r.wait(time.Duration(rapid.IntRange(0, 10_000).Draw(t, "seconds")) * time.Second)
			},
			"wait until it is due": func(*rapid.T) {
				if at, ok := r.m.next(); ok {
					r.wait(at.Sub(r.now))
				}
			},
			"change": func(*rapid.T) { r.m.changed(r.now); r.see() },
			"limits": func(t *rapid.T) {
				r.m.setLimits(r.now, limits{rapid.IntRange(1, 8).Draw(t, "concurrency"), time.Duration(rapid.IntRange(1, 100).Draw(t, "retry")) * time.Hour})
				r.see()
			},
		})
		r.finish()
		if len(r.ended) != int(r.n) {
			t.Fatalf("%d of %d events ended", len(r.ended), r.n)
		}
	})
}

// finish lets everything arrive, as time passes.
func (r *rig) finish() {
	for len(r.ended) < int(r.n) {
		if len(r.flying) > 0 {
			r.answer(r.flying[0], outcome{ok: true})
		} else if at, ok := r.m.next(); ok {
			r.wait(at.Sub(r.now))
		} else {
			r.t.Fatalf("%d of %d events ended, and nothing goes on", len(r.ended), r.n)
		}
	}
}

func TestOneUsersEventsGoOneAfterTheOtherAndOthersAtOnce(t *testing.T) {
	r := newRig(t, 32)
	for range 3 {
		r.arrive("ANZ-1", 0)
		r.arrive("ANZ-2", 0)
	}
	if len(r.flying) != 2 {
		t.Fatalf("%d on their way, want one of each user", len(r.flying))
	}
	r.succeed("ANZ-1")
	r.succeed("ANZ-1")
	r.fail("ANZ-2")
	if r.succeed("ANZ-1"); len(r.flying) != 0 {
		t.Fatal("a user whose event failed goes on at once")
	}
	r.wait(time.Second)
	r.succeed("ANZ-2")
	r.succeed("ANZ-2")
	r.succeed("ANZ-2")
}

func TestNoMoreThanTheLimitAreOnTheirWayAndTheTurnGoesRound(t *testing.T) {
	r := newRig(t, 2)
	for i := range 4 {
		for range 2 {
			r.arrive(fmt.Sprint("ANZ-", i), 0)
		}
	}
	var users []string
	for len(r.flying) > 0 {
		if len(r.flying) > 2 {
			t.Fatalf("%d are on their way", len(r.flying))
		}
		users = append(users, r.flying[0].user)
		r.answer(r.flying[0], outcome{ok: true})
	}
	if got, want := fmt.Sprint(users), "[ANZ-0 ANZ-1 ANZ-2 ANZ-3 ANZ-0 ANZ-1 ANZ-2 ANZ-3]"; got != want {
		t.Errorf("the turns went %s, want %s", got, want)
	}
}

func TestAnEventIsTriedAfterPausesThatDoubleUntilItsTimeRunsOut(t *testing.T) {
	r := newRig(t, 1)
	r.m.chance = func() float64 { return 0 }
	ev := r.arrive("ANZ-1", 0)
	var pauses []time.Duration
	for last := r.now; r.ended[ev] == 0 && len(r.done) == 0; last = r.now {
		r.fail("ANZ-1")
		at, ok := r.m.next()
		if !ok {
			break
		}
		r.wait(at.Sub(r.now) - 1)
		if len(r.flying) > 0 {
			t.Fatal("tried before it was due")
		}
		r.wait(1)
		pauses = append(pauses, r.now.Sub(last))
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 3600, 3600}
	for i, s := range want {
		if pauses[i] != s*time.Second {
			t.Errorf("pause %d is %s, want %s", i+1, pauses[i], s*time.Second)
		}
	}
	if r.ended[ev] != effGiven || r.now.Sub(ev.since) != 72*time.Hour {
		t.Errorf("it ended as %d after %s, want to be given up after exactly 72 h, with a last attempt", r.ended[ev], r.now.Sub(ev.since))
	}
}

func TestAPauseIsShortenedByChance(t *testing.T) {
	if a, b := delay(1, longestDelay, 0), delay(1, longestDelay, 1); a != time.Second || b != 750*time.Millisecond {
		t.Errorf("the first pause is from %s to %s", b, a)
	}
	if a, b := delay(1000, longestDelay, 0), delay(13, longestDelay, 1); a != time.Hour || b != 45*time.Minute {
		t.Errorf("the longest pause is from %s to %s", b, a)
	}
}

func TestWhatTheReceiverAsksForIsHonouredWithinBounds(t *testing.T) {
	r := newRig(t, 1)
	r.arrive("ANZ-1", 0)
	r.answer(r.flying[0], outcome{reason: "busy", retryAfter: 5 * time.Minute})
	if r.wait(5*time.Minute - 1); len(r.flying) > 0 {
		t.Fatal("tried before the receiver wanted")
	}
	r.wait(1)
	r.answer(r.flying[0], outcome{reason: "busy", retryAfter: 1000 * time.Hour})
	if r.wait(time.Hour); len(r.flying) != 1 {
		t.Fatal("the receiver asked for more than an hour, and got it")
	}
	r.answer(r.flying[0], outcome{reason: "busy", retryAfter: 1}) // less than the pause
	if r.wait(time.Second); len(r.flying) != 0 {
		t.Fatal("the pause was cut short")
	}
}

func TestAnEventThatIsTooOldAlreadyIsTriedOnce(t *testing.T) {
	r := newRig(t, 1)
	a, b := r.arrive("ANZ-1", 100*time.Hour), r.arrive("ANZ-2", 100*time.Hour)
	r.succeed("ANZ-1")
	r.fail("ANZ-2")
	if r.ended[a] != effSent || r.ended[b] != effGiven {
		t.Errorf("they ended as %d and %d", r.ended[a], r.ended[b])
	}
}

// crowded makes a machine whose webhook has failed for everybody.
func crowded(t *testing.T) *rig {
	r := newRig(t, 32)
	r.m.chance = func() float64 { return 0 }
	for i := range 40 {
		r.arrive(fmt.Sprint("ANZ-", i), 0)
	}
	if len(r.flying) != 32 {
		t.Fatalf("%d on their way", len(r.flying))
	}
	for len(r.flying) > 0 {
		r.answer(r.flying[0], outcome{reason: "down"})
	}
	return r
}

func TestAWebhookThatFailsForEverybodyIsTriedByOneRequestAtATime(t *testing.T) {
	r := crowded(t)
	if r.posts != 36 || !r.m.failing() { // five answers, of which four freed a place
		t.Fatalf("%d posts, failing is %v", r.posts, r.m.failing())
	}
	posts := r.posts
	for end := r.now.Add(24 * time.Hour); r.now.Before(end); {
		at, _ := r.m.next()
		r.wait(at.Sub(r.now))
		if len(r.flying) != 1 {
			t.Fatalf("%d on their way", len(r.flying))
		}
		r.answer(r.flying[0], outcome{reason: "down"})
	}
	if probes := r.posts - posts; probes < 24*60 || probes > 24*60+10 {
		t.Errorf("%d attempts in a day, want about one a minute", probes)
	}
}

func TestAtTheFirstSuccessItGoesOnAtFullSpeed(t *testing.T) {
	r := crowded(t)
	r.wait(10 * time.Minute)
	if len(r.flying) != 1 {
		t.Fatalf("%d on their way", len(r.flying))
	}
	r.answer(r.flying[0], outcome{ok: true})
	if len(r.flying) != 32 || r.m.failing() {
		t.Errorf("%d on their way, failing is %v", len(r.flying), r.m.failing())
	}
}

func TestAProbeWaitsAsLongAsTheReceiverAsks(t *testing.T) {
	r := crowded(t)
	r.wait(time.Second)
	r.answer(r.flying[0], outcome{reason: "busy", retryAfter: 30 * time.Minute})
	if r.wait(30*time.Minute - 1); len(r.flying) != 0 {
		t.Error("it did not wait")
	}
	if r.wait(1); len(r.flying) != 1 {
		t.Error("it waited longer")
	}
}

func TestOneUserWhoFailsStopsNobodyElse(t *testing.T) {
	r := newRig(t, 4)
	r.arrive("ANZ-1", 0)
	for i := range 1000 {
		if slices.ContainsFunc(r.flying, func(ev *event) bool { return ev.user == "ANZ-1" }) {
			r.fail("ANZ-1")
		}
		ev := r.arrive(fmt.Sprint("ANZ-", 2+i%2), 0)
		if !slices.Contains(r.flying, ev) {
			t.Fatal("an event of another user waits")
		}
		r.answer(ev, outcome{ok: true})
		r.wait(time.Second)
	}
}

func TestEventsOfADeadWebhookAreGivenUpWithoutAnAttemptForEach(t *testing.T) {
	r := crowded(t)
	r.m.changed(r.now) // 32 on their way again
	for len(r.flying) > 0 {
		r.answer(r.flying[0], outcome{reason: "down"})
	}
	for i := range 1000 {
		r.arrive(fmt.Sprint("ANZ-", i%100), 0)
	}
	posts := r.posts
	for len(r.ended) < int(r.n) {
		if len(r.flying) > 0 {
			r.answer(r.flying[0], outcome{reason: "down"})
			continue
		}
		at, ok := r.m.next()
		if !ok {
			t.Fatal("it waits for nothing")
		}
		r.wait(at.Sub(r.now))
	}
	if probes := r.posts - posts; probes > 72*60+10 {
		t.Errorf("%d attempts in 72 h", probes)
	}
	for _, e := range r.done {
		if e.kind != effGiven || e.ev.last != "down" {
			t.Fatalf("event %d ended as %d, %q", e.ev.n, e.kind, e.ev.last)
		}
	}
	if r.now.Sub(begin()) > 72*time.Hour+time.Second {
		t.Errorf("the last was given up after %s", r.now.Sub(begin()))
	}
}

// After the server was off for days, a few users who fail for themselves are no
// reason to give up what others would take.
func TestOldEventsAreNotGivenUpBeforeItIsCertainThatTheWebhookIsDead(t *testing.T) {
	r := newRig(t, 4)
	for i := range 100 {
		r.arrive(fmt.Sprint("ANZ-", i), 100*time.Hour)
	}
	for range 20 { // ANZ-0 to ANZ-9 fail, the others would not
		for len(r.flying) > 0 {
			ev := r.flying[0]
			r.answer(ev, outcome{ok: ev.n > 10, reason: "no"})
		}
		if at, ok := r.m.next(); ok {
			r.wait(at.Sub(r.now))
		}
	}
	given := 0
	for _, e := range r.done {
		if e.kind == effGiven {
			given++
		}
	}
	if len(r.done) != 100 || given != 10 {
		t.Errorf("%d events ended, %d given up, want 10 of 100", len(r.done), given)
	}
}

func TestANewSettingIsTriedAtOnce(t *testing.T) {
	r := crowded(t)
	r.m.changed(r.now)
	if r.see(); len(r.flying) != 32 || r.m.failing() {
		t.Errorf("%d on their way", len(r.flying))
	}
}

func TestAShorterTimeHoldsForWhatWaits(t *testing.T) {
	r := newRig(t, 1)
	ev := r.arrive("ANZ-1", 0)
	for range 8 {
		r.fail("ANZ-1")
		at, _ := r.m.next()
		r.wait(at.Sub(r.now))
	}
	r.fail("ANZ-1")
	r.m.setLimits(r.now, limits{1, 5 * time.Minute})
	at, _ := r.m.next()
	if at.After(ev.since.Add(5 * time.Minute)) {
		t.Errorf("it is tried at %s, after its end", at)
	}
}
