package chat

// Searching walks down the lists of the words at once, from the newest message on, and
// leaps: what one word lacks is not looked at in the lists of the others. So a rare word
// makes a search quick whatever the others are, and none reads more than its budget.

const (
	firstChunk   = 32  // entries of a word's list that are read at first
	searchChunk  = 256 // and at most at once
	searchBudget = 64  // reads of one search: past it the page ends, and says where to go on
)

// wordList reads the list of a word: at most limit numbers of messages, the highest
// first, none above most.
type wordList func(word string, most int64, limit int) ([]int64, error)

// found is a page of what a search found.
type found struct {
	seqs []int64 // the newest first
	next int64   // where the search goes on: nothing above it is left; 0: it is through
}

// search looks for messages that have all words, none above most, and at most limit.
func search(words []string, most int64, limit int, read wordList) (found, error) {
	s := searching{read: read, budget: searchBudget}
	lists := make([]cursor, len(words))
	for i, w := range words {
		lists[i] = cursor{word: w, chunk: firstChunk}
	}
	var out found
	for at := most; at > 0; {
		agreed := true
		for i := range lists {
			seq, err := s.seek(&lists[i], at)
			switch {
			case err != nil:
				return out, err
			case s.budget < 0:
				out.next = at
				return out, nil
			case seq == 0:
				return out, nil
			case seq < at:
				at, agreed = seq, i == 0
			}
		}
		if !agreed {
			continue
		}
		if len(out.seqs) == limit {
			out.next = at
			return out, nil
		}
		out.seqs = append(out.seqs, at)
		at--
	}
	return out, nil
}

// searching is a search under way.
type searching struct {
	read   wordList
	budget int
}

// cursor is a place in the list of a word.
type cursor struct {
	word  string
	chunk int
	have  []int64 // read and not passed, the highest first
	ended bool    // there is nothing behind
}

// seek returns the highest entry of a list that is not above most; 0 when there is
// none. With the budget spent it returns nothing.
func (s *searching) seek(c *cursor, most int64) (int64, error) {
	for len(c.have) > 0 && c.have[0] > most {
		c.have = c.have[1:]
	}
	if len(c.have) == 0 && !c.ended {
		if s.budget--; s.budget < 0 {
			return 0, nil
		}
		var err error
		if c.have, err = s.read(c.word, most, c.chunk); err != nil {
			return 0, err
		}
		c.ended = len(c.have) < c.chunk
		c.chunk = min(2*c.chunk, searchChunk)
	}
	if len(c.have) == 0 {
		return 0, nil
	}
	return c.have[0], nil
}
