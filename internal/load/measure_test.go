package load

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lxzan/gws"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echoServer starts an echo that calls before for each message, and returns its
// URL.
func echoServer(t *testing.T, before func(n int64)) string {
	t.Helper()
	var connections sync.WaitGroup
	h := &countingEcho{before: before}
	upgrader := gws.NewUpgrader(h, &gws.ServerOption{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Counted before the server lets go of the connection: from there on its Close
		// does not wait for this handler.
		connections.Add(1)
		conn, err := upgrader.Upgrade(w, r)
		if err != nil {
			connections.Done()
			return
		}
		go func() {
			defer connections.Done()
			conn.ReadLoop()
		}()
	}))
	t.Cleanup(func() {
		server.Close()
		connections.Wait()
	})
	return "ws" + strings.TrimPrefix(server.URL, "http") + "/ws"
}

type countingEcho struct {
	gws.BuiltinEventHandler
	n      atomic.Int64
	before func(n int64)
}

func (h *countingEcho) OnMessage(c *gws.Conn, m *gws.Message) {
	defer m.Close()
	h.before(h.n.Add(1))
	_ = c.WriteMessage(m.Opcode, m.Bytes())
}

// echoOptions are good ones for an echo.
func echoOptions(url string) Options {
	return Options{
		URLs: []string{url}, AppID: "x", UserPrefix: "ANZ", Connections: 1, Payload: 100, Feature: FeatureFast, Pattern: PatternSelf, Mode: ModeClosed,
		Outstanding: 1, Absent: 1, Messages: 1, Duration: 200 * time.Millisecond, Drain: 10 * time.Second, echo: true,
	}
}

// A server that stands still for a time makes all those messages late that were
// due meanwhile, not only the one that it was about to answer.
func TestAStallCountsForEachMessageThatWasDueMeanwhile(t *testing.T) {
	const stall = 400 * time.Millisecond
	o := echoOptions(echoServer(t, func(n int64) {
		if n == 100 {
			<-time.After(stall)
		}
	}))
	o.Mode, o.Rate, o.Duration = ModePaced, 1000, time.Second
	run, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	// Of 1000 messages some 400 were due in the stall, and the 300 first of
	// them waited for 100 ms and more.
	if run.Latency.Max < 350_000 || run.Latency.P90 < 250_000 {
		t.Errorf("latency %+v", *run.Latency)
	}
	if lost, duplicated, reordered := run.Verdict(); run.Sent < 950 || run.Sent > 1000 || lost+duplicated+reordered != 0 {
		t.Errorf("sent %d, lost %d, duplicated %d, reordered %d", run.Sent, lost, duplicated, reordered)
	}
}

// A connection that takes no more is given no more, and what it should have
// sent is not forgotten.
func TestWhatTheServerDoesNotReadIsCountedAsNotSent(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	o := echoOptions(echoServer(t, func(n int64) {
		if n == 10 {
			<-release
		}
	}))
	o.Mode, o.Rate, o.Payload, o.Duration, o.Drain = ModePaced, 10_000, 100_000, time.Second, 50*time.Millisecond
	run, err := Measure(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	if run.Arrived != 9 || run.Lost != run.Sent-9 || run.Unsent == 0 || run.Sent+run.Unsent < 9_000 {
		t.Errorf("sent %d, not sent %d, arrived %d, lost %d", run.Sent, run.Unsent, run.Arrived, run.Lost)
	}
}

// The network of goroutines, which other systems have, does what epoll does.
func TestBothNetworksCarryTheSame(t *testing.T) {
	for name, portable := range map[string]bool{"native": false, "portable": true} {
		o := echoOptions(echoServer(t, func(int64) {}))
		o.Connections, o.Payload, o.Outstanding, o.portable = 20, 50_000, 3, portable
		run, err := Measure(t.Context(), o)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if lost, duplicated, reordered := run.Verdict(); run.Arrived == 0 || run.Arrived != run.Sent || lost+duplicated+reordered != 0 {
			t.Errorf("%s: %+v", name, run)
		}
	}
}

func TestARunThatIsInterruptedReturnsWhatItMeasured(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := echoOptions(echoServer(t, func(n int64) {
		if n == 500 {
			cancel()
		}
	}))
	o.Duration = time.Hour
	run, err := Measure(ctx, o)
	if err != nil || !run.Interrupted || run.Arrived < 500 || run.Latency == nil {
		t.Errorf("%v: %+v", err, run)
	}
}

// A step that takes long when measuring begins does not make it shorter.
func TestAClosedRunIsMeasuredAsLongAsWasAskedFor(t *testing.T) {
	o := echoOptions(echoServer(t, func(int64) {}))
	o.Connections, o.Payload, o.Outstanding = 50, 20_000, 20
	run, err := Measure(t.Context(), o)
	if err != nil || run.Seconds < o.Duration.Seconds() {
		t.Errorf("%v: measured %.3f s", err, run.Seconds)
	}
}

// What a step had measured until then would stand in the table like the others.
func TestAProfileThatIsInterruptedLeavesOutTheStep(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	o := echoOptions(echoServer(t, func(n int64) {
		if n == 150 {
			cancel()
		}
	}))
	o.Duration = 500 * time.Millisecond
	steps := []Step{{Connections: 2, Feature: FeatureFast}, {Connections: 3, Feature: FeatureFast}, {Connections: 4, Feature: FeatureFast}}
	report, err := profile(ctx, o, steps)
	if err != nil || len(report.Profile) != 1 || report.Profile[0].Connections != 2 || len(report.Runs) != 2 || !report.Runs[1].Interrupted || len(report.Notes) != 1 {
		t.Errorf("%v: %+v", err, report)
	}
}

func TestAServerThatGoesAwayEndsTheRunWithAReason(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		conn, err := listener.Accept()
		if err != nil {
			return
		}
		_, _ = io.ReadAtLeast(conn, make([]byte, 4096), 50)
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		_, _ = io.ReadAtLeast(conn, make([]byte, 4096), 50)
		_ = conn.Close()
	}()
	_, err = Measure(t.Context(), echoOptions("ws://"+listener.Addr().String()+"/ws"))
	if err == nil || !strings.HasPrefix(err.Error(), "no connection is left: ") {
		t.Errorf("got %v", err)
	}
	_ = listener.Close()
	<-served
}

func TestTheMedianIsTheMiddleOne(t *testing.T) {
	for want, of := range map[float64][]float64{0: nil, 2: {3, 1, 2}, 2.5: {4, 1, 2, 3}, 7: {7}} {
		if got := median(of); got != want {
			t.Errorf("%v: got %v", of, got)
		}
	}
}

func TestAShortSuiteSaysHowLargeItIsAndJudgesNoSpeed(t *testing.T) {
	for i, row := range suiteRows(sizes{short: true}) {
		full := suiteRows(sizes{})[i]
		if row.name != full.name || strings.Contains(row.what, "000 connections") {
			t.Errorf("%s: %s", row.name, row.what)
		}
	}
	if got := suiteRows(sizes{short: true})[0].what; got != "FAST, 20 connections, each to itself, closed loop, 1 000 characters" {
		t.Error(got)
	}
	for f, want := range map[*Found]string{
		{Measured: 1, Reach: 2}:                           "not reached",
		{Measured: 3, Reach: 2}:                           "reached",
		{Measured: 1, Reach: 2, AtMost: true}:             "reached",
		{Measured: 9, Baseline: 10, Ratio: 0.9, Reach: 1}: "not reached",
	} {
		f.judge(true)
		if f.verdict() != want {
			t.Errorf("%+v is %s", f, f.verdict())
		}
		f.judge(false)
		if f.Reached || f.verdict() != "not judged" {
			t.Errorf("short: %+v is %s", f, f.verdict())
		}
	}
}

// The rows of the suite stand in the documentation, each with its command.
func TestTheDocumentationListsTheRows(t *testing.T) {
	page := readFile(t, "../../docs/benchmarks.md")
	for _, row := range suiteRows(sizes{}) {
		if !strings.Contains(page, "bench suite --only "+row.name+"`") {
			t.Errorf("docs/benchmarks.md does not say how to run %s", row.name)
		}
	}
	for _, choices := range [][]string{Patterns(), Modes(), Features(), Vias()} {
		for _, choice := range choices {
			if !strings.Contains(page, "| `"+choice+"` |") {
				t.Errorf("docs/benchmarks.md does not explain %s", choice)
			}
		}
	}
}
