package node

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/members"
)

// beginner is a node that has not done anything yet, with a folder of its own.
func beginner(t *testing.T, change func(*config.Settings)) *node {
	t.Helper()
	s, err := config.Load(config.Sources{Flags: []config.Flag{
		{Name: "--data", Key: "data", Value: t.TempDir()},
		{Name: "--listen", Key: "listen", Value: "127.0.0.1:0"},
		{Name: "--admin", Key: "admin", Value: "127.0.0.1:0"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	change(&s)
	n := &node{
		opts: Options{Settings: s, Version: "v1", Out: io.Discard, Log: slog.New(slog.DiscardHandler)},
		log:  slog.New(slog.DiscardHandler), since: time.Now(), metrics: prometheus.NewRegistry(), process: prometheus.NewRegistry(),
	}
	n.settings.Store(&n.opts.Settings)
	if err := n.identify(); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestANodeWithoutAPortForClientsHasNoAddressFromItsFirstRowOn(t *testing.T) {
	for roles, want := range map[string]string{"processor": "", "connector processor": "127.0.0.1:"} {
		n := beginner(t, func(s *config.Settings) { s.Roles = strings.Fields(roles) })
		if err := n.openDoors(); err != nil {
			t.Fatal(err)
		}
		if err := n.buildMembers(nil); err != nil {
			t.Fatal(err)
		}
		for _, m := range []members.Member{n.members.List()[0], n.self()} {
			if !strings.HasPrefix(m.Address, want) || want == "" && m.Address != "" || strings.HasSuffix(m.Address, ":0") {
				t.Errorf("%s: its address is %q", roles, m.Address)
			}
		}
		if err := n.doors.close(); err != nil {
			t.Error(err)
		}
	}
}

func TestATakenPortIsFoundBeforeTheStoreIsOpened(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	for _, setting := range []string{"listen", "admin"} {
		n := beginner(t, func(s *config.Settings) {
			if setting == "listen" {
				s.Listen = taken.Addr().String()
			} else {
				s.Admin = taken.Addr().String()
			}
		})
		err := n.run(t.Context())
		if err == nil || !strings.Contains(err.Error(), "give --"+setting+" another address") {
			t.Errorf("%s: %v", setting, err)
		}
		if _, err := os.Stat(filepath.Join(n.opts.Settings.Data, aloneFolder)); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: the store was opened: %v", setting, err)
		}
	}
}

// slowLog is a log whose replay the test follows.
type slowLog struct {
	mailbox.Log
	at func(seq uint64)
}

func (l slowLog) Replay(_ context.Context, first, last uint64, f func(uint64, []byte) error) error {
	for seq := first; seq <= last; seq++ {
		if err := f(seq, nil); err != nil {
			return err
		}
		l.at(seq)
	}
	return nil
}

func TestWhileTheLogIsReadTheNodeLivesAndSaysHowFarItIs(t *testing.T) {
	n := beginner(t, func(*config.Settings) {})
	if err := n.openDoors(); err != nil {
		t.Fatal(err)
	}
	ask := func(path string) (int, string) {
		res, err := http.Get("http://" + n.doors.public.addr() + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, string(b)
	}
	log := counted{slowLog{at: func(seq uint64) {
		if seq != 5001 {
			return
		}
		if status, _ := ask("/healthz"); status != 200 {
			t.Errorf("/healthz is %d", status)
		}
		if status, body := ask("/readyz"); status != 503 || !strings.Contains(body, "the node is starting: reading the message log: 4864 of 9902 batches") {
			t.Errorf("/readyz is %d %s", status, body)
		}
		if m := (beginning{n}).List()[0]; m.Status != members.Joining || !strings.Contains(m.Reason, "4864 of 9902") {
			t.Errorf("it is shown as %+v", m)
		}
	}}, &n.stage}
	if err := log.Replay(t.Context(), 99, 10_000, func(uint64, []byte) error { return nil }); err != nil {
		t.Error(err)
	}
	http.DefaultClient.CloseIdleConnections()
	if err := n.doors.close(); err != nil {
		t.Error(err)
	}
}

func TestANodeThatIsStoppedBeforeItIsReadyStopsInGoodOrder(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	o := beginner(t, func(*config.Settings) {}).opts
	var log strings.Builder
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	// The first line is printed when the doors are open, and nothing else is yet.
	o.Out = writer(func([]byte) { stop() })
	if err := Run(ctx, o); err != nil || !strings.Contains(log.String(), "stopped before it was ready") {
		t.Errorf("%v\n%s", err, log.String())
	}
}

// writer is told what is written.
type writer func(b []byte)

func (w writer) Write(b []byte) (int, error) {
	w(b)
	return len(b), nil
}
