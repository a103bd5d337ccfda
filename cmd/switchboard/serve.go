package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/node"
)

// serveCommand serves until it is stopped.
type serveCommand struct {
	settingsFlags
}

// Run implements the command.
func (c serveCommand) Run(p *program) error {
	from := c.sources(p.environ)
	settings, err := config.Load(from)
	if err != nil {
		return err
	}
	var level slog.LevelVar
	level.Set(settings.Log.SlogLevel())
	log := newLogger(p.err, settings.Log.Format, &level)
	defer takeLibraries(log)()
	warnOpen(log, settings)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &watcher{
		from: from, running: settings, level: &level, log: log,
		signals: make(chan os.Signal, 8), done: make(chan struct{}), reload: make(chan config.Settings), hangup: make(chan struct{}, 1),
		cancel: cancel, exit: p.exit,
	}
	stopListening := p.listen(w.signals)
	var watching sync.WaitGroup
	watching.Go(w.watch)
	err = p.serve(ctx, node.Options{Settings: settings, Reload: w.reload, Hangup: w.hangup, Log: log, Version: p.version, Out: p.out})
	stopListening()
	close(w.done)
	watching.Wait()
	if err != nil {
		return fmt.Errorf("serve: %w", err)
	}
	log.Info("stopped")
	return nil
}

func newLogger(out io.Writer, format string, level slog.Leveler) *slog.Logger {
	options := &slog.HandlerOptions{Level: level}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}

// takeLibraries has what libraries write by package log, such as what a stranger's
// HTTP server sent unasked, go where our own lines go, as DEBUG, until restored.
func takeLibraries(log *slog.Logger) (restore func()) {
	out, flags := stdlog.Writer(), stdlog.Flags()
	stdlog.SetFlags(0)
	stdlog.SetOutput(slog.NewLogLogger(log.Handler(), slog.LevelDebug).Writer())
	return func() {
		stdlog.SetOutput(out)
		stdlog.SetFlags(flags)
	}
}

// warnOpen tells the operator of apps that let strangers in, and of what strangers
// could read.
func warnOpen(log *slog.Logger, s config.Settings) {
	for _, app := range s.OpenApps() {
		log.Warn("this app lets anyone in, and clients can come from anywhere: its authEnabled is false", "app", app, "listen", s.Listen)
	}
	if s.OpenCluster() {
		log.Warn("what the nodes say to each other is not encrypted: name certificates in cluster.tls, or keep their network to yourself", "addr", s.Cluster.Listen)
	}
}

// watcher turns signals into what they mean for a running serve.
type watcher struct {
	from    config.Sources
	running config.Settings // what the node was given last
	level   *slog.LevelVar
	log     *slog.Logger

	signals chan os.Signal
	done    chan struct{} // closed when serving has ended
	reload  chan config.Settings
	hangup  chan struct{}      // of one: files are to be looked at
	cancel  context.CancelFunc // begins the graceful stop
	exit    func(code int)
}

// watch runs until serving has ended. It never waits for the node, so that a
// second signal to stop is always heard.
func (w *watcher) watch() {
	stopping := false
	var out chan<- config.Settings // nil while there is nothing to hand over
	for {
		select {
		case <-w.done:
			return
		case out <- w.running:
			out = nil
		case sig := <-w.signals:
			switch {
			case sig == syscall.SIGHUP && stopping:
			case sig == syscall.SIGHUP:
				select {
				case w.hangup <- struct{}{}:
				default: // they are to be already
				}
				if w.readAgain() {
					out = w.reload
				}
			case stopping:
				w.log.Warn("a second signal: leaving at once")
				w.exit(exitFailed)
				return
			default:
				w.log.Info("stopping: clients are told to reconnect; a second signal leaves at once", "signal", sig.String())
				stopping, out = true, nil
				w.cancel()
			}
		}
	}
}

// readAgain reads the settings again, and says whether there is something new
// for the node.
func (w *watcher) readAgain() bool {
	wanted, err := config.Load(w.from)
	if err != nil {
		w.refuse(err)
		return false
	}
	changes := config.Diff(w.running, wanted)
	next, err := config.Adopt(w.running, wanted)
	if err != nil {
		w.refuse(err)
		return false
	}
	if len(changes.Restart) > 0 {
		w.log.Warn("these settings take effect at the next start", "keys", changes.Restart)
	}
	if len(changes.Live) == 0 {
		w.log.Info("settings read again: nothing to change now")
		return w.running.Meta != "" // the description of all domains may have changed, or a secret in a file
	}
	w.running = next
	w.level.Set(next.Log.SlogLevel())
	w.log.Debug("settings read again", "keys", changes.Live) // the node says when they are in effect
	warnOpen(w.log, next)
	return true
}

// refuse logs why the settings stay as they are, one line a problem.
func (w *watcher) refuse(err error) {
	const message = "settings stay as they are: the new ones are not good"
	var problems config.Problems
	if !errors.As(err, &problems) {
		w.log.Error(message, "err", err)
		return
	}
	for _, problem := range problems {
		w.log.Error(message, "err", problem)
	}
}
