package accounts_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/wire"
)

func TestWhoSignsUpIsFoundUnderHisNameInAnyCase(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		if user := w.signUp("Ada.L-1_x"); user != "chat-1" {
			t.Errorf("got %s", user)
		}
		for _, name := range []string{"Ada.L-1_x", "ada.l-1_x", "ADA.L-1_X"} {
			if got := w.signIn(name); got.User != "chat-1" {
				t.Errorf("%s: got %+v", name, got)
			}
		}
		p, err := w.room.ProfileOf(t.Context(), "ADA.L-1_X")
		if err != nil || p.Username != "Ada.L-1_x" || !p.Created.Equal(w.now) {
			t.Errorf("got %+v, %v", p, err)
		}
	})
}

func TestOfManyWhoWantOneNameAtOnceOneGetsIt(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		const many = 8
		names := []string{"grace", "Grace", "GRACE", "gRACE"}
		got := make(chan error, many)
		var all sync.WaitGroup
		for i := range many {
			all.Go(func() {
				_, err := w.room.SignUp(t.Context(), address, names[i%len(names)], password)
				got <- err
			})
		}
		all.Wait()
		close(got)
		made := 0
		for err := range got {
			if err == nil {
				made++
			} else {
				wantCode(t, "another", err, accounts.CodeNameTaken)
			}
		}
		if made != 1 {
			t.Errorf("%d accounts have the name", made)
		}
		users := []string{string(w.signIn("grace").User)}
		for i := range many - 1 {
			users = append(users, string(w.signUp(fmt.Sprint("next", i))))
		}
		if slices.Sort(users); users[many-1] != fmt.Sprint("chat-", many) {
			t.Errorf("those who did not get it took numbers: there are %v", users)
		}
	})
}

func TestWhatIsNoNameOrPasswordIsRefusedByItsField(t *testing.T) {
	w := onFile(t)
	for _, name := range []string{"", "ab", strings.Repeat("a", 21), "a b c", "ädä", "a/b", "abc\n", "abc\x00", "аda"} {
		_, err := w.room.SignUp(t.Context(), address, name, password)
		var r *accounts.Refusal
		if !errors.As(err, &r) || r.Code != accounts.CodeInvalid || r.Field != "username" {
			t.Errorf("%q: got %v", name, err)
		}
	}
	for _, word := range []string{"", "7 chars", strings.Repeat("x", 129), strings.Repeat("ä", 129), "\xff\xff\xff\xff\xff\xff\xff\xff"} {
		_, err := w.room.SignUp(t.Context(), address, "ada", word)
		var r *accounts.Refusal
		if !errors.As(err, &r) || r.Code != accounts.CodeInvalid || r.Field != "password" || strings.Contains(r.Reason, word) && word != "" {
			t.Errorf("%q: got %v", word, err)
		}
	}
	for _, good := range []string{"abc", strings.Repeat("a", 20)} {
		if _, err := w.room.SignUp(t.Context(), address, good, strings.Repeat("ä", 128)); err != nil {
			t.Errorf("%q: %v", good, err)
		}
	}
}

func TestWhereNobodyMaySignUpNobodyDoes(t *testing.T) {
	w := onFile(t)
	w.signUp("ada")
	w.build(func(o *accounts.Options) { o.SignUp = false })
	_, err := w.room.SignUp(t.Context(), address, "grace", password)
	wantCode(t, "closed", err, accounts.CodeSignUpClosed)
	w.signIn("ada")
}

func TestSignUpsFromOneAddressAreBounded(t *testing.T) {
	w := onFile(t)
	w.build(func(o *accounts.Options) {
		o.Limits = func() accounts.Limits { return accounts.Limits{SignUps: 4, Sessions: 100} }
	})
	up := func(name, from string) error {
		_, err := w.room.SignUp(t.Context(), from, name, password)
		return err
	}
	for i := range 4 {
		if err := up(fmt.Sprint("user", i), fmt.Sprintf("[2001:db8::%d]:1", i)); err != nil { // one customer has the network
			t.Fatal(err)
		}
	}
	err := up("user5", "[2001:db8::5]:1")
	wantCode(t, "one more", err, accounts.CodeRateLimited)
	var r *accounts.Refusal
	if !errors.As(err, &r) || r.After <= 0 || r.After > 15*time.Minute {
		t.Errorf("it may come again after %v", r.After)
	}
	if err := up("user6", "[2001:db8:0:1::5]:1"); err != nil {
		t.Errorf("from another address: %v", err)
	}
	w.pass(15 * time.Minute)
	if err := up("user7", "[2001:db8::5]:1"); err != nil {
		t.Errorf("a quarter of an hour later: %v", err)
	}
	wantCode(t, "and one more", up("user8", "[2001:db8::5]:1"), accounts.CodeRateLimited)
}

func TestPasswordsAreKeptAsIsAdvised(t *testing.T) {
	w := onFile(t)
	w.build(func(o *accounts.Options) { o.Cost = accounts.Cost{} })
	w.signUp("ada")
	a, err := w.store.ByName(t.Context(), "ada")
	if err != nil || !strings.HasPrefix(a.Password, "$argon2id$v=19$m=19456,t=2,p=1$") || strings.Contains(a.Password, password) {
		t.Errorf("got %q, %v", a.Password, err)
	}
	w.signIn("ada")
	w.signUp("grace")
	if b, err := w.store.ByName(t.Context(), "grace"); err != nil || a.Password[31:] == b.Password[31:] {
		t.Errorf("one password has one hash twice: %v", err)
	}
}

func TestAWrongNameAndAWrongPasswordAreTheSameAnswerForTheSameWork(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.signUp("ada")
		answers := map[string]string{}
		for _, name := range []string{"ada", "nobody"} {
			before := w.count("switchboard_accounts_hashes_total")
			_, err := w.room.SignIn(t.Context(), address, name, "wrong horse")
			wantCode(t, name, err, accounts.CodeBadCredentials)
			answers[name] = err.Error()
			if n := w.count("switchboard_accounts_hashes_total") - before; n != 1 {
				t.Errorf("%s: %d hashes were computed, want 1", name, n)
			}
		}
		if answers["ada"] != answers["nobody"] {
			t.Errorf("got %q", answers)
		}
	})
}

func TestAHashThatCostAnotherAmountIsMadeAnewAtTheNextSignIn(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.signUp("ada")
		w.build(func(o *accounts.Options) { o.Cost = accounts.Cost{Memory: 128, Passes: 2, Threads: 1} })
		if _, err := w.room.SignIn(t.Context(), address, "ada", "wrong horse"); err == nil {
			t.Error("a wrong password was taken")
		}
		if a, _ := w.store.ByName(t.Context(), "ada"); !strings.Contains(a.Password, "$m=64,t=1,p=1$") {
			t.Errorf("a wrong password made it anew: %s", a.Password)
		}
		w.signIn("ada")
		if a, _ := w.store.ByName(t.Context(), "ada"); !strings.Contains(a.Password, "$m=128,t=2,p=1$") {
			t.Errorf("got %s", a.Password)
		}
		before := w.count("switchboard_accounts_hashes_total")
		w.signIn("ada")
		if n := w.count("switchboard_accounts_hashes_total") - before; n != 1 {
			t.Errorf("%d hashes were computed, want 1", n)
		}
	})
}

func TestWhoFailsOftenHasToWaitLongerAndLonger(t *testing.T) {
	w := onFile(t)
	w.signUp("ada")
	for _, name := range []string{"ada", "nobody"} { // whether or not there is one
		try := func(word string) (wait time.Duration) {
			t.Helper()
			_, err := w.room.SignIn(t.Context(), address, name, word)
			var r *accounts.Refusal
			if errors.As(err, &r) && r.Code == accounts.CodeRateLimited {
				return r.After
			}
			return 0
		}
		for i := range 5 {
			if wait := try("wrong horse"); wait > 0 {
				t.Fatalf("%s: failure %d has to wait", name, i+1)
			}
		}
		for _, want := range []time.Duration{1, 2, 4, 8, 16, 32, 60, 60} {
			want *= time.Second
			if wait := try(password); wait != want {
				t.Fatalf("%s: has to wait %v, want %v", name, wait, want)
			}
			w.pass(want - time.Second/2)
			if wait := try(password); wait != time.Second/2 {
				t.Fatalf("%s: early, has to wait %v", name, wait)
			}
			w.pass(time.Second / 2)
			if wait := try("wrong horse"); wait > 0 {
				t.Fatalf("%s: in time, has to wait %v", name, wait)
			}
		}
	}
	w.pass(time.Minute)
	w.signIn("ada") // and it is forgotten
	for range 5 {
		_, err := w.room.SignIn(t.Context(), address, "ada", "wrong horse")
		wantCode(t, "after a success", err, accounts.CodeBadCredentials)
	}
}

func TestAnAddressThatFailsWithManyNamesHasToWaitAndOthersDoNot(t *testing.T) {
	w := onFile(t)
	w.signUp("ada")
	var err error
	for i := range 51 {
		_, err = w.room.SignIn(t.Context(), address, fmt.Sprint("name", i), "wrong horse")
	}
	wantCode(t, "the 51st", err, accounts.CodeRateLimited)
	if _, err := w.room.SignIn(t.Context(), "192.0.2.2:1", "ada", password); err != nil {
		t.Errorf("from elsewhere: %v", err)
	}
	w.pass(time.Second)
	w.signIn("ada")
}

func TestAttemptsThatAreMadeSideBySideAreNotFree(t *testing.T) {
	w := onFile(t)
	w.signUp("ada")
	const many = 50
	got := make(chan error, many)
	var all sync.WaitGroup
	for range many {
		all.Go(func() {
			_, err := w.room.SignIn(t.Context(), address, "ada", "wrong horse")
			got <- err
		})
	}
	all.Wait()
	close(got)
	tried := 0
	for err := range got {
		if errors.Is(err, &accounts.Refusal{Code: accounts.CodeBadCredentials}) {
			tried++
		}
	}
	if tried != 5 {
		t.Errorf("%d passwords were tried, want 5", tried)
	}
}

func TestSessionsOfOneAccountAreBounded(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.build(func(o *accounts.Options) {
			o.Limits = func() accounts.Limits { return accounts.Limits{SignUps: 100, Sessions: 2} }
		})
		w.signUp("ada")
		var list []accounts.Tokens
		for range 3 {
			w.pass(time.Second)
			list = append(list, w.signIn("ada"))
		}
		for i, want := range []bool{false, true, true} {
			if w.good(list[i]) != want {
				t.Errorf("session %d: good is not %v", i, want)
			}
		}
		w.pass(time.Second)
		if _, err := w.room.Refresh(t.Context(), list[1].Refresh); err != nil { // used now
			t.Fatal(err)
		}
		w.pass(time.Second)
		w.signIn("ada")
		if !w.good(list[1]) || w.good(list[2]) {
			t.Error("not the one that was used longest ago has ended")
		}
		shown, err := w.room.Sessions(t.Context(), w.holder(list[1]))
		if err != nil || len(shown) != 2 || shown[1].ID != list[1].Session || shown[1].Address != "192.0.2.1" || !shown[1].Used.After(shown[1].Created) {
			t.Errorf("got %+v, %v", shown, err)
		}
	})
}

// Where nobody may make an account the operator may, and as many as he likes.
func TestTheOperatorMakesAndEndsAccounts(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.build(func(o *accounts.Options) {
			o.SignUp = false
			o.Limits = func() accounts.Limits { return accounts.Limits{SignUps: 1, Sessions: 100, Blocks: 10} }
		})
		_, err := w.room.SignUp(t.Context(), address, "ada", password)
		wantCode(t, "signed up", err, accounts.CodeSignUpClosed)
		for i := range 3 {
			if _, err := w.room.MakeAccount(t.Context(), fmt.Sprint("user", i), password); err != nil {
				t.Fatal(err)
			}
		}
		_, err = w.room.MakeAccount(t.Context(), "USER0", password)
		wantCode(t, "made twice", err, accounts.CodeNameTaken)
		_, err = w.room.MakeAccount(t.Context(), "user4", "short")
		wantCode(t, "made with a short password", err, accounts.CodeInvalid)
		tokens := w.signIn("user0")
		if err := w.room.DeleteAccount(t.Context(), tokens.User); err != nil {
			t.Fatal(err)
		}
		if w.good(tokens) {
			t.Error("the tokens of an account that is gone are good")
		}
		wantCode(t, "deleted twice", w.room.DeleteAccount(t.Context(), tokens.User), accounts.CodeNotFound)
		wantCode(t, "deleted another app's", w.room.DeleteAccount(t.Context(), "ANZ-1"), accounts.CodeNotFound)
	})
}

func TestOneSessionIsEndedByItself(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.signUp("ada")
		w.signUp("grace")
		here, there, others := w.signIn("ada"), w.signIn("ada"), w.signIn("grace")
		for _, id := range []wire.ID{there.Session, there.Session, others.Session} {
			if err := w.room.EndSession(t.Context(), w.holder(here), id); err != nil {
				t.Fatal(err)
			}
		}
		if w.good(there) || !w.good(here) || !w.good(others) {
			t.Errorf("good are: that which was ended %t, the other %t, somebody else's %t", w.good(there), w.good(here), w.good(others))
		}
	})
}

func TestNumbersComeFromTheDomainsOwnShare(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		// 3, 4, 100 and 101 are ours.
		w.build(func(o *accounts.Options) {
			o.Place = func(n int64) (int64, bool) {
				switch {
				case n <= 4:
					return max(n, 3), true
				case n <= 101:
					return max(n, 100), true
				}
				return 0, false
			}
		})
		for i, want := range []string{"chat-3", "chat-4", "chat-100", "chat-101"} {
			if got := w.signUp(fmt.Sprint("user", i)); string(got) != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
		for range 2 {
			_, err := w.room.SignUp(t.Context(), address, "another", password)
			wantCode(t, "none left", err, accounts.CodeNoNumbers)
		}
	})
}

// What was sent to a number before it was somebody's is gone before anybody can sign in
// with it; where that cannot be seen to nobody gets the number.
func TestNothingWaitsForANewAccount(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		var emptied []wire.UserID
		broken := errors.New("out of order")
		w.build(func(o *accounts.Options) {
			o.Empty = func(ctx context.Context, user wire.UserID) error {
				if _, err := w.room.Profile(ctx, user); !errors.Is(err, &accounts.Refusal{Code: accounts.CodeNotFound}) {
					t.Errorf("%s has an account already: %v", user, err)
				}
				emptied = append(emptied, user)
				return broken
			}
		})
		if _, err := w.room.SignUp(t.Context(), address, "ada", password); !errors.Is(err, broken) {
			t.Errorf("got %v", err)
		}
		_, err := w.room.SignIn(t.Context(), address, "ada", password)
		wantCode(t, "signed in", err, accounts.CodeBadCredentials)
		broken = nil
		if user := w.signUp("ada"); len(emptied) != 2 || emptied[1] != user {
			t.Errorf("%s was made, and emptied were %v", user, emptied)
		}
	})
}
