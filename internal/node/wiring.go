package node

import (
	"github.com/seed-3d8c1042/switchboard/internal/apps"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/shards"
	"github.com/seed-3d8c1042/switchboard/internal/stats"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// reliable is how the hub reaches the keepers.
type reliable struct{ keepers *shards.Office }

// Accept implements delivery.Keeper.
func (r reliable) Accept(s *delivery.Send, frame []byte) {
	m := messageOf(s, frame)
	r.keepers.Accept(&m)
}

// AcceptAll implements delivery.Keeper.
func (r reliable) AcceptAll(list []*delivery.Send, frames [][]byte, once *delivery.Once) {
	messages, pointers := make([]mailbox.Message, len(list)), make([]*mailbox.Message, len(list))
	for i, s := range list {
		m := &messages[i]
		*m = messageOf(s, frames[i])
		pointers[i] = m
		if once != nil {
			m.Done = func() {
				s.Repeated = m.Repeated
				if s.Done != nil {
					s.Done()
				}
			}
		}
	}
	r.keepers.AcceptAll(pointers, (*mailbox.Once)(once))
}

func messageOf(s *delivery.Send, frame []byte) mailbox.Message {
	m := mailbox.Message{
		From: s.From, To: s.To, Group: s.Group, Notice: s.Notice,
		Frame: frame, Reference: s.Reference, Confirm: s.Confirm, Quiet: s.Quiet, Receipt: s.Receipt, TTL: s.TTL,
		Producer: s.Producer, Seq: s.Seq, Index: s.Index, Origin: s.Origin, Done: s.Done,
	}
	if p := s.Past; p != nil {
		m.ID, m.Expires, m.Presence, m.Via, m.Place, m.Low, m.Line = p.ID, p.Expires, p.Presence, p.Via, p.Place, p.Low, p.Line
	}
	return m
}

// Confirm implements delivery.Keeper.
func (r reliable) Confirm(sender, receiver wire.UserID, reference []byte) {
	r.keepers.Accept(&mailbox.Message{
		From: receiver, To: []wire.UserID{sender}, Frame: wire.AppendConfirmation(nil, reference), Notice: true,
	})
}

// access is how the hub asks who may reach whom.
type access struct{ *apps.Registry }

// IsMaster implements delivery.Access.
func (a access) IsMaster(user wire.UserID) bool {
	master, ok := a.MasterOf(user.App())
	return ok && master == user
}

// watched is how the calls reach the stats: only so many may watch.
type watched struct {
	*stats.Sampler
	most func() int
}

// Watch implements api.Stats.
func (w watched) Watch() (leave func(), ok bool) { return w.Sampler.Watch(w.most()) }

// mailboxLimits are those of one keeper, of so many on this node: what may wait in all
// mailboxes together is memory of the node.
func mailboxLimits(l config.Limits, keepers int) mailbox.Limits {
	keepers = max(keepers, 1)
	return mailbox.Limits{
		Age: l.MailboxAge, Messages: l.MailboxMessages, Bytes: int64(l.MailboxBytes), Waiting: (l.WaitingMessages + keepers - 1) / keepers,
		Keyed: l.IdempotencyAge, KeyedRequests: l.IdempotencyRequests, Producers: l.Producers,
		LinkBytes: int64(l.LinkBytes), LinkAge: l.LinkAge,
		Events: l.WebhookQueue, EventBytes: int64(l.WebhookQueueBytes), Undelivered: l.UndeliveredAfter,
	}
}

func appsOf(list []config.App) []apps.App {
	out := make([]apps.App, len(list))
	for i, a := range list {
		out[i] = apps.App{
			Name: a.Name, ID: a.ID, Master: wire.UserID(a.Master),
			AuthEnabled: a.AuthEnabled, AuthURL: a.AuthURL, AllowApps: a.AllowApps,
		}
		if j := a.JWT; j != nil {
			out[i].JWT = &apps.JWT{
				Secret: string(j.Secret), PublicKey: j.PublicKey, JWKSURL: j.JWKSURL,
				Issuer: j.Issuer, Audience: j.Audience,
			}
		}
	}
	return out
}
