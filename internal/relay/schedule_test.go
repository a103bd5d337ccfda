package relay

import (
	"testing"
	"time"
	_ "time/tzdata" // for clocks that change, on any machine
)

func TestAScheduleIsADurationOrSixFieldsSecondsFirst(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 34, 56, 500e6, time.UTC) // a Tuesday
	for _, c := range []struct{ text, want string }{
		{"10s", "2026-03-10T12:35:06.5Z"},
		{"100ms", "2026-03-10T12:34:56.6Z"},
		{"* * * * * *", "2026-03-10T12:34:57Z"},
		{"*/5 * * * * *", "2026-03-10T12:35:00Z"},
		{"30 * * * * *", "2026-03-10T12:35:30Z"}, // the first field is the second
		{"0 30 * * * *", "2026-03-10T13:30:00Z"},
		{"0 0 4 * * ?", "2026-03-11T04:00:00Z"},
		{"0 0 0 * * MON-FRI", "2026-03-11T00:00:00Z"},
		{"0 0 0 13 * FRI", "2026-03-13T00:00:00Z"},
		{"0 0 0 20 * THU", "2026-03-12T00:00:00Z"}, // either day
		{"0 0 0 29 2 *", "2028-02-29T00:00:00Z"},
	} {
		s, err := parseSchedule(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if got := s.next(now).Format(time.RFC3339Nano); got != c.want || s.String() != c.text {
			t.Errorf("%s: next is %s", s, got)
		}
	}
	for _, text := range []string{
		"", " ", "10", "0s", "99ms", "25h", "-10s", "every 10s", "* * * * *", "* * * * * * *", "60 * * * * *",
		"0 0 0 30 2 *", "TZ=UTC * * * * *", "@every 10s", "@hourly",
		"0 0 0 0 0 0                                                                                                                                                                                                             ",
	} {
		if s, err := parseSchedule(text); err == nil {
			t.Errorf("%q is the schedule %v", text, s)
		}
	}
}

func TestClocksThatChangeLeaveAScheduleAsItIs(t *testing.T) {
	place, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	// An hour is left out on the first day, and comes twice on the second.
	for _, day := range []time.Time{time.Date(2026, 3, 29, 0, 0, 0, 0, place), time.Date(2026, 10, 25, 0, 0, 0, 0, place)} {
		for _, c := range []struct {
			text string
			want time.Duration
		}{{"0 30 * * * *", time.Hour}, {"0 30 1 * * *", 24 * time.Hour}, {"1h", time.Hour}} {
			s, err := parseSchedule(c.text)
			if err != nil {
				t.Fatal(err)
			}
			last := s.next(day)
			for range 6 {
				next := s.next(last.In(place))
				if next.Sub(last) != c.want {
					t.Errorf("%s: %s is followed by %s", s, last, next)
				}
				last = next
			}
		}
	}
}
