package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/spool"
)

// UploaderOptions are what RunUploader is given.
type UploaderOptions struct {
	// Load reads the settings: at the start, and for each value on Reload. What it
	// cannot read then is logged, and nothing changes.
	Load    func() (UploaderSettings, error)
	Reload  <-chan struct{}
	Version string
	Log     *slog.Logger     // nil: nothing is logged
	Out     io.Writer        // the lines of the start; nil for none
	Now     func() time.Time // nil for time.Now

	tuning  uploadTuning // for tests; zero values stand for the defaults
	process string       // of this run, in reports: also when it goes on with another folder
}

// uploadTuning are the times of an uploader that are no settings.
type uploadTuning struct {
	backoffLeast, backoffMost time.Duration // between two tries, after a failure
	idle                      time.Duration // that an upload may stand still
	answer                    time.Duration // for the answer to a file that was sent
	said                      time.Duration // for what an answer says after its header
	stop                      time.Duration // for what is on its way when the program stops
	saveEvery                 time.Duration // of the ledger
	passGap                   time.Duration // the least between two passes
	eager                     time.Duration // between two questions who is there, while that is about to change
	digests                   *digests
}

func (t *uploadTuning) fill() {
	for d, standard := range map[*time.Duration]time.Duration{
		&t.backoffLeast: time.Second, &t.backoffMost: time.Minute, &t.idle: DefaultIdle, &t.answer: 5 * time.Minute,
		&t.said: 5 * time.Second, &t.stop: 5 * time.Second, &t.saveEvery: time.Second, &t.passGap: 20 * time.Millisecond, &t.eager: time.Second,
	} {
		if *d <= 0 {
			*d = standard
		}
	}
	t.digests = &digests{all: map[fileID]*known{}}
}

func (o *UploaderOptions) fill() {
	o.Log, o.Out, o.Now = orNowhere(o.Log), orDiscard(o.Out), orClock(o.Now)
	o.tuning.fill()
	o.process = randomID()
}

// RunUploader sends the files of a folder to the collectors that they are owed to
// until ctx ends, and returns nil then. What is on its way may take five seconds
// more, and is cut off after that; the next start goes on with it.
func RunUploader(ctx context.Context, o UploaderOptions) error {
	o.fill()
	s, err := o.Load()
	if err != nil {
		return err
	}
	for last := (*UploaderSettings)(nil); ; {
		u, err := startUploader(&o, s)
		if err != nil && last != nil {
			o.Log.Error("settings stay as they are: the new ones are not good", "err", err)
			s, last = *last, nil
			continue
		}
		if err != nil {
			return err
		}
		next, err := u.run(ctx)
		if err != nil || next == nil {
			return err
		}
		running := s
		last, s = &running, *next
	}
}

// uploader sends from one folder. Its mu is never held while a file, a folder or a
// socket is waited for.
type uploader struct {
	o       *UploaderOptions
	folder  string
	box     *spool.Outbox
	ledger  *ledger
	members *members // of the goroutine in follow
	clock   clock
	tally   *tally
	talk    *talk
	errs    *prometheus.CounterVec // by class
	metrics *prometheus.Registry

	unusable prometheus.Gauge   // collectors that are listed so that they cannot be sent to
	warned   map[unusable]bool  // which of them were told; of the goroutine in follow
	missed   map[string]missing // clusters that have no collector; likewise

	room   chan struct{} // of one: a lane that was full has room, or all has changed for a pass
	again  chan struct{} // of one: another pass is wanted
	relist chan struct{} // of one: there is another plan to follow the collectors by

	flights sync.WaitGroup

	mu       sync.Mutex
	plan     *plan
	lanes    []*lane // in the order of their turns
	byName   map[string]map[string]*lane
	turn     int
	flying   int
	down     int // lanes that do not take files
	probing  int // of what flies, to lanes that did not take files
	stopping bool
	passes   int
	passing  context.CancelFunc  // ends the pass that runs; nil when none does
	hinted   bool                // since the pass began
	counts   counts              // of the last whole pass, carried on
	counting *counts             // of the pass that runs
	trouble  error               // why the last pass failed
	unlisted error               // why the network server did not answer
	listed   bool                // the collectors are known, by the server or from the last time
	saving   error               // why the ledger was not saved
	doubted  bool                // a file would have gone: it is asked once more for whom there is, and until then
	sure     bool                // it was; none goes
	quieted  map[*trouble]string // what was logged and is not well yet, with the reason that was
}

// startUploader opens the folder.
func startUploader(o *UploaderOptions, s UploaderSettings) (u *uploader, err error) {
	p, err := readPlan(s)
	if err != nil {
		return nil, err
	}
	box, err := spool.OpenOutbox(s.Spool, spool.OutboxOptions{Quiet: s.Quiet, Log: o.Log, Now: o.Now})
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, box.Close())
		}
	}()
	u = &uploader{
		o: o, folder: s.Spool, box: box, clock: newClock(o.Now), tally: newTally(o.Now),
		room: make(chan struct{}, 1), again: make(chan struct{}, 1), relist: make(chan struct{}, 1),
		byName: map[string]map[string]*lane{}, quieted: map[*trouble]string{},
	}
	u.plan = p
	p.equip(o.tuning, box.ID())
	u.talk = newTalk(o.Log, u.clock.since)
	var cut int64
	if u.ledger, cut, err = openLedger(filepath.Join(box.State(), "ledger")); err != nil {
		return nil, err
	}
	if cut > 0 {
		o.Log.Warn("the end of the ledger was not whole; files that it spoke of are sent again", "bytes", cut)
	}
	if u.members, err = openMembers(filepath.Join(box.State(), "members")); err != nil {
		return nil, errors.Join(err, u.ledger.file.close())
	}
	u.errs = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "switchboard_relay_upload_failures_total", Help: "Tries to send a file that failed, by class.",
	}, []string{"class"})
	u.unusable = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "switchboard_relay_unusable_collectors", Help: "Collectors that are listed without an ID, address or port that can be used.",
	})
	u.metrics, err = newRegistry(u.errs, u.unusable, newReported(u.tally, u.report), &leftMetrics{u})
	if err != nil {
		return nil, errors.Join(err, u.ledger.file.close())
	}
	return u, nil
}

// run sends until ctx ends. The settings that it returns, if any, are those to go
// on with in another folder.
func (u *uploader) run(ctx context.Context) (next *UploaderSettings, err error) {
	p := u.plan
	handler := newAdmin(u.metrics, u.ready, func() any { return u.report() })
	door, err := moveAdmin(nil, u.o.Log, p.settings.Admin, p.creds, handler)
	if err != nil {
		return nil, errors.Join(err, u.ledger.file.close(), u.box.Close())
	}
	u.say(door)
	u.warnOfPatterns(p.settings)
	working, stop := context.WithCancel(ctx)
	defer stop()
	hints, err := u.box.Watch(working)
	if err != nil {
		u.o.Log.Info("the folder cannot be watched; what is new is found on schedule", "spool", p.settings.Spool, "err", err)
	}
	var group sync.WaitGroup
	group.Go(func() { u.follow(working) })
	group.Go(func() { u.walk(working, hints) })
	saving, endSaving := context.WithCancel(context.WithoutCancel(ctx))
	defer endSaving()
	var saver sync.WaitGroup
	saver.Go(func() { u.keepSaving(saving) })
	reports := newReporting(working, u)
	reports.restart(p)

	next, door, err = u.steer(working, door, handler, reports)
	stop()
	u.land()
	group.Wait()
	u.talk.flush(true)
	reports.end()
	endSaving()
	saver.Wait()
	door.close()
	u.plan.close()
	if hints != nil {
		for range hints {
			// It ends with working; then the folder can be given back.
		}
	}
	return next, errors.Join(err, u.ledger.file.close(), u.box.Close())
}

// steer waits for the end and for other settings. Those that it returns are to be gone
// on with in another folder. The error is that the door failed.
func (u *uploader) steer(ctx context.Context, open *door, handler *admin, reports *reporting) (*UploaderSettings, *door, error) {
	here, leave := context.WithCancel(ctx)
	defer leave()
	var next *UploaderSettings
	take := func() error {
		s, err := u.o.Load()
		if err != nil {
			return err
		}
		p, err := newPlan(s, u.o.tuning, u.box.ID())
		if err != nil {
			return err
		}
		if old := u.plan.settings; next != nil || s.Spool != old.Spool || s.Quiet != old.Quiet {
			p.close()
			u.o.Log.Info("the settings name another folder or another quiet: beginning anew with them", "spool", s.Spool)
			next = &s
			leave()
			return nil
		}
		moved, err := moveAdmin(open, u.o.Log, s.Admin, p.creds, handler)
		if err != nil {
			p.close()
			return err
		}
		open = moved
		u.adopt(p)
		reports.restart(p)
		u.warnOfPatterns(s)
		u.o.Log.Info("settings were read again", servesAt(nil, open)...)
		return nil
	}
	err := serveUntil(here, nil, u.o.Reload, u.o.Log, func() (main, admin *door) { return nil, open }, take)
	return next, open, err
}

// adopt goes on by another plan. What is on its way stays on its way.
func (u *uploader) adopt(p *plan) {
	u.mu.Lock()
	old := u.plan
	u.plan = p
	for _, l := range u.lanes {
		l.empty() // the rules may send them elsewhere
	}
	if u.passing != nil {
		u.passing()
	}
	u.mu.Unlock()
	old.close()
	wake(u.relist)
	wake(u.again)
}

// wake leaves a word in a channel that has room for one.
func wake(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// say writes the lines of the start.
func (u *uploader) say(door *door) {
	network := u.plan.network
	if network == "" {
		network = "none: static clusters"
	}
	announce(u.o.Out, u.o.Version, "spool", u.plan.settings.Spool, "network", network, "admin", serves(door))
}

// warnOfPatterns logs which patterns are most likely a mistake.
func (u *uploader) warnOfPatterns(s UploaderSettings) {
	for _, why := range s.Doubts() {
		u.o.Log.Warn("the settings have a pattern that is most likely a mistake", "pattern", why)
	}
}

// keepSaving writes the ledger again and again, and at the end.
func (u *uploader) keepSaving(ctx context.Context) {
	defer u.save()
	ticker := time.NewTicker(u.o.tuning.saveEvery)
	defer ticker.Stop()
	for hold := 0; ; hold-- {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		if hold > 0 {
			continue // after an error all of it is written, which is much
		}
		if u.save() != nil {
			hold = 10
		}
	}
}

// save writes the ledger.
func (u *uploader) save() error {
	u.ledger.at(u.clock.since())
	err := u.ledger.save()
	u.once(troubleLedger, err)
	u.mu.Lock()
	defer u.mu.Unlock()
	u.saving = err
	return err
}

// trouble is something that may not work, and works again by itself.
type trouble struct {
	level     slog.Level
	bad, good string // what is logged
	where     string // see Failure
}

var (
	troubleNetwork = &trouble{slog.LevelWarn, "the network server does not say which collectors there are: those that are known are sent to, and it is asked again", "the network server says which collectors there are", whereNetwork}
	troubleMembers = &trouble{slog.LevelError, "which collectors there are cannot be written down: after a restart those that are lost are forgotten", "which collectors there are is written down again", ""}
	troubleLedger  = &trouble{slog.LevelError, "the ledger cannot be written: after a restart files that some collectors have are sent to them again", "the ledger is written again", ""}
	troubleScan    = &trouble{slog.LevelError, "the folder cannot be read; it is tried again", "the folder can be read again", ""}
	troubleRemove  = &trouble{slog.LevelError, "a file that all collectors have cannot be removed, and stays", "files that all collectors have can be removed again", ""}
	troubleFailed  = &trouble{slog.LevelError, "a file that could not be delivered for too long cannot be moved to failed, and stays", "files that cannot be delivered can be moved to failed again", ""}
)

// once logs that something does not work, and not again before it did work, which is
// logged, too, or the reason is another one; numbers in it do not make it another.
func (u *uploader) once(what *trouble, err error) {
	reason := ""
	if err != nil {
		reason = strings.Map(func(r rune) rune {
			if unicode.IsDigit(r) {
				return -1
			}
			return r
		}, err.Error())
	}
	u.mu.Lock()
	was := u.quieted[what]
	u.quieted[what] = reason
	u.mu.Unlock()
	switch {
	case err != nil && reason != was:
		u.o.Log.Log(context.Background(), what.level, what.bad, "spool", u.folder, "err", err)
		u.tally.fail(Failure{Where: what.where, Reason: what.bad + ": " + err.Error()})
	case err == nil && was != "":
		u.o.Log.Info(what.good, "spool", u.folder)
	}
}
