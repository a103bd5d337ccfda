package nearby

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/grid"
)

// Whoever moves the map all the time looks ten times a second, at last where he moved it
// last, and is answered for that.
func TestWhoMovesTheMapAllTheTimeLooksTenTimesASecond(t *testing.T) {
	p := newPair(t, Limits{Watches: 3})
	p.put(1, 0)
	answers := 0
	for i := range 1000 { // in two seconds
		p.watch("w", View{Lat: float64(i % 7), Radius: 1000})
		answers += len(p.round())
		p.now = p.now.Add(2 * time.Millisecond)
	}
	if most := 3 + 20 + 1; answers > most || answers < 20 {
		t.Errorf("in two seconds there are %d answers, not 20 to %d", answers, most)
	}
	p.watch("w", View{Radius: 1000})
	p.expect(time.Second, "answer w! app-1")
	p.expect(time.Second)
}

// A watch that waits for its turn counts, may be ended, and is another one if it is
// said to be.
func TestAWatchThatWaitsForItsTurnIsOne(t *testing.T) {
	p := newPair(t, Limits{Watches: 2})
	p.put(1, 0)
	for range 3 {
		p.watch("a", View{Lat: 5, Radius: 1000})
	}
	p.watch("b", View{Radius: 1000}) // waits
	if p.desk.watch(p.now, p.v, "c", View{Radius: 1000}, nil) == nil {
		t.Error("a third watch is taken while one waits")
	}
	if err := p.desk.unwatch(p.v, "b"); err != nil {
		t.Errorf("a watch that waits cannot be ended: %v", err)
	}
	if p.desk.unwatch(p.v, "b") == nil {
		t.Error("a watch is ended twice")
	}
	p.watch("b", View{Lat: 5, Radius: 1000})
	p.watch("b", View{Radius: 1000})
	p.expect(0, "answer a! ")
	p.expect(time.Second, "answer b! app-1")
	p.watch("a", View{Radius: 1000})
	p.watch("a", View{Radius: 1000})
	p.watch("a", View{Radius: 1000})
	p.desk.close(p.v)
	p.expect(time.Second)
}

// What a keeper is to hear does not pile up, neither here while it does not answer nor
// there while it takes up what was said before.
func TestWhatAKeeperIsToHearDoesNotPileUp(t *testing.T) {
	d := newDesk(Limits{}, 1)
	d.requests(start) // nothing is wanted
	v := d.open("app", silent{})
	now := start
	look := func(lat float64) {
		t.Helper()
		if err := d.watch(now, v, "w", View{Lat: lat, Radius: 1000}, nil); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Second)
		d.flush(now)
	}
	look(0)
	first, _ := d.requests(now)
	if len(first) != 1 {
		t.Fatalf("there are %d requests", len(first))
	}
	for i := range 1000 {
		look(float64(i % 2))
	}
	if n := len(d.talks[0].queue); n > 2*covers {
		t.Errorf("of two views %d cells are to be heard of", n)
	}

	c := newCore(0, Limits{})
	if reply, _, err := c.serve(now, "n", first[0].Request); err != nil || reply[0] != answerTaken {
		t.Fatalf("the first request is answered with %v, %v", reply, err)
	}
	d.done(now, 0, []byte{answerTaken}, nil)
	for i := range maxCommands { // a request that is full
		d.talks[0].say(place{"app", grid.CellAt(12, float64(i%170)-85, float64(i/170))})
	}
	second, _ := d.requests(now)
	if reply, _, err := c.serve(now, "n", second[0].Request); err != nil || reply[0] != answerTaken {
		t.Fatalf("the second request is answered with %v, %v", reply, err)
	}
	d.done(now, 0, []byte{answerTaken}, nil)
	third, _ := d.requests(now)
	reply, _, err := c.serve(now, "n", third[0].Request)
	if err != nil || reply[0] != answerLater {
		t.Fatalf("with much to take up, a request is answered with %v, %v", reply, err)
	}
	waits := slices.Clone(d.talks[0].sent)
	d.done(now, 0, reply, nil)
	if list, next := d.requests(now); len(list) != 0 || !next.After(now) {
		t.Errorf("it is said again at once")
	}
	now = now.Add(firstPause)
	if list, _ := d.requests(now); len(list) != 1 || !slices.Equal(list[0].Request, third[0].Request) || !slices.Equal(d.talks[0].sent, waits) {
		t.Errorf("something else is said later")
	}
}

// A watch of very many, who are told as numbers, costs what its cells cost, not what the
// users in it would.
func TestAWatchThatIsToldNumbersKeepsNoUsers(t *testing.T) {
	p := newPair(t, Limits{Users: 10})
	for i := range 15 {
		p.put(i, float64(i)*0.0001)
	}
	p.watch("w", View{Radius: 10_000})
	if said := p.round(); len(said) != 1 || p.v.watches["w"].members != nil {
		t.Errorf("it hears %q, and keeps %d", said, len(p.v.watches["w"].members))
	}
	for i := range 8 {
		if _, err := p.core.hide(p.now, "app", fmt.Sprint("app-", i)); err != nil {
			t.Fatal(err)
		}
	}
	p.expect(0)
	p.expect(time.Second, "cells w 1")
	p.expect(time.Second, "answer w app-8,app-9,app-10,app-11,app-12,app-13,app-14")
}

func TestSeveralShardsTellUsersOfNoMoreThanOneDoes(t *testing.T) {
	for shards, want := range map[int]int{0: 2000, 1: 2000, 2: 2000, 6: 698, 64: 94} {
		l := Limits{Users: 1000, shards: shards}
		if got := l.dense(); got != want {
			t.Errorf("with %d shards up to %d users of each are told, not %d", shards, got, want)
		}
	}
}
