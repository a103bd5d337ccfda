package chat

import (
	"context"
	"errors"
	"fmt"
	"testing"
)

// Who sends much, or what is much to store, holds up nobody else; what one sent stays in
// order, and a transaction that has room is filled.
func TestATransactionHasSomethingOfEachSender(t *testing.T) {
	x := newCommitter(nil)
	put := func(who int64, n, words int) {
		for i := range n {
			j := &job{who: actor{n: who}, content: []byte("1"), seq: int64(i), words: make([]string, words)}
			x.queue = append(x.queue, j)
			x.bytes += j.bytes()
		}
	}
	put(1, 1000, 256)
	put(2, 30, 1)
	put(3, 1, 2*batchWords) // more than a transaction has otherwise
	last := map[int64]int64{1: -1, 2: -1, 3: -1}
	var sizes []string
	for batch := x.next(); len(batch) > 0; batch = x.next() {
		count, words := make(map[int64]int), 0
		for _, j := range batch {
			if j.seq != last[j.who.n]+1 {
				t.Fatalf("of %d %d came after %d", j.who.n, j.seq, last[j.who.n])
			}
			last[j.who.n] = j.seq
			count[j.who.n]++
			words += len(j.words)
		}
		if words > batchWords && len(batch) > 1 {
			t.Fatalf("a transaction of %d words", words)
		}
		sizes = append(sizes, fmt.Sprint(count))
	}
	if want := fmt.Sprint(map[int64]int{1: 2, 2: 30}); sizes[0] != want {
		t.Errorf("the first has %s, want %s", sizes[0], want)
	}
	if want := fmt.Sprint(map[int64]int{3: 1}); sizes[1] != want {
		t.Errorf("the second has %s, want %s", sizes[1], want)
	}
	if last[1] != 999 || last[2] != 29 || last[3] != 0 || x.bytes != 0 || len(x.queue) != 0 {
		t.Errorf("left: %v, %d bytes, %d jobs", last, x.bytes, len(x.queue))
	}
}

// failing is a store whose transactions fail at their end.
type failing struct {
	unused
	with   error
	writes int
}

func (f *failing) Write(context.Context, func(Tx) error) error {
	f.writes++
	return f.with
}

// A batch that may have been stored is not stored again, message by message: those without
// an ID of their client's would be there twice. Of one that was not, each job is tried alone.
func TestWhatMayHaveBeenStoredIsNotStoredAgain(t *testing.T) {
	for _, x := range []struct {
		err    error
		writes int
	}{
		{fmt.Errorf("%w: commit failed, for a reason that nobody knows", ErrUnknown), 1},
		{errors.New("a row of one of them is wrong"), 1 + 3},
	} {
		store := &failing{with: x.err}
		c, err := New(Options{Store: store, People: unused{}, App: "chat"})
		if err != nil {
			t.Fatal(err)
		}
		answered := 0
		var list []*job
		for range 3 {
			list = append(list, &job{content: []byte("1"), done: func(j *job) {
				if answered++; !errors.Is(j.err, x.err) {
					t.Errorf("answered %v", j.err)
				}
			}})
		}
		c.committers[0].store(t.Context(), list)
		if store.writes != x.writes || answered != 3 {
			t.Errorf("%v: stored %d times, want %d; %d are answered", x.err, store.writes, x.writes, answered)
		}
	}
}
