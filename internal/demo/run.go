package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// Options are what Run works with.
type Options struct {
	Data    string // folder for everything
	Listen  string // host:port of the chart, on loopback; port 0 for any that is free
	Static  bool   // without the network server
	Version string
	Out     io.Writer // what there is to say, a line each
	// Command returns the program as it runs a part: with "relay PROGRAM --config FILE",
	// or the name of a service and its flags. A part ends when its standard input does.
	Command func(args []string) *exec.Cmd
}

// Run starts all parts and keeps them going until ctx ends; then it stops them, and
// returns nil. What is wrong with the options is a *Wrong. A second Run on the same
// folder is refused.
func Run(ctx context.Context, o Options) error {
	// First what makes no folder: a demo that is refused leaves none.
	l, refused := layOut(o.Data, o.Listen, o.Static)
	if _, err := os.Stat(filepath.Dir(l.config("x"))); refused != nil && err != nil {
		return refused
	}
	release, err := lifecycle.LockFolder(o.Data)
	if err != nil {
		return err // it is in use: that says more than that a port is
	}
	if refused != nil {
		return errors.Join(refused, release())
	}
	return errors.Join(run(ctx, o, l), release())
}

func run(ctx context.Context, o Options, l layout) error {
	if err := l.write(); err != nil {
		return fmt.Errorf("write what the parts need: %w", err)
	}
	before, err := stored(l.warehouse())
	if err != nil {
		return err
	}
	v := &voice{out: o.Out}
	// The network server is stopped last: the others tell it that they leave.
	others, stopOthers := context.WithCancel(ctx)
	last, stopLast := context.WithCancel(context.WithoutCancel(ctx))
	var keepingOthers, keepingLast sync.WaitGroup
	defer keepingLast.Wait()
	defer stopLast()
	defer keepingOthers.Wait()
	defer stopOthers()
	var keepers []*keeper
	for _, p := range l.parts() {
		k := &keeper{part: p, command: o.Command, log: l.log(p.name), say: v.say}
		if err := os.WriteFile(k.log, nil, 0o644); err != nil { // a log is of one run
			return err
		}
		if err := k.start(); err != nil {
			return err
		}
		keepers = append(keepers, k)
		if p.name == networkPart {
			keepingLast.Go(func() { k.keep(last) })
		} else {
			keepingOthers.Go(func() { k.keep(others) })
		}
	}
	v.say("%s", table(o, l, keepers))
	if l.awaitFirst(ctx, before) {
		v.say("ready")
	}
	<-ctx.Done()
	v.say("stopping")
	return nil
}

// voice says things from several goroutines, a whole one at a time.
type voice struct {
	mu  sync.Mutex
	out io.Writer
}

func (v *voice) say(format string, args ...any) {
	v.mu.Lock()
	defer v.mu.Unlock()
	fmt.Fprintf(v.out, format+"\n", args...)
}

// table says what runs.
func table(o Options, l layout, keepers []*keeper) string {
	var b strings.Builder
	fmt.Fprintf(&b, "Switchboard %s\n", o.Version)
	fmt.Fprintf(&b, "%-9s http://%s/\n%-9s %s\n%-9s %s\n\n", "chart", l.chart, "archive", l.warehouse(), "logs", filepath.Dir(l.log("x")))
	fmt.Fprintf(&b, "%-20s %8s  %s\n", "part", "process", "what it does")
	for _, k := range keepers {
		fmt.Fprintf(&b, "%-20s %8d  %s\n", k.name, k.first, k.does)
	}
	fmt.Fprintf(&b, "\nKill any of them (kill -9 PROCESS): no report is lost, and none is doubled. Ctrl-C stops all.")
	return b.String()
}

// firstEvery is how often the archive is looked at for the first report.
const firstEvery = 200 * time.Millisecond

// awaitFirst waits until there are more reports in the archive than before, and says
// whether there are.
func (l layout) awaitFirst(ctx context.Context, before int) bool {
	look := time.NewTicker(firstEvery)
	defer look.Stop()
	for {
		if n, err := stored(l.warehouse()); err == nil && n > before {
			return true
		}
		select {
		case <-ctx.Done():
			return false
		case <-look.C:
		}
	}
}

// stored counts the reports in the archive.
func stored(warehouse string) (n int, err error) {
	err = filepath.WalkDir(warehouse, func(path string, e fs.DirEntry, err error) error {
		if err == nil && numberOf(e.Name()) > 0 {
			n++
		}
		return err
	})
	return n, err
}
