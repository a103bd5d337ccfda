package api

import (
	"context"
	"errors"
	"net/http"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
	"github.com/seed-3d8c1042/switchboard/internal/nearby"
	"github.com/seed-3d8c1042/switchboard/wire"
)

// Nearby keeps positions: *nearby.Room. Its methods do not block; done is called once,
// maybe at once.
type Nearby interface {
	Put(app, user string, p nearby.Position, done func(error))
	Hide(app, user string, done func(error))
	Get(app, user string, done func(p nearby.Position, known bool, err error))
	Near(app string, v nearby.View, limit int, done func(nearby.Answer, error))
}

// usualNearby is how many it has when nothing is asked for.
const usualNearby = 100

func (r Rooms) nearbyCalls() []Call {
	return []Call{
		{Method: "PUT", Path: "/v1/positions/me", Auth: ByUser, Handler: Handle(r.putPosition)},
		{Method: "GET", Path: "/v1/positions/me", Auth: ByUser, Handler: Handle(r.getPosition)},
		{Method: "DELETE", Path: "/v1/positions/me", Auth: ByUser, Status: http.StatusNoContent, Handler: Serve(r.hidePosition)},
		{Method: "GET", Path: "/v1/nearby", Auth: ByUser, Also: keys.NearbyRead, Handler: Handle(r.getNearby)},
	}
}

// AsUser is the part of a request that says which user of an app that has no accounts
// here asks; whoever makes it out is V1, before the handler is called.
type AsUser struct {
	AppID  string `query:"appId"`
	UserID string `query:"userId"`
}

type positionRequest struct {
	AsUser
}

type putPositionRequest struct {
	AsUser
	Body positionBody `body:"json"`
}

type positionBody struct {
	Lat      *float64 `json:"lat"` // 0 is a place, and not nothing
	Lon      *float64 `json:"lon"`
	Accuracy *float64 `json:"accuracy,omitzero"`
	Heading  *float64 `json:"heading,omitzero"`
	Speed    *float64 `json:"speed,omitzero"`
	At       Time     `json:"at,omitzero"`
}

// What the answers look like.
type (
	positionShape struct {
		Lat      float64 `json:"lat"`
		Lon      float64 `json:"lon"`
		At       Time    `json:"at"`
		Heading  float64 `json:"heading,omitzero"`
		Speed    float64 `json:"speed,omitzero"`
		Accuracy float64 `json:"accuracy,omitzero"`
	}
	neighbourShape struct {
		UserID   wire.UserID `json:"userId"`
		Name     string      `json:"name,omitzero"`
		Lat      float64     `json:"lat"`
		Lon      float64     `json:"lon"`
		At       Time        `json:"at"`
		Distance float64     `json:"distance"`
		Heading  float64     `json:"heading,omitzero"`
		Speed    float64     `json:"speed,omitzero"`
		Accuracy float64     `json:"accuracy,omitzero"`
	}
	nearbyShape struct {
		Users []neighbourShape `json:"users"`
		Total int              `json:"total"`
	}
)

// positionAnswer is a position as others see it.
type positionAnswer struct{ p wire.Position }

func (a positionAnswer) appendJSON(dst []byte) []byte { return wire.AppendPosition(dst, &a.p) }
func (positionAnswer) shape() reflect.Type            { return reflect.TypeFor[positionShape]() }

// nearbyAnswer is who is around.
type nearbyAnswer struct {
	users []wire.Neighbour
	total int
}

func (nearbyAnswer) shape() reflect.Type { return reflect.TypeFor[nearbyShape]() }

func (a nearbyAnswer) appendJSON(dst []byte) []byte {
	dst = append(dst, `{"users":[`...)
	for i := range a.users {
		if i > 0 {
			dst = append(dst, ',')
		}
		dst = wire.AppendNeighbour(dst, &a.users[i])
	}
	dst = strconv.AppendInt(append(dst, `],"total":`...), int64(a.total), 10)
	return append(dst, '}')
}

// around fails with NEARBY_OFF where nobody keeps positions.
func (r Rooms) around() *Refusal {
	if r.Nearby != nil {
		return nil
	}
	return Refuse(http.StatusNotFound, wire.CodeNearbyOff, "this server shows nobody where others are: the setting nearby.enabled turns that on")
}

// asked is what came of something that a room was asked to do.
type asked[T any] struct {
	value T
	err   error
}

// await has a room do something, and waits for what comes of it.
func await[T any](ctx context.Context, r Rooms, begin func(done func(T, error))) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, r.Messages().Wait)
	defer cancel()
	answers := make(chan asked[T], 1)
	begin(func(value T, err error) { answers <- asked[T]{value, err} })
	select {
	case a := <-answers:
		return a.value, fromNearby(a.err)
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// fromNearby returns an error of the room as calls are refused.
func fromNearby(err error) error {
	var r *nearby.Refusal
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &r):
		refused := Refuse(http.StatusServiceUnavailable, wire.CodeStoreDown, "a part of the positions is out of reach at present, as when its node has just died, and without it there is no answer: %s", err)
		refused.RetryAfter = soon
		return refused
	case r.Code == wire.CodeBadField:
		return Invalid(r.Field, "%s", r.Reason)
	case r.Code == wire.CodeTooMany:
		refused := Refuse(http.StatusTooManyRequests, CodeRateLimited, "%s", r.Reason)
		refused.RetryAfter, refused.ofRoom = soon, true
		return refused
	}
	return FromWire(&wire.Error{Code: r.Code, Reason: r.Reason})
}

func (r Rooms) putPosition(ctx context.Context, who Identity, q putPositionRequest) (positionAnswer, error) {
	if refused := r.around(); refused != nil {
		return positionAnswer{}, refused
	}
	b := &q.Body
	p := nearby.PositionOf(&wire.Position{Lat: *b.Lat, Lon: *b.Lon, At: time.Time(b.At), Accuracy: b.Accuracy, Heading: b.Heading, Speed: b.Speed})
	_, err := await(ctx, r, func(done func(struct{}, error)) {
		r.Nearby.Put(who.User.App(), string(who.User), p, func(err error) { done(struct{}{}, err) })
	})
	if err != nil {
		return positionAnswer{}, err
	}
	answer, err := r.position(ctx, who.User)
	if refused := new(Refusal); errors.As(err, &refused) && refused.Code == CodeNotFound {
		// Its keeper died in between, or it was hidden: who put it there is not told that
		// there never was one.
		refused = Refuse(http.StatusServiceUnavailable, wire.CodeStoreDown, "the position was taken in, and is not known any more, as when its node has just died")
		refused.RetryAfter = soon
		return positionAnswer{}, refused
	}
	return answer, err
}

func (r Rooms) getPosition(ctx context.Context, who Identity, _ positionRequest) (positionAnswer, error) {
	if refused := r.around(); refused != nil {
		return positionAnswer{}, refused
	}
	return r.position(ctx, who.User)
}

// position returns where a user is, as others see it.
func (r Rooms) position(ctx context.Context, user wire.UserID) (positionAnswer, error) {
	at, err := await(ctx, r, func(done func(*nearby.Position, error)) {
		r.Nearby.Get(user.App(), string(user), func(p nearby.Position, known bool, err error) {
			if !known {
				done(nil, err)
				return
			}
			done(&p, err)
		})
	})
	switch {
	case err != nil:
		return positionAnswer{}, err
	case at == nil:
		return positionAnswer{}, NotFound("no position of yours is known: none came, it is hidden, or it was too long ago")
	}
	return positionAnswer{at.Told()}, nil
}

func (r Rooms) hidePosition(w http.ResponseWriter, q *http.Request, who Identity, _ positionRequest) error {
	if refused := r.around(); refused != nil {
		return refused
	}
	_, err := await(q.Context(), r, func(done func(struct{}, error)) {
		r.Nearby.Hide(who.User.App(), string(who.User), func(err error) { done(struct{}{}, err) })
	})
	return done(w, http.StatusNoContent, err)
}

type nearbyRequest struct {
	AsUser
	App    App     `query:"app" api:"optional"`
	Lat    *figure `query:"lat"`
	Lon    *figure `query:"lon"`
	Radius *figure `query:"radius"`
	BBox   *box    `query:"bbox"`
	Limit  *int    `query:"limit"`
}

// figure is a number in a query, written as in JSON.
type figure float64

// UnmarshalText implements encoding.TextUnmarshaler. Go reads more as a number than
// JSON does, as 0x1p-2 and 1_0.
func (n *figure) UnmarshalText(b []byte) error {
	f, err := strconv.ParseFloat(string(b), 64)
	if err != nil || jsontext.Value(b).Kind() != '0' || !jsontext.Value(b).IsValid() {
		return errors.New("must be a number")
	}
	*n = figure(f)
	return nil
}

// box is a box in a query.
type box wire.Area

// UnmarshalText implements encoding.TextUnmarshaler.
func (x *box) UnmarshalText(b []byte) error {
	var sides [4]figure
	parts := strings.Split(string(b), ",")
	if len(parts) != len(sides) {
		return errors.New("must be four numbers with commas between them: west, south, east, north")
	}
	for i, part := range parts {
		if sides[i].UnmarshalText([]byte(part)) != nil {
			return errors.New("must be four numbers with commas between them: west, south, east, north")
		}
	}
	a := wire.Area{Box: true, West: float64(sides[0]), South: float64(sides[1]), East: float64(sides[2]), North: float64(sides[3])}
	if rule := a.CheckBox(); rule != "" {
		return errors.New("is no box" + rule)
	}
	*x = box(a)
	return nil
}

// MarshalText implements encoding.TextMarshaler.
func (x box) MarshalText() ([]byte, error) { return nil, errors.New("a box is only read") }

func (r Rooms) getNearby(ctx context.Context, who Identity, q nearbyRequest) (nearbyAnswer, error) {
	if refused := r.around(); refused != nil {
		return nearbyAnswer{}, refused
	}
	if q.App == "" {
		return nearbyAnswer{}, Invalid("app", "is needed with an admin key: name the app, as ?app=…")
	}
	limit := usualNearby
	if q.Limit != nil {
		if limit = *q.Limit; limit < 1 || limit > nearby.MaxAnswer {
			return nearbyAnswer{}, Invalid("limit", "must be a number from 1 to %d", nearby.MaxAnswer)
		}
	}
	area, refused := q.area()
	if refused != nil {
		return nearbyAnswer{}, refused
	}
	a, err := await(ctx, r, func(done func(nearby.Answer, error)) {
		r.Nearby.Near(string(q.App), nearby.ViewOf(area), limit, done)
	})
	if err != nil {
		return nearbyAnswer{}, err
	}
	return r.neighbours(ctx, &a), nil
}

// area returns what is looked at.
func (q *nearbyRequest) area() (*wire.Area, *Refusal) {
	given := []struct {
		name  string
		value *figure
	}{{"lat", q.Lat}, {"lon", q.Lon}, {"radius", q.Radius}}
	for _, g := range given {
		switch {
		case q.BBox != nil && g.value != nil:
			return nil, Invalid(g.name, "and bbox are not for one and the same question")
		case q.BBox == nil && g.value == nil:
			return nil, Invalid(g.name, "is needed; a question has lat, lon and radius, or bbox")
		}
	}
	if q.BBox != nil {
		return (*wire.Area)(q.BBox), nil
	}
	return &wire.Area{Lat: float64(*q.Lat), Lon: float64(*q.Lon), Radius: float64(*q.Radius)}, nil
}

// neighbours returns who was found, with names.
func (r Rooms) neighbours(ctx context.Context, a *nearby.Answer) nearbyAnswer {
	ids := make([]wire.UserID, len(a.Users))
	for i := range a.Users {
		ids[i] = wire.UserID(a.Users[i].User)
	}
	var names map[wire.UserID]string
	if r.Names != nil {
		names = r.Names(ctx, ids)
	}
	answer := nearbyAnswer{users: make([]wire.Neighbour, len(ids)), total: a.Total}
	for i := range a.Users {
		answer.users[i] = a.Users[i].Neighbour(names[ids[i]])
	}
	return answer
}
