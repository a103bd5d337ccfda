package api

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
)

func (r Rooms) keyCalls() []Call {
	return []Call{
		{Method: "GET", Path: "/v1/keys", Scope: keys.KeysManage, Handler: Handle(r.listKeys)},
		{Method: "POST", Path: "/v1/keys", Scope: keys.KeysManage, Once: true, Secret: true, Status: http.StatusCreated, Handler: Handle(r.makeKey)},
		{Method: "GET", Path: "/v1/keys/{id}", Scope: keys.KeysManage, Handler: Handle(r.getKey)},
		{Method: "DELETE", Path: "/v1/keys/{id}", Scope: keys.KeysManage, Once: true, Handler: Handle(r.revokeKey)},
	}
}

// keyAnswer is a key as the interface shows it.
type keyAnswer struct {
	ID        string       `json:"id"`
	Name      string       `json:"name,omitzero"`
	App       string       `json:"app,omitzero"`
	Admin     bool         `json:"admin"`
	Scopes    []keys.Scope `json:"scopes"`
	CreatedAt Time         `json:"createdAt"`
	ExpiresAt Time         `json:"expiresAt,omitzero"`
	LastUsed  Time         `json:"lastUsedAt,omitzero"`
	Passing   bool         `json:"untilRestart,omitzero"`
}

func (r Rooms) show(k *keys.Key) keyAnswer {
	return keyAnswer{
		ID: k.ID, Name: k.Name, App: k.App, Admin: k.Admin, Scopes: k.Scopes,
		CreatedAt: Time(k.Created), ExpiresAt: Time(k.Expires), LastUsed: Time(r.Keys.Used(k.ID)), Passing: k.Passing,
	}
}

type listKeysRequest struct {
	App App `query:"app" api:"optional"`
	Page
}

type keysAnswer struct {
	Keys []keyAnswer `json:"keys"`
	Next Cursor      `json:"next,omitzero"`
}

// listKeys lists keys, oldest first.
func (r Rooms) listKeys(_ context.Context, _ Identity, q listKeysRequest) (keysAnswer, error) {
	after, err := keyPosition(q.Cursor.Position)
	if err != nil {
		return keysAnswer{}, err
	}
	list := r.Keys.List(string(q.App), after, q.Limit+1)
	more := len(list) > q.Limit
	list = list[:min(len(list), q.Limit)]
	answer := keysAnswer{Keys: make([]keyAnswer, len(list))}
	for i, k := range list {
		answer.Keys[i] = r.show(k)
	}
	if more {
		last := list[len(list)-1]
		answer.Next = q.Next(last.Created.Format(time.RFC3339Nano) + " " + last.ID)
	}
	return answer, nil
}

// keyPosition reads what listKeys made of the last key of a page.
func keyPosition(position string) (keys.Key, error) {
	if position == "" {
		return keys.Key{}, nil
	}
	created, id, _ := strings.Cut(position, " ")
	at, err := time.Parse(time.RFC3339Nano, created)
	if err != nil {
		return keys.Key{}, Invalid("cursor", "is of another list")
	}
	return keys.Key{ID: id, Created: at}, nil
}

type makeKeyRequest struct {
	Body struct {
		Name      string       `json:"name,omitzero"`
		App       App          `json:"app,omitzero" api:"optional"`
		Scopes    []keys.Scope `json:"scopes,omitzero"`
		ExpiresAt Time         `json:"expiresAt,omitzero"`
		Admin     bool         `json:"admin,omitzero"`
	} `body:"json"`
}

// madeKeyAnswer is the one place where a secret leaves.
type madeKeyAnswer struct {
	keyAnswer
	Key string `json:"key"`
}

// Location is where the key is from now on.
func (a madeKeyAnswer) Location() string { return "/v1/keys/" + a.ID }

func (r Rooms) makeKey(ctx context.Context, who Identity, q makeKeyRequest) (madeKeyAnswer, error) {
	b := &q.Body
	wish := keys.Wish{Name: b.Name, App: string(b.App), Admin: b.Admin, Scopes: b.Scopes, Expires: time.Time(b.ExpiresAt)}
	key, presented, err := r.Keys.Make(ctx, wish, who.Key)
	var refused *keys.Refusal
	switch {
	case errors.As(err, &refused) && refused.Beyond:
		r := Forbidden("%s: %s", refused.Field, refused.Reason)
		r.Field = refused.Field
		return madeKeyAnswer{}, r
	case errors.As(err, &refused):
		return madeKeyAnswer{}, Invalid(refused.Field, "%s", refused.Reason)
	case errors.Is(err, keys.ErrTooMany):
		return madeKeyAnswer{}, Refuse(http.StatusConflict, CodeTooManyKeys, "%s", err)
	case err != nil:
		return madeKeyAnswer{}, err
	}
	r.note(who, "keyMade", key.App, "", key.ID)
	return madeKeyAnswer{keyAnswer: r.show(key), Key: presented}, nil
}

type keyRequest struct {
	ID string `path:"id"`
}

func (r Rooms) getKey(_ context.Context, who Identity, q keyRequest) (keyAnswer, error) {
	key, err := r.keyOf(who, q.ID)
	if err != nil {
		return keyAnswer{}, err
	}
	return r.show(key), nil
}

// keyOf finds a key that is who's to know of: another app's is not there.
func (r Rooms) keyOf(who Identity, id string) (*keys.Key, error) {
	key := r.Keys.Get(id)
	if key == nil || !who.Admin && key.App != who.App {
		return nil, NotFound("there is no key %q: it never was, or was revoked", clip(id))
	}
	return key, nil
}

type revokedAnswer struct {
	Revoked string `json:"revoked"`
}

func (r Rooms) revokeKey(ctx context.Context, who Identity, q keyRequest) (revokedAnswer, error) {
	if _, err := r.keyOf(who, q.ID); err != nil {
		return revokedAnswer{}, err
	}
	if err := r.Keys.Revoke(ctx, q.ID); errors.Is(err, keys.ErrUnknown) {
		return revokedAnswer{}, NotFound("there is no key %q any more", clip(q.ID))
	} else if err != nil {
		return revokedAnswer{}, err
	}
	r.note(who, "keyRevoked", who.App, "", q.ID)
	return revokedAnswer{Revoked: q.ID}, nil
}
