package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/meta"
)

// metaCommands are about the description of a network of domains, and settings.
type metaCommands struct {
	Serve metaServeCommand `cmd:"" default:"withargs" help:"Serve the description of a network of domains, settings of services, or both, until stopped. \"serve\" may be left out."`
	Check metaCheckCommand `cmd:"" help:"Check a description, or a folder of settings, without serving it."`
}

// metaServeCommand serves a description until it is stopped.
type metaServeCommand struct {
	Config     string         `placeholder:"FILE" help:"The YAML file that describes the network; with --git its path in the repository."`
	Settings   string         `placeholder:"FOLDER" help:"The folder of the settings of services; with --git its path in the repository, . for all of it. There is --config, --settings, or both."`
	Listen     string         `placeholder:"HOST:PORT" default:"127.0.0.1:9000" help:"Where domains connect (default ${default})."`
	Data       string         `placeholder:"FOLDER" default:"./meta" help:"Where the last good copy is kept (default ${default})."`
	Git        string         `placeholder:"REPOSITORY" help:"A Git repository that the file is in: a path, or a URL (https, ssh, file)."`
	Branch     string         `placeholder:"BRANCH" help:"Its branch, with --git (default main)."`
	Every      *time.Duration `placeholder:"DURATION" help:"How often the files or the branch are looked at (default 1s for what is on this machine, 10s for a repository elsewhere)."`
	SecretFile string         `placeholder:"FILE" help:"A file with a secret that readers have to show (Authorization: Bearer); without, anyone may read."`
	TLSCert    string         `name:"tls-cert" placeholder:"FILE" help:"A file with the certificate that readers are shown, in PEM, with those between it and who is trusted. With it they come by https. Read again when it changes."`
	TLSKey     string         `name:"tls-key" placeholder:"FILE" help:"A file with its key."`
	LogLevel   string         `placeholder:"LEVEL" enum:"debug,info,warn,error" default:"info" help:"Least level that is logged: ${enum}."`
	LogFormat  string         `placeholder:"FORMAT" enum:"text,json" default:"text" help:"How log lines are written: ${enum}."`
}

// Run implements the command.
func (c metaServeCommand) Run(p *program) error {
	var every time.Duration // 0: as the package has it
	if c.Every != nil {
		if every = *c.Every; every <= 0 {
			return usageError{fmt.Errorf("meta: --every %s: give a time such as 10s", every)}
		}
	}
	signals, stop := p.hangups()
	defer stop()
	var secret string
	var err error
	if c.SecretFile != "" {
		if secret, err = meta.ReadSecret(c.SecretFile); err != nil {
			return fmt.Errorf("meta: %w", err)
		}
	}
	credentials, err := meta.CredentialsFrom(p.environ)
	if err != nil {
		return fmt.Errorf("meta: %w", err)
	}
	log := newLogger(p.err, c.LogFormat, config.Log{Level: c.LogLevel}.SlogLevel())
	defer takeLibraries(log)()
	err = p.until(log, signals, func(ctx context.Context, again <-chan struct{}) error {
		return meta.Run(ctx, meta.Options{
			Config: c.Config, Settings: c.Settings, Git: c.Git, Branch: c.Branch, Every: every, Data: c.Data, Listen: c.Listen, Secret: secret,
			TLSCert: c.TLSCert, TLSKey: c.TLSKey,
			Credentials: credentials, Look: again, Version: p.version, Out: p.out, Log: log,
		})
	})
	var wrong *meta.Wrong
	switch {
	case errors.As(err, &wrong):
		return usageError{fmt.Errorf("meta: %w", err)}
	case err != nil:
		return fmt.Errorf("meta: %w", err)
	}
	log.Info("stopped")
	return nil
}

// metaCheckCommand checks a description, or settings.
type metaCheckCommand struct {
	File string `arg:"" help:"The YAML file that describes the network, or a folder of settings."`
}

// Run implements the command.
func (c metaCheckCommand) Run(p *program) error {
	if info, err := os.Stat(c.File); err == nil && info.IsDir() {
		files, err := meta.CheckSettings(c.File)
		if err != nil {
			return err
		}
		_, err = fmt.Fprintf(p.out, "%s: good: %s of settings\n", c.File, plural(files, "file"))
		return err
	}
	network, notices, err := meta.Check(c.File)
	if err != nil {
		return err
	}
	for _, notice := range notices {
		fmt.Fprintf(p.err, "%s: warning: %s\n", c.File, notice)
	}
	_, err = fmt.Fprintf(p.out, "%s: good: %s, %s, %s\n", c.File, plural(len(network.Domains), "domain"), plural(len(network.Links), "link"), plural(len(network.Apps), "app"))
	return err
}
