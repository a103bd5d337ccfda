package load

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"strconv"
)

// Nearby is what `switchboard bench nearby` found: positions in this process, with their
// log on the disk, beside a redis-server that does the same. Rates are for each second
// of CPU that the process has used, all of it: that of one core.
type Nearby struct {
	Positions int     `json:"positions"`
	Memory    int64   `json:"memory"`  // bytes of the heap that they take
	Hits      float64 `json:"hits"`    // users in the answer to a query
	Queries   float64 `json:"queries"` // a second: who is within a kilometre
	Updates   float64 `json:"updates"` // a second: another position

	RedisQueries float64 `json:"redisQueries,omitempty"` // the same, of Redis; 0: it was not asked
	RedisUpdates float64 `json:"redisUpdates,omitempty"`

	Watchers int     `json:"watchers"`
	Movers   int     `json:"movers"`
	News     int64   `json:"news"` // that watchers were told of movers
	P50      float64 `json:"p50"`  // µs from a position until a watcher is told
	P99      float64 `json:"p99"`  // the same
	Frames   int64   `json:"frames"`
	Batches  int64   `json:"batches"` // that were stored
}

// Print writes it for people.
func (n Nearby) Print(w io.Writer) error {
	beside := func(ours, redis float64) string {
		if redis == 0 {
			return ""
		}
		return fmt.Sprintf(", %.1f × Redis (%.0f)", ours/redis, redis)
	}
	_, err := fmt.Fprintf(w, `%s
  memory               %s
  queries of a core    %.0f a second, with %.1f users each%s
  updates of a core    %.0f a second%s
%s, and %s with news every 10 s
  until it is told     %s in the middle, 99 %% within %s, of %d
`, plural(n.Positions, "position"), bytesText(n.Memory), n.Queries, n.Hits, beside(n.Queries, n.RedisQueries), n.Updates, beside(n.Updates, n.RedisUpdates),
		plural(n.Watchers, "watcher"), plural(n.Movers, "mover"), micros(n.P50), micros(n.P99), n.News)
	return err
}

// measureNearby measures positions beside Redis.
func measureNearby(ctx context.Context, s *suite) ([]found, error) {
	var n Nearby
	err := s.withFolder(func(data string) error {
		out, err := s.o.Child.output(ctx, "bench", "nearby", "--json", "--positions", strconv.Itoa(s.size.of(1_000_000, 1000)),
			"--movers", strconv.Itoa(s.size.of(100_000, 500)), "--watchers", strconv.Itoa(s.size.of(1000, 20)), "--duration", s.o.Duration.String(), "--folder", data)
		if err != nil {
			return err
		}
		return json.Unmarshal(out, &n)
	})
	if err != nil {
		return nil, err
	}
	return []found{
		{what: "queries of 1 km, compared with Redis", unit: unitRate, value: n.Queries, base: n.RedisQueries, reach: 5},
		{what: "updates, compared with Redis", unit: unitRate, value: n.Updates, base: n.RedisUpdates, reach: 3},
		{what: "memory of " + spaced(n.Positions) + " positions", unit: unitBytes, value: float64(n.Memory), reach: 300 << 20, atMost: true},
		{what: "p99 until a watcher is told", unit: unitMicro, value: n.P99, reach: 200_000, atMost: true},
	}, nil
}
