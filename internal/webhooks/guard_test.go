package webhooks

import (
	"errors"
	"net"
	"testing"
)

func TestOnlyPublicAddressesAreDialled(t *testing.T) {
	for _, bad := range []string{"127.0.0.1", "10.1.2.3", "100.64.0.1", "::1", "::ffff:169.254.169.254", "64:ff9b::10.0.0.1", "2002:7f00:1::1", "fe80::1%eth0"} {
		if err := guard("tcp4", net.JoinHostPort(bad, "443"), nil); !errors.Is(err, errAddress) {
			t.Errorf("%s: %v", bad, err)
		}
	}
	for _, good := range []string{"1.1.1.1", "2606:4700::1", "::ffff:1.1.1.1", "64:ff9b::1.1.1.1"} {
		if err := guard("tcp6", net.JoinHostPort(good, "8443"), nil); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	for _, bad := range [][2]string{{"tcp", "1.1.1.1:80"}, {"udp4", "1.1.1.1:80"}, {"unix", "/run/socket"}, {"tcp4", "example.com:80"}, {"tcp4", ""}} {
		if err := guard(bad[0], bad[1], nil); !errors.Is(err, errAddress) {
			t.Errorf("%v: %v", bad, err)
		}
	}
}
