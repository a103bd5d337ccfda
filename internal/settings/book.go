package settings

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// copyName is the file of the last good copy, in the data folder.
const copyName = "settings.json"

// Options say where settings come from.
type Options struct {
	From config.Sources // without a repository
	// Applied is told of settings that differ from those of before in what can change at
	// run time. It is called by one goroutine at a time, and must not call the book.
	Applied func(config.Settings)
	Log     *slog.Logger
	Now     func() time.Time

	FirstWait time.Duration // how long a first start tries to get settings: 30 s
	Retry     time.Duration // the pause after a first failure, 1 s; it doubles, less up to a quarter by chance, up to
	RetryMax  time.Duration // 30 s
	Timeout   time.Duration // of a request, and for the first event of a stream: 10 s
	Silence   time.Duration // how long a stream may say nothing, three times what a meta server waits: 45 s
	Chance    func() float64
}

// Book keeps settings in force.
type Book struct {
	o       Options
	source  config.Source // which does not change at run time
	data    string        // the data folder, likewise
	client  *http.Client
	metrics *metrics
	out     chan config.Settings // of one: the newest that the node has not taken

	taking  sync.Mutex // held while settings are read, fetched and taken
	offered *offer     // the newest that the meta server served; nil: none
	good    *offer     // the newest that was taken; nil: none
	unsaved bool       // good is not on disk
	warned  string     // which keys of which commit were said to take a restart

	mu        sync.Mutex
	running   config.Placed
	wanted    config.Placed // as running, but for what takes a restart
	pending   []string      // the keys in which they differ
	held      held
	following bool
	bare      bool               // at a first start, nothing of the repository was to be had yet
	troubles  map[string]Trouble // by part
}

// held says what is in force of the repository.
type held struct {
	commit    string
	files     []string
	since     time.Time // when it was taken
	confirmed time.Time // when the meta server last said that it is current; zero: not since the start
}

// New reads settings for a start. Where a meta server has some it is asked, and when it
// cannot be the last good copy is taken; without one it is asked again for a while. What
// is wrong with the settings comes back as config.Problems.
func New(ctx context.Context, o Options) (*Book, error) {
	local, err := config.LoadPlaced(o.From)
	if err != nil {
		return nil, err
	}
	b := newBook(o, local)
	trust, err := b.source.TLS()
	if err != nil {
		return nil, err
	}
	b.client = newClient(b.o.Timeout, trust)
	if b.source.URL == "" {
		return b, nil
	}
	return b, b.begin(ctx)
}

// LogTo has the book log elsewhere, as its settings say how. It is for before Run.
func (b *Book) LogTo(log *slog.Logger) { b.o.Log = log }

// Fixed is a book of settings that do not change.
func Fixed(s config.Settings) *Book {
	b := newBook(Options{}, config.Placed{Settings: s})
	b.source = config.Source{} // whoever made them has asked already, or does not want to
	return b
}

func newBook(o Options, local config.Placed) *Book {
	for field, value := range map[*time.Duration]time.Duration{
		&o.FirstWait: 30 * time.Second, &o.Retry: time.Second, &o.RetryMax: 30 * time.Second, &o.Timeout: 10 * time.Second, &o.Silence: 45 * time.Second,
	} {
		if *field == 0 {
			*field = value
		}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Chance == nil {
		o.Chance = rand.Float64
	}
	if o.Applied == nil {
		o.Applied = func(config.Settings) {}
	}
	return &Book{
		o: o, source: local.Settings.Source, data: local.Settings.Data, metrics: newMetrics(),
		out: make(chan config.Settings, 1), running: local, wanted: local, troubles: map[string]Trouble{},
	}
}

// begin gets settings for a start.
func (b *Book) begin(ctx context.Context) error {
	b.taking.Lock()
	defer b.taking.Unlock()
	kept, err := b.recall()
	if err != nil {
		b.raise(partCopy, Trouble{Kind: kindCopy, Text: []string{err.Error()}})
	}
	b.mu.Lock()
	b.bare = kept == nil
	b.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, b.o.FirstWait)
	defer cancel()
	failed := b.fetchFirst(ctx, kept == nil)
	for _, of := range []*offer{b.offered, kept} {
		if of == nil {
			continue
		}
		placed, err := config.LoadPlaced(b.from(of))
		if err == nil {
			b.start(of, placed, of == kept)
			return nil
		}
		if of == kept || kept == nil {
			return err
		}
		b.refuse(of, err)
	}
	return fmt.Errorf("there are no settings to be had from settings.url, and no last good copy in %s: %w", b.data, failed)
}

// fetchFirst asks the meta server, and again while that fails where there is nothing else.
func (b *Book) fetchFirst(ctx context.Context, again bool) error {
	for failures := 1; ; failures++ {
		t := b.fetch(ctx)
		if t == nil {
			return nil
		}
		b.raise(partFetch, *t)
		err := fmt.Errorf("%s", strings.Join(t.Text, "; "))
		if !again {
			return err
		}
		b.wait(ctx, min(b.delay(failures), 2*b.o.Retry))
		if ctx.Err() != nil {
			return err
		}
	}
}

// start puts settings into force before there is a node.
func (b *Book) start(of *offer, placed config.Placed, stored bool) {
	b.good, b.unsaved = of, !stored
	b.mu.Lock()
	defer b.mu.Unlock()
	b.running, b.wanted, b.bare = placed, placed, false
	b.hold(of, !stored)
}

// hold notes what is in force of the repository. The caller has the lock mu.
func (b *Book) hold(of *offer, confirmed bool) {
	b.held.commit, b.held.files, b.held.since = of.Commit, of.Files, b.o.Now()
	if confirmed {
		b.held.confirmed = b.held.since
	}
	b.metrics.since.Set(float64(b.held.since.UnixMilli()) / 1000)
}

// Settings returns what is in force.
func (b *Book) Settings() config.Settings {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.running.Settings
}

// Changes brings settings that a running node is to take. Those that it was slow to take
// are left out: only the newest matter.
func (b *Book) Changes() <-chan config.Settings { return b.out }

// hand has the node take settings. The caller has the lock taking.
func (b *Book) hand(s config.Settings) {
	select {
	case <-b.out:
	default:
	}
	b.out <- s // there is room: nobody else sends
}

// Refused notes that the node could not put settings into effect, or, with nil, that it
// did.
func (b *Book) Refused(err error) {
	if err == nil {
		b.clear(partEffect)
		return
	}
	b.raise(partEffect, Trouble{Kind: kindEffect, Text: []string{err.Error()}})
}

// Register has the metrics gathered.
func (b *Book) Register(to prometheus.Registerer) error { return b.metrics.register(to) }

// State says what is in force, and why.
type State struct {
	URL, Profile string // of the meta server; empty: there is none
	Commit       string // empty: nothing of a repository is in force
	Files        []string
	Since        time.Time // when that was taken; zero: never
	Confirmed    time.Time // when the meta server last said that it is current; zero: not since the start
	Following    bool      // changes are told at once
	Settings     []config.Setting
	Pending      []Pending
	Troubles     []Trouble
}

// Pending is a setting that takes effect at the next start.
type Pending struct {
	Key   string
	Value string // what it will be; empty for a list of things
}

// State says how things are.
func (b *Book) State() State {
	b.mu.Lock()
	running, wanted, pending := b.running, b.wanted, b.pending
	st := State{
		URL: b.source.URL, Commit: b.held.commit, Files: b.held.files, Since: b.held.since, Confirmed: b.held.confirmed, Following: b.following,
	}
	for _, t := range b.troubles {
		st.Troubles = append(st.Troubles, t)
	}
	b.mu.Unlock()
	if st.URL != "" {
		st.Profile = b.source.Profile
	}
	slices.SortFunc(st.Troubles, func(x, y Trouble) int { return x.Since.Compare(y.Since) })
	st.Settings = running.List()
	for _, key := range pending {
		p := Pending{Key: key}
		for _, s := range wanted.List() {
			if s.Key == key {
				p.Value = s.Value
			}
		}
		st.Pending = append(st.Pending, p)
	}
	return st
}

func (b *Book) path() string { return filepath.Join(b.data, copyName) }
