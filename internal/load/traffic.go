package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// Traffic is what `switchboard bench traffic` found: events of devices that are folded
// into windows, in this process, by one goroutine.
type Traffic struct {
	Devices int     `json:"devices"`
	Events  int64   `json:"events"` // that were folded while it was measured
	Rate    float64 `json:"rate"`   // of those, a second
	CPU     float64 `json:"cpu"`    // µs of the process for one event
	State   int     `json:"state"`  // bytes of what is kept of the shard
	Query   float64 `json:"query"`  // µs for the last hour, in minutes by app
}

// Print writes it for people.
func (t Traffic) Print(w io.Writer) error {
	_, err := fmt.Fprintf(w, `events of %s, folded by app, capability, domain and device
  events a second    %.0f
  CPU an event       %.2f µs
  an hour by minutes %s
  state of a shard   %s
`, plural(t.Devices, "device"), t.Rate, t.CPU, micros(t.Query), bytesText(int64(t.State)))
	return err
}

// measureTraffic measures how fast one goroutine folds.
func measureTraffic(ctx context.Context, s *suite) ([]found, error) {
	out, err := s.o.Child.output(ctx, "bench", "traffic", "--json", "--devices", strconv.Itoa(s.size.of(1000, 20)), "--duration", s.o.Duration.String())
	if err != nil {
		return nil, err
	}
	var t Traffic
	if err := json.Unmarshal(out, &t); err != nil {
		return nil, err
	}
	return []found{{what: "events", unit: unitRate, value: t.Rate, reach: 500_000}}, nil
}
