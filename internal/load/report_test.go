package load

import (
	"bytes"
	"encoding/xml"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files anew")

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// sampleReport has some of everything.
func sampleReport() Report {
	latency := &Latency{P50: 812, P90: 1500, P99: 3200, P999: 41_000, Max: 1_200_000}
	return Report{
		Version: "v1", Made: time.Date(2026, 11, 25, 20, 0, 0, 0, time.UTC),
		Machine: Machine{OS: "linux", Arch: "amd64", Processors: 2, Model: "Abacus <9>", Go: "go1.26.8"},
		Notes:   []string{"Servers ran on processor 0."},
		Runs: []Run{
			{Name: "FAST self", Feature: FeatureFast, Pattern: PatternSelf, Mode: ModePaced, Connections: 10, Payload: 1000, Seconds: 5, Sent: 5000, Arrived: 4999,
				verdict: verdict{Lost: 1}, Unsent: 3, OfferedRate: 1000, SentRate: 999, ArrivedRate: 998, Latency: latency,
				Server: &Cost{CPUPercent: 50, CPUPerMessage: 5.25, RSS: 50 << 20, RSSPerConn: 9 << 10}, Load: &Cost{CPUPercent: 20, CPUPerMessage: 2}},
			{Name: "mail", Feature: FeatureReliable, Pattern: PatternAbsent, Mode: ModeClosed, Latency: latency,
				Mailbox: &Mailbox{Users: 10, Stored: 100, StoredRate: 1000, Fetched: 100, FetchedRate: 2000, RSSPerMessage: 77}},
			{Name: "silence", Feature: FeatureReliable, Pattern: PatternSelf, Mode: ModeIdle, Idle: &Idle{RSSBefore: 1 << 20,
				Idle: Silence{2 << 20, 2 << 20, 7000, 1.5}, After: Silence{3 << 20, 3 << 20, 9000, 1.75}}},
		},
	}
}

func sampleSuite() Report {
	r := sampleReport()
	r.Rows = []Row{{Name: "fast", What: "FAST", Command: "switchboard bench suite --only fast", Findings: []Found{
		{What: "messages", Unit: unitRate, Measured: 130_000, Rounds: []float64{130_000}, Baseline: 200_000, Ratio: 0.65, Reach: 0.65, Reached: true},
		{What: "p99 <all>", Unit: unitMicro, Measured: 9000, Rounds: []float64{9000}, Reach: 8000, AtMost: true},
	}}}
	return r
}

func TestReportsLookAsTheyDid(t *testing.T) {
	other := sampleReport()
	other.Version, other.Runs = "v2", append([]Run(nil), other.Runs...)
	other.Runs[0].ArrivedRate, other.Runs[0].Lost = 1996, 0
	suite := sampleSuite()
	suite.Rows[0].Findings = append([]Found(nil), suite.Rows[0].Findings...)
	suite.Rows[0].Findings[0].Measured, suite.Rows[0].Findings[0].Ratio = 160_000, 0.8
	seed := sampleReport()
	seed.Profile = seedSteps()[:1]
	seed.Profile[0].Offered, seed.Profile[0].Carried, seed.Profile[0].Closed, seed.Profile[0].At, seed.Profile[0].Latency = 100_000, 30_000, 30_000, 24_000, *seed.Runs[0].Latency
	for name, write := range map[string]func(io.Writer) error{
		"runs.txt":          sampleReport().Print,
		"profile.txt":       seed.Print,
		"runs.md":           sampleReport().WriteMarkdown,
		"suite.txt":         sampleSuite().Print,
		"suite.md":          sampleSuite().WriteMarkdown,
		"suite.svg":         sampleSuite().WriteSVG,
		"runs.svg":          sampleReport().WriteSVG,
		"compare.txt":       func(w io.Writer) error { return Compare(w, "old.json", "new/report.json", sampleReport(), other) },
		"compare_suite.txt": func(w io.Writer) error { return Compare(w, "A.json", "B.json", sampleSuite(), suite) },
	} {
		var b bytes.Buffer
		if err := write(&b); err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		path := filepath.Join("testdata", name)
		if *update {
			if err := errors.Join(os.MkdirAll("testdata", 0o755), os.WriteFile(path, b.Bytes(), 0o644)); err != nil {
				t.Fatal(err)
			}
		}
		if want := readFile(t, path); b.String() != want {
			t.Errorf("%s: got\n%s\nwant\n%s", name, b.String(), want)
		}
		if filepath.Ext(name) == ".svg" {
			if err := xml.Unmarshal(b.Bytes(), &struct{}{}); err != nil {
				t.Errorf("%s is no XML: %v", name, err)
			}
		}
	}
}

func TestThePictureOfTheSuiteShowsWhatIsJudged(t *testing.T) {
	r := sampleSuite()
	r.Rows[0].Findings = append(r.Rows[0].Findings, Found{What: "p99, long", Unit: unitMicro, Measured: 90_000, Reach: 8000, AtMost: true, NotJudged: true})
	r.Notes = append(r.Notes, shortNote)
	var b bytes.Buffer
	if err := r.WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"0.65 (130000 a second to 200000 a second), at least 0.65: reached<", "9.00 ms, at most 8.00 ms: not reached<", "90 ms, at most 8.00 ms: not judged<",
		"less is better", "switchboard v1 on linux/amd64", ">" + shortNote + "<",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in the picture", want)
		}
	}
	if marks := strings.Count(b.String(), "<polygon"); marks != 2 { // one is the legend's
		t.Errorf("%d bars are marked as longer than drawn", marks)
	}
}

func TestThePictureOfRunsShowsLatenciesAndNoReach(t *testing.T) {
	var b bytes.Buffer
	if err := sampleReport().WriteSVG(&b); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{">p50<", ">p99.9<", ">max<", ">1.2 s<", ">998 arrived a second; lost 1, ", "100 stored, 1000 a second", "no latency was measured"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%q is not in the picture", want)
		}
	}
	if strings.Contains(b.String(), "reach") || strings.Contains(b.String(), `text-anchor="end"`) {
		t.Error("the picture has a reach, or text that may be cut off on the left")
	}
}

func TestAReportIsReadAsItWasWritten(t *testing.T) {
	folder, want := filepath.Join(t.TempDir(), "new"), sampleSuite()
	if err := want.WriteTo(folder); err != nil {
		t.Fatal(err)
	}
	got, err := ReadReport(filepath.Join(folder, "report.json"))
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("%v: got %+v, want %+v", err, got, want)
	}
	for _, name := range []string{"report.md", "report.svg"} {
		if readFile(t, filepath.Join(folder, name)) == "" {
			t.Errorf("%s is empty", name)
		}
	}
}

func TestReportsWithNothingInCommonAreNotCompared(t *testing.T) {
	a, b := sampleReport(), sampleReport()
	b.Runs = []Run{{Name: "other", ArrivedRate: 1}}
	if err := Compare(io.Discard, "a", "b", a, b); err == nil || !strings.Contains(err.Error(), "in common") {
		t.Errorf("got %v", err)
	}
}

func TestMemoryThatAServerGaveBackIsNoNegativeNumber(t *testing.T) {
	r := sampleReport()
	r.Runs[0].Server.RSSPerConn, r.Runs[1].Mailbox.RSSPerMessage, r.Runs[2].Idle.Idle.RSSPerConn = -1<<20, -5, -3<<20
	var b bytes.Buffer
	if err := r.Print(&b); err != nil || strings.Count(b.String(), gaveBack) != 3 || strings.Contains(b.String(), " -") {
		t.Errorf("%v\n%s", err, b.String())
	}
}

func TestOnlyAReliableRunIsInTroubleWhenMessagesAreMissing(t *testing.T) {
	for _, c := range []struct {
		run  Run
		want string
	}{
		{Run{Feature: FeatureReliable}, ""},
		{Run{Feature: FeatureFast, verdict: verdict{Lost: 1}}, ""},
		{Run{Feature: FeatureReliable, Interrupted: true, verdict: verdict{Lost: 1}}, ""},
		{Run{Name: "x", Feature: FeatureReliable, verdict: verdict{Lost: 1, Reordered: 2}}, "x: not every message arrived once and in order: 1 lost, 2 reordered"},
	} {
		got := ""
		if err := c.run.Trouble(); err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%+v: got %q", c.run, got)
		}
	}
}
