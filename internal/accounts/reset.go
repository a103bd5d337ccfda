package accounts

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// resetsWaiting is how many requests for a reset wait to be dealt with.
const resetsWaiting = 1000

// Reset is a token with which somebody who has forgotten his password sets it anew,
// once.
type Reset struct {
	User     wire.UserID
	Username string
	Token    string
	Expires  time.Time
}

// resetsOfOne is how many tokens of one account are good at once: one that somebody
// else has asked for does not spoil that which its owner was given.
const resetsOfOne = 5

// MakeReset makes a token for a user.
func (r *Room) MakeReset(ctx context.Context, user wire.UserID) (Reset, error) {
	p, err := r.Profile(ctx, user)
	if err != nil {
		return Reset{}, err
	}
	return r.resetFor(ctx, p)
}

func (r *Room) resetFor(ctx context.Context, p Profile) (Reset, error) {
	token, hash, err := newReset(r.opts.Random)
	if err != nil {
		return Reset{}, err
	}
	now := r.now()
	expires := now.Add(r.opts.Reset)
	switch err := r.opts.Store.AddReset(ctx, p.Number, hash, now, expires, resetsOfOne); {
	case errors.Is(err, ErrUnknown): // deleted since it was looked for
		return Reset{}, notThere()
	case err != nil:
		return Reset{}, fmt.Errorf("keep a token: %w", err)
	}
	return Reset{User: r.user(p.Number), Username: p.Username, Token: token, Expires: expires}, nil
}

// AskReset has the app's own server told, if there is an account of that name. It
// does not wait, so nobody learns from it which names there are. Where nobody is told
// it is refused, whatever the name.
func (r *Room) AskReset(address, username string) error {
	if refused := CheckName(username); refused != nil {
		return refused
	}
	if r.opts.Deliver == nil {
		return refuse(CodeNoResets, "this server cannot send anybody what sets a password anew: ask its operator for it")
	}
	if wait := r.resets.take(place(address), r.opts.Now()); wait > 0 {
		refused := refuse(CodeRateLimited, "as many resets were asked for from this address as may be in an hour")
		refused.After = wait
		return refused
	}
	select {
	case r.wanted <- username:
		return nil
	default:
		busy := refuse(CodeBusy, "too many resets are waiting; try again later")
		busy.After = time.Second
		return busy
	}
}

// makeResets deals with what was asked for.
func (r *Room) makeResets(ctx context.Context) error {
	for {
		select {
		case <-ctx.Done():
			return nil
		case username := <-r.wanted:
			if err := r.deliver(ctx, username); err != nil && ctx.Err() == nil {
				r.opts.Log.Error("a password cannot be set anew", "err", err)
			}
		}
	}
}

// deliver makes a token for whoever has a name, and hands it to the app's server. One
// name gets a few, and then one a minute.
func (r *Room) deliver(ctx context.Context, username string) error {
	if r.askedOf.begin(NameKey(username), r.opts.Now()) > 0 {
		return nil
	}
	p, err := r.ProfileOf(ctx, username)
	if errors.Is(err, notThere()) {
		return nil
	}
	if err != nil {
		return err
	}
	made, err := r.resetFor(ctx, p)
	if errors.Is(err, notThere()) {
		return nil
	}
	if err != nil {
		return err
	}
	return r.opts.Deliver(ctx, made)
}

// UseReset sets the password of whoever a token belongs to, says who that is, and ends all of his
// sessions.
func (r *Room) UseReset(ctx context.Context, token, password string) (wire.UserID, error) {
	if refused := checkPassword("password", password); refused != nil {
		return "", refused
	}
	err := r.opts.Store.FindReset(ctx, hashReset(token), r.now()) // first: a hash is work, and anybody may ask for it
	if errors.Is(err, ErrUnknown) {
		return "", noReset()
	}
	if err != nil {
		return "", fmt.Errorf("look for a token: %w", err)
	}
	hash, err := r.hashes.hash(ctx, password)
	if err != nil {
		return "", err
	}
	number, err := r.opts.Store.UseReset(ctx, hashReset(token), r.now(), hash)
	if errors.Is(err, ErrUnknown) {
		return "", noReset()
	}
	if err != nil {
		return "", fmt.Errorf("set a password anew: %w", err)
	}
	r.endedAll(number)
	r.signedOut(ctx, number, true)
	return r.user(number), nil
}

func noReset() *Refusal {
	return refuse(CodeBadToken, "the token was used, has expired, or never was")
}
