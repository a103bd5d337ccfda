package node

import (
	"crypto/rand"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// What was said to be stored arrives, once, and in order while the routes stay,
// whatever is killed and breaks.
func TestNothingIsLostTwiceOrOutOfOrderBetweenDomains(t *testing.T) {
	for seed := range uint64(3) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, links := ring([]int{0, 1, 2, 3, 4, 0, 1, 2, 4})
				w, roads, stop := build(t, []chart{c}, links)
				defer stop()
				want := w.sendAll(300, false, seed, faulty(t, w, roads, seed, func(*mathrand.Rand) {}))
				w.quiet(t, func() {})
				sent, lost, twice, reordered := w.judge(t, c, want)
				t.Logf("%d killed, %d roads broken, %d stores silent, %d sent again; of %d: lost %d, duplicated %d, reordered %d",
					w.kills.Load(), w.breaks.Load(), w.silences.Load(), w.again.Load(), sent, lost, twice, reordered)
				if w.kills.Load() == 0 || w.breaks.Load() == 0 || lost+twice+reordered > 0 {
					t.Fail()
				}
			})
		})
	}
}

// While routes change under way order is not promised, and what goes to several may
// come twice when it is sent again; everything else is.
func TestNothingIsLostOrTwiceWhileRoutesChange(t *testing.T) {
	for seed := range uint64(4) {
		singles := seed%2 == 0
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				homes := []int{0, 1, 2, 3, 4, 0, 1, 2, 4}
				one, links := ring(homes)
				charts := []chart{one}
				for i := range 30 { // now this way round, now that
					c, _ := ring(homes)
					if i%2 == 0 {
						c.next = [][]int{{-1, 3, 3, 3, 3}, {2, -1, 2, 2, 2}, {4, 1, -1, 4, 4}, {0, 4, 4, -1, 4}, {3, 2, 2, 3, -1}}
					}
					charts = append(charts, c)
				}
				w, roads, stop := build(t, charts, links)
				defer stop()
				version := int64(1)
				want := w.sendAll(300, singles, seed, faulty(t, w, roads, seed, func(chance *mathrand.Rand) {
					version = min(version+1, int64(len(charts)))
					for _, i := range chance.Perm(len(w.sites)) {
						w.sites[i].graph.Store(version)
						w.sites[i].move()
						time.Sleep(time.Duration(chance.IntN(5)) * time.Millisecond)
					}
				}))
				w.quiet(t, func() {
					for _, s := range w.sites {
						s.graph.Store(version)
						s.move()
					}
				})
				sent, lost, twice, reordered := w.judge(t, charts[version-1], want)
				t.Logf("%d killed, %d roads broken, %d stores silent, %d versions, %d sent again; of %d: lost %d, duplicated %d, reordered %d",
					w.kills.Load(), w.breaks.Load(), w.silences.Load(), version, w.again.Load(), sent, lost, twice, reordered)
				if w.changes.Load() == 0 || lost > 0 || singles && twice > 0 {
					t.Fail()
				}
			})
		})
	}
}

// What a sender's outbox sends again by another road, and so under another ID, is known
// by its number.
func TestAnOutboxThatIsSentAgainByAnotherRoadIsDeliveredOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, links := ring([]int{0, 1, 2, 3, 4, 0, 1, 2, 4})
		w, _, stop := build(t, []chart{c}, links)
		defer stop()
		come := func(from int, seq uint64) {
			t.Helper()
			id, err := wire.NewID(time.Now(), rand.Reader)
			if err != nil {
				t.Fatal(err)
			}
			f := wire.Forward{
				ID: id, Log: "log", Place: seq, Low: 1, Origin: "d0", From: "A-0", To: []wire.UserID{"A-2"}, Hops: 2, Graph: 1,
				Producer: "phone", Seq: seq, Frame: wire.AppendMessage(nil, "A-0", fmt.Appendf(nil, "%d", seq), nil),
			}
			done := make(chan error, 1)
			w.sites[2].hub.Forward(&f, delivery.Neighbour{Domain: siteName(from), Link: siteLink(from)}, func(err error) { done <- err })
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		come(1, 7)
		come(1, 8)
		come(4, 7)
		come(4, 9)
		var got []string
		for _, frame := range w.sites[2].list("A-2") {
			f, err := wire.ParseServerFrame([]byte(frame))
			if err != nil {
				t.Fatal(err)
			}
			_, content, _ := wire.ParseDelivery(f.Data)
			got = append(got, string(content))
		}
		if !slices.Equal(got, []string{"7", "8", "9"}) {
			t.Errorf("there came %v", got)
		}
	})
}

// person is a user's session, which proves all that it gets.
type person struct {
	keeper *mailbox.Keeper
	id     wire.ID

	mu  sync.Mutex
	got []string
}

func (s *site) person(user, tell wire.UserID) *person {
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		s.t.Fatal(err)
	}
	p := &person{keeper: s.kept(), id: id}
	p.keeper.Open(mailbox.Session{ID: id, User: user, TellMaster: tell, Push: true, Outlet: p})
	return p
}

func (p *person) Opened(uint64) {}
func (p *person) FetchDone(int) {}
func (p *person) Settled(uint64) {
}
func (p *person) Deliver(d mailbox.Delivery) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.got = append(p.got, string(d.Frame))
	n := d.N
	go p.keeper.Prove(p.id, n) // the bubble waits for it
}

func (p *person) frames() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}

// What keepers have to tell those who live elsewhere finds its way to them, once.
func TestWhatKeepersTellReachesOtherDomains(t *testing.T) {
	homes := []int{0, 1, 2, 3, 4, 0, 1, 2, 4}
	synctest.Test(t, func(t *testing.T) {
		c, links := ring(homes)
		w, _, stop := buildWith(t, func(l *mailbox.Limits) { l.Messages = 2 }, []chart{c}, links)
		defer stop()
		sender := w.sites[0].person("A-0", "")
		send := func(content string, ttl time.Duration) {
			w.sites[0].hub.Send(&delivery.Send{
				From: "A-0", To: []wire.UserID{"A-2"}, Content: []byte(content), Reference: []byte(`"` + content + `"`), Confirm: true, TTL: ttl,
			})
			time.Sleep(time.Second)
		}
		heard := func(want ...string) {
			t.Helper()
			time.Sleep(time.Second)
			got := sender.frames()
			ok := len(got) == len(want)
			for i := range want {
				ok = ok && strings.Contains(got[i], want[i])
			}
			if !ok {
				t.Errorf("the sender heard %q, want %q", got, want)
			}
		}
		send("1", 5*time.Second)
		send("2", 0)
		send("3", 0) // no room
		heard(`"code":"MAILBOX_FULL","reason":"the mailbox of A-2 is full","to":"A-2"},"reference":"3"`)
		time.Sleep(10 * time.Second)
		heard(`"3"`, `"code":"EXPIRED"`)
		receiver := w.sites[2].person("A-2", "A-3")
		heard(`"3"`, `"to":"A-2"},"reference":"1"`, `{"type":"MESSAGE_CONFIRMATION","data":{"reference":"2"}}`)
		if got := receiver.frames(); len(got) != 1 {
			t.Errorf("the receiver got %q", got)
		}
		if got := w.sites[3].list("A-3"); len(got) != 1 || got[0] != `{"type":"USER_CONNECTED","data":{"userId":"A-2"}}` {
			t.Errorf("the master user, who lives elsewhere, hears %q", got)
		}
	})
	// What waits too long for a link is told with those whom it was for.
	synctest.Test(t, func(t *testing.T) {
		c, _ := ring(homes)
		w, _, stop := build(t, []chart{c}, nil)
		defer stop()
		w.sites[0].hub.Send(&delivery.Send{
			From: "A-0", To: []wire.UserID{"A-2", "A-1"}, Group: true, Content: []byte("1"), Reference: []byte(`"r"`), TTL: time.Second,
		})
		time.Sleep(5 * time.Second)
		if got := w.sites[0].list("A-0"); len(got) != 1 || !strings.Contains(got[0], `"EXPIRED"`) || !strings.Contains(got[0], `"to":["A-2","A-1"]},"reference":"r"`) {
			t.Errorf("the sender hears %q", got)
		}
	})
}

// A request that counts once does so for receivers everywhere, and says so when it is
// sent again.
func TestARequestThatIsSentAgainCountsOnceEverywhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, links := ring([]int{0, 1, 2, 3, 4, 0, 1, 2, 4})
		w, _, stop := build(t, []chart{c}, links)
		defer stop()
		for again := range 3 {
			if again == 2 { // the next keeper knows it, too
				w.sites[0].kill()
				w.sites[0].start()
			}
			var list []*delivery.Send
			stored := &counter{}
			for i, to := range [][]wire.UserID{{"A-0"}, {"A-2"}, {"A-0", "A-2", "A-3", "A-4", "A-5"}, {"A-3"}} {
				list = append(list, &delivery.Send{
					From: "A-1", To: to, Group: len(to) > 1, Content: fmt.Appendf(nil, "%d", i), Index: i, Receipt: true, Origin: stored,
				})
			}
			w.sites[0].hub.SendAll(list, &delivery.Once{Key: [16]byte{1}, Print: 1, Count: len(list)})
			w.quiet(t, func() {})
			if got := stored.n.Load(); got != int64(len(list)) {
				t.Errorf("time %d: %d of %d are said to be stored", again, got, len(list))
			}
			for i, s := range list {
				if s.Repeated != (again > 0) {
					t.Errorf("time %d: message %d was stored before: %v", again, i, s.Repeated)
				}
			}
		}
		for user, want := range map[wire.UserID]int{"A-0": 2, "A-2": 2, "A-3": 2, "A-4": 1, "A-5": 1} {
			if got := w.sites[c.homes[user.Number()]].list(user); len(got) != want {
				t.Errorf("%s got %q", user, got)
			}
		}
	})
}

// counter counts what is stored.
type counter struct{ n atomic.Int64 }

func (c *counter) Stored(wire.ID, []byte)     { c.n.Add(1) }
func (c *counter) Failed(*wire.Error, []byte) {}
