package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/alecthomas/kong"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/meta"
	"github.com/seed-3d8c1042/switchboard/internal/node"
)

// Exit codes.
const (
	exitOK     = 0
	exitFailed = 1
	exitUsage  = 2 // the command line is wrong
)

// program is the process as its commands see it.
type program struct {
	out, err io.Writer
	environ  []string
	version  string

	serve  func(context.Context, node.Options) error
	listen func(signals chan<- os.Signal, which ...os.Signal) (stop func()) // sends those signals, besides those that the channel gets already
	exit   func(code int)                                                   // ends the process at once
}

// commands is the command line.
type commands struct {
	Serve    serveCommand    `cmd:"" help:"Serve clients until stopped. Without settings: the demo app, on loopback only."`
	Config   configCommands  `cmd:"" help:"Check, show or begin settings."`
	Keys     keysCommands    `cmd:"" set:"key=with the scope keys:manage" help:"Make, list and revoke API keys of a node that runs."`
	Cluster  clusterCommands `cmd:"" help:"See the nodes of a cluster."`
	Meta     metaCommands    `cmd:"" help:"Serve the description of a network of domains, settings of services, or both, or check them. \"switchboard meta --config FILE\" serves it; \"switchboard meta serve --help\" lists the flags."`
	Relay    relayCommands   `cmd:"" help:"Move files from service to service."`
	Register registerCommand `cmd:"" help:"Register an instance of a service of yours for as long as a command runs: \"switchboard register --name orders --url http://10.0.0.7:8080 -- command …\". It ends with the command's exit code."`
	Trace    traceCommand    `cmd:"" set:"key=an admin key" help:"Print the path that a message to a user would take between domains. Exit code 1 when there is none, or its first link is down."`
	Bench    benchCommands   `cmd:"" help:"Measure servers: messages a second, latency, memory, and whether each message arrives once and in order."`
	Demo     demoCommands    `cmd:"" help:"See something at work on this machine: \"switchboard demo relay\" starts all it takes, and Ctrl-C stops it."`
	Doctor   doctorCommand   `cmd:"" help:"Find out whether a proxy on the way to a server breaks the proof of delivery."`
	Health   healthCommand   `cmd:"" help:"Ask a running node, meta server or relay whether it can serve. Exit code 1 when it cannot, or does not answer."`
	Version  versionCommand  `cmd:"" help:"Print the version."`

	ShowVersion kong.VersionFlag `name:"version" help:"Print the version."`
}

// run runs one command and returns the exit code.
func (p *program) run(args []string) int {
	var c commands
	helped := false
	parser, err := kong.New(&c,
		kong.Name("switchboard"),
		kong.Description("Switchboard connects people, devices and services over WebSockets."),
		kong.Writers(p.out, p.err),
		kong.Vars{"version": p.versionLine(), "scopes": keys.ScopeNames()},
		kong.Exit(func(int) { helped = true }),
		kong.ConfigureHelp(kong.HelpOptions{Compact: true, NoExpandSubcommands: false}),
	)
	if err != nil {
		panic("commands: " + err.Error()) // our own table of commands is wrong
	}
	if len(args) > 0 && args[0] == "help" {
		args = append(slices.Clone(args[1:]), "--help")
	}
	command, err := parser.Parse(joinNegatives(args))
	if helped {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(p.err, "switchboard: %s\nTry: %s --help\n", err, commandOf(err))
		return exitUsage
	}
	return p.report(command.Run(p))
}

// joinNegatives makes of "--flag -1" the "--flag=-1" that the parser reads: no
// flag of ours is a digit, so this can only be a value.
func joinNegatives(args []string) []string {
	var joined []string
	for i, arg := range args {
		if arg == "--" {
			return append(joined, args[i:]...)
		}
		n := len(joined)
		negative := len(arg) > 1 && arg[0] == '-' && arg[1] >= '0' && arg[1] <= '9'
		if negative && n > 0 && strings.HasPrefix(joined[n-1], "--") && !strings.Contains(joined[n-1], "=") {
			joined[n-1] += "=" + arg
			continue
		}
		joined = append(joined, arg)
	}
	return joined
}

// commandOf returns the command that a wrong command line got to.
func commandOf(err error) string {
	var wrong *kong.ParseError
	if errors.As(err, &wrong) && wrong.Context != nil {
		if node := wrong.Context.Selected(); node != nil {
			return node.FullPath()
		}
	}
	return "switchboard"
}

// report prints what went wrong and returns the exit code for it.
func (p *program) report(err error) int {
	var problems config.Problems
	var usage usageError
	var bad *meta.Bad
	var ended commandEnded
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &ended):
		return ended.code
	case errors.As(err, &usage):
		fmt.Fprintf(p.err, "switchboard: %s\n", err)
		return exitUsage
	case errors.As(err, &problems):
		fmt.Fprintf(p.err, "%s\nswitchboard: the settings are not good: %s\n", problems, plural(len(problems), "problem"))
		if problems.FromFlags() {
			return exitUsage
		}
		return exitFailed
	case errors.As(err, &bad):
		fmt.Fprintf(p.err, "%s\nswitchboard: the description is not good: %s\n", bad, plural(len(bad.Problems()), "problem"))
		return exitFailed
	}
	for line := range strings.Lines(err.Error()) { // several errors are a line each
		fmt.Fprintf(p.err, "switchboard: %s\n", strings.TrimSuffix(line, "\n"))
	}
	return exitFailed
}

func plural(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}

// versionCommand prints the version.
type versionCommand struct{}

// Run implements the command.
func (versionCommand) Run(p *program) error {
	_, err := fmt.Fprintln(p.out, p.versionLine())
	return err
}

func (p *program) versionLine() string {
	return fmt.Sprintf("switchboard %s (%s %s/%s)", p.version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// buildVersion returns the stamped version, or what the Go tool knows of it.
func buildVersion(stamped string) string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" && info.Main.Version != "(devel)" {
		return info.Main.Version
	}
	return "devel"
}
