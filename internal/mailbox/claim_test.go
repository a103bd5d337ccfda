package mailbox_test

import (
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

// once is the request of a test.
func once(name string, count int) *mailbox.Once {
	o := &mailbox.Once{Print: 7, Count: count}
	copy(o.Key[:], name)
	return o
}

// request makes messages to ANZ-1, named as given.
func (f *fixture) request(names ...string) []*mailbox.Message {
	var list []*mailbox.Message
	for i, name := range names {
		list = append(list, &mailbox.Message{
			From: "ANZ-100", To: []wire.UserID{"ANZ-1"}, Frame: []byte(name), Reference: []byte(name),
			Receipt: true, Index: i, Origin: f.seen, Done: f.seen.note,
		})
	}
	return list
}

// A request that comes again is accepted once, under the same IDs, and is told
// "stored" both times; also after a kill, until its time is over.
func TestAKeyedRequestIsAcceptedOnce(t *testing.T) {
	log := newMemLog()
	synctest.Test(t, func(t *testing.T) {
		opts := options(log)
		f := start(t, log, opts)
		defer func() { f.stop() }()
		open := f.log.block()
		f.AcceptAll(f.request("a", "b"), once("k", 2))
		f.AcceptAll(f.request("a", "b"), once("k", 2)) // before anything is stored
		f.wantStored()
		open()
		f.wantStored("a", "b", "a", "b")
		f.wantDone(4)
		ids := slices.Clone(f.seen.ids)
		if ids[0] != ids[2] || ids[1] != ids[3] || ids[0] == ids[1] {
			t.Errorf("stored under %v", ids)
		}
		f.stop()
		f = start(t, log, opts)
		f.AcceptAll(f.request("a", "b"), once("k", 2))
		f.wantStored("a", "b")
		if !slices.Equal(f.seen.ids, ids[:2]) {
			t.Errorf("after a restart stored under %v, before under %v", f.seen.ids, ids)
		}
		f.open("ANZ-1", true).want("a", "b")
		time.Sleep(25 * time.Hour)
		f.AcceptAll(f.request("a", "b"), once("k", 2))
		f.open("ANZ-1", true).want("a", "b", "a", "b")
	})
}

// What was refused of a request is tried again when it comes again.
func TestWhatWasRefusedOfAKeyedRequestIsTriedAgain(t *testing.T) {
	inBubble(t, newMemLog(), func(o *mailbox.Options) { o.Limits.Messages = 1 }, func(f *fixture) {
		f.AcceptAll(f.request("a", "b"), once("k", 2))
		f.wantStored("a")
		f.wantFailed("b", wire.CodeMailboxFull, false)
		d := f.open("ANZ-1", true)
		d.want("a")
		d.prove()
		synctest.Wait()
		f.AcceptAll(f.request("a", "b"), once("k", 2))
		f.wantStored("a", "a", "b")
		d.want("a", "b")
	})
}

// A message that some of its receivers had no room for is tried for them again,
// under its ID, also after a kill; the others do not get it twice.
func TestAKeyedMessageIsCompletedForThoseWhoHadNoRoom(t *testing.T) {
	log := newMemLog()
	synctest.Test(t, func(t *testing.T) {
		opts := options(log)
		opts.Limits.Messages = 2
		f := start(t, log, opts)
		defer func() { f.stop() }()
		group := func() []*mailbox.Message {
			list := f.request("g")
			list[0].To, list[0].Group = []wire.UserID{"ANZ-1", "ANZ-2"}, true
			return list
		}
		f.AcceptAll(f.request("a", "b"), nil)
		f.AcceptAll(group(), once("k", 1))
		f.wantFailed("g", wire.CodeMailboxFull, false)
		f.wantStored("a", "b", "g")
		id := f.seen.ids[2]
		f.stop()
		f = start(t, log, opts)
		f.AcceptAll(group(), once("k", 1)) // there is no room yet
		f.wantFailed("g", wire.CodeMailboxFull, false)
		f.wantStored("g")
		d := f.open("ANZ-1", true)
		d.want("a", "b")
		d.prove()
		time.Sleep(time.Second)
		for range 2 {
			f.AcceptAll(group(), once("k", 1))
		}
		d.want("a", "b", "g")
		f.open("ANZ-2", true).want("g")
		f.wantStored("g", "g", "g")
		for _, again := range f.seen.ids {
			if again != id {
				t.Errorf("stored as %s, first as %s", again, id)
			}
		}
	})
}

// Of a quiet message only subscribers hear that it expired.
func TestTheExpiryOfAQuietMessageIsToldToSubscribersOnly(t *testing.T) {
	inBubble(t, newMemLog(), subscribed, func(f *fixture) {
		for name, quiet := range map[string]bool{"q": true, "l": false} {
			f.AcceptAll([]*mailbox.Message{{From: "ANZ-100", To: []wire.UserID{"ANZ-1"}, Frame: []byte(name), TTL: time.Minute, Quiet: quiet}}, nil)
		}
		time.Sleep(2 * time.Minute)
		f.consume(0).want("expired ANZ-1", "expired ANZ-1")
		d := f.open("ANZ-100", true)
		time.Sleep(time.Second)
		synctest.Wait()
		d.mu.Lock()
		defer d.mu.Unlock()
		if n := len(d.names); n != 1 {
			t.Errorf("the sender hears of %d messages, want 1", n)
		}
	})
}

func TestAKeyOfAnotherRequestIsRefused(t *testing.T) {
	inBubble(t, newMemLog(), nil, func(f *fixture) {
		f.AcceptAll(f.request("a"), once("k", 1))
		f.wantStored("a")
		other := once("k", 1)
		other.Print++
		f.AcceptAll(f.request("b"), other)
		f.wantFailed("b", mailbox.CodeKeyReused, false)
		f.wantStored("a")
		f.wantDone(2)
	})
}

// The oldest requests are forgotten where there are too many, and that is counted.
func TestKeyedRequestsAreBounded(t *testing.T) {
	metrics := prometheus.NewRegistry()
	inBubble(t, newMemLog(), func(o *mailbox.Options) { o.Limits.KeyedRequests, o.Metrics = 2, metrics }, func(f *fixture) {
		for _, name := range []string{"a", "b", "c", "b", "a"} {
			f.AcceptAll(f.request(name), once(name, 1))
		}
		f.open("ANZ-1", true).want("a", "b", "c", "a")
		if got := counted(t, metrics, "switchboard_keyed_forgotten_total", ""); got != 2 {
			t.Errorf("%v requests were forgotten, want 2", got)
		}
	})
}

// A request that is larger than a batch is remembered whole.
func TestALargeKeyedRequestIsRememberedWhole(t *testing.T) {
	log := newMemLog()
	synctest.Test(t, func(t *testing.T) {
		f := start(t, log, options(log))
		defer func() { f.stop() }()
		names := make([]string, 300)
		for i := range names {
			names[i] = strings.Repeat("x", 2000) + fmt.Sprint(i)
		}
		f.AcceptAll(f.request(names...), once("k", len(names)))
		time.Sleep(time.Second)
		f.wantDone(len(names))
		f.stop()
		f = start(t, log, options(log))
		f.AcceptAll(f.request(names...), once("k", len(names)))
		time.Sleep(time.Second)
		f.wantDone(len(names))
		d := f.open("ANZ-1", true)
		for range 60 {
			synctest.Wait()
			d.prove()
			time.Sleep(time.Second)
		}
		d.want(names...)
	})
}
