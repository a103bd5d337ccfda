package db

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/internal/chat"
)

// waiting waits until somebody waits for what another transaction has locked. In a file
// whoever writes waits for the connection, and nothing is to be seen of that.
func waiting(t *testing.T, d *DB) {
	t.Helper()
	if d.kind == inFile {
		return
	}
	eventually(t, "somebody waits", func() bool {
		n := 0
		err := d.Read(soon(t), func(tx *Tx) error {
			return tx.Row(soon(t), "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'").Scan(&n)
		})
		return err == nil && n > 0
	})
}

// makeAccounts makes accounts of some numbers.
func makeAccounts(t *testing.T, store *Accounts, numbers ...int64) {
	t.Helper()
	for _, n := range numbers {
		p := accounts.Profile{Number: n, Username: fmt.Sprint("user", n), Created: time.Unix(1_764_000_000, 0)}
		if err := store.Create(soon(t), accounts.Account{Profile: p, Password: "hash", Version: 1}); err != nil {
			t.Fatal(err)
		}
	}
}

// Whoever is making an account a member of a room when that is deleted has done so before,
// and it is seen to be in the room; nobody does so after.
func TestAnAccountThatIsDeletedIsMadeAMemberBeforeOrNotAtAll(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		store := d.Accounts()
		makeAccounts(t, store, 1)
		r := longRoom(t, d, 1)
		done := make(chan error, 1)
		err := d.Chat().Write(soon(t), func(tx chat.Tx) error {
			known, err := tx.LockUser(1)
			if !known || err != nil {
				t.Errorf("known %v, %v", known, err)
			}
			go func() { done <- store.Leave(soon(t), 1) }()
			waiting(t, d)
			return tx.PutMembers([]chat.Member{{Room: r.N, User: 1, Role: "member"}})
		})
		if left := <-done; err != nil || left != nil {
			t.Fatal(err, left)
		}
		if err := store.Delete(soon(t), 1); !errors.Is(err, accounts.ErrMember) {
			t.Errorf("deleted while it is in a room: %v", err)
		}
		err = d.Chat().Write(soon(t), func(tx chat.Tx) error {
			known, err := tx.LockUser(1)
			if known {
				t.Error("it can be made a member")
			}
			return errors.Join(err, tx.DropMember(r.N, 1))
		})
		if deleted := store.Delete(soon(t), 1); err != nil || deleted != nil {
			t.Error(err, deleted)
		}
		if err := store.Leave(soon(t), 1); !errors.Is(err, accounts.ErrUnknown) {
			t.Errorf("deleted again: %v", err)
		}
	})
}

// What is kept of an account whose deletion is under way finds no account, and is not called
// a fault of the database.
func TestOfAnAccountThatIsBeingDeletedNothingIsKept(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d := open(t, o)
		store, now := d.Accounts(), time.Unix(1_764_000_000, 0)
		for i, keep := range []func(ctx context.Context, stays, goes int64) error{
			func(ctx context.Context, _, goes int64) error {
				return store.AddReset(ctx, goes, "hash", now, now.Add(time.Hour), 5)
			},
			func(ctx context.Context, stays, goes int64) error {
				return store.Block(ctx, stays, accounts.Block{Number: goes, Created: now}, 5)
			},
			func(ctx context.Context, stays, goes int64) error {
				return store.Block(ctx, goes, accounts.Block{Number: stays, Created: now}, 5)
			},
		} {
			stays, goes := int64(2*i+1), int64(2*i+2)
			makeAccounts(t, store, stays, goes)
			done := make(chan error, 1)
			err := d.Write(soon(t), func(tx *Tx) error {
				if _, err := tx.Exec(soon(t), "DELETE FROM accounts WHERE number = $1", goes); err != nil {
					return err
				}
				go func() { done <- keep(soon(t), stays, goes) }()
				waiting(t, d)
				return nil
			})
			if kept := <-done; err != nil || !errors.Is(kept, accounts.ErrUnknown) {
				t.Errorf("%d: got %v, %v", i, kept, err)
			}
		}
	})
}
