package bus

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// doorEvery is how often a door is looked for that was not found, and doorTries how
	// many times: a server need not be among the peers of this one.
	doorEvery = time.Second
	doorTries = 30
)

// Doors know where the servers of other nodes listen: at which of the peers' addresses
// each said its name. So whether a process that is silent has ended can be asked of its
// machine, which refuses connections to a door behind which nobody is. It takes them for
// a process that is slow, or frozen, and says nothing when it is gone itself.
//
// Methods may be called from any goroutine; Run looks for what is to be found.
type Doors struct {
	cluster *Cluster
	wake    chan struct{}

	mu    sync.Mutex // guards what follows
	known map[string]string
	tries map[string]int // how often those are looked for yet that are not known
}

// Doors returns the doors of the servers of which this one is one; nil where it is none.
func (b *Bus) Doors() *Doors {
	if b.opts.Cluster == nil {
		return nil
	}
	return &Doors{cluster: b.opts.Cluster, wake: make(chan struct{}, 1), known: make(map[string]string), tries: make(map[string]int)}
}

// Find has the door of a node looked for, which is there.
func (d *Doors) Find(node string) {
	d.mu.Lock()
	delete(d.known, node)
	d.tries[node] = doorTries
	d.mu.Unlock()
	select {
	case d.wake <- struct{}{}:
	default:
	}
}

// Shut says whether connections to the door of a node are refused. It is false when the
// door was not found, and when nothing is heard from there; that takes a second.
func (d *Doors) Shut(ctx context.Context, node string) bool {
	d.mu.Lock()
	address, known := d.known[node]
	d.mu.Unlock()
	if !known {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err == nil {
		_ = conn.Close() // nothing was said
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// Run looks for doors until ctx ends.
func (d *Doors) Run(ctx context.Context) {
	again := time.NewTicker(doorEvery)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-d.wake:
		case <-again.C:
		}
		if d.wanted() {
			d.look(ctx)
		}
	}
}

// wanted says whether there are doors to be looked for, once more.
func (d *Doors) wanted() (some bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	some = len(d.tries) > 0
	for node, tries := range d.tries {
		if d.tries[node] = tries - 1; tries == 1 {
			delete(d.tries, node)
		}
	}
	return some
}

// look calls all peers.
func (d *Doors) look(ctx context.Context) {
	var calls sync.WaitGroup
	for _, address := range d.cluster.addresses(ctx, nil) {
		calls.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, probeTime)
			defer cancel()
			if info, conn, _, err := call(ctx, address); err == nil && strings.HasPrefix(info.Cluster, d.cluster.Name+".") {
				d.met(info.Name, conn.RemoteAddr().String())
			}
		})
	}
	calls.Wait()
}

func (d *Doors) met(node, address string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.known[node] == "" {
		d.known[node] = address
	}
	delete(d.tries, node)
}
