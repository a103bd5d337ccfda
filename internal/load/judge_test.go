package load

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestTheJudgeCountsWhatIsLostDuplicatedAndReordered(t *testing.T) {
	for name, c := range map[string]struct {
		sent    uint32
		arrives []uint32
		want    verdict
	}{
		"all in order":             {4, []uint32{0, 1, 2, 3}, verdict{}},
		"nothing":                  {3, nil, verdict{Lost: 3}},
		"the first missing":        {3, []uint32{1, 2}, verdict{Lost: 1}},
		"the last missing":         {3, []uint32{0, 1}, verdict{Lost: 1}},
		"a gap":                    {5, []uint32{0, 4}, verdict{Lost: 3}},
		"one twice":                {3, []uint32{0, 1, 1, 2}, verdict{Duplicated: 1}},
		"one twice, late":          {3, []uint32{0, 1, 2, 0}, verdict{Duplicated: 1}},
		"two exchanged":            {4, []uint32{0, 2, 1, 3}, verdict{Reordered: 1}},
		"backwards":                {3, []uint32{2, 1, 0}, verdict{Reordered: 2}},
		"a gap filled in part":     {6, []uint32{0, 5, 3}, verdict{Lost: 3, Reordered: 1}},
		"late and then once more":  {3, []uint32{0, 2, 1, 1}, verdict{Reordered: 1, Duplicated: 1}},
		"in a gap, twice, and not": {8, []uint32{7, 3, 3, 0, 6}, verdict{Lost: 4, Reordered: 3, Duplicated: 1}},
	} {
		var j judge
		var got verdict
		for _, seq := range c.arrives {
			j.arrived(seq, &got)
		}
		got.Lost = j.missing(c.sent)
		if got != c.want {
			t.Errorf("%s: got %+v, want %+v", name, got, c.want)
		}
	}
}

// However things arrive, the judge agrees with somebody who writes everything
// down.
func TestTheJudgeAgreesWithALogbook(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		arrives := rapid.SliceOf(rapid.Uint32Range(0, 30)).Draw(t, "arrives")
		var j judge
		var got, want verdict
		var seen []uint32
		for _, seq := range arrives {
			fresh := j.arrived(seq, &got)
			if fresh == slices.Contains(seen, seq) {
				t.Fatalf("%d of %v: fresh is %v", seq, seen, fresh)
			}
			switch {
			case !fresh:
				want.Duplicated++
			case len(seen) > 0 && seq < slices.Max(seen):
				want.Reordered++
			}
			if fresh {
				seen = append(seen, seq)
			}
		}
		if got != want || j.missing(31) != int64(31-len(seen)) {
			t.Fatalf("got %+v and %d missing, want %+v and %d", got, j.missing(31), want, 31-len(seen))
		}
	})
}

func TestAMarkIsReadAsItWasWritten(t *testing.T) {
	want := mark{run: 0xdeadbeef, sender: 7, seq: 1<<32 - 1, at: 90 * time.Minute}
	text := want.append(nil)
	if got, ok := readMark(append(text, " and more"...)); !ok || got != want || len(text) != markSize {
		t.Errorf("%s: got %+v, want %+v", text, got, want)
	}
	for _, bad := range []string{"", "hello", string(text[:markSize-1]), string(text[:markSize-1]) + "G"} {
		if _, ok := readMark([]byte(bad)); ok {
			t.Errorf("%q counts as a mark", bad)
		}
	}
}
