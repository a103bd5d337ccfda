package api

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/seed-3d8c1042/switchboard/internal/config"
	"github.com/seed-3d8c1042/switchboard/internal/delivery"
	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/mailbox"
	"github.com/seed-3d8c1042/switchboard/internal/settings"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// desk is a world with a real hub, and a store and mailboxes that do what the
// test says.
type desk struct {
	*world
	hub    *delivery.Hub
	store  *store
	limits MessageLimits
	key    func(*http.Request) // of app ANZ, with all scopes
	homes  homes
}

func newDesk(t testing.TB) *desk {
	d := &desk{world: newWorld(t), store: &store{}, homes: homes{}, limits: MessageLimits{Frame: 2000, Receivers: 5, Batch: 4, Wait: time.Minute}}
	d.hub = delivery.New(delivery.Options{
		Keeper: d.store, Access: reach{}, Sessions: func() int { return 3 }, Group: func() int { return d.limits.Receivers },
	})
	v1, err := NewV1(V1Options{
		Log: slog.New(slog.DiscardHandler), Metrics: prometheus.NewRegistry(),
		Now: func() time.Time { return d.now }, Limits: func() V1Limits { return d.world.limits },
		Rooms: Rooms{
			Keys: d.ring, Apps: oneBare{"ANZ", "SHOP", "BARE"}, Hub: d.hub, Mailboxes: d.store, Domains: d.homes, Settings: settings.Fixed(config.Defaults()),
			Messages: func() MessageLimits { return d.limits },
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := options()
	o.MaxBody, o.V1 = func() int64 { return 10_000 }, v1
	d.h = NewPublic(o)
	d.key = with(d.world.key("ANZ", keys.Scopes()...))
	return d
}

// homes are where users live who do not live here.
type homes map[wire.UserID]Home

func (h homes) Home(user wire.UserID) (home Home, here bool) {
	home, away := h[user]
	return home, !away
}

func (homes) Domains(context.Context) (DomainsAnswer, error) { return DomainsAnswer{}, nil }

func (homes) Trace(context.Context, wire.UserID) (TraceAnswer, error) { return TraceAnswer{}, nil }

// oneBare are apps of which BARE has no master user.
type oneBare []string

func (a oneBare) Names() []string { return a }

func (a oneBare) Known(app string) bool { return someApps(a).Known(app) }

func (a oneBare) MasterOf(app string) (wire.UserID, bool) {
	master, ok := someApps(a).MasterOf(app)
	return master, ok && app != "BARE"
}

// reach lets users of ANZ reach those of SHOP.
type reach struct{}

func (reach) Known(app string) bool         { return app == "ANZ" || app == "SHOP" || app == "BARE" }
func (reach) MayReach(from, to string) bool { return from == "ANZ" && to == "SHOP" }
func (reach) IsMaster(wire.UserID) bool     { return false }

// store stands for the keeper.
type store struct {
	outcome func(s *delivery.Send) *wire.Error // of a message; nil: stored
	silent  func(s *delivery.Send) bool        // nothing is heard of it
	fail    error                              // of questions about mailboxes
	forget  bool                               // what came before
	waits   bool                               // they are answered when their time is over
	box     mailbox.Mailbox
	waiting []mailbox.Waiting

	mu      sync.Mutex
	taken   []kept
	once    []*delivery.Once
	cleared []wire.UserID
}

// kept is a message as it was handed over.
type kept struct {
	delivery.Send
	frame string
}

func (k *store) Accept(s *delivery.Send, frame []byte) {
	k.AcceptAll([]*delivery.Send{s}, [][]byte{frame}, nil)
}

func (k *store) AcceptAll(list []*delivery.Send, frames [][]byte, once *delivery.Once) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.forget {
		k.taken, k.once = k.taken[:0], k.once[:0]
	}
	k.once = append(k.once, once)
	for i, s := range list {
		k.taken = append(k.taken, kept{*s, string(frames[i])})
		if k.silent != nil && k.silent(s) {
			continue
		}
		var e *wire.Error
		if k.outcome != nil {
			e = k.outcome(s)
		}
		if e != nil {
			s.Origin.Failed(e, s.Reference)
		}
		if e == nil || len(e.To) < len(s.To) {
			s.Origin.Stored(idOf(s.Index), s.Reference)
		}
		s.Done()
	}
}

func (k *store) Confirm(wire.UserID, wire.UserID, []byte) {}

// idOf is the ID under which a message of a request is stored.
func idOf(index int) wire.ID {
	return wire.ID{5: 1, 6: 0x70, 8: 0x80, 15: byte(index)}
}

func (k *store) Mailbox(ctx context.Context, _ wire.UserID) (mailbox.Mailbox, error) {
	return k.box, k.answer(ctx)
}

func (k *store) Peek(ctx context.Context, _ wire.UserID, after uint64, limit int) ([]mailbox.Waiting, bool, error) {
	if err := k.answer(ctx); err != nil {
		return nil, false, err
	}
	var list []mailbox.Waiting
	for _, w := range k.waiting {
		switch {
		case w.Place <= after:
		case len(list) == limit:
			return list, true, nil
		default:
			list = append(list, w)
		}
	}
	return list, false, nil
}

func (k *store) Clear(ctx context.Context, user wire.UserID) (int, error) {
	if err := k.answer(ctx); err != nil {
		return 0, err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.cleared = append(k.cleared, user)
	return len(k.waiting), nil
}

func (k *store) answer(ctx context.Context) error {
	if k.waits {
		<-ctx.Done()
		return fmt.Errorf("wait: %w", ctx.Err())
	}
	return k.fail
}

// failing has every message refused with a code.
func (k *store) failing(code string, more ...func(*wire.Error)) {
	k.outcome = func(s *delivery.Send) *wire.Error {
		e := &wire.Error{Kind: wire.KindDeliverFailed, Code: code, Reason: "because", To: s.To, Group: s.Group}
		for _, f := range more {
			f(e)
		}
		return e
	}
}

// caller is a session that gets messages.
type caller struct {
	id     wire.ID
	user   wire.UserID
	frames []string
	closed []uint16
}

func (c *caller) ID() wire.ID       { return c.id }
func (c *caller) User() wire.UserID { return c.user }
func (c *caller) Address() string   { return "192.0.2.7:1234" }
func (c *caller) Transport() string { return "websocket" }
func (c *caller) Fast(frame []byte, _ func()) bool {
	c.frames = append(c.frames, string(frame))
	return true
}
func (c *caller) Queue(frame []byte, proof func()) bool { return c.Fast(frame, proof) }
func (c *caller) Write()                                {}
func (c *caller) Kick(code uint16, _ string)            { c.closed = append(c.closed, code) }
func (c *caller) Presence(wire.UserID, bool)            {}
func (c *caller) Away() (time.Duration, bool)           { return 0, false }
func (c *caller) GiveWay() bool                         { return false }

// connect adds a session of a user; n tells them apart.
func (d *desk) connect(user wire.UserID, n byte) *caller {
	d.t.Helper()
	c := &caller{id: wire.ID{4: 0x10, 6: 0x70, 8: 0x80, 15: n}, user: user}
	if _, err := d.hub.Add(c, nil); err != nil {
		d.t.Fatal(err)
	}
	return c
}

// post sends a body and returns the answer's status and text.
func (d *desk) post(path, text string, change ...func(*http.Request)) (int, string) {
	d.t.Helper()
	answer, said := ask(d.t, d.h, "POST", path, append([]func(*http.Request){d.key, body(text)}, change...)...)
	d.described("POST", path, answer.StatusCode, said)
	return answer.StatusCode, said
}

// described checks that an answer is what the OpenAPI document says of the path.
func (d *desk) described(method, path string, status int, said string) {
	d.t.Helper()
	doc := loaded(d.t)
	answer := member(member(doc.operations()[method+" "+path], "responses"), fmt.Sprint(status))
	if answer == nil {
		d.t.Errorf("%s %s: the document does not know of %d: %.200s", method, path, status, said)
		return
	}
	pointer := "/paths/" + strings.NewReplacer("/", "~1", "{", "%7B", "}", "%7D").Replace(path) + "/" + strings.ToLower(method) + "/responses/" + fmt.Sprint(status)
	if ref := text(answer, "$ref"); ref != "" {
		pointer = strings.TrimPrefix(ref, "#")
	}
	kind := map[bool]string{true: "application~1json", false: "application~1problem+json"}[status < 300]
	value, err := jsonschema.UnmarshalJSON(strings.NewReader(said))
	if err != nil {
		d.t.Fatalf("%s: %v", said, err)
	}
	if err := doc.schemaOf(d.t, doc.compiler(d.t), pointer+"/content/"+kind+"/schema").Validate(value); err != nil {
		d.t.Errorf("%s %s: %d %s is not what the document says: %v", method, path, status, said, err)
	}
}

// want posts and compares.
func (d *desk) want(status int, want, path, text string, change ...func(*http.Request)) {
	d.t.Helper()
	if got, said := d.post(path, text, change...); got != status || said != want+"\n" {
		d.t.Errorf("%s %.200s\n got %d %s\nwant %d %s", path, text, got, said, status, want)
	}
}

// problem posts and returns the problem.
func (d *desk) problem(status int, code, path, text string, change ...func(*http.Request)) map[string]any {
	d.t.Helper()
	got, said := d.post(path, text, change...)
	var p map[string]any
	if err := json.Unmarshal([]byte(said), &p); err != nil || got != status || p["code"] != code || p["detail"] == "" {
		d.t.Errorf("%s %.200s: got %d %s, want %d %s", path, text, got, said, status, code)
	}
	return p
}

// last is the message that the store got last.
func (d *desk) last() kept {
	d.t.Helper()
	d.store.mu.Lock()
	defer d.store.mu.Unlock()
	if len(d.store.taken) == 0 {
		d.t.Fatal("the store got nothing")
	}
	return d.store.taken[len(d.store.taken)-1]
}
