package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Bytes is a size in bytes. It is written "512", "64KiB", "1MiB" or "8GiB".
type Bytes int64

// Units of Bytes.
const (
	KiB Bytes = 1 << 10
	MiB Bytes = 1 << 20
	GiB Bytes = 1 << 30
)

// ParseBytes reads a size: a whole number, plain or with KiB, MiB or GiB
// directly behind it.
func ParseBytes(text string) (Bytes, error) {
	digits := strings.TrimRight(text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
	if bare := strings.TrimRight(digits, " "); bare != digits && bare != "" && len(digits) < len(text) {
		return 0, fmt.Errorf("%q is not a size%s", text, suggestUnit(bare, text[len(digits):]))
	}
	unit, ok := map[string]Bytes{"": 1, "KiB": KiB, "MiB": MiB, "GiB": GiB}[text[len(digits):]]
	n, err := strconv.ParseUint(digits, 10, 63)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && ok && Bytes(n) > math.MaxInt64/unit:
		return 0, fmt.Errorf("%q is too large for a size", text)
	case err == nil && !ok && len(text) > len(digits):
		return 0, fmt.Errorf("%q is not a size%s", text, suggestUnit(digits, text[len(digits):]))
	case err != nil:
		return 0, fmt.Errorf("%q is not a size: write 65536, 64KiB, 1MiB or 8GiB", text)
	}
	return Bytes(n) * unit, nil
}

// suggestUnit turns 64k, 64KB and the like into a hint.
func suggestUnit(digits, unit string) string {
	switch strings.ToLower(unit)[0] {
	case 'k':
		unit = "KiB"
	case 'm':
		unit = "MiB"
	case 'g':
		unit = "GiB"
	default:
		return ": the units are KiB, MiB and GiB"
	}
	return ": did you mean " + digits + unit + "?"
}

// String returns the size in the largest unit that divides it.
func (b Bytes) String() string {
	switch {
	case b != 0 && b%GiB == 0:
		return strconv.FormatInt(int64(b/GiB), 10) + "GiB"
	case b != 0 && b%MiB == 0:
		return strconv.FormatInt(int64(b/MiB), 10) + "MiB"
	case b != 0 && b%KiB == 0:
		return strconv.FormatInt(int64(b/KiB), 10) + "KiB"
	}
	return strconv.FormatInt(int64(b), 10)
}

// parseDuration reads a Go duration and says what is missing when the unit is.
func parseDuration(text string) (time.Duration, error) {
	if _, err := strconv.ParseFloat(text, 64); err == nil && text != "0" {
		return 0, fmt.Errorf("%q is not a duration: it lacks its unit, as in %ss", text, text)
	}
	if days, ok := strings.CutSuffix(text, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			return 0, fmt.Errorf("%q is not a duration: days are written in hours, as %dh", text, 24*n)
		}
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q is not a duration: write 500ms, 15s, 5m or 720h", text)
	}
	return d, nil
}

// durationText writes a duration without the zero parts that
// time.Duration.String adds: "720h", not "720h0m0s".
func durationText(d time.Duration) string {
	text := d.String()
	if strings.HasSuffix(text, "m0s") {
		text = strings.TrimSuffix(text, "0s")
	}
	if strings.HasSuffix(text, "h0m") {
		text = strings.TrimSuffix(text, "0m")
	}
	return text
}
