package bus

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
)

// Options configure a Bus. Logger is needed, and Folder where streams are kept
// by this process.
type Options struct {
	// Cluster makes the embedded server a member of a cluster; nil: alone.
	Cluster *Cluster
	// External is a NATS that exists already; nil: the embedded server.
	External *External

	// Readers lets clients read the journal at the embedded server; nil: nobody.
	Readers *Readers

	// Folder is where the streams are kept; its last element is "jetstream", as
	// the embedded server wants it. It is made when there is none. The caller
	// holds the lock of the data folder around it.
	Folder string
	Logger *slog.Logger

	// Waiting is told in a sentence what a start waits for, whenever that changes, from
	// the goroutine that starts. It must be quick. Nil: nobody is told.
	Waiting func(what string)

	// StartTimeout bounds how long the embedded server may take to be ready,
	// the reading of its files included. Default 5 minutes: after a crash
	// every byte of the log is read twice. In a cluster it also bounds how long
	// Open waits for a majority of the servers.
	StartTimeout time.Duration
	// CallTimeout bounds an append, a read and every other call that waits for
	// an answer. Default 10 seconds.
	CallTimeout time.Duration
	// Reserve is how many bytes an append must leave free on the disk, so that
	// the embedded server can still do its own work, purging above all.
	// Default 16 MiB, negative for none.
	Reserve int64
}

func (o *Options) check() error {
	if o.Logger == nil || o.Folder == "" && o.stores() {
		return errors.New("bus: Options.Folder and Options.Logger are needed")
	}
	if o.stores() && filepath.Base(o.Folder) != server.JetStreamStoreDir {
		return fmt.Errorf("bus: the folder %s is not named %s", o.Folder, server.JetStreamStoreDir)
	}
	if o.Cluster != nil && o.External != nil {
		return errors.New("bus: a NATS that exists already has its own cluster: set either")
	}
	if o.Cluster != nil {
		if err := o.Cluster.check(); err != nil {
			return err
		}
	}
	if o.Readers != nil {
		if o.External != nil {
			return errors.New("bus: readers connect to the NATS that exists, not here")
		}
		if err := o.Readers.check(); err != nil {
			return err
		}
	}
	if o.External != nil {
		if err := o.External.check(); err != nil {
			return err
		}
	}
	if o.StartTimeout == 0 {
		o.StartTimeout = 5 * time.Minute
	}
	if o.CallTimeout == 0 {
		o.CallTimeout = 10 * time.Second
	}
	switch {
	case o.Reserve == 0:
		o.Reserve = 16 << 20
	case o.Reserve < 0:
		o.Reserve = 0
	}
	return nil
}

// wait tells what a start waits for.
func (o *Options) wait(format string, args ...any) {
	if o.Waiting != nil {
		o.Waiting(fmt.Sprintf(format, args...))
	}
}

// stores says whether this process keeps streams on a disk of its own.
func (o *Options) stores() bool {
	return o.External == nil && (o.Cluster == nil || !o.Cluster.NoStore)
}

// shared says whether other processes use the streams as well.
func (o *Options) shared() bool { return o.Cluster != nil || o.External != nil }

// Bus is the NATS that Switchboard uses and what is stored in it. Its methods may be
// called from any goroutine.
type Bus struct {
	opts    Options
	layout  layout
	current atomic.Pointer[engine] // nil when the server does not run

	mu        sync.Mutex // one start, recovery or stop at a time; guards what follows
	logs      map[int]*Log
	tables    map[string]*Table
	trail     *Trail // nil until it is asked for, and so are the next four
	events    *Events
	parts     *Parts
	matches   *Events
	positions *Events
	links     *Links // nil until they are opened, and when they are closed
	closed    bool
}

// Open starts the embedded server on its folder and waits until it has
// recovered its store; in a cluster, until that has a leader; or it connects to a
// NATS that exists already. It changes nothing on disk when it finds damage
// there: its error then says where.
func Open(ctx context.Context, opts Options) (*Bus, error) {
	if err := opts.check(); err != nil {
		return nil, err
	}
	if opts.Cluster != nil {
		own := *opts.Cluster // which gets its ID
		opts.Cluster = &own
	}
	if opts.stores() {
		if err := os.MkdirAll(opts.Folder, 0o700); err != nil {
			return nil, fmt.Errorf("make the folder of the message store: %w", err)
		}
	}
	b := &Bus{opts: opts, layout: opts.layout(), logs: make(map[int]*Log), tables: make(map[string]*Table)}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.start(ctx); err != nil {
		return nil, err
	}
	return b, nil
}

// layout is how the streams are named and made.
func (o *Options) layout() layout {
	l := alone
	l.shared = o.shared()
	if o.Cluster != nil {
		l.replicas = o.Cluster.Replicas
	}
	if o.External != nil {
		l.prefix, l.replicas = o.External.Prefix, o.External.Replicas
	}
	return l
}

// start inspects the store and runs the server on it, or connects. mu is held.
func (b *Bus) start(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, b.opts.StartTimeout,
		fmt.Errorf("it took more than %s", b.opts.StartTimeout))
	defer cancel()
	if b.opts.stores() {
		if err := b.opts.claimFolder(); err != nil {
			return err
		}
		err := inspectStore(ctx, b.streamsDir(), b.opts.shared(), func(done, all int64) {
			b.opts.wait("reading the message store: %d of %d MB", done>>20, all>>20)
		})
		if err != nil && errors.Is(err, ErrDamaged) && b.opts.Cluster != nil {
			err = fmt.Errorf("%w; if the other servers of the cluster are well, they have all of it: move the folder %s away, and this server gets it from them", err, b.opts.Folder)
		}
		if err != nil {
			return err
		}
		if err := clearProbes(b.opts.Folder); err != nil {
			return err
		}
	}
	if err := b.opts.knowCluster(ctx); err != nil {
		return err
	}
	e, err := startEngine(ctx, &b.opts)
	if err != nil {
		return err
	}
	if b.layout.replicas == 0 {
		b.layout.replicas = 1
		if e.reads.ConnectedClusterName() != "" {
			b.layout.replicas = 3
		}
	}
	b.current.Store(e)
	return nil
}

func (b *Bus) streamsDir() string {
	return filepath.Join(b.opts.Folder, account, "streams")
}

// Close stops the embedded server. Calls that are under way end with an error.
// Closing a second time does nothing.
func (b *Bus) Close() error {
	if e := b.current.Load(); e != nil {
		e.fail(errStopped) // so that who waits for a leader does so no longer, and lets go of mu
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.closed = true
	b.stop()
	return nil
}

// stop ends the running server, if any. mu is held.
func (b *Bus) stop() {
	e := b.current.Swap(nil)
	if e == nil {
		return
	}
	// A feed that looks for its stream while nobody serves that ends only with its
	// next attempt, which comes sooner once its connection is closed.
	var feeds sync.WaitGroup
	for _, t := range b.tables {
		feeds.Go(t.detach)
	}
	if b.links != nil {
		b.links.detach()
	}
	e.stop()
	feeds.Wait()
}

// Recover brings the embedded server back after it failed, on the same folder;
// what was opened, Log, Table or Trail, goes on working. While it serves, Recover does
// nothing; while the disk has no room it fails with ErrFull and leaves the
// server as it is. In a cluster it serves also while a leader is being elected or
// a majority is missing: starting it anew would help nobody.
func (b *Bus) Recover(ctx context.Context) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.closed {
		return errStopped
	}
	if err := b.Full(); err != nil {
		return err
	}
	if e := b.current.Load(); e != nil {
		cause := e.failure()
		if cause == nil {
			cause = e.ail()
		}
		if cause == nil {
			return nil
		}
		b.opts.Logger.Warn("NATS is started anew, or connected to", "err", cause)
		b.stop()
	}
	if err := b.start(ctx); err != nil {
		return fmt.Errorf("start NATS anew: %w", err)
	}
	for shard := range b.logs {
		if err := b.ensure(ctx, b.current.Load(), b.layout.log(shard)); err != nil {
			b.stop()
			return err
		}
	}
	for _, t := range b.tables {
		if err := t.attach(ctx, b.current.Load()); err != nil {
			b.stop()
			return err
		}
	}
	if b.trail != nil {
		if err := b.ensure(ctx, b.current.Load(), b.layout.trail(b.trail.limits)); err != nil {
			b.stop()
			return err
		}
	}
	if b.events != nil {
		if err := b.ensure(ctx, b.current.Load(), b.layout.events(b.events.limits)); err != nil {
			b.stop()
			return err
		}
	}
	if b.parts != nil {
		if err := b.ensure(ctx, b.current.Load(), b.layout.parts()); err != nil {
			b.stop()
			return err
		}
	}
	if b.matches != nil {
		if err := b.ensure(ctx, b.current.Load(), b.layout.matches()); err != nil {
			b.stop()
			return err
		}
	}
	if b.positions != nil {
		if err := b.ensure(ctx, b.current.Load(), b.layout.positions(b.positions.limits.Age)); err != nil {
			b.stop()
			return err
		}
	}
	if b.links != nil {
		if err := b.links.attach(ctx, b.current.Load()); err != nil {
			b.stop()
			return err
		}
	}
	b.opts.Logger.Info("NATS is back")
	return nil
}

// Health returns why nothing can be stored now; nil when all is well. It looks
// at the disk and at what is known of the server, and is cheap. That a majority is
// gone is known after a few seconds.
func (b *Bus) Health() error {
	e, err := b.engine()
	if err != nil {
		return err
	}
	if err := e.together(); err != nil {
		return err
	}
	return b.room(MaxBatch)
}

// Free returns how many bytes the disk of the message store has free for this
// process; as many as there can be when it stores nothing here.
func (b *Bus) Free() (bytes uint64, err error) {
	if !b.opts.stores() {
		return math.MaxUint64, nil
	}
	if bytes, err = diskFree(b.opts.Folder); err != nil {
		return 0, fmt.Errorf("look at the free space of the message store: %w", err)
	}
	return bytes, nil
}

// Full fails with ErrFull while the disk does not take another batch and leave the
// reserve: then nothing is stored, and a server that ended does not come back.
func (b *Bus) Full() error { return b.room(MaxBatch) }

// room fails with ErrFull when the disk does not take n bytes and leave the
// reserve.
func (b *Bus) room(n int) error {
	if b.opts.Reserve == 0 || !b.opts.stores() {
		return nil
	}
	free, err := b.Free()
	if err != nil {
		return err
	}
	if need := uint64(b.opts.Reserve) + uint64(n); free < need {
		return fmt.Errorf("%w: the disk has %d bytes free, %d are needed", mailbox.ErrFull, free, need)
	}
	return nil
}

// engine returns the running server, or why there is none.
func (b *Bus) engine() (*engine, error) {
	e := b.current.Load()
	if e == nil {
		return nil, errStopped
	}
	if cause := e.failure(); cause != nil {
		return nil, fmt.Errorf("NATS failed: %w", cause)
	}
	return e, nil
}
