package keys

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/internal/bus"
)

// Keys are tested on the store that they have.

var began = time.Date(2026, 11, 26, 8, 0, 0, 0, time.UTC)

// world is a ring on a table.
type world struct {
	t      testing.TB
	now    time.Time
	max    int
	maxApp int
	bus    *bus.Bus
	rows   *bus.Table
	log    bytes.Buffer
	*Ring
}

func newWorld(t testing.TB, dir string) *world {
	t.Helper()
	return openWorld(t, dir, 0)
}

// openWorld is newWorld on a store that leaves reserve bytes of the disk free; 0:
// as many as is usual.
func openWorld(t testing.TB, dir string, reserve int64) *world {
	t.Helper()
	w := &world{t: t, now: began, max: 1000, maxApp: 1000}
	var err error
	o := bus.Options{Folder: filepath.Join(dir, "jetstream"), Logger: slog.New(slog.DiscardHandler), Reserve: reserve}
	if w.bus, err = bus.Open(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = w.bus.Close() })
	if w.rows, err = w.bus.Table(t.Context(), "keys"); err != nil {
		t.Fatal(err)
	}
	w.Ring = w.ring(prometheus.NewRegistry())
	return w
}

// row is what is stored of a key; nil for nothing.
func (w *world) row(id string) []byte {
	row, _, _ := w.rows.Get(id)
	return row
}

// ring makes another ring on the same rows, as another node has.
func (w *world) ring(metrics prometheus.Registerer) *Ring {
	w.t.Helper()
	r, err := New(Options{
		Store: w.rows, Now: func() time.Time { return w.now }, Random: rand.Reader,
		Max: func() int { return w.max }, MaxOfApp: func() int { return w.maxApp },
		Log: slog.New(slog.NewTextHandler(&w.log, nil)), Metrics: metrics,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(r.Close)
	return r
}

func (w *world) make(wish Wish, by *Key) (*Key, string) {
	w.t.Helper()
	k, presented, err := w.Make(w.t.Context(), wish, by)
	if err != nil {
		w.t.Fatal(err)
	}
	return k, presented
}

func (w *world) refuses(presented string, want error) {
	w.t.Helper()
	if k, err := w.Verify(presented); !errors.Is(err, want) || k != nil {
		w.t.Errorf("%.20s…: got %v, want %v", presented, err, want)
	}
}

func TestAKeyIsVerifiedByItsSecretAlone(t *testing.T) {
	w := newWorld(t, t.TempDir())
	key, presented := w.make(Wish{Name: "backend", App: "ANZ", Scopes: []Scope{StatsRead, MessagesSend, StatsRead}}, nil)
	other, presentedOther := w.make(Wish{Admin: true}, nil)
	got, err := w.Verify(presented)
	if err != nil || got.ID != key.ID || got.App != "ANZ" || got.Admin || got.Name != "backend" || !got.Created.Equal(began) {
		t.Fatalf("%+v, %v", got, err)
	}
	if !slices.Equal(got.Scopes, []Scope{MessagesSend, StatsRead}) || !got.May(StatsRead) || got.May(KeysManage) {
		t.Errorf("it has %v", got.Scopes)
	}
	if got, err := w.Verify(presentedOther); err != nil || !got.Admin || !slices.Equal(got.Scopes, Scopes()) || !got.May("anything") {
		t.Errorf("%+v, %v", got, err)
	}
	id, secret, err := split(presented)
	_, secretOther, _ := split(presentedOther)
	if err != nil || id != key.ID || len(secret) != 52 {
		t.Fatalf("%q %q %v", id, secret, err)
	}
	w.refuses(join(id, secretOther), ErrUnknown)
	w.refuses(join(other.ID, secret), ErrUnknown)
	w.refuses(join(strings.Repeat("a", 16), secret), ErrUnknown)
	for _, bad := range []string{"", "sb_", presented[:len(presented)-1], presented + "a", " " + presented, strings.ToUpper(presented), presented[3:],
		strings.Replace(presented, "_", "-", 2), join(id, strings.Repeat("1", 52)), join(id, strings.Repeat("é", 26)), join(id[1:], secret), strings.Repeat("sb_", 99)} {
		w.refuses(bad, ErrMalformed)
	}
}

func TestOnlyTheHashOfASecretIsStored(t *testing.T) {
	w := newWorld(t, t.TempDir())
	key, presented := w.make(Wish{App: "ANZ", Scopes: Scopes(), Expires: began.Add(time.Hour)}, nil)
	_, secret, _ := split(presented)
	row := string(w.row(key.ID))
	want := fmt.Sprintf("%x", sum(secret))
	if !strings.Contains(row, want) || strings.Contains(row, secret) {
		t.Errorf("the row is %s", row)
	}
	k, hash, err := decodeRow(key.ID, []byte(row))
	if err != nil || fmt.Sprintf("%+v", k) != fmt.Sprintf("%+v", *key) || hash != sum(secret) {
		t.Errorf("read back: %+v, %v\nwant %+v", k, err, *key)
	}
}

func TestAKeyEndsWhenItExpiresAndWhenItIsRevoked(t *testing.T) {
	w := newWorld(t, t.TempDir())
	key, presented := w.make(Wish{App: "ANZ", Scopes: Scopes(), Expires: began.Add(time.Hour)}, nil)
	_, forever := w.make(Wish{App: "ANZ", Scopes: Scopes()}, nil)
	w.now = began.Add(time.Hour - time.Nanosecond)
	if _, err := w.Verify(presented); err != nil {
		t.Error(err)
	}
	w.now = began.Add(time.Hour)
	w.refuses(presented, ErrExpired)
	w.refuses(presented[:len(presented)-1]+"2", ErrUnknown) // who does not have the secret learns nothing
	if err := w.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	w.refuses(presented, ErrUnknown)
	if err := w.Revoke(t.Context(), key.ID); !errors.Is(err, ErrUnknown) {
		t.Errorf("got %v", err)
	}
	w.now = began.Add(100 * 365 * 24 * time.Hour)
	if _, err := w.Verify(forever); err != nil {
		t.Error(err)
	}
}

func TestKeysSurviveARestartAndAreOnEveryNode(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	_, presented := w.make(Wish{App: "ANZ", Scopes: Scopes()}, nil)
	revoked, _ := w.make(Wish{Admin: true}, nil)
	other := w.ring(nil)
	if _, err := other.Verify(presented); err != nil || other.Len() != 2 {
		t.Error(err)
	}
	if err := other.Revoke(t.Context(), revoked.ID); err != nil || w.Len() != 1 {
		t.Errorf("%v, %d keys", err, w.Len())
	}
	_, lent, err := w.Lend("demo")
	if err != nil {
		t.Fatal(err)
	}
	if k, err := w.Verify(lent); err != nil || !k.Admin || !k.Passing {
		t.Errorf("%+v, %v", k, err)
	}
	if err := w.bus.Close(); err != nil {
		t.Fatal(err)
	}
	w = newWorld(t, dir)
	if k, err := w.Verify(presented); err != nil || k.App != "ANZ" || w.Len() != 1 {
		t.Errorf("%+v, %v, %d keys", k, err, w.Len())
	}
	w.refuses(lent, ErrUnknown)
}

func TestALentKeyCanBeRevoked(t *testing.T) {
	w := newWorld(t, t.TempDir())
	key, lent, err := w.Lend("demo")
	if err != nil || w.row(key.ID) != nil {
		t.Fatalf("%v, stored %q", err, w.row(key.ID))
	}
	if err := w.Revoke(t.Context(), key.ID); err != nil {
		t.Fatal(err)
	}
	w.refuses(lent, ErrUnknown)
}

func TestAKeyGivesNoMoreThanItHas(t *testing.T) {
	w := newWorld(t, t.TempDir())
	admin, _ := w.make(Wish{Admin: true, Expires: began.Add(48 * time.Hour)}, nil)
	manager, _ := w.make(Wish{App: "ANZ", Scopes: []Scope{KeysManage, UsersRead}, Expires: began.Add(24 * time.Hour)}, nil)
	deployer, _ := w.make(Wish{App: "ANZ", Scopes: []Scope{KeysManage, ServicesWrite}}, nil)
	ofOrders, _ := w.make(Wish{App: "ANZ", Scopes: []Scope{ServicesWrite.Of("orders"), KeysManage, ServicesWrite.Of("orders"), ServicesWrite.Of("a.b")}}, nil)
	if got, want := ofOrders.Scopes, []Scope{KeysManage, "services:write:a.b", "services:write:orders"}; !slices.Equal(got, want) {
		t.Errorf("a key for two services has %q, want %q", got, want)
	}
	day, later := began.Add(24*time.Hour), began.Add(24*time.Hour+time.Second)
	for _, c := range []struct {
		wish  Wish
		by    *Key
		field string // what is refused; empty: nothing
	}{
		{Wish{App: "ANZ", Scopes: []Scope{UsersRead}, Expires: day}, manager, ""},
		{Wish{App: "ANZ", Scopes: []Scope{UsersRead, KeysManage}, Expires: began.Add(time.Hour)}, manager, ""},
		{Wish{App: "ANZ", Scopes: []Scope{MessagesSend}, Expires: day}, manager, "scopes"},
		{Wish{App: "SHOP", Scopes: []Scope{UsersRead}, Expires: day}, manager, "app"},
		{Wish{App: "ANZ", Scopes: []Scope{UsersRead}, Expires: later}, manager, "expiresAt"},
		{Wish{App: "ANZ", Scopes: []Scope{UsersRead}}, manager, "expiresAt"},
		{Wish{Admin: true, Expires: day}, manager, "admin"},
		{Wish{Admin: true, App: "ANZ", Expires: day}, manager, "admin"},
		{Wish{Admin: true, Expires: later}, admin, ""},
		{Wish{App: "SHOP", Scopes: Scopes(), Expires: later}, admin, ""},
		{Wish{App: "SHOP", Scopes: Scopes()}, admin, "expiresAt"},
		{Wish{App: "SHOP", Scopes: Scopes()}, nil, ""},
		{Wish{App: "ANZ", Scopes: []Scope{ServicesWrite.Of("orders")}}, deployer, ""},
		{Wish{App: "ANZ", Scopes: []Scope{ServicesWrite.Of("bills")}}, ofOrders, "scopes"},
		{Wish{App: "ANZ", Scopes: []Scope{ServicesWrite}}, ofOrders, "scopes"},
		{Wish{App: "ANZ", Scopes: []Scope{ServicesWrite.Of("orders")}}, ofOrders, ""},
	} {
		_, _, err := w.Make(t.Context(), c.wish, c.by)
		var refused *Refusal
		if c.field == "" && err != nil || c.field != "" && (!errors.As(err, &refused) || refused.Field != c.field || !refused.Beyond) {
			t.Errorf("%+v: got %v, want a refusal of %q", c.wish, err, c.field)
		}
	}
}

func TestAWishThatMakesNoSenseIsRefusedByItsField(t *testing.T) {
	w := newWorld(t, t.TempDir())
	var many []Scope
	for i := range MaxNamed + 1 {
		many = append(many, ServicesWrite.Of(fmt.Sprint("s", i)))
	}
	for _, c := range []struct {
		wish  Wish
		field string
	}{
		{Wish{App: "ANZ", Scopes: many}, "scopes"},
		{Wish{App: "ANZ", Scopes: []Scope{"services:write:"}}, "scopes"},
		{Wish{App: "ANZ", Scopes: []Scope{"services:write:*"}}, "scopes"},
		{Wish{App: "ANZ", Scopes: []Scope{"services:write:a:b"}}, "scopes"},
		{Wish{App: "ANZ", Scopes: []Scope{ServicesWrite.Of(strings.Repeat("a", 65))}}, "scopes"},
		{Wish{App: "ANZ", Scopes: []Scope{"services:read:orders"}}, "scopes"},
		{Wish{}, "app"},
		{Wish{Scopes: Scopes()}, "app"},
		{Wish{App: "ANZ"}, "scopes"},
		{Wish{App: "ANZ", Scopes: []Scope{"messages:sned"}}, "scopes"},
		{Wish{App: "ANZ", Scopes: []Scope{Scope(strings.Repeat("x", 9999))}}, "scopes"},
		{Wish{App: "ANZ", Admin: true}, "app"},
		{Wish{Admin: true, Scopes: Scopes()}, "scopes"},
		{Wish{Admin: true, Expires: began}, "expiresAt"},
		{Wish{Admin: true, Expires: began.Add(-time.Hour)}, "expiresAt"},
		{Wish{Admin: true, Expires: time.Date(9999, 12, 31, 23, 0, 0, 0, time.FixedZone("", -3600))}, "expiresAt"},
		{Wish{Admin: true, Name: strings.Repeat("n", MaxName+1)}, "name"},
		{Wish{Admin: true, Name: "two\nlines"}, "name"},
		{Wish{Admin: true, Name: "\x1b[31mred"}, "name"},
		{Wish{Admin: true, Name: "\xff"}, "name"},
	} {
		_, _, err := w.Make(t.Context(), c.wish, nil)
		var refused *Refusal
		if !errors.As(err, &refused) || refused.Field != c.field || refused.Beyond || len(err.Error()) > 500 {
			t.Errorf("%.200v: got %v, want a refusal of %q", fmt.Sprintf("%+v", c.wish), err, c.field)
		}
	}
	if w.Len() != 0 {
		t.Errorf("%d keys were made", w.Len())
	}
	w.make(Wish{Admin: true, Name: strings.Repeat("n", MaxName)}, nil)
	w.make(Wish{Admin: true, Name: "Ännchens Büro"}, nil)
}

func TestThereAreNoMoreKeysThanTheLimitAndExpiredOnesMakeRoom(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.max = 3
	w.make(Wish{Admin: true, Expires: began.Add(time.Minute)}, nil)
	w.make(Wish{Admin: true, Expires: began.Add(time.Minute)}, nil)
	last, _ := w.make(Wish{Admin: true}, nil)
	if _, _, err := w.Make(t.Context(), Wish{Admin: true}, nil); !errors.Is(err, ErrTooMany) {
		t.Errorf("got %v", err)
	}
	w.now = began.Add(time.Minute)
	w.make(Wish{Admin: true}, nil)
	if w.Len() != 2 || w.Get(last.ID) == nil {
		t.Errorf("%d keys are left", w.Len())
	}
}

func TestAnAppLeavesRoomForKeysOfOthers(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.max, w.maxApp = 11, 4
	manager := func(app string) *Key {
		k, _ := w.make(Wish{App: app, Scopes: []Scope{KeysManage}}, nil)
		return k
	}
	wish := func(app string) Wish { return Wish{App: app, Scopes: []Scope{KeysManage}} }
	tooMany := func(app string, by *Key, limit string) {
		t.Helper()
		if _, _, err := w.Make(t.Context(), wish(app), by); !errors.Is(err, ErrTooMany) || !strings.Contains(err.Error(), limit) {
			t.Errorf("got %v, want one about %s", err, limit)
		}
	}
	anz, shop, last := manager("ANZ"), manager("SHOP"), manager("LAST")
	brief := wish("ANZ")
	brief.Expires = began.Add(time.Minute)
	for range 3 {
		w.make(brief, anz)
	}
	tooMany("ANZ", anz, "limits.apiKeysPerApp")
	w.make(wish("SHOP"), shop)
	w.make(wish("SHOP"), shop)
	w.make(wish("LAST"), last) // the ninth: of eleven two are not for apps
	tooMany("LAST", last, "limits.apiKeys leaves to the keys of apps")
	w.make(wish("ANZ"), nil) // also beyond what the app may have by itself
	admin, _ := w.make(Wish{Admin: true}, nil)
	tooMany("ANZ", nil, "limits.apiKeys allows")
	tooMany("ANZ", admin, "limits.apiKeys allows")
	w.now = began.Add(time.Minute)
	w.make(wish("ANZ"), anz) // what has expired makes room
	if w.Len() != 9 || w.Get(anz.ID) == nil {
		t.Errorf("%d keys are left", w.Len())
	}
}

func TestKeysAreListedOldestFirstAndByApp(t *testing.T) {
	w := newWorld(t, t.TempDir())
	var made []string
	for i := range 9 {
		w.now = began.Add(time.Duration(i/2) * time.Second) // two in one moment
		wish := Wish{App: "ANZ", Scopes: Scopes()}
		if i%3 == 2 {
			wish = Wish{Admin: true}
		}
		k, _ := w.make(wish, nil)
		made = append(made, k.ID)
	}
	all := w.List("", Key{}, 100)
	if len(all) != 9 || !slices.IsSortedFunc(all, older) {
		t.Errorf("%v", all)
	}
	if got := w.List("ANZ", Key{}, 100); len(got) != 6 {
		t.Errorf("%d are ANZ's", len(got))
	}
	if got := w.List("SHOP", Key{}, 100); len(got) != 0 {
		t.Errorf("%d are SHOP's", len(got))
	}
	var paged []*Key
	after := Key{}
	for page := w.List("", after, 2); len(page) > 0; page = w.List("", after, 2) {
		paged = append(paged, page...)
		after = *page[len(page)-1]
		_ = w.Revoke(t.Context(), after.ID) // what the page ended with goes
	}
	if len(paged) != 9 || w.Get(made[0]) == nil && w.Get(made[1]) == nil {
		t.Errorf("%d in pages", len(paged))
	}
}

func TestTheLastUseIsKnownAndNotStored(t *testing.T) {
	w := newWorld(t, t.TempDir())
	key, presented := w.make(Wish{Admin: true}, nil)
	before := string(w.row(key.ID))
	if !w.Used(key.ID).IsZero() || !w.Used("nobody").IsZero() {
		t.Error("it was not used")
	}
	w.now = began.Add(time.Minute)
	w.refuses(presented[:len(presented)-1]+"2", ErrUnknown)
	if !w.Used(key.ID).IsZero() {
		t.Error("a wrong secret is no use")
	}
	if _, err := w.Verify(presented); err != nil || !w.Used(key.ID).Equal(w.now) {
		t.Errorf("used at %v, %v", w.Used(key.ID), err)
	}
	if string(w.row(key.ID)) != before {
		t.Error("the use was stored")
	}
}

func TestARowThatCannotBeReadLetsNobodyIn(t *testing.T) {
	w := newWorld(t, t.TempDir())
	key, presented := w.make(Wish{Admin: true}, nil)
	good := string(w.row(key.ID))
	for _, bad := range []string{"{", `{"v":1}`, strings.Replace(good, `"v":1`, `"v":2`, 1), strings.Replace(good, `"admin":true,`, ``, 1),
		strings.Replace(good, `"admin":true`, `"admin":true,"app":"ANZ"`, 1), good[:len(good)-10] + `"}`} {
		if err := w.rows.Put(t.Context(), key.ID, []byte(bad)); err != nil {
			t.Fatal(err)
		}
		w.refuses(presented, ErrUnknown)
		if !strings.Contains(w.log.String(), key.ID) || strings.Contains(w.log.String(), "sha256") {
			t.Errorf("the log says %s", w.log.String())
		}
		w.log.Reset()
		if err := w.rows.Put(t.Context(), key.ID, []byte(good)); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Verify(presented); err != nil {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

func TestAStoreThatFailsIsToldApartFromARefusal(t *testing.T) {
	w := newWorld(t, t.TempDir())
	key, presented := w.make(Wish{Admin: true}, nil)
	if err := w.bus.Close(); err != nil {
		t.Fatal(err)
	}
	if _, _, err := w.Make(t.Context(), Wish{Admin: true}, nil); !errors.Is(err, ErrStore) {
		t.Errorf("got %v", err)
	}
	if err := w.Revoke(t.Context(), key.ID); !errors.Is(err, ErrStore) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Verify(presented); err != nil { // whoever is known stays known
		t.Error(err)
	}
}

func TestKeysAreCounted(t *testing.T) {
	w := newWorld(t, t.TempDir())
	w.make(Wish{Admin: true}, nil)
	registry := prometheus.NewRegistry()
	w.ring(registry)
	want := "# HELP switchboard_api_keys API keys that there are, expired ones included.\n# TYPE switchboard_api_keys gauge\nswitchboard_api_keys 1\n"
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want)); err != nil {
		t.Error(err)
	}
}

// noStore fails the test that asks it for anything.
type noStore struct{ t testing.TB }

func (s noStore) Create(context.Context, string, []byte) error {
	s.t.Error("the store was asked")
	return nil
}

func (s noStore) Delete(context.Context, string) error {
	s.t.Error("the store was asked")
	return nil
}

func (s noStore) Watch(func(string, []byte)) func() { return func() {} }

// full returns a ring of n keys, on a store that must not be asked any more.
func full(t testing.TB, n int) (r *Ring, presented string) {
	t.Helper()
	r, err := New(Options{Store: noStore{t}, Now: time.Now, Random: rand.Reader, Max: func() int { return n }, MaxOfApp: func() int { return n }})
	if err != nil {
		t.Fatal(err)
	}
	for range n {
		if _, presented, err = r.Lend("lent"); err != nil {
			t.Fatal(err)
		}
	}
	return r, presented
}

func TestVerifyingAsksNoStoreAndAllocatesNothing(t *testing.T) {
	r, presented := full(t, 1000)
	wrong := presented[:len(presented)-1] + "2"
	if n := testing.AllocsPerRun(100, func() {
		_, _ = r.Verify(presented)
		_, _ = r.Verify(wrong)
	}); n > 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkVerify(b *testing.B) {
	r, presented := full(b, 10_000)
	b.RunParallel(func(p *testing.PB) {
		for p.Next() {
			if _, err := r.Verify(presented); err != nil {
				b.Error(err)
			}
		}
	})
}

func TestAFullDiskTakesNoKeysAndForgetsNone(t *testing.T) {
	dir := t.TempDir()
	w := newWorld(t, dir)
	key, presented := w.make(Wish{Admin: true}, nil)
	if err := w.bus.Close(); err != nil {
		t.Fatal(err)
	}
	w = openWorld(t, dir, 1<<60) // more than any disk has
	if _, _, err := w.Make(t.Context(), Wish{Admin: true}, nil); !errors.Is(err, ErrStore) || !strings.Contains(err.Error(), "bytes free") {
		t.Errorf("got %v", err)
	}
	if err := w.Revoke(t.Context(), key.ID); !errors.Is(err, ErrStore) {
		t.Errorf("got %v", err)
	}
	if _, err := w.Verify(presented); err != nil {
		t.Error(err)
	}
}
