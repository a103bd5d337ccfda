package link

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/domains"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// session is one connection to a neighbour, signed in.
type session interface {
	// Ack acknowledges everything up to a FORWARD.
	Ack(id wire.ID) error
	// Ping measures the round trip.
	Ping(ctx context.Context) (time.Duration, error)
	// End closes the connection with a code and a reason; it does not wait.
	End(code uint16, reason string)
	// Close closes it, and returns when no handler runs any more.
	Close()
	// Done is closed when it is over, and Err says why then.
	Done() <-chan struct{}
	Err() error
}

// dialer connects to a neighbour and signs in. take is called for each FORWARD, in
// order; when it fails the connection ends.
type dialer func(ctx context.Context, w where, take func(context.Context, []byte) error) (session, error)

// where is what is dialled, and as whom.
type where struct {
	url       string // of the WebSocket
	neighbour string
	user      wire.UserID
	secret    string
	tls       *tls.Config // nil: as usual
}

// errNoURL is why a neighbour is not dialled.
var errNoURL = errors.New("the description of all domains has no URL at which this neighbour could be dialled: it may dial this one")

var errNotMine = errors.New("another node of this domain has the link")

// waitError says that a link waits for a newer description of the network.
type waitError struct{ version, have uint64 }

func (e *waitError) Error() string {
	return fmt.Sprintf("the neighbour routes by version %d of the network, and this domain has %d: it waits until its meta server has that, too", e.version, e.have)
}

// badError is what a neighbour must not send.
type badError struct{ err error }

func (e *badError) Error() string {
	return "the neighbour sent what is no good FORWARD: " + e.err.Error()
}

// once connects and serves until the link is lost, and returns why.
func (n *neighbour) once(ctx context.Context, url string) error {
	o := &n.links.opts
	if url == "" {
		return errNoURL
	}
	endpoint, err := domains.SocketURL(url)
	if err != nil {
		return err
	}
	network := o.Network()
	if network == nil {
		return errNoURL
	}
	self, _ := network.Domain(o.Self)
	secret, err := o.Secret(n.from.Domain)
	if err != nil {
		return err
	}
	secured, err := o.TLS()
	if err != nil {
		return err
	}
	r := &road{neighbour: n, ready: make(chan struct{}), settled: make(chan struct{}, 1), broken: make(chan struct{})}
	dialling, cancel := context.WithTimeout(ctx, connectTime)
	s, err := o.dial(dialling, where{endpoint, n.from.Domain, self.User(), secret, secured}, r.take)
	cancel()
	n.links.metrics.dialled(n.from.Domain, err)
	if err != nil {
		return err
	}
	r.session = s
	close(r.ready)
	now := o.Now()
	n.note(func(st *State) { st.Up, st.Since, st.Why, st.URL, st.Waits = true, now, "", url, 0 })
	o.Log.Info("the link to another domain is up", "domain", n.from.Domain, "url", url)
	return r.serve(ctx)
}

// road is one connection, and what came over it.
type road struct {
	*neighbour
	session session
	ready   chan struct{} // closed when session is set

	settled chan struct{} // holds one token when there may be something to acknowledge
	broken  chan struct{} // closed with the first failure
	once    sync.Once
	failure error // set before broken is closed

	mu      sync.Mutex
	waiting []*arrival // not acknowledged, in order
}

// arrival is a FORWARD that came and is not acknowledged.
type arrival struct {
	id   wire.ID
	done bool
}

// fail ends the road. The first cause counts.
func (r *road) fail(err error) {
	r.once.Do(func() {
		r.failure = err
		close(r.broken)
	})
}

// serve acknowledges and measures until the link is lost, and returns why.
func (r *road) serve(ctx context.Context) (err error) {
	defer r.session.Close()
	defer func() { r.fail(err) }() // so that nothing is held, and nothing more is taken
	var measuring sync.WaitGroup
	defer measuring.Wait()
	living, end := context.WithCancel(ctx)
	defer end()
	measuring.Go(func() { r.measure(living) })
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-r.broken:
			return r.failure
		case <-r.session.Done():
			r.fail(r.session.Err()) // unless it has failed before: then that is why it is over
			return r.failure
		case <-r.settled:
			id, times := r.next()
			for range times {
				if err := r.session.Ack(id); err != nil {
					return fmt.Errorf("acknowledge what came: %w", err)
				}
			}
		case <-r.stirred:
			if !r.links.opts.Mine(r.from.Domain) {
				return errNotMine
			}
		}
	}
}

// next returns up to where everything is stored or refused, if that is further than
// before, and how often that is to be said: an ID means the first of the frames that
// have it, and the parts of a message to very many have the same.
func (r *road) next() (id wire.ID, times int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.waiting) && r.waiting[n].done {
		n++
	}
	if n == 0 {
		return id, 0
	}
	id = r.waiting[n-1].id
	for _, a := range r.waiting[:n] {
		if a.id == id {
			times++
		}
	}
	clear(r.waiting[:n])
	r.waiting = r.waiting[n:]
	return id, times
}

// measure pings the neighbour now and then.
func (r *road) measure(ctx context.Context) {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		if took, err := r.session.Ping(ctx); err == nil {
			r.note(func(s *State) { s.RoundTrip = took })
			r.links.metrics.roundTrip(r.from.Domain, took)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}

// take takes one FORWARD. It never fails: what went wrong closes the connection in
// good order, so that the neighbour hears why.
func (r *road) take(ctx context.Context, frame []byte) error {
	select {
	case <-r.ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.Over() { // what is to come again comes in order, so nothing after it is taken
		return nil
	}
	f, err := r.read(frame)
	if err != nil {
		r.links.metrics.bad(r.from.Domain)
		r.session.End(wire.ClosePolicy, "no good FORWARD: "+err.Error())
		r.fail(&badError{err})
		return nil
	}
	if err := r.hold(ctx, f.Graph); err != nil {
		r.session.End(wire.CloseNormal, err.Error())
		r.fail(err)
		return nil
	}
	r.links.metrics.received(r.from.Domain, &f, len(frame))
	if f.Fast {
		r.links.opts.Forward(&f, r.source(), func(error) {})
		return nil
	}
	a := &arrival{id: f.ID}
	r.mu.Lock()
	r.waiting = append(r.waiting, a)
	r.mu.Unlock()
	r.links.opts.Forward(&f, r.source(), func(err error) { r.settle(a, err) })
	return nil
}

// Over implements delivery.Line: whether the road has failed.
func (r *road) Over() bool {
	select {
	case <-r.broken:
		return true
	default:
		return false
	}
}

// source says from where what comes over this connection comes.
func (r *road) source() delivery.Neighbour {
	from := r.from
	from.Line = r
	return from
}

// settle takes what became of a FORWARD. It does not block.
func (r *road) settle(a *arrival, err error) {
	if err != nil {
		r.fail(fmt.Errorf("what came cannot be stored here at the moment: %w", err))
		return
	}
	r.mu.Lock()
	a.done = true
	r.mu.Unlock()
	select {
	case r.settled <- struct{}{}:
	default:
	}
}

// read reads a FORWARD and checks what a neighbour must keep to.
func (r *road) read(frame []byte) (wire.Forward, error) {
	f, err := wire.ParseForward(frame)
	if err != nil {
		return f, err
	}
	most := maxInner + wire.ForwardOverhead + wire.ForwardReceiver*len(f.To) + len(f.Reference)
	switch {
	case len(frame) > most:
		return f, fmt.Errorf("it has %d bytes, and with so many receivers %d are the most", len(frame), most)
	case len(f.Frame) > maxInner:
		return f, fmt.Errorf("what is in it has %d bytes, and %d are the most", len(f.Frame), maxInner)
	case f.Fast != f.ID.IsZero():
		return f, errors.New("a FAST one has no id, and any other one has")
	case !f.Fast && (f.Log == "" || f.Place == 0 || f.Low > f.Place):
		return f, errors.New("it does not say its log, and its place there")
	}
	return f, nil
}

// hold waits until this domain has a version of the network.
func (r *road) hold(ctx context.Context, version uint64) error {
	o := &r.links.opts
	have := versionOf(o.Network())
	if have >= version {
		return nil
	}
	r.links.metrics.held(r.from.Domain)
	r.note(func(s *State) { s.Waits = version })
	defer r.note(func(s *State) { s.Waits = 0 })
	o.Stale()
	timer := time.NewTimer(holdTime)
	defer timer.Stop()
	look := time.NewTicker(holdTime / 100)
	defer look.Stop()
	for {
		select {
		case <-look.C:
			if have = versionOf(o.Network()); have >= version {
				return nil
			}
		case <-timer.C:
			return &waitError{version, have}
		case <-r.broken:
			return r.failure
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func versionOf(n *domains.Network) uint64 {
	if n == nil {
		return 0
	}
	return n.Version
}
