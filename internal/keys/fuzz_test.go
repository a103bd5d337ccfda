package keys

import (
	"errors"
	"strings"
	"testing"
)

// No text but the key itself opens anything.
func FuzzVerify(f *testing.F) {
	r, presented := full(f, 3)
	for _, seed := range []string{presented, presented[:72], presented + " ", "sb_", strings.ToUpper(presented), strings.Repeat("_", 72)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		k, err := r.Verify(text)
		if (k != nil) != (text == presented) || k == nil && !errors.Is(err, ErrMalformed) && !errors.Is(err, ErrUnknown) {
			t.Errorf("%q: %v, %v", text, k, err)
		}
	})
}
