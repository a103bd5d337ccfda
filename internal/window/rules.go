package window

import "time"

// Rules say into which pane an event belongs, and whether it is in time.
type Rules struct {
	Pane     time.Duration // how long a pane is
	Lateness time.Duration // for how long after its end a pane takes what belongs into it
	Skew     time.Duration // how far an event may be ahead of whoever takes it in
}

// Verdict says what becomes of an event.
type Verdict int

// An event is folded if it is InTime or Late; what is TooLate or Ahead is counted
// apart.
const (
	InTime  Verdict = iota
	Late            // its pane was over: the result is corrected
	TooLate         // its pane was closed for good
	Ahead           // it is said to happen in the future
)

// Judge says what becomes of an event that happened at one time and was taken in at
// another, in milliseconds.
func (r Rules) Judge(at, stored int64) Verdict {
	end := Floor(at, r.Pane) + r.Pane.Milliseconds()
	switch {
	case at > stored+r.Skew.Milliseconds():
		return Ahead
	case stored >= end+r.Lateness.Milliseconds():
		return TooLate
	case stored >= end:
		return Late
	}
	return InTime
}

// Closed says whether a pane takes nothing more once all is folded that was taken in
// before a time. It is a watermark that the events' own times do not move: an event
// from the future closes nothing, and where nothing comes, time goes on.
func (r Rules) Closed(start, watermark int64) bool {
	return watermark >= start+r.Pane.Milliseconds()+r.Lateness.Milliseconds()
}

// Floor returns the greatest multiple of a span that is no later than a time.
func Floor(at int64, span time.Duration) int64 {
	n := span.Milliseconds()
	if at < 0 {
		at -= n - 1
	}
	return at / n * n
}
