package node

import (
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// sender sends one message after the other out of its outbox: each until it is
// stored.
type sender struct {
	user  wire.UserID
	site  func() *site
	seq   uint64
	heard chan bool
}

func (o *sender) Stored(wire.ID, []byte) { o.heard <- true }
func (o *sender) Failed(e *wire.Error, _ []byte) {
	select {
	case o.heard <- false:
	default:
	}
}

func (o *sender) send(to []wire.UserID) string {
	o.seq++
	content := fmt.Appendf(nil, "%d", o.seq)
	for stored := false; !stored; {
		o.heard = make(chan bool, 16)
		settled := make(chan struct{})
		s := &delivery.Send{
			From: o.user, To: slices.Clone(to), Group: len(to) > 1, Content: content, Receipt: true, Origin: o,
			Producer: "phone", Seq: o.seq, Done: func() { close(settled) },
		}
		o.site().hub.Send(s)
		<-settled
		close(o.heard)
		stored = len(o.heard) > 0
		for ok := range o.heard {
			stored = stored && ok
		}
		if !stored {
			o.site().world.again.Add(1)
			time.Sleep(10 * time.Millisecond)
		}
	}
	return string(wire.AppendNumbered(nil, o.user, content, nil, "phone", o.seq))
}

// quiet waits until nothing is under way any more.
func (w *world) quiet(t *testing.T, each func()) {
	t.Helper()
	for range 2_000 {
		each()
		time.Sleep(50 * time.Millisecond)
		synctest.Wait()
		left := 0
		for _, s := range w.sites {
			for i := range w.sites {
				m, err := s.kept().Mailbox(t.Context(), siteLink(i))
				if left += m.Messages; err != nil { // its store has not come back yet
					left++
				}
			}
		}
		if left == 0 {
			return
		}
	}
	t.Fatal("messages are under way for ever")
}

const people = 9

// sendAll has everybody send to others until all have sent so many, while faults
// happen, and returns what each should get of whom.
func (w *world) sendAll(each int, singles bool, seed uint64, faults func(stop <-chan struct{})) map[wire.UserID]map[wire.UserID][]string {
	want := map[wire.UserID]map[wire.UserID][]string{}
	var mu sync.Mutex
	var sending, failing sync.WaitGroup
	stop := make(chan struct{})
	failing.Go(func() { faults(stop) })
	for n := range people {
		sending.Go(func() {
			chance := mathrand.New(mathrand.NewPCG(seed, uint64(n)))
			user := wire.UserID(fmt.Sprintf("A-%d", n))
			o := &sender{user: user, site: func() *site { // where it lives by what is newest anywhere
				newest := int64(0)
				for _, s := range w.sites {
					newest = max(newest, s.graph.Load())
				}
				return w.sites[w.charts[newest].homes[n]]
			}}
			for range each {
				var to []wire.UserID
				for _, i := range chance.Perm(people)[:1+chance.IntN(3)] {
					to = append(to, wire.UserID(fmt.Sprintf("A-%d", i)))
				}
				if singles {
					to = to[:1]
				}
				frame := o.send(to)
				mu.Lock()
				for _, u := range to {
					if want[u] == nil {
						want[u] = map[wire.UserID][]string{}
					}
					want[u][user] = append(want[u][user], frame)
				}
				mu.Unlock()
				time.Sleep(time.Duration(chance.IntN(2_000)) * time.Microsecond)
			}
		})
	}
	sending.Wait()
	close(stop)
	failing.Wait()
	return want
}

// judge counts what was lost, came twice or out of order.
func (w *world) judge(t *testing.T, c chart, want map[wire.UserID]map[wire.UserID][]string) (sent, lost, twice, reordered int) {
	t.Helper()
	for n := range people {
		user := wire.UserID(fmt.Sprintf("A-%d", n))
		for i, s := range w.sites {
			if list := s.list(user); i != c.homes[n] && len(list) > 0 {
				t.Errorf("%s lives in d%d, and %d messages wait in d%d", user, c.homes[n], len(list), i)
			}
		}
		got := map[string][]string{}
		for _, frame := range w.sites[c.homes[n]].list(user) {
			f, err := wire.ParseServerFrame([]byte(frame))
			if err != nil || f.Type != wire.TypeMessage {
				t.Errorf("%s got %s", user, frame)
				continue
			}
			from, _, _ := wire.ParseDelivery(f.Data)
			got[string(from)] = append(got[string(from)], frame)
		}
		for from, list := range want[user] {
			sent += len(list)
			counts := map[string]int{}
			for _, frame := range got[string(from)] {
				counts[frame]++
			}
			var once []string
			for _, frame := range got[string(from)] {
				if !slices.Contains(once, frame) {
					once = append(once, frame)
				}
			}
			for _, frame := range list {
				switch counts[frame] {
				case 0:
					lost++
				case 1:
				default:
					twice += counts[frame] - 1
				}
			}
			if len(once) == len(list) && !slices.Equal(once, list) {
				reordered++
			}
		}
	}
	return sent, lost, twice, reordered
}

// 0 - 1 - 2
// |       |
// 3 ----- 4      and where everybody lives.
func ring(homes []int) (chart, [][2]int) {
	return chart{homes: homes, next: [][]int{
		{-1, 1, 1, 3, 3},
		{0, -1, 2, 0, 2},
		{1, 1, -1, 4, 4},
		{0, 0, 4, -1, 4},
		{3, 2, 2, 3, -1},
	}}, [][2]int{{0, 1}, {1, 2}, {0, 3}, {3, 4}, {2, 4}}
}

// faulty breaks roads and kills keepers.
func faulty(t *testing.T, w *world, roads []*road, seed uint64, more func(chance *mathrand.Rand)) func(<-chan struct{}) {
	return func(stop <-chan struct{}) {
		chance := mathrand.New(mathrand.NewPCG(seed, 99))
		for {
			select {
			case <-stop:
				return
			case <-time.After(time.Duration(1+chance.IntN(30)) * time.Millisecond):
			}
			switch chance.IntN(4) {
			case 0:
				s := w.sites[chance.IntN(len(w.sites))]
				s.kill()
				w.kills.Add(1)
				time.Sleep(time.Duration(chance.IntN(20)) * time.Millisecond)
				s.start()
			case 1:
				select {
				case roads[chance.IntN(len(roads))].broken <- struct{}{}:
					w.breaks.Add(1)
				case <-time.After(100 * time.Millisecond):
				}
			case 3:
				d := w.sites[chance.IntN(len(w.sites))].disk
				d.silent.Store(true)
				time.Sleep(time.Duration(chance.IntN(10)) * time.Millisecond)
				d.silent.Store(false)
				w.silences.Add(1)
			case 2:
				w.changes.Add(1)
				more(chance)
			}
		}
	}
}
