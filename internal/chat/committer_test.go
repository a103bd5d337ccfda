package chat

import (
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
