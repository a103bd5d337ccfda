package meta

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/domains"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// mostSaid is how many problems of one description the log says.
const mostSaid = 20

// keeper keeps what is served: it looks at the source, takes what is good there,
// and knows the trouble that there is.
type keeper struct {
	source   source
	lastGood *lastGood
	log      *slog.Logger
	now      func() time.Time
	metrics  *metrics

	// Of the goroutine that looks.
	trouble string            // the kind of trouble of the last look; empty when all was well
	looked  bool              // seen is of a look
	seen    [sha256.Size]byte // the content that was taken last
	refused [sha256.Size]byte // the bad content that was refused since; zero for none

	mu      sync.Mutex
	view    *view         // nil before there was a good description
	changed chan struct{} // closed with the next view
}

func newKeeper(source source, last *lastGood, log *slog.Logger, now func() time.Time, m *metrics) *keeper {
	return &keeper{source: source, lastGood: last, log: log, now: now, metrics: m, changed: make(chan struct{})}
}

// current returns what is served, and what will be closed when that changes.
func (k *keeper) current() (*view, <-chan struct{}) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.view, k.changed
}

func (k *keeper) put(v *view) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.view = v
	close(k.changed)
	k.changed = make(chan struct{})
	k.metrics.serving(v.network)
}

// start takes the last good copy, then looks at the source for the first time. It
// fails when neither gives anything to serve.
func (k *keeper) start(ctx context.Context) error {
	network, graph, err := k.lastGood.load()
	if err != nil {
		k.log.Warn("the last good copy is passed over", "err", err)
	}
	if network != nil {
		v, err := newView(network, graph)
		if err != nil {
			return err
		}
		k.put(v)
	}
	err = k.look(ctx)
	if v, _ := k.current(); v == nil && err != nil {
		return err
	}
	return ctx.Err()
}

// look looks at the source once. What is wrong is logged when it is new, and
// returned.
func (k *keeper) look(ctx context.Context) error {
	found, err := k.source.look(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	k.metrics.looked(k.now())
	if err != nil {
		k.meet(err)
		return err
	}
	sum := sha256.Sum256(found.text)
	if k.looked && sum == k.seen && k.trouble == "" {
		return nil
	}
	if err := k.take(found); err != nil {
		var bad *Bad
		if errors.As(err, &bad) {
			k.meetBad(bad, sum)
		} else {
			k.meet(err)
		}
		return err
	}
	k.looked, k.seen, k.refused = true, sum, [sha256.Size]byte{}
	if k.trouble != "" {
		v, _ := k.current()
		k.log.Info("the trouble with the description is over", "place", found.place, "version", v.network.Version)
		k.trouble = ""
	}
	k.metrics.well()
	return nil
}

// take checks a description and has it served if its meaning is another one.
func (k *keeper) take(found content) error {
	network, notices, err := domains.Parse(found.text, appRule)
	if err != nil {
		return &Bad{found.place, err}
	}
	before, _ := k.current()
	if before != nil && before.network.Hash() == network.Hash() {
		return nil
	}
	network = network.WithVersion(k.nextVersion(before))
	v, err := newView(network, nil)
	if err != nil {
		return &Bad{found.place, err}
	}
	// First on disk: what is served has to be there after a restart, under the
	// same version.
	if err := k.lastGood.save(v.graph()); err != nil {
		return &trouble{troubleDisk, err}
	}
	for _, notice := range notices {
		k.log.Warn("passed over in the description", "place", found.place, "notice", notice)
	}
	k.put(v)
	k.metrics.changed()
	k.log.Info("a new description is in effect", "place", found.place, "version", network.Version,
		"domains", len(network.Domains), "links", len(network.Links), "apps", len(network.Apps))
	return nil
}

// nextVersion returns the version of what comes after what is served.
func (k *keeper) nextVersion(before *view) uint64 {
	version := uint64(max(k.now().UnixMilli(), 1))
	if before != nil {
		version = max(version, before.network.Version+1)
	}
	return version
}

// meet notes a trouble, and logs it if it is not the one of before. Before there
// was anything to serve nothing is logged: start returns it.
func (k *keeper) meet(err error) {
	kind := troubleFile
	var t *trouble
	if errors.As(err, &t) {
		kind = t.kind
	}
	k.metrics.trouble(kind)
	if v, _ := k.current(); v == nil || k.trouble == kind {
		return
	}
	k.trouble = kind
	message := "the description cannot be read: the last good one stays"
	if kind == troubleDisk {
		message = "the new description cannot be kept, so it does not take effect: the last good one stays"
	}
	k.log.Warn(message, "source", k.source.String(), "err", err)
}

// meetBad is meet for a description that is not good. The log says its problems
// once.
func (k *keeper) meetBad(bad *Bad, sum [sha256.Size]byte) {
	k.metrics.trouble(troubleBad)
	if v, _ := k.current(); v == nil {
		return
	}
	before := k.trouble
	k.trouble = troubleBad
	if sum == k.refused {
		if before != troubleBad {
			k.log.Warn("the description can be read again, and is the one that was refused: the last good one stays", "place", bad.Place)
		}
		return
	}
	k.refused = sum
	problems := bad.Problems()
	for _, p := range problems[:min(len(problems), mostSaid)] {
		k.log.Error("the description is refused: the last good one stays", "place", bad.Place, "err", p)
	}
	if more := len(problems) - mostSaid; more > 0 {
		k.log.Error("the description has more problems: switchboard meta check names them", "place", bad.Place, "more", more)
	}
}

// Check reads and checks a description in a file. notices say what was passed over;
// an error is a *Bad when the file could be read.
func Check(path string) (network *domains.Network, notices []string, err error) {
	text, err := readFile(path)
	if err != nil {
		return nil, nil, err
	}
	if network, notices, err = domains.Parse(text, appRule); err != nil {
		return nil, nil, &Bad{path, err}
	}
	return network, notices, nil
}

// appRule is what the gate of a domain has against apps.
func appRule(list []domains.App) (problems []domains.AppProblem) {
	asked := make([]apps.App, len(list))
	for i, a := range list {
		asked[i] = apps.App{Name: a.Name, ID: a.ID, Master: wire.UserID(a.Master), AuthEnabled: a.AuthEnabled, AuthURL: a.AuthURL}
	}
	var wrong apps.FieldErrors
	if errors.As(apps.Check(asked), &wrong) {
		for _, e := range wrong {
			problems = append(problems, domains.AppProblem{App: e.Index, Key: e.Field, Text: e.Problem})
		}
	}
	return problems
}

// Bad is a description that is not good.
type Bad struct {
	Place string // a file, or one of a commit
	Err   error  // domains.Problems, as a rule
}

// Problems returns each problem.
func (b *Bad) Problems() []error {
	var problems domains.Problems
	if !errors.As(b.Err, &problems) {
		return []error{b.Err}
	}
	list := make([]error, len(problems))
	for i, p := range problems {
		list[i] = p
	}
	return list
}

// Error returns each problem on a line, behind its place.
func (b *Bad) Error() string {
	var lines []string
	for _, p := range b.Problems() {
		lines = append(lines, b.Place+": "+p.Error())
	}
	return strings.Join(lines, "\n")
}

// Unwrap returns the problems.
func (b *Bad) Unwrap() error { return b.Err }
