package chat

import (
	"context"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// pageBytes is where a page of the history ends, whatever its limit.
const pageBytes = 256 << 10

// history returns a page of a room's history: the newest, or one before or after a
// number. Messages stand in the order of their numbers.
func (c *Chat) history(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	var list []Message
	var more bool
	err := c.opts.Store.Read(ctx, func(v View) error {
		r, err := c.visit(v, who, ask.Room, opRead)
		if err != nil {
			return err
		}
		from := int64(ask.After)
		if !ask.FromStart {
			from = r.LastSeq + 1
			if ask.Before > 0 {
				from = min(from, int64(ask.Before))
			}
		}
		list, more, err = v.History(r.N, from, ask.FromStart, ask.Limit, pageBytes)
		return err
	})
	page := &wire.RoomPage{Room: ask.Room, More: more}
	for i := range list {
		if !ask.FromStart {
			i = len(list) - 1 - i
		}
		page.Messages = append(page.Messages, c.entry(&list[i]))
	}
	return Answer{wire.TypeRoomMessages, page}, err
}

// entry returns a message as it stands in a page.
func (c *Chat) entry(m *Message) wire.RoomEntry {
	e := wire.RoomEntry{ID: m.ID, Seq: uint64(m.Seq), From: c.user(m.Author), Content: m.Content, At: moment(m.At)}
	if m.EditedAt > 0 {
		e.EditedAt, e.EditedBy = moment(m.EditedAt), c.user(m.EditedBy)
	}
	if m.DeletedAt > 0 {
		e.DeletedAt, e.DeletedBy = moment(m.DeletedAt), c.user(m.DeletedBy)
	}
	return e
}

// search returns the newest messages that have all words.
func (c *Chat) search(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	words := queryOf(ask.Words)
	switch {
	case len(words) == 0:
		return Answer{}, badField("data.words", " has no word to look for")
	case len(words) > maxQueryWords:
		e := badField("data.words", " has more than 8 words")
		e.Kind, e.Code = wire.KindGeneralError, wire.CodeTooMany
		return Answer{}, e
	}
	page := &wire.RoomPage{Room: ask.Room, Words: ask.Words}
	err := c.opts.Store.Read(ctx, func(v View) error {
		r, err := c.visit(v, who, ask.Room, opRead)
		if err != nil {
			return err
		}
		most := r.LastSeq
		if ask.Before > 0 {
			most = min(most, int64(ask.Before)-1)
		}
		hits, err := search(words, most, ask.Limit, func(word string, most int64, limit int) ([]int64, error) {
			return v.WordList(r.N, word, most, limit)
		})
		if err != nil {
			return err
		}
		list, err := v.MessagesAt(r.N, hits.seqs)
		if err != nil {
			return err
		}
		c.fillPage(page, list, hits)
		return nil
	})
	return Answer{wire.TypeRoomMessages, page}, err
}

// fillPage puts what was found into a page, which ends like one of the history.
func (c *Chat) fillPage(page *wire.RoomPage, list []Message, hits found) {
	page.Messages, page.More, page.Before = nil, hits.next > 0, 0
	if page.More {
		page.Before = uint64(hits.next) + 1
	}
	bytes := 0
	for i := range list {
		m := &list[i]
		if m.Content == nil { // deleted since its place was found
			continue
		}
		if bytes += len(m.Content); bytes > pageBytes && len(page.Messages) > 0 {
			page.More, page.Before = true, uint64(m.Seq)+1
			return
		}
		page.Messages = append(page.Messages, c.entry(m))
	}
}

// change edits or deletes a message.
func (c *Chat) change(ctx context.Context, who actor, ask *wire.RoomAsk) (Answer, error) {
	if ask.Type == wire.TypeRoomEdit { // which says something, as a message does
		if err := c.unblocked(ctx, who, ask.Room); err != nil {
			return Answer{}, err
		}
	}
	out := &wire.RoomChange{Room: ask.Room, ID: ask.ID, By: who.user}
	var told *news
	write := c.opts.Store.Write
	if ask.Type == wire.TypeRoomDelete {
		write = c.opts.Store.Relieve
	}
	err := write(ctx, func(tx Tx) error {
		told = nil
		r, err := c.enter(tx, who, ask.Room, opChange)
		if err != nil {
			return err
		}
		if ask.Type == wire.TypeRoomEdit && r.left() {
			return otherIsGone()
		}
		m, err := tx.Message(r.N, ask.ID)
		switch {
		case err != nil:
			return err
		case m == nil:
			return noMessage()
		case m.Author != who.n:
			if e := refuse(opDelete, standingOf(r.me), kindOf(r.Room)); e != nil {
				return e
			}
		}
		out.Seq = uint64(m.Seq)
		if m.Content == nil {
			if ask.Type == wire.TypeRoomDelete { // done before: this says who did it, and when
				out.By, out.At, out.Content = c.user(m.DeletedBy), moment(m.DeletedAt), nil
				return nil
			}
			return general(wire.CodeConflict, "the message was deleted")
		}
		now := c.opts.Now()
		r.Changes++
		m.Changed = r.Changes
		if err := tx.PutRoom(r.Room); err != nil {
			return err
		}
		if err := c.rewrite(tx, who, m, ask, milli(now)); err != nil {
			return err
		}
		out.At, out.Content = moment(milli(now)), m.Content
		told = &news{kind: newsChange, room: r.ID, n: r.N, seq: m.Seq, change: m.Changed, origin: who.session}
		return nil
	})
	if err != nil {
		return Answer{}, err
	}
	if told != nil {
		told.frame = frameOf(wire.TypeRoomMessageChanged, out)
		c.publish(told)
	}
	return Answer{wire.TypeRoomMessageChanged, out}, nil
}

// What is kept of the earlier contents of a message: past either it is edited no more.
const (
	maxVersions     = 100
	maxVersionBytes = 1 << 20
)

// editable refuses to keep more of what a message was.
func editable(v View, m *Message) error {
	bytes, err := v.VersionBytes(m.Room, m.Seq)
	if err == nil && (m.Versions >= maxVersions || bytes >= maxVersionBytes) {
		return general(wire.CodeTooMany, "the message was edited too often, or too much is kept of what it was; delete it, and send another one")
	}
	return err
}

// rewrite gives a message another content, or none.
func (c *Chat) rewrite(tx Tx, who actor, m *Message, ask *wire.RoomAsk, now int64) error {
	was, is := wordsOf(m.Content), wordsOf(ask.Content)
	version := Version{Room: m.Room, Seq: m.Seq, N: m.Versions + 1, Content: m.Content, At: now, By: who.n}
	if ask.Type == wire.TypeRoomDelete {
		if err := tx.BlankVersions(m.Room, m.Seq); err != nil {
			return err
		}
		version.Content, version.Deleted = nil, true
		m.Content, m.DeletedAt, m.DeletedBy = nil, now, who.n
	} else {
		if err := editable(tx, m); err != nil {
			return err
		}
		m.Content, m.EditedAt, m.EditedBy = ask.Content, now, who.n
	}
	m.Versions++
	if err := tx.AddVersion(version); err != nil {
		return err
	}
	if err := tx.PutMessage(m); err != nil {
		return err
	}
	if err := tx.DropWords(entries(m, without(was, is))); err != nil {
		return err
	}
	return tx.AddWords(entries(m, without(is, was)))
}

// without returns the words of a list that another has not.
func without(list, other []string) (rest []string) {
	known := make(map[string]struct{}, len(other))
	for _, w := range other {
		known[w] = struct{}{}
	}
	for _, w := range list {
		if _, ok := known[w]; !ok {
			rest = append(rest, w)
		}
	}
	return rest
}

func entries(m *Message, words []string) []Word {
	list := make([]Word, len(words))
	for i, w := range words {
		list[i] = Word{Room: m.Room, Seq: m.Seq, Word: w}
	}
	return list
}
