package node

import (
	"context"
	"errors"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/gateway"
	"github.com/seed-3d8c1042/switchboard/internal/registry"
	"github.com/seed-3d8c1042/switchboard/internal/turnstile"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// openServices makes the room of services and the door to them.
func (n *node) openServices(ctx context.Context) error {
	if err := n.openRegistry(ctx); err != nil {
		return err
	}
	return n.openGateway()
}

// openGateway makes the door to the product's own services, where clients come in at all.
func (n *node) openGateway() (err error) {
	s := n.opts.Settings
	if !s.Has(config.RoleConnector) {
		return nil
	}
	n.gateway, err = gateway.New(gateway.Options{
		Config: gatewayConfig(s.Gateway), Instances: instances{n.registry}, Verifier: bearers{n},
		Now: time.Now, Log: n.log, Metrics: n.metrics, Audit: n.entrance.audit, Secure: turnstile.Secure,
	})
	return err
}

// runGateway looks after the instances until ctx ends.
func (n *node) runGateway(ctx context.Context) error {
	if n.gateway == nil {
		return nil
	}
	return n.gateway.Run(ctx)
}

// leaveGateway ends what would keep the public door open for ever.
func (n *node) leaveGateway() {
	if n.gateway != nil {
		n.gateway.Leave()
	}
}

// reloadGateway has the routes count as they are now.
func (n *node) reloadGateway(s config.Settings) {
	if n.gateway == nil {
		return
	}
	if err := n.gateway.Set(gatewayConfig(s.Gateway)); err != nil {
		n.log.Error("the routes stay as they are", "err", err)
	}
}

// gatewayConfig returns the settings as the gateway wants them.
func gatewayConfig(s config.Gateway) gateway.Config {
	c := gateway.Config{Health: gateway.Health(s.Health), Breaker: gateway.Breaker(s.Breaker)}
	for _, r := range s.Routes {
		route := gateway.Route{
			Path: r.Path, Service: r.Service, Auth: gateway.Auth(r.Auth), Apps: r.Apps, StripPrefix: r.StripPrefix, Timeout: r.Timeout, Retries: r.Retries,
			Rate: r.Rate, Burst: r.Burst, Concurrency: r.Concurrency, MaxBody: int64(r.MaxBody),
		}
		if r.Fallback != nil {
			route.Fallback = (*gateway.Fallback)(r.Fallback)
		}
		c.Routes = append(c.Routes, route)
	}
	return c
}

// instances tells the gateway of those that are registered.
type instances struct{ room *registry.Room }

// List implements gateway.Instances.
func (i instances) List(service string) []gateway.Instance {
	list := i.room.List(service)
	own := make([]gateway.Instance, len(list))
	for n, x := range list {
		own[n] = gateway.Instance{Name: x.Name, URL: x.URL, Weight: x.Weight, Health: x.Meta["health"]}
	}
	return own
}

// Watch implements gateway.Instances.
func (i instances) Watch(f func(service string)) (stop func()) { return i.room.Watch(f) }

// bearers says who shows a token: an account of chat, or a user of an app that has keys.
type bearers struct{ node *node }

// Verify implements gateway.Verifier.
func (b bearers) Verify(ctx context.Context, token string) (gateway.Caller, error) {
	grant, err := b.node.apps.Bearer(ctx, token)
	if err != nil {
		return gateway.Caller{}, refusedBearer(err)
	}
	who := gateway.Caller{User: string(grant.User), App: grant.User.App(), Expires: grant.Expires}
	if ground := grant.Ground; ground != nil {
		who.Hold = func(ctx context.Context, end func()) (func(), error) {
			release, err := ground.Hold(ctx, end)
			if err != nil {
				return nil, refusedBearer(err)
			}
			return release, nil
		}
	}
	return who, nil
}

// refusedBearer returns why a token is refused as the gateway knows it.
func refusedBearer(err error) error {
	var r *apps.Refusal
	if !errors.As(err, &r) {
		return err
	}
	return &wire.Error{Kind: wire.KindAuthReply, Code: r.Code, Reason: r.Reason}
}

// serviceHealth says how an instance stands at the gateway of this node.
func (n *node) serviceHealth(service, name string) (api.ServiceHealth, bool) {
	s, known := n.gateway.State(service, name)
	return api.ServiceHealth{State: s.Word, Since: s.Since, Reason: s.Reason, InFlight: s.InFlight}, known
}
