package node

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/api"
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
		Matches: n.matching.room, Name: s.NodeName(), Admit: n.admitDevice, Refuse: refuseDevice, AllowOrigin: n.originAllowed, Away: n.away, Note: n.noteDevice, Exempt: n.entrance.turnstile.Exempt,
		Limits: func() socket.DeviceLimits {
			l, d := n.limits(), n.settings.Load().Matching.Simple
			return socket.DeviceLimits{
				Connections: l.Connections, Queue: d.Queue, QueueBytes: int(l.QueueBytes), Frame: int(l.Frame), HandshakeTimeout: l.HandshakeTimeout,
				PingInterval: l.PingInterval, ProofTimeout: l.ProofTimeout, MaxDistance: d.MaxDistance,
				Rates: socket.Rates{Frames: l.FrameRate, Bytes: int(l.ByteRate)},
			}
		},
		Logger: n.log, Metrics: n.metrics,
	})
	return err
}

// devicesOff says which setting keeps devices out where the simple door is off.
func devicesOff(m config.Matching) string {
	switch {
	case !m.Enabled && m.Simple.Enabled:
		return "devices cannot connect here: matching is off, and with it the simple door; the setting matching.enabled turns it on"
	case !m.Enabled:
		return "devices cannot connect here: the settings matching.enabled and matching.simple.enabled let them"
	}
	return "devices cannot connect here: the setting matching.simple.enabled lets them"
}

// noteDevice tells the journal what a device has done.
func (n *node) noteDevice(e socket.DeviceEvent) {
	n.journal.room.Note(journal.Event{
		Type: journal.Type(e.Type), Device: e.Device, Amount: int64(e.Amount), App: e.App, Domain: n.opts.Settings.Domain, Capability: "match",
	})
}

// admitDevice says whether a device may connect at the simple door, and as what.
func (n *node) admitDevice(r *http.Request, id string) (socket.DeviceGrant, error) {
	presented := r.URL.Query().Get("auth")
	if scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") && presented == "" {
		presented = strings.TrimSpace(token)
	}
	var grant socket.DeviceGrant
	var err error
	switch n.opts.Settings.Matching.Simple.Access {
	case config.AccessKey:
		grant, err = n.admitByKey(presented)
	case config.AccessJWT:
		if wait := n.entrance.turnstile.Blocked(r.RemoteAddr); wait > 0 { // an app's own server would be asked
			return grant, n.entrance.deviceRefused(r, tooManyGuesses(wait))
		}
		grant, err = n.admitUser(r, id, presented)
	}
	if no, ok := errors.AsType[*socket.DeviceRefusal](err); ok {
		if wait := n.entrance.guessed(r.RemoteAddr, no.Status, no.Code); wait > 0 {
			no = tooManyGuesses(wait)
		}
		err = n.entrance.deviceRefused(r, no)
	}
	return grant, err
}

// tooManyGuesses is what a device is told that is where too many sign-ins have failed.
func tooManyGuesses(wait time.Duration) *socket.DeviceRefusal {
	return &socket.DeviceRefusal{
		Status: http.StatusTooManyRequests, Code: wire.CodeRateLimited, Reason: "too many sign-ins from this address have failed", RetryAfter: wait,
	}
}

func (n *node) admitByKey(presented string) (socket.DeviceGrant, error) {
	refuse := func(status int, code, reason string) (socket.DeviceGrant, error) {
		return socket.DeviceGrant{}, &socket.DeviceRefusal{Status: status, Code: code, Reason: reason}
	}
	if presented == "" {
		return refuse(http.StatusUnauthorized, api.CodeAuthRequired, "devices connect here with an API key: in the header Authorization: Bearer sb_…, or as auth in the URL")
	}
	key, err := n.keys.Verify(presented)
	switch {
	case errors.Is(err, keys.ErrExpired):
		return refuse(http.StatusUnauthorized, api.CodeKeyExpired, "the key has expired")
	case errors.Is(err, keys.ErrMalformed):
		return refuse(http.StatusUnauthorized, api.CodeKeyInvalid, "what was sent is no API key: one is sb_, its ID, _ and its secret")
	case err != nil:
		return refuse(http.StatusUnauthorized, api.CodeKeyInvalid, "the key is wrong: there is no such key, or it was revoked")
	case !key.May(keys.MessagesSend):
		return socket.DeviceGrant{}, &socket.DeviceRefusal{
			Status: http.StatusForbidden, Code: api.CodeScopeMissing, Scope: string(keys.MessagesSend), Reason: "the key lacks the scope " + string(keys.MessagesSend),
		}
	case key.App != "" && !n.apps.Known(key.App):
		return refuse(http.StatusForbidden, api.CodeForbidden, "the key is of app "+key.App+", which is not in the settings any more")
	}
	return socket.DeviceGrant{App: key.App, Until: key.Expires}, nil
}

// admitUser lets a device in whose ID is a user's that may sign in.
func (n *node) admitUser(r *http.Request, id, token string) (socket.DeviceGrant, error) {
	user, bad := wire.ParseUserID([]byte(id))
	if bad != nil {
		return socket.DeviceGrant{}, &socket.DeviceRefusal{
			Status: http.StatusBadRequest, Code: api.CodeInvalidRequest, Field: "id",
			Reason: "id has to be a user ID here, such as ANZ-7, which signs in with appId and auth, its token",
		}
	}
	appID := r.URL.Query().Get("appId")
	if appID == "" {
		return socket.DeviceGrant{}, &socket.DeviceRefusal{
			Status: http.StatusBadRequest, Code: api.CodeInvalidRequest, Field: "appId",
			Reason: "appId is needed: that of the user's app",
		}
	}
	ctx, cancel := context.WithTimeout(r.Context(), n.limits().SignInDeadline)
	defer cancel()
	grant, err := n.apps.Authenticate(ctx, wire.Auth{AppID: appID, User: user, UserText: id, Token: token})
	var refused *apps.Refusal
	switch {
	case err == nil:
		return socket.DeviceGrant{App: user.App(), Until: grant.Expires}, nil
	case !errors.As(err, &refused):
		return socket.DeviceGrant{}, err
	}
	status := http.StatusUnauthorized
	switch refused.Code {
	case wire.CodeBusy, wire.CodeHookFailed, wire.CodeStoreDown:
		status = http.StatusServiceUnavailable
	}
	return socket.DeviceGrant{}, &socket.DeviceRefusal{Status: status, Code: refused.Code, Reason: refused.Reason}
}

// refuseDevice answers as calls are.
func refuseDevice(w http.ResponseWriter, r *socket.DeviceRefusal) {
	refused := &api.Refusal{Status: r.Status, Code: r.Code, Detail: r.Reason, Field: r.Field, RetryAfter: r.RetryAfter}
	if r.Scope != "" {
		refused.More = map[string]any{"scope": r.Scope}
	}
	api.Deny(w, refused)
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
