package db

import (
	"database/sql"
	"errors"
	"slices"

	"github.com/seed-3d8c1042/switchboard/internal/chat"
	"github.com/seed-3d8c1042/switchboard/wire"
)

const messageColumns text = "room, seq, id, author, client_id, content, at, edited_at, edited_by, deleted_at, deleted_by, versions, changed"

// messageOf reads a row of messages.
func messageOf(row func(...any) error) (chat.Message, error) {
	var m chat.Message
	var id string
	var client, content sql.NullString
	if err := row(&m.Room, &m.Seq, &id, &m.Author, &client, &content, &m.At, &m.EditedAt, &m.EditedBy, &m.DeletedAt, &m.DeletedBy, &m.Versions, &m.Changed); err != nil {
		return m, err
	}
	m.ClientID = client.String
	if content.Valid {
		m.Content = []byte(content.String)
	}
	var err error
	m.ID, err = wire.ParseID(id)
	return m, err
}

// Message implements chat.View.
func (t *chatTx) Message(room int64, id wire.ID) (*chat.Message, error) {
	m, err := messageOf(t.Row(t.ctx, "SELECT "+messageColumns+" FROM chat_messages WHERE id = $1", id.String()).Scan)
	switch {
	case errors.Is(err, sql.ErrNoRows), err == nil && m.Room != room:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &m, nil
}

// SentBefore implements chat.View.
func (t *chatTx) SentBefore(sent []chat.Sent) (messages []chat.Message, err error) {
	err = t.where("SELECT "+messageColumns+" FROM chat_messages WHERE ", len(sent), func(args []any, i int) (text, []any) {
		n := len(args)
		return "(room = " + list(n+1, 1) + " AND author = " + list(n+2, 1) + " AND client_id = " + list(n+3, 1) + ")", append(args, sent[i].Room, sent[i].Author, sent[i].ClientID)
	}, func(row func(...any) error) error {
		m, err := messageOf(row)
		messages = append(messages, m)
		return err
	})
	return messages, err
}

// There are no gaps in seq, so a page is so many numbers, whatever the statistics say that
// a database plans by.
const (
	historyDown text = "SELECT " + messageColumns + " FROM chat_messages WHERE room = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq DESC"
	historyUp   text = "SELECT " + messageColumns + " FROM chat_messages WHERE room = $1 AND seq BETWEEN $2 AND $3 ORDER BY seq"
)

// errEnough ends the reading of rows.
var errEnough = errors.New("no more rows are wanted")

// History implements chat.View.
func (t *chatTx) History(room, from int64, up bool, limit, bytes int) (messages []chat.Message, more bool, err error) {
	query, low, high := historyDown, from-1-int64(limit), from-1
	if up {
		query, low, high = historyUp, from+1, from+1+int64(limit)
	}
	total := 0
	err = t.Each(t.ctx, query, func(row func(...any) error) error {
		m, err := messageOf(row)
		if err != nil {
			return err
		}
		total += len(m.Content)
		if more = len(messages) == limit || total > bytes && len(messages) > 0; more {
			return errEnough
		}
		messages = append(messages, m)
		return nil
	}, room, low, high)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return messages, more, err
}

// MessagesAt implements chat.View.
func (t *chatTx) MessagesAt(room int64, seqs []int64) (messages []chat.Message, err error) {
	err = pieces(len(seqs), func(from, to int) error {
		args := []any{room}
		for _, seq := range seqs[from:to] {
			args = append(args, seq)
		}
		return t.Each(t.ctx, "SELECT "+messageColumns+" FROM chat_messages WHERE room = $1 AND seq IN "+list(2, to-from)+" ORDER BY seq DESC",
			func(row func(...any) error) error {
				m, err := messageOf(row)
				messages = append(messages, m)
				return err
			}, args...)
	})
	return messages, err
}

// changedQuery says once more what the index is of.
const changedQuery text = "SELECT " + messageColumns + " FROM chat_messages WHERE room = $1 AND changed > $2 AND changed > 0 ORDER BY changed DESC LIMIT $3"

// ChangedAfter implements chat.View.
func (t *chatTx) ChangedAfter(room, change int64, limit int) (messages []chat.Message, err error) {
	if err := t.ordered(); err != nil {
		return nil, err
	}
	err = t.Each(t.ctx, changedQuery, func(row func(...any) error) error {
		m, err := messageOf(row)
		messages = append(messages, m)
		return err
	}, room, change, limit)
	slices.Reverse(messages)
	return messages, err
}

// CountOwn implements chat.View.
func (t *chatTx) CountOwn(room, user, above, upTo int64) (int64, error) {
	return t.count(ownQuery, room, user, above, upTo)
}

const ownQuery text = "SELECT count(*) FROM chat_messages WHERE room = $1 AND author = $2 AND seq > $3 AND seq <= $4"

// WordList implements chat.View.
func (t *chatTx) WordList(room int64, word string, most int64, limit int) (seqs []int64, err error) {
	if err := t.ordered(); err != nil {
		return nil, err
	}
	err = t.Each(t.ctx, wordQuery, func(row func(...any) error) error {
		var seq int64
		err := row(&seq)
		seqs = append(seqs, seq)
		return err
	}, room, word, most, limit)
	return seqs, err
}

const wordQuery text = "SELECT seq FROM chat_words WHERE room = $1 AND word = $2 AND seq <= $3 ORDER BY seq DESC LIMIT $4"

// Versions implements chat.View.
func (t *chatTx) Versions(room, seq int64) (versions []chat.Version, err error) {
	err = t.Each(t.ctx, "SELECT n, content, at, by_whom, deleted FROM chat_versions WHERE room = $1 AND seq = $2 ORDER BY n", func(row func(...any) error) error {
		v := chat.Version{Room: room, Seq: seq}
		var content sql.NullString
		var deleted int64
		err := row(&v.N, &content, &v.At, &v.By, &deleted)
		if content.Valid {
			v.Content = []byte(content.String)
		}
		v.Deleted = deleted == 1
		versions = append(versions, v)
		return err
	}, room, seq)
	return versions, err
}

// VersionBytes implements chat.View.
func (t *chatTx) VersionBytes(room, seq int64) (int64, error) {
	return t.count("SELECT coalesce(sum(octet_length(content)), 0) FROM chat_versions WHERE room = $1 AND seq = $2", room, seq)
}

// AuthoredBy implements chat.View.
func (t *chatTx) AuthoredBy(user int64, after chat.Mark, limit, bytes int) (list []chat.Authored, more bool, err error) {
	if err := t.ordered(); err != nil {
		return nil, false, err
	}
	total := 0
	err = t.Each(t.ctx, "SELECT m.room, m.seq, m.id, m.content, m.at, m.edited_by, r.id FROM chat_messages m JOIN chat_rooms r ON r.n = m.room WHERE m.author = $1 AND (m.room, m.seq) > ($2, $3) ORDER BY m.room, m.seq LIMIT $4",
		func(row func(...any) error) error {
			a := chat.Authored{Message: chat.Message{Author: user}}
			var id, room string
			var content sql.NullString
			if err := row(&a.Room, &a.Seq, &id, &content, &a.At, &a.EditedBy, &room); err != nil {
				return err
			}
			if content.Valid {
				a.Content = []byte(content.String)
			}
			var wrong, bad error
			a.ID, wrong = wire.ParseID(id)
			a.RoomID, bad = wire.ParseID(room)
			total += len(a.Content)
			if more = len(list) == limit || total > bytes && len(list) > 0; more {
				return errEnough
			}
			list = append(list, a)
			return errors.Join(wrong, bad)
		}, user, after.Room, after.Seq, limit+1)
	if errors.Is(err, errEnough) {
		err = nil
	}
	return list, more, err
}

// AddMessages implements chat.Tx.
func (t *chatTx) AddMessages(messages []chat.Message) error {
	return t.insert("INSERT INTO chat_messages (room, seq, id, author, client_id, content, at, edited_at, edited_by, deleted_at, deleted_by, versions) VALUES ", "",
		len(messages), func(args []any, i int) []any {
			m := &messages[i]
			return append(args, m.Room, m.Seq, m.ID.String(), m.Author, nullText(m.ClientID), nullJSON(m.Content), m.At, m.EditedAt, m.EditedBy, m.DeletedAt, m.DeletedBy, m.Versions)
		})
}

// PutMessage implements chat.Tx.
func (t *chatTx) PutMessage(m *chat.Message) error {
	_, err := t.do("UPDATE chat_messages SET content = $3, edited_at = $4, edited_by = $5, deleted_at = $6, deleted_by = $7, versions = $8, changed = $9 WHERE room = $1 AND seq = $2",
		m.Room, m.Seq, nullJSON(m.Content), m.EditedAt, m.EditedBy, m.DeletedAt, m.DeletedBy, m.Versions, m.Changed)
	return err
}

// AddVersion implements chat.Tx.
func (t *chatTx) AddVersion(v chat.Version) error {
	_, err := t.do("INSERT INTO chat_versions (room, seq, n, content, at, by_whom, deleted) VALUES ($1, $2, $3, $4, $5, $6, $7)",
		v.Room, v.Seq, v.N, nullJSON(v.Content), v.At, v.By, bit(v.Deleted))
	return err
}

// BlankVersions implements chat.Tx.
func (t *chatTx) BlankVersions(room, seq int64) error {
	_, err := t.do("UPDATE chat_versions SET content = NULL WHERE room = $1 AND seq = $2", room, seq)
	return err
}

// AddWords implements chat.Tx.
func (t *chatTx) AddWords(words []chat.Word) error {
	return t.insert("INSERT INTO chat_words (room, word, seq) VALUES ", " ON CONFLICT (room, word, seq) DO NOTHING",
		len(words), func(args []any, i int) []any { return append(args, words[i].Room, words[i].Word, words[i].Seq) })
}

// DropWords implements chat.Tx.
func (t *chatTx) DropWords(words []chat.Word) error {
	for i := range words {
		if _, err := t.do("DELETE FROM chat_words WHERE room = $1 AND word = $2 AND seq = $3", words[i].Room, words[i].Word, words[i].Seq); err != nil {
			return err
		}
	}
	return nil
}
