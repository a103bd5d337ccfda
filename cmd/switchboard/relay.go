package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
	"github.com/seed-3d8c1042/switchboard/internal/relay"
)

// relayCommands are the programs that move files from service to service.
type relayCommands struct {
	Uploader  uploaderCommand  `cmd:"" help:"Send the files of a folder to every collector of a cluster."`
	Collector collectorCommand `cmd:"" help:"Stack the files that come in a folder, for the next service."`
	Network   networkCommand   `cmd:"" help:"Say which collectors there are, and give out IDs and ports."`
	Maker     makerCommand     `cmd:"" help:"Collect records from standard input, or over HTTP, into one file for each slice of time."`
}

// relayFlags are those that all of them have.
type relayFlags struct {
	Config    string  `required:"" placeholder:"FILE" help:"The YAML file with the settings. It is read again on SIGHUP."`
	Check     bool    `help:"Check the settings, the files that they name and the folder, and end."`
	LogLevel  *string `placeholder:"LEVEL" enum:"debug,info,warn,error" help:"Least level that is logged, instead of log.level: ${enum}."`
	LogFormat *string `placeholder:"FORMAT" enum:"text,json" help:"How log lines are written, instead of log.format: ${enum}."`
}

// relayProgram is one of them, ready to be run.
type relayProgram[S any] struct {
	name   string
	load   func() (S, error)
	log    func(S) config.Log
	check  func() error
	doubts func(S) []string // of settings that are good, what may be a mistake; nil for none
	folder func(S) string   // that it works in, and makes
	mode   fs.FileMode      // of that
	moves  bool             // to another folder, on SIGHUP
	run    func(ctx context.Context, load func() (S, error), again <-chan struct{}, log *slog.Logger) error
}

// runRelay checks, or runs until a signal stops it.
func runRelay[S any](p *program, f relayFlags, r relayProgram[S]) error {
	if f.Check {
		if err := r.check(); err != nil {
			return relayError(r.name, err)
		}
		return r.sayGood(p, f.Config)
	}
	signals, stop := p.hangups()
	defer stop()
	s, err := r.load()
	if err != nil {
		return relayError(r.name, err)
	}
	said := f.over(r.log(s))
	var level slog.LevelVar
	level.Set(said.SlogLevel())
	log := newLogger(p.err, said.Format, &level)
	defer takeLibraries(log)()
	first := true
	load := func() (S, error) {
		if first { // what was read a moment ago
			first = false
			return s, makeFolder(log, r.folder(s), r.mode)
		}
		now, err := r.load()
		if err == nil && r.moves {
			err = makeFolder(log, r.folder(now), r.mode)
		}
		if err == nil {
			level.Set(f.over(r.log(now)).SlogLevel())
		}
		return now, err
	}
	err = p.until(log, signals, func(ctx context.Context, again <-chan struct{}) error { return r.run(ctx, load, again, log) })
	if err != nil {
		return relayError(r.name, err)
	}
	log.Info("stopped")
	return nil
}

// sayGood says that settings are good, and what may be a mistake nevertheless.
func (r relayProgram[S]) sayGood(p *program, file string) error {
	s, err := r.load()
	if err != nil {
		return relayError(r.name, err) // it was written to a moment ago
	}
	if r.doubts != nil {
		for _, why := range r.doubts(s) {
			fmt.Fprintf(p.err, "%s: warning: %s\n", file, why)
		}
	}
	_, err = fmt.Fprintf(p.out, "%s: good\n", file)
	return err
}

// makeFolder makes the folder that a program works in, unless it is there. It says so: a
// name that was mistyped is a new folder, too.
func makeFolder(log *slog.Logger, folder string, mode fs.FileMode) error {
	if _, err := os.Stat(folder); !errors.Is(err, fs.ErrNotExist) {
		return nil // whatever is there, the program says what is wrong with it
	}
	if err := lifecycle.MakeFolder(folder, mode); err != nil {
		return fmt.Errorf("make the folder: %w", err)
	}
	log.Info("made the folder", "folder", folder)
	return nil
}

// over returns how is logged: a flag wins over the settings.
func (f relayFlags) over(l config.Log) config.Log {
	if f.LogLevel != nil {
		l.Level = *f.LogLevel
	}
	if f.LogFormat != nil {
		l.Format = *f.LogFormat
	}
	return l
}

// relayError says which program failed. Problems of settings say for themselves.
func relayError(name string, err error) error {
	var problems config.Problems
	if errors.As(err, &problems) {
		return err
	}
	return fmt.Errorf("relay %s: %w", name, err)
}

// networkCommand runs a network server.
type networkCommand struct{ relayFlags }

// Run implements the command.
func (c networkCommand) Run(p *program) error {
	return runRelay(p, c.relayFlags, relayProgram[relay.NetworkSettings]{
		name:   "network",
		load:   func() (relay.NetworkSettings, error) { return relay.ReadNetwork(c.Config) },
		log:    func(s relay.NetworkSettings) config.Log { return s.Log },
		check:  func() error { return relay.CheckNetwork(c.Config) },
		folder: func(s relay.NetworkSettings) string { return s.Data },
		mode:   0o700,
		run: func(ctx context.Context, load func() (relay.NetworkSettings, error), again <-chan struct{}, log *slog.Logger) error {
			return relay.RunNetwork(ctx, relay.NetworkOptions{Load: load, Reload: again, Version: p.version, Log: log, Out: p.out})
		},
	})
}

// makerCommand runs a maker.
type makerCommand struct{ relayFlags }

// Run implements the command.
func (c makerCommand) Run(p *program) error {
	return runRelay(p, c.relayFlags, relayProgram[relay.MakerSettings]{
		name:   "maker",
		load:   func() (relay.MakerSettings, error) { return relay.ReadMaker(c.Config) },
		log:    func(s relay.MakerSettings) config.Log { return s.Log },
		check:  func() error { return relay.CheckMaker(c.Config) },
		folder: func(s relay.MakerSettings) string { return s.Spool },
		mode:   0o777,
		run: func(ctx context.Context, load func() (relay.MakerSettings, error), again <-chan struct{}, log *slog.Logger) error {
			return relay.RunMaker(ctx, relay.MakerOptions{Load: load, Reload: again, Version: p.version, Log: log, Out: p.out, In: os.Stdin})
		},
	})
}

// uploaderCommand runs an uploader.
type uploaderCommand struct {
	relayFlags
	Network string `placeholder:"FILE" help:"A YAML file with the collectors of each cluster, instead of a network server."`
}

// Run implements the command.
func (c uploaderCommand) Run(p *program) error {
	return runRelay(p, c.relayFlags, relayProgram[relay.UploaderSettings]{
		name:   "uploader",
		load:   func() (relay.UploaderSettings, error) { return relay.ReadUploader(c.Config, c.Network) },
		log:    func(s relay.UploaderSettings) config.Log { return s.Log },
		check:  func() error { return relay.CheckUploader(c.Config, c.Network) },
		doubts: relay.UploaderSettings.Doubts,
		folder: func(s relay.UploaderSettings) string { return s.Spool },
		mode:   0o777,
		moves:  true,
		run: func(ctx context.Context, load func() (relay.UploaderSettings, error), again <-chan struct{}, log *slog.Logger) error {
			return relay.RunUploader(ctx, relay.UploaderOptions{Load: load, Reload: again, Version: p.version, Log: log, Out: p.out})
		},
	})
}

// collectorCommand runs a collector.
type collectorCommand struct{ relayFlags }

// Run implements the command.
func (c collectorCommand) Run(p *program) error {
	return runRelay(p, c.relayFlags, relayProgram[relay.CollectorSettings]{
		name:   "collector",
		load:   func() (relay.CollectorSettings, error) { return relay.ReadCollector(c.Config) },
		log:    func(s relay.CollectorSettings) config.Log { return s.Log },
		check:  func() error { return relay.CheckCollector(c.Config) },
		doubts: relay.CollectorSettings.Doubts,
		folder: func(s relay.CollectorSettings) string { return s.Spool },
		mode:   0o777,
		run: func(ctx context.Context, load func() (relay.CollectorSettings, error), again <-chan struct{}, log *slog.Logger) error {
			return relay.RunCollector(ctx, relay.CollectorOptions{Load: load, Reload: again, Version: p.version, Log: log, Out: p.out})
		},
	})
}
