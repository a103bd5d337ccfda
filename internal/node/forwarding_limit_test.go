package node

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Two domains of which each keeps as much as it may for the other go on when their links
// are back, though users fill again at once what becomes free.
func TestDomainsThatAreFullOfMessagesForEachOtherGoOn(t *testing.T) {
	const waiting, each = 100, 1000
	synctest.Test(t, func(t *testing.T) {
		w, _, stop := buildWith(t, func(l *mailbox.Limits) { l.Waiting = waiting }, []chart{{
			homes: []int{0, 1}, next: [][]int{{-1, 1}, {0, -1}},
		}}, [][2]int{{0, 1}})
		defer stop()
		w.cut.Store(true)
		time.Sleep(time.Second)
		users := []wire.UserID{"A-0", "A-1"}
		sent := make([][]string, len(users))
		receivers := make([]*person, len(users))
		var sending sync.WaitGroup
		for i, user := range users {
			receivers[i] = w.sites[i].person(user, "")
			o := &sender{user: user, site: func() *site { return w.sites[i] }}
			sending.Go(func() {
				for range each {
					sent[i] = append(sent[i], o.send(users[1-i:2-i]))
				}
			})
		}
		time.Sleep(time.Second)
		for i, s := range w.sites {
			if m, err := s.kept().Mailbox(t.Context(), siteLink(1-i)); err != nil || m.Messages != waiting {
				t.Fatalf("%d wait in d%d, %v", m.Messages, i, err)
			}
		}
		w.cut.Store(false)
		if !w.goesOn(t, &sending, time.Minute) {
			return
		}
		w.quiet(t, func() {})
		for i := range users {
			lost, twice, reordered := compare(receivers[i].frames(), sent[1-i])
			t.Logf("to %s, of %d: lost %d, duplicated %d, reordered %d", users[i], each, lost, twice, reordered)
			if lost+twice+reordered > 0 {
				t.Fail()
			}
		}
	})
}

// goesOn waits until all is sent, and fails the test where domains wait for each other.
func (w *world) goesOn(t *testing.T, sending *sync.WaitGroup, within time.Duration) bool {
	over := make(chan struct{})
	go func() {
		sending.Wait()
		close(over)
	}()
	select {
	case <-over:
		return true
	case <-time.After(within):
	}
	t.Error("the domains wait for each other")
	w.change = nil // so that the users come to an end
	for _, s := range w.sites {
		s.kill()
		s.start()
	}
	<-over
	return false
}

// compare counts what is wrong with what came of one sender.
func compare(got, sent []string) (lost, twice, reordered int) {
	place, times, last := map[string]int{}, map[string]int{}, -1
	for n, frame := range sent {
		place[frame] = n
	}
	for _, frame := range got {
		switch times[frame]++; {
		case times[frame] > 1:
			twice++
		case place[frame] < last:
			reordered++
		}
		last = max(last, place[frame])
	}
	return len(sent) - len(times), twice, reordered
}

// Domains in between that are filled from both ends, by messages that go through, refuse
// what is too much, and move on: each message arrives, or its sender hears that it does
// not.
func TestDomainsInBetweenThatAreFullOfWhatGoesThroughGoOn(t *testing.T) {
	const waiting, each = 100, 2000
	synctest.Test(t, func(t *testing.T) {
		c := chart{homes: []int{0, 1, 2, 3, 4}, next: [][]int{{-1, 1, 1, 1, 1}, {0, -1, 2, 2, 2}, {1, 1, -1, 3, 3}, {2, 2, 2, -1, 4}, {3, 3, 3, 3, -1}}}
		w, _, stop := buildWith(t, func(l *mailbox.Limits) { l.Waiting = waiting }, []chart{c}, [][2]int{{0, 1}, {1, 2}, {2, 3}, {3, 4}})
		defer stop()
		w.cut.Store(true)
		time.Sleep(time.Second)
		receivers := make(map[int]*person)
		var sending sync.WaitGroup
		for _, i := range []int{0, 1, 3, 4} {
			user, to := wire.UserID(fmt.Sprint("A-", i)), wire.UserID(fmt.Sprint("A-", 4-i))
			receivers[i] = w.sites[i].person(user, "")
			o := &sender{user: user, site: func() *site { return w.sites[i] }}
			sending.Go(func() {
				for range each {
					o.send([]wire.UserID{to})
				}
			})
		}
		time.Sleep(time.Second)
		w.cut.Store(false)
		if !w.goesOn(t, &sending, 10*time.Minute) {
			return
		}
		w.quiet(t, func() {})
		for i, r := range receivers {
			arrived, refused := 0, 0
			for _, frame := range receivers[4-i].frames() {
				if !strings.Contains(frame, wire.NameDeliverFailed) {
					arrived++
				}
			}
			for _, frame := range r.frames() {
				if strings.Contains(frame, wire.NameDeliverFailed) {
					refused++
				}
			}
			t.Logf("of %d from d%d to d%d %d arrived, %d were refused", each, i, 4-i, arrived, refused)
			if arrived+refused != each {
				t.Error("some have no outcome, or two")
			}
		}
	})
}
