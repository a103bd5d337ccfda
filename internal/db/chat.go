package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/seed-3d8c1042/switchboard/internal/chat"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Chat is where rooms are kept: chat.Store.
type Chat struct{ db *DB }

// Chat returns where rooms are kept.
func (d *DB) Chat() *Chat { return &Chat{d} }

// committers are how many transactions of rooms PostgreSQL stores side by side; SQLite
// has one that writes.
const committers = 4

// Committers implements chat.Store.
func (c *Chat) Committers() int {
	if c.db.kind == inFile {
		return 1
	}
	return min(committers, max(c.db.opts.Connections/2, 1))
}

// Read implements chat.Store.
func (c *Chat) Read(ctx context.Context, f func(chat.View) error) error {
	return asChat(c.db.Read(ctx, func(tx *Tx) error { return f(&chatTx{ctx: ctx, Tx: tx}) }))
}

// Write implements chat.Store.
func (c *Chat) Write(ctx context.Context, f func(chat.Tx) error) error {
	return asChat(c.db.Write(ctx, func(tx *Tx) error { return f(&chatTx{ctx: ctx, Tx: tx}) }))
}

// Relieve implements chat.Store.
func (c *Chat) Relieve(ctx context.Context, f func(chat.Tx) error) error {
	return asChat(c.db.Relieve(ctx, func(tx *Tx) error { return f(&chatTx{ctx: ctx, Tx: tx}) }))
}

// asChat returns an error as the room of rooms knows it.
func asChat(err error) error {
	switch {
	case errors.Is(err, ErrDown):
		err = fmt.Errorf("%w: %w", chat.ErrDown, err)
	case errors.Is(err, ErrFull):
		err = fmt.Errorf("%w: %w", chat.ErrFull, err)
	}
	if errors.Is(err, errCommit) {
		err = fmt.Errorf("%w: %w", chat.ErrUnknown, err)
	}
	return err
}

// chatTx is a transaction about rooms. It has the context of the one call that it lives
// in.
type chatTx struct {
	ctx context.Context
	*Tx
	inOrder bool // see ordered
}

// ordered has what is read from now on be read in its order, by an index, rather than
// sorted: where PostgreSQL knows too little of a room that is new and long it would read
// all of it for a page.
func (t *chatTx) ordered() error {
	if t.kind != onServer || t.inOrder {
		return nil
	}
	t.inOrder = true
	_, err := t.Exec(t.ctx, "SET LOCAL enable_sort = off")
	return err
}

// one reads one row; false: there is none.
func (t *chatTx) one(query text, into []any, args ...any) (bool, error) {
	err := t.Row(t.ctx, query, args...).Scan(into...)
	if errors.Is(err, sql.ErrNoRows) {
		return false, nil
	}
	return err == nil, err
}

// count reads a number.
func (t *chatTx) count(query text, args ...any) (n int64, err error) {
	_, err = t.one(query, []any{&n}, args...)
	return n, err
}

// do carries a statement out and says whether it changed anything.
func (t *chatTx) do(statement text, args ...any) (bool, error) {
	n, err := t.Exec(t.ctx, statement, args...)
	return n > 0, err
}

// pieceRows bounds the rows of one statement: so neither has more parameters than a
// database takes, and there are few different statements, each of which is prepared.
const pieceRows = 64

// pieces cuts n rows into pieces whose sizes are powers of two.
func pieces(n int, each func(from, to int) error) error {
	for from := 0; from < n; {
		size := pieceRows
		for size > n-from {
			size /= 2
		}
		if err := each(from, from+size); err != nil {
			return err
		}
		from += size
	}
	return nil
}

// insert carries out a statement with VALUES of n rows; row appends the parameters of
// one.
func (t *chatTx) insert(head, tail text, n int, row func(args []any, i int) []any) error {
	return pieces(n, func(from, to int) error {
		var args []any
		statement := head
		for i := from; i < to; i++ {
			before := len(args)
			args = row(args, i)
			if i > from {
				statement += ", "
			}
			statement += list(before+1, len(args)-before)
		}
		_, err := t.Exec(t.ctx, statement+tail, args...)
		return err
	})
}

// where asks for rows of which one of n conditions holds: the condition is written again
// for each, by row.
func (t *chatTx) where(head text, n int, row func(args []any, i int) (text, []any), scan func(row func(into ...any) error) error) error {
	return pieces(n, func(from, to int) error {
		var args []any
		query := head
		for i := from; i < to; i++ {
			var condition text
			if condition, args = row(args, i); i > from {
				query += " OR "
			}
			query += condition
		}
		return t.Each(t.ctx, query, scan, args...)
	})
}

// in asks for rows of which a column has one of n values.
func (t *chatTx) in(head, tail text, n int, value func(i int) any, scan func(row func(into ...any) error) error) error {
	return pieces(n, func(from, to int) error {
		var args []any
		for i := from; i < to; i++ {
			args = append(args, value(i))
		}
		return t.Each(t.ctx, head+list(1, len(args))+tail, scan, args...)
	})
}

// locking is what has rows locked that are read in order to be written. SQLite locks
// everything.
func (t *chatTx) locking() text {
	if t.kind == onServer {
		return " FOR UPDATE"
	}
	return ""
}

// nullText returns NULL for an empty text.
func nullText(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// nullJSON returns NULL for what is not there.
func nullJSON(b []byte) any {
	if b == nil {
		return nil
	}
	return string(b)
}

func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}

const roomColumns text = "r.n, r.id, r.name, r.banner, r.public, r.low, r.high, r.creator, r.created_at, r.members, r.last_seq, r.last_at, r.changes"

// roomRow is a row of rooms as it is read.
type roomRow struct {
	chat.Room
	id        string
	public    int64
	low, high sql.NullInt64
}

func (r *roomRow) into() []any {
	return []any{&r.N, &r.id, &r.Name, &r.Banner, &r.public, &r.low, &r.high, &r.Creator, &r.CreatedAt, &r.Members, &r.LastSeq, &r.LastAt, &r.Changes}
}

func (r *roomRow) room() (chat.Room, error) {
	r.Public, r.OneToOne, r.Low, r.High = r.public == 1, r.low.Valid, r.low.Int64, r.high.Int64
	var err error
	r.ID, err = wire.ParseID(r.id)
	return r.Room, err
}

// oneRoom reads a room; nil: there is none.
func (t *chatTx) oneRoom(query text, args ...any) (*chat.Room, error) {
	var row roomRow
	ok, err := t.one(query, row.into(), args...)
	if !ok {
		return nil, err
	}
	r, err := row.room()
	return &r, err
}

// Room implements chat.View.
func (t *chatTx) Room(id wire.ID) (*chat.Room, error) {
	return t.oneRoom("SELECT "+roomColumns+" FROM chat_rooms r WHERE r.id = $1", id.String())
}

// Pair implements chat.View.
func (t *chatTx) Pair(low, high int64) (*chat.Room, error) {
	return t.oneRoom("SELECT "+roomColumns+" FROM chat_rooms r WHERE r.low = $1 AND r.high = $2", low, high)
}

// Heads implements chat.View.
func (t *chatTx) Heads(rooms []int64) (heads []chat.Head, err error) {
	err = t.in("SELECT n, last_seq, changes FROM chat_rooms WHERE n IN ", "", len(rooms), func(i int) any { return rooms[i] },
		func(row func(...any) error) error {
			var h chat.Head
			err := row(&h.N, &h.LastSeq, &h.Changes)
			heads = append(heads, h)
			return err
		})
	return heads, err
}

// PublicRooms implements chat.View.
func (t *chatTx) PublicRooms(after int64, limit int) ([]chat.Room, error) {
	if err := t.ordered(); err != nil {
		return nil, err
	}
	return t.rooms("SELECT "+roomColumns+" FROM chat_rooms r WHERE r.public = 1 AND r.n > $1 ORDER BY r.n LIMIT $2", after, limit)
}

func (t *chatTx) rooms(query text, args ...any) (rooms []chat.Room, err error) {
	err = t.Each(t.ctx, query, func(row func(...any) error) error {
		var x roomRow
		if err := row(x.into()...); err != nil {
			return err
		}
		r, err := x.room()
		rooms = append(rooms, r)
		return err
	}, args...)
	return rooms, err
}

// RoomsOf implements chat.View.
func (t *chatTx) RoomsOf(user, after int64, limit int) (list []chat.Membership, err error) {
	err = t.Each(t.ctx, roomsOfQuery,
		func(row func(...any) error) error {
			var x roomRow
			var m chat.Member
			if err := row(append(x.into(), memberInto(&m)...)...); err != nil {
				return err
			}
			r, err := x.room()
			list = append(list, chat.Membership{Room: r, Member: m})
			return err
		}, user, after, limit)
	return list, err
}

const roomsOfQuery text = "SELECT " + roomColumns + ", " + memberColumns + " FROM chat_members m JOIN chat_rooms r ON r.n = m.room WHERE m.account = $1 AND m.room > $2 ORDER BY m.room LIMIT $3"

// CountRoomsOf implements chat.View.
func (t *chatTx) CountRoomsOf(user int64) (int, error) {
	n, err := t.count("SELECT count(*) FROM chat_members m JOIN chat_rooms r ON r.n = m.room WHERE m.account = $1", user)
	return int(n), err
}

// CountOwned implements chat.View.
func (t *chatTx) CountOwned(user int64) (int, error) {
	n, err := t.count("SELECT count(*) FROM chat_members m JOIN chat_rooms r ON r.n = m.room WHERE m.account = $1 AND m.role = 'owner' AND r.creator = $1", user)
	return int(n), err
}

// Lock implements chat.Tx.
func (t *chatTx) Lock(rooms []wire.ID) (locked []*chat.Room, err error) {
	if len(rooms) == 0 {
		return nil, nil
	}
	// In one statement, or the order would be that of the pieces. Some are named again,
	// so that there are few different ones.
	var args []any
	for i := 0; i < len(rooms) || i&(i-1) != 0; i++ {
		args = append(args, rooms[min(i, len(rooms)-1)].String())
	}
	found, err := t.rooms("SELECT "+roomColumns+" FROM chat_rooms r WHERE r.id IN "+list(1, len(args))+" ORDER BY r.n"+t.locking(), args...)
	for i := range found {
		locked = append(locked, &found[i])
	}
	return locked, err
}

// LockUser implements chat.Tx.
func (t *chatTx) LockUser(user int64) (bool, error) {
	var query text = "SELECT number FROM accounts WHERE number = $1 AND leaving = 0"
	if t.kind == onServer {
		query += " FOR NO KEY UPDATE"
	}
	var n int64
	return t.one(query, []any{&n}, user)
}

// NextRoom implements chat.Tx.
func (t *chatTx) NextRoom() (int64, error) { return t.Next(t.ctx, "rooms") }

// AddRoom implements chat.Tx.
func (t *chatTx) AddRoom(r *chat.Room) (bool, error) {
	var low, high any
	if r.OneToOne {
		low, high = r.Low, r.High
	}
	return t.do("INSERT INTO chat_rooms (n, id, name, banner, public, low, high, creator, created_at, members, last_seq, last_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12) ON CONFLICT (low, high) DO NOTHING",
		r.N, r.ID.String(), r.Name, r.Banner, bit(r.Public), low, high, r.Creator, r.CreatedAt, r.Members, r.LastSeq, r.LastAt)
}

// PutRoom implements chat.Tx.
func (t *chatTx) PutRoom(r *chat.Room) error {
	_, err := t.do("UPDATE chat_rooms SET name = $2, banner = $3, public = $4, members = $5, last_seq = $6, last_at = $7, changes = $8 WHERE n = $1",
		r.N, r.Name, r.Banner, bit(r.Public), r.Members, r.LastSeq, r.LastAt, r.Changes)
	return err
}

// DropRoom implements chat.Tx.
func (t *chatTx) DropRoom(n int64) error {
	if _, err := t.do("DELETE FROM chat_rooms WHERE n = $1", n); err != nil {
		return err
	}
	_, err := t.do("INSERT INTO chat_gone (room) VALUES ($1)", n)
	return err
}

// Sweep implements chat.Store.
func (c *Chat) Sweep(ctx context.Context) (more bool, err error) {
	err = c.db.Relieve(ctx, func(tx *Tx) error {
		more, err = (&chatTx{ctx: ctx, Tx: tx}).sweep()
		return err
	})
	return more, asChat(err)
}

func (t *chatTx) sweep() (bool, error) {
	var next text = "SELECT room FROM chat_gone ORDER BY room LIMIT 1"
	if t.kind == onServer {
		next += " FOR UPDATE SKIP LOCKED" // another node clears that away
	}
	var room int64
	if found, err := t.one(next, []any{&room}); !found {
		return false, err
	}
	for _, part := range []text{
		"DELETE FROM chat_words WHERE room = $1 AND (word, seq) IN (SELECT word, seq FROM chat_words WHERE room = $1 LIMIT 2000)",
		"DELETE FROM chat_versions WHERE room = $1 AND (seq, n) IN (SELECT seq, n FROM chat_versions WHERE room = $1 LIMIT 500)",
		"DELETE FROM chat_messages WHERE room = $1 AND seq IN (SELECT seq FROM chat_messages WHERE room = $1 LIMIT 500)",
		"DELETE FROM chat_members WHERE room = $1 AND account IN (SELECT account FROM chat_members WHERE room = $1 LIMIT 1000)",
		"DELETE FROM chat_bans WHERE room = $1 AND account IN (SELECT account FROM chat_bans WHERE room = $1 LIMIT 1000)",
		"DELETE FROM chat_gone WHERE room = $1",
	} {
		if did, err := t.do(part, room); did || err != nil {
			return true, err
		}
	}
	return true, nil
}
