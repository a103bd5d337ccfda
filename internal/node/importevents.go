package node

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
)

// warnOfEvents says that the journal of a store stays behind, if there is anything in it.
func (n *node) warnOfEvents(ctx context.Context, old *bus.Bus) error {
	j := n.opts.Settings.Journal
	log, err := old.Events(ctx, bus.EventLimits{Age: j.Keep, Bytes: int64(j.Bytes)})
	if err != nil {
		return fmt.Errorf("open the journal: %w", err)
	}
	for from := uint64(0); ; {
		list, err := log.Read(ctx, -1, from, time.Time{}, 512<<10)
		if err != nil || len(list) == 0 {
			return err
		}
		for _, b := range list {
			if from = b.Pos + 1; len(b.Data) > 0 {
				n.log.Warn("the journal of the node that was alone is not imported: its events, the states of devices and the traffic that they make up stay in the folder that is kept",
					"store", aloneFolder)
				return nil
			}
		}
	}
}
