package members

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const lease5 = 5 * time.Second

var began = time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)

// judge is a core with a clock, and what it said should be done.
type judge struct {
	*core
	now  time.Time
	said []string
}

func newJudge() *judge {
	j := &judge{core: newCore("id-me", "me", Range{1, 2}, lease5, time.Second), now: began}
	j.in = true
	j.tick(j.now, true)
	return j
}

func (j *judge) note(list []doing) {
	for _, d := range list {
		kind := []string{"joined", "died", "remove", "foreign", "replaced", "passed", "restated"}[d.what]
		j.said = append(j.said, kind+" "+d.peer.ID)
	}
}

func (j *judge) hears(id, name string, beat uint64) {
	j.note(j.row(Member{ID: id, Name: name, Status: Up}, Range{1, 1}, beat, j.now))
}

// passes has time pass, with a tick each quarter of a second.
func (j *judge) passes(d time.Duration, valid bool) {
	for end := j.now.Add(d); j.now.Before(end); {
		j.now = j.now.Add(min(250*time.Millisecond, end.Sub(j.now)))
		j.note(j.tick(j.now, valid))
	}
}

// says checks what was said since it was asked last.
func (j *judge) says(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(j.said, want) {
		t.Errorf("at %s: %q, want %q", j.now.Sub(began), j.said, want)
	}
	j.said = nil
}

func TestANodeThatDoesNotBeatForALeaseIsDeadAndKeptForAWhile(t *testing.T) {
	j := newJudge()
	j.hears("id-b", "b", 1)
	j.says(t, "joined id-b")
	for beat := range uint64(10) {
		j.passes(4*time.Second, true)
		j.hears("id-b", "b", beat+2)
	}
	j.says(t)
	j.passes(lease5-time.Millisecond, true)
	j.hears("id-b", "b", 11) // said before: no beat
	if !j.alive("id-b") {
		t.Error("found dead before its time")
	}
	j.passes(time.Second, true)
	j.says(t, "died id-b")
	if list := j.list(); j.alive("id-b") || len(list) != 1 || list[0].Status != Unreachable {
		t.Errorf("%+v", list)
	}
	j.passes(Kept+time.Second, true)
	j.says(t, "remove id-b")
	j.note(j.wiped("id-b", j.now))
	j.says(t)
	if len(j.list()) != 0 {
		t.Errorf("%+v", j.list())
	}
}

func TestANodeThatComesBackJoinsAgain(t *testing.T) {
	j := newJudge()
	j.hears("id-b", "b", 1)
	j.passes(time.Minute, true)
	j.hears("id-b", "b", 2)
	j.says(t, "joined id-b", "died id-b", "joined id-b")
	if list := j.list(); list[0].Status != Up {
		t.Errorf("%+v", list)
	}
	j.note(j.wiped("id-b", j.now))
	j.says(t, "died id-b")
}

func TestANodeIsReplacedAtOnceByItsNextRun(t *testing.T) {
	j := newJudge()
	j.hears("id-b1", "b", 7)
	j.hears("id-b2", "b", 1)
	j.says(t, "joined id-b1", "died id-b1", "joined id-b2")
	j.hears("id-b1", "b", 8) // it still runs, or its last row came late
	j.says(t)
	if j.alive("id-b1") || !j.alive("id-b2") || len(j.list()) != 1 {
		t.Errorf("%+v", j.list())
	}
	// Who finds both there cannot tell which is the later one.
	k := newJudge()
	k.note(k.found(Member{ID: "id-b2", Name: "b"}, Range{1, 1}, 1, k.now))
	k.note(k.found(Member{ID: "id-b1", Name: "b"}, Range{1, 1}, 7, k.now))
	k.note(k.wiped("id-b1", k.now))
	k.says(t, "joined id-b2", "joined id-b1", "died id-b1")
}

func TestANodeTakesItsNameFromItsEarlierRunsAndLosesItToALaterOne(t *testing.T) {
	j := newJudge()
	j.note(j.found(Member{ID: "id-old", Name: "me"}, Range{1, 1}, 7, j.now))
	j.says(t, "remove id-old")
	j.hears("id-old", "me", 8)
	j.says(t)
	j.hears("id-new", "me", 1)
	if !slices.Contains(j.said, "replaced id-new") {
		t.Errorf("%q", j.said)
	}
	// Of two that begin at the same time one stays.
	for other, want := range map[string]bool{"id-a": false, "id-z": true} {
		k := newJudge()
		k.in = false
		k.note(k.row(Member{ID: other, Name: "me", Status: Joining}, Range{1, 1}, 1, k.now))
		if got := strings.Contains(fmt.Sprint(k.said), "replaced"); got != want {
			t.Errorf("%s: %q", other, k.said)
		}
	}
}

// finds says whether the process of b has ended, if that is to be found out.
func (j *judge) finds(has bool) (asked bool) {
	for _, m := range j.missing(j.now) {
		j.ended(m.ID, has, j.now)
		asked = true
	}
	return asked
}

func TestANodeWhoseProcessHasEndedIsDeadBeforeItsLeaseIsOver(t *testing.T) {
	j := newJudge()
	j.hears("id-b", "b", 1)
	j.passes(time.Second, true)
	if j.finds(true) {
		t.Error("it is asked whether a node has ended that has missed no beat")
	}
	j.passes(250*time.Millisecond, true)
	j.finds(true)
	j.passes(250*time.Millisecond, true)
	j.finds(true)
	j.passes(250*time.Millisecond, true)
	j.says(t, "joined id-b") // this node may be where the minority is
	j.own = j.now
	j.passes(250*time.Millisecond, false)
	j.says(t) // it is lost, and judges nobody
	if !j.finds(true) || j.finds(true) {
		t.Error("it is not asked once in a quarter of a beat")
	}
	j.passes(250*time.Millisecond, true)
	j.finds(true)
	j.own = j.now.Add(time.Millisecond)
	j.passes(250*time.Millisecond, true)
	j.says(t, "died id-b")
	if j.alive("id-b") {
		t.Error("it is alive")
	}
	j.hears("id-b", "b", 2) // its machine was wrong
	j.says(t, "joined id-b")
	j.passes(lease5-time.Millisecond, true)
	j.says(t)
}

func TestANodeThatIsSlowHasItsWholeLease(t *testing.T) {
	for what, between := range map[string]func(j *judge){
		"its process has not ended":      func(j *judge) { j.finds(false) },
		"it beats between two findings":  func(j *judge) { j.finds(true); j.hears("id-b", "b", 2); j.passes(time.Second, true); j.finds(true) },
		"it beats while it is found out": func(j *judge) { j.missing(j.now); j.hears("id-b", "b", 2); j.ended("id-b", true, j.now) },
		"this process did not run": func(j *judge) {
			j.finds(true)
			j.passes(250*time.Millisecond, true)
			j.finds(true)
			j.now = j.now.Add(time.Minute)
		},
	} {
		j := newJudge()
		j.hears("id-b", "b", 1)
		j.passes(2*time.Second, true)
		between(j)
		j.own = j.now.Add(time.Millisecond)
		j.passes(1250*time.Millisecond, true)
		if j.says(t, "joined id-b"); !j.alive("id-b") {
			t.Error(what)
		}
	}
}

func TestTimeInWhichThisNodeDidNotRunOrWasLostCountsForNobody(t *testing.T) {
	frozen := newJudge()
	frozen.hears("id-b", "b", 1)
	frozen.passes(4*time.Second, true)
	frozen.now = frozen.now.Add(time.Hour) // no tick
	frozen.passes(500*time.Millisecond, true)
	frozen.says(t, "joined id-b")
	frozen.passes(time.Second, true)
	frozen.says(t, "died id-b")

	lost := newJudge()
	lost.hears("id-b", "b", 1)
	lost.passes(4*time.Second, true)
	lost.passes(time.Hour, false)
	lost.back(lost.now)
	lost.passes(lease5*3/5-time.Millisecond, true)
	lost.says(t, "joined id-b")
	lost.passes(time.Second, true)
	lost.says(t, "died id-b")
}

func TestANodeOfAnotherVersionIsNoMember(t *testing.T) {
	j := newJudge()
	j.note(j.row(Member{ID: "id-b", Name: "b", Status: Joining}, Range{3, 4}, 1, j.now))
	j.note(j.row(Member{ID: "id-b", Name: "b", Status: Joining}, Range{3, 4}, 2, j.now))
	j.says(t, "foreign id-b")
	if j.alive("id-b") || len(j.list()) != 0 {
		t.Errorf("%+v", j.list())
	}
}

func TestWhoComesToNodesOfAnotherVersionIsRefusedByThoseThatLive(t *testing.T) {
	for _, c := range []struct {
		what   string
		id     string
		status Status
		beats  bool
		waits  time.Duration
		known  bool
		by     bool
	}{
		{"one that is up and beats", "id-b", Up, true, 0, true, true},
		{"one that has not shown yet whether it lives", "id-b", Up, false, time.Second, false, false},
		{"one that is dead", "id-b", Up, false, lease5, true, false},
		{"one that came earlier and joins as well", "id-a", Joining, true, 0, true, true},
		{"one that came later", "id-z", Joining, true, 0, true, false},
	} {
		j := newJudge()
		j.in = false
		j.note(j.found(Member{ID: c.id, Name: "b", Status: c.status}, Range{3, 4}, 1, j.now))
		if c.beats {
			j.note(j.row(Member{ID: c.id, Name: "b", Status: c.status}, Range{3, 4}, 2, j.now))
		}
		j.passes(c.waits, true)
		if by, known := j.refusal(j.now); known != c.known || (by != nil) != c.by {
			t.Errorf("%s: known %v, by %v", c.what, known, by)
		}
	}
}

func TestOnlySoManyNodesAreKnown(t *testing.T) {
	j := newJudge()
	for i := range maxPeers + 1 {
		j.hears(fmt.Sprint("id-", i), fmt.Sprint("n", i), 1)
	}
	if last := j.said[len(j.said)-1]; last != fmt.Sprint("passed id-", maxPeers) || len(j.list()) != maxPeers {
		t.Error(last, len(j.list()))
	}
}

// Whatever is heard and however time passes, joined and died take turns for each
// node, one that is alive was said to have joined, and nobody is dead who beats.
func TestJoinedAndDiedTakeTurns(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		j := newJudge()
		there, beats := map[string]bool{}, map[string]uint64{}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			id := rapid.SampledFrom([]string{"id-a1", "id-a2", "id-b1", "id-c1"}).Draw(t, "id")
			switch rapid.IntRange(0, 4).Draw(t, "what") {
			case 0, 1:
				beats[id]++
				j.hears(id, id[:4], beats[id])
				if p := j.peers[id]; !p.gone && !j.alive(id) {
					t.Fatalf("%s beats and is dead", id)
				}
			case 2:
				j.note(j.wiped(id, j.now))
			case 3:
				j.passes(time.Duration(rapid.IntRange(1, 7000).Draw(t, "ms"))*time.Millisecond, rapid.Bool().Draw(t, "valid"))
			case 4:
				j.now = j.now.Add(time.Duration(rapid.IntRange(1, 20_000).Draw(t, "frozen")) * time.Millisecond)
			}
			for _, s := range j.said {
				what, id, _ := strings.Cut(s, " ")
				if what == "remove" {
					continue
				}
				if what != "joined" && what != "died" || there[id] == (what == "joined") {
					t.Fatalf("%s, and it was there: %v", s, there[id])
				}
				there[id] = what == "joined"
			}
			j.said = nil
			for id, is := range there {
				if j.alive(id) != is {
					t.Fatalf("%s: alive %v, said to be there: %v", id, j.alive(id), is)
				}
			}
		}
	})
}
