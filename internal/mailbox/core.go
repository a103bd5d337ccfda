package mailbox

import (
	"io"
	"slices"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Limits bound mailboxes. They may change at run time; what waits already is
// not touched by a smaller limit.
type Limits struct {
	Age      time.Duration // how long a message waits
	Messages int           // how many wait in one mailbox
	Bytes    int64         // how many bytes their frames have
	Waiting  int           // how many wait in all mailboxes together, which are memory, see headroomShare; 0 for no limit

	// Events and EventBytes take the place of Messages and Bytes where a
	// subscription's events wait.
	Events     int
	EventBytes int64
	// Undelivered is how long a message waits before subscribers hear of it.
	Undelivered time.Duration
	// Keyed is for how long it is remembered what was accepted of a request that
	// has a key, and KeyedRequests for how many; the oldest are forgotten first.
	Keyed         time.Duration
	KeyedRequests int
	// LinkBytes and LinkAge take the place of Messages, Bytes and Age in the mailbox of
	// a link to another domain.
	LinkBytes int64
	LinkAge   time.Duration
	// Producers is for how many outboxes of senders it is remembered what was
	// accepted; the one that was used longest ago is forgotten first. 0 for a
	// million.
	Producers int
}

// Window is how many bytes may be on their way to one session, unproved. One
// message always may.
const Window = 128 << 10

// tuning holds the core's sizes, which tests make small.
type tuning struct {
	window   int   // see Window
	lag      int   // proved messages kept per user for those of its sessions that lag behind
	batch    int   // bytes at which a batch is full; a larger record has its own
	slack    int64 // dead weight that the log may carry whatever is waiting
	overhead int64 // see core.needed
	trimStep int64 // bytes that must be dead at the head before it is purged, which stops appends for milliseconds
	cache    int   // bytes of batches held in memory for reading
	expire   int   // messages of one user that expire at once; the rest follow a tick later
}

func defaultTuning() tuning {
	return tuning{
		window: Window, lag: 1000, batch: 128 << 10,
		slack: 32 << 20, overhead: recordOverhead, trimStep: 16 << 20, cache: 16 << 20, expire: 1000,
	}
}

// core is the keeper's state machine. Its methods are its events; they take
// the time, change the state and leave effects in effects, in order. It is
// used by one goroutine at a time.
type core struct {
	keeper wire.ID
	limits Limits
	random io.Reader
	tune   tuning
	full   bool // the disk is nearly full: user messages are refused
	down   bool // the log is in doubt: nothing is delivered until a new core adopts the sessions
	over   bool // the keeper has ended: what still happens to sessions is for the next one

	// held says that nothing is delivered to anybody: that this keeper owns the log
	// is not in it yet, or nodes of gather may still come with sessions of which
	// nobody here knows what they were given.
	held   bool
	owned  bool            // the takeover is stored
	gather map[string]bool // nodes whose sessions may be registered anew
	dead   deadSessions    // sessions that were closed for their node

	users      map[wire.UserID]*user
	sessions   map[wire.ID]*session
	forwarders int                      // of these, that only forward to other shards or domains
	stale      map[wire.ID]staleSession // open in the log when it was replayed, not registered anew yet
	due        dueHeap                  // what is due by time in users' mailboxes
	claims     claims                   // what was accepted of keyed requests

	producers  producers          // what was accepted of senders' outboxes
	sources    map[string]*source // how far others' messages were taken
	roads      map[string]*road   // what came over links
	marksBytes int64              // what cleaning reckons for all of them, see core.needed
	recent     recent             // what came over links lately, for users

	node    string // this one
	shard   int
	shardOf func(wire.UserID) int // nil: everybody is in this one
	relays  map[int]wire.UserID   // names made once

	// See Options.
	logName string
	isLink  func(wire.UserID) bool
	abroad  func(Notice) (wire.UserID, []byte, bool)

	subscriptions map[string][]Subscription // by app
	dropped       map[wire.UserID]uint64    // events that found a subscriber's mailbox full

	journal journal
	behind  behind
	witness func(*messageRecord) // sees each message that a replay finds; nil: nobody does
	cache   cache
	copying uint64 // the oldest batch, if its live records have been written again

	holding bool       // a fenced keeper: what was not sent to the log waits for what comes of that
	unsent  []*Message // that

	effects []effect
	reads   []uint64 // batches to read, answered by loaded
	purge   uint64   // the log may forget what is before; 0 for nothing new

	counts counts
}

// staleSession is a session that a predecessor left open.
type staleSession struct {
	sessionRecord
	seq uint64
}

// counts are totals since the start, and gauges.
type counts struct {
	waiting      int   // messages in mailboxes
	waitingBytes int64 // of their frames
	delivered    uint64
	proved       uint64
	expired      uint64
	evicted      uint64 // presence notices that made room
	droppedFull  uint64 // notices that found a full mailbox
	droppedEvent uint64 // events that found a full mailbox
	undelivered  uint64 // messages that waited so long that subscribers heard of it
	repeated     uint64 // messages of keyed requests that were accepted before
	forgotten    uint64 // keyed requests that made room for newer ones

	forgottenProducers uint64 // producers that made room for newer ones

	refused    uint64 // notices that the store did not take
	droppedLag uint64 // proved messages that a lagging session did not get
	lost       uint64 // not in the log though the index says so
	copied     uint64 // copied forward
	cleared    uint64 // taken out of mailboxes on request

	returned        uint64 // messages that came over a road, or over two, once more
	turnedAway      uint64 // messages that came over a road and found a full mailbox
	forgottenPlaces uint64 // of roads, that made room for others
	moved           uint64 // messages that were sent another way
}

// user is one user's mailbox and sessions.
type user struct {
	id       wire.UserID
	entries  entries
	waiting  int
	bytes    int64
	presence int // presence notices among the waiting
	settled  int // proved but kept for a lagging session

	sessions []*session // in the order in which they were opened
	away     int        // sessions that are to be registered anew: until then nothing is delivered
	lanes    *lanes     // how messages are shared out; nil: every session gets each

	relay    bool   // what waits is for another shard, in strict order
	link     *link  // what waits is for another domain; nil: it is not
	touched  uint64 // the batch that last noted this user, see pending.touch
	roomFrom uint64 // no presence notice before it can make room

	expiry   due  // the earliest expiry, or earlier
	expiring bool // what has expired is being read
	late     due  // when the oldest message of which subscribers want to hear is late, or earlier
	telling  bool // what is late is being read
}

// session is one open session.
type session struct {
	Session
	user *user
	seq  uint64 // the batch with its opened record

	mark   uint64 // what is before was missed
	cursor uint64 // the next place in the sequence to look at

	said     *Held // as its connector said, while this core may not have read all of the log
	away     bool  // to be registered anew
	fresh    bool  // opened while nothing was delivered: its mark may still move back
	unopened bool  // its connector does not know yet that it is open

	flight   []flight // handed over and not yet settled, by n
	proved   int      // how many of flight are proved, from the front
	passed   int      // how many of flight have arrived, from the front
	open     int      // bytes of those that have not
	nextN    uint64
	provedTo uint64 // proofs up to here were reported; some may wait for a read

	skip     []uint64 // proved before it opened, and kept for others
	returned []uint64 // given back by another session, to be sent before anything later
	fetches  []int    // what fetches still want, the current one first
	fetchAt  uint64   // what is before was brought by the current fetch, or is not for it
	fetchNow bool     // whose turn it is: the fetch's or the live messages'
}

// flight is one delivery on its way.
type flight struct {
	n, ord  uint64
	size    uint32
	lane    int16 // -1 when it does not hold a lane
	fetched bool  // it was asked for
	done    bool  // proved by itself, on a session with Each

	confirm *messageRecord // what a confirmation needs, if that is little; nil: see the body
}

// effect is one thing that the world has to do.
type effect struct {
	kind     effectKind
	outlet   Outlet
	delivery Delivery
	n        uint64
	left     int
	message  *Message
	failure  *wire.Error

	forwarded *answered
	id        wire.ID // of the message, or of the session
}

type effectKind uint8

const (
	effDeliver effectKind = iota
	effFetchDone
	effSettled
	effOpened
	effStored // the message is on disk: receipt and Done
	effFailed // it was not accepted, by some or all of its receivers
	effDone   // failed for all: Done without a receipt
	effGone   // the session is over, though its connector does not know it
	effForwarded
)

func newCore(keeper wire.ID, limits Limits, random io.Reader, tune tuning) *core {
	return &core{
		keeper:   keeper,
		limits:   limits,
		random:   random,
		tune:     tune,
		held:     true,
		users:    make(map[wire.UserID]*user),
		sessions: make(map[wire.ID]*session),
		stale:    make(map[wire.ID]staleSession),
		claims:   claims{byKey: make(map[[16]byte]*claim)},
		sources:  make(map[string]*source),
		roads:    make(map[string]*road),
		relays:   make(map[int]wire.UserID),

		producers: newProducers(),
		dropped:   make(map[wire.UserID]uint64),
		journal:   journal{target: tune.batch},
		cache:     newCache(tune.cache),
	}
}

// user returns the user's state, made when there is none.
func (c *core) user(id wire.UserID) *user {
	u := c.users[id]
	if u == nil {
		u = &user{id: id, relay: isRelay(id)}
		if c.isLink != nil && c.isLink(id) {
			u.link = new(link)
		}
		u.expiry, u.late = due{user: u, place: -1}, due{user: u, place: -1}
		c.users[id] = u
	}
	return u
}

// release forgets a user of whom nothing is left. A read that comes late may
// still know a user who was forgotten and has come back as another.
func (c *core) release(u *user) {
	if c.users[u.id] == u && len(u.entries.list) == u.entries.dead && len(u.sessions) == 0 {
		c.due.remove(&u.expiry)
		c.due.remove(&u.late)
		delete(c.users, u.id)
	}
}

// open registers a session. One that is known has lost its link in between: it
// is registered anew.
func (c *core) open(now time.Time, in Session) {
	if _, known := c.stale[in.ID]; known || c.sessions[in.ID] != nil {
		c.reopen(now, Held{Session: in})
		return
	}
	u := c.user(in.User)
	s := &session{Session: in, user: u, nextN: 1, fresh: c.heldUp(u), unopened: c.over}
	s.mark = c.markFor(u)
	s.cursor = max(s.mark, c.journal.storedOrd)
	if u.lanes == nil {
		s.cursor = s.mark
	}
	if in.Push {
		s.cursor = 0
	}
	s.skip = u.settledFrom(s.cursor)
	if s.fresh {
		s.skip = u.settledFrom(0)
	}
	c.enter(s)
	c.tellMark(s)
	c.logOpened(now, s)
	c.pumpUser(now, u)
}

// setMark moves a session's mark.
func (c *core) setMark(s *session, mark uint64) {
	if s.mark != mark {
		s.mark = mark
		c.tellMark(s)
	}
}

// tellMark tells a session's connector that it is open, or that its mark moved.
func (c *core) tellMark(s *session) {
	c.effects = append(c.effects, effect{kind: effOpened, outlet: s.Outlet, n: s.mark})
}

// enter puts a session into the maps and shares.
func (c *core) enter(s *session) {
	c.sessions[s.ID] = s
	u := s.user
	c.forwarders += forwarder(u)
	u.sessions = append(u.sessions, s)
	if s.Master && u.lanes == nil {
		c.makeLanes(u, s.mark)
	}
	c.shareOut(u)
}

// markFor returns where a new session's own sequence begins: after what is
// stored, or at the oldest live message that another session is still to get
// or to prove, if that is earlier. What a fetch or a push brings to another
// session was missed by both.
func (c *core) markFor(u *user) uint64 {
	if u.lanes != nil {
		return u.lanes.mark
	}
	mark := c.journal.storedOrd
	for _, s := range u.sessions {
		mark = min(mark, max(s.cursor, s.mark))
		if i, _ := slices.BinarySearch(s.returned, s.mark); i < len(s.returned) {
			mark = min(mark, s.returned[i])
		}
		for _, f := range s.flight[s.proved:] {
			if f.ord < s.mark || f.ord >= mark {
				continue
			}
			if e := u.entries.find(f.ord); e != nil && e.waits() && !e.claimed() {
				mark = f.ord
			}
		}
	}
	return mark
}

// logOpened writes the session's opened record, and tells the master user and
// the app's subscribers.
func (c *core) logOpened(now time.Time, s *session) {
	if c.down {
		return
	}
	b := c.journal.hold(256)
	defer c.journal.letGo()
	b.buf = appendOpened(b.buf, s.record())
	b.urgent = true
	s.seq = b.seq
	c.journal.alive(b.seq, 1)
	if s.TellMaster != "" && !s.Link {
		c.notify(now, notice{
			to: s.TellMaster, about: s.User, id: s.ID.Derive("connected"), flags: flagPresence,
			frame: wire.AppendUserConnected(nil, s.User),
		})
	}
	c.reportSession(now, eventConnected, s.ID, s.User)
}

// logClosed writes that a session ended, and tells the master user and the
// app's subscribers.
func (c *core) logClosed(now time.Time, r sessionRecord, seq uint64) {
	if c.down {
		return
	}
	b := c.journal.hold(256)
	defer c.journal.letGo()
	b.buf = appendClosed(b.buf, r.id)
	b.urgent = true
	b.retire(seq)
	if r.tellMaster != "" {
		c.notify(now, notice{
			to: r.tellMaster, about: r.user, id: r.id.Derive("disconnected"), flags: flagPresence,
			frame: wire.AppendUserDisconnected(nil, r.user),
		})
	}
	c.reportSession(now, eventDisconnected, r.id, r.user)
}

// close ends a session: what it did not prove goes back.
func (c *core) close(now time.Time, id wire.ID) {
	s := c.sessions[id]
	if s == nil {
		c.closeUnseen(now, id)
		return
	}
	c.end(s)
	c.logClosed(now, s.record(), s.seq)
	c.ended(now, s)
}

// forwarder returns 1 for a user whose sessions are those of nobody, but of what
// forwards to another shard or domain.
func forwarder(u *user) int {
	if u.relay || u.link != nil {
		return 1
	}
	return 0
}

// end takes a session away from its user: what it did not prove goes back.
func (c *core) end(s *session) {
	u := s.user
	if s.away {
		u.away--
	}
	delete(c.sessions, s.ID)
	c.forwarders -= forwarder(u)
	u.sessions = slices.DeleteFunc(u.sessions, func(t *session) bool { return t == s })
	c.leaveLanes(u, s)
	c.giveBack(u, s)
	c.dropSettled(u)
}

// ended goes on with the user of a session that was taken away.
func (c *core) ended(now time.Time, s *session) {
	if s.away {
		c.goOn(now, s.user)
	} else {
		c.pumpUser(now, s.user)
	}
	c.release(s.user)
}

// fetch asks for what the session missed.
func (c *core) fetch(now time.Time, id wire.ID, count int) {
	s := c.sessions[id]
	if s == nil {
		return
	}
	s.fetches = append(s.fetches, count)
	if len(s.fetches) == 1 {
		s.fetchAt = 0
	}
	c.pump(now, s)
}

// tick does what is due by time.
func (c *core) tick(now time.Time) {
	if c.down {
		return
	}
	c.cache.expire(now)
	c.retryReads(now)
	if !c.held { // what seems to wait may be on its way to a session that is to come
		c.runDue(now)
	}
	c.forgetClaims(now)
	c.forgetSources(now)
	c.forgetRoads(now)
	c.clean()
}
