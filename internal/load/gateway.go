package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"
)

// Gateway is what `switchboard bench gateway` found: requests at a pace through the
// gateway, and through a bare reverse proxy of the standard library, in turns.
type Gateway struct {
	Rate     float64    `json:"rate"` // requests a second that were offered
	Requests int        `json:"requests"`
	Failed   int        `json:"failed"` // that got no good answer, of both
	Bare     ProxyTimes `json:"bare"`
	Gateway  ProxyTimes `json:"gateway"`
}

// ProxyTimes are the times of requests in µs: medians of rounds.
type ProxyTimes struct {
	P50 float64 `json:"p50"`
	P99 float64 `json:"p99"`
	CPU float64 `json:"cpu"` // of the process for one, client and service included
}

// Added is what the gateway adds to the p99 of the bare proxy, in µs.
func (g Gateway) Added() float64 { return g.Gateway.P99 - g.Bare.P99 }

// Print writes it for people.
func (g Gateway) Print(w io.Writer) error {
	_, err := fmt.Fprintf(w, `%d requests, %.0f a second, to three instances; %d failed
  bare reverse proxy    p50 %s  p99 %s  CPU a request, client and service included %s
  gateway               p50 %s  p99 %s  CPU a request %s
  added to the p99      %s
`, g.Requests, g.Rate, g.Failed, micros(g.Bare.P50), micros(g.Bare.P99), micros(g.Bare.CPU),
		micros(g.Gateway.P50), micros(g.Gateway.P99), micros(g.Gateway.CPU), micros(g.Added()))
	return err
}

// measureGateway measures what the gateway adds to a bare proxy.
func measureGateway(ctx context.Context, s *suite) ([]found, error) {
	out, err := s.o.Child.output(ctx, "bench", "gateway", "--json", "--duration", max(s.o.Duration, 100*time.Millisecond).String())
	if err != nil {
		return nil, err
	}
	var g Gateway
	if err := json.Unmarshal(out, &g); err != nil {
		return nil, err
	}
	if g.Failed > 0 {
		return nil, fmt.Errorf("%d of %d requests through a proxy failed", g.Failed, g.Requests)
	}
	return []found{{what: "added to the p99 of a bare reverse proxy", unit: unitMicro, value: g.Added(), reach: 500, atMost: true}}, nil
}
