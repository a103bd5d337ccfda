package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-3d8c1042/switchboard/internal/registry"
)

const (
	// dialPause is the time between two attempts to connect to a service that begins.
	dialPause = 100 * time.Millisecond
	// dialNotice is after which time it is said that it still does not take connections.
	dialNotice = 10 * time.Second
	// registerPause is the time between two attempts to reach a node that is away.
	registerPause = time.Second
	// leaveTime bounds how long a signal to stop waits until the instance has left.
	leaveTime = 2 * time.Second
	// mostSaid is how many different failures in a row are told.
	mostSaid = 16
	// registerTime bounds one registration.
	registerTime = 10 * time.Second
)

// registerCommand registers an instance of a service for as long as a command runs.
type registerCommand struct {
	Name     string            `required:"" placeholder:"SERVICE" help:"The service."`
	URL      string            `required:"" placeholder:"URL" help:"Where the instance is, such as http://10.0.0.7:8080. It is registered as soon as connections are taken there."`
	Instance string            `placeholder:"NAME" help:"The name of the instance (default: the name of this machine, and the port)."`
	Weight   int               `default:"1" help:"How much of the load it takes beside others, 1 to 100."`
	Meta     map[string]string `mapsep:"none" placeholder:"KEY=VALUE" help:"What else is to be known of it, such as health=/healthz. May be repeated."`
	TTL      time.Duration     `name:"ttl" default:"30s" help:"How long after the last renewal it is gone, should this command be killed. It is renewed every third of that."`
	Server   []string          `placeholder:"URL" help:"The node, such as https://chat.example; takes a key. May be repeated: while one does not answer it is another's turn. Else one that runs on this machine."`
	KeyFile  string            `placeholder:"FILE" help:"The file of an API key for --server, with the scope services:write:SERVICE. Else the variable SWITCHBOARD_KEY has it."`
	Data     string            `placeholder:"FOLDER" help:"The data folder of a node that runs on this machine (default: as serve has it, ./data)."`
	Config   string            `placeholder:"FILE" help:"The settings file that names the data folder. Else the variable SWITCHBOARD_CONFIG names it."`
	Command  []string          `arg:"" help:"The command, behind --."`
}

// commandEnded says with which code the command of register has ended, which is this
// process's, too.
type commandEnded struct{ code int }

// Error says so.
func (e commandEnded) Error() string {
	return fmt.Sprintf("the command ended with exit code %d", e.code)
}

// is returns the instance as it is to be registered.
func (c registerCommand) is() registry.Instance {
	i := registry.Instance{Service: c.Name, Name: c.Instance, URL: c.URL, Weight: c.Weight, Meta: c.Meta, TTL: c.TTL}
	if i.Name == "" {
		if u, err := url.Parse(c.URL); err == nil {
			host, _ := os.Hostname() // without one the name is refused below, or is the port
			i.Name = strings.Trim(host+"-"+portOf(u), "-")
		}
	}
	return i
}

func portOf(u *url.URL) string {
	switch port := u.Port(); {
	case port != "":
		return port
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// Validate checks the flags; what it says is a matter of usage.
func (c registerCommand) Validate() error {
	if wrong := c.is().Check(); len(wrong) > 0 {
		option := "--" + wrong[0].Field
		if option == "--service" {
			option = "--name"
		}
		return fmt.Errorf("%s %s", option, wrong[0].Reason)
	}
	if len(c.Server) == 0 && c.KeyFile != "" {
		return errors.New("--key-file goes with --server: the node on a data folder of this machine needs none")
	}
	for _, server := range c.Server {
		if err := (nodeFlags{URL: server, Data: c.Data, Config: c.Config}).Validate(); err != nil || server == "" {
			return errors.New(strings.ReplaceAll(cmp.Or(err, errors.New("--url is empty: give an address such as http://127.0.0.1:8088")).Error(), "--url", "--server"))
		}
	}
	return nil
}

// Run implements the command.
func (c registerCommand) Run(p *program) error {
	r, err := c.registrar(p)
	if err != nil {
		return fmt.Errorf("register: %w", err)
	}
	signals := make(chan os.Signal, 8)
	defer p.listen(signals, allSignals...)()
	cmd := exec.Command(c.Command[0], c.Command[1:]...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, p.out, p.err
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("register: start the command: %w", err)
	}
	ended := make(chan struct{})
	go func() { // until the command ends, which Run waits for
		defer close(ended)
		_ = cmd.Wait() // how is read from its state
	}()
	r.begin()
	for {
		select {
		case <-ended:
			r.leave()
			return ending(cmd.ProcessState)
		case sig := <-signals:
			if sig != syscall.SIGHUP {
				r.leave() // first, so that nobody is sent there while it stops
			}
			if sig == syscall.SIGINT && atTerminal() {
				continue // the terminal has sent it to the command, too
			}
			_ = cmd.Process.Signal(sig) // that fails only if it has ended
		}
	}
}

// atTerminal says whether this process is in the foreground of a terminal, which sends
// what is typed there to the command as well.
func atTerminal() bool {
	group, err := unix.IoctlGetInt(int(os.Stdin.Fd()), unix.TIOCGPGRP)
	return err == nil && group == unix.Getpgrp()
}

// ending returns the end of a command as that of this process; nil for a good one.
func ending(s *os.ProcessState) error {
	code := s.ExitCode()
	if status, ok := s.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		code = 128 + int(status.Signal()) // as shells have it
	}
	if code == 0 {
		return nil
	}
	return commandEnded{code}
}

// registrar keeps an instance registered.
type registrar struct {
	is      registry.Instance
	node    *nodeClient // whose turn it is
	servers []string    // more than one: all of them, in turn
	keyFile string      // read each time; empty: there is none
	say     func(format string, args ...any)

	stop  context.CancelFunc
	done  chan struct{}
	tried bool            // something may be registered; run's until done
	been  bool            // something was; likewise
	fails map[string]bool // what was said of nodes that do not do it; likewise
}

// registrar returns what keeps the instance registered.
func (c registerCommand) registrar(p *program) (*registrar, error) {
	r := &registrar{is: c.is(), keyFile: c.KeyFile, fails: map[string]bool{}, say: func(format string, args ...any) {
		fmt.Fprintf(p.err, "switchboard: register: "+format+"\n", args...) // there is nobody else to tell
	}}
	if len(c.Server) == 0 {
		var err error
		r.node, err = nodeFlags{Data: c.Data, Config: c.Config}.node(p)
		if err == nil {
			r.node.option = "--server"
		}
		return r, err
	}
	r.node, r.servers = &nodeClient{option: "--server", http: &http.Client{}}, c.Server
	r.turn()
	if r.keyFile == "" {
		for _, v := range p.environ {
			if value, ok := strings.CutPrefix(v, keyVariable+"="); ok {
				r.node.key = value
			}
		}
		if r.node.key == "" {
			return nil, usageError{errors.New("--server needs an API key with the scope services:write:" + c.Name + ": name its file with --key-file, or put it into the variable " + keyVariable)}
		}
	}
	return r, r.readKey()
}

// turn makes it the next node's turn, where there is another.
func (r *registrar) turn() {
	if len(r.servers) > 0 {
		r.node.base = strings.TrimSuffix(r.servers[0], "/")
		r.servers = append(r.servers[1:], r.servers[0])
	}
}

// readKey reads the key from its file.
func (r *registrar) readKey() error {
	if r.keyFile == "" {
		return nil
	}
	text, err := os.ReadFile(r.keyFile)
	if err != nil {
		return fmt.Errorf("read the API key: %w", err)
	}
	r.node.key = strings.TrimSpace(string(text))
	return nil
}

// begin begins; leave is to be called in the end.
func (r *registrar) begin() {
	ctx, stop := context.WithCancel(context.Background())
	r.stop, r.done = stop, make(chan struct{})
	go func() { // leave waits for it
		defer close(r.done)
		r.run(ctx)
	}()
}

// leave ends the registration. Only the first call does something.
func (r *registrar) leave() {
	r.stop()
	<-r.done
	if !r.tried {
		return
	}
	r.tried = false
	var err error
	var refused *problemError
	tries := max(1, len(r.servers))
	for range tries {
		if err = r.remove(leaveTime / time.Duration(tries)); err == nil || errors.As(err, &refused) {
			break
		}
		r.turn()
	}
	if err != nil && r.been && !(errors.As(err, &refused) && refused.Code == "NOT_FOUND") {
		r.say("%s of %s could not take its leave, and is gone in %s: %s", r.is.Name, r.is.Service, r.is.TTL, err)
	}
}

// remove removes the instance, within a time.
func (r *registrar) remove(within time.Duration) error {
	ctx, cancel := context.WithTimeout(context.Background(), within)
	defer cancel()
	_, err := r.node.call(ctx, "DELETE", r.path(), nil, nil)
	return err
}

func (r *registrar) path() string {
	return "/v1/services/" + url.PathEscape(r.is.Service) + "/" + url.PathEscape(r.is.Name)
}

// run registers the instance when it takes connections, and renews it, until ctx ends.
func (r *registrar) run(ctx context.Context) {
	if !r.awaitOpen(ctx) {
		return
	}
	for ctx.Err() == nil {
		pause := r.is.TTL / 3
		if err := r.renew(ctx); err != nil && ctx.Err() == nil {
			if said := err.Error(); !r.fails[said] && len(r.fails) < mostSaid {
				r.fails[said] = true
				r.say("%s of %s is not registered, and will be tried again: %s", r.is.Name, r.is.Service, said)
			}
			again := registerPause // it is away, and may be back at any moment
			if errors.As(err, new(*problemError)) {
				again *= 5
			}
			pause = min(pause, again)
			r.turn()
		} else if err == nil && len(r.fails) > 0 {
			clear(r.fails)
			r.say("%s of %s is registered again", r.is.Name, r.is.Service)
		}
		wait(ctx, pause)
	}
}

// renew registers the instance once.
func (r *registrar) renew(ctx context.Context) error {
	if err := r.readKey(); err != nil {
		return err
	}
	// What is under way when ctx ends is waited for, for a while: cut off here, it might be
	// carried out after the instance has left.
	most := registerTime
	if len(r.servers) > 1 { // one that is frozen leaves time for another
		most = min(most, max(r.is.TTL/3, time.Second))
	}
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), most)
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(leaveTime, cancel) })()
	r.tried = true
	body := map[string]any{"url": r.is.URL, "weight": r.is.Weight, "ttl": int(r.is.TTL.Seconds())}
	if len(r.is.Meta) > 0 {
		body["meta"] = r.is.Meta
	}
	_, err := r.node.call(call, "PUT", r.path(), body, nil)
	r.been = r.been || err == nil
	return err
}

// awaitOpen waits until the instance takes connections; false: ctx has ended before.
func (r *registrar) awaitOpen(ctx context.Context) bool {
	u, err := url.Parse(r.is.URL)
	if err != nil {
		return false // it was checked
	}
	at, began, told := net.JoinHostPort(u.Hostname(), portOf(u)), time.Now(), false
	dialer := net.Dialer{Timeout: registerPause}
	for ctx.Err() == nil {
		conn, err := dialer.DialContext(ctx, "tcp", at)
		if err == nil {
			_ = conn.Close() // nothing was sent
			return true
		}
		if !told && ctx.Err() == nil && time.Since(began) >= dialNotice {
			told = true
			r.say("%s of %s is not registered yet: %s", r.is.Name, r.is.Service, err)
		}
		wait(ctx, dialPause)
	}
	return false
}

// wait waits for a time, or until ctx ends.
func wait(ctx context.Context, long time.Duration) {
	t := time.NewTimer(long)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
}
