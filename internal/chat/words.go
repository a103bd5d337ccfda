package chat

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	maxWords      = 256 // of one message that can be found by them
	maxWordRunes  = 64  // of a word; what is longer is cut
	maxQueryWords = 8   // that are looked for at once
)

// wordsOf returns the words by which a message is found: those of all strings in its
// content, in lower case, each once.
func wordsOf(content []byte) []string {
	w := words{most: maxWords}
	wire.EachString(content, w.add)
	return w.list
}

// queryOf returns the words of a query, of which there may be one too many.
func queryOf(text string) []string {
	w := words{most: maxQueryWords + 1}
	w.add([]byte(text))
	return w.list
}

// words collects words.
type words struct {
	most  int
	list  []string
	known map[string]struct{}
	word  []byte
	runes int
}

// add takes the words of a text. Where words are not parted by spaces, each character
// is one.
func (w *words) add(text []byte) {
	for len(text) > 0 && len(w.list) < w.most {
		r, size := utf8.DecodeRune(text)
		text = text[size:]
		switch {
		case r == utf8.RuneError && size == 1:
			w.end()
		case alone(r):
			w.end()
			w.grow(r)
			w.end()
		case unicode.IsLetter(r) || unicode.IsDigit(r) || unicode.IsMark(r):
			w.grow(unicode.ToLower(r))
		default:
			w.end()
		}
	}
	w.end()
}

func (w *words) grow(r rune) {
	if w.runes++; w.runes <= maxWordRunes {
		w.word = utf8.AppendRune(w.word, r)
	}
}

// end takes the word that was growing, if there was one.
func (w *words) end() {
	if w.runes == 0 {
		return
	}
	word := string(w.word)
	w.word, w.runes = w.word[:0], 0
	if _, known := w.known[word]; known || len(w.list) >= w.most {
		return
	}
	if w.known == nil {
		w.known = make(map[string]struct{})
	}
	w.known[word] = struct{}{}
	w.list = append(w.list, word)
}

// alone says whether a character is a word by itself.
func alone(r rune) bool {
	return r >= 0x3040 && unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana)
}

// unprintable says whether a text has what no name may have: control characters, and
// those that turn around what stands behind them.
func unprintable(s string, newlines bool) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return unicode.IsControl(r) && !(newlines && r == '\n') || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069
	})
}

// visible says whether there is anything to see in a text.
func visible(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool { return unicode.IsPrint(r) && !unicode.In(r, unicode.M, unicode.Z) })
}
