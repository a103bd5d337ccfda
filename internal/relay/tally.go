package relay

import (
	"slices"
	"strings"
	"sync"
	"time"
)

// rateSeconds is how far back a rate looks.
const rateSeconds = 10

// tally counts what a program did. It is safe for concurrent use.
type tally struct {
	now     func() time.Time
	started time.Time

	mu       sync.Mutex
	files    int64
	bytes    int64
	failed   int64
	slots    [rateSeconds]slot // by second since the start
	failures []Failure         // the newest first
}

// slot is what was done in one second.
type slot struct{ second, files, bytes int64 }

func newTally(now func() time.Time) *tally { return &tally{now: now, started: now()} }

// done counts a file that is through.
func (t *tally) done(bytes int64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.files++
	t.bytes += bytes
	second := int64(t.now().Sub(t.started) / time.Second)
	s := &t.slots[max(second, 0)%rateSeconds]
	if s.second != second {
		*s = slot{second: second}
	}
	s.files++
	s.bytes += bytes
}

// fail keeps a failure among the newest. Its time is now unless it says another. One
// that is like another takes its place and counts it: one collector that is full leaves
// room for what else went wrong. Files that were moved to failed are told one by one.
func (t *tally) fail(f Failure) {
	if f.At.IsZero() {
		f.At = t.now()
	}
	f.Reason = cutText(f.Reason)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.failed++
	last := slices.IndexFunc(t.failures, func(old Failure) bool { return alike(old, f) })
	switch {
	case last >= 0:
		f.Count = max(t.failures[last].Count, 1) + max(f.Count, 1)
	case len(t.failures) < maxFailures:
		t.failures = append(t.failures, Failure{})
		last = len(t.failures) - 1
	default:
		last = maxFailures - 1
	}
	copy(t.failures[1:last+1], t.failures)
	t.failures[0] = f
}

// alike says whether two failures are of the same place and for the same reason, but
// for numbers in it: bytes that are lacking, or a port.
func alike(a, b Failure) bool {
	return !a.Final && !b.Final && a.Where == b.Where && withoutNumbers(a.Reason) == withoutNumbers(b.Reason)
}

// withoutNumbers leaves numbers of more than three digits out: shorter ones may be a
// status.
func withoutNumbers(text string) string {
	var b strings.Builder
	for text != "" {
		digits := len(text) - len(strings.TrimLeft(text, "0123456789"))
		if digits <= 3 {
			b.WriteString(text[:digits])
		}
		rest := text[digits:]
		next := strings.IndexAny(rest, "0123456789")
		if next < 0 {
			next = len(rest)
		}
		b.WriteString(rest[:next])
		text = rest[next:]
	}
	return b.String()
}

// counted is what a tally knows.
type counted struct {
	files, bytes, failed int64   // since the start
	fileRate, byteRate   float64 // a second, over the last ten seconds
}

// count returns what was counted so far.
func (t *tally) count() counted {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.countLocked()
}

func (t *tally) countLocked() counted {
	c := counted{files: t.files, bytes: t.bytes, failed: t.failed}
	since := t.now().Sub(t.started)
	second := int64(since / time.Second)
	// The second that has begun, and the whole ones before it.
	window := float64(rateSeconds-1) + (since - time.Duration(second)*time.Second).Seconds()
	var files, bytes int64
	for _, s := range t.slots {
		if s.second > second-rateSeconds && s.second <= second {
			files += s.files
			bytes += s.bytes
		}
	}
	c.fileRate, c.byteRate = float64(files)/window, float64(bytes)/window
	return c
}

// fill writes what was counted into a report.
func (t *tally) fill(r *Report) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.countLocked()
	r.Files, r.Bytes, r.FileRate, r.ByteRate = c.files, c.bytes, c.fileRate, c.byteRate
	r.Started = t.started
	r.Failures = append([]Failure{}, t.failures...)
}
