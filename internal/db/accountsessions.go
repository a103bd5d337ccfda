package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Begin implements accounts.Store.
func (a *Accounts) Begin(ctx context.Context, s accounts.Session, x accounts.Account, most int) (ended []wire.ID, err error) {
	err = a.db.Write(ctx, func(tx *Tx) error {
		// The account's row is locked, so that no two sign-ins of it count at once.
		n, err := tx.Exec(ctx, "UPDATE accounts SET version = version WHERE number = $1 AND version = $2 AND password = $3", s.Account, x.Version, x.Password)
		if err == nil && n == 0 {
			err = accounts.ErrUnknown
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO account_sessions (id, account, turn, address, created_at, used_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7)",
			s.ID.String(), s.Account, s.Turn, s.Address, millis(s.Created), millis(s.Used), millis(s.Expires))
		if err != nil {
			return err
		}
		// The new one stays, whatever the clocks of other nodes say.
		ended, err = idsIn(ctx, tx, "DELETE FROM account_sessions WHERE account = $1 AND id IN"+
			" (SELECT id FROM account_sessions WHERE account = $1 AND id <> $2 ORDER BY used_at DESC, id DESC LIMIT 1000000 OFFSET $3) RETURNING id",
			s.Account, s.ID.String(), most-1)
		return err
	})
	return ended, err
}

// Turn implements accounts.Store.
func (a *Accounts) Turn(ctx context.Context, id wire.ID, turn int64, now, expires time.Time) (s accounts.Session, x accounts.Account, err error) {
	reused := false
	err = a.db.Relieve(ctx, func(tx *Tx) error {
		reused = false
		s = accounts.Session{ID: id, Turn: turn + 1, Used: now, Expires: expires}
		var created int64
		err := tx.Row(ctx, "UPDATE account_sessions SET turn = turn + 1, used_at = $1, expires_at = $2 WHERE id = $3 AND turn = $4 AND expires_at > $1 RETURNING account, address, created_at",
			millis(now), millis(expires), id.String(), turn).Scan(&s.Account, &s.Address, &created)
		s.Created = moment(created)
		switch {
		case err == nil:
			x, err = byNumber(ctx, tx, s.Account)
			return err
		case !errors.Is(err, sql.ErrNoRows):
			return err
		}
		// An earlier turn was used before; a later one was never made.
		err = tx.Row(ctx, "DELETE FROM account_sessions WHERE id = $1 AND turn > $2 RETURNING account", id.String(), turn).Scan(&s.Account)
		if err != nil {
			return missing(err, accounts.ErrEnded)
		}
		reused = true
		return nil
	})
	if err == nil && reused {
		err = accounts.ErrReused
	}
	return s, x, err
}

// Stands implements accounts.Store.
func (a *Accounts) Stands(ctx context.Context, number int64, id wire.ID, now time.Time) (version int64, ok bool, err error) {
	err = a.db.Read(ctx, func(tx *Tx) error {
		return tx.Row(ctx, "SELECT accounts.version FROM account_sessions JOIN accounts ON accounts.number = account_sessions.account"+
			" WHERE account_sessions.id = $1 AND account_sessions.account = $2 AND account_sessions.expires_at > $3", id.String(), number, millis(now)).Scan(&version)
	})
	if errors.Is(err, sql.ErrNoRows) {
		return 0, false, nil
	}
	return version, err == nil, err
}

// Standing implements accounts.Store.
func (a *Accounts) Standing(ctx context.Context, ids []wire.ID, now time.Time) (found []wire.ID, err error) {
	err = a.db.Read(ctx, func(tx *Tx) error {
		found = nil
		for rest := ids; len(rest) > 0; {
			some := rest[:min(len(rest), atOnce)]
			rest = rest[len(some):]
			args := []any{millis(now)}
			for _, id := range some {
				args = append(args, id.String())
			}
			more, err := idsIn(ctx, tx, "SELECT id FROM account_sessions WHERE expires_at > $1 AND id IN "+list(2, len(some)), args...)
			if err != nil {
				return err
			}
			found = append(found, more...)
		}
		return nil
	})
	return found, err
}

// End implements accounts.Store.
func (a *Accounts) End(ctx context.Context, number int64, id wire.ID) error {
	return a.db.Relieve(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM account_sessions WHERE id = $1 AND account = $2", id.String(), number)
		return err
	})
}

// EndAll implements accounts.Store.
func (a *Accounts) EndAll(ctx context.Context, number int64) error {
	return a.db.Relieve(ctx, func(tx *Tx) error { return endAll(ctx, tx, number) })
}

// endAll ends all sessions of an account and raises its version.
func endAll(ctx context.Context, tx *Tx, number int64) error {
	if _, err := tx.Exec(ctx, "UPDATE accounts SET version = version + 1 WHERE number = $1", number); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, "DELETE FROM account_sessions WHERE account = $1", number)
	return err
}

// Sessions implements accounts.Store.
func (a *Accounts) Sessions(ctx context.Context, number int64, now time.Time) (found []accounts.Session, err error) {
	err = a.db.Read(ctx, func(tx *Tx) error {
		found = nil
		return tx.Each(ctx, "SELECT id, turn, address, created_at, used_at, expires_at FROM account_sessions"+
			" WHERE account = $1 AND expires_at > $2 ORDER BY created_at DESC, id DESC", func(row func(...any) error) error {
			s := accounts.Session{Account: number}
			var id string
			var created, used, expires int64
			if err := row(&id, &s.Turn, &s.Address, &created, &used, &expires); err != nil {
				return err
			}
			s.Created, s.Used, s.Expires = moment(created), moment(used), moment(expires)
			if s.ID, err = wire.ParseID(id); err != nil {
				return fmt.Errorf("read a session: %w", err)
			}
			found = append(found, s)
			return nil
		}, number, millis(now))
	})
	return found, err
}

// tidied is how many rows Tidy removes of each kind at once, so that nobody waits long.
const tidied = 1000

// Tidy implements accounts.Store.
func (a *Accounts) Tidy(ctx context.Context, now time.Time) (more bool, err error) {
	err = a.db.Relieve(ctx, func(tx *Tx) error {
		sessions, err := tx.Exec(ctx, "DELETE FROM account_sessions WHERE id IN (SELECT id FROM account_sessions WHERE expires_at <= $1 LIMIT $2)", millis(now), tidied)
		if err != nil {
			return err
		}
		resets, err := tx.Exec(ctx, "DELETE FROM account_resets WHERE hash IN (SELECT hash FROM account_resets WHERE expires_at <= $1 LIMIT $2)", millis(now), tidied)
		more = sessions == tidied || resets == tidied
		return err
	})
	return more, err
}
