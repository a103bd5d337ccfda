package main

import (
	"context"
	"log/slog"
	"os"
	"sync"
	"syscall"
)

// hangups keeps each SIGHUP that comes from now on for a program that serves: one that
// comes while settings are read the first time has them be read again, and does not end
// the program. The other signals end it at once, until they are listened for, too.
func (p *program) hangups() (signals chan os.Signal, stop func()) {
	signals = make(chan os.Signal, 8)
	return signals, p.listen(signals, syscall.SIGHUP)
}

// until runs what serves until a signal stops it. again gets a value when SIGHUP asks
// for the settings, or whatever is served, to be read again. signals are from hangups.
func (p *program) until(log *slog.Logger, signals chan os.Signal, run func(ctx context.Context, again <-chan struct{}) error) error {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &askWatcher{
		log: log, signals: signals, done: make(chan struct{}), again: make(chan struct{}, 1),
		cancel: cancel, exit: p.exit,
	}
	stopListening := p.listen(w.signals, allSignals...)
	var watching sync.WaitGroup
	watching.Go(w.watch)
	err := run(ctx, w.again)
	stopListening()
	close(w.done)
	watching.Wait()
	return err
}

// askWatcher turns signals into what they mean for what reads for itself when it is
// asked to.
type askWatcher struct {
	log     *slog.Logger
	signals chan os.Signal
	done    chan struct{} // closed when serving has ended
	again   chan struct{} // of one: a look that is asked for and not begun
	cancel  context.CancelFunc
	exit    func(code int)
}

// watch runs until serving has ended.
func (w *askWatcher) watch() {
	stopping := false
	for {
		select {
		case <-w.done:
			return
		case sig := <-w.signals:
			switch {
			case sig == syscall.SIGHUP:
				select {
				case w.again <- struct{}{}:
				default: // one is asked for already
				}
			case stopping:
				w.log.Warn("a second signal: leaving at once")
				w.exit(exitFailed)
				return
			default:
				w.log.Info("stopping; a second signal leaves at once", "signal", sig.String())
				stopping = true
				w.cancel()
			}
		}
	}
}
