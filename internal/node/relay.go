package node

import (
	"fmt"

	"github.com/seed-3d8c1042/switchboard/internal/relay"
)

// openRelay makes what asks the network server of the relay that is shown, if there is
// one. Whether it answers matters only when somebody asks.
func (n *node) openRelay() (err error) {
	s := n.opts.Settings.Relay
	if s.Network == "" {
		return nil
	}
	if n.relay, err = relay.NewReader(relay.ReaderOptions{Server: s.Network, SecretFile: s.SecretFile, CA: s.CA}); err != nil {
		return fmt.Errorf("setting relay: %w", err)
	}
	return nil
}

// closeRelay lets go of its connections.
func (n *node) closeRelay() {
	if n.relay != nil {
		n.relay.Close()
	}
}
