package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
	"time"
)

// Relay is what `switchboard bench relay` found: files that an uploader and a collector
// in one process moved from one folder into another, beside a bare loop that does by hand
// what makes a file safe.
type Relay struct {
	Sizes []RelaySize `json:"sizes"`
}

// RelaySize is what it found of files of one size.
type RelaySize struct {
	Bytes int     `json:"bytes"` // of a file
	Files int     `json:"files"`
	Rate  float64 `json:"rate"` // files a second
	Bare  float64 `json:"bare"` // the same, of the bare loop
}

// leastRelay is how long files have to take for a rate that says something: the start of
// both programs is in it.
const leastRelay = 250 * time.Millisecond

// Print writes it for people, and says of which sizes there were too few files.
func (r Relay) Print(w io.Writer) error {
	for _, s := range r.Sizes {
		text := fmt.Sprintf("%s of %s\n  through the relay    %.0f a second, %.2f of the bare loop (%.0f)\n",
			plural(s.Files, "file"), bytesText(int64(s.Bytes)), s.Rate, s.Rate/s.Bare, s.Bare)
		if took := s.took(); took < leastRelay {
			text += fmt.Sprintf("  too few to tell: they took %s, and the start is a part of that; give at least %d\n",
				took.Round(time.Millisecond), s.enough())
		}
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
	}
	return nil
}

// took is how long the faster of both took.
func (s RelaySize) took() time.Duration {
	return time.Duration(float64(s.Files) / max(s.Rate, s.Bare) * float64(time.Second))
}

// enough is how many files take long enough, at the rate that was found.
func (s RelaySize) enough() int { return int(2*leastRelay.Seconds()*max(s.Rate, s.Bare)) + 1 }

// measureRelay measures files beside a bare loop.
func measureRelay(ctx context.Context, s *suite) ([]found, error) {
	var r Relay
	err := s.withFolder(func(data string) error {
		out, err := s.o.Child.output(ctx, "bench", "relay", "--json", "--small", strconv.Itoa(s.size.of(5000, 50)),
			"--large", strconv.Itoa(s.size.of(300, 50)), "--rounds", strconv.Itoa(s.size.of(3, 3)), "--folder", data)
		if err != nil {
			return err
		}
		return json.Unmarshal(out, &r)
	})
	if err != nil {
		return nil, err
	}
	var list []found
	for _, of := range r.Sizes {
		list = append(list, found{what: "files of " + bytesText(int64(of.Bytes)) + ", compared with the bare loop", unit: unitRate, value: of.Rate, base: of.Bare, reach: 0.7})
	}
	return list, nil
}
