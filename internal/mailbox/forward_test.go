package mailbox_test

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// odd puts users with an odd last digit into shard 1.
func odd(user wire.UserID) int { return int(user[len(user)-1]-'0') % 2 }

// relay is the office of a shard: it takes what its keeper has for shard 1.
type relay struct {
	*device
	list []mailbox.Forwarded
}

func (f *fixture) relay(shard int) *relay {
	r := &relay{device: &device{f: f, id: wire.ID{0xfe, byte(shard)}, ids: make(map[wire.ID]bool)}}
	f.Open(mailbox.Session{ID: r.id, User: mailbox.Relay(shard), Push: true, Outlet: r})
	return r
}

func (r *relay) Deliver(d mailbox.Delivery) {
	d.Frame = bytes.Clone(d.Frame)
	x, err := mailbox.ParseForwarded(d)
	if err != nil {
		r.f.Error(err)
	}
	r.list = append(r.list, x)
	r.device.Deliver(d)
}

// A confirmation for a user of another shard is in the log with the proof, goes
// there once, and arrives like any other.
func TestWhatIsForAnotherShardIsForwarded(t *testing.T) {
	logs := [2]*memLog{newMemLog(), newMemLog()}
	shard := func(n int) func(*mailbox.Options) {
		return func(o *mailbox.Options) { o.Shard, o.ShardOf = n, odd }
	}
	var list []mailbox.Forwarded
	inBubble(t, logs[0], shard(0), func(f *fixture) {
		d := f.open("ANZ-2", false)
		f.Open(mailbox.Session{ID: wire.ID{9}, User: "ANZ-4", TellMaster: "ANZ-7", Outlet: d})
		f.Accept(&mailbox.Message{From: "ANZ-1", To: []wire.UserID{"ANZ-2"}, Frame: []byte("hello"), Reference: []byte(`"r"`), Confirm: true})
		d.want("hello")
		d.prove()
		d.wantSettled(1)
	})
	inBubble(t, logs[0], shard(0), func(f *fixture) { // it survives
		r := f.relay(1)
		synctest.Wait()
		list = r.list
		to := make([]string, len(list))
		for i, x := range list {
			to[i] = fmt.Sprintf("%s about %s", x.To, x.From)
		}
		if want := []string{"ANZ-7 about ANZ-4", "ANZ-1 about ANZ-2", "ANZ-7 about ANZ-4"}; !slices.Equal(to, want) {
			t.Fatalf("forwarded are %q, want %q", to, want)
		}
	})
	for range 2 { // by a keeper that is killed before its answer arrives
		inBubble(t, logs[1], shard(1), func(f *fixture) {
			done := make(chan uint64, 1)
			f.Forward("shard 0", list, func(upTo uint64, err error) {
				if err != nil {
					t.Error(err)
				}
				done <- upTo
			})
			if upTo := <-done; upTo != list[2].Seq {
				t.Errorf("stored up to %d, want %d", upTo, list[2].Seq)
			}
		})
	}
	inBubble(t, logs[1], shard(1), func(f *fixture) {
		f.open("ANZ-1", true).want(`{"type":"MESSAGE_CONFIRMATION","data":{"reference":"r"}}`)
		f.open("ANZ-7", true).want(`{"type":"USER_CONNECTED","data":{"userId":"ANZ-4"}}`, `{"type":"USER_DISCONNECTED","data":{"userId":"ANZ-4"}}`)
	})
}

// What passes from one shard to another counts where it arrives: with as many shards
// as you like, as many are handed over and proved as with one.
func TestWhatIsForwardedDoesNotCountAsDelivered(t *testing.T) {
	registry := prometheus.NewRegistry()
	inBubble(t, newMemLog(), func(o *mailbox.Options) { o.Shard, o.ShardOf, o.Metrics = 0, odd, registry }, func(f *fixture) {
		r, d := f.relay(1), f.open("ANZ-2", false)
		f.Accept(&mailbox.Message{From: "ANZ-1", To: []wire.UserID{"ANZ-2"}, Frame: []byte("hello"), Reference: []byte(`"r"`), Confirm: true})
		d.want("hello")
		d.prove()
		d.wantSettled(1)
		if len(r.list) != 1 {
			t.Fatalf("%d are forwarded", len(r.list))
		}
		r.prove()
		r.wantSettled(1)
		const want = `
# HELP switchboard_reliable_handed_total Deliveries of RELIABLE messages handed to sessions.
# TYPE switchboard_reliable_handed_total counter
switchboard_reliable_handed_total 1
# HELP switchboard_reliable_proved_total RELIABLE messages whose delivery was proved.
# TYPE switchboard_reliable_proved_total counter
switchboard_reliable_proved_total 1
`
		if err := testutil.GatherAndCompare(registry, strings.NewReader(want), "switchboard_reliable_handed_total", "switchboard_reliable_proved_total"); err != nil {
			t.Error(err)
		}
	})
}

// A notice is dropped and counted where there is no room; what an archive holds is
// not, and stays out altogether while the disk is full.
func TestAnImportIsNotDroppedForLimits(t *testing.T) {
	take := func(f *fixture, first, count uint64, flags uint8) (upTo uint64, failed bool) {
		var list []mailbox.Forwarded
		for seq := first; seq < first+count; seq++ {
			list = append(list, mailbox.Forwarded{
				Seq: seq, ID: wire.ID{1, byte(seq)}, To: "ANZ-1", From: "ANZ-2", Flags: flags, Frame: fmt.Append(nil, seq),
				Expires: time.Now().Add(time.Hour).Truncate(time.Second),
			})
		}
		f.Forward(fmt.Sprint("archive ", flags), list, func(n uint64, err error) { upTo, failed = n, err != nil })
		synctest.Wait()
		time.Sleep(10 * time.Millisecond)
		synctest.Wait()
		return upTo, failed
	}
	inBubble(t, newMemLog(), func(o *mailbox.Options) { o.Limits.Messages, o.Limits.Waiting = 2, 6 }, func(f *fixture) {
		if upTo, failed := take(f, 1, 5, 0); upTo != 5 || failed {
			t.Errorf("taken up to %d, failed %t", upTo, failed)
		}
		const notice = 1 << 2
		if upTo, failed := take(f, 1, 5, notice); upTo != 5 || failed {
			t.Errorf("notices are taken up to %d, failed %t", upTo, failed)
		}
		if upTo, failed := take(f, 6, 3, 0); upTo != 6 || !failed {
			t.Errorf("taken up to %d of what may wait, failed %t", upTo, failed)
		}
		d := f.open("ANZ-1", true)
		d.want("1", "2", "3", "4", "5", "6")
		d.prove()
		d.wantSettled(6)
		if upTo, failed := take(f, 6, 3, 0); upTo != 8 || failed {
			t.Errorf("taken up to %d, failed %t", upTo, failed)
		}
		d.want("1", "2", "3", "4", "5", "6", "7", "8")
	})
}
