package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/demo"
)

// demoCommands show something at work on this machine.
type demoCommands struct {
	Relay demoRelayCommand `cmd:"" help:"Move reports of a sensor through a chart to an archive, with every service and every program of the relay a process of its own."`
	Part  demoPartCommands `cmd:"" hidden:"" help:"Be one process of the demo; it ends with its standard input."`
}

// demoRelayCommand runs the demo of the relay until it is stopped.
type demoRelayCommand struct {
	Static bool   `help:"Without the network server: uploaders have a list of the collectors."`
	Data   string `placeholder:"FOLDER" default:"./demo-relay" help:"Where everything is kept (default ${default})."`
	Listen string `placeholder:"HOST:PORT" default:"127.0.0.1:8070" help:"Where the chart is, on this machine alone; port 0 for any that is free (default ${default})."`
}

// Run implements the command.
func (c demoRelayCommand) Run(p *program) error {
	signals, stop := p.hangups()
	defer stop()
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("demo: find this program: %w", err)
	}
	log := newLogger(p.err, "text", config.Log{}.SlogLevel())
	err = p.until(log, signals, func(ctx context.Context, _ <-chan struct{}) error {
		return demo.Run(ctx, demo.Options{
			Data: c.Data, Listen: c.Listen, Static: c.Static, Version: p.version, Out: p.out,
			Command: func(args []string) *exec.Cmd {
				return exec.Command(self, append([]string{"demo", "part"}, args...)...)
			},
		})
	})
	var wrong *demo.Wrong
	switch {
	case errors.As(err, &wrong):
		return usageError{fmt.Errorf("demo: %w", err)}
	case err != nil:
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// demoPartCommands are what the processes of the demo run.
type demoPartCommands struct {
	Sensor    demoSensorCommand    `cmd:"" help:"Report the load."`
	Gateway   demoGatewayCommand   `cmd:"" help:"Hand reports on."`
	Visualize demoVisualizeCommand `cmd:"" help:"Show reports, and hand them on."`
	Archive   demoArchiveCommand   `cmd:"" help:"Keep reports by day."`
	Relay     demoProgramCommand   `cmd:"" passthrough:"" help:"Be a program of the relay."`
}

// demoFolders are what a service takes files from, and where it moves them.
type demoFolders struct {
	In  string `required:""`
	Out string `required:""`
}

type demoSensorCommand struct {
	Folder string `required:""`
	Out    string `required:""`
}

// Run implements the command.
func (c demoSensorCommand) Run(p *program) error {
	return p.runPart(func(ctx context.Context, log *slog.Logger) error {
		return demo.RunSensor(ctx, demo.SensorOptions{Folder: c.Folder, Out: c.Out, Log: log})
	})
}

type demoGatewayCommand struct{ demoFolders }

// Run implements the command.
func (c demoGatewayCommand) Run(p *program) error {
	return p.runPart(func(ctx context.Context, log *slog.Logger) error {
		return demo.RunGateway(ctx, demo.ServiceOptions{In: c.In, Out: c.Out, Log: log})
	})
}

type demoVisualizeCommand struct {
	demoFolders
	Listen string `required:""`
}

// Run implements the command.
func (c demoVisualizeCommand) Run(p *program) error {
	return p.runPart(func(ctx context.Context, log *slog.Logger) error {
		return demo.RunVisualize(ctx, demo.VisualizeOptions{ServiceOptions: demo.ServiceOptions{In: c.In, Out: c.Out, Log: log}, Listen: c.Listen})
	})
}

type demoArchiveCommand struct{ demoFolders }

// Run implements the command.
func (c demoArchiveCommand) Run(p *program) error {
	return p.runPart(func(ctx context.Context, log *slog.Logger) error {
		return demo.RunArchive(ctx, demo.ServiceOptions{In: c.In, Out: c.Out, Log: log})
	})
}

// demoProgramCommand is "switchboard relay …" that ends with its standard input.
type demoProgramCommand struct {
	Args []string `arg:"" optional:""`
}

// Run implements the command.
func (c demoProgramCommand) Run(p *program) error {
	p.endWithInput()
	if code := p.run(append([]string{"relay"}, c.Args...)); code != exitOK {
		return fmt.Errorf("demo: switchboard relay ended with the exit code %d", code)
	}
	return nil
}

// runPart runs a service of the demo.
func (p *program) runPart(run func(context.Context, *slog.Logger) error) error {
	signals, stop := p.hangups()
	defer stop()
	p.endWithInput()
	log := newLogger(p.err, "text", config.Log{}.SlogLevel())
	err := p.until(log, signals, func(ctx context.Context, _ <-chan struct{}) error { return run(ctx, log) })
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	return nil
}

// partPatience is how long a part may take to stop.
const partPatience = 10 * time.Second

// endWithInput stops this process, as a signal would, when its standard input ends:
// that is when the demo stops it, and when the demo was killed. What watches goes on
// until then.
func (p *program) endWithInput() {
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // how it ended does not matter
		_ = syscall.Kill(os.Getpid(), syscall.SIGTERM)
		time.Sleep(partPatience)
		p.exit(exitFailed)
	}()
}
