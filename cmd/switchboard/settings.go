package main

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/meta"
	"github.com/seed-3d8c1042/switchboard/internal/registry"
)

// settingsFlags are the flags that set something. What has no flag of its own
// is set by --set.
type settingsFlags struct {
	Config    string   `placeholder:"FILE" help:"Read settings from this YAML file. Else the variable SWITCHBOARD_CONFIG names it."`
	Listen    *string  `placeholder:"HOST:PORT" help:"Where clients connect (default 127.0.0.1:8088)."`
	Admin     *string  `placeholder:"HOST:PORT" help:"Where operators connect (default 127.0.0.1:9088)."`
	Data      *string  `placeholder:"FOLDER" help:"Where everything is kept (default ./data)."`
	Roles     *string  `placeholder:"ROLE,…" help:"What this node does: all (the default), connector, processor."`
	Node      *string  `placeholder:"NAME" help:"This node's name among others (default the host's name)."`
	NATS      *string  `name:"nats" placeholder:"URL" help:"Use this NATS instead of the embedded one; further settings of it are in the file."`
	Unsynced  bool     `name:"accept-unsynced" help:"Take a NATS that does not show that it syncs what it stores."`
	DB        *string  `name:"db" placeholder:"URL" help:"Keep accounts and rooms in this PostgreSQL instead of a file in the data folder."`
	Domain    *string  `placeholder:"NAME" help:"The site that this node belongs to."`
	Meta      *string  `placeholder:"URL" help:"The meta server that describes all domains, or a file."`
	Origins   *string  `placeholder:"URL,…" help:"Web origins that may connect besides the console's own."`
	LogLevel  *string  `placeholder:"LEVEL" help:"Least level that is logged: debug, info, warn, error."`
	LogFormat *string  `placeholder:"FORMAT" help:"How log lines are written: text, json."`
	Set       []string `placeholder:"KEY=VALUE" sep:"none" help:"Any other setting, as limits.frame=128KiB. May be repeated."`
}

// sources says where settings come from, given the flags.
func (f settingsFlags) sources(environ []string) config.Sources {
	from := config.Sources{File: f.Config, Environ: environ}
	for _, own := range []struct {
		name, key string
		value     *string
	}{
		{"--listen", "listen", f.Listen},
		{"--admin", "admin", f.Admin},
		{"--data", "data", f.Data},
		{"--roles", "roles", f.Roles},
		{"--node", "cluster.node", f.Node},
		{"--nats", "nats.url", f.NATS},
		{"--db", "db.url", f.DB},
		{"--domain", "domain", f.Domain},
		{"--meta", "meta", f.Meta},
		{"--origins", "origins", f.Origins},
		{"--log-level", "log.level", f.LogLevel},
		{"--log-format", "log.format", f.LogFormat},
	} {
		if own.value != nil {
			from.Flags = append(from.Flags, config.Flag{Name: own.name, Key: own.key, Value: *own.value})
		}
	}
	if f.Unsynced {
		from.Flags = append(from.Flags, config.Flag{Name: "--accept-unsynced", Key: "nats.acceptUnsynced", Value: "true"})
	}
	for _, text := range f.Set {
		flag := config.Flag{Name: "--set"}
		key, value, ok := strings.Cut(text, "=")
		if ok {
			flag.Key, flag.Value = strings.TrimSpace(key), strings.TrimSpace(value)
		} else {
			flag.Wrong = fmt.Sprintf("%q is not KEY=VALUE", text)
		}
		from.Flags = append(from.Flags, flag)
	}
	return from
}

// configCommands are the commands about settings.
type configCommands struct {
	Check checkCommand `cmd:"" help:"Check a settings file, and the environment with it, without starting."`
	Print printCommand `cmd:"" help:"Print the settings that would hold, as YAML, secrets masked."`
	Init  initCommand  `cmd:"" help:"Write a settings file to begin with: every key, its default, what it does."`
}

// checkCommand checks a settings file.
type checkCommand struct {
	File string `arg:"" help:"The settings file."`
}

// Run implements the command.
func (c checkCommand) Run(p *program) error {
	s, err := config.Load(config.Sources{File: c.File, Environ: p.environ})
	if err != nil {
		return err
	}
	if err := c.checkNetwork(p, s); err != nil {
		return err
	}
	if s.Registry.File != "" {
		if _, err := registry.ReadFile(s.Registry.File, s.Registry.Instances); err != nil {
			return err
		}
	}
	for _, app := range s.OpenApps() {
		fmt.Fprintf(p.err, "%s: warning: app %s lets anyone in, and clients at %s can come from anywhere\n", c.File, app, s.Listen)
	}
	if s.OpenCluster() {
		fmt.Fprintf(p.err, "%s: warning: what the nodes of cluster %s say to each other is not encrypted: name certificates in cluster.tls, or keep their network to yourself\n", c.File, s.Cluster.Name)
	}
	if s.BareLinks() {
		fmt.Fprintf(p.err, "%s: warning: links without a secret may come up between any addresses (insecureLinks): anyone who reaches this domain can take what is meant for a neighbour\n", c.File)
	}
	if s.Nearby.NamesNoTiles() {
		fmt.Fprintf(p.err, "%s: warning: nearby.attribution says whose the tiles are, and nearby.tiles names none\n", c.File)
	}
	meets := ""
	switch {
	case s.Clustered():
		meets = fmt.Sprintf(", node %s of cluster %s at %s", s.NodeName(), s.Cluster.Name, s.Cluster.Listen)
	case s.NATS.URL != "":
		meets = ", with a NATS that there is"
	}
	if s.Domain != "" {
		meets += ", domain " + s.Domain
	}
	if s.Source.URL != "" {
		meets += "; what the repository has was not looked at"
	}
	clients := "clients at " + s.Listen
	if !s.Has(config.RoleConnector) {
		clients = "no clients"
	}
	_, err = fmt.Fprintf(p.out, "%s: good: %s, %s, operators at %s%s\n", c.File, appsIn(s), clients, s.Admin, meets)
	return err
}

// appsIn says which apps there are by a node's own settings.
func appsIn(s config.Settings) string {
	switch {
	case s.Demo:
		return "no apps are named, so the demo app lets anyone in, from this machine only"
	case len(s.Apps) > 0:
		return plural(len(s.Apps), "app")
	case s.Meta != "":
		return "apps as the network has them"
	case s.Source.URL != "" && !s.Chat.Enabled:
		return "apps as the repository has them"
	}
	return "no app but that of chat"
}

// checkNetwork checks the description of all domains where that is a file, and
// whether the settings go with it.
func (c checkCommand) checkNetwork(p *program, s config.Settings) error {
	if s.Meta == "" || s.MetaURL() {
		return nil
	}
	network, notices, err := meta.Check(s.Meta)
	if err != nil {
		return err
	}
	for _, notice := range notices {
		fmt.Fprintf(p.err, "%s: warning: %s\n", s.Meta, notice)
	}
	for _, what := range network.Unknown(s.LinkNames()) {
		fmt.Fprintf(p.err, "%s: warning: links.secrets: in %s %s\n", c.File, s.Meta, what)
	}
	if wrong := network.Unknown([]string{s.Domain}); len(wrong) > 0 {
		return config.Problems{{Place: config.Place{File: c.File}, Key: "domain", Text: "in " + s.Meta + " " + wrong[0]}}
	}
	return nil
}

// printCommand prints the settings that would hold.
type printCommand struct {
	settingsFlags
}

// Run implements the command.
func (c printCommand) Run(p *program) error {
	s, err := config.Load(c.sources(p.environ))
	if err != nil {
		return err
	}
	_, err = p.out.Write(s.YAML())
	return err
}

// initCommand writes a settings file to begin with.
type initCommand struct {
	File string `arg:"" optional:"" help:"The file to write, which must not exist. Without: to standard output."`
}

// Run implements the command.
func (c initCommand) Run(p *program) error {
	if c.File == "" {
		_, err := p.out.Write(config.Template())
		return err
	}
	// It will hold secrets: nobody else is to read it.
	f, err := os.OpenFile(c.File, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%s exists and is left as it is", c.File)
	}
	if err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	_, err = f.Write(config.Template())
	if err = errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("write settings: %w", err)
	}
	_, err = fmt.Fprintf(p.out, "%s: written. Next: switchboard serve --config %s\n", c.File, c.File)
	return err
}
