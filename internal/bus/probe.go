package bus

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"
)

// A server says who it is in the first line of a connection that another one opens, and
// in clear. So whoever calls it can know of which cluster it is without being one of it.

const (
	// probeTime bounds one call.
	probeTime = time.Second
	// probeLine is how long a line may be.
	probeLine = 64 << 10
)

// probed is what a server that was called says of itself.
type probed struct {
	cluster string // the engine's name of it
	id      string // of the cluster; empty where that has another name, or it looks for it
	node    string
	stores  bool // it keeps streams
	trusts  bool // it takes this server's secret
}

// firstLine is what a server says before it is asked.
type firstLine struct {
	Name      string `json:"server_name"`
	Cluster   string `json:"cluster"`
	JetStream bool   `json:"jetstream"`
	TLS       bool   `json:"tls_required"`
}

// read reads it.
func (f *firstLine) read(r *bufio.Reader, address string) error {
	line, err := r.ReadString('\n')
	if err != nil {
		return err
	}
	text, is := strings.CutPrefix(line, "INFO ")
	if !is || json.Unmarshal([]byte(text), f) != nil {
		return fmt.Errorf("%s is no server", address)
	}
	return nil
}

// call calls a server, and returns what it says first. The connection lasts as long as
// ctx.
func call(ctx context.Context, address string) (info firstLine, conn net.Conn, r *bufio.Reader, err error) {
	var d net.Dialer
	if conn, err = d.DialContext(ctx, "tcp", address); err != nil {
		return info, nil, nil, err
	}
	context.AfterFunc(ctx, func() { _ = conn.Close() })
	r = bufio.NewReader(io.LimitReader(conn, probeLine))
	err = info.read(r, address)
	return info, conn, r, err
}

// probe calls a server, and signs in as one does that looks. A server of a cluster then
// says that this is none of it, or that the secret is another one.
func (c *Cluster) probe(ctx context.Context, address string) (p probed, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	info, conn, r, err := call(ctx, address)
	if err != nil {
		return p, err
	}
	p = probed{cluster: info.Cluster, node: info.Name, stores: info.JetStream}
	var is bool
	if p.id, is = strings.CutPrefix(info.Cluster, c.Name+"."); !is || p.id == "" {
		p.id = ""
		return p, nil
	}
	if !isToken(p.id) || info.TLS != (c.TLS != nil) {
		return p, errors.New("they do not go together")
	}
	p.trusts, err = c.trusted(ctx, conn, r, address)
	return p, err
}

// trusted signs in on a connection, and says whether the secret is the same.
func (c *Cluster) trusted(ctx context.Context, conn net.Conn, r *bufio.Reader, address string) (bool, error) {
	if c.TLS != nil {
		config := c.tls()
		if config.ServerName == "" {
			config.ServerName, _, _ = net.SplitHostPort(address) // which was dialed
		}
		safe := tls.Client(conn, config)
		if err := safe.HandshakeContext(ctx); err != nil {
			return false, err
		}
		conn, r = safe, bufio.NewReader(io.LimitReader(safe, probeLine))
	}
	looks := *c
	looks.id = ""
	b, _ := json.Marshal(map[string]any{ // which cannot fail
		"user": looks.signature(), "pass": c.Secret, "tls_required": c.TLS != nil, "name": c.Node, "cluster": looks.engineName(),
	})
	if _, err := fmt.Fprintf(conn, "CONNECT %s\r\nPING\r\n", b); err != nil {
		return false, err
	}
	for {
		line, err := r.ReadString('\n')
		if text, is := strings.CutPrefix(line, "-ERR "); is {
			return strings.Contains(text, "cluster name"), nil
		}
		if err != nil {
			return false, err
		}
	}
}

// sayWhoDiffers says who the servers are that this one has called in vain, since it is
// of another cluster. It ends with the engine.
func (e *engine) sayWhoDiffers() {
	defer e.wg.Done()
	ctx, cancel := e.untilQuit()
	defer cancel()
	said := throttle{now: time.Now}
	for {
		select {
		case <-ctx.Done():
			return
		case address := <-e.differs:
			own := e.opts.Cluster
			p, err := own.probe(ctx, address)
			switch {
			case err != nil, p.cluster == own.engineName(), p.cluster == own.Name+".":
				// It is nobody who was called, of this cluster by now, or looks for its own.
			case p.id == "" && said.may(address):
				e.opts.Logger.Warn("another server was not taken in: its cluster has another name", "address", address, "its", short(p.cluster, mostOfName), "own", own.engineName())
			case p.id != "" && own.looks == nil && said.may(p.id+p.node):
				e.opts.Logger.Warn("another server was not taken in: "+anotherCluster, "address", address, "its", p.id+" of "+short(p.node, mostOfName), "own", own.id+" of "+own.Node)
			}
		}
	}
}

// differing notes that a connection was given up because the other server is of another
// cluster. It does not block.
func (e *engine) differing(address string) {
	select {
	case e.differs <- address:
	default: // one is being asked, and this one comes again
	}
}
