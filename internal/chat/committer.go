package chat

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

const (
	// batchJobs, batchBytes and batchWords bound one transaction, which in the index of
	// words writes a row for each; queueJobs and queueBytes what may wait for a
	// committer. Past that senders hear BUSY.
	batchJobs  = 500
	batchBytes = 1 << 20
	batchWords = 4096
	// shares is how many parts a transaction has of which one sender gets one, while
	// others wait.
	shares     = 8
	queueJobs  = 20_000
	queueBytes = 32 << 20
)

// job is a message to be stored, or a read mark. Its outcome is set when done is called,
// which must not wait.
type job struct {
	who     actor
	room    wire.ID
	content []byte // nil: it is a read mark
	client  string
	words   []string
	// blocked says that the other one of a room of two has blocked who sends this: it is
	// refused unless it was stored before, and of a read mark only the member's own sessions
	// hear.
	blocked bool

	seq     int64   // of a read mark: how far
	message wire.ID // of a read mark: the message that says how far; zero: seq does

	done func(*job)

	// The outcome.
	err  error
	sent wire.RoomSent
	mark wire.RoomMark
	news *news // for the others; nil: nothing has changed
}

func (j *job) bytes() int { return len(j.content) + 256 }

// committer stores jobs in the order in which they came, in one transaction at a time
// with all that came meanwhile: the more there is to store, the less each costs.
type committer struct {
	c    *Chat
	wake chan struct{} // holds one token when there may be something to store

	mu    sync.Mutex
	queue []*job
	bytes int
	ended bool
}

func newCommitter(c *Chat) *committer {
	return &committer{c: c, wake: make(chan struct{}, 1)}
}

// submit takes a job; the error says why not.
func (c *Chat) submit(j *job) *wire.Error {
	x := c.committers[int(j.room[14])%len(c.committers)]
	x.mu.Lock()
	defer x.mu.Unlock()
	switch {
	case x.ended:
		return general(wire.CodeBusy, "the server is stopping")
	case len(x.queue) >= queueJobs || x.bytes+j.bytes() > queueBytes:
		c.metrics.refused.Inc()
		return general(wire.CodeBusy, "more is sent to rooms than the server can store; try again later")
	}
	x.queue = append(x.queue, j)
	x.bytes += j.bytes()
	select {
	case x.wake <- struct{}{}:
	default:
	}
	return nil
}

func (x *committer) run(ctx context.Context) {
	for {
		select {
		case <-x.wake:
		case <-ctx.Done():
			x.end()
			return
		}
		for batch := x.next(); len(batch) > 0; batch = x.next() {
			x.store(ctx, batch)
		}
	}
}

// load is how much of a transaction some jobs are.
type load struct{ jobs, bytes, words int }

func (l load) with(j *job) load { return load{l.jobs + 1, l.bytes + j.bytes(), l.words + len(j.words)} }

// fits says whether it is no more than one of so many parts. One job fits everywhere.
func (l load) fits(parts int) bool {
	return l.jobs == 1 || l.jobs*parts <= batchJobs && l.bytes*parts <= batchBytes && l.words*parts <= batchWords
}

// next takes what one transaction may store: first of each sender a share, so that who
// sends much holds up nobody else, then more in the order in which it came. What one
// sender sent stays in order.
func (x *committer) next() []*job {
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.queue) == 0 {
		return nil
	}
	var batch []*job
	var whole load
	taken, first := make([]bool, len(x.queue)), -1 // which is the first next time: it found no room
	take := func(i int) {
		if whole.with(x.queue[i]).fits(1) {
			whole, taken[i] = whole.with(x.queue[i]), true
			batch = append(batch, x.queue[i])
		} else {
			first = i
		}
	}
	senders := make(map[int64]load)
	for i := 0; i < len(x.queue) && first < 0; i++ {
		j := x.queue[i]
		if own := senders[j.who.n].with(j); own.fits(shares) {
			take(i)
			senders[j.who.n] = own
		} else {
			senders[j.who.n] = load{jobs: batchJobs} // what comes later of this one waits, too
		}
	}
	for i := 0; i < len(x.queue) && first < 0; i++ {
		if !taken[i] {
			take(i)
		}
	}
	left := make([]*job, 0, len(x.queue)-len(batch))
	if first >= 0 {
		left, taken[first] = append(left, x.queue[first]), true
	}
	for i, j := range x.queue {
		if !taken[i] {
			left = append(left, j)
		}
	}
	x.queue, x.bytes = left, x.bytes-whole.bytes
	return batch
}

// end refuses what waits, and all that comes.
func (x *committer) end() {
	x.mu.Lock()
	list := x.queue
	x.queue, x.bytes, x.ended = nil, 0, true
	x.mu.Unlock()
	for _, j := range list {
		j.err = general(wire.CodeBusy, "the server is stopping")
		j.done(j)
	}
}

// store stores a batch, and tells those who sent it and those who are in the rooms.
func (x *committer) store(ctx context.Context, list []*job) {
	err := x.write(ctx, list)
	if err != nil && len(list) > 1 && ofOne(err) && ctx.Err() == nil {
		for _, j := range list {
			x.store(ctx, []*job{j})
		}
		return
	}
	var out []*news
	for _, j := range list {
		if err != nil {
			j.err, j.news = err, nil
		}
		if j.news != nil {
			out = append(out, j.news)
		}
	}
	x.c.publish(out...)
	for _, j := range list {
		j.done(j)
	}
}

// ofOne says whether an error may be that of one job, which is not to take the others of its
// batch with it. What may have been stored is not stored again: who sent it hears so.
func ofOne(err error) bool {
	return !errors.Is(err, ErrDown) && !errors.Is(err, ErrFull) && !errors.Is(err, ErrUnknown)
}

func (x *committer) write(ctx context.Context, list []*job) error {
	ctx, cancel := context.WithTimeout(ctx, opTime)
	defer cancel()
	b := &batch{c: x.c, jobs: list}
	if err := x.c.opts.Store.Write(ctx, b.run); err != nil {
		return err
	}
	x.c.metrics.batches.Inc()
	x.c.metrics.stored.Add(float64(len(b.messages)))
	return nil
}

// batch is the transaction of some jobs.
type batch struct {
	c    *Chat
	jobs []*job
	now  time.Time

	rooms    map[wire.ID]*Room
	members  map[Place]*Member
	before   map[Sent]*Message
	messages []Message
	words    []Word
	moved    map[*Room]struct{}   // rooms that have changed
	marked   map[*Member]struct{} // members likewise
}

// run does it. It may be called again, and then begins anew.
func (b *batch) run(tx Tx) error {
	b.now = b.c.opts.Now()
	b.messages, b.words = b.messages[:0], b.words[:0]
	b.moved, b.marked = make(map[*Room]struct{}), make(map[*Member]struct{})
	if err := b.read(tx); err != nil {
		return err
	}
	for _, j := range b.jobs {
		j.err, j.news = nil, nil
		var err error
		if j.content != nil {
			err = b.send(j)
		} else {
			err = b.mark(tx, j)
		}
		var told *wire.Error
		if errors.As(err, &told) {
			j.err = told
		} else if err != nil {
			return err
		}
	}
	return b.put(tx)
}

// read reads all that the jobs are about.
func (b *batch) read(tx Tx) error {
	var ids []wire.ID
	b.rooms = make(map[wire.ID]*Room)
	for _, j := range b.jobs {
		if _, known := b.rooms[j.room]; !known {
			b.rooms[j.room] = nil
			ids = append(ids, j.room)
		}
	}
	rooms, err := tx.Lock(ids)
	if err != nil {
		return err
	}
	for _, r := range rooms {
		b.rooms[r.ID] = r
	}
	if err := b.readMembers(tx); err != nil {
		return err
	}
	return b.readBefore(tx)
}

func (b *batch) readMembers(tx Tx) error {
	b.members = make(map[Place]*Member)
	var places []Place
	for _, j := range b.jobs {
		r := b.rooms[j.room]
		if r == nil {
			continue
		}
		p := Place{r.N, j.who.n}
		if _, known := b.members[p]; !known {
			b.members[p] = nil
			places = append(places, p)
		}
	}
	members, err := tx.MembersAt(places)
	for i := range members {
		m := &members[i]
		b.members[Place{m.Room, m.User}] = m
	}
	return err
}

// readBefore reads those messages that were stored already under the IDs of their
// clients.
func (b *batch) readBefore(tx Tx) error {
	b.before = make(map[Sent]*Message)
	var list []Sent
	for _, j := range b.jobs {
		if r := b.rooms[j.room]; r != nil && j.client != "" {
			list = append(list, Sent{r.N, j.who.n, j.client})
		}
	}
	if len(list) == 0 {
		return nil
	}
	messages, err := tx.SentBefore(list)
	for i := range messages {
		m := &messages[i]
		b.before[Sent{m.Room, m.Author, m.ClientID}] = m
	}
	return err
}

// enter returns the room and the member that a job is of.
func (b *batch) enter(j *job) (*Room, *Member, error) {
	r := b.rooms[j.room]
	if r == nil {
		return nil, nil, noRoom()
	}
	m := b.members[Place{r.N, j.who.n}]
	if e := refuse(opSend, standingOf(m), kindOf(r)); e != nil {
		return nil, nil, e
	}
	return r, m, nil
}

// send gives a message its place.
func (b *batch) send(j *job) error {
	r, m, err := b.enter(j)
	if err != nil {
		return err
	}
	was := b.before[Sent{r.N, j.who.n, j.client}]
	if j.client != "" && was != nil {
		j.sent = sentOf(r, was)
		return nil
	}
	if j.blocked {
		return isBlocked()
	}
	if r.left() {
		return otherIsGone()
	}
	id, err := b.c.newID(b.now)
	if err != nil {
		return err
	}
	r.LastSeq++
	r.LastAt = max(milli(b.now), r.LastAt)
	m.Own++
	b.moved[r], b.marked[m] = struct{}{}, struct{}{}
	b.messages = append(b.messages, Message{
		Room: r.N, Seq: r.LastSeq, ID: id, Author: j.who.n, ClientID: j.client, Content: j.content, At: r.LastAt,
	})
	stored := b.messages[len(b.messages)-1]
	for _, w := range j.words {
		b.words = append(b.words, Word{Room: r.N, Seq: r.LastSeq, Word: w})
	}
	if j.client != "" {
		b.before[Sent{r.N, j.who.n, j.client}] = &stored
	}
	j.sent = sentOf(r, &stored)
	j.news = &news{kind: newsMessage, room: r.ID, n: r.N, seq: r.LastSeq, origin: j.who.session, frame: b.c.messageFrame(r.ID, &stored)}
	return nil
}

func sentOf(r *Room, m *Message) wire.RoomSent {
	return wire.RoomSent{Room: r.ID, ID: m.ID, Seq: uint64(m.Seq), At: moment(m.At), ClientID: m.ClientID}
}

// markMembers is the size of a room past which a member's read mark is told only to the
// member's own sessions: else what is read by all would be told all by all.
const markMembers = 1000

// mark moves a read mark. It never goes back.
func (b *batch) mark(tx Tx, j *job) error {
	r, m, err := b.enter(j)
	if err != nil {
		return err
	}
	seq := j.seq
	if !j.message.IsZero() {
		read, err := tx.Message(r.N, j.message)
		switch {
		case err != nil:
			return err
		case read == nil:
			return noMessage()
		}
		seq = read.Seq
	}
	seq = min(seq, r.LastSeq)
	if seq <= m.ReadSeq {
		j.mark = wire.RoomMark{Room: r.ID, User: j.who.user, Seq: uint64(m.ReadSeq), At: b.now}
		return nil
	}
	if m.Own > 0 {
		read, err := b.own(tx, m, seq)
		if err != nil {
			return err
		}
		m.Own -= read
	}
	m.ReadSeq = seq
	b.marked[m] = struct{}{}
	j.mark = wire.RoomMark{Room: r.ID, User: j.who.user, Seq: uint64(seq), At: b.now}
	j.news = &news{kind: newsPlain, room: r.ID, n: r.N, origin: j.who.session, user: j.who.user, frame: frameOf(wire.TypeRoomReadBy, &j.mark)}
	if j.blocked || r.Members > markMembers {
		j.news.kind = newsOwn
	}
	return nil
}

// own counts the messages of a member behind the read mark and up to a number: stored
// ones, and those of this batch. So each is counted once, however often the mark moves.
func (b *batch) own(tx Tx, m *Member, upTo int64) (int64, error) {
	n, err := tx.CountOwn(m.Room, m.User, m.ReadSeq, upTo)
	for i := range b.messages {
		if x := &b.messages[i]; x.Room == m.Room && x.Author == m.User && x.Seq > m.ReadSeq && x.Seq <= upTo {
			n++
		}
	}
	return n, err
}

// put writes what has changed.
func (b *batch) put(tx Tx) error {
	if err := tx.AddMessages(b.messages); err != nil {
		return err
	}
	if err := tx.AddWords(b.words); err != nil {
		return err
	}
	members := make([]Member, 0, len(b.marked))
	for m := range b.marked {
		members = append(members, *m)
	}
	if err := tx.PutMembers(members); err != nil {
		return err
	}
	for r := range b.moved {
		if err := tx.PutRoom(r); err != nil {
			return err
		}
	}
	return nil
}
