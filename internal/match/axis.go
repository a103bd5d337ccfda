package match

import (
	"math"
	"slices"
)

// axis is one of the lines along which a tree divides: the three of a position, and
// for each name where the property is, and from where to where it may be.
type axis uint8

const (
	firstVal = axis(3)
	firstLo  = firstVal + maxDims
	firstHi  = firstLo + maxDims
	endAxis  = firstHi + maxDims
)

// of returns where a ticket is on the axis; one that is nowhere is below all others.
func (a axis) of(t *ticket) float64 {
	w := t.wait
	switch {
	case a < firstVal:
		if !w.located {
			return math.Inf(-1)
		}
		return w.spot[a]
	case a < firstLo:
		if v := w.dims[a-firstVal].val; v == v {
			return v
		}
		return math.Inf(-1)
	case a < firstHi:
		return w.dims[a-firstLo].lo
	}
	return w.dims[a-firstHi].hi
}

// width returns how much of the axis a ticket takes for itself; ok is false when it
// does not say.
func (a axis) width(t *ticket) (width float64, ok bool) {
	w := t.wait
	switch {
	case a < firstVal:
		return math.Sqrt(w.reach), !math.IsInf(w.reach, 1)
	case a < firstLo:
		a -= firstVal
	case a < firstHi:
		a -= firstLo
	default:
		a -= firstHi
	}
	width = w.dims[a].hi - w.dims[a].lo
	return width, !math.IsInf(width, 1)
}

// used says whether an axis is one of the first dims names', or of a position.
func (a axis) used(dims int) bool {
	return a < firstVal || int(a-firstVal)%maxDims < dims
}

// sampleSize is how many tickets are looked at to find out where to divide many.
const sampleSize = 96

// bestSplit returns an axis and where to divide it, so that both sides have tickets;
// not ok when all tickets are in the same place.
func bestSplit(list []*ticket, dims int) (best axis, split float64, ok bool) {
	if len(list) > sampleSize {
		sample := make([]*ticket, 0, sampleSize)
		for i := range sampleSize {
			sample = append(sample, list[i*len(list)/sampleSize])
		}
		if best, split, ok = bestSplit(sample, dims); ok {
			return best, split, true // what divides some of them divides them all
		}
	}
	bestWorth := 0.0
	for a := axis(0); a < endAxis; a++ {
		if !a.used(dims) {
			continue
		}
		if worth := a.worth(list); worth > bestWorth {
			best, bestWorth = a, worth
		}
	}
	if bestWorth == 0 {
		return 0, 0, false
	}
	places := make([]float64, len(list))
	for i, t := range list {
		places[i] = best.of(t)
	}
	slices.Sort(places)
	split = places[len(places)/2]
	if split == places[0] { // all must not be on one side
		i := slices.IndexFunc(places, func(p float64) bool { return p > split })
		split = places[i]
	}
	return best, split, true
}

// worth says how much is gained by dividing along an axis: how often what one ticket
// takes for itself goes into what all are spread over. It is 0 when all are in the
// same place.
func (a axis) worth(list []*ticket) float64 {
	from, to := math.Inf(1), math.Inf(-1)
	least, most := math.Inf(1), math.Inf(-1)
	widths, wide := 0.0, 0
	for _, t := range list {
		p := a.of(t)
		least, most = min(least, p), max(most, p)
		if !math.IsInf(p, 0) {
			from, to = min(from, p), max(to, p)
		}
		if w, ok := a.width(t); ok {
			widths += w
			wide++
		}
	}
	switch {
	case least == most:
		return 0
	case wide == 0, !(from < to): // nobody asks, or there are just those who are somewhere and those who are not
		return 1e-9
	}
	return (to - from) / (widths/float64(wide) + 1e-12*(to-from))
}
