package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"syscall"
	"testing"

	"github.com/seed-3d8c1042/switchboard/internal/load"
	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
)

// benchmark runs `switchboard bench` and returns what it printed and its exit code.
func benchmark(t *testing.T, args ...string) (stdout, stderr, code string) {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := exec.CommandContext(t.Context(), nodetest.Binary(t), append([]string{"bench"}, args...)...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	return out.String(), errs.String(), exitCode(err)
}

// endpoint returns the endpoint of a server under test.
func endpoint(s *nodetest.Server) string { return "ws://" + s.Addr + "/ws" }

// Each pattern and each mode, small, through the program: whatever is sent
// arrives once and in order.
func TestBenchLosesNothingInAnyPatternOrMode(t *testing.T) {
	t.Parallel()
	s := nodetest.Start(t)
	lost, duplicated, reordered := int64(0), int64(0), int64(0)
	for i, flags := range []string{
		"--feature FAST",
		"--outstanding 3",
		"--reference",
		"--reference --feature FAST",
		"--ack",
		"--ack --reference",
		"--pattern pairs",
		"--pattern fanin",
		"--pattern group",
		"--pattern group --group 5 --outstanding 2 --feature FAST",
		"--pattern absent --absent 17 --messages 200 --outstanding 4",
		"--mode paced --rate 500",
		"--mode paced --rate 500 --pattern group --group 5 --payload 3000 --ramp 100ms",
		"--via http --batch 7 --outstanding 3",
		"--via http --reference",
		"--via http --feature FAST --mode paced --rate 500 --payload 3000",
		"--via http --pattern group --group 5",
		"--via http --pattern fanin --ack --mode paced --rate 500",
		"--mode single --connections 1 --sync-folder " + t.TempDir(),
		fmt.Sprintf("--mode idle --messages 3 --pid %d", s.PID()),
	} {
		args := []string{"messaging", "--url", endpoint(s), "--connections", "10", "--payload", "100", "--warmup", "50ms", "--duration", "200ms",
			"--first-user", fmt.Sprint(1_000_000 * (i + 1)), "--json"}
		if strings.Contains(flags, "--via http") {
			args = append(args, "--key", s.Key)
		}
		out, errs, code := benchmark(t, append(args, strings.Fields(flags)...)...)
		var report load.Report
		if err := json.Unmarshal([]byte(out), &report); code != "0" || errs != "" || err != nil || len(report.Runs) != 1 {
			t.Errorf("%s: exit code %s, %v\n%s%s", flags, code, err, out, errs)
			continue
		}
		run := report.Runs[0]
		l, d, r := run.Verdict()
		lost, duplicated, reordered = lost+l, duplicated+d, reordered+r
		if run.Sent == 0 || run.Arrived < run.Sent || l+d+r != 0 {
			t.Errorf("%s: sent %d, arrived %d, lost %d, duplicated %d, reordered %d", flags, run.Sent, run.Arrived, l, d, r)
		}
		if strings.Contains(flags, "--reference") && run.Confirmed != run.Sent {
			t.Errorf("%s: sent %d, confirmed %d", flags, run.Sent, run.Confirmed)
		}
	}
	t.Logf("lost %d, duplicated %d, reordered %d", lost, duplicated, reordered)
}

// With several endpoints each pair is on two nodes, and all their processes are
// counted.
func TestBenchLoadsAllNodesOfACluster(t *testing.T) {
	t.Parallel()
	c := nodetest.StartCluster(t, 2, nil)
	urls := endpoint(c.Nodes[0]) + "," + endpoint(c.Nodes[1])
	for _, feature := range []string{"RELIABLE", "FAST"} {
		out, errs, code := benchmark(t, "messaging", "--url", urls, "--pid", fmt.Sprint(c.Nodes[0].PID()), "--pid", fmt.Sprint(c.Nodes[1].PID()),
			"--pattern", "pairs", "--feature", feature, "--connections", "10", "--warmup", "50ms", "--duration", "300ms", "--json")
		var report load.Report
		if err := json.Unmarshal([]byte(out), &report); code != "0" || errs != "" || err != nil || len(report.Runs) != 1 {
			t.Fatalf("%s: exit code %s, %v\n%s%s", feature, code, err, out, errs)
		}
		run := report.Runs[0]
		if l, d, r := run.Verdict(); run.Sent == 0 || run.Arrived != run.Sent || l+d+r != 0 || run.Server == nil || !strings.Contains(run.Name, "2 nodes") {
			t.Errorf("%s: %+v", feature, run)
		}
	}
	for i, n := range c.Nodes {
		if n.Metric("switchboard_socket_bytes_in_total") == 0 {
			t.Errorf("node %d was not met by any connection", i+1)
		}
	}
}

func TestBenchMeasuresSilentStreamsOfEvents(t *testing.T) {
	t.Parallel()
	s := nodetest.Start(t)
	url := "http://" + s.Addr + "/v1/events"
	out, errs, code := benchmark(t, "messaging", "--url", url, "--mode", "idle", "--connections", "20", "--duration", "300ms", "--pid", fmt.Sprint(s.PID()))
	if code != "0" || errs != "" || !strings.Contains(out, "streams of events, idle, 20 connections") || !strings.Contains(out, " a connection, ") || strings.Contains(out, "after traffic") {
		t.Errorf("exit code %s\n%s%s", code, out, errs)
	}
	if n := s.Metric("switchboard_events_opened_total"); n != 20 {
		t.Errorf("%v streams were opened", n)
	}
	for _, c := range []struct{ says, flags string }{
		{"gives ANZ-1000000 no events: it answers \"HTTP/1.1 401 Unauthorized\"", "--url " + url + " --mode idle --connections 1 --app-id wrong --pid " + fmt.Sprint(s.PID())},
		{"streams of events only listen", "--url " + url},
		{"write ws:// or wss:// instead of http://", "--url http://" + s.Addr + "/ws --mode idle --pid 1"},
	} {
		_, errs, code := benchmark(t, append([]string{"messaging"}, strings.Fields(c.flags)...)...)
		if code == "0" || !strings.Contains(errs, c.says) {
			t.Errorf("%s: exit code %s, it says %s", c.flags, code, errs)
		}
	}
}

func TestBenchCountsTheServersCPUAndMemory(t *testing.T) {
	t.Parallel()
	s := nodetest.Start(t)
	out, errs, code := benchmark(t, "messaging", "--url", endpoint(s), "--connections", "20", "--warmup", "0s", "--duration", "300ms", "--pid", fmt.Sprint(s.PID()))
	if code != "0" || errs != "" || !strings.Contains(out, "µs of CPU a message") || !strings.Contains(out, " a connection\n") {
		t.Errorf("exit code %s\n%s%s", code, out, errs)
	}
}

func TestBenchSaysInASentenceWhatItCannotDo(t *testing.T) {
	t.Parallel()
	s := nodetest.Start(t)
	for _, c := range []struct{ args, want string }{
		{"--url ws://" + s.Addr + "/elsewhere", "does not take WebSockets there: it answers "},
		{"--url " + endpoint(s) + " --app-id wrong", "is refused: WRONG_APP_ID "},
		{"--url " + endpoint(s) + " --pid 4194304", "no process has the ID 4194304"},
		{"--url " + endpoint(s) + " --via http --key sb_wrong", "/v1/messages/batch answers 401 KEY_INVALID: "},
	} {
		out, errs, code := benchmark(t, append([]string{"messaging", "--connections", "3"}, strings.Fields(c.args)...)...)
		if code != "1" || out != "" || !strings.HasPrefix(errs, "switchboard: bench: ") || !strings.Contains(errs, c.want) || strings.Count(errs, "\n") != 1 {
			t.Errorf("%s: exit code %s\n%s%s", c.args, code, out, errs)
		}
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", `ulimit -n 200; exec "$0" bench messaging --connections 1000 --url "$1"`, nodetest.Binary(t), endpoint(s))
	out, err := cmd.CombinedOutput()
	if exitCode(err) != "1" || !strings.Contains(string(out), "1000 connections need 1064 open files, and this process may have 200: raise it first (ulimit -n 1064)") {
		t.Errorf("exit code %s\n%s", exitCode(err), out)
	}
}

func TestBenchPrintsWhatItMeasuredWhenItIsInterrupted(t *testing.T) {
	t.Parallel()
	s := nodetest.Start(t)
	var out bytes.Buffer
	cmd := exec.CommandContext(t.Context(), nodetest.Binary(t), "bench", "messaging", "--url", endpoint(s), "--connections", "5", "--duration", "1h", "--warmup", "0s", "--feature", "FAST")
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	nodetest.Eventually(t, "messages flow", func() bool { return s.Metric("switchboard_fast_delivered_total") > 100 })
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "interrupted") || !strings.Contains(out.String(), "lost 0, duplicated 0, reordered 0") {
		t.Errorf("%v\n%s", err, out.String())
	}
}

// What was on its way when a connection ended is not called lost, nor "lost 0"
// alone; why it ended is said once.
func TestBenchCountsApartWhatConnectionsThatEndedHadSent(t *testing.T) {
	s := nodetest.Start(t)
	out, errs, code := benchmark(t, "messaging", "--url", endpoint(s), "--connections", "5", "--payload", "70000", "--warmup", "0s", "--duration", "300ms")
	if code != "1" || !strings.Contains(out, "sent 5, arrived 0, unknown 5 (connections ended), lost 0, duplicated 0, reordered 0") {
		t.Errorf("exit code %s\n%s%s", code, out, errs)
	}
	if strings.Count(out+errs, "code 1009") != 1 || !strings.Contains(errs, "limits.frame") {
		t.Errorf("the reason does not stand there once:\n%s%s", out, errs)
	}
}

// The suite starts whole clusters for its rows about them.
func TestTheSuiteMeasuresClustersThatItStarts(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	printed, errs, code := benchmark(t, "suite", "--short", "--only", "cluster-fast,cluster-reliable,cluster-crowd,links", "--folder", folder)
	for _, want := range []string{
		"cluster-fast      CPU a message, closed loop ", "cluster-fast      CPU a message, 500 a second ",
		"cluster-reliable  messages ", "cluster-reliable  messages for a second of CPU ",
		"cluster-crowd     all connected and reached from each node ", "links             RELIABLE over the link, with one domain's ",
		"links             FAST over the link, with one domain's ", "links             all of 100 waiting have crossed ", "In 12 runs: lost 0, duplicated 0, reordered 0.\n",
	} {
		if code != "0" || !strings.Contains(printed, want) {
			t.Errorf("exit code %s: %q does not stand in\n%s%s", code, want, printed, errs)
		}
	}
	if left, err := exec.CommandContext(t.Context(), "ls", "-A", folder).Output(); err != nil || len(left) != 0 {
		t.Errorf("%v: left behind: %s", err, left)
	}
}

// A row of the suite, small: it starts its servers and ends them, and leaves
// nothing in the folder for data.
func TestTheSuiteMeasuresWhatItStarts(t *testing.T) {
	t.Parallel()
	folder, out := t.TempDir(), t.TempDir()
	printed, errs, code := benchmark(t, "suite", "--short", "--only", "reliable", "--only", "start", "--folder", folder, "--out", out)
	if code != "0" || !strings.Contains(printed, "reliable  messages") || !strings.Contains(printed, "start     ready, after a kill, 10000 waiting") {
		t.Errorf("exit code %s\n%s%s", code, printed, errs)
	}
	for _, want := range []string{"not judged\n", "lost 0, duplicated 0, reordered 0.\n", "says nothing about speed.\n"} {
		if !strings.Contains(printed, want) {
			t.Errorf("%q does not stand in\n%s", want, printed)
		}
	}
	if strings.Contains(printed, "reached") || !strings.Contains(errs, "20 connections") {
		t.Errorf("a short run is judged, or said to be larger than it is:\n%s%s", printed, errs)
	}
	report, err := load.ReadReport(out + "/report.json")
	if err != nil || len(report.Rows) != 2 {
		t.Errorf("%v: %+v", err, report)
	}
	if left, err := exec.CommandContext(t.Context(), "ls", "-A", folder).Output(); err != nil || len(left) != 0 {
		t.Errorf("%v: left behind: %s", err, left)
	}
}

func TestBenchMatchesDevicesWhileOthersWait(t *testing.T) {
	t.Parallel()
	out, errs, code := benchmark(t, "matching", "--waiting", "300", "--pairs", "50", "--warmup", "20ms", "--duration", "200ms", "--folder", t.TempDir(), "--json")
	var found load.Matching
	if err := json.Unmarshal([]byte(out), &found); code != "0" || errs != "" || err != nil {
		t.Fatalf("exit code %s, %v\n%s%s", code, err, out, errs)
	}
	if found.Matches == 0 || found.Batches == 0 || found.Strangers != 0 || found.P99 <= 0 || found.Waiting != 300 {
		t.Errorf("it found %+v", found)
	}
}

func TestBenchLooksAroundBesideRedis(t *testing.T) {
	t.Parallel()
	out, errs, code := benchmark(t, "nearby", "--positions", "2000", "--movers", "1000", "--watchers", "10", "--duration", "300ms", "--folder", t.TempDir(), "--json")
	var found load.Nearby
	if err := json.Unmarshal([]byte(out), &found); code != "0" || errs != "" || err != nil {
		t.Fatalf("exit code %s, %v\n%s%s", code, err, out, errs)
	}
	if found.Positions != 2000 || found.Hits < 5 || found.Queries <= 0 || found.Updates <= 0 || found.RedisQueries <= 0 || found.RedisUpdates <= 0 || found.News == 0 || found.P99 <= 0 || found.Batches == 0 {
		t.Errorf("it found %+v", found)
	}
}

// Whoever measures few positions has not to say that fewer move.
func TestBenchLooksAroundAmongFewWithoutSayingHowManyMove(t *testing.T) {
	t.Parallel()
	out, errs, code := benchmark(t, "nearby", "--positions", "200", "--redis", "no", "--duration", "50ms", "--folder", t.TempDir(), "--json")
	var found load.Nearby
	if err := json.Unmarshal([]byte(out), &found); code != "0" || errs != "" || err != nil {
		t.Fatalf("exit code %s, %v\n%s%s", code, err, out, errs)
	}
	if found.Positions != 200 || found.Movers != 200 || found.Watchers != 200 {
		t.Errorf("it found %+v", found)
	}
}

func TestBenchMovesFilesBesideABareLoop(t *testing.T) {
	t.Parallel()
	out, errs, code := benchmark(t, "relay", "--small", "40", "--large", "3", "--rounds", "1", "--folder", t.TempDir(), "--json")
	var found load.Relay
	if err := json.Unmarshal([]byte(out), &found); code != "0" || errs != "" || err != nil {
		t.Fatalf("exit code %s, %v\n%s%s", code, err, out, errs)
	}
	if len(found.Sizes) != 2 || found.Sizes[0].Files != 40 || found.Sizes[1].Files != 3 || found.Sizes[0].Rate <= 0 || found.Sizes[0].Bare <= 0 || found.Sizes[1].Rate <= 0 {
		t.Errorf("it found %+v", found)
	}
}

func TestBenchHandsRequestsOnBesideABareProxy(t *testing.T) {
	t.Parallel()
	out, errs, code := benchmark(t, "gateway", "--rounds", "1", "--clients", "5", "--rate", "200", "--warmup", "10ms", "--duration", "200ms", "--json")
	var found load.Gateway
	if err := json.Unmarshal([]byte(out), &found); code != "0" || errs != "" || err != nil {
		t.Fatalf("exit code %s, %v\n%s%s", code, err, out, errs)
	}
	if found.Requests == 0 || found.Failed != 0 || found.Bare.P99 <= 0 || found.Gateway.P99 <= 0 {
		t.Errorf("it found %+v", found)
	}
}

func TestBenchFoldsEventsIntoWindows(t *testing.T) {
	t.Parallel()
	out, errs, code := benchmark(t, "traffic", "--devices", "50", "--warmup", "10ms", "--duration", "100ms", "--json")
	var found load.Traffic
	if err := json.Unmarshal([]byte(out), &found); code != "0" || errs != "" || err != nil {
		t.Fatalf("exit code %s, %v\n%s%s", code, err, out, errs)
	}
	if found.Events == 0 || found.Rate <= 0 || found.State == 0 || found.Query <= 0 || found.Devices != 50 {
		t.Errorf("it found %+v", found)
	}
}
