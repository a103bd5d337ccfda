package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/meta"
)

// metaCommands are about the description of a network of domains.
type metaCommands struct {
	Serve metaServeCommand `cmd:"" default:"withargs" help:"Serve the description of a network of domains until stopped. \"serve\" may be left out."`
	Check metaCheckCommand `cmd:"" help:"Check a description without serving it."`
}

// metaServeCommand serves a description until it is stopped.
type metaServeCommand struct {
	Config     string        `required:"" placeholder:"FILE" help:"The YAML file that describes the network; with --git its path in the repository."`
	Listen     string        `placeholder:"HOST:PORT" default:"127.0.0.1:9000" help:"Where domains connect (default ${default})."`
	Data       string        `placeholder:"FOLDER" default:"./meta" help:"Where the last good copy is kept (default ${default})."`
	Git        string        `placeholder:"REPOSITORY" help:"A Git repository that the file is in: a path, or a URL (https, ssh, file)."`
	Branch     string        `placeholder:"BRANCH" help:"Its branch, with --git (default main)."`
	Every      time.Duration `placeholder:"DURATION" default:"10s" help:"How often the file or the branch is looked at (default ${default})."`
	SecretFile string        `placeholder:"FILE" help:"A file with a secret that readers have to show (Authorization: Bearer); without, anyone may read."`
	TLSCert    string        `name:"tls-cert" placeholder:"FILE" help:"A file with the certificate that readers are shown, in PEM, with those between it and who is trusted. With it they come by https. Read again when it changes."`
	TLSKey     string        `name:"tls-key" placeholder:"FILE" help:"A file with its key."`
	LogLevel   string        `placeholder:"LEVEL" enum:"debug,info,warn,error" default:"info" help:"Least level that is logged: ${enum}."`
	LogFormat  string        `placeholder:"FORMAT" enum:"text,json" default:"text" help:"How log lines are written: ${enum}."`
}

// Run implements the command.
func (c metaServeCommand) Run(p *program) error {
	if c.Every <= 0 {
		return usageError{fmt.Errorf("meta: --every %s: give a time such as 10s", c.Every)}
	}
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
	err = p.until(log, func(ctx context.Context, again <-chan struct{}) error {
		return meta.Run(ctx, meta.Options{
			Config: c.Config, Git: c.Git, Branch: c.Branch, Every: c.Every, Data: c.Data, Listen: c.Listen, Secret: secret,
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

// metaCheckCommand checks a description.
type metaCheckCommand struct {
	File string `arg:"" help:"The YAML file that describes the network."`
}

// Run implements the command.
func (c metaCheckCommand) Run(p *program) error {
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
