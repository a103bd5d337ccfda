package webhooks

import (
	"errors"
	"net"
	"net/netip"
	"testing"
)

func TestOnlyPublicAddressesAreDialled(t *testing.T) {
	g := newGuard()
	for _, text := range []string{
		"0.0.0.0", "0.1.2.3", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254",
		"172.16.0.1", "172.31.255.255", "192.0.0.1", "192.0.2.1", "192.168.1.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
		"224.0.0.1", "239.255.255.250", "240.0.0.1", "255.255.255.255",
		"::", "::1", "::127.0.0.1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::ffff:169.254.169.254",
		"64:ff9b::127.0.0.1", "64:ff9b::10.0.0.1", "64:ff9b::169.254.169.254", "64:ff9b:1::1",
		"100::1", "2001::1", "2001:db8::1", "2002:7f00:1::1", "fc00::1", "fd12::1", "fe80::1", "fe80::1%eth0", "fec0::1", "ff02::1", "5f00::1",
	} {
		if ip := netip.MustParseAddr(text); g.allows(ip) {
			t.Errorf("%s may be dialled", text)
		}
		err := g.control("tcp4", net.JoinHostPort(text, "443"), nil)
		if !errors.Is(err, errAddress) {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, text := range []string{"1.1.1.1", "9.255.255.255", "11.0.0.1", "100.63.255.255", "100.128.0.0", "172.15.0.1", "172.32.0.1", "192.167.1.1", "2606:4700::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"} {
		if err := g.control("tcp6", net.JoinHostPort(text, "8443"), nil); err != nil {
			t.Errorf("%s: %v", text, err)
		}
	}
	for _, bad := range [][2]string{{"tcp", "1.1.1.1:80"}, {"udp4", "1.1.1.1:80"}, {"unix", "/run/socket"}, {"tcp4", "example.com:80"}, {"tcp4", ""}} {
		if err := g.control(bad[0], bad[1], nil); !errors.Is(err, errAddress) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
