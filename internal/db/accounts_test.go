package db

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
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
			for _, n := range []int64{stays, goes} {
				a := accounts.Account{Profile: accounts.Profile{Number: n, Username: fmt.Sprint("user", n), Created: now}, Password: "hash", Version: 1}
				if err := store.Create(soon(t), a); err != nil {
					t.Fatal(err)
				}
			}
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
