package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/journal"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/match"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
	"github.com/seed-3d8c1042/switchboard/internal/socket"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// matching is who matches users and devices, and the door of devices.
type matching struct {
	room    *match.Room     // nil: nobody is matched
	devices *socket.Devices // nil: there is no such door
}

// openMatching makes what matches users and devices.
func (n *node) openMatching() error {
	s := n.opts.Settings
	if !s.Matching.Enabled {
		return nil
	}
	o := match.Options{
		Node: n.id, Shards: n.office.Shards(), Now: time.Now, Random: rand.Reader,
		Limits: matchLimits(s.Matching), Logger: n.log, Metrics: n.metrics,
		Logs: func(ctx context.Context, shard int) (match.Log, error) {
			log, err := n.bus.Matches(ctx, shard)
			if err != nil {
				return nil, err
			}
			return log, nil
		},
	}
	if n.links != nil {
		o.Nodes = n.living
	}
	var err error
	if n.matching.room, err = match.New(o); err != nil {
		return err
	}
	owners, err := n.addDuty("matching", tagMatching, matchDuty{n.matching.room, n.id})
	if err != nil {
		return err
	}
	n.matching.room.Attach(matchOwners{owners})
	return n.openDevices()
}

// runMatching has users and devices matched, until stop is called.
func (n *node) runMatching() (stop func()) {
	if n.matching.room == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- n.matching.room.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			n.log.Error("matching ended with an error", "err", err)
		}
	}
}

func matchLimits(m config.Matching) match.Limits {
	return match.Limits{
		Tickets: m.Tickets, Matches: m.Matches, PerSession: m.PerSession,
		Timeout: m.Timeout, Patience: m.Patience, GestureWindow: m.Gesture,
	}
}

// living returns the IDs of all nodes that are not dead.
func (n *node) living() (list []string) {
	for _, p := range n.peers() {
		if !p.Dead {
			list = append(list, p.ID)
		}
	}
	return list
}

// openDevices makes the simple door.
func (n *node) openDevices() (err error) {
	s := n.opts.Settings
	if !s.Matching.Simple.Enabled || !s.Has(config.RoleConnector) {
		return nil
	}
	n.matching.devices, err = socket.NewDevices(socket.DevicesOptions{
		Matches: n.matching.room, Name: s.NodeName(), Admit: n.admitDevice, AllowOrigin: n.originAllowed, Away: n.away, Note: n.noteDevice,
		Limits: func() socket.DeviceLimits {
			l, d := n.limits(), n.settings.Load().Matching.Simple
			return socket.DeviceLimits{
				Connections: l.Connections, Queue: d.Queue, Frame: int(l.Frame), HandshakeTimeout: l.HandshakeTimeout,
				PingInterval: l.PingInterval, ProofTimeout: l.ProofTimeout, MaxDistance: d.MaxDistance,
			}
		},
		Logger: n.log, Metrics: n.metrics,
	})
	return err
}

// noteDevice tells the journal what a device has done.
func (n *node) noteDevice(e socket.DeviceEvent) {
	if e.App == "" {
		e.App = n.appOfDevice(e.Device)
	}
	n.journal.room.Note(journal.Event{
		Type: journal.Type(e.Type), Device: e.Device, Amount: int64(e.Amount), App: e.App, Domain: n.opts.Settings.Domain, Capability: "match",
	})
}

// appOfDevice returns the name of the app to which a device of the simple door belongs:
// where devices are users, who sign in, it is the user's; elsewhere it is none.
func (n *node) appOfDevice(device string) string {
	if n.opts.Settings.Matching.Simple.Access != config.AccessJWT {
		return ""
	}
	return wire.UserID(device).App()
}

// admitDevice says whether a device may connect at the simple door, and until when.
func (n *node) admitDevice(r *http.Request, id string) (until time.Time, err error) {
	presented := r.URL.Query().Get("auth")
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") && presented == "" {
		presented = strings.TrimSpace(token)
	}
	switch n.opts.Settings.Matching.Simple.Access {
	case config.AccessKey:
		return n.admitByKey(presented)
	case config.AccessJWT:
		return n.admitUser(r, id, presented)
	}
	return time.Time{}, nil
}

func (n *node) admitByKey(presented string) (until time.Time, err error) {
	key, err := n.keys.Verify(presented)
	switch {
	case err != nil:
		return until, &socket.DeviceRefusal{Status: http.StatusUnauthorized, Reason: "devices connect here with an API key: in the header Authorization: Bearer sb_…, or as auth in the URL"}
	case !key.May(keys.MessagesSend):
		return until, &socket.DeviceRefusal{Status: http.StatusForbidden, Reason: "the key lacks the scope " + string(keys.MessagesSend)}
	}
	return key.Expires, nil
}

// admitUser lets a device in whose ID is a user's that may sign in.
func (n *node) admitUser(r *http.Request, id, token string) (until time.Time, err error) {
	refuse := func(status int, reason string) (time.Time, error) {
		return time.Time{}, &socket.DeviceRefusal{Status: status, Reason: reason}
	}
	user, bad := wire.ParseUserID([]byte(id))
	if bad != nil {
		return refuse(http.StatusUnauthorized, "id is to be a user ID here, which signs in with appId and auth, its token")
	}
	ctx, cancel := context.WithTimeout(r.Context(), n.limits().SignInDeadline)
	defer cancel()
	grant, err := n.apps.Authenticate(ctx, wire.Auth{AppID: r.URL.Query().Get("appId"), User: user, UserText: id, Token: token})
	var refused *apps.Refusal
	switch {
	case errors.As(err, &refused) && (refused.Code == wire.CodeBusy || refused.Code == wire.CodeHookFailed):
		return refuse(http.StatusServiceUnavailable, refused.Reason)
	case err != nil:
		return refuse(http.StatusUnauthorized, err.Error())
	}
	return grant.Expires, nil
}

// matchDuty is matching as what is done for each shard.
type matchDuty struct {
	room *match.Room
	self string
}

// Begin implements shards.Duty.
func (d matchDuty) Begin(ctx context.Context, shard int, term uint64) error {
	d.room.Begin(ctx, shard, term)
	return nil
}

// End implements shards.Duty: what Begin was given has ended.
func (matchDuty) End(int) {}

// Serve implements shards.Duty.
func (d matchDuty) Serve(shard int, from string, request []byte, answer func(reply []byte, err error)) {
	if from != d.self {
		request = bytes.Clone(request) // which is the link's
	}
	d.room.Serve(shard, from, request, answer)
}

// Told implements shards.Duty.
func (d matchDuty) Told(from string, message []byte) {
	if from != d.self {
		message = bytes.Clone(message)
	}
	d.room.Told(from, message)
}

// Moved implements shards.Duty: the room says again what is wanted, in its own order.
func (d matchDuty) Moved(shard int, _ func([]byte, func([]byte, error))) { d.room.Moved(shard) }

// Lost implements shards.Duty.
func (d matchDuty) Lost(node string) { d.room.Lost(node) }

// matchOwners is how matching reaches those who keep its shards.
type matchOwners struct{ *shards.Owners }

// Tell implements match.Owners. What does not go is missed at the other end, which is
// told so.
func (o matchOwners) Tell(node string, message []byte) { o.Owners.Tell(node, message) }
