package node

import (
	"fmt"

	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/events"
)

// buildEvents makes what clients have in place of a WebSocket. The sockets are
// there already: they keep the sessions.
func (n *node) buildEvents() error {
	streams, err := events.New(events.Options{
		Open: n.openPipe, Node: n.id, Metrics: n.metrics,
		Limits: func() events.Limits {
			l := n.limits()
			return events.Limits{Write: l.ProofTimeout, Resume: l.ResumeTimeout, Frames: l.FramesWaiting, Frame: l.FrameTimeout}
		},
	})
	if err != nil {
		return fmt.Errorf("set up the streams of events: %w", err)
	}
	var others events.Nodes // nil: this node is alone
	if n.links != nil {
		others = tagged{n.links, tagEvents}
	}
	n.exchange = events.NewExchange(streams, others)
	n.events = api.NewEvents(n.exchange, func() api.EventLimits {
		l := n.limits()
		return api.EventLimits{Frame: int(l.Frame), Receivers: l.GroupReceivers, Unanswered: l.ProofTimeout, Heartbeat: min(l.PingInterval, l.EventHeartbeat)}
	})
	return nil
}

// openPipe begins a session for a stream.
func (n *node) openPipe(address string, far *events.Stream) (events.Pipe, error) {
	p, err := n.sockets.Pipe(address, far)
	if err != nil {
		return nil, err
	}
	return p, nil
}
