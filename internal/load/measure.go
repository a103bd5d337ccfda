package load

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Measure makes one measurement. When ctx ends, so does the measuring, and what
// was measured until then is returned. With an error the Run holds what was
// found before it, if anything was.
func Measure(ctx context.Context, o Options) (Run, error) {
	if err := o.Check(); err != nil {
		return Run{}, err
	}
	if o.Pattern == PatternAbsent {
		return measureAbsent(ctx, o)
	}
	m, err := newMeter(o.PIDs)
	if err != nil {
		return Run{}, err
	}
	d, err := newDriver(ctx, &o, o.Connections)
	if err != nil {
		return Run{}, err
	}
	defer d.close()
	t := newTalk(d)
	if o.via() == ViaHTTP {
		t.post = newPost(ctx, &o)
		defer t.post.close()
	}
	progress := newProgress(o.Progress)
	defer progress.end()
	progress.say("opening %s", plural(o.Connections, "connection"))
	if err := d.connect(ctx, 0, o.Connections, o.Ramp); err != nil {
		return Run{}, err
	}
	if t.post != nil {
		if err := t.post.check(ctx); err != nil {
			return Run{}, err
		}
	}
	if o.Mode == ModeIdle {
		return t.measureIdle(ctx, m, progress)
	}
	run := o.run()
	if o.Mode == ModeSingle && o.SyncFolder != "" {
		if run.DiskSync, err = syncTime(ctx, o.SyncFolder); err != nil {
			return Run{}, err
		}
	}
	err = t.measure(ctx, m, progress, &run)
	return run, err
}

// run begins a Run with what is known before.
func (o *Options) run() Run {
	r := Run{Name: o.name(), Feature: o.Feature, Pattern: o.Pattern, Mode: o.Mode, Connections: o.Connections, Payload: o.Payload, OfferedRate: o.Rate}
	if o.via() == ViaHTTP {
		r.Via, r.Batch = o.Via, o.Batch
	}
	if o.echo {
		r.Feature = "echo"
	}
	return r
}

// measure sends, drains, and fills the run.
func (t *talk) measure(ctx context.Context, m *meter, progress *progress, run *Run) error {
	var marks []moment
	err := t.talkUntil(ctx, t.o.Warmup, t.o.Duration, func() {
		marks = append(marks, m.moment(t.now(), t.count))
		if n := len(marks); n > 1 {
			a, b := marks[n-2], marks[n-1]
			progress.say("%d s: %.0f messages a second", n-1, rate(b.count.arrived-a.count.arrived, b.load.at-a.load.at))
		}
	})
	run.Interrupted = ctx.Err() != nil
	t.measured(m, marks, run)
	if err == nil {
		patience := t.o.Drain
		if run.Interrupted {
			patience = min(patience, time.Second)
		}
		progress.say("waiting for what is on its way")
		err = t.drain(patience)
	}
	t.missing()
	t.counted(run)
	return errors.Join(err, m.err)
}

// measured fills in rates and costs.
func (t *talk) measured(m *meter, marks []moment, run *Run) {
	if len(marks) < 2 {
		return
	}
	for i := range marks[1:] {
		a, b := marks[i].count, marks[i+1].count
		run.Each = append(run.Each, Second{b.sent - a.sent, b.arrived - a.arrived})
	}
	a, b := marks[0], marks[len(marks)-1]
	wall := b.load.at - a.load.at
	arrived := b.count.arrived - a.count.arrived
	run.Seconds = wall.Seconds()
	run.SentRate, run.ArrivedRate = rate(b.count.sent-a.count.sent, wall), rate(arrived, wall)
	run.ConfirmedRate = rate(b.count.confirmed-a.count.confirmed, wall)
	run.Load = costOf(m.before.load, a.load, b.load, arrived, 0)
	if len(m.pids) > 0 {
		run.Server = costOf(m.before.server, a.server, b.server, arrived, len(t.conns))
	}
}

// counted fills in what is known when all is over.
func (t *talk) counted(run *Run) {
	c := t.count
	run.Sent, run.Arrived, run.Confirmed, run.verdict = c.sent, c.arrived, c.confirmed, c.verdict
	run.Unknown, run.Refused, run.Refusal, run.whySaid = c.unknown, c.refused, c.refusal, t.said
	run.Latency, run.Confirmation = latencyOf(t.latency), latencyOf(t.confirmation)
	if run.Dropped = t.gone; t.failure != nil {
		run.DropWhy = t.failure.Error()
	}
	if t.o.Mode == ModePaced {
		offered := int64((t.end - t.start).Seconds() * t.o.Rate)
		run.Unsent = max(0, offered-c.sent)
	}
}

func rate(n int64, d time.Duration) float64 {
	if d <= 0 {
		return 0
	}
	return float64(n) / d.Seconds()
}

// meter looks at what the servers' processes and this one use.
type meter struct {
	pids   []int // none: unknown
	before moment
	err    error // the first
}

// moment is everything at one time.
type moment struct {
	count        counts
	server, load sample
}

func newMeter(pids []int) (*meter, error) {
	m := &meter{pids: pids}
	m.before = m.moment(0, counts{})
	return m, m.err
}

func (m *meter) moment(now time.Duration, c counts) moment {
	at := moment{count: c, load: sample{at: now, cpu: OwnCPU()}, server: sample{at: now}}
	for _, pid := range m.pids {
		cpu, rss, err := usage(pid)
		if err != nil && m.err == nil {
			m.err = err
		}
		at.server.cpu += cpu
		at.server.rss += rss
	}
	return at
}

// measureIdle measures silence, traffic, and silence.
func (t *talk) measureIdle(ctx context.Context, m *meter, progress *progress) (Run, error) {
	run := t.o.run()
	run.Idle = &Idle{RSSBefore: m.before.server.rss}
	err := t.silence(ctx, m, progress, &run.Idle.Idle)
	if err == nil && ctx.Err() == nil && !t.o.events() {
		t.limit = uint32(t.o.Messages)
		progress.say("%s on each connection", plural(t.o.Messages, "message"))
		err = t.talkUntil(ctx, 0, 5*time.Minute, func() {})
	}
	if err == nil {
		err = t.drain(t.o.Drain)
	}
	if err == nil && ctx.Err() == nil && !t.o.events() {
		err = t.silence(ctx, m, progress, &run.Idle.After)
	}
	if err == nil && t.gone > 0 {
		t.said = true
		err = fmt.Errorf("%d of %s ended while they were silent: %w", t.gone, plural(len(t.conns), "connection"), t.failure)
	}
	t.missing()
	t.counted(&run)
	run.Interrupted = ctx.Err() != nil
	run.Seconds = t.o.Duration.Seconds()
	return run, errors.Join(err, m.err)
}

// settling is how long before silence is measured: what was begun is finished, and
// the memory that it took is let go.
const settling = 8 * time.Second

func (t *talk) silence(ctx context.Context, m *meter, progress *progress, s *Silence) error {
	progress.say("%s of silence on %s", settling+t.o.Duration, plural(len(t.conns), "connection"))
	if err := t.listen(ctx, settling); err != nil {
		return err
	}
	a := m.moment(t.now(), t.count)
	if err := t.listen(ctx, t.o.Duration); err != nil {
		return err
	}
	b := m.moment(t.now(), t.count)
	cost := costOf(m.before.server, a.server, b.server, 0, len(t.conns))
	*s = Silence{RSSFirst: a.server.rss, RSSLast: b.server.rss, RSSPerConn: cost.RSSPerConn,
		CPUPerConn: cost.CPUPercent / 100 * 1e6 / float64(len(t.conns))}
	return nil
}

// listen only answers, for a time.
func (d *driver) listen(ctx context.Context, long time.Duration) error {
	for end := d.now() + long; d.now() < end && ctx.Err() == nil; {
		if err := d.step(end); err != nil {
			return err
		}
	}
	return nil
}
