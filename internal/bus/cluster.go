package bus

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go/jetstream"
)

// Cluster makes the embedded server one of several that keep every stream
// together. With three of them, any one may be missing.
//
// What the others are told, they tell each other: a server that is not among the
// Peers of the rest is found all the same, as soon as it reaches one of them.
type Cluster struct {
	Name      string // the same on all servers
	Node      string // unique name of this server, which it keeps for ever: its streams are known by it
	Listen    string // host:port for the other servers
	Advertise string // host:port that the others are told; empty: what Listen says
	// Peers are the servers that keep streams, as host:port; this one among them
	// does no harm. A host with several addresses means all of them, and is looked
	// up again now and then. At the very first start of a cluster all of them must be
	// there: the server does not count the vote of an empty store otherwise. Later
	// more than half are enough.
	Peers  []string
	Secret string // shared by all
	// TLS is for the connections between the servers, whoever opens them: it needs
	// a certificate for both, and the authorities for both. Nil for none.
	TLS      *tls.Config
	Replicas int // of every stream: 1 or 3; 2 with two servers
	// Grow has streams get more replicas than that as servers come that keep streams,
	// three at most. None is ever taken away: what has more keeps it.
	Grow bool
	// NoStore makes a server without streams, which uses those of the others.
	NoStore bool
	// Sole says that no other server keeps streams when the cluster starts for the
	// first time: it does not wait for any. More may come later.
	Sole bool
	// Election is how long a leader is not heard of before another is elected, at
	// least; at most about twice that. 0 leaves it to the server: 4 to 9 seconds.
	// It holds for the whole process.
	Election time.Duration

	id string // of the cluster, by which its servers know each other; see identity.go
	// looks is set while the server looks for the ID, and told of a server of a cluster
	// that comes.
	looks func(id, node string)

	lookup func(ctx context.Context, host string) ([]string, error) // in place of the resolver, in tests
}

// protocol is the version of what servers of a cluster expect of each other; those
// with different ones refuse each other. It is part of the name by which a server
// signs in.
const protocol = "1"

const (
	userPrefix = "switchboard-"
	// routePing is how often a silent connection between servers is tried; after
	// two tries without an answer it is given up.
	routePing = 2 * time.Second
	// lookEvery is how often the names of the peers are looked up again.
	lookEvery = 15 * time.Second
	// forgetAfter is how many times in a row an address must be missing, and not be
	// connected, before it is tried no longer: ten minutes.
	forgetAfter = 40
	// waitStep bounds one attempt to reach the leader; many follow each other.
	waitStep = 2 * time.Second
	// sayEvery is how often the log says what is being waited for.
	sayEvery = 5 * time.Second
	// mostOfName is how many bytes of what a stranger calls itself the log says.
	mostOfName = 64
	// lookMark ends the name of a server that looks for its cluster.
	lookMark = "?"
)

func (c *Cluster) check() error {
	for _, s := range []struct{ name, value string }{{"Name", c.Name}, {"Node", c.Node}, {"Secret", c.Secret}} {
		if s.value == "" || strings.ContainsAny(s.value, " \t\r\n") {
			return fmt.Errorf("bus: Cluster.%s is needed, without spaces", s.name)
		}
	}
	if _, _, err := splitHostPort(c.Listen); err != nil {
		return fmt.Errorf("bus: Cluster.Listen: %w", err)
	}
	if len(c.Peers) == 0 && !c.NoStore {
		return errors.New("bus: Cluster.Peers is needed: at least one server must be looked for, if only by the first of them all")
	}
	for _, p := range c.Peers {
		if _, port, err := splitHostPort(p); err != nil || port == 0 {
			return fmt.Errorf("bus: Cluster.Peers: %q is not host:port", p)
		}
	}
	if c.Replicas < 1 || c.Replicas > 5 {
		return fmt.Errorf("bus: Cluster.Replicas cannot be %d", c.Replicas)
	}
	if c.Election != 0 && c.Election < 200*time.Millisecond {
		return fmt.Errorf("bus: Cluster.Election cannot be %s: servers hear of each other too seldom for that", c.Election)
	}
	return nil
}

func splitHostPort(s string) (host string, port int, err error) {
	host, text, err := net.SplitHostPort(s)
	if err != nil {
		return "", 0, err
	}
	if port, err = strconv.Atoi(text); err != nil || port < 0 || port > 65535 {
		return "", 0, fmt.Errorf("%q is no port", text)
	}
	return host, port, nil
}

// configure sets what makes a server one of the cluster.
func (c *Cluster) configure(ctx context.Context, o *server.Options, log *slog.Logger) {
	if c.Election != 0 {
		setElection(c.Election)
	}
	host, port, _ := splitHostPort(c.Listen) // checked
	if port == 0 {
		port = -1 // any, to the server
	}
	o.ServerName = c.Node
	if c.looks != nil {
		o.ServerName += lookMark // the next one with that name comes before this one has gone everywhere
	}
	o.Cluster = server.ClusterOpts{
		Name: c.engineName(), Host: host, Port: port, Advertise: c.Advertise,
		Username: c.signature(), Password: c.Secret, AuthTimeout: 5,
		PingInterval: routePing, MaxPingsOut: 2,
		Compression: server.CompressionOpts{Mode: server.CompressionOff},
	}
	if c.TLS != nil {
		o.Cluster.TLSConfig, o.Cluster.TLSTimeout = c.tls(), 5
		c.sayExpired(log)
	}
	o.CustomRouterAuthentication = &gate{cluster: c, log: log, said: throttle{now: time.Now}}
	o.Routes = c.routes(ctx, nil)
}

// sayExpired warns of a certificate of this server that the others will not take: what
// they say of it here is less.
func (c *Cluster) sayExpired(log *slog.Logger) {
	for _, cert := range c.TLS.Certificates {
		if cert.Leaf != nil && time.Now().After(cert.Leaf.NotAfter) {
			log.Warn("this node's own certificate (cluster.tls) has expired: other nodes refuse it", "since", cert.Leaf.NotAfter)
		}
	}
}

// tls is the configuration for both directions. A server that is found by its
// address alone must have a certificate for the name that all have in common, if
// there is one.
func (c *Cluster) tls() *tls.Config {
	t := c.TLS.Clone()
	if t.ClientAuth == tls.NoClientCert {
		t.ClientAuth = tls.RequireAndVerifyClientCert
	}
	if t.ClientCAs == nil {
		t.ClientCAs = t.RootCAs
	}
	if host, _, err := splitHostPort(c.only()); err == nil && net.ParseIP(host) == nil && t.ServerName == "" {
		t.ServerName = host
	}
	return t
}

// only is the peer when there is but one, as with a headless service.
func (c *Cluster) only() string {
	if len(c.Peers) == 1 {
		return c.Peers[0]
	}
	return ""
}

// routes are the addresses at which other servers are looked for. The server takes
// their number for that of the servers when a cluster starts for the first time,
// so one server must not be among them twice: of a host that has addresses of both
// kinds, only those of the more frequent one count. have are routes of an earlier
// call that are in use: they stay.
func (c *Cluster) routes(ctx context.Context, have []string) []*url.URL {
	all := c.addresses(ctx, have)
	urls := make([]*url.URL, len(all))
	for i, a := range all {
		urls[i] = &url.URL{Scheme: "nats-route", Host: a, User: url.UserPassword(c.signature(), c.Secret)}
	}
	return urls
}

func (c *Cluster) addresses(ctx context.Context, have []string) []string {
	lookup := net.DefaultResolver.LookupHost
	if c.lookup != nil {
		lookup = c.lookup
	}
	all := slices.Clone(have)
	for _, p := range c.Peers {
		host, port, _ := net.SplitHostPort(p) // checked
		addresses := []string{host}
		// A host with one address stays as its name: the server looks it up at
		// every attempt.
		if net.ParseIP(host) == nil {
			ctx, cancel := context.WithTimeout(ctx, waitStep)
			if found, err := lookup(ctx, host); err == nil && len(family(found)) > 1 {
				addresses = family(found)
			}
			cancel()
		}
		for _, a := range addresses {
			all = append(all, net.JoinHostPort(a, port))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// family returns the addresses of the kind, version 4 or 6, that there are more of.
func family(addresses []string) []string {
	var four, six []string
	for _, a := range addresses {
		if net.ParseIP(a).To4() != nil {
			four = append(four, a)
		} else {
			six = append(six, a)
		}
	}
	if len(six) > len(four) {
		return six
	}
	return four
}

// gate lets servers in, or says in the log why not: now and then, since who is
// refused tries again every second.
type gate struct {
	cluster *Cluster
	log     *slog.Logger
	said    throttle
}

// Check says whether a server may come in.
func (g *gate) Check(c server.ClientAuthentication) bool {
	user, secret := c.GetOpts().Username, sha256.Sum256([]byte(c.GetOpts().Password))
	own := sha256.Sum256([]byte(g.cluster.Secret))
	its, ours := takeApart(user)
	why := ""
	switch {
	case !ours:
		why = "a server was refused: it is none of Switchboard's"
	case its.version != protocol:
		why = "a server was refused: its version does not go together with this one's"
	case subtle.ConstantTimeCompare(secret[:], own[:]) == 0:
		why = "a server was refused: its cluster secret is another one"
	case its.node == "":
		why = "a server was refused: it does not say of which cluster it is"
	default:
		return g.checkCluster(c, its)
	}
	host, _, _ := net.SplitHostPort(c.RemoteAddress().String())
	if g.said.may(why + host) {
		g.log.Warn(why, "remote", c.RemoteAddress(), "its", protocolOf(its.version, ours), "own", protocol)
	}
	return false
}

// anotherCluster says why servers do not go together that were formed apart.
const anotherCluster = "it is of another cluster of this name, which was formed apart and has messages of its own: name the servers of one of them only in cluster.peers"

// checkCluster keeps a server of another cluster out. Where the names differ, and where
// one of the two looks for its cluster, the engine does so.
func (g *gate) checkCluster(c server.ClientAuthentication, its signed) bool {
	own := g.cluster
	switch {
	case its.name != own.Name || its.id == own.id || its.id == "":
		return true
	case own.looks != nil:
		if its.does == storesStreams && isToken(its.id) {
			own.looks(its.id, its.node)
		}
		return true
	case g.said.may(its.id + its.node):
		g.log.Warn("a server was refused: "+anotherCluster,
			"remote", c.RemoteAddress(), "its", short(its.id, mostOfName)+" of "+short(its.node, mostOfName), "own", own.id+" of "+own.Node)
	}
	return false
}

// protocolOf is what a server that is refused speaks, as far as it says so.
func protocolOf(version string, ours bool) string {
	if !ours {
		return "unknown"
	}
	return short(version, mostOfName)
}

// short cuts what a stranger says.
func short(s string, most int) string {
	if len(s) > most {
		return s[:most] + "…"
	}
	return s
}

// startRoutes makes the server that has started listen to the other servers and
// look for them.
//
// Start leaves that to a goroutine which waits until the listener for clients is
// there. With DontListen there never is one (nats-server 2.15), so this does what
// the goroutine would do then, and takes its place in the server's count of those
// it waits for when it stops. That goroutine waits for ever: one for each run of
// the server, which is one in the life of most processes.
func (e *engine) startRoutes(lines *serverLines) {
	if e.opts.Cluster == nil || lines.failure() != "" {
		return // when it gave up, it has not come to that goroutine
	}
	if e.opts.Readers != nil {
		return // it listens for clients, and begins by itself
	}
	ready := make(chan struct{})
	close(ready)
	e.srv.StartRouting(ready)
}

// lookForPeers looks up the names of the peers now and then, until the engine
// stops, and has the server try addresses that are new.
func (e *engine) lookForPeers(every time.Duration) {
	defer e.wg.Done()
	ctx, cancel := e.untilQuit()
	defer cancel()
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-e.quit:
			return
		case <-tick.C:
			if err := e.lookOnce(ctx); err != nil {
				e.opts.Logger.Warn("addresses of other servers cannot be taken in", "err", err)
			}
		}
	}
}

// untilQuit returns a context that ends when the engine stops, at the latest.
func (e *engine) untilQuit() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	e.wg.Go(func() {
		select {
		case <-e.quit:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, cancel
}

func (e *engine) lookOnce(ctx context.Context) error {
	found := e.opts.Cluster.routes(ctx, nil)
	routes := e.opts.Cluster.routes(ctx, e.remembered(found))
	if slices.EqualFunc(routes, e.given.Routes, func(a, b *url.URL) bool { return a.Host == b.Host }) {
		return nil
	}
	e.given.Routes = routes
	e.noteAddresses(routes)
	return e.srv.ReloadOptions(e.given.Clone())
}

// noteAddresses notes where other servers are looked for.
func (e *engine) noteAddresses(routes []*url.URL) {
	hosts := make([]string, len(routes))
	for i, r := range routes {
		hosts[i] = r.Host
	}
	e.addresses.Store(&hosts)
}

// remembered returns the routes that are not found any more and stay all the same:
// an answer may lack what is there, and a route that goes takes its connection along.
func (e *engine) remembered(found []*url.URL) (hosts []string) {
	used := make(map[string]bool)
	if z, err := e.srv.Routez(nil); err == nil {
		for _, r := range z.Routes {
			used[r.IP] = true
		}
	}
	missing := make(map[string]int)
	for _, r := range e.given.Routes {
		if slices.ContainsFunc(found, func(f *url.URL) bool { return f.Host == r.Host }) {
			continue
		}
		missing[r.Host] = e.missing[r.Host] + 1
		if used[r.Hostname()] || net.ParseIP(r.Hostname()) == nil || missing[r.Host] < forgetAfter {
			hosts = append(hosts, r.Host)
		}
	}
	e.missing = missing
	return hosts
}

// neighbours returns the names of the servers that this one is connected to.
func (e *engine) neighbours() []string {
	var names []string
	if e.srv != nil {
		if z, err := e.srv.Routez(nil); err == nil {
			for _, r := range z.Routes {
				names = append(names, strings.TrimSuffix(r.RemoteName, lookMark))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// awaitLeader waits until the streams have somebody who answers for all of them,
// and says in the log what it waits for.
func (e *engine) awaitLeader(ctx context.Context) error {
	said := time.Now()
	var err error
	for {
		if e.srv != nil {
			e.opts.wait("%s; %s", e.leaderless(err), e.company())
		} else {
			e.opts.wait("%s", e.leaderless(err))
		}
		err = e.reachLeader(ctx)
		if err == nil {
			return nil
		}
		if e.opts.External != nil && (errors.Is(err, jetstream.ErrJetStreamNotEnabled) || errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount)) {
			return fmt.Errorf("%s has no JetStream, which all that is stored needs: switch it on there, and for this account", e.place())
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%s has no leader for its streams; %s: %w (%w)", e.place(), e.company(), context.Cause(ctx), err)
		}
		if time.Since(said) >= sayEvery {
			said = time.Now()
			e.opts.Logger.Info("the streams have no leader yet", "what", e.leaderless(err), "connected", strings.Join(e.neighbours(), " "), "err", err)
		}
		select {
		case <-ctx.Done():
		case <-time.After(waitStep / 10):
		}
	}
}

// leaderless says what awaitLeader waits for, after an attempt that failed, if any.
func (e *engine) leaderless(err error) string {
	switch {
	case e.srv == nil:
		return fmt.Sprintf("waiting for %s to have a leader for its streams", e.place())
	case !e.opts.stores() && errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return errNoProcessor.Error()
	}
	return "waiting for a leader of the streams: more than half of the servers must be there, and all of them at the very first start"
}

// company says who else is there.
func (e *engine) company() string {
	names := e.neighbours()
	if len(names) == 0 {
		return "no other server is connected to this one"
	}
	return "connected to this one are " + strings.Join(names, ", ")
}

// reachLeader asks whoever leads the streams for a word.
func (e *engine) reachLeader(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, waitStep)
	defer cancel()
	if _, err := e.js.AccountInfo(ctx); err != nil {
		return err
	}
	if e.srv != nil && e.opts.stores() && !e.srv.JetStreamIsCurrent() {
		return errors.New("this server has not caught up with the others")
	}
	return nil
}

// together says why this server is of no use to the streams of a cluster, as far as
// it knows: it is away from a majority, or lags behind; or why there is no
// connection to a NATS that exists.
func (e *engine) together() error {
	switch {
	case e.srv == nil && !e.reads.IsConnected():
		return fmt.Errorf("%s is not reached", e.place())
	case e.srv == nil || e.opts.Cluster == nil:
		return nil
	case !e.opts.stores() && len(e.neighbours()) == 0:
		return errors.New("no other server of the cluster is connected to this one")
	case !e.opts.stores():
		return nil
	}
	health := e.srv.Healthz(&server.HealthzOptions{Details: true, JSMetaOnly: true})
	for _, h := range health.Errors {
		if h.Type != server.HealthzErrorConn { // which only says that the machine is busy
			return fmt.Errorf("%s; %s", h.Error, e.company())
		}
	}
	return nil
}
