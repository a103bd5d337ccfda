package load

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// Redis is a redis-server of one's own, which keeps nothing: what positions are compared
// with. Its methods are for one goroutine.
type Redis struct {
	cmd    *exec.Cmd
	folder string
	conn   net.Conn
	in     *bufio.Reader
	out    *bufio.Writer
}

// StartRedis starts redis-server, from the PATH, at a socket in a folder of its own. It
// is killed when ctx ends, and by Close.
func StartRedis(ctx context.Context) (r *Redis, err error) {
	r = new(Redis)
	if r.folder, err = os.MkdirTemp("", "redis-"); err != nil {
		return nil, fmt.Errorf("make a folder for redis-server: %w", err)
	}
	socket := filepath.Join(r.folder, "s")
	r.cmd = exec.CommandContext(ctx, "redis-server", "--port", "0", "--unixsocket", socket, "--save", "", "--appendonly", "no", "--dir", r.folder, "--daemonize", "no")
	if err := r.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("start redis-server: %w", err), os.RemoveAll(r.folder))
	}
	for until := time.Now().Add(10 * time.Second); ; {
		if r.conn, err = net.Dial("unix", socket); err == nil {
			break
		}
		if time.Now().After(until) || ctx.Err() != nil {
			return nil, errors.Join(fmt.Errorf("connect to redis-server: %w", err), r.Close())
		}
		time.Sleep(10 * time.Millisecond)
	}
	r.in, r.out = bufio.NewReaderSize(r.conn, 1<<16), bufio.NewWriterSize(r.conn, 1<<16)
	return r, nil
}

// Close ends it.
func (r *Redis) Close() error {
	if r.conn != nil {
		_ = r.conn.Close() // which nothing depends on
	}
	_ = r.cmd.Process.Kill()
	_ = r.cmd.Wait() // it was killed
	return os.RemoveAll(r.folder)
}

// CPU returns the CPU time that it has used.
func (r *Redis) CPU() (time.Duration, error) {
	cpu, _, err := usage(r.cmd.Process.Pid)
	return cpu, err
}

// Pipe sends commands at once, and calls each with the reply to each: a string, an
// int64, a list of replies, or nil.
func (r *Redis) Pipe(commands [][]string, each func(i int, reply any)) error {
	for _, c := range commands {
		fmt.Fprintf(r.out, "*%d\r\n", len(c))
		for _, word := range c {
			fmt.Fprintf(r.out, "$%d\r\n%s\r\n", len(word), word)
		}
	}
	if err := r.out.Flush(); err != nil {
		return fmt.Errorf("ask redis-server: %w", err)
	}
	for i := range commands {
		reply, err := r.reply()
		if err != nil {
			return fmt.Errorf("hear redis-server: %w", err)
		}
		if each != nil {
			each(i, reply)
		}
	}
	return nil
}

func (r *Redis) reply() (any, error) {
	line, err := r.in.ReadString('\n')
	if err != nil {
		return nil, err
	}
	if len(line) < 3 {
		return nil, errors.New("a reply has no kind")
	}
	kind, text := line[0], line[1:len(line)-2]
	if kind == '+' {
		return text, nil
	}
	if kind == '-' {
		return nil, errors.New(text)
	}
	n, err := strconv.ParseInt(text, 10, 64)
	switch {
	case err != nil:
		return nil, err
	case kind == ':':
		return n, nil
	case n < 0:
		return nil, nil
	case kind == '$':
		b := make([]byte, n+2)
		_, err := io.ReadFull(r.in, b)
		return string(b[:n]), err
	}
	list := make([]any, n)
	for i := range list {
		if list[i], err = r.reply(); err != nil {
			return nil, err
		}
	}
	return list, nil
}
