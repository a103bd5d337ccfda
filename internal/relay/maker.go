package relay

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// MakerOptions say how a maker runs.
type MakerOptions struct {
	// Load returns the settings: at the start, and again for each value on Reload.
	// An error at the start ends RunMaker; later everything stays as it is.
	Load    func() (MakerSettings, error)
	Reload  <-chan struct{} // nil for never
	Version string          // of the program
	Log     *slog.Logger    // nowhere
	Out     io.Writer       // where the lines of the start go (nowhere)
	Now     func() time.Time
	In      io.Reader // records, where no door is set; it must not be read by others

	after func(time.Duration) <-chan time.Time // nil for time.After
	open  func(dir string) (bench, error)
}

// bench is where a maker makes its files: spool.Drafts.
type bench interface {
	ID() string
	Names() ([]string, error)
	Open(name string) (draft, error)
	Close() error
}

// draft is a file that is being made: spool.Draft.
type draft interface {
	Size() int64
	Append(records []byte) error
	Publish() (name string, err error)
	Close() error
}

// drafts gives spool.Drafts the shape of a bench.
type drafts struct{ *spool.Drafts }

// Open implements bench.
func (d drafts) Open(name string) (draft, error) { return d.Drafts.Open(name) }

func (o *MakerOptions) fill() {
	o.Log, o.Out, o.Now, o.after = orNowhere(o.Log), orDiscard(o.Out), orClock(o.Now), orAfter(o.after)
	if o.In == nil {
		o.In = http.NoBody
	}
	if o.open == nil {
		o.open = func(dir string) (bench, error) {
			d, err := spool.OpenDrafts(dir)
			return drafts{d}, err
		}
	}
}

// RunMaker makes files of records until ctx ends, or its input does, and returns nil
// then, with all files published. Records that its door answered with success are
// synced. After a kill the next call publishes what was left, and goes on with the
// slice of now. What it read of its input and could not write, because it was told to
// stop while the disk was full, is lost, and the error says so. A read of In that is
// on its way when ctx ends is left to itself.
func RunMaker(ctx context.Context, o MakerOptions) error {
	o.fill()
	s, err := o.Load()
	if err != nil {
		return err
	}
	creds, err := s.read()
	if err != nil {
		return err
	}
	b, err := o.open(s.Spool)
	if err != nil {
		return err
	}
	return errors.Join(runMaker(ctx, &o, s, creds, b), b.Close())
}

func runMaker(ctx context.Context, o *MakerOptions, s MakerSettings, creds *credentials, b bench) error {
	m := newMaker(o, s, b)
	var err error
	if m.registry, err = m.newMetrics(); err != nil {
		return err
	}
	if err := m.slices.adopt(); err != nil {
		return fmt.Errorf("publish what was left in %s: %w", s.Spool, err)
	}
	if err := m.openDoors(s, creds); err != nil {
		return errors.Join(err, m.slices.publishAll())
	}
	m.say(o)
	working, stopWorking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopWorking()
	worked := make(chan error, 1)
	go func() { worked <- m.work(working) }()
	input := make(chan struct{}) // closed when it has ended
	if s.Listen == "" {
		go func() { // it ends with the process, if a read does not
			defer close(input)
			m.read(ctx, o.In)
		}()
	}
	err = serveUntil(ctx, input, o.Reload, m.log, func() (*door, *door) { return m.door, m.admin }, func() error { return m.reload(o) })
	m.stopReading()
	m.stopReporting()
	m.door.close()
	stopWorking()
	err = errors.Join(err, <-worked)
	m.admin.close()
	return err
}

// maker is a maker that runs.
type maker struct {
	log     *slog.Logger
	now     func() time.Time
	after   func(time.Duration) <-chan time.Time
	version string
	process string // of this run, in reports
	started time.Time
	bench   bench
	slices  *slicer
	tally   *tally
	numbers makerNumbers

	registry *prometheus.Registry
	door     *door
	admin    *door
	in       chan batch

	stopReport context.CancelFunc // nil while nothing is reported
	reporting  sync.WaitGroup

	gate    sync.Mutex // held while what was read is handed on
	stopped bool       // nothing is read any more
	unsent  []batch    // read, and not handed on before the stop

	mu       sync.Mutex
	settings MakerSettings
	trouble  error // why records cannot be written now
}

// makerQueue is how many batches wait to be written. Who brings one more waits.
const makerQueue = 64

func newMaker(o *MakerOptions, s MakerSettings, b bench) *maker {
	t := newTally(o.Now)
	m := &maker{
		log: o.Log, now: o.Now, after: o.after, version: o.Version, process: randomID(), started: o.Now(), bench: b, tally: t,
		numbers: newMakerNumbers(), in: make(chan batch, makerQueue), settings: s,
	}
	m.slices = &slicer{bench: b, now: o.Now, settings: m.current, published: func(name string, size int64) {
		t.done(size)
		o.Log.Debug("published", "file", name, "bytes", size)
	}}
	return m
}

// current returns the settings of now.
func (m *maker) current() MakerSettings {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.settings
}

// openDoors opens the doors, or moves them, and reports to the network server: all of
// it or nothing.
func (m *maker) openDoors(s MakerSettings, creds *credentials) error {
	base := ""
	if s.Network.Server != "" {
		var err error
		if base, err = creds.base(s.Network.Server); err != nil {
			return fmt.Errorf("network.server: %w", err)
		}
	}
	d, err := planMove(m.door, m.log, s.Listen, makerConnections, behind{handler: http.HandlerFunc(m.take), creds: creds, names: []string{}})
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	a, err := planAdmin(m.admin, m.log, s.Admin, creds, newAdmin(m.registry, m.notReady, func() any { return m.report() }))
	if err != nil {
		d.callOff()
		return err
	}
	moveDoors(d, a)
	m.door, m.admin = d.door, a.door
	if m.door != nil && creds.secret == "" && !m.door.address().IP.IsLoopback() {
		m.log.Warn("whoever reaches this address can bring records: give a secretFile", "listen", m.door.address().String())
	}
	m.startReporting(s, creds, base)
	return nil
}

// startReporting tells a network server, at base unless that is empty, how the maker
// is doing, until it is asked to stop, or for another one.
func (m *maker) startReporting(s MakerSettings, creds *credentials, base string) {
	m.stopReporting()
	if base == "" {
		return
	}
	ctx, cancel := context.WithCancel(context.Background())
	m.stopReport = cancel
	r := &reporter{log: m.log, creds: creds, client: creds.caller(1), base: base, every: s.Network.Heartbeat, report: m.report, process: m.process, alone: true, after: m.after}
	m.reporting.Go(func() {
		defer r.client.CloseIdleConnections()
		r.run(ctx)
	})
}

func (m *maker) stopReporting() {
	if m.stopReport != nil {
		m.stopReport()
		m.reporting.Wait()
		m.stopReport = nil
	}
}

// say writes the lines of the start.
func (m *maker) say(o *MakerOptions) {
	from := ""
	if m.door == nil {
		from = "standard input"
	}
	announce(o.Out, o.Version, "listen", serves(m.door), "from", from, "admin", serves(m.admin), "spool", m.settings.Spool)
}

func (m *maker) reload(o *MakerOptions) error {
	s, err := o.Load()
	if err != nil {
		return err
	}
	creds, err := s.read()
	if err != nil {
		return err
	}
	before := m.current()
	if (s.Listen == "") != (before.Listen == "") {
		return errors.New("listen: whether records come over HTTP or from standard input takes a restart")
	}
	if err := m.openDoors(s, creds); err != nil {
		return err
	}
	if s.Spool != before.Spool {
		m.log.Warn("these settings take effect at the next start", "keys", "spool")
		s.Spool = before.Spool
	}
	m.mu.Lock()
	m.settings = s
	m.mu.Unlock()
	m.log.Info("settings were read again", servesAt(m.door, m.admin)...)
	return nil
}

// report says how the maker is doing.
func (m *maker) report() Report {
	s := m.current()
	r := Report{
		Program: programMaker, ID: m.bench.ID(), Host: hostName(), Spool: s.Spool, Version: m.version,
		Targets: []Target{},
	}
	m.tally.fill(&r)
	files, bytes := m.slices.waiting()
	r.Waiting = Waiting{Files: files, Bytes: bytes}
	if err := m.notReady(); err != nil {
		r.Full = cutText(err.Error())
	}
	return r
}

func (m *maker) notReady() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.trouble
}

// mostBatch is how many bytes are gathered for one sync.
const mostBatch = 8 * config.MiB
