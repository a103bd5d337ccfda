package accounts

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Tokens are what somebody gets who signs in.
type Tokens struct {
	User           wire.UserID
	Session        wire.ID
	Access         string
	AccessExpires  time.Time
	Refresh        string
	RefreshExpires time.Time
}

// SignUp makes an account, for somebody at an address.
func (r *Room) SignUp(ctx context.Context, address, username, password string) (Profile, error) {
	if refused := checkAccount(username, password); refused != nil {
		return Profile{}, refused
	}
	if !r.opts.SignUp {
		return Profile{}, refuse(CodeSignUpClosed, "accounts are made by the operator here")
	}
	from := place(address)
	if wait := r.signUps.take(from, r.opts.Now()); wait > 0 {
		refused := refuse(CodeRateLimited, "as many accounts were made from this address as may be in an hour")
		refused.After = wait
		return Profile{}, refused
	}
	p, err := r.make(ctx, username, password)
	var refused *Refusal
	if err != nil && !errors.As(err, &refused) {
		r.signUps.giveBack(from)
	}
	return p, err
}

// MakeAccount makes an account for the operator, who may make as many as he likes, also
// where nobody else may.
func (r *Room) MakeAccount(ctx context.Context, username, password string) (Profile, error) {
	if refused := checkAccount(username, password); refused != nil {
		return Profile{}, refused
	}
	return r.make(ctx, username, password)
}

// make makes an account, of a name and a password that may be.
func (r *Room) make(ctx context.Context, username, password string) (Profile, error) {
	taken := refuse(CodeNameTaken, "there is an account with this name, whatever its case")
	switch _, err := r.opts.Store.ByName(ctx, NameKey(username)); {
	case err == nil:
		return Profile{}, taken
	case !errors.Is(err, ErrUnknown):
		return Profile{}, fmt.Errorf("look for a name: %w", err)
	}
	hash, err := r.hashes.hash(ctx, password)
	if err != nil {
		return Profile{}, err
	}
	a := Account{Profile: Profile{Username: username, Created: r.now()}, Password: hash, Version: 1}
	if a.Number, err = r.newNumber(ctx); err != nil {
		return Profile{}, err
	}
	switch err := r.opts.Store.Create(ctx, a); {
	case errors.Is(err, ErrTaken): // since it was looked for
		r.spare(a.Number)
		return Profile{}, taken
	case err != nil:
		return Profile{}, fmt.Errorf("make an account: %w", err)
	}
	r.metrics.made.Inc()
	return a.Profile, nil
}

// newNumber gives away a number for which nothing waits. Where that cannot be seen to,
// nobody gets it.
func (r *Room) newNumber(ctx context.Context) (int64, error) {
	number, err := r.anyNumber(ctx)
	switch {
	case errors.Is(err, ErrNoNumbers):
		return 0, refuse(CodeNoNumbers, "this domain has no number left for another account")
	case err != nil:
		return 0, fmt.Errorf("find a number for an account: %w", err)
	case r.opts.Empty == nil:
		return number, nil
	}
	if err := r.opts.Empty(ctx, r.user(number)); err != nil {
		r.spare(number)
		return 0, fmt.Errorf("empty the mailbox of a new account: %w", err)
	}
	return number, nil
}

// anyNumber returns the lowest number that nobody got to whom it was to be given, or a
// new one.
func (r *Room) anyNumber(ctx context.Context) (int64, error) {
	r.mu.Lock()
	for len(r.spares) > 0 {
		number := r.spares[0]
		r.spares = r.spares[1:]
		if ours, ok := r.opts.Place(number); ok && ours == number {
			r.mu.Unlock()
			return number, nil
		}
	}
	r.mu.Unlock()
	return r.opts.Store.NewNumber(ctx, r.opts.Place)
}

// maxSpares is how many numbers are kept that nobody got.
const maxSpares = 1000

// spare keeps a number that nobody got for whoever comes next.
func (r *Room) spare(number int64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.spares) < maxSpares {
		at, _ := slices.BinarySearch(r.spares, number)
		r.spares = slices.Insert(r.spares, at, number)
	}
}

// SignIn begins a session.
func (r *Room) SignIn(ctx context.Context, address, username, password string) (Tokens, error) {
	if refused := CheckName(username); refused != nil {
		return Tokens{}, refused
	}
	if len(password) > MaxPassword*4 || password == "" {
		return Tokens{}, invalid("password", "must have %d to %d characters", MinPassword, MaxPassword)
	}
	a, err := r.prove(ctx, address, username, password)
	if err != nil {
		return Tokens{}, err
	}
	id, err := wire.NewID(r.opts.Now(), r.opts.Random)
	if err != nil {
		return Tokens{}, err
	}
	now := r.now()
	s := Session{ID: id, Account: a.Number, Turn: 1, Address: place(address), Created: now, Used: now, Expires: now.Add(r.opts.Refresh)}
	ended, err := r.opts.Store.Begin(ctx, s, a, r.opts.Limits().Sessions)
	if errors.Is(err, ErrUnknown) { // deleted, or its password changed, since it was read
		return Tokens{}, refuseCredentials()
	}
	if err != nil {
		return Tokens{}, fmt.Errorf("begin a session: %w", err)
	}
	r.ended(a.Number, ended...)
	r.metrics.signIns.WithLabelValues("ok").Inc()
	return r.tokens(ctx, s, a)
}

// prove finds the account of a name and checks that the password is its own. A name
// that there is not costs as much as a wrong password.
func (r *Room) prove(ctx context.Context, address, username, password string) (Account, error) {
	key, from, now := NameKey(username), place(address), r.opts.Now()
	wait := r.byPlace.begin(from, now)
	if wait == 0 {
		if wait = r.byName.begin(key, now); wait > 0 {
			r.byPlace.takeBack(from)
		}
	}
	if wait > 0 {
		r.metrics.signIns.WithLabelValues("slowed").Inc()
		return Account{}, tooSoon(wait)
	}
	a, err := r.opts.Store.ByName(ctx, key)
	known := err == nil
	if err != nil && !errors.Is(err, ErrUnknown) {
		r.byPlace.takeBack(from)
		r.byName.takeBack(key)
		return Account{}, fmt.Errorf("look for a name: %w", err)
	}
	hash := r.hashes.decoy
	if known {
		hash = a.Password
	}
	ok, stale, err := r.hashes.verify(ctx, hash, password)
	if err != nil {
		r.byPlace.takeBack(from)
		r.byName.takeBack(key)
		return Account{}, err
	}
	if !ok || !known {
		r.metrics.signIns.WithLabelValues("wrong").Inc()
		return Account{}, refuseCredentials()
	}
	r.byPlace.takeBack(from)
	r.byName.succeeded(key)
	if stale {
		a.Password = r.rehash(ctx, a, password)
	}
	return a, nil
}

// rehash makes the hash of a password anew that cost another amount, and returns the
// one that is kept.
func (r *Room) rehash(ctx context.Context, a Account, password string) string {
	hash, err := r.hashes.hash(ctx, password)
	if err == nil {
		err = r.opts.Store.Rehash(ctx, a.Number, a.Password, hash)
	}
	if err != nil {
		r.opts.Log.Debug("the hash of a password stays as it was", "user", r.user(a.Number), "err", err)
		return a.Password
	}
	return hash
}

// tokens writes the tokens of a session.
func (r *Room) tokens(ctx context.Context, s Session, a Account) (Tokens, error) {
	ring, err := r.keys(ctx, false)
	if err != nil {
		return Tokens{}, err
	}
	jti, err := wire.NewID(r.opts.Now(), r.opts.Random)
	if err != nil {
		return Tokens{}, err
	}
	user := r.user(a.Number)
	now := r.opts.Now().UTC().Truncate(time.Second) // as tokens have it
	expires := now.Add(r.opts.Access)
	access, err := ring.sign(claims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: r.opts.Issuer, Subject: string(user), Audience: jwt.ClaimStrings{r.opts.AppID}, ID: jti.String(),
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires),
		},
		Session: s.ID.String(), Version: a.Version,
	})
	if err != nil {
		return Tokens{}, fmt.Errorf("sign a token: %w", err)
	}
	return Tokens{
		User: user, Session: s.ID, Access: access, AccessExpires: expires,
		Refresh: ring.refreshToken(s.ID, s.Turn), RefreshExpires: s.Expires,
	}, nil
}

// Refresh exchanges a refresh token for new tokens.
func (r *Room) Refresh(ctx context.Context, token string) (Tokens, error) {
	ring, err := r.keys(ctx, false)
	if err != nil {
		return Tokens{}, err
	}
	id, turn, ok := ring.readRefresh(token)
	if !ok {
		return Tokens{}, refuseToken()
	}
	now := r.now()
	s, a, err := r.opts.Store.Turn(ctx, id, turn, now, now.Add(r.opts.Refresh))
	switch {
	case errors.Is(err, ErrReused):
		r.metrics.reused.Inc()
		r.opts.Log.Warn("a refresh token was used twice, so its session has ended: somebody may have copied it", "user", r.user(s.Account))
		r.ended(s.Account, id)
		r.signedOut(ctx, s.Account, false)
		return Tokens{}, refuse(CodeTokenReused, "this refresh token was used before, so its session has ended; sign in anew")
	case errors.Is(err, ErrEnded):
		return Tokens{}, refuseEnded()
	case err != nil:
		return Tokens{}, fmt.Errorf("refresh a session: %w", err)
	}
	return r.tokens(ctx, s, a)
}

// SignOut ends the holder's session, or with all every one of his.
func (r *Room) SignOut(ctx context.Context, h Holder, all bool) error {
	if all {
		if err := r.opts.Store.EndAll(ctx, h.Number()); err != nil {
			return fmt.Errorf("end all sessions: %w", err)
		}
		r.endedAll(h.Number())
		r.signedOut(ctx, h.Number(), true)
		return nil
	}
	return r.EndSession(ctx, h, h.Session)
}

// EndSession ends one of the holder's sessions; where there is none, that is no error.
func (r *Room) EndSession(ctx context.Context, h Holder, id wire.ID) error {
	if err := r.opts.Store.End(ctx, h.Number(), id); err != nil {
		return fmt.Errorf("end a session: %w", err)
	}
	r.ended(h.Number(), id)
	r.signedOut(ctx, h.Number(), false)
	return nil
}

// signedOut tells that an account is signed in nowhere any more; all: it is known to be.
func (r *Room) signedOut(ctx context.Context, number int64, all bool) {
	if r.opts.SignedOut == nil {
		return
	}
	user := r.user(number)
	if !all {
		out, err := r.Out(ctx, user)
		if err != nil || !out {
			return // what cannot be found out now ends by itself in time
		}
	}
	r.opts.SignedOut(ctx, user)
}

// Out says whether a user is signed in nowhere.
func (r *Room) Out(ctx context.Context, user wire.UserID) (bool, error) {
	list, err := r.opts.Store.Sessions(ctx, user.Number(), r.now())
	return len(list) == 0, err
}

// Sessions returns the holder's sessions, the newest first.
func (r *Room) Sessions(ctx context.Context, h Holder) ([]Session, error) {
	return r.opts.Store.Sessions(ctx, h.Number(), r.now())
}
