package stats

import (
	"math"
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// families are the metrics by name, as they were gathered. What is not there
// counts as 0: a part of the node that does not run has no metrics.
type families map[string]*dto.MetricFamily

// label is a label that has to have a value.
type label struct{ name, value string }

// sum adds up the metrics of a name that have all of the labels.
func (f families) sum(name string, where ...label) uint64 {
	var sum float64
	for _, m := range f[name].GetMetric() {
		if has(m, where) {
			sum += value(m)
		}
	}
	return whole(sum)
}

// by adds up the metrics of a name for each value of a label. What is 0 is left
// out.
func (f families) by(name, by string) map[string]uint64 {
	sums := make(map[string]uint64)
	for _, m := range f[name].GetMetric() {
		if n := whole(value(m)); n > 0 {
			sums[labelOf(m, by)] += n
		}
	}
	return sums
}

func has(m *dto.Metric, where []label) bool {
	return !slices.ContainsFunc(where, func(l label) bool { return labelOf(m, l.name) != l.value })
}

func labelOf(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// value returns what a counter or gauge says.
func value(m *dto.Metric) float64 {
	if m.Counter != nil {
		return m.Counter.GetValue()
	}
	return m.Gauge.GetValue()
}

// whole returns a count: a gauge that is being changed may be below 0 for a
// moment.
func whole(v float64) uint64 { return uint64(math.Max(math.Round(v), 0)) }

// buckets are those of a histogram, smallest first, each with how much was
// measured up to its bound, all smaller ones included.
type buckets []bucket

type bucket struct {
	bound float64 // the last one's is infinite
	count uint64
}

// buckets returns those of a histogram without labels; nil for one that is not
// there.
func (f families) buckets(name string) buckets {
	metrics := f[name].GetMetric()
	if len(metrics) == 0 {
		return nil
	}
	h := metrics[0].GetHistogram()
	list := make(buckets, 0, len(h.GetBucket())+1)
	for _, b := range h.GetBucket() {
		list = append(list, bucket{b.GetUpperBound(), b.GetCumulativeCount()})
	}
	if n := len(list); n == 0 || !math.IsInf(list[n-1].bound, 1) {
		list = append(list, bucket{math.Inf(1), h.GetSampleCount()})
	}
	return list
}

// apart returns the metrics that lack a label, and the others by its values.
func (f families) apart(name string) (rest families, by map[string]families) {
	rest, by = make(families, len(f)), make(map[string]families)
	for family, all := range f {
		for _, m := range all.GetMetric() {
			into := rest
			if value := labelOf(m, name); value != "" {
				if into = by[value]; into == nil {
					into = make(families)
					by[value] = into
				}
			}
			if into[family] == nil {
				into[family] = &dto.MetricFamily{Name: all.Name}
			}
			into[family].Metric = append(into[family].Metric, m)
		}
	}
	return rest, by
}

// fits says whether two histograms have the same bounds.
func (b buckets) fits(other buckets) bool {
	return slices.EqualFunc(b, other, func(x, y bucket) bool { return x.bound == y.bound })
}

// plus returns what two histograms measured together. None adds nothing, and
// neither does one with other bounds, as another version may have.
func (b buckets) plus(more buckets) buckets {
	if len(b) == 0 {
		return slices.Clone(more)
	}
	list := slices.Clone(b)
	if b.fits(more) {
		for i := range list {
			list[i].count += more[i].count
		}
	}
	return list
}

// count returns how much was measured.
func (b buckets) count() uint64 {
	if len(b) == 0 {
		return 0
	}
	return b[len(b)-1].count
}

// since returns what was measured after another state of the same histogram: all,
// if that is of one that began anew, or was not there yet.
func (b buckets) since(before buckets) buckets {
	if !b.fits(before) {
		return b
	}
	list := slices.Clone(b)
	for i := range list {
		if list[i].count < before[i].count {
			return b
		}
		list[i].count -= before[i].count
	}
	return list
}

// quantile estimates one as Prometheus does: as if what is in a bucket were
// spread evenly over it. What is beyond the last bound counts as that.
func (b buckets) quantile(q float64) float64 {
	rank := q * float64(b.count())
	if rank == 0 {
		return 0
	}
	var low float64
	var below uint64
	for _, one := range b {
		if float64(one.count) >= rank && one.count > below {
			if math.IsInf(one.bound, 1) {
				return low
			}
			return low + (one.bound-low)*(rank-float64(below))/float64(one.count-below)
		}
		low, below = one.bound, one.count
	}
	return low
}
