package webhooks

import (
	"context"
	"sync"
	"time"
)

const (
	// maxRecord is from how many bytes on a record of the history is closed.
	maxRecord = 256 << 10
	// archiveGap is how long events are gathered for one record. Nobody waits for
	// it, and each record is synced.
	archiveGap = 20 * time.Millisecond
	// archiveAgain is the pause before a record that was not stored is tried
	// again.
	archiveAgain = time.Second
)

// finished is an event that has ended, and is not proved yet.
type finished struct {
	n     uint64
	ended Ended
}

// archivist writes what has ended into the history of one webhook, and proves
// it then. What waits for it is bounded by the window of the queue: while the
// history cannot be written, nothing is proved, and nothing new comes.
type archivist struct {
	hook    *hook
	session Session
	scribe  scribe
	wake    chan struct{}
	ending  chan struct{} // closed by stop
	trying  []finished    // a record that was not written, or not known to be; run's own

	mu      sync.Mutex // guards what follows
	waiting []finished
	last    time.Duration // of stop: how long the rest may take
}

func newArchivist(h *hook, session Session) *archivist {
	return &archivist{
		hook: h, session: session, scribe: scribe{archive: h.opts.Archive, of: h.of},
		wake: make(chan struct{}, 1), ending: make(chan struct{}),
	}
}

func (a *archivist) add(f finished) {
	a.mu.Lock()
	a.waiting = append(a.waiting, f)
	a.mu.Unlock()
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

// stop has run end when it has written what waits, or when that took too long.
func (a *archivist) stop(limit time.Duration) {
	a.mu.Lock()
	a.last = limit
	a.mu.Unlock()
	close(a.ending)
}

// run writes until stop.
func (a *archivist) run() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for {
		select {
		case <-a.wake:
			pause(a.ending, archiveGap)
			a.writeAll(ctx)
		case <-a.ending:
			a.mu.Lock()
			limit := a.last
			a.mu.Unlock()
			rest := time.AfterFunc(limit, cancel)
			defer rest.Stop()
			a.writeAll(ctx)
			return
		}
	}
}

// writeAll writes what waits. While it fails it tries again, until stop; then
// once more.
func (a *archivist) writeAll(ctx context.Context) {
	for said := false; ; {
		if a.trying == nil { // else the same again: it may be stored already
			a.trying = a.batch()
		}
		batch := a.trying
		if len(batch) == 0 {
			if said {
				a.hook.log.Info("the history of a webhook is written again")
			}
			return
		}
		events := make([]Ended, len(batch))
		for i := range batch {
			events[i] = batch[i].ended
		}
		err := a.scribe.write(ctx, events)
		if err == nil {
			for _, f := range batch {
				a.session.Prove(f.n)
			}
			a.drop(len(batch))
			a.trying = nil
			continue
		}
		if !said {
			said = true
			a.hook.log.Error("the history of a webhook is not written; its events wait for that", "err", err)
		}
		if !pause(a.ending, archiveAgain) {
			return
		}
	}
}

// batch returns what the next record holds, nil for nothing; it goes on waiting.
func (a *archivist) batch() []finished {
	a.mu.Lock()
	defer a.mu.Unlock()
	size := 0
	for i := range a.waiting {
		if size += a.waiting[i].ended.cost(); size >= maxRecord {
			return a.waiting[:i+1]
		}
	}
	return a.waiting
}

func (a *archivist) drop(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.waiting[:n])
	if a.waiting = a.waiting[n:]; len(a.waiting) == 0 {
		a.waiting = nil
	}
}

// pause waits, and says whether it did so to the end: not when stop is closed.
func pause(stop <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-stop:
		return false
	case <-timer.C:
		return true
	}
}
