package mailbox_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

var hook = mailbox.Subscriber("ANZ", "billing")

// everything subscribes to all that happens in the app ANZ.
func everything() map[string][]mailbox.Subscription {
	return map[string][]mailbox.Subscription{"ANZ": {{
		To: hook, Connected: true, Disconnected: true, Delivered: true, Undelivered: true, Expired: true,
	}}}
}

func subscribed(o *mailbox.Options) { o.Subscriptions = everything() }

// event is what a subscriber gets.
type event struct {
	Type      string
	Timestamp time.Time
	Data      map[string]string
	id        wire.ID
}

// consumer is a session of the subscriber's.
type consumer struct {
	*device
	events []event
}

func (f *fixture) consume(window int) *consumer {
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		f.Fatal(err)
	}
	c := &consumer{device: &device{f: f, id: id}}
	f.Open(mailbox.Session{ID: id, User: hook, Push: true, Each: true, Window: window, Outlet: c})
	return c
}

func (c *consumer) Deliver(d mailbox.Delivery) {
	c.mu.Lock()
	defer c.mu.Unlock()
	var e event
	if err := json.Unmarshal(d.Frame, &e); err != nil {
		c.f.Errorf("%v: %s", err, d.Frame)
	}
	e.id = d.ID
	c.events = append(c.events, e)
}

// want checks of which users events have come.
func (c *consumer) want(names ...string) {
	c.f.Helper()
	time.Sleep(10 * time.Millisecond) // proofs, and what tells of them, may wait for company
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	var got []string
	for _, e := range c.events {
		got = append(got, strings.TrimRight(e.Type+" "+e.Data["userId"]+e.Data["to"]+" "+e.Data["reference"], " "))
	}
	if !slices.Equal(got, names) {
		c.f.Fatalf("events are %q, want %q", got, names)
	}
}

func (c *consumer) count() int {
	synctest.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.events)
}

// A subscriber hears of everything once, in the order in which it happened.
func TestSubscribersHearOfSessionsAndMessages(t *testing.T) {
	inBubble(t, newMemLog(), subscribed, func(f *fixture) {
		c := f.consume(0)
		d := f.open("ANZ-1", false)
		f.AcceptAll([]*mailbox.Message{
			{From: "ANZ-2", To: []wire.UserID{"ANZ-1"}, Frame: []byte("a"), Reference: []byte(`"a"`)},
			{From: "ANZ-2", To: []wire.UserID{"ANZ-3"}, Frame: []byte("b"), Reference: []byte(`"b"`), TTL: time.Hour},
			{From: "OTHER-2", To: []wire.UserID{"ANZ-1"}, Frame: []byte("c"), Reference: []byte(`"c"`)},
		}, nil)
		synctest.Wait()
		d.prove()
		f.Close(d.id)
		heard := []string{"connected ANZ-1", "delivered ANZ-1 a", "disconnected ANZ-1"}
		c.want(heard...)
		if e := c.events[1]; e.Data["app"] != "ANZ" || e.Data["from"] != "ANZ-2" || e.Data["messageId"] == "" || e.Timestamp.IsZero() || e.id.IsZero() {
			t.Errorf("incomplete: %+v", e)
		}
		if c.events[0].Data["sessionId"] != d.id.String() {
			t.Errorf("%+v is not of session %s", c.events[0], d.id)
		}
		time.Sleep(9 * time.Minute)
		c.want(heard...)
		time.Sleep(2 * time.Minute)
		heard = append(heard, "undelivered ANZ-3 b")
		c.want(heard...)
		time.Sleep(time.Hour)
		c.want(append(heard, "expired ANZ-3 b")...)
	})
}

// What is late is told once, whether the keeper was killed before or after.
func TestLateMessagesAreReportedOnceAcrossAKill(t *testing.T) {
	log := newMemLog()
	synctest.Test(t, func(t *testing.T) {
		opts := options(log)
		subscribed(&opts)
		f := start(t, log, opts)
		defer func() { f.stop() }()
		f.AcceptAll([]*mailbox.Message{{From: "ANZ-2", To: []wire.UserID{"ANZ-1"}, Frame: []byte("a"), Reference: []byte(`"a"`)}}, nil)
		time.Sleep(6 * time.Minute)
		f.stop()
		f = start(t, log, opts)
		c := f.consume(0)
		time.Sleep(3 * time.Minute)
		c.want()
		time.Sleep(2 * time.Minute)
		c.want("undelivered ANZ-1 a")
		f.stop()
		f = start(t, log, opts)
		c = f.consume(0)
		time.Sleep(time.Hour)
		c.want("undelivered ANZ-1 a")
	})
}

// A killed node's sessions have left, each once.
func TestSubscribersHearOfSessionsThatAKillEnded(t *testing.T) {
	log := newMemLog()
	synctest.Test(t, func(t *testing.T) {
		opts := options(log)
		subscribed(&opts)
		f := start(t, log, opts)
		defer func() { f.stop() }()
		d := f.open("ANZ-1", false)
		synctest.Wait()
		f.stop() // leaves the session open in the log, as a kill does
		f = start(t, log, opts)
		c := f.consume(0)
		c.want("connected ANZ-1", "disconnected ANZ-1")
		if c.events[1].Data["sessionId"] != d.id.String() || c.events[0].id == c.events[1].id {
			t.Errorf("%+v", c.events)
		}
	})
}

// A session has both events or neither: of one whose beginning is not in the log
// there is no end.
func TestSubscribersHearNothingOfASessionWhoseBeginningWasNotStored(t *testing.T) {
	log := newMemLog()
	synctest.Test(t, func(t *testing.T) {
		opts := options(log)
		subscribed(&opts)
		f := start(t, log, opts)
		defer func() { f.stop() }()
		log.fail(outcome{mailbox.ErrUnknown, false})
		d := f.open("ANZ-1", false)
		f.Close(d.id) // and ended while the log failed
		time.Sleep(time.Minute)
		c := f.consume(0)
		c.want()
		open := log.block()
		f.open("ANZ-2", false)
		synctest.Wait()
		f.stop() // before its beginning is stored
		open()
		f = start(t, log, opts)
		c = f.consume(0)
		c.want()
	})
}

// What a consumer has not proved comes again, in order; what it has does not,
// whatever stands before it.
func TestConsumersProveInAnyOrder(t *testing.T) {
	log := newMemLog()
	synctest.Test(t, func(t *testing.T) {
		opts := options(log)
		subscribed(&opts)
		f := start(t, log, opts)
		defer func() { f.stop() }()
		c := f.consume(0)
		for i := range 5 {
			f.Open(mailbox.Session{ID: wire.ID{byte(i + 1)}, User: wire.UserID(fmt.Sprintf("ANZ-%d", i)), Outlet: c.device})
		}
		c.want("connected ANZ-0", "connected ANZ-1", "connected ANZ-2", "connected ANZ-3", "connected ANZ-4")
		for _, n := range []uint64{4, 2, 2, 99} {
			f.ProveEach(c.id, n)
		}
		f.Close(c.id)
		c = f.consume(0)
		c.want("connected ANZ-0", "connected ANZ-2", "connected ANZ-4")
		f.stop()
		f = start(t, log, opts)
		c = f.consume(0)
		synctest.Wait()
		if got := c.events[:3]; got[0].Data["userId"] != "ANZ-0" || got[1].Data["userId"] != "ANZ-2" || got[2].Data["userId"] != "ANZ-4" {
			t.Errorf("after a restart: %+v", got)
		}
	})
}

// A proof that the log lost is written again, and its event does not come again.
func TestAConsumersProofThatTheLogLostIsWrittenAgain(t *testing.T) {
	inBubble(t, newMemLog(), subscribed, func(f *fixture) {
		c := f.consume(0)
		f.open("ANZ-1", false)
		c.want("connected ANZ-1")
		f.log.fail(outcome{mailbox.ErrUnknown, false})
		f.ProveEach(c.id, 1)
		time.Sleep(time.Minute)
		c.want("connected ANZ-1")
		c.wantSettled(1)
		f.Close(c.id)
		c = f.consume(0)
		c.want()
	})
}

// What a consumer has not proved is bounded by its window; what it proves makes
// room.
func TestAConsumersWindowBoundsWhatIsStuck(t *testing.T) {
	inBubble(t, newMemLog(), subscribed, func(f *fixture) {
		c := f.consume(1000)
		for i := range 100 {
			f.Open(mailbox.Session{ID: wire.ID{byte(i + 1)}, User: wire.UserID(fmt.Sprintf("ANZ-%d", i)), Outlet: c.device})
		}
		time.Sleep(time.Second) // all of it is stored
		first := c.count()
		if first < 4 || first > 10 {
			t.Fatalf("%d events are on their way", first)
		}
		for n := 2; n <= 100; n++ { // the first one is stuck
			f.ProveEach(c.id, uint64(n))
			synctest.Wait()
		}
		if n := c.count(); n != 100 {
			t.Errorf("%d events came, of 100", n)
		}
	})
}

// A subscriber's mailbox has limits of its own, and what finds it full is counted.
func TestEventsHaveLimitsOfTheirOwn(t *testing.T) {
	log := newMemLog()
	metrics := prometheus.NewRegistry()
	inBubble(t, log, func(o *mailbox.Options) {
		subscribed(o)
		o.Limits.Events, o.Metrics = 3, metrics
		o.Limits.Messages = 1
	}, func(f *fixture) {
		for i := range 5 {
			f.Open(mailbox.Session{ID: wire.ID{byte(i + 1)}, User: wire.UserID(fmt.Sprintf("ANZ-%d", i)), Outlet: f.open("X-1", false)})
		}
		c := f.consume(0)
		c.want("connected ANZ-0", "connected ANZ-1", "connected ANZ-2")
		if got := counted(t, metrics, "switchboard_reliable_dropped_total", "event_queue_full"); got != 2 {
			t.Errorf("%v events were dropped, want 2", got)
		}
		if m, err := f.Mailbox(context.Background(), hook); err != nil || m.Dropped != 2 || m.Messages != 3 {
			t.Errorf("%+v, %v", m, err)
		}
	})
}

// Who subscribes changes at run time.
func TestSubscriptionsChangeWhileTheKeeperRuns(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		c := f.consume(0)
		f.Open(mailbox.Session{ID: wire.ID{1}, User: "ANZ-1", Outlet: c.device})
		f.SetSubscriptions(everything())
		f.Open(mailbox.Session{ID: wire.ID{2}, User: "ANZ-2", Outlet: c.device})
		f.Open(mailbox.Session{ID: wire.ID{3}, User: "OTHER-2", Outlet: c.device})
		c.want("connected ANZ-2")
		f.SetSubscriptions(nil)
		f.Close(wire.ID{2})
		c.want("connected ANZ-2")
	})
}

// counted returns a counter's value, of the row with that label if one is given.
func counted(t *testing.T, r *prometheus.Registry, name, label string) (sum float64) {
	t.Helper()
	time.Sleep(2 * time.Second) // counts are published at the end of a turn
	synctest.Wait()
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				sum += m.GetCounter().GetValue()
			}
		}
	}
	return sum
}
