package nearby

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// pair is a keeper and a desk with one session, which writes down what it hears.
type pair struct {
	t    *testing.T
	now  time.Time
	core *core
	desk *desk
	v    *viewer
	said []string
	full bool
}

func newPair(t *testing.T, l Limits) *pair {
	p := &pair{t: t, now: start, core: newCore(0, l), desk: newDesk(l, 1)}
	p.v = p.desk.open("app", p)
	return p
}

func (p *pair) say(text string) bool {
	if !p.full {
		p.said = append(p.said, text)
	}
	return !p.full
}

func (p *pair) Answer(id string, a Answer, reference []byte) bool {
	if a.Cells != nil {
		return p.say(fmt.Sprintf("answer %s cells %d total %d", id, len(a.Cells), a.Total))
	}
	return p.say(fmt.Sprintf("answer %s%s %s", id, reference, names(a.Users)))
}
func (p *pair) Enter(id string, users []User) bool { return p.say("enter " + id + " " + names(users)) }
func (p *pair) Move(id string, users []User) bool  { return p.say("move " + id + " " + names(users)) }
func (p *pair) Leave(id string, users []string) bool {
	return p.say("leave " + id + " " + strings.Join(users, ","))
}
func (p *pair) Cells(id string, cells []Cell) bool {
	return p.say(fmt.Sprintf("cells %s %d", id, len(cells)))
}
func (p *pair) Trouble(id string, _ []byte, _ error) bool { return p.say("trouble " + id) }

func names(users []User) string {
	list := make([]string, len(users))
	for i := range users {
		list[i] = users[i].User
	}
	return strings.Join(list, ",")
}

func (p *pair) put(user int, lat float64) {
	p.t.Helper()
	if err := p.core.put(p.now, "app", fmt.Sprint("app-", user), Position{Lat: lat}); err != nil {
		p.t.Fatal(err)
	}
}

func (p *pair) watch(id string, v View) {
	p.t.Helper()
	if err := p.desk.watch(p.now, p.v, id, v, []byte("!")); err != nil {
		p.t.Fatal(err)
	}
}

// round has all be said that is to be said now, and returns what the session heard.
func (p *pair) round() []string {
	p.t.Helper()
	list, _ := p.desk.requests(p.now)
	for _, q := range list {
		reply, _, err := p.core.serve(p.now, "n", q.Request)
		if err != nil {
			p.t.Fatal(err)
		}
		p.desk.done(p.now, q.Shard, reply, nil)
	}
	for _, m := range p.core.news(p.now.UnixMilli()) {
		if err := p.desk.heard(m.Message); err != nil {
			p.t.Fatal(err)
		}
	}
	p.desk.flush(p.now)
	said := p.said
	p.said = nil
	return said
}

// expect has time pass, and compares what the session hears.
func (p *pair) expect(after time.Duration, want ...string) {
	p.t.Helper()
	p.now = p.now.Add(after)
	if got := p.round(); !slices.Equal(got, want) {
		p.t.Fatalf("after %s it hears %q, not %q", p.now.Sub(start), got, want)
	}
}

func TestASessionHearsWhoIsThereAndThenWhatChanges(t *testing.T) {
	p := newPair(t, Limits{})
	p.put(1, 0.002)
	p.put(2, 0.001)
	p.put(3, 1)
	p.watch("w", View{Radius: 1000})
	p.expect(0, "answer w! app-2,app-1")
	p.expect(time.Second)
	p.put(3, 0.003)
	p.expect(time.Second, "enter w app-3")
	p.put(1, 0.0021)
	p.put(2, 0.0011)
	p.expect(time.Second, "move w app-2,app-1")
	p.put(1, 1)
	if _, err := p.core.hide(p.now, "app", "app-2"); err != nil {
		t.Fatal(err)
	}
	p.expect(time.Second, "leave w app-1,app-2")
	p.now = p.now.Add(5 * time.Minute)
	p.core.tick(p.now)
	p.expect(0, "leave w app-3")
}

// A node is not told of what nobody on it looks at.
func TestANodeHearsOnlyOfWhereItLooks(t *testing.T) {
	p := newPair(t, Limits{})
	p.watch("w", View{Radius: 1000})
	p.expect(0, "answer w! ")
	at := func(user int, lat float64, says bool) {
		t.Helper()
		p.put(user, lat)
		p.now = p.now.Add(time.Second)
		if parcels := p.core.news(p.now.UnixMilli()); (len(parcels) > 0) != says {
			t.Errorf("of a user at %v a node that looks at 0 is sent %d parcels", lat, len(parcels))
		}
	}
	at(1, 1, false)
	at(1, 1.001, false)
	at(1, 0.001, true)
	at(1, 1, true) // for he has left
	at(1, 1.001, false)
	if err := p.desk.unwatch(p.v, "w"); err != nil {
		t.Fatal(err)
	}
	p.round()
	at(2, 0.001, false)
}

func TestChangesComeInAtMostTenFramesASecondAndAreNotForgotten(t *testing.T) {
	p := newPair(t, Limits{Rate: 1000})
	p.put(1, 0)
	p.put(2, 0)
	p.watch("w", View{Radius: 1000})
	p.watch("x", View{Radius: 500_000})
	p.round()
	p.put(1, 0.001)
	p.put(2, 1)
	p.put(3, 0)
	frames := 0
	for range 100 {
		p.now = p.now.Add(10 * time.Millisecond)
		p.put(1, 0.001*float64(p.now.UnixMilli()%7))
		frames += len(p.round())
	}
	if frames != 10 {
		t.Errorf("%d frames in a second", frames)
	}
	for id, want := range map[string][]string{"w": {"app-1", "app-3"}, "x": {"app-1", "app-2", "app-3"}} {
		var told []string
		for user := range p.v.watches[id].told {
			told = append(told, fmt.Sprint("app-", user))
		}
		slices.Sort(told)
		if !slices.Equal(told, want) {
			t.Errorf("watch %s knows %v, not %v", id, told, want)
		}
	}
}

func TestASessionWithoutRoomHearsLaterHowThingsAreThen(t *testing.T) {
	p := newPair(t, Limits{})
	p.watch("w", View{Radius: 1000})
	p.full = true
	p.put(1, 0)
	p.expect(0)
	p.full = false
	p.expect(50*time.Millisecond, "answer w! app-1")
	p.full = true
	p.put(1, 0.001)
	p.put(2, 0)
	p.expect(time.Second)
	p.put(1, 0.002)
	p.put(2, 1)
	p.expect(time.Second)
	p.full = false
	p.expect(50*time.Millisecond, "move w app-1")
	p.expect(time.Second)
}

func TestASessionWithoutRoomIsNotAskedAllTheTime(t *testing.T) {
	p := newPair(t, Limits{})
	p.put(1, 0)
	o := new(deaf)
	if err := p.desk.watch(p.now, p.desk.open("app", o), "w", View{Radius: 1000}, nil); err != nil {
		t.Fatal(err)
	}
	for range 100 {
		p.round()
		p.now = p.now.Add(10 * time.Millisecond)
	}
	if o.asked != 20 {
		t.Errorf("an answer is made %d times in a second", o.asked)
	}
}

// deaf is a session that never has room.
type deaf struct {
	silent
	asked int
}

func (o *deaf) Answer(string, Answer, []byte) bool {
	o.asked++
	return false
}

func TestWhereThereAreManyASessionHearsNumbersOfCells(t *testing.T) {
	p := newPair(t, Limits{Users: 10})
	for i := range 10 {
		p.put(i, 0.001*float64(i))
	}
	p.watch("w", View{Radius: 5000})
	p.expect(0, "answer w! app-0,app-1,app-2,app-3,app-4,app-5,app-6,app-7,app-8,app-9")
	for i := range 5 {
		p.put(10+i, 0.0001*float64(i))
	}
	if said := p.round(); len(said) == 0 || !strings.HasPrefix(said[len(said)-1], "enter") && !strings.Contains(said[0], "total 15") {
		t.Fatalf("it hears %q", said)
	}
	p.now = p.now.Add(time.Second)
	p.round()
	if w := p.v.watches["w"]; w.cells == nil {
		t.Fatal("it is told users still")
	}
	// So many that the keeper tells numbers only: nobody is known here.
	for i := range 20 {
		p.put(20+i, 0.0001*float64(i))
	}
	for range 3 {
		p.now = p.now.Add(time.Second)
		p.round()
	}
	w := p.v.watches["w"]
	sum := 0
	for _, n := range w.cells {
		sum += n
	}
	if sum != 35 {
		t.Errorf("%d are counted, not 35", sum)
	}
	if n := len(p.desk.areas["app"].people); n > 20 {
		t.Errorf("the desk knows %d users of a cell that is told in numbers", n)
	}
	for i := range 35 {
		if _, err := p.core.hide(p.now, "app", fmt.Sprint("app-", i)); err != nil {
			t.Fatal(err)
		}
	}
	for range 3 {
		p.now = p.now.Add(time.Second)
		p.said = nil
		p.round()
	}
	if w.cells != nil || len(w.told) != 5 {
		t.Errorf("of those who are left it knows %d", len(w.told))
	}
}

func TestAWatchReplacesTheOneOfItsNameAndEndsWhenItIsToldTo(t *testing.T) {
	p := newPair(t, Limits{Watches: 2})
	p.put(1, 0)
	p.put(2, 1)
	p.watch("w", View{Radius: 1000})
	p.expect(0, "answer w! app-1")
	p.watch("w", View{Lat: 1, Radius: 1000})
	p.expect(0, "answer w! app-2")
	p.put(1, 0.001)
	p.expect(time.Second)
	p.watch("x", View{Radius: 1000})
	p.expect(0, "answer x! app-1")
	if err := p.desk.watch(p.now, p.v, "y", View{Radius: 1}, nil); fieldOf(err) != wire.CodeTooMany {
		t.Errorf("a third one: %v", err)
	}
	if err := p.desk.watch(p.now, p.v, "", View{Radius: 1}, nil); fieldOf(err) != "id" {
		t.Errorf("one without a name: %v", err)
	}
	if err := p.desk.watch(p.now, p.v, "x", View{}, nil); fieldOf(err) != "radius" {
		t.Errorf("one that is none: %v", err)
	}
	if err := p.desk.unwatch(p.v, "x"); err != nil {
		t.Error(err)
	}
	if err := p.desk.unwatch(p.v, "x"); fieldOf(err) != wire.CodeNotFound {
		t.Errorf("once more: %v", err)
	}
	p.put(1, 0.002)
	p.expect(time.Second)
	p.desk.close(p.v)
	p.round()
	if n := len(p.core.crowds["app"].wants); n != 0 || len(p.desk.areas) != 0 {
		t.Errorf("%d cells are wanted for nobody", n)
	}
}

func TestWhoGetsNoAnswerHearsSoOnceAndTheAnswerWhenItCan(t *testing.T) {
	p := newPair(t, Limits{})
	p.put(1, 0)
	p.watch("w", View{Radius: 1000})
	for p.now.Before(start.Add(4 * time.Second)) {
		list, _ := p.desk.requests(p.now)
		for _, q := range list {
			p.desk.done(p.now, q.Shard, nil, errors.New("nobody is there"))
		}
		p.now = p.now.Add(100 * time.Millisecond)
		p.desk.flush(p.now)
	}
	if !slices.Equal(p.said, []string{"trouble w"}) {
		t.Errorf("it hears %q", p.said)
	}
	p.said = nil
	p.expect(time.Second, "answer w! app-1")
}

func TestWhatAKeeperSaysAnewIsNotToldAgain(t *testing.T) {
	p := newPair(t, Limits{})
	p.put(1, 0)
	p.put(2, 0)
	p.watch("w", View{Radius: 1000})
	p.round()
	p.put(2, 1)
	p.put(3, 0)
	p.core.news(p.now.UnixMilli()) // and lost
	p.desk.moved(0)
	p.expect(time.Second, "enter w app-3")
	p.expect(time.Second, "leave w app-2")
	p.expect(time.Second)
}

func TestManyWhoBeginToLookKeepNoChangeFromOthers(t *testing.T) {
	p := newPair(t, Limits{portion: 20, Rate: 1000})
	for user := range 40 {
		p.put(user, float64(user/5))
	}
	p.watch("0", View{Radius: 1000})
	for p.v.watches["0"].fresh {
		p.round()
	}
	others := p.desk.open("app", p)
	look := func(id string, lat float64) {
		if err := p.desk.watch(p.now, others, id, View{Lat: lat, Radius: 1000}, nil); err != nil {
			t.Fatal(err)
		}
	}
	answered := func(most int) {
		t.Helper()
		for left := 7; left > 0; {
			p.now = p.now.Add(100 * time.Millisecond)
			p.put(0, 0.0001*float64(1+left))
			said := p.round()
			if len(said)-1 > most || !slices.Contains(said, "move 0 app-0") {
				t.Fatalf("with %d to be answered they hear %q", left, said)
			}
			left -= len(said) - 1
			p.put(0, 0)
		}
	}
	for i := range 7 {
		look(fmt.Sprint(i+1), float64(i+1)) // where nobody has looked
	}
	answered(2)
	for i := range 7 {
		look(fmt.Sprint(i+1), 0) // where all is known
	}
	answered(4)
}
