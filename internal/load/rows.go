package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// suiteRows returns the table of what we hold ourselves to. Comparisons are
// with the bare echo on the same processor, measured in the same round. What is
// said of a row is true of its size.
func suiteRows(z sizes) []suiteRow {
	one, four := z.connections(1000), z.connections(4000)
	idle := func(n int) suiteRow {
		return suiteRow{fmt.Sprintf("idle-%d", n), spaced(z.connections(n)) + " signed-in connections, silent", idleRow(n)}
	}
	return []suiteRow{
		{"fast", "FAST, " + spaced(one) + " connections, each to itself, closed loop, 1 000 characters", measureFast},
		{"fast-4000", "the same at " + spaced(four) + " connections, compared with " + spaced(one), measureFastMany},
		{"reliable", "RELIABLE, synced and proved, " + spaced(one) + " connections, each to itself, closed loop", measureReliable},
		{"reference", "RELIABLE with a reference and its confirmation, the same load", measureReference},
		{"single", "one RELIABLE message on an idle node", measureSingle},
		{"paced", spaced(z.rate(10_000)) + " messages a second over " + spaced(four) + " connections", measurePaced},
		{"http", spaced(z.rate(5000)) + " messages a second to " + spaced(one) + " connections, sent over HTTP in batches of 100, compared with the sockets", measureHTTP},
		idle(10_000),
		idle(19_000),
		{"events-10000", spaced(z.connections(10_000)) + " streams of events, silent", measureStreams},
		{"group", "group messages, FAST, to " + spaced(one) + " receivers", measureGroup},
		{"rooms", "messages to a room of " + spaced(membersPer*one) + " members of whom " + spaced(one) + " are connected, compared with RELIABLE group messages to those", measureRooms},
		{"journal", "events of devices, written over HTTP in batches of 1 000 by 8 writers", measureJournal},
		{"absent", spaced(z.messages(100_000)) + " messages to " + spaced(z.absent(1000)) + " absent users, then fetched by them", measureMail},
		{"cluster-fast", "FAST, " + spaced(one) + " connections, in pairs over two nodes on one processor, compared with one node", measureClusterFast},
		{"cluster-reliable", "RELIABLE on three nodes with three replicas, " + spaced(one) + " connections, in pairs over nodes, closed loop", measureClusterReliable},
		{"cluster-crowd", spaced(z.connections(10_000)) + " users who connect at once to three nodes, then a message to each from each node", measureClusterCrowd},
		{"links", "two linked domains on one processor, " + spaced(one) + " connections, in pairs over the link, compared with one domain; then " + spaced(z.messages(10_000)) + " messages that waited for the link", measureLinks},
		{"matching", "devices that look for each other, while " + spaced(z.of(10_000, 100)) + " others wait; compared with ten times as many", measureMatching},
		{"traffic", "events of " + spaced(z.of(1000, 20)) + " devices that are folded into windows, by one goroutine", measureTraffic},
		{"nearby", spaced(z.of(1_000_000, 1000)) + " positions on one core, compared with Redis; then " + spaced(z.of(1000, 20)) + " who look around while " + spaced(z.of(100_000, 500)) + " move", measureNearby},
		{"relay", spaced(z.of(5000, 50)) + " files of 1 KiB and " + spaced(z.of(300, 50)) + " of 1 MiB, from an uploader's folder into a collector's, compared with a bare loop", measureRelay},
		{"gateway", "2 000 requests a second with a token through the gateway to three instances, compared with a bare reverse proxy", measureGateway},
		{"start", "start to ready, after a clean stop and after a kill", measureStart},
	}
}

// sizes says how large the suite's measurements are: as in the table, or so
// small that they take seconds.
type sizes struct{ short bool }

func (z sizes) connections(n int) int {
	if z.short && n > 1 {
		return max(2, n/50)
	}
	return n
}

// rate returns how many messages are offered a second.
func (z sizes) rate(n int) int { return z.of(n, 20) }

// messages and absent return how many messages are stored for how many users.
func (z sizes) messages(n int) int { return z.of(n, 100) }
func (z sizes) absent(n int) int   { return max(10, z.of(n, 20)) }

func (z sizes) of(n, less int) int {
	if z.short {
		return n / less
	}
	return n
}

// spaced writes a number as the tables do: 10 000.
func spaced(n int) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s %03d", spaced(n/1000), n%1000)
}

func measureFast(ctx context.Context, s *suite) ([]found, error) {
	o := s.options(FeatureFast, 1000)
	base, err := s.baseline(ctx, o)
	if err != nil {
		return nil, err
	}
	run, err := s.serve(ctx, o)
	return []found{{what: "messages", unit: unitRate, value: run.ArrivedRate, base: base.ArrivedRate, reach: 0.65}}, err
}

func measureFastMany(ctx context.Context, s *suite) ([]found, error) {
	few, err := s.serve(ctx, s.options(FeatureFast, 1000))
	if err != nil {
		return nil, err
	}
	many, err := s.serve(ctx, s.options(FeatureFast, 4000))
	return []found{{what: "messages, with " + spaced(few.Connections), unit: unitRate, value: many.ArrivedRate, base: few.ArrivedRate, reach: 0.9}}, err
}

func measureReliable(ctx context.Context, s *suite) ([]found, error) {
	base, err := s.baseline(ctx, s.options(FeatureFast, 1000))
	if err != nil {
		return nil, err
	}
	fast, err := s.serve(ctx, s.options(FeatureFast, 1000))
	if err != nil {
		return nil, err
	}
	run, err := s.serve(ctx, s.options(FeatureReliable, 1000))
	if err != nil {
		return nil, err
	}
	if run.Latency == nil || fast.Latency == nil {
		return nil, errNothing
	}
	return []found{
		{what: "messages", unit: unitRate, value: run.ArrivedRate, base: base.ArrivedRate, reach: 0.40},
		{what: "p99, with FAST's", unit: unitMicro, value: run.Latency.P99, base: fast.Latency.P99, reach: 3, atMost: true},
	}, nil
}

var errNothing = errors.New("no message arrived while it was measured; give --duration more time")

func measureReference(ctx context.Context, s *suite) ([]found, error) {
	o := s.options(FeatureReliable, 1000)
	base, err := s.baseline(ctx, o)
	if err != nil {
		return nil, err
	}
	o.Reference = true
	run, err := s.serve(ctx, o)
	return []found{{what: "messages confirmed", unit: unitRate, value: run.ConfirmedRate, base: base.ArrivedRate, reach: 0.20}}, err
}

func measureSingle(ctx context.Context, s *suite) ([]found, error) {
	o := s.options(FeatureReliable, 1)
	o.Mode = ModeSingle
	run, err := s.serve(ctx, o)
	if err != nil {
		return nil, err
	}
	if run.Latency == nil || run.DiskSync == nil {
		return nil, errNothing
	}
	return []found{{what: "p50, with 1.5 × the disk's sync + 0.3 ms", unit: unitMicro, value: run.Latency.P50,
		base: 1.5*run.DiskSync.P50 + 300, reach: 1, atMost: true}}, nil
}

func measurePaced(ctx context.Context, s *suite) ([]found, error) {
	paced := func(feature string) Options {
		o := s.options(feature, 4000)
		o.Mode, o.Rate = ModePaced, float64(s.size.rate(10_000))
		return o
	}
	base, err := s.baseline(ctx, paced(FeatureFast))
	if err != nil {
		return nil, err
	}
	fast, err := s.serve(ctx, paced(FeatureFast))
	if err != nil {
		return nil, err
	}
	reliable, err := s.serve(ctx, paced(FeatureReliable))
	if err != nil {
		return nil, err
	}
	if fast.Latency == nil || reliable.Latency == nil {
		return nil, errNothing
	}
	all := []found{
		{what: "FAST p99", unit: unitMicro, value: fast.Latency.P99, reach: 1000, atMost: true},
		{what: "RELIABLE p99", unit: unitMicro, value: reliable.Latency.P99, reach: 8000, atMost: true},
	}
	if fast.Server != nil && base.Server != nil {
		all = append(all, found{what: "FAST, CPU a message", unit: unitMicro, value: fast.Server.CPUPerMessage, base: base.Server.CPUPerMessage, reach: 1.4, atMost: true})
	}
	return all, nil
}

// measureHTTP compares what a message costs the server that comes over HTTP with
// one that comes over a socket.
func measureHTTP(ctx context.Context, s *suite) ([]found, error) {
	var all []found
	for _, feature := range []string{FeatureReliable, FeatureFast} {
		o := s.options(feature, 1000)
		o.Mode, o.Rate = ModePaced, float64(s.size.rate(5000))
		socket, err := s.serve(ctx, o)
		if err != nil {
			return nil, err
		}
		o.Via, o.Batch = ViaHTTP, 100
		posted, err := s.serve(ctx, o)
		if err != nil {
			return nil, err
		}
		if posted.Latency == nil || socket.Latency == nil {
			return nil, errNothing
		}
		if posted.Server != nil && socket.Server != nil {
			all = append(all, found{what: feature + ", CPU a message", unit: unitMicro, value: posted.Server.CPUPerMessage, base: socket.Server.CPUPerMessage, reach: 2, atMost: true})
		}
	}
	return all, nil
}

// idleRow measures silent connections.
func idleRow(connections int) func(context.Context, *suite) ([]found, error) {
	return func(ctx context.Context, s *suite) ([]found, error) {
		o := s.options(FeatureReliable, connections)
		o.Mode = ModeIdle
		run, err := s.serve(ctx, o)
		if err != nil {
			return nil, err
		}
		i := run.Idle
		return []found{
			{what: "memory a connection", unit: unitBytes, value: float64(i.Idle.RSSPerConn), reach: 8 << 10, atMost: true},
			{what: "after traffic", unit: unitBytes, value: float64(i.After.RSSPerConn), reach: 12 << 10, atMost: true},
			{what: "CPU a connection and second", unit: unitMicro, value: i.Idle.CPUPerConn, reach: 2, atMost: true},
			{what: "memory, from first to last", unit: unitBytes, value: float64(i.Idle.RSSLast), base: float64(i.Idle.RSSFirst), reach: 1.01, atMost: true},
		}, nil
	}
}

// measureStreams measures silent streams of events, after what each was sent
// first is forgotten.
func measureStreams(ctx context.Context, s *suite) ([]found, error) {
	o := s.options(FeatureReliable, 10_000)
	o.Mode, o.streams = ModeIdle, true
	run, err := s.serve(ctx, o)
	if err != nil {
		return nil, err
	}
	return []found{
		{what: "memory a stream", unit: unitBytes, value: float64(run.Idle.Idle.RSSPerConn), reach: 9 << 10, atMost: true},
		{what: "CPU a stream and second", unit: unitMicro, value: run.Idle.Idle.CPUPerConn, reach: 3, atMost: true},
	}, nil
}

func measureGroup(ctx context.Context, s *suite) ([]found, error) {
	o := s.options(FeatureFast, 1000)
	base, err := s.baseline(ctx, o)
	if err != nil {
		return nil, err
	}
	o.Pattern, o.Outstanding = PatternGroup, 4
	run, err := s.serve(ctx, o)
	return []found{{what: "deliveries", unit: unitRate, value: run.ArrivedRate, base: base.ArrivedRate, reach: 1.5}}, err
}

// mail returns the options of storing for absent users.
func (s *suite) mail(messages, users, payload int) Options {
	o := s.options(FeatureReliable, 100)
	o.Pattern, o.Outstanding, o.Messages, o.Absent, o.Payload = PatternAbsent, 10, s.size.messages(messages), s.size.absent(users), payload
	return o
}

func measureMail(ctx context.Context, s *suite) ([]found, error) {
	base, err := s.baseline(ctx, s.options(FeatureFast, 1000))
	if err != nil {
		return nil, err
	}
	run, err := s.serve(ctx, s.mail(100_000, 1000, 1000))
	if err != nil {
		return nil, err
	}
	m := run.Mailbox
	all := []found{
		{what: "stored", unit: unitRate, value: m.StoredRate, base: base.ArrivedRate, reach: 0.40},
		{what: "fetched", unit: unitRate, value: m.FetchedRate, base: base.ArrivedRate, reach: 0.25},
	}
	if m.RSSPerMessage != 0 {
		all = append(all, found{what: "memory a waiting message", unit: unitBytes, value: m.RSSPerMessage, reach: 100, atMost: true})
	}
	return all, nil
}

// measureStart measures how long a start takes: of an old, empty folder, and
// with a million messages that wait, after a kill.
func measureStart(ctx context.Context, s *suite) (all []found, err error) {
	waiting := s.mail(1_000_000, 200, 200)
	waiting.KeepMail = true
	err = s.withFolder(func(data string) error {
		first, err := s.start(ctx, data)
		if err != nil {
			return err
		}
		if err := first.stop(); err != nil {
			return err
		}
		clean, err := s.start(ctx, data)
		if err != nil {
			return err
		}
		o := waiting
		o.URLs, o.PIDs = []string{clean.url}, watchable(clean)
		run, err := s.keep(Measure(ctx, o))
		clean.kill()
		if err != nil {
			return err
		}
		again, err := s.start(ctx, data)
		if err != nil {
			return fmt.Errorf("start again after a kill: %w", err)
		}
		all = []found{
			{what: "ready, after a clean stop", unit: unitMicro, value: micro(clean.ready), reach: micro(300 * time.Millisecond), atMost: true},
			{what: fmt.Sprintf("ready, after a kill, %d waiting", run.Mailbox.Stored), unit: unitMicro, value: micro(again.ready), reach: micro(3 * time.Second), atMost: true},
		}
		return again.stop()
	})
	return all, err
}

func micro(d time.Duration) float64 { return float64(d) / float64(time.Microsecond) }
