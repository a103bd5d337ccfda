package node

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/console"
	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
	"github.com/seed-3d8c1042/switchboard/internal/socket"
)

func (n *node) socketOptions() socket.Options {
	return socket.Options{
		Keeper: n.office, Hub: n.hub, Gate: n.apps, Node: n.id,
		Limits: n.socketLimits, AllowOrigin: n.originAllowed, MayReach: n.apps.MayReach,
		Logger: n.log, Metrics: n.metrics,
	}
}

func (n *node) socketLimits() socket.Limits {
	l := n.limits()
	return socket.Limits{
		Connections: l.Connections, HandshakeTimeout: l.HandshakeTimeout, SignInDeadline: l.SignInDeadline,
		Frame:        int(l.Frame),
		SignInFrame:  int(l.SignInFrame),
		PingInterval: l.PingInterval, ProofTimeout: l.ProofTimeout, AckTimeout: l.AckTimeout,
		Heartbeat: l.EventHeartbeat, ResumeTimeout: l.ResumeTimeout,
		GroupReceivers: l.GroupReceivers, PresenceWatch: l.PresenceWatch,
		QueueBytes: int(l.QueueBytes), QueueFrames: l.QueueFrames, CompressAbove: int(l.CompressAbove),
	}
}

func (n *node) originAllowed(r *http.Request) bool {
	s := n.settings.Load()
	return api.OriginAllowed(r, s.Origins, s.Demo)
}

// allMetrics are what /metrics shows.
type allMetrics struct {
	prometheus.Gatherers
	prometheus.Registerer
}

func (n *node) apiOptions() api.Options {
	return api.Options{
		Log: n.log, Metrics: allMetrics{prometheus.Gatherers{n.metrics, n.process, &n.shardMetrics}, n.metrics}, MaxBody: func() int64 { return int64(n.limits().HTTPBody) },
		Demo: n.opts.Settings.Demo, Origin: n.originAllowed, V1: n.v1, Cluster: n.clusterView(),
		Parts: n.parts(),
	}
}

// parts are what has to work for the node to be ready.
func (n *node) parts() []api.Part {
	parts := []api.Part{
		{Name: "node", Check: func() error {
			if !n.serving.Load() {
				return errors.New("the node is starting or stopping")
			}
			return nil
		}},
		{Name: "store", Check: func() error {
			switch unserved := n.office.Unserved(); {
			case len(unserved) == 0:
				return nil
			case n.leases != nil:
				return fmt.Errorf("no keeper is known of the shards %v", unserved)
			}
			return errors.New("the message store does not answer")
		}},
	}
	if n.opts.Settings.Shared() {
		parts = append(parts, api.Part{Name: "cluster", Check: n.members.Check})
	}
	return parts
}

func (n *node) adminServer() *api.Server {
	return api.NewServer(api.NewAdmin(n.apiOptions()), n.limits().HandshakeTimeout, n.log)
}

func (n *node) publicServer() *api.Server {
	o := n.apiOptions()
	o.Socket, o.Console = n.sockets, console.Handler()
	return api.NewServer(api.NewPublic(o), n.limits().HandshakeTimeout, n.log)
}

func (n *node) controlServer() *api.Server {
	return api.NewServer(api.NewControl(n.apiOptions()), n.limits().HandshakeTimeout, n.log)
}

// v1Options hand the calls of /v1 the rooms that they are about.
func (n *node) v1Options() api.V1Options {
	return api.V1Options{
		Log: n.log, Metrics: n.metrics, Now: time.Now,
		Limits: func() api.V1Limits {
			l := n.limits()
			return api.V1Limits{
				Rate: l.APIRate, Page: l.APIPage,
				Once: api.OnceLimits{Keys: l.ReplayAnswers, Bytes: int64(l.ReplayBytes), Time: l.ReplayTime},
			}
		},
		Rooms: api.Rooms{
			Apps: n.apps, Keys: n.keys, Hub: n.hub, Mailboxes: n.office, Webhooks: n.webhooks, Events: n.events,
			Messages: func() api.MessageLimits {
				l := n.limits()
				return api.MessageLimits{Frame: int(l.Frame), Receivers: l.GroupReceivers, Batch: l.APIBatch, Wait: l.APITimeout}
			},
			Stats: watched{n.stats, func() int { return n.limits().StatsStreams }}, Version: n.opts.Version, Cluster: n.clusterView(),
		},
	}
}

// listenControl opens the control socket. A node can do without one: then it is
// nil, and the log says why.
func (n *node) listenControl() net.Listener {
	l, err := lifecycle.ListenControl(n.opts.Settings.Data)
	if err != nil {
		n.log.Warn("there is no control socket: switchboard keys needs --url and an admin key here", "err", err)
		return nil
	}
	return l
}

// listen opens a door's listener; what it says names the flag to change.
func listen(setting, addr string) (net.Listener, error) {
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for setting %q: %w; give --%s another address", setting, err, setting)
	}
	return l, nil
}
