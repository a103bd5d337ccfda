package relay

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"sync"
	"testing"
)

// freePorts returns ports that nobody listens at now.
func freePorts(t *testing.T, n int) (ports []int) {
	t.Helper()
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = l.Close() }() // nobody came; none is given out twice
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports
}

// doorPlan is where the doors of a program are to be; the host is 127.0.0.1.
type doorPlan struct{ main, admin int }

// plans are settings of which each second reading, after the first, fails: a reload
// that fails so tells that the one before it is done, and does nothing itself.
type plans struct {
	mu    sync.Mutex
	next  doorPlan
	reads int
}

func (p *plans) set(next doorPlan) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.next = next
}

func (p *plans) read() (doorPlan, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.reads++; p.reads > 1 && p.reads%2 == 1 {
		return doorPlan{}, errors.New("only to be waited for")
	}
	return p.next, nil
}

func hostPort(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }

// runners run each program that has two doors.
func runners(t *testing.T, p *plans, log *slog.Logger) map[string]func(context.Context, io.Writer, <-chan struct{}) error {
	spool, data, made := t.TempDir(), t.TempDir(), t.TempDir()
	return map[string]func(context.Context, io.Writer, <-chan struct{}) error{
		"collector": func(ctx context.Context, out io.Writer, reload <-chan struct{}) error {
			return RunCollector(ctx, CollectorOptions{Out: out, Reload: reload, Log: log, Load: func() (CollectorSettings, error) {
				at, err := p.read()
				s := DefaultCollector()
				s.Spool, s.Address, s.Port, s.Admin, s.Limits.FreeBytes = spool, "127.0.0.1", at.main, hostPort(at.admin), 0
				return s, err
			}})
		},
		"network": func(ctx context.Context, out io.Writer, reload <-chan struct{}) error {
			return RunNetwork(ctx, NetworkOptions{Out: out, Reload: reload, Log: log, Load: func() (NetworkSettings, error) {
				at, err := p.read()
				s := DefaultNetwork()
				s.Data, s.Port, s.Admin = data, at.main, hostPort(at.admin)
				return s, err
			}})
		},
		"maker": func(ctx context.Context, out io.Writer, reload <-chan struct{}) error {
			return RunMaker(ctx, MakerOptions{Out: out, Reload: reload, Log: log, Load: func() (MakerSettings, error) {
				at, err := p.read()
				s := DefaultMaker()
				s.Spool, s.Listen, s.Admin = made, hostPort(at.main), hostPort(at.admin)
				return s, err
			}})
		},
	}
}

func TestEitherAllDoorsMoveOrNone(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = taken.Close() }() // nobody came
	other := taken.Addr().(*net.TCPAddr).Port
	for _, name := range []string{"collector", "network", "maker"} {
		t.Run(name, func(t *testing.T) {
			ports := freePorts(t, 4)
			before, after := doorPlan{ports[0], ports[1]}, doorPlan{ports[2], ports[3]}
			settings := &plans{next: before}
			log := &heard{}
			p := startProgram(t, runners(t, settings, log.log())[name]).wait()
			reload := func(next doorPlan) {
				settings.set(next)
				p.reload <- struct{}{}
				p.reload <- struct{}{} // the first is done when the second is taken
			}
			want := func(when string, there, gone doorPlan) {
				t.Helper()
				get(t, request(t, http.MethodGet, "http://"+hostPort(there.main)+"/health")) // whatever it says
				if status, _ := get(t, request(t, http.MethodGet, "http://"+hostPort(there.admin)+"/healthz")); status != http.StatusOK {
					t.Errorf("%s: the admin door answers %d", when, status)
				}
				for _, port := range []int{gone.main, gone.admin} {
					if conn, err := net.Dial("tcp", hostPort(port)); err == nil {
						_ = conn.Close() // it was not used
						t.Errorf("%s: somebody listens at port %d", when, port)
					}
				}
			}
			reload(doorPlan{after.main, other})
			want("with an admin address that is taken", before, after)
			reload(doorPlan{other, after.admin})
			want("with a main address that is taken", before, after)
			reload(after)
			want("with two that are free", after, before)
			if got := log.lines("settings were read again", "listen=http://"+hostPort(after.main), "admin=http://"+hostPort(after.admin)); len(got) != 1 {
				t.Errorf("where they are now is told %q", got)
			}
		})
	}
}

func TestAnUploaderSaysWhereItsDoorMovedTo(t *testing.T) {
	log, port := &heard{}, freePorts(t, 1)[0]
	u := newUpload(t, standardUpload(t.TempDir(), Clusters{}))
	u.log = log.log()
	u.start(quickUpload).change(func(s *UploaderSettings) { s.Admin = hostPort(port) })
	eventually(t, "it is told", func() bool {
		return len(log.lines("settings were read again", "admin=http://"+hostPort(port))) == 1
	})
}
