package main

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/load"
	"github.com/seed-3d8c1042/switchboard/internal/nearby"
)

const (
	// watchRadius is what an onlooker sees, in metres.
	watchRadius = 5000
	// newsPeriod is how often a mover says where he is.
	newsPeriod = 10 * time.Second
	// answerTime is how long watchers may wait for their answers.
	answerTime = time.Minute
	// quietTime is after how long without any news no more is expected.
	quietTime = time.Second
)

// watch has some look around while others move, and measures how soon they know: all that
// they are told from when each of them has its answer on.
func (c nearbyCommand) watch(ctx context.Context, f *plain, found *load.Nearby) error {
	told := &told{}
	for i := range c.Watchers {
		p := &f.places[i*(len(f.places)/c.Watchers)]
		s := f.room.Open(nearbyApp, &onlooker{told: told})
		defer s.Close()
		if err := s.Watch("map", nearby.View{Lat: p[0], Lon: p[1], Radius: watchRadius}, nil); err != nil {
			return err
		}
	}
	m := &movers{plain: f, of: c.Movers, began: time.Now()}
	if err := m.move(ctx, func(now time.Time) bool { return told.answered(c.Watchers) || now.Sub(m.began) > answerTime }); err != nil {
		return err
	}
	if !told.answered(c.Watchers) {
		return fmt.Errorf("after %s watchers wait for an answer", answerTime)
	}
	began := told.begin()
	if err := m.move(ctx, func(now time.Time) bool { return now.Sub(began) >= c.Duration }); err != nil {
		return err
	}
	m.of = 0 // and what is on its way comes, too
	if err := m.move(ctx, told.quiet); err != nil {
		return err
	}
	told.end(found)
	return nil
}

// movers are users who say every newsPeriod where they are, one after the other.
type movers struct {
	*plain
	of    int // how many they are: one in so many, all over the plain
	began time.Time
	moved int // since then, by all of them
}

// move has them move until it is over.
func (m *movers) move(ctx context.Context, over func(now time.Time) bool) error {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for now := time.Now(); !over(now); {
		if err := m.until(now); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case now = <-tick.C:
		}
	}
	return nil
}

// until has those move whose time has come. What they say is as old as that, so that a
// wait for the room counts with all for whom it makes it late.
func (m *movers) until(now time.Time) error {
	for m.of > 0 {
		at := m.began.Add(newsPeriod / time.Duration(m.of) * time.Duration(m.moved))
		if at.After(now) {
			break
		}
		i := m.moved * 7919 % m.of * (len(m.places) / m.of) // so that those who follow each other are no neighbours
		m.moved++
		m.step(i)
		if err := m.put(i, at); err != nil {
			return err
		}
	}
	return nil
}

// told is what watchers were told.
type told struct {
	mu      sync.Mutex // guards what follows
	counts  bool
	took    []float64 // µs
	frames  int64
	last    time.Time // when there was news
	answers int       // of watchers who have one
}

// answered says whether so many have had their answer.
func (t *told) answered(watchers int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.answers >= watchers
}

// begin counts from now on.
func (t *told) begin() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts, t.last = true, time.Now()
	return t.last
}

// quiet says whether there is no more to come.
func (t *told) quiet(now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return now.Sub(t.last) >= quietTime
}

func (t *told) end(found *load.Nearby) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.counts = false
	slices.Sort(t.took)
	if n := len(t.took); n > 0 {
		found.P50, found.P99 = t.took[n/2], t.took[n*99/100]
	}
	found.News, found.Frames = int64(len(t.took)), t.frames
}

func (t *told) news(users []nearby.User) bool {
	now := time.Now()
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.counts {
		return true
	}
	t.frames, t.last = t.frames+1, now
	for i := range users {
		t.took = append(t.took, float64(now.Sub(users[i].At))/float64(time.Microsecond))
	}
	return true
}

// onlooker is a session that looks.
type onlooker struct {
	told     *told
	answered bool
}

// Answer implements nearby.Outlet.
func (w *onlooker) Answer(string, nearby.Answer, []byte) bool {
	w.told.mu.Lock()
	defer w.told.mu.Unlock()
	if !w.answered {
		w.answered = true
		w.told.answers++
	}
	return true
}

// Enter implements nearby.Outlet.
func (w *onlooker) Enter(_ string, users []nearby.User) bool { return w.told.news(users) }

// Move implements nearby.Outlet.
func (w *onlooker) Move(_ string, users []nearby.User) bool { return w.told.news(users) }

// Leave implements nearby.Outlet.
func (w *onlooker) Leave(string, []string) bool { return true }

// Cells implements nearby.Outlet.
func (w *onlooker) Cells(string, []nearby.Cell) bool { return true }

// Trouble implements nearby.Outlet.
func (w *onlooker) Trouble(string, []byte, error) bool { return true }
