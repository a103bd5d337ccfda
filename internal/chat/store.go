package chat

import (
	"context"
	"errors"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What a Store's errors wrap when they are not a fault of this program.
var (
	ErrDown = errors.New("the database cannot be reached")
	ErrFull = errors.New("the database has no room")
	// ErrUnknown says that a transaction may have taken effect, or may yet. It may come
	// together with one of the others.
	ErrUnknown = errors.New("it is not known whether the transaction took effect")
)

// Room is a room as it is stored. Times are milliseconds since 1970, here and in all
// that follows; users are known by the number in their user ID.
type Room struct {
	N         int64 // its number, which is never used again
	ID        wire.ID
	Name      string
	Banner    string
	Public    bool
	OneToOne  bool
	Low, High int64 // the two of a one-to-one room, whoever of them is still there
	Creator   int64
	CreatedAt int64
	Members   int64
	LastSeq   int64 // 0: nothing was sent yet
	LastAt    int64
	Changes   int64 // how many edits and deletions there were
}

// other returns the other one of a one-to-one room.
func (r *Room) other(user int64) int64 {
	if user == r.Low {
		return r.High
	}
	return r.Low
}

// left says whether it is a room of two one of whom is gone.
func (r *Room) left() bool { return r.OneToOne && r.Members < 2 }

// Member is a member of a room.
type Member struct {
	Room    int64
	User    int64
	Role    string
	Since   int64
	ReadSeq int64 // the last message that was read
	Own     int64 // messages behind it that are the member's own
}

// Membership is a room and how one member is in it.
type Membership struct {
	Room   Room
	Member Member
}

func (m *Membership) unread() int64 { return max(m.Room.LastSeq-m.Member.ReadSeq-m.Member.Own, 0) }

// Message is a message as it is stored.
type Message struct {
	Room     int64
	Seq      int64
	ID       wire.ID
	Author   int64
	ClientID string // empty for none
	Content  []byte // nil: deleted
	At       int64

	EditedAt, EditedBy   int64 // EditedAt 0: never
	DeletedAt, DeletedBy int64 // likewise
	Versions             int64 // how many it had before
	Changed              int64 // which of the room's changes was its last; 0: none
}

// Version is a message as it was until it was changed.
type Version struct {
	Room, Seq, N int64
	Content      []byte // nil: nothing is kept of it
	At, By       int64  // when it was changed, and by whom
	Deleted      bool   // by being deleted
}

// Ban says who may not become a member.
type Ban struct{ Room, User, By, At int64 }

// Sent names a message by its author and the author's own ID of it.
type Sent struct {
	Room, Author int64
	ClientID     string
}

// Place names a member.
type Place struct{ Room, User int64 }

// Mark is a place among the messages of all rooms.
type Mark struct{ Room, Seq int64 }

// Authored is a message with its room.
type Authored struct {
	Message
	RoomID wire.ID
}

// Word is one entry of the index of words.
type Word struct {
	Room, Seq int64
	Word      string
}

// Head says how far a room has come.
type Head struct{ N, LastSeq, Changes int64 }

// Roster says which rooms a user is in, in few numbers: of two that are equal the rooms
// are, but by a chance that nobody meets.
type Roster struct{ User, Rooms, Sum, Squares int64 }

// rosterModulus keeps the squares apart from the sum, and small.
const rosterModulus = 1<<31 - 1

// add adds a room, or with -1 takes it away.
func (r *Roster) add(room, times int64) {
	r.Rooms += times
	r.Sum += times * room
	r.Squares += times * (room * room % rosterModulus)
}

// Store keeps all that. Its methods may be called from any goroutine.
type Store interface {
	// Write has f carried out as one transaction, which is stored when it returns nil.
	// f may be called again from the start, so it changes nothing but through Tx and
	// what it sets anew.
	Write(ctx context.Context, f func(Tx) error) error
	// Relieve is Write for what makes room: it goes on where Write fails with ErrFull
	// because little is left.
	Relieve(ctx context.Context, f func(Tx) error) error
	// Read has f read.
	Read(ctx context.Context, f func(View) error) error
	// Sweep clears away a part of what was in rooms that are gone; false: nothing was
	// left.
	Sweep(ctx context.Context) (more bool, err error)
	// Committers is how many transactions of different rooms may be stored side by side.
	Committers() int
}

// View reads. What is not there comes as nil, or is missing in the list. Lists are in
// the order of what they are paged by, and begin behind after.
type View interface {
	Room(id wire.ID) (*Room, error)
	Pair(low, high int64) (*Room, error)
	Heads(rooms []int64) ([]Head, error)
	PublicRooms(after int64, limit int) ([]Room, error)
	RoomsOf(user, after int64, limit int) ([]Membership, error)
	// Rosters leaves out users who are in no room.
	Rosters(users []int64) ([]Roster, error)
	CountRoomsOf(user int64) (int, error)
	// CountOwned counts the rooms that a user made and is the owner of.
	CountOwned(user int64) (int, error)

	Member(room, user int64) (*Member, error)
	MembersAt(places []Place) ([]Member, error)
	Members(room, after int64, limit int) ([]Member, error)
	// Successor is who becomes the owner when that leaves: the moderator who has been
	// there for longest, or else the member.
	Successor(room, owner int64) (*Member, error)
	Banned(room, user int64) (bool, error)
	Bans(room, after int64, limit int) ([]Ban, error)

	Message(room int64, id wire.ID) (*Message, error)
	SentBefore(list []Sent) ([]Message, error)
	// History reads messages below a number, the newest first, or above one, the oldest
	// first: at most limit of them, and no more once their contents have so many bytes.
	History(room int64, from int64, up bool, limit, bytes int) (list []Message, more bool, err error)
	// ChangedAfter reads the messages whose last change is behind one, by their changes:
	// of more than limit the last.
	ChangedAfter(room, change int64, limit int) ([]Message, error)
	MessagesAt(room int64, seqs []int64) ([]Message, error)
	// CountOwn counts the messages of a user behind one number and up to another.
	CountOwn(room, user, above, upTo int64) (int64, error)
	WordList(room int64, word string, most int64, limit int) ([]int64, error)
	Versions(room, seq int64) ([]Version, error)
	// VersionBytes counts what is kept of the earlier contents of a message.
	VersionBytes(room, seq int64) (int64, error)
	// AuthoredBy reads what a user has said, in the order of rooms and numbers, behind a
	// place: at most limit messages, and no more once their contents have so many bytes.
	AuthoredBy(user int64, after Mark, limit, bytes int) (list []Authored, more bool, err error)
}

// Tx reads and writes.
type Tx interface {
	View
	// LockUser says whether a user has an account, and if so keeps it from being deleted,
	// and others from counting the user's rooms, until the transaction ends. Rooms are
	// locked before users, and users in the order of their numbers.
	LockUser(user int64) (bool, error)
	// Lock returns those of the rooms that there are, and keeps others from writing to
	// them until the transaction is over.
	Lock(rooms []wire.ID) ([]*Room, error)
	NextRoom() (int64, error)
	// AddRoom returns false when there is a room of these two already.
	AddRoom(*Room) (bool, error)
	PutRoom(*Room) error
	// DropRoom removes a room; what was in it is cleared away later: see Sweep.
	DropRoom(n int64) error

	PutMembers([]Member) error // new or changed
	DropMember(room, user int64) error
	AddBan(Ban) error
	DropBan(room, user int64) (bool, error)

	AddMessages([]Message) error
	PutMessage(*Message) error
	AddVersion(Version) error
	BlankVersions(room, seq int64) error
	AddWords([]Word) error
	DropWords([]Word) error
}
