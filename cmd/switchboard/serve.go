package main

import (
	"context"
	"fmt"
	"io"
	stdlog "log"
	"log/slog"
	"os"
	"sync"
	"syscall"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/node"
	"github.com/seed-3d8c1042/switchboard/internal/settings"
)

// serveCommand serves until it is stopped.
type serveCommand struct {
	settingsFlags
}

// Run implements the command.
func (c serveCommand) Run(p *program) error {
	signals, stopListening := p.hangups()
	defer stopListening()
	from := c.sources(p.environ)
	own, err := config.Load(from) // without what a meta server has
	if err != nil {
		return err
	}
	var level slog.LevelVar
	level.Set(own.Log.SlogLevel())
	log := newLogger(p.err, own.Log.Format, &level)
	book, err := settings.New(context.Background(), settings.Options{From: from, Log: log, Applied: func(s config.Settings) {
		level.Set(s.Log.SlogLevel())
		warnOpen(log, s)
	}})
	if err != nil {
		return err
	}
	inForce := book.Settings()
	if inForce.Log.Format != own.Log.Format {
		log = newLogger(p.err, inForce.Log.Format, &level)
		book.LogTo(log)
	}
	defer takeLibraries(log)()
	level.Set(inForce.Log.SlogLevel())
	warnOpen(log, inForce)

	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	w := &watcher{
		log: log, signals: signals, done: make(chan struct{}), again: make(chan struct{}, 1), hangup: make(chan struct{}, 1),
		cancel: cancel, exit: p.exit,
	}
	p.listen(w.signals, allSignals...)
	var watching sync.WaitGroup
	watching.Go(w.watch)
	watching.Go(func() { w.read(book) })
	err = p.serve(ctx, node.Options{Settings: inForce, Reload: book.Changes(), Book: book, Hangup: w.hangup, Log: log, Version: p.version, Out: p.out})
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
		return slog.New(newCalm(slog.NewJSONHandler(out, options)))
	}
	return slog.New(newCalm(slog.NewTextHandler(out, options)))
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
	log *slog.Logger

	signals chan os.Signal
	done    chan struct{}      // closed when serving has ended
	again   chan struct{}      // of one: settings are to be read again
	hangup  chan struct{}      // of one: files are to be looked at
	cancel  context.CancelFunc // begins the graceful stop
	exit    func(code int)
}

// watch runs until serving has ended. It waits for nobody, so that a second signal to
// stop is always heard.
func (w *watcher) watch() {
	stopping := false
	for {
		select {
		case <-w.done:
			return
		case sig := <-w.signals:
			switch {
			case sig == syscall.SIGHUP && stopping:
			case sig == syscall.SIGHUP:
				select {
				case w.hangup <- struct{}{}:
				default: // they are to be already
				}
				select {
				case w.again <- struct{}{}:
				default: // they are to be read already
				}
			case stopping:
				w.log.Warn("a second signal: leaving at once")
				w.exit(exitFailed)
				return
			default:
				w.log.Info("stopping: clients are told to reconnect; a second signal leaves at once", "signal", sig.String())
				stopping = true
				w.cancel()
			}
		}
	}
}

// read has settings read again when they are to be, until serving has ended.
func (w *watcher) read(book *settings.Book) {
	for {
		select {
		case <-w.done:
			return
		case <-w.again:
			book.Read()
		}
	}
}
