package api

import (
	"errors"
	"time"
)

// Time is a point in time as the interface writes it: RFC 3339 in UTC with
// milliseconds. The zero Time is none: tag it omitzero.
type Time time.Time

// timeForm is how times are written.
const timeForm = "2006-01-02T15:04:05.000Z07:00"

// aTime is what a time has to be, in words that follow "must be".
const aTime = `a time as in RFC 3339, such as "2026-11-26T08:30:00Z"`

// IsZero is for omitzero.
func (t Time) IsZero() bool { return time.Time(t).IsZero() }

// AppendText implements encoding.TextAppender.
func (t Time) AppendText(b []byte) ([]byte, error) {
	return time.Time(t).UTC().AppendFormat(b, timeForm), nil
}

// MarshalText implements encoding.TextMarshaler.
func (t Time) MarshalText() ([]byte, error) { return t.AppendText(nil) }

// UnmarshalText reads any time of RFC 3339 that is one in UTC, too. What is before
// 1970 is a mistake: the zero Time, above all, would be read as none at all.
func (t *Time) UnmarshalText(b []byte) error {
	read, err := time.Parse(time.RFC3339Nano, string(b))
	if err != nil {
		return errors.New("must be " + aTime)
	}
	if year := read.UTC().Year(); year < 1970 || year > 9999 {
		return errors.New("must be a time from 1970 to 9999, in UTC")
	}
	*t = Time(read)
	return nil
}
