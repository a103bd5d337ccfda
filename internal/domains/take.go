package domains

import (
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
)

// watcher is told of each description, one at a time.
type watcher struct {
	f       func(*Network)
	stopped atomic.Bool

	mu   sync.Mutex // held while f runs
	turn uint64     // of what it was told last
}

func (w *watcher) tell(h held) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if h.turn > w.turn && !w.stopped.Load() {
		w.turn = h.turn
		w.f(h.network)
	}
}

// Watch calls f with the current description, if there is one, before it
// returns, and then with each that is taken, one at a time and never with an
// older one. After stop has returned no further call begins. f may call stop; it
// must not call Reload, and while it runs nothing newer is taken.
func (s *Source) Watch(f func(*Network)) (stop func()) {
	w := &watcher{f: f}
	s.mu.Lock()
	s.watchers = append(s.watchers, w)
	h := s.held
	s.mu.Unlock()
	w.tell(h)
	return func() {
		w.stopped.Store(true)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.watchers = slices.DeleteFunc(s.watchers, func(other *watcher) bool { return other == w })
	}
}

// take makes a good description the current one, unless it is already, or says
// why not. The caller has the lock taking.
func (s *Source) take(n *Network) *trouble {
	if t := s.fits(n); t != nil {
		return t
	}
	s.mu.Lock()
	now := s.o.Now()
	changed := s.held.network == nil || s.held.network.Version != n.Version || s.held.network.Hash() != n.Hash()
	if !changed {
		moved := s.held.from != s.o.URL
		s.held.stored, s.held.confirmed, s.held.from = false, now, s.o.URL
		s.mu.Unlock()
		if moved {
			s.save()
		}
		return nil
	}
	h := held{network: n, from: s.o.URL, since: now, confirmed: now, turn: s.held.turn + 1}
	s.held = h
	s.ledger.metrics.taken(n.Version)
	s.current.Store(n)
	watchers := slices.Clone(s.watchers)
	s.mu.Unlock()
	s.o.Log.Info("the description of the network is taken", "version", n.Version, "hash", n.Hash(), "domains", len(n.Domains), "from", s.o.URL)
	for _, w := range watchers {
		w.tell(h)
	}
	s.save() // last: ways change at once, however slow the disk is
	return nil
}

// fits says why a description must not follow the current one.
func (s *Source) fits(n *Network) *trouble {
	if _, ok := n.Domain(s.o.Self); !ok {
		return newTrouble(kindSelf, "the description has no domain %s, which is this one: add it there, or correct this domain's name", s.o.Self)
	}
	if s.server == nil {
		return nil // a file has no version
	}
	s.mu.Lock()
	h := s.held
	s.mu.Unlock()
	switch {
	case n.Version == 0:
		return newTrouble(kindVersion, "the description has version 0: a meta server counts from 1")
	case h.network == nil || h.from != s.o.URL:
		return nil
	case n.Version < h.network.Version:
		return newTrouble(kindVersion, "the description has version %d, but %d was there already: the meta server has lost its data folder, or another one answers; restore it, or change the network so that the version rises", n.Version, h.network.Version)
	case n.Version == h.network.Version && n.Hash() != h.network.Hash():
		return newTrouble(kindVersion, "the description has the version %d of the one that is here, and another content: two meta servers answer, or one has lost its data folder; let one alone serve, and change the network so that the version rises", n.Version)
	}
	return nil
}

// readFile reads the file, takes what it describes, and logs what it passes
// over.
func (s *Source) readFile() *trouble {
	s.taking.Lock()
	defer s.taking.Unlock()
	content, err := readLimited(s.o.URL, MaxFile)
	if err != nil {
		return &trouble{kindUnreachable, fmt.Errorf("read the network: %w", err)}
	}
	n, notices, err := Parse(content)
	if err != nil {
		return &trouble{kindContent, fmt.Errorf("%s: %w", s.o.URL, err)}
	}
	for _, notice := range notices {
		s.o.Log.Info("a part of the network's file means nothing", "what", notice, "file", s.o.URL)
	}
	return s.take(n)
}

// readLimited reads a file, and at most one byte more than there may be.
func readLimited(name string, most int64) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(io.LimitReader(f, most+1))
}
