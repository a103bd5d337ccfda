package webhooks

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func TestViewsOfAllNodesAddUp(t *testing.T) {
	at := func(s int64) time.Time { return time.Unix(s, 0) }
	a := view{Attempts: 9, Delivered: 5, Failed: 1, LastSuccess: at(10), LastFailure: at(3), LastReason: "old"}
	b := view{Attempts: 7, Delivered: 2, Failed: 2, Stuck: 3, Failing: true, LastSuccess: at(4), LastFailure: at(8), LastReason: "new"}
	want := view{Attempts: 16, Delivered: 7, Failed: 3, Stuck: 3, Failing: true, LastSuccess: at(10), LastFailure: at(8), LastReason: "new"}
	for _, pair := range [][2]view{{a, b}, {b, a}} {
		var v view
		v.add(pair[0])
		v.add(pair[1])
		if v != want {
			t.Errorf("%+v", v)
		}
	}
	if want.state() != StateFailing || a.state() != StateOK || (&view{}).state() != StateIdle {
		t.Error("the state of all is not the worst of any")
	}
}

func TestANodeIsToldWhatHasChangedAndNothingElse(t *testing.T) {
	var o others
	one, two := Name{"ANZ", "one"}, Name{"ANZ", "two"}
	views := map[Name]view{one: {Delivered: 1}, two: {}}
	want := func(what string, node string, list ...said) {
		t.Helper()
		if got := o.news(node, views); !reflect.DeepEqual(got, list) {
			t.Errorf("%s: %+v, want %+v", what, got, list)
		}
	}
	o.up("b")
	want("what is nothing yet", "b", said{one, view{Delivered: 1}})
	o.tell("b", o.news("b", views))
	want("nothing new", "b")
	views[two] = view{Failing: true, LastReason: "no"}
	want("one that changed", "b", said{two, views[two]})
	o.tell("b", o.news("b", views))
	delete(views, one)
	want("one that was taken away", "b", said{Of: one})
	o.tell("b", o.news("b", views))
	want("which is said once", "b")
	o.down("b")
	o.up("b")
	want("a new conversation", "b", said{two, views[two]})
}

func TestWhatANodeSaidCountsUntilItIsGone(t *testing.T) {
	var o others
	sum := func() uint64 {
		v := view{Delivered: 100}
		o.add(&v, billing)
		return v.Delivered
	}
	want := func(what string, n uint64) {
		t.Helper()
		if got := sum(); got != n {
			t.Errorf("%s: %d, want %d", what, got, n)
		}
	}
	want("alone", 100)
	o.hear("b", []said{{billing, view{Delivered: 1}}, {Name{"ANZ", "other"}, view{Delivered: 50}}})
	o.hear("c", []said{{billing, view{Delivered: 20}}})
	want("two others", 121)
	o.hear("b", []said{{billing, view{Delivered: 3}}})
	want("one that went on", 123)
	o.down("b")
	want("one whose link is down", 123)
	o.hear("c", []said{{Of: billing}})
	want("one from which the webhook was taken away", 103)
	o.gone("b")
	want("one that is gone", 100)
}

func TestWhatIsSaidIsReadAsItWasWritten(t *testing.T) {
	var list []said
	for i := range 300 {
		list = append(list, said{Name{"ANZ", fmt.Sprint("hook-", i)}, view{
			Attempts: uint64(i), Delivered: 1, Failed: 2, Stuck: 3, Failing: true,
			LastSuccess: time.Unix(int64(i), 5e6).UTC(), LastFailure: time.Unix(7, 0).UTC(), LastReason: strings.Repeat(`"é`, 100),
		}})
	}
	messages, of := appendSaid(list)
	if len(messages) < 2 || len(messages) != len(of) {
		t.Fatalf("%d messages of %d lists", len(messages), len(of))
	}
	var read []said
	for i, m := range messages {
		var some []said
		if err := json.Unmarshal(m, &some); err != nil || len(m) > 2*tellBytes || !reflect.DeepEqual(some, of[i]) {
			t.Errorf("message %d, of %d bytes: %v", i, len(m), err)
		}
		read = append(read, some...)
	}
	if !reflect.DeepEqual(read, list) {
		t.Error("what was read is something else")
	}
	if messages, _ := appendSaid(nil); messages != nil {
		t.Errorf("%q says nothing", messages)
	}
}

// company is several rooms, which are nodes of one server: with one queue and one
// history, and links that hand over at once.
type company struct {
	mu       sync.Mutex
	rooms    map[string]*stage
	cut      bool
	messages int
	here     string // who keeps the queue
}

type wayFrom struct {
	*company
	id string
}

// Send implements Nodes.
func (w wayFrom) Send(to string, parts ...[]byte) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return false
	}
	w.messages++
	go w.rooms[to].room.PeerReceive(w.id, bytes.Join(parts, nil))
	return true
}

// keep has the queue be on a node.
func (c *company) keep(id string) {
	for _, now := range []string{"", id} { // a queue is closed before another node opens it
		c.mu.Lock()
		c.here = now
		c.mu.Unlock()
		for _, s := range c.rooms {
			s.room.Moved()
		}
		synctest.Wait()
	}
}

func (c *company) linked(up bool) {
	c.mu.Lock()
	c.cut = !up
	c.mu.Unlock()
	for id, s := range c.rooms {
		for peer := range c.rooms {
			switch {
			case peer == id:
			case up:
				s.room.PeerUp(peer)
			default:
				s.room.PeerDown(peer)
			}
		}
	}
	synctest.Wait()
}

func (c *company) sent() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.messages
}

// companies runs a test of two nodes, a and b, with a receiver.
func companies(t *testing.T, r *receiver, f func(c *company, a, b *stage)) {
	synctest.Test(t, func(t *testing.T) {
		network, stop := serve(r)
		defer stop()
		c := &company{rooms: make(map[string]*stage)}
		for _, id := range []string{"a", "b"} {
			s := newStage(t, "http://receiver.example/hook")
			if id == "b" {
				s.queue, s.archive = c.rooms["a"].queue, c.rooms["a"].archive
			}
			s.options.Queue, s.options.Archive, s.options.Dial = s.queue, s.archive, network.dial
			s.options.Nodes = wayFrom{c, id}
			s.options.Place = func(Name) any {
				c.mu.Lock()
				defer c.mu.Unlock()
				if c.here != id {
					return nil
				}
				return id
			}
			c.rooms[id] = s.begin()
			defer s.stop()
		}
		c.linked(true)
		c.keep("a")
		f(c, c.rooms["a"], c.rooms["b"])
		for _, s := range c.rooms {
			s.stop()
		}
		synctest.Wait()
	})
}

func TestEveryNodeShowsWhatAllHavePosted(t *testing.T) {
	r := answer(t, func(w http.ResponseWriter, _ *http.Request, _ arrival) { w.WriteHeader(http.StatusTeapot) })
	companies(t, r, func(c *company, a, b *stage) {
		shows := func(what, state string, stuck int, delivered uint64, waiting int) {
			t.Helper()
			time.Sleep(tellEvery + time.Millisecond)
			synctest.Wait()
			for id, s := range c.rooms {
				if got := s.status(); got.State != state || got.StuckUsers != stuck || got.Delivered != delivered || got.Waiting.Events != waiting {
					t.Errorf("%s: %s shows %+v", what, id, got)
				}
			}
		}
		shows("nothing was posted", StateIdle, 0, 0, 0)
		a.fill(6, 1)
		shows("the circuit is open on one of them", StateFailing, 6, 0, 6)
		if x, y := a.status(), b.status(); y.LastReason != "it answered with status 418" || x.LastFailure.Sub(y.LastFailure) > tellEvery {
			t.Errorf("the last failure is %q at %v, on the other %q at %v", x.LastReason, x.LastFailure, y.LastReason, y.LastFailure)
		}
		r.set(nil)
		c.keep("b")
		shows("the other one posts, and it works", StateOK, 0, 6, 0)
		if got := b.status(); got.LastReason != "it answered with status 418" || got.LastSuccess.Before(got.LastFailure) {
			t.Errorf("%+v", got)
		}
		c.keep("a")
		a.fill(2, 1)
		shows("both have posted", StateOK, 0, 8, 0)

		before := c.sent()
		time.Sleep(time.Hour)
		if n := c.sent() - before; n != 0 {
			t.Errorf("%d messages, and nothing had changed", n)
		}

		c.linked(false)
		a.fill(3, 1)
		time.Sleep(time.Minute)
		synctest.Wait()
		if n := b.status().Delivered; n != 8 {
			t.Errorf("over no link it heard of %d", n)
		}
		c.linked(true)
		shows("the link is back", StateOK, 0, 11, 0)

		a.room.PeerGone("b")
		if n := a.status().Delivered; n != 5 {
			t.Errorf("of a node that is gone %d count", n-5)
		}
	})
}

func TestAReplayOnANodeThatDoesNotPostComesOnce(t *testing.T) {
	r := answer(t, nil)
	companies(t, r, func(_ *company, a, b *stage) {
		ids := a.fill(20, 1)
		time.Sleep(2 * tellEvery)
		synctest.Wait()
		done, err := b.room.Replay(t.Context(), billing, Replay{State: Delivered})
		if err != nil || done.Events != len(ids) || done.Next != nil {
			t.Errorf("%+v %v", done, err)
		}
		time.Sleep(2 * tellEvery)
		synctest.Wait()
		a.judge(ids, r.got())
		if n := len(r.got()); n != 2*len(ids) {
			t.Errorf("%d arrived, want each twice", n)
		}
		for id, n := range map[string]uint64{"a": a.status().Delivered, "b": b.status().Delivered} {
			if n != uint64(2*len(ids)) {
				t.Errorf("%s shows %d", id, n)
			}
		}
	})
}

func TestWhatCannotBeReadOfAnotherNodeIsCounted(t *testing.T) {
	companies(t, answer(t, nil), func(_ *company, a, _ *stage) {
		a.room.PeerReceive("b", []byte("{"))
		a.room.PeerReceive("b", []byte(`[{"Of":{"App":"ANZ","Name":"billing"},"Delivered":3,"Later":{}}]`))
		if n := a.metric("unread_total"); n != 1 {
			t.Errorf("%v could not be read", n)
		}
		if n := a.status().Delivered; n != 3 {
			t.Errorf("of a later version's words %d were heard", n)
		}
	})
}

// Whoever adds up what all nodes show would count it once for each of them.
func TestWhatWaitsIsAMetricOfTheNodeThatKeepsIt(t *testing.T) {
	r := answer(t, func(w http.ResponseWriter, _ *http.Request, _ arrival) { w.WriteHeader(http.StatusTeapot) })
	companies(t, r, func(c *company, a, b *stage) {
		a.fill(6, 1)
		want := func(what string, waits, dropped [2]float64) {
			t.Helper()
			for i, s := range []*stage{a, b} {
				if w, d := s.metric("waiting"), s.metric("dropped_total"); w != waits[i] || d != dropped[i] {
					t.Errorf("%s: node %d shows that %v wait and %v were dropped, want %v and %v", what, i+1, w, d, waits[i], dropped[i])
				}
			}
		}
		a.queue.drop(4)
		want("kept by the first", [2]float64{6, 0}, [2]float64{4, 0})
		a.queue.drop(5)
		want("more is dropped", [2]float64{6, 0}, [2]float64{5, 0})
		c.keep("b")
		a.queue.drop(2) // a keeper counts anew
		want("kept by the second", [2]float64{0, 6}, [2]float64{5, 2})
		a.queue.mu.Lock()
		a.queue.silent = errors.New("it does not answer")
		a.queue.mu.Unlock()
		want("which does not answer", [2]float64{0, 0}, [2]float64{5, 2})
	})
}
