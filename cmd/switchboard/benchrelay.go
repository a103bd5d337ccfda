package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/load"
	"github.com/seed-3d8c1042/switchboard/internal/relay"
)

// relayBenchCommand measures how fast files go from a folder into another one.
type relayBenchCommand struct {
	Small  int    `default:"5000" help:"Files of 1 KiB."`
	Large  int    `default:"300" help:"Files of 1 MiB."`
	Rounds int    `default:"3" help:"How often each is measured; the middle one counts."`
	Folder string `placeholder:"DIR" help:"Where the files lie, in a folder that is removed afterwards: the disk that is measured. Default: the system's folder for temporary files."`
	JSON   bool   `name:"json" help:"Print what was found as JSON."`
}

// Validate checks the flags; what it says is a matter of usage.
func (c relayBenchCommand) Validate() error {
	switch {
	case c.Small < 1 || c.Small > 1_000_000 || c.Large < 1 || c.Large > 100_000:
		return errors.New("--small and --large: give numbers from 1 to 1000000 and to 100000")
	case c.Rounds < 1 || c.Rounds > 100:
		return fmt.Errorf("--rounds %d: give a number from 1 to 100", c.Rounds)
	}
	return nil
}

// Run implements the command.
func (c relayBenchCommand) Run(p *program) error {
	ctx, done := p.untilSignal()
	defer done()
	found, err := c.measure(ctx)
	if err != nil {
		return bench(err)
	}
	if c.JSON {
		return bench(json.NewEncoder(p.out).Encode(found))
	}
	return bench(found.Print(p.out))
}

// measure sends files of both sizes, and has a bare loop do by hand what makes them
// safe: in turns, so that both meet the disk in the same mood.
func (c relayBenchCommand) measure(ctx context.Context) (found load.Relay, err error) {
	dir, err := os.MkdirTemp(c.Folder, "switchboard-bench-relay-")
	if err != nil {
		return found, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, of := range []struct{ size, files int }{{1 << 10, c.Small}, {1 << 20, c.Large}} {
		var bare, relayed []float64
		for range c.Rounds {
			rate, err := bareLoop(ctx, dir, of.size, of.files)
			if err != nil {
				return found, err
			}
			bare = append(bare, rate)
			if rate, err = throughRelay(ctx, dir, of.size, of.files); err != nil {
				return found, err
			}
			relayed = append(relayed, rate)
		}
		slices.Sort(bare)
		slices.Sort(relayed)
		found.Sizes = append(found.Sizes, load.RelaySize{
			Bytes: of.size, Files: of.files, Rate: relayed[len(relayed)/2], Bare: bare[len(bare)/2],
		})
	}
	return found, nil
}

// makeFiles fills a new folder with files of different content.
func makeFiles(dir string, size, files int) (string, error) {
	from, err := os.MkdirTemp(dir, "from-")
	if err != nil {
		return "", err
	}
	random, content := rand.New(rand.NewPCG(1, 2)), make([]byte, size)
	for i := range files {
		for at := 0; at < size; at += 64 {
			content[at] = byte(random.Uint64())
		}
		copy(content, fmt.Sprint(i, " "))
		if err := os.WriteFile(filepath.Join(from, fmt.Sprintf("%08d", i)), content, 0o600); err != nil {
			return "", err
		}
	}
	return from, nil
}

// bareLoop returns how many files a second one loop moves: read, write, sync, rename,
// sync the folder, remove.
func bareLoop(ctx context.Context, dir string, size, files int) (float64, error) {
	from, err := makeFiles(dir, size, files)
	if err != nil {
		return 0, err
	}
	to, err := os.MkdirTemp(dir, "to-")
	if err != nil {
		return 0, err
	}
	folder, err := os.Open(to)
	if err != nil {
		return 0, err
	}
	defer func() { _ = folder.Close() }() // it was only synced
	began := time.Now()
	for i := range files {
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		name := fmt.Sprintf("%08d", i)
		if err := moveByHand(filepath.Join(from, name), filepath.Join(to, name), folder); err != nil {
			return 0, err
		}
	}
	rate := float64(files) / time.Since(began).Seconds()
	return rate, errors.Join(os.RemoveAll(from), os.RemoveAll(to))
}

func moveByHand(from, to string, folder *os.File) error {
	content, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(to+".part", os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	if _, err = file.Write(content); err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return err
	}
	if err := os.Rename(to+".part", to); err != nil {
		return err
	}
	if err := folder.Sync(); err != nil {
		return err
	}
	return os.Remove(from)
}

// readiness closes ready when a program says that it is.
type readiness struct {
	ready chan struct{}
	said  string
}

// Write implements io.Writer.
func (r *readiness) Write(b []byte) (int, error) {
	before := strings.Contains(r.said, "ready\n")
	r.said += string(b)
	if !before && strings.Contains(r.said, "ready\n") {
		close(r.ready)
	}
	return len(b), nil
}

// throughRelay returns how many files a second an uploader and a collector move, both
// in this process, from the uploader's start until it has removed the last one.
func throughRelay(ctx context.Context, dir string, size, files int) (float64, error) {
	from, err := makeFiles(dir, size, files)
	if err != nil {
		return 0, err
	}
	to, err := os.MkdirTemp(dir, "to-")
	if err != nil {
		return 0, err
	}
	port, err := freePort()
	if err != nil {
		return 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	log := slog.New(slog.DiscardHandler)
	ended := make(chan error, 2)
	up := &readiness{ready: make(chan struct{})}
	go func() {
		ended <- relay.RunCollector(ctx, relay.CollectorOptions{Log: log, Out: up, Load: func() (relay.CollectorSettings, error) {
			s := relay.DefaultCollector()
			s.Address, s.Port, s.Spool = "127.0.0.1", port, to
			return s, nil
		}})
	}()
	select {
	case <-up.ready:
	case err := <-ended:
		return 0, errors.Join(errors.New("the collector does not start"), err)
	}
	began := time.Now()
	go func() {
		ended <- relay.RunUploader(ctx, relay.UploaderOptions{Log: log, Out: io.Discard, Load: func() (relay.UploaderSettings, error) {
			s := relay.DefaultUploader()
			s.Spool, s.Quiet = from, 0
			s.NextHop = []relay.Rule{{Pattern: "*", Cluster: "bench"}}
			s.Static = relay.Clusters{"bench": {"one": {Address: "127.0.0.1", Port: relay.Port(port)}}}
			return s, nil
		}})
	}()
	for left := true; left; {
		select {
		case <-time.After(5 * time.Millisecond): // to look costs, too
		case err := <-ended:
			cancel()
			return 0, errors.Join(errors.New("the relay ended before all files were moved"), err, <-ended)
		}
		if left, err = holdsFiles(from); err != nil {
			return 0, err
		}
	}
	rate := float64(files) / time.Since(began).Seconds()
	cancel()
	err = errors.Join(<-ended, <-ended)
	stored, _ := filepath.Glob(filepath.Join(to, "0*")) // the pattern is good
	if len(stored) != files {
		err = errors.Join(err, fmt.Errorf("of %d files %d were stored", files, len(stored)))
	}
	return rate, errors.Join(err, os.RemoveAll(from), os.RemoveAll(to))
}

// freePort returns a port of loopback that is free now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// holdsFiles says whether files that makeFiles made are left in a folder.
func holdsFiles(dir string) (bool, error) {
	folder, err := os.Open(dir)
	if err != nil {
		return false, err
	}
	defer func() { _ = folder.Close() }() // it was only read
	for {
		names, err := folder.Readdirnames(64)
		if slices.ContainsFunc(names, func(name string) bool { return strings.HasPrefix(name, "0") }) {
			return true, nil
		}
		if errors.Is(err, io.EOF) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
	}
}
