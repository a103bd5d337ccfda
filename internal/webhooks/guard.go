package webhooks

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"code.dny.dev/ssrf"
)

// errAddress is why an address is not dialled.
var errAddress = errors.New("it is not on the public network, and the webhook's allowPrivate is not set")

// guard refuses connections to what is not on the public network. It looks at
// the address that is about to be dialled, so that no name and no later change
// of a name gets around it.
type guard struct{ public *ssrf.Guardian }

func newGuard() guard { return guard{ssrf.New(ssrf.WithAnyPort())} }

// control is for net.Dialer.
func (g guard) control(network, address string, _ syscall.RawConn) error {
	place, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%s %s: %w", network, address, errAddress)
	}
	if !g.allows(place.Addr()) {
		return fmt.Errorf("%s: %w", place.Addr(), errAddress)
	}
	return nil
}

// allows says whether an address is on the public network. An IPv4 address that
// is written as an IPv6 one, or that a NAT64 gateway turns it into, counts as
// what it is.
func (g guard) allows(ip netip.Addr) bool {
	ip = ip.Unmap()
	if ssrf.IPv6NAT64Prefix.Contains(ip) {
		whole := ip.As16()
		ip = netip.AddrFrom4([4]byte(whole[12:]))
	}
	return g.public.SafeAddr(ip) == nil
}
