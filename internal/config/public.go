package config

import (
	"net/netip"

	"code.dny.dev/ssrf"
)

// PublicAddress says whether an address is on the public network, by the IANA
// registries of special addresses. An IPv4 address that is written as an IPv6
// one, or that a NAT64 gateway turns it into, counts as what it is. Settings are
// checked by this rule, and so is what is dialled for those that have to be
// public.
func PublicAddress(ip netip.Addr) bool {
	ip = ip.Unmap()
	if ssrf.IPv6NAT64Prefix.Contains(ip) {
		whole := ip.As16()
		ip = netip.AddrFrom4([4]byte(whole[12:]))
	}
	return ssrf.New().SafeAddr(ip) == nil
}
