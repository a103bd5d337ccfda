package load

import (
	"context"
	"fmt"
	"io"
	"text/tabwriter"
)

// ProfileSeed is the load by which Switchboard's predecessor was judged: each
// connection sends itself 1 000 characters every 10 ms.
const ProfileSeed = "seed"

// Step is one line of a profile.
type Step struct {
	Connections int     `json:"connections"`
	Feature     string  `json:"feature"`
	Offered     float64 `json:"offeredPerSecond"`
	Carried     float64 `json:"carriedPerSecond"` // of it
	Closed      float64 `json:"closedPerSecond"`  // in closed mode, if not all was carried
	At          float64 `json:"latencyAtPerSecond"`
	Latency     Latency `json:"latency"` // when At a second are offered
	Beat        Range   `json:"toBeat"`  // the predecessor's latency
}

// Range is from low to high, in milliseconds.
type Range struct {
	Low  float64 `json:"low"`
	High float64 `json:"high"`
}

const (
	// seedRate is how many messages a second each connection sends.
	seedRate = 100
	// carriedShare is how much of what is offered must arrive to count as
	// carried.
	carriedShare = 0.95
	// calmShare is how much of what a machine carries in closed mode it is
	// offered to measure latency, when it does not carry everything: at its
	// limit latency would only tell how long the queue has grown.
	calmShare = 0.8
)

// seedSteps returns the table to beat.
func seedSteps() []Step {
	return []Step{
		{Connections: 1000, Feature: FeatureReliable, Beat: Range{45, 70}},
		{Connections: 2000, Feature: FeatureReliable, Beat: Range{70, 100}},
		{Connections: 3000, Feature: FeatureReliable, Beat: Range{100, 170}},
		{Connections: 4000, Feature: FeatureReliable, Beat: Range{170, 220}},
		{Connections: 1000, Feature: FeatureFast, Beat: Range{35, 50}},
		{Connections: 2000, Feature: FeatureFast, Beat: Range{35, 50}},
		{Connections: 3000, Feature: FeatureFast, Beat: Range{35, 50}},
		{Connections: 4000, Feature: FeatureFast, Beat: Range{35, 50}},
	}
}

// CheckProfile says what is wrong with a profile's options.
func CheckProfile(name string, o Options) error {
	if name != ProfileSeed {
		return fmt.Errorf("--profile %s: there is only %s", name, ProfileSeed)
	}
	if o.Mode != ModeClosed || o.Pattern != PatternSelf || o.Rate != 0 || o.Reference {
		return fmt.Errorf("--profile %s fixes --mode, --rate, --pattern and --reference: leave them out", name)
	}
	return o.Check()
}

// Profile measures the steps of ProfileSeed with the connections of each step;
// the rest is as o says.
func Profile(ctx context.Context, o Options) (Report, error) { return profile(ctx, o, seedSteps()) }

func profile(ctx context.Context, o Options, steps []Step) (Report, error) {
	report := NewReport("")
	for _, step := range steps {
		step, runs, err := measureStep(ctx, o, step)
		report.Runs = append(report.Runs, runs...)
		if ctx.Err() != nil {
			report.Notes = append(report.Notes, "Interrupted: lines are missing.") // as is the one that was being measured
			return report, err
		}
		if err != nil {
			return report, err
		}
		report.Profile = append(report.Profile, step)
	}
	return report, nil
}

// measureStep measures one step. When ctx ends meanwhile, the step is not
// complete.
func measureStep(ctx context.Context, o Options, step Step) (Step, []Run, error) {
	var runs []Run
	measure := func(mode string, rate float64) (Run, error) {
		o.Mode, o.Rate = mode, rate
		run, err := Measure(ctx, o)
		if run.Name != "" {
			runs = append(runs, run)
		}
		return run, err
	}
	o.Connections, o.Feature = step.Connections, step.Feature
	step.Offered = float64(step.Connections * seedRate)
	run, err := measure(ModePaced, step.Offered)
	step.Carried, step.At = run.ArrivedRate, step.Offered
	if err == nil && ctx.Err() == nil && run.ArrivedRate > 0 && run.ArrivedRate < carriedShare*step.Offered {
		if run, err = measure(ModeClosed, 0); err != nil || ctx.Err() != nil {
			return step, runs, err
		}
		step.Closed = run.ArrivedRate
		step.At = max(1, min(step.Offered, calmShare*step.Closed))
		run, err = measure(ModePaced, step.At)
	}
	if run.Latency != nil {
		step.Latency = *run.Latency
	}
	return step, runs, err
}

// printProfile writes the table.
func printProfile(w io.Writer, steps []Step) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "connections\tfeature\toffered/s\tcarried/s\tclosed loop/s\tlatency at/s\tp50\tp99\tto beat")
	part := false
	for _, s := range steps {
		fmt.Fprintf(t, "%d\t%s\t%.0f\t%.0f\t%s\t%s\t%s\t%s\t%.0f–%.0f ms\n", s.Connections, s.Feature, s.Offered, s.Carried, s.closed(), s.at(),
			micros(s.Latency.P50), micros(s.Latency.P99), s.Beat.Low, s.Beat.High)
		part = part || s.At < s.Offered
	}
	if err := t.Flush(); err != nil {
		return err
	}
	if part {
		_, err := fmt.Fprintf(w, "This machine does not carry all of it. Where it does not, the line says at which share of the closed loop latency was measured.\n")
		return err
	}
	return nil
}

// at writes at which rate latency was measured, marked where that is not what
// was offered.
func (s Step) at() string {
	if s.At < s.Offered {
		return fmt.Sprintf("%.0f (%.0f %% of closed loop)", s.At, 100*calmShare)
	}
	return fmt.Sprintf("%.0f", s.At)
}

// closed writes what was carried in closed mode.
func (s Step) closed() string {
	if s.Closed == 0 {
		return "—"
	}
	return fmt.Sprintf("%.0f", s.Closed)
}
