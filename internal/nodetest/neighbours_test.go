package nodetest

import (
	"fmt"
	"testing"
	"time"
)

// neighbours are two good users who go on talking while others misbehave: every
// round each sends the other one RELIABLE and one FAST message, and waits for
// the other's two and for its own two confirmations. What is lost, comes twice,
// out of order, or too late, and any disconnection, is an error.
type neighbours struct {
	t        *testing.T
	ann, bob *Peer
	stop     chan struct{}
	done     chan struct{}

	// Set by the goroutine; to be read after done.
	err     error
	rounds  int
	slowest time.Duration
}

// neighbourPause is how often the neighbours have a round at most, so that they do
// not take the machine for themselves.
const neighbourPause = 20 * time.Millisecond

// startNeighbours signs them in and lets them talk. They are two users of the
// demo app that nobody else may use.
func startNeighbours(t *testing.T, s *Server) *neighbours {
	t.Helper()
	n := &neighbours{
		t: t, ann: SignIn(t, s, "ANZ-1", ""), bob: SignIn(t, s, "ANZ-2", ""),
		stop: make(chan struct{}), done: make(chan struct{}),
	}
	go n.run()
	t.Cleanup(n.quiet)
	return n
}

// quiet ends the talk.
func (n *neighbours) quiet() {
	select {
	case <-n.stop:
	default:
		close(n.stop)
	}
	<-n.done
}

// judge ends the talk and fails the test if either noticed anything.
func (n *neighbours) judge() {
	n.t.Helper()
	n.quiet()
	if n.err != nil {
		n.t.Fatalf("the neighbours noticed, in round %d: %v", n.rounds, n.err)
	}
	wantNothing(n.t, "ann, in the end,", n.ann)
	wantNothing(n.t, "bob, in the end,", n.bob)
	n.t.Logf("neighbours: %d rounds, the slowest took %v", n.rounds, n.slowest.Round(time.Millisecond))
	if n.rounds == 0 {
		n.t.Error("the neighbours never spoke")
	}
}

func (n *neighbours) run() {
	defer close(n.done)
	rest := time.NewTicker(neighbourPause)
	defer rest.Stop()
	for {
		select {
		case <-n.stop:
			return
		case <-rest.C:
		}
		began := time.Now()
		if n.err = n.round(); n.err != nil {
			return
		}
		n.slowest = max(n.slowest, time.Since(began))
		n.rounds++
	}
}

func (n *neighbours) round() error {
	for _, p := range []*Peer{n.ann, n.bob} {
		for _, feature := range []string{"RELIABLE", "FAST"} {
			word := fmt.Sprintf("%s %d", feature, n.rounds)
			err := p.TrySend(fmt.Sprintf(`{"type":"MESSAGE","data":{"to":%q,"content":%q},"feature":%q,"reference":%q}`,
				n.other(p).user, word, feature, word))
			if err != nil {
				return fmt.Errorf("%s sends: %w", p.user, err)
			}
		}
	}
	for _, p := range []*Peer{n.ann, n.bob} {
		if err := n.hear(p); err != nil {
			return err
		}
	}
	return nil
}

// hear takes what a round brings to one of them, in any order.
func (n *neighbours) hear(p *Peer) error {
	due := make(map[string]bool)
	for _, feature := range []string{"RELIABLE", "FAST"} {
		word := fmt.Sprintf("%s %d", feature, n.rounds)
		due[fmt.Sprintf(`{"type":"MESSAGE","data":{"from":%q,"content":%q},"reference":%q}`, n.other(p).user, word, word)] = true
		due[fmt.Sprintf(`{"type":"MESSAGE_CONFIRMATION","data":{"reference":%q}}`, word)] = true
	}
	for len(due) > 0 {
		f, err := p.TryNext()
		if err != nil {
			return fmt.Errorf("%s waits for %d frames: %w", p.user, len(due), err)
		}
		if !due[f.Raw] {
			return fmt.Errorf("%s got %s", p.user, f.Raw)
		}
		delete(due, f.Raw)
	}
	return nil
}

func (n *neighbours) other(p *Peer) *Peer {
	if p == n.ann {
		return n.bob
	}
	return n.ann
}
