package accounts_test

import (
	"context"
	"errors"
	"io"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/db"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// forgetting is what else is kept of users, and has a test do something when it is told that
// one is gone.
type forgetting func(user wire.UserID) error

func (forgetting) Export(context.Context, wire.UserID, io.Writer) error { return nil }

func (f forgetting) Forget(_ context.Context, user wire.UserID) error { return f(user) }

// write changes the database.
func (w *world) write(f func(tx *db.Tx) error) {
	w.t.Helper()
	if err := w.db.Write(w.t.Context(), f); err != nil {
		w.t.Fatal(err)
	}
}

// invite makes an account a member of the only room, if it is found.
func (w *world) invite(user wire.UserID) bool {
	w.t.Helper()
	_, err := w.room.Profile(w.t.Context(), user)
	if errors.Is(err, &accounts.Refusal{Code: accounts.CodeNotFound}) {
		return false
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.write(func(tx *db.Tx) error {
		_, err := tx.Exec(w.t.Context(), "INSERT INTO chat_members (room, account, role, since, read_seq, own) VALUES (1, $1, 'member', 0, 0, 0)", user.Number())
		return err
	})
	return true
}

// expel takes it out again.
func (w *world) expel(user wire.UserID) {
	w.t.Helper()
	w.write(func(tx *db.Tx) error {
		_, err := tx.Exec(w.t.Context(), "DELETE FROM chat_members WHERE account = $1", user.Number())
		return err
	})
}

// makeRoom makes the room.
func (w *world) makeRoom() {
	w.t.Helper()
	w.write(func(tx *db.Tx) error {
		_, err := tx.Exec(w.t.Context(), "INSERT INTO chat_rooms (n, id, name, banner, public, creator, created_at, members, last_seq, last_at) VALUES (1, 'x', 'tea', '', 1, 1, 0, 1, 0, 0)")
		return err
	})
}

// leaving returns the accounts of which something is left.
func (w *world) leaving() []int64 {
	w.t.Helper()
	list, err := w.store.Leaving(w.t.Context(), -1, 10)
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// However often others invite somebody who is deleting the account, it is deleted.
func TestWhoeverInvitesWithoutPauseKeepsNoAccountFromBeingDeleted(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		w.makeRoom()
		w.build(func(o *accounts.Options) {
			o.Chat = forgetting(func(user wire.UserID) error {
				w.expel(user)
				if w.invite(user) {
					t.Errorf("%s can be invited", user)
				}
				return nil
			})
		})
		h := w.member("ada")
		if !w.invite(h.User) {
			t.Fatal("nobody can be invited")
		}
		if err := w.room.Delete(t.Context(), address, h, password); err != nil {
			t.Fatal(err)
		}
		if list := w.leaving(); len(list) > 0 {
			t.Errorf("of %v something is left", list)
		}
	})
}

// An account is gone for everybody, and its name free, when its deletion is answered,
// whatever was cut off; and that is done later.
func TestADeletionThatIsCutOffIsFinishedLater(t *testing.T) {
	onBoth(t, func(t *testing.T, w *world) {
		down := errors.New("the database does not answer")
		var fault error
		var forgotten, emptied []wire.UserID
		w.build(func(o *accounts.Options) {
			o.Chat = forgetting(func(user wire.UserID) error { forgotten = append(forgotten, user); return fault })
			o.Empty = func(_ context.Context, user wire.UserID) error { emptied = append(emptied, user); return nil }
		})
		bob := w.member("bob")
		w.signUp("ada")
		tokens := w.signIn("ada")
		h := w.holder(tokens)
		reset, err := w.room.MakeReset(t.Context(), h.User)
		if err != nil {
			t.Fatal(err)
		}
		emptied, fault = nil, down
		if err := w.room.Delete(t.Context(), address, h, password); err != nil {
			t.Fatalf("an account that is gone for everybody: %v", err)
		}
		_, err = w.room.SignIn(t.Context(), address, "ada", password)
		wantCode(t, "sign in", err, accounts.CodeBadCredentials)
		_, err = w.room.Refresh(t.Context(), tokens.Refresh)
		wantCode(t, "refresh", err, accounts.CodeTokenExpired)
		_, err = w.room.Profile(t.Context(), h.User)
		wantCode(t, "the profile", err, accounts.CodeNotFound)
		_, err = w.room.ProfileOf(t.Context(), "ada")
		wantCode(t, "the name", err, accounts.CodeNotFound)
		_, err = w.room.UseReset(t.Context(), reset.Token, "battery staple")
		wantCode(t, "a token for the password", err, accounts.CodeBadToken)
		_, err = w.room.MakeReset(t.Context(), h.User)
		wantCode(t, "another one", err, accounts.CodeNotFound)
		wantCode(t, "a block", w.room.Block(t.Context(), bob, h.User), accounts.CodeNotFound)
		wantCode(t, "the deletion again", w.room.DeleteAccount(t.Context(), h.User), accounts.CodeNotFound)
		if found, err := w.room.Profiles(t.Context(), []wire.UserID{h.User}); err != nil || len(found) > 0 {
			t.Errorf("found %v, %v", found, err)
		}
		if user := w.signUp("ada"); user != "chat-3" {
			t.Errorf("whoever has the name next is %s", user)
		}
		if list := w.leaving(); len(list) != 1 || list[0] != h.Number() {
			t.Errorf("of %v something is left", list)
		}
		if err := w.room.FinishAll(t.Context()); !errors.Is(err, down) {
			t.Errorf("got %v", err)
		}
		fault, forgotten, emptied = nil, nil, nil
		if err := w.room.FinishAll(t.Context()); err != nil {
			t.Fatal(err)
		}
		if list := w.leaving(); len(list) > 0 || len(forgotten) != 1 || len(emptied) != 1 || emptied[0] != h.User {
			t.Errorf("of %v something is left; forgotten %v, emptied %v", list, forgotten, emptied)
		}
	})
}

// What waits for somebody whose account is deleted is thrown away, if not at once then later.
func TestTheMailboxOfADeletedAccountIsEmptied(t *testing.T) {
	w := onFile(t)
	var fault error
	emptied := 0
	w.build(func(o *accounts.Options) {
		o.Empty = func(_ context.Context, user wire.UserID) error {
			if user == "chat-1" {
				emptied++
			}
			return fault
		}
	})
	h := w.member("ada")
	emptied, fault = 0, errors.New("the message store does not answer")
	if err := w.room.Delete(t.Context(), address, h, password); err != nil || emptied != 1 || len(w.leaving()) != 1 {
		t.Errorf("emptied %d times, %d are left: %v", emptied, len(w.leaving()), err)
	}
	fault = nil
	if err := w.room.FinishAll(t.Context()); err != nil || emptied != 2 || len(w.leaving()) != 0 {
		t.Errorf("emptied %d times, %d are left: %v", emptied, len(w.leaving()), err)
	}
}

// Of two who delete an account at once one has deleted it.
func TestAnAccountIsDeletedOnce(t *testing.T) {
	w := onFile(t)
	again := 0
	var h accounts.Holder
	w.build(func(o *accounts.Options) {
		o.Chat = forgetting(func(user wire.UserID) error {
			if again++; again == 1 {
				wantCode(t, "the operator, meanwhile", w.room.DeleteAccount(t.Context(), user), accounts.CodeNotFound)
				wantCode(t, "the owner, meanwhile", w.room.Delete(t.Context(), address, h, password), accounts.CodeTokenExpired)
			}
			return nil
		})
	})
	h = w.member("ada")
	if err := w.room.DeleteAccount(t.Context(), h.User); err != nil {
		t.Fatal(err)
	}
	if n := w.count("switchboard_accounts_deleted_total"); n != 1 {
		t.Errorf("%d were deleted", n)
	}
}

// vanishing is a store in which an account goes between its being looked for and what is
// kept of it.
type vanishing struct{ accounts.Store }

func (v vanishing) AddReset(ctx context.Context, number int64, hash string, now, expires time.Time, most int) error {
	if err := v.Leave(ctx, number); err != nil {
		return err
	}
	return v.Store.AddReset(ctx, number, hash, now, expires, most)
}

// Whoever asks something of an account that goes meanwhile hears that there is none.
func TestOfAnAccountThatGoesMeanwhileOneHearsThatThereIsNone(t *testing.T) {
	w := onFile(t)
	w.build(func(o *accounts.Options) { o.Store = vanishing{w.store} })
	_, err := w.room.MakeReset(t.Context(), w.signUp("ada"))
	wantCode(t, "a token for its password", err, accounts.CodeNotFound)
}
