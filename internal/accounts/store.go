package accounts

import (
	"context"
	"errors"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// What a Store says of its own accord. Any other error of it is passed on as it is.
var (
	ErrUnknown   = errors.New("there is no such account")
	ErrTaken     = errors.New("the name is another account's")
	ErrNoNumbers = errors.New("there is no number left for another account")
	ErrEnded     = errors.New("the session has ended")
	ErrReused    = errors.New("the refresh token was used before")
	ErrMany      = errors.New("there are as many as there may be")
	ErrMember    = errors.New("the account is in a room")
)

// Profile is what everybody may know of an account.
type Profile struct {
	Number      int64 // of the user ID
	Username    string
	DisplayName string
	Bio         string
	AvatarURL   string
	Created     time.Time
}

// Account is what is kept of somebody.
type Account struct {
	Profile
	Password string // its hash
	Version  int64  // tokens of another one are refused
}

// Session is one sign-in.
type Session struct {
	ID      wire.ID
	Account int64
	Turn    int64  // of the refresh token that may be used
	Address string // where it began
	Created time.Time
	Used    time.Time
	Expires time.Time
}

// Key is what tokens are signed with.
type Key struct {
	ID      string
	Purpose string // PurposeAccess or PurposeRefresh
	Secret  []byte
	Created time.Time
}

// The purposes of keys.
const (
	PurposeAccess  = "access"  // the seed of an Ed25519 key
	PurposeRefresh = "refresh" // of HMAC-SHA256
)

// Block is somebody whom an account has blocked.
type Block struct {
	Number  int64
	Created time.Time
}

// Store keeps the accounts. What a method has changed is kept when it returns nil.
// Several nodes may use one at once. Its methods may be called from any goroutine.
type Store interface {
	// Keys returns all keys, the newest of each purpose first. Where there are none
	// it keeps the fresh ones: the same for everybody who asks at once.
	Keys(ctx context.Context, fresh []Key) ([]Key, error)

	// NewNumber gives away a number: that which place makes of the next one that was
	// never given away, the first from there on that may be; false for none: then it
	// fails with ErrNoNumbers.
	NewNumber(ctx context.Context, place func(next int64) (int64, bool)) (int64, error)
	// Create makes an account, of a number that was given away for it. It fails with
	// ErrTaken where the name in lower case is another's.
	Create(ctx context.Context, a Account) error
	// ByName and ByNumber find an account, or fail with ErrUnknown. key is the name in
	// lower case.
	ByName(ctx context.Context, key string) (Account, error)
	ByNumber(ctx context.Context, number int64) (Account, error)
	// Profiles returns those of these numbers that there are, in any order.
	Profiles(ctx context.Context, numbers []int64) ([]Profile, error)
	// SetProfile replaces what a change has, and nothing else.
	SetProfile(ctx context.Context, number int64, c Change) error
	// Rehash replaces the hash of a password, if it is still the old one.
	Rehash(ctx context.Context, number int64, old, hash string) error
	// SetPassword replaces the hash of a password, if it is still the old one, and ends
	// all sessions but one; else it fails with ErrUnknown. It returns those that it ended.
	SetPassword(ctx context.Context, number int64, old, hash string, keep wire.ID) ([]wire.ID, error)
	// Leave ends an account for everybody: nobody finds it, signs in to it or can make it a
	// member of a room any more, its name is free, its sessions have ended, and nothing is
	// kept of its profile. It fails with ErrUnknown where there is none, or not any more.
	Leave(ctx context.Context, number int64) error
	// Leaving returns some that are so, by number, those after one.
	Leaving(ctx context.Context, after int64, limit int) ([]int64, error)
	// Delete removes what is left of an account that is so. It fails with ErrMember while
	// that is in a room.
	Delete(ctx context.Context, number int64) error

	// Begin keeps a session of an account that is still as it is given: with another
	// version or another hash of its password it fails with ErrUnknown. It ends those
	// that were used longest ago so that no more than most are left, and returns their
	// IDs.
	Begin(ctx context.Context, s Session, a Account, most int) ([]wire.ID, error)
	// Turn takes a refresh token of that turn and returns the session with the next
	// turn, used now, good until expires. It fails with ErrEnded where there is no such
	// session, or it has expired, and with ErrReused where the turn is an earlier one:
	// then it has ended the session, whose account it returns.
	Turn(ctx context.Context, id wire.ID, turn int64, now, expires time.Time) (Session, Account, error)
	// Stands says whether a session has not ended, and of which version its account is.
	Stands(ctx context.Context, number int64, id wire.ID, now time.Time) (version int64, ok bool, err error)
	// Standing returns those of some sessions that have not ended.
	Standing(ctx context.Context, ids []wire.ID, now time.Time) ([]wire.ID, error)
	// End ends a session of an account; one that has ended is no error.
	End(ctx context.Context, number int64, id wire.ID) error
	// EndAll ends all sessions of an account and raises its version.
	EndAll(ctx context.Context, number int64) error
	// Sessions returns those of an account, the newest first.
	Sessions(ctx context.Context, number int64, now time.Time) ([]Session, error)
	// Tidy removes some of what has expired, and says whether there is more.
	Tidy(ctx context.Context, now time.Time) (more bool, err error)

	// AddReset keeps the hash of a token that may set a password anew, and of earlier
	// ones of the account the newest, so that there are no more than most. It fails with
	// ErrUnknown where there is no such account.
	AddReset(ctx context.Context, number int64, hash string, now, expires time.Time, most int) error
	// FindReset fails with ErrUnknown where there is no such token, or it has expired.
	FindReset(ctx context.Context, hash string, now time.Time) error
	// UseReset replaces the password of whoever the token belongs to, ends all of his
	// sessions, raises the version and removes his tokens. It fails with ErrUnknown
	// where there is no such token, or it has expired.
	UseReset(ctx context.Context, hash string, now time.Time, password string) (number int64, err error)

	// Block notes that an account has blocked another one; again is no error. It fails
	// with ErrUnknown where there is one of them not, and with ErrMany where there are
	// most already.
	Block(ctx context.Context, number int64, b Block, most int) error
	// Unblock takes that back; what is not so is no error.
	Unblock(ctx context.Context, number, blocked int64) error
	// Blocks returns whom an account has blocked, from a number on, by number.
	Blocks(ctx context.Context, number, after int64, limit int) ([]Block, error)
	// BlockedBy returns by whom some accounts are blocked.
	BlockedBy(ctx context.Context, numbers []int64) ([]Blocking, error)
	// Blocked says whether one account has blocked another one.
	Blocked(ctx context.Context, by, number int64) (bool, error)
}
