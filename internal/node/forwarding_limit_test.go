package node

import (
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
		over := make(chan struct{})
		go func() {
			sending.Wait()
			close(over)
		}()
		select {
		case <-over:
		case <-time.After(time.Minute):
			t.Error("the domains wait for each other")
			w.change = nil // so that the users come to an end
			for _, s := range w.sites {
				s.kill()
				s.start()
			}
			<-over
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
