package relay

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
)

// NetworkOptions say how a network server runs.
type NetworkOptions struct {
	// Load returns the settings: at the start, and again for each value on Reload.
	// An error at the start ends RunNetwork; later everything stays as it is.
	Load    func() (NetworkSettings, error)
	Reload  <-chan struct{} // nil for never
	Version string          // of the program
	Log     *slog.Logger    // nowhere
	Out     io.Writer       // where the lines of the start go (nowhere)
	Now     func() time.Time

	after func(time.Duration) <-chan time.Time // between two looks; nil for time.After
	pause func(time.Duration) <-chan time.Time // between two writes; nil for time.After
	write func(folder string, file []byte) error
}

func (o *NetworkOptions) fill() {
	o.Log, o.Out, o.Now = orNowhere(o.Log), orDiscard(o.Out), orClock(o.Now)
	o.after, o.pause = orAfter(o.after), orAfter(o.pause)
	if o.write == nil {
		o.write = writeState
	}
}

// RunNetwork runs a network server until ctx ends, and returns nil then. It says
// which collectors there are, and gives out IDs and ports. These are kept in its data
// folder before they are answered; one process at a time uses the folder.
func RunNetwork(ctx context.Context, o NetworkOptions) error {
	o.fill()
	s, err := o.Load()
	if err != nil {
		return err
	}
	creds, err := s.read()
	if err != nil {
		return err
	}
	release, err := lifecycle.LockFolder(s.Data)
	if used := (*lifecycle.InUseError)(nil); errors.As(err, &used) {
		return fmt.Errorf("the folder %s is in use by %s: stop it, or set data to another folder", used.Folder, used.Holder)
	}
	if err != nil {
		return err
	}
	return errors.Join(runNetwork(ctx, &o, s, creds), release())
}

func runNetwork(ctx context.Context, o *NetworkOptions, s NetworkSettings, creds *credentials) error {
	n, err := newNetworkServer(o, s)
	if err != nil {
		return err
	}
	keeping, stopKeeping := context.WithCancel(context.WithoutCancel(ctx))
	var workers sync.WaitGroup
	workers.Go(func() { n.keep(keeping) })
	workers.Go(func() { n.watch(ctx, o.after) })
	if err = n.open(s, creds); err == nil {
		n.say(o)
		err = serveUntil(ctx, nil, o.Reload, n.log, func() (*door, *door) { return n.door, n.admin }, func() error { return n.reload(o) })
	}
	n.stopWatching()
	n.close()
	stopKeeping() // after the last request, whose change is kept yet
	workers.Wait()
	n.tellNews(true)
	return err
}

// networkServer is a network server that runs.
type networkServer struct {
	log      *slog.Logger
	now      func() time.Time
	version  string
	started  time.Time
	run      string // of this process, for those who ask who left
	folder   string
	write    func(folder string, file []byte) error
	pause    func(time.Duration) <-chan time.Time // between two writes
	settings NetworkSettings
	metrics  *networkMetrics
	door     *door
	admin    *door

	unwatched chan struct{}
	wake      chan struct{} // of one: there are changes to keep
	telling   chan struct{} // of statusAtOnce: who makes a status

	mu      sync.Mutex
	roster  *roster
	reports *reportBook
	kept    uint64        // the change up to which all is on disk
	keepErr error         // of the last try
	tried   chan struct{} // closed at the end of the next try
	news    networkNews   // that was not logged yet
	lists   [2]madeList   // without and with those that were lost
}

func newNetworkServer(o *NetworkOptions, s NetworkSettings) (*networkServer, error) {
	n := &networkServer{
		log: o.Log, now: o.Now, version: o.Version, started: o.Now(), run: randomID(), folder: s.Data, write: o.write, pause: o.pause, settings: s,
		unwatched: make(chan struct{}), wake: make(chan struct{}, 1), telling: make(chan struct{}, statusAtOnce),
		roster: newRoster(s.FirstPort, s.ExpireAfter, randomID), reports: newReportBook(), tried: make(chan struct{}),
	}
	n.roster.onJoined = n.news.joined.add
	n.roster.onDropped = func(m *registered) {
		n.metrics.dropped.Inc()
		n.news.dropped.add(m)
	}
	var err error
	if n.metrics, err = newNetworkMetrics(n); err != nil {
		return nil, err
	}
	return n, readState(s.Data, n.started, n.roster)
}

// randomID returns an ID that nobody else has.
func randomID() string {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it never fails
	return hex.EncodeToString(b[:])
}

// open opens the doors, or moves them: all or none.
func (n *networkServer) open(s NetworkSettings, creds *credentials) error {
	address := net.JoinHostPort(plainHost(s.Address), strconv.Itoa(s.Port))
	d, err := planMove(n.door, n.log, address, networkConnections, behind{handler: n, creds: creds, names: []string{}, within: quickTime})
	if err != nil {
		return fmt.Errorf("server: %w", err)
	}
	a, err := planAdmin(n.admin, n.log, s.Admin, creds, newAdmin(n.metrics.registry, n.trouble, func() any { return n.status() }))
	if err != nil {
		d.callOff()
		return err
	}
	moveDoors(d, a)
	n.door, n.admin = d.door, a.door
	if creds.secret == "" && !n.door.address().IP.IsLoopback() {
		n.log.Warn("whoever reaches this address can join a cluster, and gets its files then: give a secretFile", "listen", n.door.address().String())
	}
	return nil
}

func (n *networkServer) close() {
	n.door.close()
	n.admin.close()
}

// say writes the lines of the start.
func (n *networkServer) say(o *NetworkOptions) {
	announce(o.Out, o.Version, "listen", serves(n.door), "admin", serves(n.admin), "data", n.folder)
}

func (n *networkServer) reload(o *NetworkOptions) error {
	s, err := o.Load()
	if err != nil {
		return err
	}
	creds, err := s.read()
	if err != nil {
		return err
	}
	if err := n.open(s, creds); err != nil {
		return err
	}
	if s.Data != n.settings.Data {
		n.log.Warn("these settings take effect at the next start", "keys", "data")
	}
	n.mu.Lock()
	n.roster.set(s.FirstPort, s.ExpireAfter)
	n.mu.Unlock()
	n.settings = s
	n.log.Info("settings were read again", servesAt(n.door, n.admin)...)
	return nil
}

// lookTime is how often is looked for those that missed their heartbeats. Every call
// looks, too.
const lookTime = time.Second

// watch drops those that missed their heartbeats, and has changes kept that could not
// be kept before, until ctx ends or the server stops.
func (n *networkServer) watch(ctx context.Context, after func(time.Duration) <-chan time.Time) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-n.unwatched:
			return
		case <-after(lookTime):
		}
		n.mu.Lock()
		n.roster.expire(n.now())
		n.reports.forgetSilent(n.now())
		behind := n.kept < n.roster.changes
		n.mu.Unlock()
		n.tellNews(false)
		if behind {
			n.wakeKeeper()
		}
	}
}

func (n *networkServer) stopWatching() { close(n.unwatched) }
