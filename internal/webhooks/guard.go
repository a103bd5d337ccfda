package webhooks

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// errAddress is why an address is not dialled.
var errAddress = errors.New("it is not on the public network, and the webhook's allowPrivate is not set")

// guard refuses connections to what is not on the public network. It is for
// net.Dialer, and looks at the address that is about to be dialled, so that no
// name and no later change of a name gets around it.
func guard(network, address string, _ syscall.RawConn) error {
	place, err := netip.ParseAddrPort(address)
	if err != nil || network != "tcp4" && network != "tcp6" {
		return fmt.Errorf("%s %s: %w", network, address, errAddress)
	}
	if !config.PublicAddress(place.Addr()) {
		return fmt.Errorf("%s: %w", place.Addr(), errAddress)
	}
	return nil
}
