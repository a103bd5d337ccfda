package main

import (
	"context"
	"os"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/load"
)

// benchCommands measure servers.
type benchCommands struct {
	Messaging messagingCommand  `cmd:"" help:"Load a server with messages, and count what is lost, duplicated, reordered."`
	Baseline  baselineCommand   `cmd:"" help:"The yardstick: the same load on a bare WebSocket echo server, started for it."`
	Matching  matchingCommand   `cmd:"" help:"Match devices in this process, with the log of matches on the disk, while others wait."`
	Traffic   trafficCommand    `cmd:"" help:"Fold events of devices into windows in this process, as fast as it can."`
	Nearby    nearbyCommand     `cmd:"" help:"Keep positions and look around in this process, with their log on the disk, beside Redis."`
	Relay     relayBenchCommand `cmd:"" help:"Move files from one folder into another with an uploader and a collector in this process, beside a bare loop."`
	Gateway   gatewayCommand    `cmd:"" help:"Hand requests on to three instances in this process, beside a bare reverse proxy."`
	Suite     suiteCommand      `cmd:"" help:"Start what is to be measured and measure all that we hold ourselves to."`
	Compare   compareCommand    `cmd:"" help:"Print two reports side by side."`
	Echo      echoCommand       `cmd:"" hidden:"" help:"Serve the bare echo."`
}

// trafficFlags say how much is sent, and how.
type trafficFlags struct {
	Connections int           `default:"1000" help:"Connections, each of a user of its own."`
	Payload     int           `default:"1000" help:"Characters of content in a message."`
	Mode        string        `default:"closed" help:"When: closed (the next when the former has arrived), paced (--rate), single (one alone, then --pause), idle (silence, traffic, silence)."`
	Rate        float64       `help:"Messages a second with --mode paced, all connections together."`
	Outstanding int           `default:"1" help:"Messages of one sender on the way at once, with --mode closed."`
	Messages    int           `default:"-1" help:"With --pattern absent: messages in all (100000). With --mode idle: each connection's between the silences (10)."`
	Warmup      time.Duration `default:"1s" help:"Sent before the measurement."`
	Duration    time.Duration `default:"5s" help:"Of the measurement. With --mode idle: of each silence."`
	Ramp        time.Duration `default:"0s" help:"Over which connections are opened; 0s: as fast as they are taken."`
	Drain       time.Duration `default:"10s" help:"How long nothing may arrive, afterwards, before what is missing counts as lost."`
	Pause       time.Duration `default:"2ms" help:"After each message, with --mode single."`
	LoadCPU     int           `name:"load-cpu" default:"-1" placeholder:"N" help:"Keep the generator to this processor (Linux)."`
}

func (f trafficFlags) options() load.Options {
	o := load.Options{
		Connections: f.Connections, Payload: f.Payload, Mode: f.Mode, Rate: f.Rate, Outstanding: f.Outstanding, Messages: f.Messages,
		Warmup: f.Warmup, Duration: f.Duration, Ramp: f.Ramp, Drain: f.Drain, Pause: f.Pause,
		AppID: "app-id-343", UserPrefix: "ANZ", FirstUser: 1_000_000, Absent: 1, Pattern: load.PatternSelf, Feature: load.FeatureReliable,
	}
	if f.Messages == -1 {
		o.Messages = 100_000
		if f.Mode == load.ModeIdle {
			o.Messages = 10
		}
	}
	return o
}

// messagingCommand measures a server that runs.
type messagingCommand struct {
	URL        []string `default:"ws://127.0.0.1:8088/ws" placeholder:"URL" help:"The server's endpoint; of several nodes all (by commas, or repeated): connections go to each in turn, so with --pattern pairs each pair is on two nodes (default ${default})."`
	Pattern    string   `default:"self" help:"Who to whom: self, pairs, group (the first of each group to all of it), fanin (all to the first), absent (to users who come afterwards and fetch)."`
	Feature    string   `default:"RELIABLE" help:"RELIABLE or FAST."`
	Reference  bool     `help:"Send with a reference; a message is done when it is confirmed."`
	Ack        bool     `help:"Sign in with the option ack, and acknowledge."`
	Via        string   `default:"socket" help:"How messages are sent: socket, or http (by a backend, in batches, with --mode closed or paced); they are received over sockets either way."`
	Batch      int      `default:"100" help:"Messages of one request, with --via http."`
	Key        string   `env:"SWITCHBOARD_KEY" placeholder:"KEY" help:"An API key with the scope messages:send, for --via http; better in the environment than here."`
	Group      int      `default:"0" help:"Receivers of a group message; 0: all connections."`
	Absent     int      `default:"1000" help:"Absent users, with --pattern absent."`
	KeepMail   bool     `help:"With --pattern absent: store only, and leave it in the mailboxes."`
	PID        []int    `name:"pid" placeholder:"N" help:"The server's process on this machine, to count its CPU and memory (Linux); of several nodes all, and theirs are added up."`
	AppID      string   `name:"app-id" default:"app-id-343" help:"The appId to sign in with."`
	UserPrefix string   `default:"ANZ" help:"The app's name, with which user IDs begin."`
	FirstUser  int64    `default:"1000000" help:"The number of the first user."`
	Token      string   `env:"SWITCHBOARD_BENCH_TOKEN" help:"The users' token; better in the environment than here."`
	SyncFolder string   `placeholder:"DIR" help:"With --mode single: measure in this folder, too, how long a sync of the disk takes."`
	Profile    string   `placeholder:"NAME" help:"A fixed series instead: seed is 1 000 to 4 000 connections, each sending itself 1 000 characters every 10 ms, RELIABLE and FAST."`
	trafficFlags
	outputFlags
}

func (c messagingCommand) options() load.Options {
	o := c.trafficFlags.options()
	o.URLs, o.Pattern, o.Feature, o.Reference, o.Ack = c.URL, c.Pattern, c.Feature, c.Reference, c.Ack
	o.Via, o.Batch, o.Key = c.Via, c.Batch, c.Key
	o.Group, o.Absent, o.KeepMail, o.PIDs = c.Group, c.Absent, c.KeepMail, c.PID
	o.AppID, o.UserPrefix, o.FirstUser, o.Token, o.SyncFolder = c.AppID, c.UserPrefix, c.FirstUser, c.Token, c.SyncFolder
	return o
}

// Validate checks the flags; what it says is a matter of usage.
func (c messagingCommand) Validate() error {
	o := c.options()
	if c.Profile != "" {
		return load.CheckProfile(c.Profile, o)
	}
	return o.Check()
}

// Run implements the command.
func (c messagingCommand) Run(p *program) error {
	ctx, done := p.untilSignal()
	defer done()
	if err := pin(c.LoadCPU); err != nil {
		return err
	}
	o := c.options()
	o.Progress = p.terminal()
	if c.Profile != "" {
		report, err := load.Profile(ctx, o)
		report.Version = p.version
		return c.show(p, report, err)
	}
	run, err := load.Measure(ctx, o)
	return c.show(p, load.NewReport(p.version, run), err)
}

// baselineCommand measures the bare echo.
type baselineCommand struct {
	childFlags
	trafficFlags
	outputFlags
}

// Validate checks the flags; what it says is a matter of usage.
func (c baselineCommand) Validate() error { return load.CheckBaseline(c.options()) }

// Run implements the command.
func (c baselineCommand) Run(p *program) error {
	ctx, done := p.untilSignal()
	defer done()
	if err := pin(c.LoadCPU); err != nil {
		return err
	}
	o := c.options()
	o.Progress = p.terminal()
	run, err := load.Baseline(ctx, c.child(), o)
	return c.show(p, load.NewReport(p.version, run), err)
}

// childFlags say how a server is started that is measured.
type childFlags struct {
	ServerCPU   int `name:"server-cpu" default:"-1" placeholder:"N" help:"Keep the server to this processor (Linux)."`
	ServerProcs int `default:"2" help:"The server's GOMAXPROCS: 2 also on one processor, so that a sync of the disk holds up nobody; 0: as Go chooses."`
}

func (f childFlags) child() load.Child {
	return load.Child{ServerCPU: f.ServerCPU, Procs: f.ServerProcs}
}

// echoCommand serves the yardstick.
type echoCommand struct {
	Listen string `default:"127.0.0.1:0" help:"Where to listen."`
}

// Run implements the command.
func (c echoCommand) Run(p *program) error {
	ctx, done := p.untilSignal()
	defer done()
	return load.ServeEcho(ctx, c.Listen, p.out)
}

// pin keeps this process to one processor, unless cpu is below 0.
func pin(cpu int) error {
	if cpu < 0 {
		return nil
	}
	return load.PinSelf(cpu)
}

// untilSignal returns a context that the first signal ends; a second one ends
// the process. done must be called.
func (p *program) untilSignal() (ctx context.Context, done func()) {
	ctx, cancel := context.WithCancel(context.Background())
	signals := make(chan os.Signal, 2)
	stopListening := p.listen(signals, allSignals...)
	ended, watched := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		for first := true; ; first = false {
			select {
			case <-ended:
				return
			case <-signals:
				if !first {
					p.exit(exitFailed)
				}
				cancel()
			}
		}
	}()
	return ctx, func() {
		stopListening()
		close(ended)
		<-watched
		cancel()
	}
}
