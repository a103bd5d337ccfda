package accounts_test

import (
	"context"
	"errors"
	"maps"
	"runtime"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// watched is a store that has a test do something while it is asked.
type watched struct {
	accounts.Store
	blockedBy func() error // before and after it is read by whom somebody is blocked
	blocked   func()       // after it was read whether one is, before that is known
	wrote     func()       // after somebody has blocked another
}

func (w *watched) BlockedBy(ctx context.Context, numbers []int64) ([]accounts.Blocking, error) {
	if w.blockedBy == nil {
		return w.Store.BlockedBy(ctx, numbers)
	}
	if err := w.blockedBy(); err != nil {
		return nil, err
	}
	list, err := w.Store.BlockedBy(ctx, numbers)
	return list, errors.Join(err, w.blockedBy())
}

func (w *watched) Blocked(ctx context.Context, by, number int64) (bool, error) {
	is, err := w.Store.Blocked(ctx, by, number)
	if do := w.blocked; do != nil {
		w.blocked = nil
		do()
	}
	return is, err
}

func (w *watched) Block(ctx context.Context, number int64, b accounts.Block, most int) error {
	err := w.Store.Block(ctx, number, b, most)
	if do := w.wrote; do != nil {
		w.wrote = nil
		do()
	}
	return err
}

// watch has the room use a store that is watched.
func (w *world) watch() *watched {
	store := &watched{Store: w.store}
	w.build(func(o *accounts.Options) { o.Store = store })
	return store
}

// Whoever blocks and unblocks without pause keeps nobody from signing in, neither others
// nor the one who is blocked, and what is known in the end is what is so.
func TestWhoBlocksWithoutPauseKeepsNobodyOut(t *testing.T) {
	for what, whom := range map[string]wire.UserID{"another": "chat-3", "who signs in": "chat-1"} {
		t.Run(what, func(t *testing.T) {
			w := onFile(t)
			store := w.watch()
			ada, bob := w.member("ada"), w.member("bob")
			cat := w.member("cat")
			if _, err := w.room.Hold(t.Context(), cat, func() {}); err != nil {
				t.Fatal(err)
			}
			asked, on := 0, false
			store.blockedBy = func() error {
				if asked++; asked > 4 {
					return errors.New("it is asked again and again")
				}
				if on = !on; on {
					return w.room.Block(t.Context(), bob, whom)
				}
				return w.room.Unblock(t.Context(), bob, whom)
			}
			if _, err := w.room.Hold(t.Context(), ada, func() {}); err != nil {
				t.Fatal(err)
			}
			if by := w.room.Shunned(whom); len(by) > 0 {
				t.Errorf("%s is shunned by %v, who has taken it back", whom, by)
			}
			store.blockedBy = nil
			if err := w.room.Block(t.Context(), bob, whom); err != nil {
				t.Fatal(err)
			}
			if by := slices.Collect(maps.Keys(w.room.Shunned(whom))); !slices.Equal(by, []wire.UserID{bob.User}) {
				t.Errorf("%s is shunned by %v", whom, by)
			}
		})
	}
}

// Where it cannot be learned by whom people are blocked, sessions that have ended are closed
// all the same.
func TestWhatHasEndedIsClosedBeforeBlocksAreLearned(t *testing.T) {
	w := onFile(t)
	store := w.watch()
	h := w.member("ada")
	closed := make(chan struct{})
	if _, err := w.room.Hold(t.Context(), h, func() { close(closed) }); err != nil {
		t.Fatal(err)
	}
	store.blockedBy = func() error { return errors.New("it cannot be read") }
	run(t, w.room)
	if err := w.store.EndAll(t.Context(), h.Number()); err != nil { // elsewhere, unheard
		t.Fatal(err)
	}
	w.room.PeerUp("other")
	<-closed
}

// Of a block and of taking it back at once that counts which was stored last, whichever is
// told last, here and on other nodes.
func TestOfABlockAndItsEndAtOnceTheLaterStoredCounts(t *testing.T) {
	for what, at := range map[string]func(*watched, func()){
		"told before the other": func(s *watched, do func()) { s.wrote = do },
		"read before the other": func(s *watched, do func()) { s.blocked = do },
	} {
		t.Run(what, func(t *testing.T) {
			w := onFile(t)
			there := w.room
			link := &between{to: there}
			store := &watched{Store: w.store}
			w.build(func(o *accounts.Options) { o.Store, o.Nodes = store, link })
			here := w.room
			here.PeerUp("other")
			run(t, there)
			ada, bob := w.member("ada"), w.member("bob")
			for _, room := range []*accounts.Room{here, there} {
				if _, err := room.Hold(t.Context(), ada, func() {}); err != nil {
					t.Fatal(err)
				}
			}
			at(store, func() {
				if err := here.Unblock(t.Context(), bob, ada.User); err != nil {
					t.Error(err)
				}
			})
			if err := here.Block(t.Context(), bob, ada.User); err != nil {
				t.Fatal(err)
			}
			if by := here.Shunned(ada.User); len(by) > 0 {
				t.Errorf("here by %v", by)
			}
			// What the other node is told next it learns after all that.
			cat := w.member("cat")
			if err := here.Block(t.Context(), cat, ada.User); err != nil {
				t.Fatal(err)
			}
			for is := false; !is; _, is = there.Shunned(ada.User)[cat.User] {
				runtime.Gosched()
			}
			if _, is := there.Shunned(ada.User)[bob.User]; is {
				t.Error("there by bob")
			}
		})
	}
}

// Blocks of somebody who has no sockets on another node are nothing to it.
func TestANodeAsksOnlyOfThoseWhoHaveSocketsThere(t *testing.T) {
	w := onFile(t)
	var asked atomic.Int32
	store := w.watch()
	there := w.room
	store.blockedBy = func() error { asked.Add(1); return nil }
	link := &between{to: there}
	w.build(func(o *accounts.Options) { o.Store, o.Nodes = w.store, link })
	here := w.room
	here.PeerUp("other")
	run(t, there)
	ada, bob, cat := w.member("ada"), w.member("bob"), w.member("cat")
	if _, err := there.Hold(t.Context(), ada, func() {}); err != nil {
		t.Fatal(err)
	}
	before := asked.Load()
	for _, whom := range []wire.UserID{cat.User, ada.User} {
		if err := here.Block(t.Context(), bob, whom); err != nil {
			t.Fatal(err)
		}
	}
	for is := false; !is; _, is = there.Shunned(ada.User)[bob.User] {
		runtime.Gosched()
	}
	if n := asked.Load() - before; n != 2 { // before and after one reading
		t.Errorf("asked %d times", n)
	}
}
