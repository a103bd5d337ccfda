package relay

import (
	"fmt"
	"strings"
	"time"

	"github.com/adhocore/gronx"
)

// Bounds of a schedule.
const (
	leastEvery  = 100 * time.Millisecond
	mostEvery   = 24 * time.Hour
	maxSchedule = 200 // bytes of its text
)

// schedule says when something is done again. It is safe for concurrent use.
type schedule struct {
	text  string
	every time.Duration // 0 for a cron expression
}

// parseSchedule reads a duration, as 10s, or a cron expression of six fields: second,
// minute, hour, day of the month, month, day of the week. When both days are
// restricted, either of them is enough, as cron has it everywhere.
func parseSchedule(text string) (schedule, error) {
	s := schedule{text: text}
	if len(text) > maxSchedule {
		return s, fmt.Errorf("a schedule has at most %d bytes", maxSchedule)
	}
	fields := strings.Fields(text)
	if len(fields) == 1 {
		every, err := time.ParseDuration(text)
		if err != nil {
			return s, fmt.Errorf("%q: must be a duration as 10s, or a cron expression of six fields, seconds first", text)
		}
		if every < leastEvery || every > mostEvery {
			return s, fmt.Errorf("%q: must be %s to %s", text, durationOf(leastEvery), durationOf(mostEvery))
		}
		s.every = every
		return s, nil
	}
	if len(fields) != 6 || strings.Contains(fields[0], "=") {
		return s, fmt.Errorf("%q: a cron expression has six fields: second, minute, hour, day, month, day of the week", text)
	}
	if !gronx.IsValid(text) {
		return s, fmt.Errorf("%q: %s", text, wrongField(fields))
	}
	// Whether it ever comes does not depend on when one asks.
	if _, err := gronx.NextTickAfter(text, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC), false); err != nil {
		return s, fmt.Errorf("%q: there is no such day", text)
	}
	return s, nil
}

// wrongField says which fields of a cron expression are wrong.
func wrongField(fields []string) string {
	var wrong []string
	for i, name := range []string{"second", "minute", "hour", "day of the month", "month", "day of the week"} {
		alone := strings.Fields("* * * * * *")
		if alone[i] = fields[i]; !gronx.IsValid(strings.Join(alone, " ")) {
			wrong = append(wrong, fmt.Sprintf("field %d, the %s, cannot be %s", i+1, name, fields[i]))
		}
	}
	if len(wrong) == 0 {
		return "the fields of the cron expression do not go together"
	}
	return strings.Join(wrong, "; ")
}

// String returns the schedule as it was written.
func (s schedule) String() string { return s.text }

// next returns the first time after now. A cron expression means UTC, where no hour
// is left out or comes twice.
func (s schedule) next(now time.Time) time.Time {
	if s.every > 0 {
		return now.Add(s.every)
	}
	next, err := gronx.NextTickAfter(s.text, now.UTC(), false)
	if err != nil || !next.After(now) { // nothing for many years
		return now.Add(mostEvery)
	}
	return next
}
