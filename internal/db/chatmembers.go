package db

import "github.com/seed-3d8c1042/switchboard/internal/chat"

const memberColumns text = "m.room, m.account, m.role, m.since, m.read_seq, m.own"

func memberInto(m *chat.Member) []any {
	return []any{&m.Room, &m.User, &m.Role, &m.Since, &m.ReadSeq, &m.Own}
}

// Member implements chat.View.
func (t *chatTx) Member(room, user int64) (*chat.Member, error) {
	return t.oneMember("SELECT "+memberColumns+" FROM chat_members m WHERE m.room = $1 AND m.account = $2", room, user)
}

func (t *chatTx) oneMember(query text, args ...any) (*chat.Member, error) {
	m := new(chat.Member)
	if found, err := t.one(query, memberInto(m), args...); !found {
		return nil, err
	}
	return m, nil
}

// MembersAt implements chat.View.
func (t *chatTx) MembersAt(places []chat.Place) (members []chat.Member, err error) {
	err = t.where("SELECT "+memberColumns+" FROM chat_members m WHERE ", len(places), func(args []any, i int) (text, []any) {
		n := len(args)
		return "(m.room = " + list(n+1, 1) + " AND m.account = " + list(n+2, 1) + ")", append(args, places[i].Room, places[i].User)
	}, func(row func(...any) error) error {
		var m chat.Member
		err := row(memberInto(&m)...)
		members = append(members, m)
		return err
	})
	return members, err
}

// Rosters implements chat.View.
func (t *chatTx) Rosters(users []int64) (rosters []chat.Roster, err error) {
	err = t.in("SELECT account, COUNT(*), CAST(SUM(room) AS BIGINT), CAST(SUM(room * room % 2147483647) AS BIGINT) FROM chat_members WHERE account IN ", " GROUP BY account",
		len(users), func(i int) any { return users[i] }, func(row func(...any) error) error {
			var r chat.Roster
			err := row(&r.User, &r.Rooms, &r.Sum, &r.Squares)
			rosters = append(rosters, r)
			return err
		})
	return rosters, err
}

// Members implements chat.View.
func (t *chatTx) Members(room, after int64, limit int) (members []chat.Member, err error) {
	if err := t.ordered(); err != nil {
		return nil, err
	}
	err = t.Each(t.ctx, "SELECT "+memberColumns+" FROM chat_members m WHERE m.room = $1 AND m.account > $2 ORDER BY m.account LIMIT $3",
		func(row func(...any) error) error {
			var m chat.Member
			err := row(memberInto(&m)...)
			members = append(members, m)
			return err
		}, room, after, limit)
	return members, err
}

// Successor implements chat.View.
func (t *chatTx) Successor(room, owner int64) (*chat.Member, error) {
	if err := t.ordered(); err != nil {
		return nil, err
	}
	for _, role := range []string{"moderator", "member"} {
		m, err := t.oneMember("SELECT "+memberColumns+" FROM chat_members m WHERE m.room = $1 AND m.role = $2 AND m.account <> $3 ORDER BY m.since, m.account LIMIT 1", room, role, owner)
		if m != nil || err != nil {
			return m, err
		}
	}
	return nil, nil
}

// PutMembers implements chat.Tx.
func (t *chatTx) PutMembers(members []chat.Member) error {
	return t.insert("INSERT INTO chat_members (room, account, role, since, read_seq, own) VALUES ",
		" ON CONFLICT (room, account) DO UPDATE SET role = excluded.role, read_seq = excluded.read_seq, own = excluded.own",
		len(members), func(args []any, i int) []any {
			m := &members[i]
			return append(args, m.Room, m.User, m.Role, m.Since, m.ReadSeq, m.Own)
		})
}

// DropMember implements chat.Tx.
func (t *chatTx) DropMember(room, user int64) error {
	_, err := t.do("DELETE FROM chat_members WHERE room = $1 AND account = $2", room, user)
	return err
}

// Banned implements chat.View.
func (t *chatTx) Banned(room, user int64) (bool, error) {
	n, err := t.count("SELECT count(*) FROM chat_bans WHERE room = $1 AND account = $2", room, user)
	return n > 0, err
}

// Bans implements chat.View.
func (t *chatTx) Bans(room, after int64, limit int) (bans []chat.Ban, err error) {
	err = t.Each(t.ctx, "SELECT room, account, by_whom, at FROM chat_bans WHERE room = $1 AND account > $2 ORDER BY account LIMIT $3",
		func(row func(...any) error) error {
			var b chat.Ban
			err := row(&b.Room, &b.User, &b.By, &b.At)
			bans = append(bans, b)
			return err
		}, room, after, limit)
	return bans, err
}

// AddBan implements chat.Tx.
func (t *chatTx) AddBan(b chat.Ban) error {
	_, err := t.do("INSERT INTO chat_bans (room, account, by_whom, at) VALUES ($1, $2, $3, $4) ON CONFLICT (room, account) DO NOTHING", b.Room, b.User, b.By, b.At)
	return err
}

// DropBan implements chat.Tx.
func (t *chatTx) DropBan(room, user int64) (bool, error) {
	return t.do("DELETE FROM chat_bans WHERE room = $1 AND account = $2", room, user)
}
