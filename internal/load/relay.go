package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
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

// Print writes it for people.
func (r Relay) Print(w io.Writer) error {
	for _, s := range r.Sizes {
		if _, err := fmt.Fprintf(w, "%s of %s\n  through the relay    %.0f a second, %.2f of the bare loop (%.0f)\n",
			plural(s.Files, "file"), bytesText(int64(s.Bytes)), s.Rate, s.Rate/s.Bare, s.Bare); err != nil {
			return err
		}
	}
	return nil
}

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
