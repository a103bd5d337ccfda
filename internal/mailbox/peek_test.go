package mailbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// clear empties a mailbox, and returns how much that was.
func (w *world) clear(user wire.UserID) (removed int) {
	if w.core.down {
		return 0
	}
	w.write("w.clear(%q)", user)
	receipt := &Message{}
	w.sent[receipt] = &sending{}
	want := w.model.clearable(user)
	w.model.toClear = slices.Clone(want)
	w.do("clear "+string(user), func(time.Time) {
		var waits bool
		if removed, waits = w.core.clear(user, receipt); waits {
			w.sent[receipt].seq = w.core.journal.newest().seq
		} else if removed > 0 {
			w.Fatalf("a mailbox was emptied and nobody hears when that is stored")
		}
	})
	if removed != len(want) || len(w.model.toClear) > 0 {
		w.Fatalf("%d messages of %s were cleared, should be %d", removed, user, len(want))
	}
	return removed
}

// clearable returns what is stored for a user and on its way to no session.
func (m *model) clearable(user wire.UserID) (list []*mail) {
	for _, x := range m.box(user).waiting() {
		if m.isStored(x) && m.held(x) == nil {
			list = append(list, x)
		}
	}
	return list
}

func (m *model) verifyCleared(user wire.UserID, ord uint64) {
	if len(m.toClear) == 0 || m.toClear[0].user != user || m.toClear[0].ord != ord {
		m.Fatalf("%s: message %d of %s is cleared, the model has %d to clear", m.what, ord, user, len(m.toClear))
	}
	m.toClear = m.toClear[1:]
}

// peek walks through a mailbox in pages, and compares them with the model's.
func (w *world) peek(user wire.UserID, limit, size int) {
	w.write("w.peek(%q, %d, %d)", user, limit, size)
	var want []*mail
	total, sum := 0, int64(0)
	for _, x := range w.model.box(user).waiting() {
		if !w.model.isStored(x) {
			continue
		}
		total++
		sum += int64(x.size())
		if !w.model.expired(x) {
			want = append(want, x)
		}
	}
	if m := w.core.measure(w.now, user); m.Messages != total || m.Bytes != sum || len(m.oldest.spots) != min(total, 1) {
		w.Fatalf("%s has %d messages, %d bytes, should have %d, %d", user, m.Messages, m.Bytes, total, sum)
	}
	for after := uint64(0); ; {
		p := w.core.look(w.now, user, after, limit, size)
		if len(p.spots) > limit || p.more && len(p.spots) == 0 || p.more != (len(p.spots) < len(want)) {
			w.Fatalf("a page of %d, more: %t, where %d are left", len(p.spots), p.more, len(want))
		}
		bytes := 0
		for i := range p.spots {
			w.compareSpot(&p, &p.spots[i], want[i])
			after, bytes = p.spots[i].ord, bytes+want[i].size()
		}
		if bytes > size && len(p.spots) > 1 {
			w.Fatalf("a page has %d bytes, it may have %d", bytes, size)
		}
		if want = want[len(p.spots):]; !p.more {
			return
		}
	}
}

// compareSpot says whether a message is where it is said to be.
func (w *world) compareSpot(p *page, s *spot, x *mail) {
	if !s.read && !s.take(w.log.read(s.seq)) {
		w.Fatalf("message %d of %s is not in batch %d", x.ord, x.user, s.seq)
	}
	if s.ord != x.ord || s.id != x.record.id || !bytes.Equal(s.frame, x.record.frame) || s.expires != x.record.expires {
		w.Fatalf("message %d of %s is seen as %d, %s, %q", x.ord, x.user, s.ord, s.id, s.frame)
	}
	if at := p.accepted(s); at.After(w.now) || at.Before(x.record.id.Time()) {
		w.Fatalf("message %d of %s was accepted at %s, it is %s", x.ord, x.user, at, w.now)
	}
}

func (h *history) drawClear(t *rapid.T) { h.clear(h.drawUser(t, "user")) }

func (h *history) drawPeek(t *rapid.T) {
	h.peek(h.drawUser(t, "user"), rapid.SampledFrom([]int{1, 3, 100}).Draw(t, "limit"), rapid.SampledFrom([]int{1, 400, 1 << 20}).Draw(t, "size"))
}

// What is on its way to a session stays, and what the log does not hold yet.
func TestClearLeavesWhatIsOnItsWay(t *testing.T) {
	w := newWorld(t, defaultTuning(), Limits{Age: time.Hour, Messages: 100, Bytes: 1 << 20})
	to := []wire.UserID{"ANZ-2"}
	w.send(letter{from: "ANZ-3", to: to})
	w.send(letter{from: "ANZ-3", to: to})
	w.store()
	x := w.open("ANZ-2", options{})
	w.fetch(x, 1)
	w.send(letter{from: "ANZ-3", to: to})
	if n := w.clear("ANZ-2"); n != 1 {
		t.Errorf("%d were cleared, of one that is fetched, one that waits and one that is not stored", n)
	}
	w.store()
	w.proveAll(x)
	w.settle()
	if len(x.got) != 2 || w.core.counts.cleared != 1 {
		t.Errorf("%d came, %d are counted", len(x.got), w.core.counts.cleared)
	}
	w.crash(false, 0)
	y := w.open("ANZ-2", options{push: true})
	w.settle()
	if len(y.got) != 0 {
		t.Errorf("%d came again", len(y.got))
	}
}

// A mailbox with very many messages is emptied in batches of the usual size.
func TestClearIsCutIntoBatches(t *testing.T) {
	tune := defaultTuning()
	tune.batch = 300
	w := newWorld(t, tune, Limits{Age: time.Hour, Messages: 1000, Bytes: 1 << 20})
	for range 200 {
		w.send(letter{from: "ANZ-3", to: []wire.UserID{"ANZ-2"}})
	}
	w.store()
	from := w.log.last()
	w.clear("ANZ-2")
	w.store()
	for seq := from + 1; seq <= w.log.last(); seq++ {
		if n := len(w.log.read(seq)); n > 700 {
			t.Errorf("batch %d has %d bytes", seq, n)
		}
	}
}

// oldest returns when the oldest message of a user was accepted, and what its ID
// says.
func (w *world) oldest(user wire.UserID) (accepted, id time.Time) {
	m := w.core.measure(w.now, user)
	s := &m.oldest.spots[0]
	if !s.read && !s.take(w.log.read(s.seq)) {
		w.Fatalf("the oldest message of %s is not in batch %d", user, s.seq)
	}
	return m.oldest.accepted(s), s.id.Time()
}

// A confirmation carries the time of its message in its ID, but it is not as old.
func TestANoticeIsAsOldAsItself(t *testing.T) {
	w := newWorld(t, defaultTuning(), Limits{Age: time.Hour, Messages: 100, Bytes: 1 << 20})
	w.send(letter{from: "ANZ-3", to: []wire.UserID{"ANZ-2"}, confirm: true})
	w.store()
	sent := w.now
	w.tick(10 * time.Minute)
	w.open("ANZ-2", options{push: true})
	w.settle()
	if at, id := w.oldest("ANZ-3"); w.now.Sub(at) > time.Second || !id.Equal(sent) {
		t.Errorf("accepted at %s, it is %s", at, w.now.UTC())
	}
	w.send(letter{from: "ANZ-3", to: []wire.UserID{"ANZ-4"}})
	w.store()
	sent = w.now
	w.tick(time.Minute)
	w.core.limits.Age = 5 * time.Minute // both expire later than a message of now would
	if at, _ := w.oldest("ANZ-4"); !at.Equal(sent) {
		t.Errorf("a message that was accepted at %s is as old as %s", sent, at)
	}
	if at, _ := w.oldest("ANZ-3"); at.After(w.now) {
		t.Error("accepted in the future")
	}
}

// What is seen of a message that is being copied forward stays as it was, also
// when the memory of its batch is used for another one.
func TestWhatWasSeenDoesNotChange(t *testing.T) {
	tune := defaultTuning()
	tune.slack, tune.overhead, tune.batch = 0, 1, 4000
	w := newWorld(t, tune, Limits{Age: time.Hour, Messages: 1000, Bytes: 1 << 20})
	w.send(letter{from: "ANZ-3", to: []wire.UserID{"ANZ-2"}, size: 300})
	w.store()
	var seen spot
	for range 200 {
		w.send(letter{from: "ANZ-3", to: []wire.UserID{"ANZ-4"}, size: 300})
		w.begin()
		w.stored()
		w.clear("ANZ-4")
		w.begin()
		w.stored()
		for len(w.reads) > 0 {
			w.answer(0)
		}
		if p := w.core.look(w.now, "ANZ-2", 0, 1, 1000); w.core.journal.pending(p.spots[0].seq) != nil {
			seen = p.spots[0]
			break
		}
	}
	if !seen.read {
		t.Fatal("the message was not copied forward")
	}
	was := string(seen.frame)
	for range 20 {
		w.send(letter{from: "ANZ-3", to: []wire.UserID{"ANZ-5"}, size: 900})
		w.store()
	}
	if string(seen.frame) != was {
		t.Errorf("seen as %q, it is %q now", was, seen.frame)
	}
}

// storage is a Log on a simLog.
type storage struct {
	mu sync.Mutex
	simLog
	beforeRead func(seq uint64) func()
	fail       error // of the next append
	away       error // of all else
}

func (l *storage) Append(_ context.Context, last uint64, batch []byte) (uint64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.fail; err != nil {
		l.fail = nil
		return 0, err
	}
	if last != l.last() {
		return 0, ErrFenced
	}
	l.batches = append(l.batches, bytes.Clone(batch))
	return l.last(), nil
}

// onRead has f called once, before the next read of a batch up to last.
func (l *storage) onRead(last uint64, f func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.beforeRead = func(seq uint64) func() {
		if seq > last {
			return func() {}
		}
		l.beforeRead = nil
		return f
	}
}

func (l *storage) begins() uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first
}

func (l *storage) Read(_ context.Context, seq uint64) ([]byte, error) {
	l.mu.Lock()
	if l.beforeRead != nil {
		f := l.beforeRead(seq)
		l.mu.Unlock()
		f()
		l.mu.Lock()
	}
	defer l.mu.Unlock()
	if b := l.read(seq); b != nil {
		return b, nil
	}
	return nil, ErrGone
}

func (l *storage) Bounds(context.Context) (first, last, size uint64, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.first, l.last(), 0, l.away
}

// goAway has the log not be there, or come back when err is nil.
func (l *storage) goAway(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.away = err
}

func (l *storage) Replay(_ context.Context, first, last uint64, f func(uint64, []byte) error) error {
	for seq := first; seq <= last; seq++ {
		if err := f(seq, l.read(seq)); err != nil {
			return err
		}
	}
	return nil
}

func (l *storage) Purge(_ context.Context, below uint64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.first = max(l.first, below)
	return nil
}

// served runs a keeper on a log, with small sizes, in a bubble.
func served(t *testing.T, log *storage, test func(t *testing.T, k *Keeper)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		k, err := Open(t.Context(), Options{
			Log: log, Limits: Limits{Age: time.Hour, Messages: 5000, Bytes: 1 << 30}, Now: time.Now,
			Random: &counting{}, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		k.tune.slack, k.tune.trimStep, k.tune.cache, k.tune.batch = 0, 1, 1, 1000
		k.core.tune, k.core.cache.limit, k.core.journal.target = k.tune, 1, 1000
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = k.Run(ctx) }()
		defer func() { cancel(); <-done }()
		test(t, k)
	})
}

// letters sends n messages, one a millisecond of the bubble's time, and returns
// when they are stored.
func letters(k *Keeper, to wire.UserID, n, size int) {
	for i := range n {
		frame := fmt.Appendf(nil, "m%04d ", i)
		k.Accept(&Message{From: "ANZ-9", To: []wire.UserID{to}, Frame: append(frame, make([]byte, size)...)})
		synctest.Wait()
		time.Sleep(time.Millisecond)
	}
	synctest.Wait()
}

func serials(list []Waiting) string {
	var b bytes.Buffer
	for _, w := range list {
		fmt.Fprintf(&b, "%s ", bytes.Fields(w.Frame)[0])
	}
	return b.String()
}

// What is copied forward while it is being read, and its old place purged, is
// found where it is now.
func TestPeekFollowsWhatIsCopiedForwardMeanwhile(t *testing.T) {
	log := &storage{simLog: simLog{first: 1, durable: 1}}
	served(t, log, func(t *testing.T, k *Keeper) {
		letters(k, "ANZ-1", 3, 900)
		before, _, err := k.Peek(t.Context(), "ANZ-1", 0, 10)
		if err != nil || serials(before) != "m0000 m0001 m0002 " {
			t.Fatalf("there is %s, %v", serials(before), err)
		}
		moved := false
		log.onRead(4, func() { // mail that comes and goes moves the head of the log
			for moved = true; log.begins() < 8; time.Sleep(2 * time.Second) {
				letters(k, "ANZ-2", 3, 900)
				if _, err := k.Clear(t.Context(), "ANZ-2"); err != nil {
					t.Error(err)
				}
			}
		})
		after, more, err := k.Peek(t.Context(), "ANZ-1", 0, 10)
		if err != nil || serials(after) != serials(before) || more || !moved {
			t.Fatalf("there is %s, %v", serials(after), err)
		}
		if fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("seen as %v, before as %v", after, before)
		}
		if m, err := k.Mailbox(t.Context(), "ANZ-1"); err != nil || m.Messages != 3 || !m.Oldest.Equal(before[0].Accepted) {
			t.Errorf("the mailbox is %v, %v", m, err)
		}
	})
}

// What goes while it is being read is left out, and the walk goes on.
func TestPeekPassesOverWhatGoesMeanwhile(t *testing.T) {
	log := &storage{simLog: simLog{first: 1, durable: 1}}
	served(t, log, func(t *testing.T, k *Keeper) {
		letters(k, "ANZ-1", 2, 900)
		time.Sleep(5 * time.Second)
		log.onRead(4, func() {
			if n, err := k.Clear(t.Context(), "ANZ-1"); n != 2 || err != nil {
				t.Errorf("cleared %d, %v", n, err)
			}
			letters(k, "ANZ-1", 1, 0)
			for ; log.begins() < 4; time.Sleep(2 * time.Second) {
				letters(k, "ANZ-2", 3, 900)
				_, _ = k.Clear(t.Context(), "ANZ-2")
			}
		})
		list, more, err := k.Peek(t.Context(), "ANZ-1", 0, 1)
		if err != nil || len(list) != 1 || len(list[0].Frame) != 6 || more {
			t.Errorf("there is %v, more: %t, %v", list, more, err)
		}
	})
}

// A message that the log has lost does not stop those who look at the others.
func TestPeekPassesOverWhatTheLogHasLost(t *testing.T) {
	log := &storage{simLog: simLog{first: 1, durable: 1}}
	served(t, log, func(t *testing.T, k *Keeper) {
		letters(k, "ANZ-1", 3, 900)
		time.Sleep(5 * time.Second)
		log.mu.Lock()
		log.batches[slices.IndexFunc(log.batches, func(b []byte) bool { return bytes.Contains(b, []byte("m0000")) })] = nil
		log.mu.Unlock()
		list, _, err := k.Peek(t.Context(), "ANZ-1", 0, 10)
		if err != nil || serials(list) != "m0001 m0002 " {
			t.Errorf("there is %s, %v", serials(list), err)
		}
		if m, err := k.Mailbox(t.Context(), "ANZ-1"); err != nil || m.Messages != 3 || !m.Oldest.IsZero() {
			t.Errorf("the mailbox is %v, %v", m, err)
		}
	})
}

func TestPagesOfAMailboxAreBounded(t *testing.T) {
	log := &storage{simLog: simLog{first: 1, durable: 1}}
	served(t, log, func(t *testing.T, k *Keeper) {
		letters(k, "ANZ-1", peekBatches+5, 900) // a batch for each
		letters(k, "ANZ-2", 5, peekBytes/4)
		time.Sleep(5 * time.Second)
		for user, want := range map[wire.UserID][2]int{"ANZ-1": {peekBatches, 5}, "ANZ-2": {3, 2}} {
			first, more, err := k.Peek(t.Context(), user, 0, 1000)
			if err != nil || len(first) != want[0] || !more {
				t.Fatalf("%s: a page of %d, more: %t, %v", user, len(first), more, err)
			}
			rest, more, err := k.Peek(t.Context(), user, first[len(first)-1].Place, 1000)
			if err != nil || len(rest) != want[1] || more {
				t.Errorf("%s: a page of %d, more: %t, %v", user, len(rest), more, err)
			}
		}
	})
}

func TestClearSaysSoOnlyWhenItIsStored(t *testing.T) {
	log := &storage{simLog: simLog{first: 1, durable: 1}}
	served(t, log, func(t *testing.T, k *Keeper) {
		letters(k, "ANZ-1", 3, 10)
		before := k.pending.Load()
		log.fail = ErrUnknown
		var failure *wire.Error
		if n, err := k.Clear(t.Context(), "ANZ-1"); n != 0 || !errors.As(err, &failure) || failure.Code != wire.CodeTimeout || !failure.MayYetArrive {
			t.Fatalf("cleared %d, %v", n, err)
		}
		synctest.Wait()
		began := time.Now()
		if n, err := k.Clear(t.Context(), "ANZ-1"); n != 3 || err != nil {
			t.Fatalf("cleared %d, %v", n, err)
		}
		if took := time.Since(began); took > 0 {
			t.Errorf("it waited %s for company", took)
		}
		if n, err := k.Clear(t.Context(), "ANZ-1"); n != 0 || err != nil || k.pending.Load() != before {
			t.Errorf("cleared %d, %v; %d bytes are pending", n, err, k.pending.Load()-before)
		}
	})
	served(t, log, func(t *testing.T, k *Keeper) {
		if m, err := k.Mailbox(t.Context(), "ANZ-1"); err != nil || m != (Mailbox{}) {
			t.Errorf("after a restart there is %v, %v", m, err)
		}
	})
}

func TestQuestionsAreRefusedWhileTheLogIsAway(t *testing.T) {
	log := &storage{simLog: simLog{first: 1, durable: 1}}
	served(t, log, func(t *testing.T, k *Keeper) {
		letters(k, "ANZ-1", 1, 10)
		log.goAway(errors.New("gone"))
		log.fail = ErrUnknown
		_, _ = k.Clear(t.Context(), "ANZ-1")
		_, looked := k.Mailbox(t.Context(), "ANZ-1")
		_, _, peeked := k.Peek(t.Context(), "ANZ-1", 0, 1)
		_, cleared := k.Clear(t.Context(), "ANZ-1")
		for _, err := range []error{looked, peeked, cleared} {
			var failure *wire.Error
			if !errors.As(err, &failure) || failure.Code != wire.CodeStoreDown {
				t.Errorf("got %v", err)
			}
		}
		log.goAway(nil)
		time.Sleep(5 * time.Second)
		if m, err := k.Mailbox(t.Context(), "ANZ-1"); err != nil || m.Messages != 1 {
			t.Errorf("got %v, %v", m, err)
		}
	})
}

func TestQuestionsEndWithTheirContextAndWithTheKeeper(t *testing.T) {
	log := &storage{simLog: simLog{first: 1, durable: 1}}
	var k *Keeper
	served(t, log, func(t *testing.T, served *Keeper) {
		k = served
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		letters(k, "ANZ-1", 1, 10)
		time.Sleep(5 * time.Second)
		k.looks <- struct{}{}
		k.looks <- struct{}{}
		if _, _, err := k.Peek(ctx, "ANZ-1", 0, 1); !errors.Is(err, context.Canceled) {
			t.Errorf("peek ended with %v", err)
		}
	})
	var failure *wire.Error
	if _, err := k.Mailbox(t.Context(), "ANZ-1"); !errors.As(err, &failure) || failure.Code != wire.CodeStoreDown {
		t.Errorf("a keeper that has stopped says %v", err)
	}
	if _, err := k.Clear(t.Context(), "ANZ-1"); !errors.As(err, &failure) || failure.Code != wire.CodeStoreDown {
		t.Errorf("a keeper that has stopped says %v", err)
	}
}
