package node

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// book looks names up.
type book struct {
	mu    sync.Mutex
	fails bool
	times int
}

func (b *book) lookUp(_ context.Context, users []wire.UserID) (map[wire.UserID]accounts.Profile, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.times++; b.fails {
		return nil, errors.New("the database is gone")
	}
	found := map[wire.UserID]accounts.Profile{"chat-1": {Username: "ada"}, "chat-2": {Username: "grace", DisplayName: "Grace H."}}
	for user := range found {
		wanted := false
		for _, u := range users {
			wanted = wanted || u == user
		}
		if !wanted {
			delete(found, user)
		}
	}
	return found, nil
}

func TestNamesAreLookedUpOnceAndWhoHasNoneIsKnownToo(t *testing.T) {
	b := new(book)
	n := newNames(b.lookUp, "chat")
	all := []wire.UserID{"chat-1", "chat-2", "chat-3", "ANZ-1"}
	if list, known := n.Now(all); known || len(list) != 0 {
		t.Errorf("before anything was looked up %v is known: %v", list, known)
	}
	list := n.Ask(t.Context(), all)
	if len(list) != 2 || list["chat-1"] != "ada" || list["chat-2"] != "Grace H." {
		t.Errorf("got %v", list)
	}
	if again, known := n.Now(all); !known || len(again) != 2 || b.times != 1 {
		t.Errorf("then %v is known: %v, after %d questions", again, known, b.times)
	}
	if list, known := n.Now([]wire.UserID{"ANZ-1"}); !known || list != nil {
		t.Errorf("of another app %v is known: %v", list, known)
	}
}

func TestWithoutTheDatabaseUsersAreShownWithoutNames(t *testing.T) {
	b := &book{fails: true}
	n := newNames(b.lookUp, "chat")
	if list := n.Ask(t.Context(), []wire.UserID{"chat-1"}); len(list) != 0 {
		t.Errorf("got %v", list)
	}
	if list, known := n.Now([]wire.UserID{"chat-1"}); !known || len(list) != 0 {
		t.Errorf("then %v is known: %v: a watch would wait for ever", list, known)
	}
}

func TestWhatIsWantedIsLookedUpInTheBackground(t *testing.T) {
	b := new(book)
	n := newNames(b.lookUp, "chat")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- n.run(ctx) }()
	for {
		list, known := n.Now([]wire.UserID{"chat-1"})
		if known {
			if list["chat-1"] != "ada" {
				t.Errorf("got %v", list)
			}
			break
		}
	}
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
}
