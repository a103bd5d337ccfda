package mailbox_test

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// forwarding is what an archive has for one of two shards.
type forwarding []mailbox.Forwarded

// archive reads a log, and what it has for each of two shards.
func archive(t *testing.T, log *memLog) (a *mailbox.Archive, lists [2]forwarding, c *mailbox.Comparison) {
	t.Helper()
	a, err := mailbox.ReadArchive(t.Context(), log, time.Hour, nil)
	if err != nil {
		t.Fatal(err)
	}
	c = mailbox.NewComparison()
	err = a.Each(t.Context(), 2, odd, func(shard int, m mailbox.Forwarded, stored bool) error {
		lists[shard] = append(lists[shard], m)
		if stored {
			c.Add(&m)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return a, lists, c
}

// take has a keeper take what is forwarded.
func (f *fixture) take(list forwarding) {
	f.Helper()
	done := make(chan uint64, 1)
	f.Forward(mailbox.ArchiveSource("old"), list, func(upTo uint64, err error) {
		if err != nil {
			f.Error(err)
		}
		done <- upTo
	})
	if upTo := <-done; len(list) > 0 && upTo != list[len(list)-1].Seq {
		f.Errorf("stored up to %d, want %d", upTo, list[len(list)-1].Seq)
	}
}

// shardOptions are those of one of two shards.
func shardOptions(n int) func(*mailbox.Options) {
	return func(o *mailbox.Options) { o.Shard, o.ShardOf = n, odd }
}

// look compares two logs with what was copied to them.
func look(t *testing.T, c *mailbox.Comparison, logs [2]*memLog, now time.Time) mailbox.Compared {
	t.Helper()
	for shard, log := range logs {
		mine := func(user wire.UserID) bool { return odd(user) == shard }
		if err := c.Look(context.Background(), log, now, mine, func(_, _ uint64) bool { return true }); err != nil {
			t.Fatal(err)
		}
	}
	return c.Result()
}

// An archive has everything that waits, to single users and to groups, with all that
// belongs to it; what is remembered of outboxes and requests; and the leaves of those
// who were there. Two shards take it, once, though it is brought twice.
func TestWhatWaitsInALogIsCopiedToTheKeepersOfOtherShards(t *testing.T) {
	old, logs := newMemLog(), [2]*memLog{newMemLog(), newMemLog()}
	var now time.Time
	inBubble(t, old, nil, func(f *fixture) {
		for i := range 30 {
			f.Accept(&mailbox.Message{From: "ANZ-100", To: []wire.UserID{wire.UserID(fmt.Sprint("ANZ-", i%3))}, Frame: fmt.Append(nil, i), Reference: fmt.Append(nil, "r", i), Confirm: true})
		}
		f.Accept(&mailbox.Message{From: "ANZ-100", To: []wire.UserID{"ANZ-0", "ANZ-1", "ANZ-2", "ANZ-3", "ANZ-5"}, Group: true, Frame: []byte("to all")})
		f.Accept(&mailbox.Message{From: "ANZ-100", To: []wire.UserID{"ANZ-7"}, Frame: []byte("soon over"), TTL: time.Minute})
		f.AcceptAll(f.request("keyed"), once("k", 1)) // to ANZ-1
		f.outbox("phone", 1, "ANZ-8")
		f.outbox("phone", 2, "ANZ-9")
		gone := f.open("ANZ-9", true)
		gone.want("phone 2")
		gone.prove()
		gone.wantSettled(1)
		f.Open(mailbox.Session{ID: wire.ID{9}, User: "ANZ-4", TellMaster: "ANZ-6", Outlet: gone})
		synctest.Wait()
		f.log.fail(outcome{err: mailbox.ErrUnknown}) // it is killed with sessions that are open
		now = time.Now()
	})
	old.fail()
	var first, second [2]forwarding
	var a *mailbox.Archive
	var copied *mailbox.Comparison
	synctest.Test(t, func(t *testing.T) {
		_, first, _ = archive(t, old)
		time.Sleep(24 * time.Hour)
		a, second, copied = archive(t, old)
	})
	for shard := range first {
		if fmt.Sprint(first[shard]) != fmt.Sprint(second[shard]) {
			t.Errorf("read again, shard %d gets something else:\n%v\n%v", shard, first[shard], second[shard])
		}
	}
	if a.Open() != 2 {
		t.Errorf("%d sessions were open", a.Open())
	}
	for shard, log := range logs {
		inBubble(t, log, shardOptions(shard), func(f *fixture) {
			f.take(first[shard][:len(first[shard])/2]) // and is killed
		})
		inBubble(t, log, shardOptions(shard), func(f *fixture) {
			f.take(second[shard])
			f.take(second[shard])
		})
	}
	if got := look(t, copied, logs, now); got.Problems > 0 || got.Messages != 30+5+1+1+1+1 || got.Waiting != got.Messages || got.Users != 8 {
		t.Errorf("compared: %+v", got)
	}
	inBubble(t, logs[0], shardOptions(0), func(f *fixture) {
		f.open("ANZ-0", true).want("0", "3", "6", "9", "12", "15", "18", "21", "24", "27", "to all")
		f.open("ANZ-6", true).want(`{"type":"USER_CONNECTED","data":{"userId":"ANZ-4"}}`, `{"type":"USER_DISCONNECTED","data":{"userId":"ANZ-4"}}`)
		for shard := range 2 { // an outbox is sent again
			if m := f.outbox("phone", uint64(shard+1), "ANZ-8"); !m.Repeated {
				t.Errorf("message %d of the outbox is new", shard+1)
			}
		}
		if m := f.outbox("phone", 3, "ANZ-8"); m.Repeated {
			t.Error("the next message of the outbox is not new")
		}
		f.open("ANZ-8", true).want("phone 1", "phone 3")
	})
	inBubble(t, logs[1], shardOptions(1), func(f *fixture) {
		want := []string{"to all", "keyed"}
		for i := 28; i > 0; i -= 3 {
			want = append([]string{fmt.Sprint(i)}, want...)
		}
		d := f.open("ANZ-1", true)
		d.want(want...)
		list := f.request("keyed")
		f.AcceptAll(list, once("k", 1))
		synctest.Wait()
		if !list[0].Repeated {
			t.Error("the keyed request is new")
		}
		d.want(want...)
		time.Sleep(2 * time.Minute)
		if d := f.open("ANZ-7", true); len(d.names) > 0 {
			t.Errorf("what has expired arrived: %q", d.names)
		}
	})
	// What is delivered since, or has expired, is not missed.
	if got := look(t, fresh(t, old), logs, now); got.Problems > 0 || got.Gone != 1 {
		t.Errorf("compared later: %+v", got)
	}
}

// fresh is a comparison with what is in a log.
func fresh(t *testing.T, log *memLog) *mailbox.Comparison {
	_, _, c := archive(t, log)
	return c
}

// Whatever went wrong on the way is found.
func TestACopyThatDiffersIsFound(t *testing.T) {
	old := newMemLog()
	inBubble(t, old, nil, func(f *fixture) {
		for i := range 10 {
			f.Accept(&mailbox.Message{From: "ANZ-100", To: []wire.UserID{"ANZ-2"}, Frame: fmt.Append(nil, "m", i), Reference: []byte("r")})
		}
		f.Accept(&mailbox.Message{From: "ANZ-100", To: []wire.UserID{"ANZ-4", "ANZ-6"}, Group: true, Frame: []byte("group")})
	})
	for name, test := range map[string]struct {
		change func(list forwarding) forwarding
		want   string // empty: nothing
	}{
		"nothing is wrong":        {func(list forwarding) forwarding { return list }, ""},
		"one is missing":          {func(list forwarding) forwarding { return slices.Delete(list, 3, 4) }, "had 10 messages, and has 9"},
		"all are missing":         {func(forwarding) forwarding { return nil }, "is missing"},
		"one receiver is missing": {func(list forwarding) forwarding { list[10].More = nil; return list }, "ANZ-6 had 1 messages, and has 0"},
		"a frame is altered":      {func(list forwarding) forwarding { list[4].Frame[1] = 'x'; return list }, "has another checksum"},
		"a sender is altered":     {func(list forwarding) forwarding { list[4].From = "ANZ-101"; return list }, "has another checksum"},
		"a reference is gone":     {func(list forwarding) forwarding { list[4].Reference = nil; return list }, "has another checksum"},
		"an expiry is altered":    {func(list forwarding) forwarding { list[4].Expires = list[4].Expires.Add(time.Hour); return list }, "has another checksum"},
		"one is there twice": {func(list forwarding) forwarding {
			twice := list[10]
			twice.Seq++
			return append(list, twice)
		}, "is there twice"},
		"two have changed places": {func(list forwarding) forwarding {
			list[2].Seq, list[3].Seq = list[3].Seq, list[2].Seq
			list[2], list[3] = list[3], list[2]
			return list
		}, "is out of order"},
	} {
		t.Run(name, func(t *testing.T) {
			_, lists, copied := archive(t, old)
			log := newMemLog()
			var now time.Time
			inBubble(t, log, shardOptions(0), func(f *fixture) {
				f.take(test.change(lists[0]))
				now = time.Now()
			})
			got := look(t, copied, [2]*memLog{log, newMemLog()}, now)
			if test.want == "" {
				if got.Problems > 0 || got.Waiting != 12 {
					t.Errorf("found %+v", got)
				}
			} else if got.Problems == 0 || !strings.Contains(got.First, test.want) {
				t.Errorf("found %d problems, the first %q; want %q", got.Problems, got.First, test.want)
			}
		})
	}
}

// Reading an archive writes nothing.
func TestReadingAnArchiveLeavesItAsItIs(t *testing.T) {
	old := newMemLog()
	inBubble(t, old, nil, func(f *fixture) { f.send("m", "ANZ-1", 10) })
	before := slices.Clone(old.batches)
	appends := old.appends
	archive(t, old)
	if old.appends != appends || !slices.EqualFunc(before, old.batches, bytes.Equal) {
		t.Error("the log is another one")
	}
}
