package db

import "testing"

// A crowd has the password of the first, is in the room, and whoever comes next has the
// next number. There is none beside what is there already.
func TestACrowdIsInTheFirstRoom(t *testing.T) {
	onBoth(t, func(t *testing.T, o Options) {
		d, ctx := open(t, o), soon(t)
		if err := d.Crowd(ctx, "guest", 1000); err == nil {
			t.Error("there is a crowd of nobody")
		}
		err := d.Write(ctx, func(tx *Tx) error {
			_, err := tx.Exec(ctx, "INSERT INTO accounts (number, username, name_key, password, version, display_name, bio, avatar_url, created_at) VALUES (1, 'guest1', 'guest1', 'hash', 1, '', '', '', 7)")
			if err == nil {
				_, err = tx.Exec(ctx, "INSERT INTO chat_rooms (n, id, name, banner, public, creator, created_at, members, last_seq, last_at) VALUES (1, 'x', 'all', '', 1, 1, 7, 1, 0, 0)")
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := d.Crowd(ctx, "guest", 1000); err != nil {
			t.Fatal(err)
		}
		if err := d.Crowd(ctx, "guest", 2000); err == nil {
			t.Error("there is a second crowd")
		}
		var accounts, members, said, next int64
		err = d.Write(ctx, func(tx *Tx) (err error) {
			if err = tx.Row(ctx, "SELECT COUNT(*) FROM accounts WHERE username = 'guest' || number AND password = 'hash'").Scan(&accounts); err != nil {
				return err
			}
			if err = tx.Row(ctx, "SELECT COUNT(*), MAX((SELECT members FROM chat_rooms)) FROM chat_members WHERE room = 1").Scan(&members, &said); err != nil {
				return err
			}
			next, err = tx.Next(ctx, "accounts")
			return err
		})
		if err != nil || accounts != 1000 || members != 999 || said != 1000 || next != 1001 {
			t.Errorf("%d accounts, %d members but for the first, %d in the room, next %d: %v", accounts, members, said, next, err)
		}
	})
}
