package chat

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTheWordsOfAMessageAreThoseOfAllItsStrings(t *testing.T) {
	for content, want := range map[string]string{
		`"Hello, World! hello"`:                        "hello world",
		`{"text":"Käse 42","meta":["É\u0301t\u00e9"]}`: "käse 42 é\u0301té",
		`{"key":{"a\"b":"c\"d"}}`:                      "c d",
		`"don't stop-it a_b"`:                          "don t stop it a b",
		`"天気 ok ひ"`:                                    "天 気 ok ひ",
		`17`:                                           "",
		`""`:                                           "",
		`"\u0041\\n\n"`:                                "a n",
	} {
		if got := strings.Join(wordsOf([]byte(content)), " "); got != want {
			t.Errorf("%s: %q, want %q", content, got, want)
		}
	}
}

func TestTheWordsOfAMessageAreBounded(t *testing.T) {
	var b strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&b, "w%d ", i)
	}
	if got := wordsOf([]byte(`"` + b.String() + `"`)); len(got) != maxWords || got[0] != "w0" {
		t.Errorf("%d words", len(got))
	}
	long := strings.Repeat("ä", 100)
	if got := wordsOf([]byte(`"` + long + `"`)); len(got) != 1 || got[0] != long[:2*maxWordRunes] {
		t.Errorf("a long word is %q", got)
	}
	if got := queryOf("1 2 3 4 5 6 7 8 9 10 11"); len(got) != maxQueryWords+1 {
		t.Errorf("a query has %d words", len(got))
	}
}

// Whatever the lists are, going on where pages end finds what all lists have, once, the
// newest first; and no page reads more than its budget.
func TestASearchFindsAllAndNothingElse(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		words := make([]string, rapid.IntRange(1, 4).Draw(t, "words"))
		lists := make(map[string][]int64)
		var want []int64
		highest := rapid.Int64Range(1, 3000).Draw(t, "highest")
		for i := range words {
			words[i] = fmt.Sprint("w", i)
			every := rapid.Int64Range(1, 40).Draw(t, "every")
			off := rapid.Int64Range(0, every-1).Draw(t, "off")
			for seq := highest; seq > 0; seq-- {
				if seq%every == off {
					lists[words[i]] = append(lists[words[i]], seq)
				}
			}
		}
		for seq := highest; seq > 0; seq-- {
			all := true
			for _, w := range words {
				all = all && slices.Contains(lists[w], seq)
			}
			if all {
				want = append(want, seq)
			}
		}
		limit := rapid.IntRange(1, 50).Draw(t, "limit")
		var got []int64
		for from := highest; ; {
			reads := 0
			page, err := search(words, from, limit, func(word string, most int64, limit int) (list []int64, err error) {
				reads++
				for _, seq := range lists[word] {
					if seq <= most && len(list) < limit {
						list = append(list, seq)
					}
				}
				return list, nil
			})
			if err != nil || len(page.seqs) > limit || reads > searchBudget {
				t.Fatalf("%v, %d found, %d reads", err, len(page.seqs), reads)
			}
			got = append(got, page.seqs...)
			if page.next == 0 {
				break
			}
			if page.next > from {
				t.Fatalf("the search goes back, from %d to %d", from, page.next)
			}
			from = page.next
		}
		if !slices.Equal(got, want) {
			t.Fatalf("found %v\nnot   %v", got, want)
		}
	})
}

// Two words that each are in half of all messages, and never in one, are the worst case:
// a page looks at a bounded part, and says where to go on.
func TestACommonWordCostsASearchItsBudgetAtMost(t *testing.T) {
	const highest = 1_000_000
	rows := 0
	read := func(word string, most int64, limit int) (list []int64, err error) {
		for seq := most; seq > 0 && len(list) < limit; seq-- {
			if (seq%2 == 0) == (word == "even") {
				list = append(list, seq)
			}
		}
		rows += len(list)
		return list, nil
	}
	page, err := search([]string{"even", "odd"}, highest, 50, read)
	if err != nil || len(page.seqs) > 0 || page.next == 0 || page.next >= highest || rows > searchBudget*searchChunk {
		t.Errorf("%+v, %v, %d rows read", page, err, rows)
	}
	rows = 0
	rare := func(word string, most int64, limit int) ([]int64, error) {
		if word != "rare" {
			return read("even", most, limit)
		}
		if most < 10 {
			return nil, nil
		}
		rows++
		return []int64{10}, nil
	}
	if page, err = search([]string{"even", "rare"}, highest, 50, rare); err != nil || len(page.seqs) != 1 || page.next != 0 || rows > 4*searchChunk {
		t.Errorf("%+v, %v, %d rows read for a rare word among a common one", page, err, rows)
	}
}
