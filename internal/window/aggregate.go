package window

import (
	"fmt"
	"math"
	"math/bits"

	"github.com/DataDog/sketches-go/ddsketch"
	"github.com/DataDog/sketches-go/ddsketch/mapping"
	"github.com/DataDog/sketches-go/ddsketch/store"
)

// MaxValue is the greatest value that is told apart from a greater one.
const MaxValue = 1 << 53

// Accuracy is how far a quantile may be off, as a share of it.
const Accuracy = 0.01

// Aggregate is what is known of some values. The zero value is that of none.
type Aggregate struct {
	Count, Sum, Min, Max uint64
	First, Last          int64  // when the first and the last of them happened
	Late                 uint64 // events among them that came when their pane was over

	sketch *ddsketch.DDSketch // nil: see bins
	few    [few]uint64        // the values themselves, while they are few
}

// few is up to how many values are kept themselves, which is less than any sketch
// takes.
const few = 4

// Add adds a value.
func (a *Aggregate) Add(at int64, value uint64) { a.AddSame(at, value, 1) }

// AddSame adds a value n times.
func (a *Aggregate) AddSame(at int64, value, n uint64) {
	if n == 0 {
		return
	}
	value = min(value, MaxValue)
	if a.sketch == nil && n == 1 && a.Count < few {
		a.few[a.Count] = value
	} else {
		a.bins().add(value, n)
	}
	high, sum := bits.Mul64(value, n)
	if high > 0 {
		sum = math.MaxUint64
	}
	a.count(n, sum, value, value, at, at)
}

// count adds numbers.
func (a *Aggregate) count(n, sum, least, most uint64, first, last int64) {
	if a.Count == 0 {
		a.Min, a.Max, a.First, a.Last = least, most, first, last
	} else {
		a.Min, a.Max = min(a.Min, least), max(a.Max, most)
		a.First, a.Last = min(a.First, first), max(a.Last, last)
	}
	a.Count, a.Sum = capped(a.Count, n), capped(a.Sum, sum)
}

func capped(a, b uint64) uint64 {
	sum, over := bits.Add64(a, b, 0)
	if over > 0 {
		return math.MaxUint64
	}
	return sum
}

// Merge adds what another one has, which stays as it is.
func (a *Aggregate) Merge(b *Aggregate) {
	a.Late += b.Late
	switch {
	case b.Count == 0:
	case b.sketch == nil:
		for _, v := range b.few[:b.Count] {
			a.Add(b.First, v)
		}
		a.Last = max(a.Last, b.Last)
	default:
		a.bins().merge(b.sketch)
		a.count(b.Count, b.Sum, b.Min, b.Max, b.First, b.Last)
	}
}

// Summed returns the aggregate of values of which only numbers are known: as if those
// between the least and the greatest were all alike.
func Summed(at int64, n, sum, least, most uint64) Aggregate {
	var a Aggregate
	switch {
	case n == 0:
		return a
	case n == 1:
		a.Add(at, sum)
		return a
	}
	a.Add(at, least)
	a.Add(at, most)
	if rest := n - 2; rest > 0 {
		a.AddSame(at, min(max((sum-min(sum, least+most))/rest, least), most), rest)
	}
	a.Sum = sum
	return a
}

// Moved returns the aggregate as if all of it had happened at one moment.
func (a Aggregate) Moved(at int64) Aggregate {
	a.First, a.Last = at, at
	return a
}

// Clone returns a copy that shares nothing.
func (a *Aggregate) Clone() Aggregate {
	c := *a
	if c.sketch != nil {
		c.sketch = c.sketch.Copy()
	}
	return c
}

// Mean returns the mean value; 0 of none.
func (a *Aggregate) Mean() float64 {
	if a.Count == 0 {
		return 0
	}
	return float64(a.Sum) / float64(a.Count)
}

// Quantile returns the least value that is no less than a share of the values, from 0
// to 1: of n values in order the one at place ceil(share * n). 0 of none. The least and
// the greatest are exact, and it is never outside of them.
func (a *Aggregate) Quantile(share float64) float64 {
	if a.Count == 0 {
		return 0
	}
	// The product may be a little more than the whole number that it stands for.
	place := math.Ceil(math.Nextafter(share*float64(a.Count), 0))
	switch {
	case place <= 1:
		return float64(a.Min)
	case place >= float64(a.Count):
		return float64(a.Max)
	}
	c := *a
	s := c.bins() // of the copy, if there is no sketch
	v, before := 0.0, place-1
	if zeros := s.GetZeroCount(); before >= zeros {
		v = s.Value(s.GetPositiveValueStore().KeyAtRank(before - zeros))
	}
	return min(max(v, float64(a.Min)), float64(a.Max))
}

// sketched is a sketch that takes only what it can hold.
type sketched struct{ *ddsketch.DDSketch }

// bins returns the sketch, with all values in it.
func (a *Aggregate) bins() sketched {
	if a.sketch == nil {
		a.sketch = ddsketch.NewDDSketch(bins(), store.NewBufferedPaginatedStore(), store.NewDenseStore())
		for _, v := range a.few[:a.Count] {
			sketched{a.sketch}.add(v, 1)
		}
		a.few = [few]uint64{}
	}
	return sketched{a.sketch}
}

// bins says which bins there are.
func bins() *mapping.CubicallyInterpolatedMapping {
	m, err := mapping.NewCubicallyInterpolatedMapping(Accuracy)
	if err != nil {
		panic(fmt.Sprintf("window: %v", err)) // a constant
	}
	return m
}

func (s sketched) add(value, n uint64) {
	if err := s.AddWithCount(float64(value), float64(n)); err != nil {
		panic(fmt.Sprintf("window: add %d: %v", value, err)) // whole numbers up to 2^53 can be added
	}
}

func (s sketched) merge(o *ddsketch.DDSketch) {
	if err := s.MergeWith(o); err != nil {
		panic(fmt.Sprintf("window: %v", err)) // all have the same bins
	}
}
