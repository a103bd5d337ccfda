package db

import (
	"context"
	"database/sql"
	"encoding/base64"
	"errors"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/accounts"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Accounts keeps the accounts: an accounts.Store.
type Accounts struct{ db *DB }

var _ accounts.Store = (*Accounts)(nil)

// Accounts returns what the database keeps of accounts.
func (d *DB) Accounts() *Accounts { return &Accounts{d} }

// millis and moment turn times into what is kept, and back.
func millis(t time.Time) int64  { return t.UnixMilli() }
func moment(ms int64) time.Time { return time.UnixMilli(ms).UTC() }

// missing turns an error that says that there is no row into another one.
func missing(err, into error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return into
	}
	return err
}

const readKeys text = "SELECT id, purpose, secret, created_at FROM account_keys ORDER BY created_at DESC, id DESC"

// Keys implements accounts.Store.
func (a *Accounts) Keys(ctx context.Context, fresh []accounts.Key) (list []accounts.Key, err error) {
	err = a.db.Read(ctx, func(tx *Tx) error {
		list, err = keysIn(ctx, tx)
		return err
	})
	if err != nil || len(list) > 0 {
		return list, err
	}
	err = a.db.Write(ctx, func(tx *Tx) error {
		if _, err := tx.Next(ctx, "keys"); err != nil { // whoever else makes some waits here
			return err
		}
		if list, err = keysIn(ctx, tx); err != nil || len(list) > 0 {
			return err
		}
		for _, k := range fresh {
			_, err := tx.Exec(ctx, "INSERT INTO account_keys (id, purpose, secret, created_at) VALUES ($1, $2, $3, $4)",
				k.ID, k.Purpose, base64.StdEncoding.EncodeToString(k.Secret), millis(k.Created))
			if err != nil {
				return err
			}
		}
		list, err = keysIn(ctx, tx)
		return err
	})
	return list, err
}

func keysIn(ctx context.Context, tx *Tx) (list []accounts.Key, err error) {
	err = tx.Each(ctx, readKeys, func(row func(...any) error) error {
		var k accounts.Key
		var secret string
		var created int64
		if err := row(&k.ID, &k.Purpose, &secret, &created); err != nil {
			return err
		}
		k.Created = moment(created)
		if k.Secret, err = base64.StdEncoding.DecodeString(secret); err != nil {
			return fmt.Errorf("read key %q: %w", k.ID, err)
		}
		list = append(list, k)
		return nil
	})
	return list, err
}

// NewNumber implements accounts.Store.
func (a *Accounts) NewNumber(ctx context.Context, place func(int64) (int64, bool)) (number int64, err error) {
	err = a.db.Write(ctx, func(tx *Tx) error {
		next, err := tx.Next(ctx, "accounts")
		if err != nil {
			return err
		}
		var ok bool
		if number, ok = place(next); !ok {
			return accounts.ErrNoNumbers
		}
		if number != next {
			_, err = tx.Exec(ctx, "UPDATE counters SET value = $1 WHERE name = 'accounts'", number)
		}
		return err
	})
	return number, err
}

// Create implements accounts.Store.
func (a *Accounts) Create(ctx context.Context, x accounts.Account) error {
	return a.db.Write(ctx, func(tx *Tx) error {
		n, err := tx.Exec(ctx, "INSERT INTO accounts (number, username, name_key, password, version, display_name, bio, avatar_url, created_at)"+
			" VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9) ON CONFLICT (name_key) DO NOTHING",
			x.Number, x.Username, accounts.NameKey(x.Username), x.Password, x.Version, x.DisplayName, x.Bio, x.AvatarURL, millis(x.Created))
		if err == nil && n == 0 {
			err = accounts.ErrTaken
		}
		return err
	})
}

const (
	profileColumns text = "number, username, display_name, bio, avatar_url, created_at"
	accountColumns text = profileColumns + ", password, version"
)

// profileOf reads the columns of a profile, and more behind them.
func profileOf(row func(...any) error, p *accounts.Profile, more ...any) error {
	var created int64
	err := row(append([]any{&p.Number, &p.Username, &p.DisplayName, &p.Bio, &p.AvatarURL, &created}, more...)...)
	p.Created = moment(created)
	return err
}

// ByName implements accounts.Store.
func (a *Accounts) ByName(ctx context.Context, key string) (x accounts.Account, err error) {
	err = a.db.Read(ctx, func(tx *Tx) error {
		return profileOf(tx.Row(ctx, "SELECT "+accountColumns+" FROM accounts WHERE name_key = $1 AND leaving = 0", key).Scan, &x.Profile, &x.Password, &x.Version)
	})
	return x, missing(err, accounts.ErrUnknown)
}

// ByNumber implements accounts.Store.
func (a *Accounts) ByNumber(ctx context.Context, number int64) (x accounts.Account, err error) {
	err = a.db.Read(ctx, func(tx *Tx) error {
		x, err = byNumber(ctx, tx, number)
		return err
	})
	return x, missing(err, accounts.ErrUnknown)
}

func byNumber(ctx context.Context, tx *Tx, number int64) (x accounts.Account, err error) {
	return x, profileOf(tx.Row(ctx, "SELECT "+accountColumns+" FROM accounts WHERE number = $1 AND leaving = 0", number).Scan, &x.Profile, &x.Password, &x.Version)
}

// atOnce is how many rows one statement asks for by name.
const atOnce = 500

// Profiles implements accounts.Store.
func (a *Accounts) Profiles(ctx context.Context, numbers []int64) (found []accounts.Profile, err error) {
	err = a.db.Read(ctx, func(tx *Tx) error {
		found = nil
		for rest := numbers; len(rest) > 0; {
			some := rest[:min(len(rest), atOnce)]
			rest = rest[len(some):]
			args := make([]any, len(some))
			for i, n := range some {
				args[i] = n
			}
			err := tx.Each(ctx, "SELECT "+profileColumns+" FROM accounts WHERE leaving = 0 AND number IN "+list(1, len(some)), func(row func(...any) error) error {
				var p accounts.Profile
				err := profileOf(row, &p)
				found = append(found, p)
				return err
			}, args...)
			if err != nil {
				return err
			}
		}
		return nil
	})
	return found, err
}

// SetProfile implements accounts.Store.
func (a *Accounts) SetProfile(ctx context.Context, number int64, c accounts.Change) error {
	return a.db.Write(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, "UPDATE accounts SET display_name = coalesce(CAST($1 AS TEXT), display_name), bio = coalesce(CAST($2 AS TEXT), bio), avatar_url = coalesce(CAST($3 AS TEXT), avatar_url)"+
			" WHERE number = $4 AND leaving = 0", c.DisplayName, c.Bio, c.AvatarURL, number)
		return err
	})
}

// Rehash implements accounts.Store.
func (a *Accounts) Rehash(ctx context.Context, number int64, old, hash string) error {
	return a.db.Write(ctx, func(tx *Tx) error { return rehash(ctx, tx, number, old, hash) })
}

// rehash replaces a hash that is still the old one.
func rehash(ctx context.Context, tx *Tx, number int64, old, hash string) error {
	n, err := tx.Exec(ctx, "UPDATE accounts SET password = $1 WHERE number = $2 AND password = $3", hash, number, old)
	if err == nil && n == 0 {
		err = accounts.ErrUnknown
	}
	return err
}

// SetPassword implements accounts.Store.
func (a *Accounts) SetPassword(ctx context.Context, number int64, old, hash string, keep wire.ID) (ended []wire.ID, err error) {
	err = a.db.Relieve(ctx, func(tx *Tx) error {
		if err := rehash(ctx, tx, number, old, hash); err != nil {
			return err
		}
		ended, err = idsIn(ctx, tx, "DELETE FROM account_sessions WHERE account = $1 AND id <> $2 RETURNING id", number, keep.String())
		return err
	})
	return ended, err
}

// idsIn reads IDs.
func idsIn(ctx context.Context, tx *Tx, query text, args ...any) (ids []wire.ID, err error) {
	err = tx.Each(ctx, query, func(row func(...any) error) error {
		var written string
		if err := row(&written); err != nil {
			return err
		}
		id, err := wire.ParseID(written)
		ids = append(ids, id)
		return err
	}, args...)
	return ids, err
}

// Leave implements accounts.Store.
func (a *Accounts) Leave(ctx context.Context, number int64) error {
	return a.db.Relieve(ctx, func(tx *Tx) error {
		// No name begins so: it is free. Whoever makes the account a member has locked its
		// row, too: see chatTx.LockUser.
		n, err := tx.Exec(ctx, "UPDATE accounts SET leaving = 1, name_key = CAST('!' AS TEXT) || number, username = '', password = '', display_name = '', bio = '', avatar_url = ''"+
			" WHERE number = $1 AND leaving = 0", number)
		if err == nil && n == 0 {
			err = accounts.ErrUnknown
		}
		if err != nil {
			return err
		}
		if err := endAll(ctx, tx, number); err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "DELETE FROM account_resets WHERE account = $1", number)
		return err
	})
}

// Leaving implements accounts.Store.
func (a *Accounts) Leaving(ctx context.Context, after int64, limit int) (numbers []int64, err error) {
	err = a.db.Read(ctx, func(tx *Tx) error {
		numbers = nil
		return tx.Each(ctx, "SELECT number FROM accounts WHERE leaving = 1 AND number > $1 ORDER BY number LIMIT $2", func(row func(...any) error) error {
			var n int64
			err := row(&n)
			numbers = append(numbers, n)
			return err
		}, after, limit)
	})
	return numbers, err
}

// Delete implements accounts.Store.
func (a *Accounts) Delete(ctx context.Context, number int64) error {
	return a.db.Relieve(ctx, func(tx *Tx) error {
		rooms, err := (&chatTx{ctx: ctx, Tx: tx}).CountRoomsOf(number)
		switch {
		case err != nil:
			return err
		case rooms > 0:
			return accounts.ErrMember
		}
		_, err = tx.Exec(ctx, "DELETE FROM accounts WHERE number = $1 AND leaving = 1", number)
		return err
	})
}

// gone turns the error of what is kept of an account that has been deleted meanwhile into
// one that says so.
func gone(err error) error {
	if errors.Is(err, ErrConflict) {
		return accounts.ErrUnknown
	}
	return err
}

// AddReset implements accounts.Store.
func (a *Accounts) AddReset(ctx context.Context, number int64, hash string, now, expires time.Time, most int) error {
	return gone(a.db.Write(ctx, func(tx *Tx) error {
		if _, err := byNumber(ctx, tx, number); err != nil {
			return missing(err, accounts.ErrUnknown)
		}
		_, err := tx.Exec(ctx, "DELETE FROM account_resets WHERE account = $1 AND hash IN"+
			" (SELECT hash FROM account_resets WHERE account = $1 ORDER BY created_at DESC, hash LIMIT 1000 OFFSET $2)", number, most-1)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "INSERT INTO account_resets (hash, account, created_at, expires_at) VALUES ($1, $2, $3, $4)", hash, number, millis(now), millis(expires))
		return err
	}))
}

// FindReset implements accounts.Store.
func (a *Accounts) FindReset(ctx context.Context, hash string, now time.Time) error {
	return a.db.Read(ctx, func(tx *Tx) error {
		var number int64
		return missing(tx.Row(ctx, "SELECT account FROM account_resets WHERE hash = $1 AND expires_at > $2", hash, millis(now)).Scan(&number), accounts.ErrUnknown)
	})
}

// UseReset implements accounts.Store.
func (a *Accounts) UseReset(ctx context.Context, hash string, now time.Time, password string) (number int64, err error) {
	err = a.db.Relieve(ctx, func(tx *Tx) error {
		// Whoever uses it first has it, and nobody else.
		err := tx.Row(ctx, "DELETE FROM account_resets WHERE hash = $1 AND expires_at > $2 RETURNING account", hash, millis(now)).Scan(&number)
		if err != nil {
			return missing(err, accounts.ErrUnknown)
		}
		if _, err := tx.Exec(ctx, "DELETE FROM account_resets WHERE account = $1", number); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, "UPDATE accounts SET password = $1 WHERE number = $2 AND leaving = 0", password, number); err != nil {
			return err
		}
		return endAll(ctx, tx, number)
	})
	return number, err
}

// Block implements accounts.Store.
func (a *Accounts) Block(ctx context.Context, number int64, b accounts.Block, most int) error {
	return gone(a.db.Write(ctx, func(tx *Tx) error {
		var n int64
		// The row of whoever blocks is locked, so that no two of his count at once.
		if changed, err := tx.Exec(ctx, "UPDATE accounts SET version = version WHERE number = $1 AND leaving = 0", number); err != nil || changed == 0 {
			return errors.Join(err, accounts.ErrUnknown)
		}
		err := tx.Row(ctx, "SELECT number FROM accounts WHERE number = $1 AND leaving = 0", b.Number).Scan(&n)
		if err != nil {
			return missing(err, accounts.ErrUnknown)
		}
		if err := tx.Row(ctx, "SELECT count(*) FROM account_blocks WHERE account = $1 AND blocked <> $2", number, b.Number).Scan(&n); err != nil {
			return err
		}
		if n >= int64(most) {
			return accounts.ErrMany
		}
		_, err = tx.Exec(ctx, "INSERT INTO account_blocks (account, blocked, created_at) VALUES ($1, $2, $3) ON CONFLICT (account, blocked) DO NOTHING", number, b.Number, millis(b.Created))
		return err
	}))
}

// Unblock implements accounts.Store.
func (a *Accounts) Unblock(ctx context.Context, number, blocked int64) error {
	return a.db.Relieve(ctx, func(tx *Tx) error {
		_, err := tx.Exec(ctx, "DELETE FROM account_blocks WHERE account = $1 AND blocked = $2", number, blocked)
		return err
	})
}

// Blocks implements accounts.Store.
func (a *Accounts) Blocks(ctx context.Context, number, after int64, limit int) (list []accounts.Block, err error) {
	err = a.db.Read(ctx, func(tx *Tx) error {
		list = nil
		return tx.Each(ctx, "SELECT blocked, created_at FROM account_blocks WHERE account = $1 AND blocked > $2 ORDER BY blocked LIMIT $3", func(row func(...any) error) error {
			var b accounts.Block
			var created int64
			err := row(&b.Number, &created)
			b.Created = moment(created)
			list = append(list, b)
			return err
		}, number, after, limit)
	})
	return list, err
}

// BlockedBy implements accounts.Store.
func (a *Accounts) BlockedBy(ctx context.Context, numbers []int64) (all []accounts.Blocking, err error) {
	err = a.db.Read(ctx, func(tx *Tx) error {
		all = nil
		args := make([]any, len(numbers))
		for i, n := range numbers {
			args[i] = n
		}
		return tx.Each(ctx, "SELECT account, blocked FROM account_blocks WHERE blocked IN "+list(1, len(args)), func(row func(...any) error) error {
			var b accounts.Blocking
			err := row(&b.By, &b.Whom)
			all = append(all, b)
			return err
		}, args...)
	})
	return all, err
}

// Blocked implements accounts.Store.
func (a *Accounts) Blocked(ctx context.Context, by, number int64) (bool, error) {
	n := 0
	err := a.db.Read(ctx, func(tx *Tx) error {
		return tx.Row(ctx, "SELECT count(*) FROM account_blocks WHERE account = $1 AND blocked = $2", by, number).Scan(&n)
	})
	return n > 0, err
}
