package accounts

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Change is what somebody changes of his profile; nil stays as it is.
type Change struct{ DisplayName, Bio, AvatarURL *string }

func notThere() *Refusal { return refuse(CodeNotFound, "there is no such account") }

// Profile returns that of a user.
func (r *Room) Profile(ctx context.Context, user wire.UserID) (Profile, error) {
	if user.App() != r.opts.App {
		return Profile{}, notThere()
	}
	a, err := r.opts.Store.ByNumber(ctx, user.Number())
	if errors.Is(err, ErrUnknown) {
		return Profile{}, notThere()
	}
	return a.Profile, err
}

// ProfileOf returns that of whoever has a name.
func (r *Room) ProfileOf(ctx context.Context, username string) (Profile, error) {
	if CheckName(username) != nil {
		return Profile{}, notThere()
	}
	a, err := r.opts.Store.ByName(ctx, NameKey(username))
	if errors.Is(err, ErrUnknown) {
		return Profile{}, notThere()
	}
	return a.Profile, err
}

// Profiles returns those of some users, by their IDs; of those that there are not
// nothing.
func (r *Room) Profiles(ctx context.Context, users []wire.UserID) (map[wire.UserID]Profile, error) {
	var numbers []int64
	for _, u := range users {
		if u.App() == r.opts.App {
			numbers = append(numbers, u.Number())
		}
	}
	list, err := r.opts.Store.Profiles(ctx, numbers)
	if err != nil {
		return nil, err
	}
	found := make(map[wire.UserID]Profile, len(list))
	for _, p := range list {
		found[r.user(p.Number)] = p
	}
	return found, nil
}

// SetProfile changes the holder's profile and returns what it is then.
func (r *Room) SetProfile(ctx context.Context, h Holder, c Change) (Profile, error) {
	var p Profile
	for _, one := range []struct{ to, from *string }{{&p.DisplayName, c.DisplayName}, {&p.Bio, c.Bio}, {&p.AvatarURL, c.AvatarURL}} {
		if one.from != nil {
			*one.to = *one.from
		}
	}
	if refused := checkProfile(p); refused != nil {
		return Profile{}, refused
	}
	if err := r.opts.Store.SetProfile(ctx, h.Number(), c); err != nil {
		return Profile{}, err
	}
	return r.Profile(ctx, h.User)
}

// SetPassword replaces the holder's password, and ends his other sessions.
func (r *Room) SetPassword(ctx context.Context, address string, h Holder, old, password string) error {
	if refused := checkPassword("new", password); refused != nil {
		return refused
	}
	a, err := r.confirm(ctx, address, h, old)
	if err != nil {
		return err
	}
	hash, err := r.hashes.hash(ctx, password)
	if err != nil {
		return err
	}
	ended, err := r.opts.Store.SetPassword(ctx, a.Number, a.Password, hash, h.Session)
	if errors.Is(err, ErrUnknown) { // it was changed meanwhile
		return refusePassword()
	}
	if err != nil {
		return fmt.Errorf("change a password: %w", err)
	}
	r.ended(a.Number, ended...)
	return nil
}

// confirm asks the holder for his password once more: who has a token need not know
// it.
func (r *Room) confirm(ctx context.Context, address string, h Holder, password string) (Account, error) {
	if len(password) > MaxPassword*4 {
		return Account{}, refusePassword()
	}
	a, err := r.opts.Store.ByNumber(ctx, h.Number())
	if errors.Is(err, ErrUnknown) {
		return Account{}, refuseEnded()
	}
	if err != nil {
		return Account{}, err
	}
	a, err = r.prove(ctx, address, a.Username, password)
	if errors.Is(err, refuseCredentials()) {
		err = refusePassword()
	}
	return a, err
}

// Export is all that is kept of somebody.
type Export struct {
	Profile  Profile
	Sessions []Session
	Blocks   []wire.UserID
	// Chat writes what is kept elsewhere, as JSON; nil for nothing.
	Chat func(w io.Writer) error
}

// Export returns all that is kept of the holder, but for his password's hash.
func (r *Room) Export(ctx context.Context, h Holder) (Export, error) {
	p, err := r.Profile(ctx, h.User)
	if err != nil {
		return Export{}, err
	}
	e := Export{Profile: p}
	if e.Sessions, err = r.Sessions(ctx, h); err != nil {
		return Export{}, err
	}
	blocks, err := r.opts.Store.Blocks(ctx, h.Number(), -1, r.opts.Limits().Blocks)
	if err != nil {
		return Export{}, err
	}
	for _, b := range blocks {
		e.Blocks = append(e.Blocks, r.user(b.Number))
	}
	if r.opts.Chat != nil {
		e.Chat = func(w io.Writer) error { return r.opts.Chat.Export(ctx, h.User, w) }
	}
	return e, nil
}

// Block has the holder block another user, who cannot write to the holder from then on.
func (r *Room) Block(ctx context.Context, h Holder, other wire.UserID) error {
	if other == h.User {
		return invalid("userId", "is your own")
	}
	if other.App() != r.opts.App {
		return notThere()
	}
	err := r.opts.Store.Block(ctx, h.Number(), Block{Number: other.Number(), Created: r.now()}, r.opts.Limits().Blocks)
	switch {
	case errors.Is(err, ErrUnknown):
		return notThere()
	case errors.Is(err, ErrMany):
		return refuse(CodeTooMany, "you have blocked as many users as limits.blockedUsers allows")
	case err == nil:
		r.blocks(ctx, Blocking{By: h.Number(), Whom: other.Number()}, true)
	}
	return err
}

// Unblock takes that back.
func (r *Room) Unblock(ctx context.Context, h Holder, other wire.UserID) error {
	if other.App() != r.opts.App {
		return nil
	}
	err := r.opts.Store.Unblock(ctx, h.Number(), other.Number())
	if err == nil {
		r.blocks(ctx, Blocking{By: h.Number(), Whom: other.Number()}, false)
	}
	return err
}

// Blocks returns whom the holder has blocked, by number, those after one.
func (r *Room) Blocks(ctx context.Context, h Holder, after int64, limit int) ([]Block, error) {
	return r.opts.Store.Blocks(ctx, h.Number(), after, limit)
}

// Blocked says whether one user has blocked another one.
func (r *Room) Blocked(ctx context.Context, by, user wire.UserID) (bool, error) {
	if by.App() != r.opts.App || user.App() != r.opts.App {
		return false, nil
	}
	return r.opts.Store.Blocked(ctx, by.Number(), user.Number())
}

// UserOf returns the ID of the user with a number.
func (r *Room) UserOf(number int64) wire.UserID { return r.user(number) }
