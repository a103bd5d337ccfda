package node

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
	"github.com/seed-3d8c1042/switchboard/internal/webhooks"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// openWebhooks makes the room of webhooks, on the keeper's mailboxes and the
// stream of their history.
func (n *node) openWebhooks(ctx context.Context) error {
	s := n.opts.Settings
	trail, err := n.bus.Trail(ctx, trailLimits(s.Limits))
	if err != nil {
		return fmt.Errorf("open the history of webhooks in %s: %w", s.Data, err)
	}
	o := webhooks.Options{
		Queue: eventQueue{n.office}, Archive: trail, Logger: n.log, Metrics: n.metrics, Version: n.opts.Version,
		Webhooks: webhooksOf(hookApps(s)), Limits: webhookLimits(s.Limits), Place: n.placeOf,
	}
	if n.links != nil {
		o.Nodes = tagged{n.links, tagHooks}
	}
	n.webhooks, err = webhooks.New(o)
	return err
}

// placeOf returns the keeper of a webhook's events, if it is on this node.
func (n *node) placeOf(of webhooks.Name) any {
	if k := n.office.Keeper(n.office.ShardOf(mailbox.Subscriber(of.App, of.Name))); k != nil {
		return k
	}
	return nil
}

// reloadWebhooks puts new settings of webhooks into effect.
func (n *node) reloadWebhooks(ctx context.Context, s config.Settings) {
	n.office.SetSubscriptions(subscriptionsOf(hookApps(s)))
	n.webhooks.Replace(webhooksOf(hookApps(s)), webhookLimits(s.Limits))
	if _, err := n.bus.Trail(ctx, trailLimits(s.Limits)); err != nil {
		n.log.Error("the limits of the webhooks' history stay as they are", "err", err)
	}
}

// hookApps returns the apps that may have webhooks: those of the settings, and that of
// chat.
func hookApps(s config.Settings) []config.App {
	if !s.Chat.Enabled {
		return s.Apps
	}
	return append(slices.Clip(s.Apps), config.App{Name: s.Chat.AppName, Webhooks: s.Chat.Webhooks})
}

func trailLimits(l config.Limits) bus.TrailLimits {
	return bus.TrailLimits{Age: l.WebhookHistory, Bytes: int64(l.WebhookHistoryBytes)}
}

func webhookLimits(l config.Limits) webhooks.Limits {
	return webhooks.Limits{Timeout: l.WebhookTimeout, Retry: l.WebhookRetry, Concurrency: l.WebhookConcurrency}
}

func webhooksOf(list []config.App) (hooks []webhooks.Webhook) {
	for _, a := range list {
		for _, w := range a.Webhooks {
			hooks = append(hooks, webhooks.Webhook{
				Of: webhooks.Name{App: a.Name, Name: w.Name}, URL: w.URL, Keys: webhookKeys(w),
				Events: w.Events, AllowPrivate: w.AllowPrivate, HideURL: w.HideURL,
			})
		}
	}
	return hooks
}

// webhookKeys returns what a webhook's events are signed with. The settings have
// been checked.
func webhookKeys(w config.Webhook) (keys [][]byte) {
	for _, secret := range []config.Secret{w.Secret, w.SecondSecret} {
		if key, err := config.WebhookKey(secret); err == nil {
			keys = append(keys, key)
		}
	}
	return keys
}

// subscriptionsOf says which events the keeper writes for which webhook.
func subscriptionsOf(list []config.App) map[string][]mailbox.Subscription {
	byApp := make(map[string][]mailbox.Subscription)
	for _, a := range list {
		for _, w := range a.Webhooks {
			has := func(event string) bool { return slices.Contains(w.Events, event) }
			byApp[a.Name] = append(byApp[a.Name], mailbox.Subscription{
				To: mailbox.Subscriber(a.Name, w.Name), Connected: has("connected"), Disconnected: has("disconnected"),
				Delivered: has("delivered"), Undelivered: has("undelivered"), Expired: has("expired"),
			})
		}
	}
	return byApp
}

// errElsewhere says that a webhook's events are another node's to post.
var errElsewhere = errors.New("another node keeps the events of this webhook")

// eventQueue is how webhooks reach the mailboxes in which their events wait.
type eventQueue struct{ keepers *shards.Office }

// Open implements webhooks.Queue.
func (q eventQueue) Open(of webhooks.Name, window int, out webhooks.Outlet) (webhooks.Session, error) {
	id, err := wire.NewID(time.Now(), rand.Reader)
	if err != nil {
		return nil, err
	}
	user := mailbox.Subscriber(of.App, of.Name)
	keeper := q.keepers.Keeper(q.keepers.ShardOf(user))
	if keeper == nil {
		return nil, errElsewhere
	}
	keeper.Open(mailbox.Session{ID: id, User: user, Push: true, Each: true, Window: window, Outlet: eventOutlet(out)})
	return eventSession{keeper, id}, nil
}

// Backlog implements webhooks.Queue.
func (q eventQueue) Backlog(ctx context.Context, of webhooks.Name) (webhooks.Backlog, error) {
	m, err := q.keepers.Mailbox(ctx, mailbox.Subscriber(of.App, of.Name))
	return webhooks.Backlog{Events: m.Messages, Bytes: m.Bytes, Oldest: m.Oldest, Dropped: m.Dropped}, err
}

// Put implements webhooks.Queue.
func (q eventQueue) Put(ctx context.Context, of webhooks.Name, frames [][]byte) (int, error) {
	p := &put{failed: make([]*wire.Error, len(frames))}
	to := []wire.UserID{mailbox.Subscriber(of.App, of.Name)}
	list := make([]*mailbox.Message, len(frames))
	p.left.Add(len(frames))
	for i, frame := range frames {
		list[i] = &mailbox.Message{From: to[0], To: to, Frame: frame, Notice: true, Receipt: true, Origin: putOne{p, i}, Done: p.left.Done}
	}
	q.keepers.AcceptAll(list, nil)
	done := make(chan struct{})
	go func() { // ends with the keeper's answers, which come in any case
		defer close(done)
		p.left.Wait()
	}()
	select {
	case <-done:
		return p.outcome()
	case <-ctx.Done():
		return 0, fmt.Errorf("wait for the message store: %w", ctx.Err())
	}
}

// put is a list of frames on its way into a mailbox.
type put struct {
	left   sync.WaitGroup
	failed []*wire.Error // each written before its Done
}

// outcome returns how many are stored before the first that is not, and why that
// is not.
func (p *put) outcome() (stored int, err error) {
	for i, e := range p.failed {
		switch {
		case e == nil:
		case e.Code == wire.CodeMailboxFull:
			return i, fmt.Errorf("%w: %w", webhooks.ErrQueueFull, e)
		default:
			return i, e
		}
	}
	return len(p.failed), nil
}

// putOne is the origin of one of them.
type putOne struct {
	*put
	i int
}

// Stored implements mailbox.Origin.
func (putOne) Stored(wire.ID, []byte) {}

// Failed implements mailbox.Origin.
func (p putOne) Failed(e *wire.Error, _ []byte) { p.failed[p.i] = e }

// eventSession is a webhook's open mailbox.
type eventSession struct {
	keeper *mailbox.Keeper
	id     wire.ID
}

// Prove implements webhooks.Session.
func (s eventSession) Prove(n uint64) { s.keeper.ProveEach(s.id, n) }

// Close implements webhooks.Session.
func (s eventSession) Close() { s.keeper.Close(s.id) }

// eventOutlet is a webhook as a mailbox sees it.
type eventOutlet webhooks.Outlet

// Deliver implements mailbox.Outlet.
func (o eventOutlet) Deliver(d mailbox.Delivery) { o(d.N, d.ID, d.Frame) }

// FetchDone implements mailbox.Outlet; nothing is fetched.
func (eventOutlet) FetchDone(int) {}

// Settled implements mailbox.Outlet; whoever proves each is not told.
func (eventOutlet) Settled(uint64) {}

// Opened implements mailbox.Outlet; what is delivered says enough.
func (eventOutlet) Opened(uint64) {}
