package relay

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// Bounds of finding a port.
const (
	mostTaken = 100             // ports that others have
	leaveTime = 3 * time.Second // for the call that leaves
)

// membership is a collector's place in a cluster.
type membership struct {
	log     *slog.Logger
	creds   *credentials
	client  *http.Client
	server  string // as it was set
	base    string
	cluster string
	address string
	id      string
	port    int
	every   time.Duration
	after   func(time.Duration) <-chan time.Time

	failure atomic.Pointer[string] // of the last heartbeat; nil for none
}

// membership makes the membership that settings ask for; nil for none.
func (c *collector) membership(s CollectorSettings, creds *credentials) (*membership, error) {
	if s.Network.Server == "" {
		return nil, nil
	}
	base, err := creds.base(s.Network.Server)
	if err != nil {
		return nil, fmt.Errorf("network.server: %w", err)
	}
	m := &membership{
		log: c.log, creds: creds, client: creds.caller(2), server: s.Network.Server, base: base,
		cluster: s.Network.Cluster, address: s.Address, id: s.ID, every: s.Network.Heartbeat, after: c.o.after,
	}
	if m.id == "" {
		m.id = c.store.ID()
	}
	if m.every <= 0 {
		m.every = DefaultHeartbeat
	}
	return m, nil
}

// register joins, or says that the collector is still there. port 0 asks for one; taken
// is one that it cannot have.
func (m *membership) register(ctx context.Context, port, taken int) (Registered, error) {
	q := url.Values{"cluster": {m.cluster}, "address": {m.address}, "id": {m.id}, "port": {undefined}}
	if port != 0 {
		q.Set("port", strconv.Itoa(port))
	}
	if taken != 0 {
		q.Set("taken", strconv.Itoa(taken))
	}
	var r Registered
	body, err := m.creds.call(ctx, m.client, http.MethodGet, m.base+pathRegister+"?"+q.Encode(), nil)
	if err != nil {
		return r, err
	}
	if err := json.Unmarshal(body, &r); err != nil {
		return r, fmt.Errorf("the answer cannot be read: %w", err)
	}
	return r, nil
}

// findPort listens at a port that the network server gives out. While the server does
// not answer, the port of the last time is taken, by which uploaders know the
// collector; if there is none, or it is in use, it waits for an answer.
func (m *membership) findPort(ctx context.Context, c *collector, listen func(port int) (*doorMove, error)) (*doorMove, error) {
	d, err := m.givenPort(ctx, c, listen)
	if err == nil {
		m.keepPort(c, d.door.address().Port)
	}
	return d, err
}

func (m *membership) givenPort(ctx context.Context, c *collector, listen func(port int) (*doorMove, error)) (*doorMove, error) {
	if _, err := m.register(ctx, 0, 0); err != nil && c.door == nil {
		if port := m.lastPort(c); port != 0 {
			d, bad := listen(port)
			if bad == nil {
				m.failed(err)
				return d, nil
			}
		}
	}
	taken := 0
	for range mostTaken {
		port, err := m.askPort(ctx, c, taken)
		if err != nil {
			return nil, err
		}
		d, err := listen(port)
		if !errors.Is(err, syscall.EADDRINUSE) {
			return d, err
		}
		if port == taken {
			return nil, fmt.Errorf("the network server %s gives out the port %d, which is in use here: set one by the setting port", m.server, port)
		}
		c.log.Info("the port that was given out is in use here; another one is asked for", "port", port)
		taken = port
	}
	return nil, fmt.Errorf("%d ports that the network server %s gave out are in use here: set one by the setting port", mostTaken, m.server)
}

// portName is the file that holds the port that was given out last.
const portName = "port"

// lastPort returns the port that was given out last, by the same server for the same
// cluster; 0 for none.
func (m *membership) lastPort(c *collector) int {
	b, err := os.ReadFile(filepath.Join(c.store.State(), portName))
	if err != nil {
		return 0 // as at the first start
	}
	text, same := strings.CutPrefix(string(b), m.base+" "+m.cluster+" ")
	port, err := strconv.ParseUint(strings.TrimSpace(text), 10, 16)
	if !same || err != nil {
		return 0
	}
	return int(port)
}

func (m *membership) keepPort(c *collector, port int) {
	text := fmt.Sprintf("%s %s %d\n", m.base, m.cluster, port)
	if err := lifecycle.ReplaceFile(filepath.Join(c.store.State(), portName), []byte(text)); err != nil {
		m.log.Debug("the port that was given out is not remembered", "err", err)
	}
}

// errReloaded ends waiting for a network server: there are new settings.
var errReloaded = errors.New("the settings were read again")

// askPort asks for a port until there is an answer.
func (m *membership) askPort(ctx context.Context, c *collector, taken int) (int, error) {
	for {
		r, err := m.register(ctx, 0, taken)
		if err == nil && r.Port == 0 {
			err = errors.New("the answer names no port")
		}
		if err == nil {
			return int(r.Port), nil
		}
		if ctx.Err() != nil {
			return 0, ctx.Err()
		}
		if c.door != nil { // it serves as it did
			return 0, fmt.Errorf("the network server %s gives out no port: %w", m.server, err)
		}
		m.failed(err)
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-c.o.Reload:
			return 0, errReloaded
		case <-m.after(m.every):
		}
	}
}

// failed notes that a call failed.
func (m *membership) failed(err error) {
	why := err.Error()
	if m.failure.Swap(&why) == nil {
		m.log.Warn("the network server cannot be told that this collector is there; it is tried again", "server", m.server, "cluster", m.cluster, "id", m.id, "err", err)
	}
}

// trouble says why uploaders may not know of the collector.
func (m *membership) trouble() error {
	if why := m.failure.Load(); why != nil {
		return fmt.Errorf("the network server %s: %s", m.server, *why)
	}
	return nil
}

// beat registers at once, and again and again until ctx ends. A call that is on its way
// then ends with its answer, or with calls.
func (m *membership) beat(ctx, calls context.Context) {
	first := true
	for {
		r, err := m.register(calls, m.port, 0)
		switch {
		case calls.Err() != nil:
			return
		case err != nil:
			m.failed(err)
		default:
			if m.failure.Swap(nil) != nil || first {
				m.log.Info("this collector is in its cluster", "cluster", m.cluster, "id", m.id, "address", m.address, "port", m.port)
			}
			if first = false; r.ID != "" && r.ID != m.id {
				m.log.Debug("the network server knows this collector by another ID", "id", m.id, "as", r.ID)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-m.after(m.every):
		}
	}
}

// leave takes the collector out of its cluster.
func (m *membership) leave() {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	if _, err := m.creds.call(ctx, m.client, http.MethodGet, m.base+pathRemove+"?"+url.Values{"id": {m.id}}.Encode(), nil); err != nil {
		m.log.Warn("the network server cannot be told that this collector leaves: it will be missed", "server", m.server, "err", err)
	}
	m.client.CloseIdleConnections()
}

// join has a membership take the place of the last one. Its calls go on after ctx
// ended, until the collector is silent.
func (c *collector) join(ctx context.Context, m *membership, s CollectorSettings) {
	old := c.member.Swap(m)
	if old != nil && (m == nil || old.base != m.base || old.id != m.id || old.cluster != m.cluster) {
		c.silent(leaveTime)
		old.leave()
	} else if old != nil {
		c.silent(0)
		old.client.CloseIdleConnections()
	}
	if m == nil {
		c.silent = func(time.Duration) {}
		return
	}
	beating, stop := context.WithCancel(context.WithoutCancel(ctx))
	calls, drop := context.WithCancel(context.WithoutCancel(ctx))
	var running sync.WaitGroup
	r := &reporter{log: c.log, creds: m.creds, client: m.client, base: m.base, every: m.every, report: c.report, process: c.process, after: c.o.after}
	running.Go(func() { m.beat(beating, calls) })
	running.Go(func() { r.run(beating) })
	// Who leaves is patient with a call that is on its way: dropped, it could still be
	// carried out, after the one that leaves.
	c.silent = func(patience time.Duration) {
		stop()
		late := time.AfterFunc(patience, drop)
		running.Wait()
		late.Stop()
		drop()
	}
}

// report says how the collector is doing.
func (c *collector) report() Report {
	s := c.settings.Load()
	st := c.store.Stats()
	r := Report{
		Program: programCollector, ID: s.ID, Cluster: s.Network.Cluster, Host: hostName(), Spool: s.Spool, Version: c.o.Version,
		Every:   s.Network.Heartbeat.Milliseconds(),
		Waiting: Waiting{Files: int64(st.Files), Bytes: st.Bytes},
		Targets: []Target{},
	}
	if r.ID == "" {
		r.ID = c.store.ID()
	}
	if !st.Oldest.IsZero() {
		r.Waiting.Oldest = max(0, int64(c.o.Now().Sub(st.Oldest)/time.Second))
	}
	if why := c.full.Load(); why != nil {
		r.Full = cutText(*why)
	}
	c.tally.fill(&r)
	return r
}
