package load

import (
	"context"
	"errors"
)

// EchoCommand is the command line that runs ServeEcho in a process of its own.
func EchoCommand() []string { return []string{"bench", "echo"} }

// Baseline starts the bare echo server in a process of its own, drives it as o
// says, and ends it.
func Baseline(ctx context.Context, child Child, o Options) (_ Run, err error) {
	o = o.baseline()
	if err := o.Check(); err != nil {
		return Run{}, err
	}
	s, err := child.start(ctx, EchoCommand()...)
	if err != nil {
		return Run{}, err
	}
	defer func() { err = errors.Join(err, s.stop()) }()
	o.URLs, o.PIDs = []string{s.url}, watchable(s)
	return Measure(ctx, o)
}

// baseline returns the options as far as they hold for an echo.
func (o Options) baseline() Options {
	o.echo, o.Pattern, o.Reference, o.Ack, o.Group, o.KeepMail = true, PatternSelf, false, false, 0, false
	o.Feature, o.URLs, o.PIDs, o.SyncFolder = FeatureFast, []string{anyURL}, nil, ""
	return o
}

// CheckBaseline says what is wrong with the options of a Baseline.
func CheckBaseline(o Options) error {
	o = o.baseline()
	return o.Check()
}
