package node

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"

	"golang.org/x/sync/errgroup"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/api"
	"github.com/seed-3d8c1042/switchboard/internal/apps"
	rooms "github.com/seed-3d8c1042/switchboard/internal/chat"
	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/db"
	"github.com/seed-3d8c1042/switchboard/internal/webhooks"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// DatabaseFile is the database in the data folder, where no other is named.
const DatabaseFile = "switchboard.db"

// chat is what a node has of accounts and rooms. Without them db and accounts are nil,
// and off says why.
type chat struct {
	off      string
	db       *db.DB
	accounts *accounts.Room
	rooms    *rooms.Chat

	migrating sync.WaitGroup // the first attempt to bring the database up to date
	migrated  error          // what came of it, once that is over
	stop      context.CancelFunc
}

// openDatabase opens the database, if this node is to have accounts and rooms, and
// begins to bring it up to date, beside what else the start takes.
func (n *node) openDatabase(ctx context.Context) (err error) {
	s := n.opts.Settings
	switch off := s.ChatOff(); {
	case !s.Chat.Enabled:
		return nil
	case !s.Has(config.RoleConnector):
		n.chat.off = "this node is a processor, which has no accounts and rooms: ask a connector"
		return nil
	case off != nil:
		n.chat.off = off.Error()
		n.log.Warn("there are no accounts and rooms on this node", "err", off)
		return nil
	}
	n.chat.db, err = db.New(db.Options{
		URL: s.DB.URL, Path: filepath.Join(s.Data, DatabaseFile), Connections: s.DB.Connections,
		Free:    func() (uint64, error) { return n.bus.Free() }, // of the same folder; it is open before anything is written
		MinFree: func() uint64 { return uint64(n.limits().MinDiskFree) }, Log: n.log, Metrics: n.metrics,
	})
	if err != nil {
		return err
	}
	ctx, n.chat.stop = context.WithCancel(ctx)
	n.chat.migrating.Go(func() { n.chat.migrated = n.chat.db.Migrate(ctx) })
	return nil
}

// awaitDatabase waits until the database is up to date, or does not answer: then that
// is tried again while the node runs. One that a newer program has changed, that is
// damaged, or that this one cannot read otherwise, ends the start.
func (n *node) awaitDatabase(ctx context.Context) error {
	if n.chat.db == nil {
		return nil
	}
	n.stage.is("opening the database")
	n.chat.migrating.Wait()
	err := n.chat.migrated
	switch {
	case err == nil || ctx.Err() != nil:
		return ctx.Err()
	case !errors.Is(err, db.ErrDown) && !errors.Is(err, db.ErrFull):
		return err
	}
	n.log.Error("accounts and rooms have to wait for the database", "err", err)
	return nil
}

// closeDatabase closes what openDatabase opened.
func (n *node) closeDatabase() error {
	if n.chat.db == nil {
		return nil
	}
	n.chat.stop()
	n.chat.migrating.Wait()
	return n.chat.db.Close()
}

// runChat does what is done beside the calls about accounts.
func (n *node) runChat(ctx context.Context) error {
	var all errgroup.Group
	all.Go(func() error {
		if err := n.chat.db.Tend(ctx); err != nil {
			n.log.Error("there are no accounts and rooms on this node", "err", err)
		}
		return nil
	})
	all.Go(func() error { return n.chat.accounts.Run(ctx) })
	return all.Wait()
}

// buildAccounts makes the room of accounts, on the database.
func (n *node) buildAccounts() (err error) {
	if n.chat.db == nil {
		return nil
	}
	s := n.opts.Settings
	o := accounts.Options{
		Store: n.chat.db.Accounts(), App: s.Chat.AppName, AppID: s.Chat.AppID, Issuer: s.Domain, SignUp: s.Chat.SignUp,
		Lifetimes: accounts.Lifetimes{Access: s.Chat.AccessToken, Refresh: s.Chat.RefreshToken, Reset: s.Chat.ResetToken},
		Limits: func() accounts.Limits {
			l := n.limits()
			return accounts.Limits{SignUps: l.SignUps, Sessions: l.AccountSessions, Blocks: l.BlockedUsers}
		},
		Now: time.Now, Random: rand.Reader, Log: n.log, Metrics: n.metrics,
	}
	if n.links != nil {
		o.Nodes, o.Apart = tagged{n.links, tagAccounts}, n.links.Apart
	}
	wants := func(w config.Webhook) bool { return slices.Contains(w.Events, "passwordReset") }
	if slices.ContainsFunc(s.Chat.Webhooks, wants) {
		o.Deliver = n.deliverReset
	}
	if n.abroad != nil {
		o.Place = n.abroad.ownNumber(s.Chat.AppName)
	}
	if err := n.buildChat(); err != nil {
		return err
	}
	o.Chat, o.Empty, o.SignedOut = n.chat.rooms, n.emptyMailbox, n.signedOut
	n.chat.accounts, err = accounts.New(o)
	return err
}

// emptyMailbox takes out what waits for somebody who is about to have an account.
func (n *node) emptyMailbox(ctx context.Context, user wire.UserID) error {
	ctx, cancel := context.WithTimeout(ctx, n.limits().APITimeout)
	defer cancel()
	_, err := n.office.Clear(ctx, user)
	if errors.Is(err, context.DeadlineExceeded) {
		err = &wire.Error{Kind: wire.KindGeneralError, Code: wire.CodeTimeout, Reason: "the message store did not answer; try again later"}
	}
	return err
}

// deliverReset puts the token with which somebody sets his password anew into the
// queues of the webhooks that want it.
func (n *node) deliverReset(ctx context.Context, r accounts.Reset) error {
	s := n.opts.Settings.Chat
	event, err := json.Marshal(map[string]any{
		"type": "passwordReset", "timestamp": api.Time(time.Now()), "data": map[string]any{
			"app": s.AppName, "userId": r.User, "username": r.Username, "token": r.Token, "expiresAt": api.Time(r.Expires),
		},
	})
	if err != nil {
		return err
	}
	for _, w := range s.Webhooks {
		if slices.Contains(w.Events, "passwordReset") {
			_, put := eventQueue{n.office}.Put(ctx, webhooks.Name{App: s.AppName, Name: w.Name}, [][]byte{event})
			err = errors.Join(err, put)
		}
	}
	return err
}

// ownNumber returns a function that says which of an app's numbers is the first from
// one on that lives here. Before there is a description nobody knows.
func (a *abroad) ownNumber(app string) func(int64) (int64, bool) {
	return func(from int64) (int64, bool) {
		network := a.inEffect()
		if network == nil {
			return 0, false
		}
		return network.Next(app, a.self, from)
	}
}

// withChat adds the app of chat to others. It has its own authority, whatever the
// network says of an app of that name.
func (n *node) withChat(list []apps.App) []apps.App {
	if n.chat.accounts == nil {
		return list
	}
	s := n.opts.Settings.Chat
	app := apps.App{Name: s.AppName, ID: s.AppID, AuthEnabled: true, Authority: signInWith{n.chat.accounts}}
	list = slices.DeleteFunc(list, func(a apps.App) bool { return a.Name == app.Name })
	return append(list, app)
}

// signInWith lets those sign in on sockets who have an access token.
type signInWith struct{ accounts *accounts.Room }

// Check implements apps.Authority.
func (s signInWith) Check(ctx context.Context, a wire.Auth) (apps.Basis, error) {
	h, err := s.accounts.Verify(ctx, a.Token)
	if err != nil {
		return apps.Basis{}, refusedSignIn(err)
	}
	if h.User != a.User {
		return apps.Basis{}, apps.Refuse(wire.CodeBadToken, "The token is not valid for this user.", nil)
	}
	return apps.Basis{Expires: h.Expires, Ground: session{s.accounts, h}}, nil
}

// session is what a sign-in on a socket rests on: a session of an account.
type session struct {
	accounts *accounts.Room
	holder   accounts.Holder
}

// Hold implements apps.Ground.
func (s session) Hold(ctx context.Context, end func()) (func(), error) {
	release, err := s.accounts.Hold(ctx, s.holder, end)
	if err != nil {
		return nil, refusedSignIn(err)
	}
	return release, nil
}

// refusedSignIn returns what the accounts refuse as sign-ins are refused.
func refusedSignIn(err error) error {
	if errors.Is(err, db.ErrDown) { // it passes, so clients are not to take it as the last word
		return apps.Refuse(wire.CodeStoreDown, "The database does not answer.", err)
	}
	if errors.Is(err, db.ErrDamaged) {
		return apps.Refuse(wire.CodeStoreDown, "The database is damaged.", err)
	}
	var r *accounts.Refusal
	if !errors.As(err, &r) {
		return err
	}
	first, rest := r.Reason[:1], r.Reason[1:]
	return apps.Refuse(r.Code, strings.ToUpper(first)+strings.TrimRightFunc(rest, unicode.IsPunct)+".", nil)
}

// shown says as whom somebody wants to sign in who shows a token.
func shown(token string) wire.Auth {
	a := wire.Auth{Token: token}
	a.AppID, a.UserText = accounts.Peek(token)
	if user, err := wire.ParseUserID(a.UserText); err == nil {
		a.User = user
	}
	return a
}

// chatPart is the part chat of readiness: without it the node does all else, so it is
// ready.
func (n *node) chatPart() []api.Part {
	if !n.opts.Settings.Chat.Enabled || !n.opts.Settings.Has(config.RoleConnector) {
		return nil
	}
	return []api.Part{{Name: "chat", Check: func() error { return nil }, Note: func() string {
		switch {
		case n.chat.db == nil:
			return n.chat.off
		case n.chat.db.Damaged():
			return "the database is damaged: see the log, and docs/chat.md"
		case !n.chat.db.Ready() || n.chat.db.Down():
			return "the database does not answer, so there are no accounts and rooms at present"
		}
		return ""
	}}}
}

// sayChat is one of the start-up lines.
func (n *node) sayChat() {
	switch s := n.opts.Settings; {
	case n.chat.db == nil && n.chat.off != "":
		n.say("chat", "off: "+n.chat.off)
	case n.chat.db != nil && s.DB.URL != "":
		n.say("chat", fmt.Sprintf("app %s (appId %s), in PostgreSQL", s.Chat.AppName, s.Chat.AppID))
	case n.chat.db != nil:
		n.say("chat", fmt.Sprintf("app %s (appId %s), in %s", s.Chat.AppName, s.Chat.AppID, filepath.Join(s.Data, DatabaseFile)))
	}
}
