package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/seed-3d8c1042/switchboard/console"
	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/lifecycle"
	"github.com/seed-3d8c1042/switchboard/internal/socket"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func (n *node) socketOptions() socket.Options {
	o := socket.Options{
		Keeper: n.office, Hub: n.hub, Gate: n.apps, Node: n.id,
		Limits: n.socketLimits, AllowOrigin: n.originAllowed, MayReach: n.apps.MayReach,
		Logger: n.log, Metrics: n.metrics, Away: n.away, RoomsOff: n.chat.off, Count: n.counter,
		SignIns: n.entrance.turnstile, Audit: n.entrance.audit,
	}
	if n.matching.room != nil {
		o.Matches, o.Note = n.matching.room, n.noteDevice
	}
	if n.around.room != nil {
		o.Nearby = nearbyDoor{n.around.room}
	}
	if n.around.names != nil {
		o.Names = n.around.names.Now
	}
	if n.chat.accounts != nil {
		o.Shown, o.Rooms, o.Shunned = shown, n.chat.rooms, n.chat.accounts.Shunned
	}
	if n.abroad != nil {
		o.HomeURL, o.LinkLost = n.abroad.homeURL, n.abroad.lost.note
		o.Elsewhere = func(user wire.UserID) bool { return !n.abroad.Next(user).Local }
	}
	return o
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
		LinkWindow: int(l.LinkWindow),
		Session:    socket.Rates{Frames: l.FrameRate, Bytes: int(l.ByteRate)},
		User:       socket.Rates{Frames: l.UserFrameRate, Bytes: int(l.UserByteRate)},
		App:        socket.Rates{Frames: l.AppFrameRate, Bytes: int(l.AppByteRate)},
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

// doorOptions are those that hold from the start on.
func (n *node) doorOptions() api.Options {
	return api.Options{
		Log: n.log, Metrics: allMetrics{prometheus.Gatherers{n.metrics, n.process, &n.shardMetrics}, n.metrics}, MaxBody: func() int64 { return int64(n.limits().HTTPBody) },
		Demo: n.opts.Settings.Demo, Origin: n.originAllowed,
	}
}

func (n *node) apiOptions() api.Options {
	o := n.doorOptions()
	o.V1, o.Cluster, o.Parts = n.v1, n.clusterView(), n.parts()
	return o
}

// parts are what has to work for the node to be ready.
func (n *node) parts() []api.Part {
	parts := []api.Part{
		{Name: "node", Check: func() error {
			if !n.serving.Load() {
				return errors.New("the node is stopping")
			}
			return nil
		}},
		{Name: "store", Check: n.checkStore, Note: n.noteStore},
	}
	if n.opts.Settings.Shared() {
		parts = append(parts, api.Part{Name: "cluster", Check: n.checkCluster, Note: n.noteCluster})
	}
	return append(parts, n.chatPart()...)
}

// doors are what the node has open, from its start on: at first they say that it is
// starting, and with lead they lead to the rooms.
type doors struct {
	public  *door // nil: clients connect to other nodes
	admin   *door
	control *door // nil: there is none
	http01  *door // for an ACME server; nil: none looks here
	closing sync.Once
}

// door is a listener with its server.
type door struct {
	listener net.Listener
	server   *api.Server
	stop     context.CancelFunc
	served   chan error // of Serve, once
}

func (d *door) addr() string { return d.listener.Addr().String() }

// openDoors opens them, before anything that takes long.
func (n *node) openDoors() error {
	if err := n.openEntrance(); err != nil {
		return err
	}
	s := n.opts.Settings
	admin, err := listen("admin", s.Admin)
	if err != nil {
		return err
	}
	var public net.Listener
	if s.Has(config.RoleConnector) {
		if public, err = listen("listen", s.Listen); err != nil {
			return errors.Join(err, admin.Close())
		}
		n.address = n.reachedAt(public.Addr())
		if s.TLS.On() {
			n.address = "https://" + n.address // others cannot tell from a port
		}
	}
	n.stage.is("opening the message store")
	o := n.doorOptions()
	o.Cluster = beginning{n}
	onPublic, onAdmin, onControl := api.Starting(o, n.stage.text)
	n.doors.admin = n.openDoor(n.onAdmin(admin), onAdmin)
	n.doors.public = n.openDoor(n.onPublic(public), onPublic, n.entrance.turnstile.Handler)
	n.doors.control = n.openDoor(n.listenControl(), onControl)
	if err := n.openHTTP01(); err != nil {
		return errors.Join(err, n.doors.close())
	}
	n.welcome()
	return nil
}

// openDoor serves a handler on a listener, if there is one, and what is to be around it.
func (n *node) openDoor(l net.Listener, h http.Handler, around ...func(http.Handler) http.Handler) *door {
	if l == nil {
		return nil
	}
	ctx, stop := context.WithCancel(context.Background())
	d := &door{listener: l, server: api.NewServer(h, n.limits().HandshakeTimeout, n.log, around...), stop: stop, served: make(chan error, 1)}
	go func() { d.served <- d.server.Serve(ctx, l) }() // close waits for it
	return d
}

// lead has the doors lead to the rooms, which are ready. The admin door comes last: who
// has heard there that the node is ready finds it so at all others.
func (d *doors) lead(n *node) {
	o := n.apiOptions()
	if d.control != nil {
		d.control.server.Switch(api.NewControl(o))
	}
	if d.public != nil {
		public := o
		public.Socket, public.Console = n.sockets, console.Handler(console.Options{TileOrigin: n.opts.Settings.Nearby.TileOrigin()})
		public.Map = n.mapOptions()
		public.Gateway = n.gateway
		public.DevicesOff = devicesOff(n.opts.Settings.Matching)
		if n.matching.devices != nil {
			public.Devices, public.Access = n.matching.devices, n.opts.Settings.Matching.Simple.Access
		}
		d.public.server.Switch(api.NewPublic(public))
	}
	d.admin.server.Switch(api.NewAdmin(o))
}

// closePublic begins to close the public door: nobody comes in any more.
func (d *doors) closePublic() {
	if d.public != nil {
		d.public.stop()
	}
}

// close closes all doors and waits for what is under way there. Only the first call
// has something to say.
func (d *doors) close() (err error) {
	d.closing.Do(func() {
		all := []*door{d.public, d.admin, d.control, d.http01}
		for _, x := range all {
			if x != nil {
				x.stop()
			}
		}
		for _, x := range all {
			if x != nil {
				err = errors.Join(err, <-x.served)
			}
		}
	})
	return err
}

// v1Options hand the calls of /v1 the rooms that they are about.
func (n *node) v1Options() api.V1Options {
	o := api.V1Options{
		Log: n.log, Metrics: n.metrics, Now: time.Now, Away: n.away, SignIns: n.entrance.turnstile, Demo: n.opts.Settings.Demo,
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
				return api.MessageLimits{Frame: int(l.Frame), Receivers: l.GroupReceivers, Batch: l.APIBatch, Page: l.APIPage, Wait: l.APITimeout}
			},
			Stats: watched{n.stats, func() int { return n.limits().StatsStreams }}, Settings: n.opts.Book, Version: n.opts.Version, Cluster: n.clusterView(), Domains: network{n}, ChatOff: n.chat.off,
			Journal: journalWatch{n.journal.room, n}, Traffic: n.traffic.room, SignIn: n.signInUser, Services: n.registry, Audit: n.entrance.audit,
		},
	}
	if n.around.room != nil {
		o.Rooms.Nearby = n.around.room
	}
	if n.gateway != nil {
		o.Rooms.ServiceHealth = n.serviceHealth
	}
	if n.relay != nil {
		o.Rooms.Relay = n.relay
	}
	if n.around.names != nil {
		o.Rooms.Names = n.around.names.Ask
	}
	if n.chat.accounts != nil {
		o.Rooms.Accounts, o.Rooms.Chat = n.chat.accounts, n.chat.rooms
	}
	return o
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
	how := "--" + setting
	if strings.Contains(setting, ".") {
		how = "it" // which has no flag
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen for setting %q: %w; give %s another address", setting, err, how)
	}
	return l, nil
}
