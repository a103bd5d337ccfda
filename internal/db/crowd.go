package db

import (
	"context"
	"errors"
	"fmt"
)

// Crowd is for measurements: it makes further accounts, up to a number, and members of
// the first room of all of them. Where the only one there is has the name p1, they are
// p2, p3 and so on, with its password: to hash one for each would take minutes. No
// server uses the database meanwhile.
func (d *DB) Crowd(ctx context.Context, prefix string, members int) error {
	return d.Write(ctx, func(tx *Tx) error {
		var accounts, rooms int
		err := tx.Row(ctx, "SELECT (SELECT COUNT(*) FROM accounts WHERE name_key = $1), (SELECT COUNT(*) FROM chat_rooms WHERE n = 1 AND members = 1)", prefix+"1").Scan(&accounts, &rooms)
		if err == nil && accounts*rooms != 1 {
			err = errors.New("there is not one account, which is alone in one room")
		}
		const further = "WITH RECURSIVE further(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM further WHERE n < $1) "
		for _, fill := range []struct {
			statement text
			args      []any
		}{
			{further + "INSERT INTO accounts (number, username, name_key, password, version, display_name, bio, avatar_url, created_at)" +
				" SELECT n, CAST($2 AS TEXT) || n, CAST($2 AS TEXT) || n, password, version, '', '', '', created_at FROM further, accounts WHERE number = 1", []any{members, prefix}},
			{further + "INSERT INTO chat_members (room, account, role, since, read_seq, own) SELECT 1, n, 'member', 1, 0, 0 FROM further", []any{members}},
			{"UPDATE counters SET value = $1 WHERE name = 'accounts'", []any{members}},
			{"UPDATE chat_rooms SET members = $1 WHERE n = 1", []any{members}},
		} {
			if err == nil {
				_, err = tx.Exec(ctx, fill.statement, fill.args...)
			}
		}
		if err != nil {
			return fmt.Errorf("make a crowd: %w", err)
		}
		return nil
	})
}
