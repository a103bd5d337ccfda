package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/db"
	"github.com/seed-3d8c1042/switchboard/internal/nodetest"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestSigningOutEndsOneSessionOrAll(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.signUp("ada")
		one, two, three := w.signIn("ada"), w.signIn("ada"), w.signIn("ada")
		if err := w.room.SignOut(t.Context(), w.holder(one), false); err != nil {
			t.Fatal(err)
		}
		if w.good(one) || !w.good(two) || !w.good(three) {
			t.Error("not this one alone has ended")
		}
		_, err := w.room.Refresh(t.Context(), one.Refresh)
		wantCode(t, "its refresh token", err, accounts.CodeTokenExpired)
		before, _ := w.store.ByName(t.Context(), "ada")
		if err := w.room.SignOut(t.Context(), w.holder(two), true); err != nil {
			t.Fatal(err)
		}
		if after, _ := w.store.ByName(t.Context(), "ada"); after.Version <= before.Version {
			t.Errorf("the version went from %d to %d", before.Version, after.Version)
		}
		if w.good(two) || w.good(three) || !w.good(w.signIn("ada")) {
			t.Error("not all have ended, or a new one has")
		}
	})
}

func TestANewPasswordEndsAllOtherSessions(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.signUp("ada")
		mine, other := w.signIn("ada"), w.signIn("ada")
		h := w.holder(mine)
		err := w.room.SetPassword(t.Context(), address, h, "wrong horse", "battery staple")
		wantCode(t, "with a wrong one", err, accounts.CodeBadCredentials)
		err = w.room.SetPassword(t.Context(), address, h, password, "short")
		wantCode(t, "with one that is none", err, accounts.CodeInvalid)
		if !w.good(other) {
			t.Error("what was refused has ended a session")
		}
		if err := w.room.SetPassword(t.Context(), address, h, password, "battery staple"); err != nil {
			t.Fatal(err)
		}
		if !w.good(mine) || w.good(other) {
			t.Error("not the others have ended")
		}
		_, err = w.room.SignIn(t.Context(), address, "ada", password)
		wantCode(t, "the old one", err, accounts.CodeBadCredentials)
		if _, err := w.room.SignIn(t.Context(), address, "ada", "battery staple"); err != nil {
			t.Error(err)
		}
	})
}

// elsewhere is what else is kept of users.
type elsewhere struct{ forgotten []wire.UserID }

func (e *elsewhere) Export(_ context.Context, _ wire.UserID, w io.Writer) error {
	_, err := io.WriteString(w, `{"rooms":[]}`)
	return err
}

func (e *elsewhere) Forget(_ context.Context, user wire.UserID) error {
	e.forgotten = append(e.forgotten, user)
	return nil
}

func TestADeletedAccountIsGoneAndItsNameFree(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		var chat elsewhere
		w.build(func(o *accounts.Options) { o.Chat = &chat })
		w.signUp("ada")
		tokens := w.signIn("ada")
		h := w.holder(tokens)
		err := w.room.Delete(t.Context(), address, h, "wrong horse")
		wantCode(t, "with a wrong password", err, accounts.CodeBadCredentials)
		if len(chat.forgotten) > 0 {
			t.Error("rooms were left without the password")
		}
		closed := make(chan struct{})
		if _, err := w.room.Hold(t.Context(), h, func() { close(closed) }); err != nil {
			t.Fatal(err)
		}
		if err := w.room.Delete(t.Context(), address, h, password); err != nil {
			t.Fatal(err)
		}
		<-closed
		if w.good(tokens) || !slices.Equal(chat.forgotten, []wire.UserID{"chat-1"}) {
			t.Errorf("the token is good, or rooms were not left: %v", chat.forgotten)
		}
		_, err = w.room.SignIn(t.Context(), address, "ada", password)
		wantCode(t, "sign in", err, accounts.CodeBadCredentials)
		_, err = w.room.Profile(t.Context(), "chat-1")
		wantCode(t, "the profile", err, accounts.CodeNotFound)
		if user := w.signUp("ADA"); user != "chat-2" {
			t.Errorf("whoever comes next is %s", user)
		}
	})
}

func TestAProfileIsWhatItsOwnerSays(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.member("ada")
		text := func(s string) *string { return &s }
		p, err := w.room.SetProfile(t.Context(), h, accounts.Change{DisplayName: text("Ada Lovelace 👩‍💻"[:12]), Bio: text("one\ntwo"), AvatarURL: text("https://example.com/a.png")})
		if err != nil || p.DisplayName != "Ada Lovelace" || p.Bio != "one\ntwo" {
			t.Fatalf("got %+v, %v", p, err)
		}
		if p, err = w.room.SetProfile(t.Context(), h, accounts.Change{Bio: text("")}); err != nil || p.Bio != "" || p.DisplayName != "Ada Lovelace" {
			t.Errorf("got %+v, %v", p, err)
		}
		if got, err := w.room.Profile(t.Context(), "chat-1"); err != nil || got != p {
			t.Errorf("got %+v, %v, want %+v", got, err, p)
		}
		for field, c := range map[string]accounts.Change{
			"displayName": {DisplayName: text("a\nb")},
			"bio":         {Bio: text(strings.Repeat("x", 1001))},
			"avatarUrl":   {AvatarURL: text("javascript:alert(1)")},
		} {
			_, err := w.room.SetProfile(t.Context(), h, c)
			var r *accounts.Refusal
			if !errors.As(err, &r) || r.Field != field {
				t.Errorf("%s: got %v", field, err)
			}
		}
		w.signUp("grace")
		found, err := w.room.Profiles(t.Context(), []wire.UserID{"chat-2", "chat-1", "chat-9", "ANZ-1"})
		if err != nil || len(found) != 2 || found["chat-2"].Username != "grace" || found["chat-1"].DisplayName != "Ada Lovelace" {
			t.Errorf("got %+v, %v", found, err)
		}
	})
}

func TestANameIsFoundAsItIsWrittenButForCase(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.signUp("kim")
		if p, err := w.room.ProfileOf(t.Context(), "KIM"); err != nil || p.Username != "kim" {
			t.Errorf("got %+v, %v", p, err)
		}
		for _, name := range []string{"\u212aim", "k\u0131m", "kim\x00", "\x00", "kim\xff", ""} { // the first begins with the KELVIN SIGN
			_, err := w.room.ProfileOf(t.Context(), name)
			wantCode(t, fmt.Sprintf("%q", name), err, accounts.CodeNotFound)
		}
	})
}

func TestAnExportHasAllThatIsKept(t *testing.T) {
	w := onFile(t)
	w.build(func(o *accounts.Options) { o.Chat = &elsewhere{} })
	h := w.member("ada")
	w.signUp("grace")
	if err := w.room.Block(t.Context(), h, "chat-2"); err != nil {
		t.Fatal(err)
	}
	e, err := w.room.Export(t.Context(), h)
	if err != nil || e.Profile.Username != "ada" || len(e.Sessions) != 1 || !slices.Equal(e.Blocks, []wire.UserID{"chat-2"}) {
		t.Errorf("got %+v, %v", e, err)
	}
	var chat strings.Builder
	if err := e.Chat(&chat); err != nil || chat.String() != `{"rooms":[]}` {
		t.Errorf("of chat it has %q, %v", chat.String(), err)
	}
}

func TestATokenSetsAForgottenPasswordAnewOnce(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.signUp("ada")
		tokens := w.signIn("ada")
		var earlier []accounts.Reset
		for range 6 {
			w.pass(time.Second)
			r, err := w.room.MakeReset(t.Context(), "chat-1")
			if err != nil {
				t.Fatal(err)
			}
			earlier = append(earlier, r)
		}
		w.pass(time.Second)
		made, err := w.room.MakeReset(t.Context(), "chat-1")
		if err != nil || made.Username != "ada" || !made.Expires.Equal(w.now.Add(time.Hour)) {
			t.Fatalf("got %+v, %v", made, err)
		}
		use := func(token string) error {
			_, err := w.room.UseReset(t.Context(), token, "battery staple")
			return err
		}
		before := w.count("switchboard_accounts_hashes_total")
		for what, token := range map[string]string{"one of long ago": earlier[1].Token, "one that never was": "sbp_x", "nothing": "", "a refresh token": tokens.Refresh} {
			wantCode(t, what, use(token), accounts.CodeBadToken)
		}
		if !w.good(tokens) {
			t.Error("what was refused has ended a session")
		}
		if n := w.count("switchboard_accounts_hashes_total") - before; n != 0 {
			t.Errorf("%v passwords were hashed for tokens that are not good", n)
		}
		if err := use(earlier[2].Token); err != nil { // of the newest five
			t.Fatal(err)
		}
		wantCode(t, "again", use(earlier[2].Token), accounts.CodeBadToken)
		wantCode(t, "another one, after one was used", use(made.Token), accounts.CodeBadToken)
		if w.good(tokens) {
			t.Error("a session stands that was begun with the old password")
		}
		if _, err := w.room.SignIn(t.Context(), address, "ada", "battery staple"); err != nil {
			t.Error(err)
		}
		late, err := w.room.MakeReset(t.Context(), "chat-1")
		if err != nil {
			t.Fatal(err)
		}
		w.pass(time.Hour)
		wantCode(t, "after its time", use(late.Token), accounts.CodeBadToken)
		_, err = w.room.MakeReset(t.Context(), "chat-7")
		wantCode(t, "for nobody", err, accounts.CodeNotFound)
	})
}

func TestWhoAsksForAResetLearnsNothingAndTheAppsServerHearsOfIt(t *testing.T) {
	w := onFile(t)
	delivered := make(chan accounts.Reset, 10)
	w.build(func(o *accounts.Options) {
		o.Deliver = func(_ context.Context, r accounts.Reset) error { delivered <- r; return nil }
	})
	w.signUp("ada")
	run(t, w.room)
	for _, name := range []string{"nobody", "ADA"} {
		if err := w.room.AskReset(address, name); err != nil {
			t.Fatal(err)
		}
	}
	r := <-delivered
	if r.User != "chat-1" || r.Username != "ada" {
		t.Errorf("got %+v", r)
	}
	if user, err := w.room.UseReset(t.Context(), r.Token, "battery staple"); err != nil || user != "chat-1" {
		t.Error(user, err)
	}
	for range 10 { // a name is not flooded
		if err := w.room.AskReset(address, "ada"); err != nil {
			t.Fatal(err)
		}
	}
	w.signUp("grace")
	if err := w.room.AskReset(address, "grace"); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for got["grace"] == 0 {
		got[(<-delivered).Username]++
	}
	if got["ada"] != 4 {
		t.Errorf("got %v: five are free, of which one was before", got)
	}
}

func TestBlocksAreKeptAndBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		h := w.member("ada")
		for i := range 11 {
			w.signUp(fmt.Sprint("user", i))
		}
		for n := int64(2); n < 12; n++ {
			for range 2 { // again is no error
				if err := w.room.Block(t.Context(), h, w.room.UserOf(n)); err != nil {
					t.Fatal(err)
				}
			}
		}
		wantCode(t, "one more", w.room.Block(t.Context(), h, "chat-12"), accounts.CodeTooMany)
		wantCode(t, "nobody", w.room.Block(t.Context(), h, "chat-99"), accounts.CodeNotFound)
		wantCode(t, "another app's", w.room.Block(t.Context(), h, "ANZ-2"), accounts.CodeNotFound)
		wantCode(t, "himself", w.room.Block(t.Context(), h, "chat-1"), accounts.CodeInvalid)
		for pair, want := range map[[2]wire.UserID]bool{{"chat-1", "chat-2"}: true, {"chat-2", "chat-1"}: false, {"chat-1", "chat-12"}: false} {
			if got, err := w.room.Blocked(t.Context(), pair[0], pair[1]); got != want || err != nil {
				t.Errorf("%v: got %v, %v", pair, got, err)
			}
		}
		if err := w.room.Unblock(t.Context(), h, "chat-2"); err != nil {
			t.Fatal(err)
		}
		list, err := w.room.Blocks(t.Context(), h, 4, 3)
		if err != nil || len(list) != 3 || list[0].Number != 5 || !list[0].Created.Equal(w.now) {
			t.Errorf("got %+v, %v", list, err)
		}
		if got, err := w.room.Blocked(t.Context(), "chat-1", "chat-2"); got || err != nil {
			t.Errorf("got %v, %v", got, err)
		}
	})
}

// between carries what two rooms say to each other; while it is cut nothing arrives.
type between struct {
	to  *accounts.Room
	cut bool
}

func (b *between) Send(_ string, parts ...[]byte) bool {
	if !b.cut {
		b.to.PeerReceive("other", slices.Concat(parts...))
	}
	return !b.cut
}

func TestWhatEndsOnOneNodeClosesSocketsOnAnother(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		there := w.room
		link := &between{to: there}
		here := w.another(accounts.Options{
			Store: w.store, App: "chat", AppID: "chat-id", Lifetimes: w.options.Lifetimes, Limits: w.options.Limits, Now: w.time, Cost: w.options.Cost, Nodes: link,
		})
		here.PeerUp("other")
		run(t, there)
		w.signUp("ada")
		one, two, three := w.signIn("ada"), w.signIn("ada"), w.signIn("ada")
		ended := make(chan int, 10)
		for i, tokens := range []accounts.Tokens{one, two, three} {
			if _, err := there.Hold(t.Context(), w.holder(tokens), func() { ended <- i }); err != nil {
				t.Fatal(err)
			}
		}
		if err := here.SignOut(t.Context(), w.holder(one), false); err != nil {
			t.Fatal(err)
		}
		if i := <-ended; i != 0 || len(ended) > 0 {
			t.Errorf("socket %d was closed, and %d more", i, len(ended))
		}
		link.cut = true // nobody hears of the next
		if err := here.SignOut(t.Context(), w.holder(two), false); err != nil {
			t.Fatal(err)
		}
		if len(ended) > 0 {
			t.Fatal("what is cut is not cut")
		}
		there.PeerUp("here") // the link begins anew
		for i := range ended {
			if i == 1 {
				break
			}
			if i == 2 {
				t.Fatal("a socket whose session stands was closed")
			}
		}
		link.cut = false
		if err := here.SignOut(t.Context(), w.holder(three), true); err != nil {
			t.Fatal(err)
		}
		for i := range ended {
			if i == 2 {
				break
			}
		}
	})
}

// Who is blocked by whom each node knows of those who have sockets there: from their
// sign-in on, from what other nodes say, and, where that was lost, from the store.
func TestEachNodeKnowsByWhomItsUsersAreBlocked(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		there := w.room
		link := &between{to: there}
		here := w.another(accounts.Options{
			Store: w.store, App: "chat", AppID: "chat-id", Lifetimes: w.options.Lifetimes, Limits: w.options.Limits, Now: w.time, Cost: w.options.Cost, Nodes: link,
		})
		here.PeerUp("other")
		run(t, there)
		ada, bob, cat := w.member("ada"), w.member("bob"), w.member("cat")
		shunned := func(want ...wire.UserID) { // what another node says is asked of the store
			t.Helper()
			for !slices.Equal(slices.Sorted(maps.Keys(there.Shunned(ada.User))), want) {
				runtime.Gosched()
			}
		}
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		must(here.Block(t.Context(), bob, ada.User)) // before the sign-in
		shunned()
		release, err := there.Hold(t.Context(), ada, func() {})
		must(err)
		shunned(bob.User)
		must(here.Block(t.Context(), cat, ada.User))
		shunned(bob.User, cat.User)
		must(there.Unblock(t.Context(), bob, ada.User))
		shunned(cat.User)
		link.cut = true
		must(here.Unblock(t.Context(), cat, ada.User))
		must(here.Block(t.Context(), bob, ada.User))
		there.PeerUp("here") // the link begins anew
		shunned(bob.User)
		if by := there.Shunned(bob.User); len(by) > 0 {
			t.Errorf("who blocks is blocked by %v", by)
		}
		if by := there.Shunned("ANZ-1"); len(by) > 0 {
			t.Errorf("a user of another app is blocked by %v", by)
		}
		release()
		shunned()
	})
}

// While a node that lives may not be heard, the store is asked again and again; and an end
// that hears later that a conversation has begun has the other ask once more.
func TestWhatEndsWhereANodeIsNotHeardClosesSocketsAllTheSame(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		var apart atomic.Bool
		of := func(nodes accounts.Nodes) *accounts.Room {
			return w.another(accounts.Options{
				Store: w.store, App: "chat", AppID: "chat-id", Lifetimes: w.options.Lifetimes, Limits: w.options.Limits, Now: w.time, Cost: w.options.Cost,
				Nodes: nodes, Apart: apart.Load,
			})
		}
		there := of(nil)
		link := &between{to: there}
		here := of(link)
		run(t, there)
		w.signUp("ada")
		one, two := w.signIn("ada"), w.signIn("ada")
		ended := make(chan int, 10)
		for i, tokens := range []accounts.Tokens{one, two} {
			if _, err := there.Hold(t.Context(), w.holder(tokens), func() { ended <- i }); err != nil {
				t.Fatal(err)
			}
		}
		for i, tokens := range []accounts.Tokens{one, two} {
			if err := here.SignOut(t.Context(), w.holder(tokens), false); err != nil {
				t.Fatal(err)
			}
			if len(ended) > 0 {
				t.Fatal("what is cut is not cut")
			}
			if i == 0 {
				apart.Store(true)
			} else {
				here.PeerUp("there")
			}
			if got := <-ended; got != i {
				t.Errorf("socket %d was closed", got)
			}
			apart.Store(false)
		}
	})
}

func TestASocketWhoseTokenWasRevokedMeanwhileIsNotHeld(t *testing.T) {
	w := onFile(t)
	sockets := func(want int) {
		t.Helper()
		of := fmt.Sprintf("# HELP switchboard_accounts_sockets Sockets that rest on sessions of accounts.\n# TYPE switchboard_accounts_sockets gauge\nswitchboard_accounts_sockets %d\n", want)
		if err := testutil.GatherAndCompare(w.metrics, strings.NewReader(of), "switchboard_accounts_sockets"); err != nil {
			t.Error(err)
		}
	}
	h := w.member("ada")
	release, err := w.room.Hold(t.Context(), h, func() { t.Error("it was closed after its release") })
	if err != nil {
		t.Fatal(err)
	}
	sockets(1)
	release()
	sockets(0)
	if err := w.room.SignOut(t.Context(), h, true); err != nil {
		t.Fatal(err)
	}
	_, err = w.room.Hold(t.Context(), h, func() {})
	wantCode(t, "late", err, accounts.CodeTokenExpired)
	sockets(0)
}

func TestWhileTheDatabaseIsGoneNobodyIsLetInAndNothingIsCountedAsWrong(t *testing.T) {
	w := onFile(t)
	w.signUp("ada")
	tokens := w.signIn("ada")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if _, err := w.room.SignIn(gone, address, "ada", password); !errors.Is(err, context.Canceled) {
			t.Fatalf("got %v", err)
		}
	}
	if _, err := w.room.Verify(gone, tokens.Access); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	w.signIn("ada")
	d, err := db.New(db.Options{URL: "postgres://nobody@127.0.0.1:1/none?connect_timeout=1"})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	o := w.options
	o.Store, o.Metrics = d.Accounts(), nil
	_, err = w.another(o).SignIn(t.Context(), address, "ada", password)
	var told *wire.Error
	if !errors.As(err, &told) || told.Code != wire.CodeStoreDown {
		t.Errorf("got %v", err)
	}
}

func TestThePageNamesEveryMetric(t *testing.T) {
	nodetest.WantMetrics(t, nodetest.ReadCheckout(t, "docs/chat.md"), onFile(t).metrics, 7)
}

// Who is signed in and gives a wrong password hears of the password alone: that there is
// the account is known.
func TestAWrongPasswordOfWhoIsSignedInIsCalledThat(t *testing.T) {
	w := onFile(t)
	h := w.member("ada")
	for what, err := range map[string]error{
		"changed": w.room.SetPassword(t.Context(), address, h, "wrong horse", "battery staple"),
		"deleted": w.room.Delete(t.Context(), address, h, "wrong horse"),
		"long":    w.room.Delete(t.Context(), address, h, strings.Repeat("x", 1000)),
	} {
		wantCode(t, what, err, accounts.CodeBadCredentials)
		if !strings.Contains(err.Error(), "this is not the account's password") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}
