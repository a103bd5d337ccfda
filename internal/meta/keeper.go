package meta

import (
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/domains"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// mostSaid is how many problems of what is bad are said.
const mostSaid = 20

// subject is what a keeper keeps: the description of a network, or settings.
type subject interface {
	// take checks what was found, and has it served if it is something else than before.
	// What is not good is a *Bad.
	take(found content) error
	// serves says whether there is anything to serve.
	serves() bool
	// troubled notes why nothing newer is served; nil: nothing keeps it from being so.
	troubled(t *standing)
	// words are what the log says of it.
	words() *words
}

// words are the messages of the log about a subject.
type words struct {
	over    string // the trouble is
	unread  string // it cannot be read
	unkept  string // it cannot be written to disk
	refused string // it is bad
	more    string // and has more problems than are said
	again   string // it is the bad one of before
}

// standing is a trouble that is not over.
type standing struct {
	Kind     string    `json:"kind"`
	Place    string    `json:"place,omitempty"` // of what is bad
	Since    time.Time `json:"since"`
	Problems []string  `json:"problems"` // mostSaid at most
	More     int       `json:"more,omitempty"`
}

// keeper looks at the source of a subject, hands it what is found there, and knows the
// trouble that there is. But for what newKeeper was given, all of it belongs to the
// goroutine that looks.
type keeper struct {
	source  source
	subject subject
	log     *slog.Logger
	now     func() time.Time
	metrics *looks

	trouble string            // the kind of trouble of the last look; empty when all was well
	looked  bool              // seen is of a look
	seen    [sha256.Size]byte // the content that was taken last
	refused [sha256.Size]byte // the bad content that was refused since; zero for none
}

func newKeeper(source source, of subject, log *slog.Logger, now func() time.Time, m *looks) *keeper {
	return &keeper{source: source, subject: of, log: log, now: now, metrics: m}
}

// start looks at the source for the first time. It fails when there is nothing to serve
// then.
func (k *keeper) start(ctx context.Context) error {
	err := k.look(ctx)
	if !k.subject.serves() && err != nil {
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
	sum := found.sum()
	if k.looked && sum == k.seen && k.trouble == "" {
		return nil
	}
	if err := k.subject.take(found); err != nil {
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
		k.log.Info(k.subject.words().over, "place", found.place)
		k.trouble = ""
	}
	k.metrics.well()
	k.subject.troubled(nil)
	return nil
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
	if !k.subject.serves() || k.trouble == kind {
		return
	}
	k.trouble = kind
	k.subject.troubled(&standing{Kind: kind, Since: k.now(), Problems: []string{err.Error()}})
	message := k.subject.words().unread
	if kind == troubleDisk {
		message = k.subject.words().unkept
	}
	k.log.Warn(message, "source", k.source.String(), "err", err)
}

// meetBad is meet for what is not good. The log says its problems once.
func (k *keeper) meetBad(bad *Bad, sum [sha256.Size]byte) {
	k.metrics.trouble(troubleBad)
	if !k.subject.serves() {
		return
	}
	before := k.trouble
	k.trouble = troubleBad
	if sum == k.refused && before == troubleBad {
		return
	}
	problems := bad.Problems()
	now := &standing{Kind: troubleBad, Place: bad.Place, Since: k.now(), More: max(0, len(problems)-mostSaid)}
	for _, p := range problems[:min(len(problems), mostSaid)] {
		now.Problems = append(now.Problems, p.Error())
	}
	k.subject.troubled(now)
	if sum == k.refused {
		k.log.Warn(k.subject.words().again, "place", bad.Place)
		return
	}
	k.refused = sum
	for _, p := range now.Problems {
		k.log.Error(k.subject.words().refused, "place", bad.Place, "err", p)
	}
	if now.More > 0 {
		k.log.Error(k.subject.words().more, "place", bad.Place, "more", now.More)
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

// Bad is a description, or settings, that are not good.
type Bad struct {
	Place string // a file, a folder, or one of a commit
	Err   error  // domains.Problems or config.Problems, as a rule
}

// Problems returns each problem.
func (b *Bad) Problems() []error {
	var ofNetwork domains.Problems
	var ofSettings config.Problems
	var list []error
	switch {
	case errors.As(b.Err, &ofNetwork):
		for _, p := range ofNetwork {
			list = append(list, p)
		}
	case errors.As(b.Err, &ofSettings):
		for _, p := range ofSettings {
			list = append(list, p)
		}
	default:
		list = []error{b.Err}
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
