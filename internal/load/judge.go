package load

// judge compares what arrives from one sender at one receiver with what was
// sent: numbers from 0, each once, in order. The zero value has seen nothing.
type judge struct {
	next  uint32 // the number that comes if all is well
	holes []span // numbers before next that have not arrived, rising
}

// span is the numbers from first up to, not including, end.
type span struct{ first, end uint32 }

// verdict counts what went wrong.
type verdict struct {
	Lost       int64 `json:"lost"`
	Duplicated int64 `json:"duplicated"`
	Reordered  int64 `json:"reordered"`
}

// arrived takes a number as it arrives. fresh is false for one that was there
// before.
func (j *judge) arrived(seq uint32, v *verdict) (fresh bool) {
	switch {
	case seq == j.next:
		j.next++
		return true
	case seq > j.next:
		j.holes = append(j.holes, span{j.next, seq})
		j.next = seq + 1
		return true
	case j.fill(seq):
		v.Reordered++
		return true
	}
	v.Duplicated++
	return false
}

// fill takes a number out of the holes, if it is in one.
func (j *judge) fill(seq uint32) bool {
	for i, h := range j.holes {
		if seq < h.first || seq >= h.end {
			continue
		}
		rest := append([]span(nil), j.holes[i+1:]...)
		j.holes = j.holes[:i]
		if h.first < seq {
			j.holes = append(j.holes, span{h.first, seq})
		}
		if seq+1 < h.end {
			j.holes = append(j.holes, span{seq + 1, h.end})
		}
		j.holes = append(j.holes, rest...)
		return true
	}
	return false
}

// missing returns how many of the sent numbers have not arrived.
func (j *judge) missing(sent uint32) int64 {
	n := int64(sent) - int64(j.next)
	for _, h := range j.holes {
		n += int64(h.end - h.first)
	}
	return n
}
