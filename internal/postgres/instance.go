package postgres

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // to ask the server whether it is there
)

// patience is how long the server may take to start or end.
const patience = time.Minute

// nobody is the user, and the group, that a server of a test that runs as root has.
const nobody = 65534

// instance is a server without a test.
type instance struct {
	folder  string
	port    string
	options []string
	made    atomic.Int64 // databases

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// newInstance makes a folder and starts a server in it.
func newInstance(settings []string) (*instance, error) {
	folder, err := os.MkdirTemp("", "pg") // short, as a socket's path must be
	if err != nil {
		return nil, err
	}
	i := &instance{folder: folder}
	if err := i.prepare(settings); err != nil {
		return nil, errors.Join(err, i.remove())
	}
	if err := i.start(); err != nil {
		return nil, errors.Join(err, i.remove())
	}
	return i, nil
}

func (i *instance) prepare(settings []string) (err error) {
	if i.port, err = freePort(); err != nil {
		return err
	}
	if os.Geteuid() == 0 {
		if err := os.Chown(i.folder, nobody, nobody); err != nil {
			return err
		}
	}
	init, err := i.command("initdb", "-D", i.data(), "--no-sync", "--no-instructions", "-A", "trust", "-U", "test", "-E", "UTF8", "--locale=C.UTF-8", "--wal-segsize=1")
	if err != nil {
		return err
	}
	if out, err := init.CombinedOutput(); err != nil {
		return fmt.Errorf("initdb: %w\n%s", err, out)
	}
	i.options = []string{"-D", i.data(), "-p", i.port, "-h", "127.0.0.1", "-k", i.folder}
	for _, one := range slices.Concat([]string{"fsync=off", "max_wal_size=256MB", "autovacuum_naptime=10s"}, settings) {
		i.options = append(i.options, "-c", one)
	}
	return nil
}

// remove ends the server and removes its folder.
func (i *instance) remove() error {
	return errors.Join(i.end(syscall.SIGQUIT), os.RemoveAll(i.folder))
}

// data is where the server keeps everything.
func (i *instance) data() string { return filepath.Join(i.folder, "data") }

// URL is that of a database, which exists: postgres, or one that Database made.
func (i *instance) URL(database string) string {
	return "postgres://test@127.0.0.1:" + i.port + "/" + database + "?sslmode=disable"
}

// Socket is the same over the Unix socket.
func (i *instance) Socket(database string) string {
	return "postgres://test@/" + database + "?sslmode=disable&host=" + i.folder + "&port=" + i.port
}

// database makes an empty database and returns its URL.
func (i *instance) database() (string, error) {
	name := fmt.Sprint("test", i.made.Add(1))
	return i.URL(name), i.ask("postgres", "CREATE DATABASE "+name)
}

// ask has the server carry a statement out.
func (i *instance) ask(database, statement string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	db, err := sql.Open("pgx", i.Socket(database))
	if err != nil {
		return err
	}
	_, err = db.ExecContext(ctx, statement)
	if err = errors.Join(err, db.Close()); err != nil {
		return fmt.Errorf("ask PostgreSQL: %s: %w", statement, err)
	}
	return nil
}

// start starts the server and waits until it answers.
func (i *instance) start() error {
	out, err := os.OpenFile(i.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	defer out.Close()
	cmd, err := i.command("postgres", i.options...)
	if err != nil {
		return err
	}
	cmd.Stdout, cmd.Stderr = out, out
	endsWithUs(cmd.SysProcAttr)
	if err := cmd.Start(); err != nil {
		return err
	}
	done := make(chan struct{})
	i.cmd, i.done = cmd, done
	go func() {
		defer close(done)
		_ = cmd.Wait() // it says that it was ended
	}()
	return i.answers()
}

// answers waits until the server answers.
func (i *instance) answers() error {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(patience); ; <-tick.C {
		err := i.ask("postgres", "SELECT 1")
		if err == nil {
			return nil
		}
		select {
		case <-i.done:
			return fmt.Errorf("PostgreSQL ended:\n%s", i.said())
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("PostgreSQL does not answer: %w\n%s", err, i.said())
		}
	}
}

// end ends the server with a signal, if it runs.
func (i *instance) end(sig syscall.Signal) error {
	if i.done == nil {
		return nil
	}
	if err := i.cmd.Process.Signal(sig); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal %v to PostgreSQL: %w", sig, err)
	}
	select {
	case <-i.done:
		return nil
	case <-time.After(patience):
	}
	err := fmt.Errorf("PostgreSQL did not end in %s:\n%s", patience, i.said())
	err = errors.Join(err, i.cmd.Process.Kill())
	<-i.done
	return err
}

func (i *instance) log() string { return filepath.Join(i.folder, "log") }

// said is what the server printed.
func (i *instance) said() string {
	text, err := os.ReadFile(i.log())
	if err != nil {
		return err.Error()
	}
	return string(text)
}

// command is one of PostgreSQL's programs, as a user that is not root.
func (i *instance) command(program string, args ...string) (*exec.Cmd, error) {
	path, err := find(program)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = i.folder
	cmd.Env = slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PG") })
	cmd.SysProcAttr = &syscall.SysProcAttr{}
	if os.Geteuid() == 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: nobody, Gid: nobody}
	}
	return cmd, nil
}

// find finds a program: Debian keeps those of a server out of PATH. Of several
// versions it is the newest.
func find(program string) (string, error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/" + program)
	if err == nil && len(found) > 0 {
		slices.SortFunc(found, func(a, b string) int {
			if len(a) != len(b) {
				return len(a) - len(b) // 9 before 15
			}
			return strings.Compare(a, b)
		})
		return found[len(found)-1], nil
	}
	path, err := exec.LookPath(program)
	if err != nil {
		return "", fmt.Errorf("%s is needed, of Debian's package postgresql: %w", program, err)
	}
	return path, nil
}

// freePort returns a port of loopback at which nobody listens: none of those that
// the system gives away, so nobody gets it by chance before it is used.
func freePort() (string, error) {
	for range 1000 {
		port := fmt.Sprint(10_000 + rand.IntN(10_000))
		l, err := net.Listen("tcp", "127.0.0.1:"+port)
		if err == nil {
			return port, l.Close()
		}
	}
	return "", errors.New("no port is free")
}
