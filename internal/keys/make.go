package keys

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// Wish says which key is wanted.
type Wish struct {
	Name    string
	App     string // empty for an admin key
	Admin   bool
	Scopes  []Scope   // at least one; none for an admin key
	Expires time.Time // zero: never
}

// Refusal is why a key is not made: a field of the wish is wrong, or asks for
// more than who wishes has.
type Refusal struct {
	Field  string // name, app, admin, scopes or expiresAt
	Reason string // for people; goes on after the field's name
	// Beyond says that the wish is good, but not for who wishes.
	Beyond bool
}

// Error returns field and reason.
func (r *Refusal) Error() string { return r.Field + ": " + r.Reason }

// ErrTooMany says that there are as many keys as there may be; what is behind it
// says by which limit.
var ErrTooMany = errors.New("too many API keys")

// ErrStore says that the store failed, and not the wish; what it says is behind
// it.
var ErrStore = errors.New("the keys cannot be stored at present")

// Make makes a key and returns it with what its holder has to present, which
// nobody can find out later. by is the key of who wishes, nil for the operator.
// Its errors are a *Refusal, ErrTooMany, and what the store says.
func (r *Ring) Make(ctx context.Context, w Wish, by *Key) (*Key, string, error) {
	key, err := r.grant(w, by)
	if err != nil {
		return nil, "", err
	}
	r.making.Lock()
	defer r.making.Unlock()
	if err := r.makeRoom(ctx, key.App, by); err != nil {
		return nil, "", err
	}
	hash, presented, err := r.draw(&key)
	if err != nil {
		return nil, "", err
	}
	row, err := encodeRow(key, hash)
	if err == nil {
		err = r.opts.Store.Create(ctx, key.ID, row)
	}
	if err != nil {
		return nil, "", fmt.Errorf("%w: store a new key: %w", ErrStore, err)
	}
	return &key, presented, nil
}

// Lend makes an admin key that is in memory only and ends with the process.
func (r *Ring) Lend(name string) (*Key, string, error) {
	key := Key{Name: name, Admin: true, Scopes: Scopes(), Created: r.opts.Now().UTC(), Passing: true}
	hash, presented, err := r.draw(&key)
	if err != nil {
		return nil, "", err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.keys[key.ID] = &entry{key: key, hash: hash}
	return &key, presented, nil
}

// draw gives a key its ID and its secret.
func (r *Ring) draw(key *Key) (hash digest, presented string, err error) {
	if key.ID, err = random(r.opts.Random, idBytes); err != nil {
		return hash, "", err
	}
	secret, err := random(r.opts.Random, secretBytes)
	if err != nil {
		return hash, "", err
	}
	return sum(secret), join(key.ID, secret), nil
}

// Revoke takes a key out of force; ErrUnknown when there is none.
func (r *Ring) Revoke(ctx context.Context, id string) error {
	e := r.find(id)
	if e == nil {
		return ErrUnknown
	}
	if e.key.Passing {
		r.apply(id, nil)
		return nil
	}
	if err := r.opts.Store.Delete(ctx, id); err != nil {
		return fmt.Errorf("%w: revoke a key: %w", ErrStore, err)
	}
	return nil
}

// room is how many keys there may be: of an app, or of all with an empty name.
type room struct {
	app  string
	most int
	says string // when there are as many
}

// rooms are those in which a key that is made with by has to find a place. What
// apps make themselves leaves a tenth of all to the operator and to admin keys,
// and these may also make more for an app than it may have by itself.
func (r *Ring) rooms(app string, by *Key) []room {
	all := r.opts.Max()
	if by == nil || by.Admin {
		return []room{{most: all, says: "there are as many as limits.apiKeys allows: revoke some"}}
	}
	return []room{
		{app, r.opts.MaxOfApp(), "the app has as many as limits.apiKeysPerApp allows: revoke some"},
		{"", all - (all+9)/10, "there are as many as limits.apiKeys leaves to the keys of apps, which is nine tenths"},
	}
}

// makeRoom makes sure that one more key may be: where there are too many, those
// that have expired go. making is held.
func (r *Ring) makeRoom(ctx context.Context, app string, by *Key) error {
	for _, room := range r.rooms(app, by) {
		if r.count(room.app) < room.most {
			continue
		}
		if err := r.clear(ctx, room.app); err != nil {
			return err
		}
		if r.count(room.app) >= room.most {
			return fmt.Errorf("%w: %s", ErrTooMany, room.says)
		}
	}
	return nil
}

// clear revokes the keys of an app, or all with an empty name, that have expired.
func (r *Ring) clear(ctx context.Context, app string) error {
	now := r.opts.Now()
	for _, k := range r.List(app, Key{}, r.Len()) {
		if k.expired(now) {
			if err := r.Revoke(ctx, k.ID); err != nil && !errors.Is(err, ErrUnknown) {
				return err
			}
		}
	}
	return nil
}

// grant checks a wish and returns the key that fulfils it, without ID.
func (r *Ring) grant(w Wish, by *Key) (Key, error) {
	now := r.opts.Now().UTC().Truncate(time.Millisecond)
	k := Key{Name: w.Name, App: w.App, Admin: w.Admin, Created: now}
	if !w.Expires.IsZero() {
		k.Expires = w.Expires.UTC().Truncate(time.Millisecond)
	}
	for _, check := range []func() *Refusal{
		func() *Refusal { return withinAdmin(w, by) },
		func() *Refusal { return checkName(w.Name) },
		func() *Refusal { return k.setScopes(w) },
		func() *Refusal { return checkExpiry(k.Expires, now) },
		func() *Refusal { return within(&k, by) },
	} {
		if refused := check(); refused != nil {
			return Key{}, refused
		}
	}
	return k, nil
}

func checkName(name string) *Refusal {
	printable := utf8.ValidString(name) && !strings.ContainsFunc(name, func(c rune) bool { return !unicode.IsPrint(c) })
	if len(name) > MaxName || !printable {
		return &Refusal{Field: "name", Reason: fmt.Sprintf("must be at most %d bytes of text in one line", MaxName)}
	}
	return nil
}

func checkExpiry(expires, now time.Time) *Refusal {
	if !expires.IsZero() && !expires.After(now) {
		return &Refusal{Field: "expiresAt", Reason: "is not in the future"}
	}
	if expires.Year() > 9999 { // RFC 3339 ends there
		return &Refusal{Field: "expiresAt", Reason: "is later than the year 9999"}
	}
	return nil
}

// setScopes checks what the key is to be of and for, and sets its scopes in the
// order of the table, each once.
func (k *Key) setScopes(w Wish) *Refusal {
	switch {
	case w.Admin && w.App != "":
		return &Refusal{Field: "app", Reason: "must be left out with admin: an admin key is of all apps"}
	case w.Admin && len(w.Scopes) > 0:
		return &Refusal{Field: "scopes", Reason: "must be left out with admin: an admin key has all scopes"}
	case w.Admin:
		k.Scopes = Scopes()
		return nil
	case w.App == "":
		return &Refusal{Field: "app", Reason: "is needed: the app whose key it is to be; or admin"}
	case len(w.Scopes) == 0:
		return &Refusal{Field: "scopes", Reason: "must name at least one scope"}
	}
	for _, s := range w.Scopes {
		if !s.Known() {
			return &Refusal{Field: "scopes", Reason: fmt.Sprintf("names %q, which is none; there are %s", clip(string(s)), ScopeNames())}
		}
	}
	for _, s := range Scopes() {
		if slices.Contains(w.Scopes, s) {
			k.Scopes = append(k.Scopes, s)
		}
	}
	return k.setNamed(w)
}

// setNamed adds the scopes for one service.
func (k *Key) setNamed(w Wish) *Refusal {
	var list []Scope
	for _, s := range w.Scopes {
		if _, named := s.whole(); named {
			list = append(list, s)
		}
	}
	slices.Sort(list)
	if list = slices.Compact(list); len(list) > MaxNamed {
		return &Refusal{Field: "scopes", Reason: fmt.Sprintf("names more than %d services", MaxNamed)}
	}
	k.Scopes = append(k.Scopes, list...)
	return nil
}

// withinAdmin refuses an admin key to whoever has none.
func withinAdmin(w Wish, by *Key) *Refusal {
	if by != nil && w.Admin && !by.Admin {
		return beyond("admin", "only an admin key makes admin keys")
	}
	return nil
}

func beyond(field, format string, args ...any) *Refusal {
	return &Refusal{Field: field, Reason: fmt.Sprintf(format, args...), Beyond: true}
}

// within refuses a key that would have more than the one that it is made with.
func within(k, by *Key) *Refusal {
	if by == nil {
		return nil
	}
	switch {
	case !by.Admin && k.App != by.App:
		return beyond("app", "the key that you use is of another app")
	case !by.Expires.IsZero() && (k.Expires.IsZero() || k.Expires.After(by.Expires)):
		return beyond("expiresAt", "must not be later than that of the key that you use: %s", by.Expires.UTC().Format(time.RFC3339))
	}
	for _, s := range k.Scopes {
		if !by.May(s) {
			return beyond("scopes", "the key that you use does not have %s itself", s)
		}
	}
	return nil
}

// clip shortens what a stranger wrote, for a sentence.
func clip(s string) string {
	const longest = 60
	if len(s) <= longest {
		return s
	}
	return strings.ToValidUTF8(s[:longest], "") + "…"
}
