package apps

import (
	"context"
	"errors"
	"testing"
)

// A turn that comes in the moment in which its taker gives up goes to the next.
func TestTurnThatComesTooLateIsPassedOn(t *testing.T) {
	turns := newTurns(1, 10)
	if err := turns.take(t.Context(), nil); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	next := make(chan error, 1)
	err := turns.take(ctx, func() func() {
		waits := make(chan struct{})
		go func() {
			next <- turns.take(t.Context(), func() func() {
				close(waits)
				return func() {}
			})
		}()
		<-waits
		turns.give()
		cancel()
		return func() {}
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if err := <-next; err != nil {
		t.Errorf("the next got %v", err)
	}
	turns.give()
	if turns.taken != 0 || turns.queue.Len() != 0 {
		t.Errorf("%d turns are out, %d wait", turns.taken, turns.queue.Len())
	}
}

func TestFewerTurnsTakeEffectAsTheyComeBack(t *testing.T) {
	turns := newTurns(2, 0)
	for range 2 {
		if err := turns.take(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
	}
	turns.setLimit(1)
	turns.give()
	if err := turns.take(t.Context(), nil); !errors.Is(err, errQueueFull) {
		t.Errorf("one is out, one may be: got %v", err)
	}
	turns.give()
	if err := turns.take(t.Context(), nil); err != nil {
		t.Error(err)
	}
}
