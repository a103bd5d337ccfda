package node

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/config"
)

// openStore starts the engine and reads the log.
func (n *node) openStore(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, startTime)
	defer cancel()
	s := n.opts.Settings
	o, err := busOptions(s)
	if err != nil {
		return err
	}
	o.Logger, o.Waiting = n.log, n.stage.is
	if err := notAClusters(s); err != nil {
		return err
	}
	if n.bus, err = bus.Open(ctx, o); err != nil {
		return fmt.Errorf("open the message store in %s: %w", s.Data, err)
	}
	if at := n.bus.ReadersAt(); at != "" {
		n.say("nats", "nats://"+at+", to read the journal")
		if s.OpenReaders() {
			n.log.Warn("who reads the journal sends the password, and gets all events, in clear: set nats.tls, or keep nats.listen off the public network")
		}
	}
	n.metrics.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "switchboard_store_synced", Help: "1 when what is acknowledged is known to be synced to disk, so that it survives a power cut.",
	}, func() float64 {
		if _, synced := n.bus.Synced(); synced {
			return 1
		}
		return 0
	}))
	return nil
}

// notAClusters refuses a folder that holds what this node kept as one of a cluster,
// where it is to be alone: it would start with nothing, and nobody would notice.
func notAClusters(s config.Settings) error {
	folder := filepath.Join(s.Data, clusterFolder)
	if s.Shared() {
		return nil
	}
	if _, err := os.Stat(folder); err != nil {
		return nil // there is none, or what is wrong with the folder is said by who uses it
	}
	return fmt.Errorf("%s holds what this node kept as one of a cluster, and no cluster is set, so it would start with nothing: give it the settings `cluster` again, or move that folder away to begin anew", folder)
}
