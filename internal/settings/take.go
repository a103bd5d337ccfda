package settings

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// from returns the sources with a repository, if there is one.
func (b *Book) from(of *offer) config.Sources {
	from := b.o.From
	if of != nil {
		from.Repository = &config.Repository{Commit: of.Commit, Settings: of.Settings, Places: of.Places}
	}
	return from
}

// Read reads file, environment and secrets again, and takes what is new there. What is
// wrong is logged, and changes nothing.
func (b *Book) Read() {
	b.taking.Lock()
	defer b.taking.Unlock()
	of := b.offered
	if of == nil {
		of = b.good
	}
	placed, err := config.LoadPlaced(b.from(of))
	if err != nil && of != b.good { // the commit may be what is bad
		b.refuse(of, err)
		of = b.good
		placed, err = config.LoadPlaced(b.from(of))
	}
	if err != nil {
		b.clear(partFile) // so that it is said again to whoever asked again
		b.raise(partFile, troubleOf(kindBad, "", err))
		return
	}
	if !b.take(of, placed, true) {
		return
	}
	b.clear(partFile)
}

// takeOffer takes what the meta server offers, or says why not. The caller has the lock
// taking.
func (b *Book) takeOffer() {
	of := b.offered
	placed, err := config.LoadPlaced(b.from(of))
	if err != nil {
		b.refuse(of, err)
		return
	}
	b.take(of, placed, false)
}

// refuse notes that what a commit says is not good.
func (b *Book) refuse(of *offer, err error) {
	b.raise(partCommit, troubleOf(kindBad, of.Commit, err))
}

// take puts settings into force as far as that can be done at run time, and says whether
// it did. The caller has the lock taking.
func (b *Book) take(of *offer, wanted config.Placed, asked bool) bool {
	running := b.running // written under taking alone
	changes := config.Diff(running.Settings, wanted.Settings)
	next, err := running.Adopt(wanted)
	if err != nil {
		if of != nil && !asked {
			b.refuse(of, err)
		} else {
			b.clear(partFile)
			b.raise(partFile, troubleOf(kindBad, "", err))
		}
		return false
	}
	changed := of != b.good
	b.mu.Lock()
	b.running, b.wanted, b.pending = next, wanted, changes.Restart
	if changed {
		b.hold(of, true)
	}
	b.mu.Unlock()
	b.metrics.pending.Set(float64(len(changes.Restart)))
	b.sayRestart(of, changes.Restart, asked)
	if of != nil {
		b.clear(partCommit)
	}
	if changed {
		b.good, b.unsaved = of, true
		b.metrics.changes.Inc()
	}
	switch {
	case len(changes.Live) > 0:
		b.o.Applied(next.Settings)
		b.o.Log.Debug("settings read again", "keys", changes.Live) // the node says when they are in effect
		b.hand(next.Settings)
	case asked:
		b.o.Log.Info("settings read again: nothing to change now")
		// The description of all domains may have changed, or a secret in a file, or the static instances.
		if next.Settings.Meta != "" || next.Settings.Registry.File != "" {
			b.hand(next.Settings)
		}
	}
	if changed {
		b.save()
	}
	return true
}

// sayRestart says which settings take a restart: to whoever asked, and once for a commit.
func (b *Book) sayRestart(of *offer, keys []string, asked bool) {
	commit := ""
	if of != nil {
		commit = of.Commit
	}
	about := commit + " " + strings.Join(keys, " ")
	if len(keys) == 0 || about == b.warned && !asked {
		return
	}
	b.warned = about
	if commit == "" {
		b.o.Log.Warn("these settings take effect at the next start", "keys", keys)
		return
	}
	b.o.Log.Warn("these settings take effect at the next start", "keys", keys, "commit", short(commit))
}

func short(commit string) string { return commit[:min(len(commit), 10)] }

// troubleOf makes a trouble of what is wrong with settings.
func troubleOf(kind, commit string, err error) Trouble {
	t := Trouble{Kind: kind, Commit: commit}
	var problems config.Problems
	if !errors.As(err, &problems) {
		t.Text = []string{err.Error()}
		return t
	}
	for _, p := range problems[:min(len(problems), mostSaid)] {
		t.Text = append(t.Text, p.Error())
	}
	if more := len(problems) - mostSaid; more > 0 {
		t.Text = append(t.Text, fmt.Sprintf("and %d more problems", more))
	}
	return t
}

// same says whether two troubles are one that goes on. What the network says differs each
// time, by port numbers if nothing else.
func (t Trouble) same(other Trouble) bool {
	return t.Kind == other.Kind && t.Commit == other.Commit && (t.Kind == kindUnreachable || slices.Equal(t.Text, other.Text))
}
