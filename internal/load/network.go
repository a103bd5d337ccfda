package load

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"time"
)

// events is told what happens on connections, by network.wait only. None of it
// is called again for a connection after lost or network.close.
type events interface {
	writable(id int)          // connected; later: after a write that took not everything
	arrived(id int, b []byte) // b is valid during the call
	lost(id int, err error)
}

// network carries the bytes of connections, which are numbered from 0. One
// goroutine calls it.
type network interface {
	// open begins to connect; events hears how it ends.
	open(id int) error
	// write gives the connection as much of b as it takes now.
	write(id int, b []byte) (n int, err error)
	// wait tells events what has happened. It returns when something has, or
	// after d.
	wait(d time.Duration) error
	// close ends a connection.
	close(id int)
	// stop ends all and waits for what it started.
	stop()
}

// place is where a server is.
type place struct {
	url      *url.URL
	addr     netip.AddrPort
	portable bool // use streams also where there is something cheaper
	buffer   int  // bytes that the system may hold for a connection to send; 0: as it likes
}

// find resolves a URL that Check has passed.
func find(ctx context.Context, text string) (place, error) {
	u, err := url.Parse(text)
	if err != nil {
		return place{}, err
	}
	port := u.Port()
	if port == "" {
		port = map[string]string{"ws": "80", "wss": "443", "http": "80"}[u.Scheme]
	}
	number, err := net.DefaultResolver.LookupPort(ctx, "tcp", port)
	if err != nil {
		return place{}, fmt.Errorf("the port in %s: %w", text, err)
	}
	ips, err := net.DefaultResolver.LookupNetIP(ctx, "ip", u.Hostname())
	if err != nil {
		return place{}, fmt.Errorf("find the server: %w", err)
	}
	return place{url: u, addr: netip.AddrPortFrom(ips[0].Unmap(), uint16(number))}, nil
}

// places are those of a run's servers.
type places []place

// of returns where a connection goes, as Options.url does.
func (p places) of(id int) *place { return &p[id%len(p)] }

// findAll finds all servers of a run.
func findAll(ctx context.Context, o *Options) (all places, err error) {
	for _, text := range o.URLs {
		at, err := find(ctx, text)
		if err != nil {
			return nil, err
		}
		at.portable = o.portable
		if o.Mode == ModePaced {
			at.buffer = pacedBuffer
		}
		all = append(all, at)
	}
	return all, nil
}

// sources is over how many addresses connections to loopback are spread: each
// has some 28 000 ports to the server's one.
const sources = 16

// source returns from which address the connection is made, the zero address
// for any.
func (p place) source(id int) netip.Addr {
	if !manyLoopbacks || !p.addr.Addr().Is4() || !p.addr.Addr().IsLoopback() {
		return netip.Addr{}
	}
	return netip.AddrFrom4([4]byte{127, 0, 0, byte(1 + id%sources)})
}
