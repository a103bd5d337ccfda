package api

import (
	"context"
	"net/http"
	"reflect"

	"github.com/seed-3d8c1042/switchboard/internal/keys"
)

// How to add a call to /v1
//
// A call is a row of the table in table.go. Write a function and, in a file of
// its subject, a row for it:
//
//	{Method: "GET", Path: "/v1/users/{userId}/things", Scope: keys.UsersRead, Handler: Handle(r.listThings)},
//
//	func (r Rooms) listThings(ctx context.Context, who Identity, q listThingsRequest) (thingsAnswer, error)
//
// The request says by its fields where each part comes from, and has been
// checked when the function gets it:
//
//	type listThingsRequest struct {
//		User wire.UserID `path:"userId"`  // a user ID, of the key's app, who lives in this domain
//		App  App         `query:"app"`    // the key's app; with an admin key needed, unless tagged api:"optional"
//		Kind string      `query:"kind"`   // empty when absent; string, int, int64, bool, Time or a TextUnmarshaler, or a pointer to one, nil when absent
//		Page                              // limit and cursor
//		Once *Once                        // of its Idempotency-Key; nil when there is none
//		Body thingBody   `body:"json"`    // without such a field a request with a body is refused;
//		                                  // a jsontext.Value with body:"raw" is checked by the handler
//	}
//
// Query parameters and body members that no field has are refused by name. In a
// body, and in an answer, a member without omitzero is required:
//
//	type thingBody struct {
//		To   wire.UserID    `json:"to"`            // required; a UserID is checked to be one
//		TTL  int64          `json:"ttl,omitzero"`  // optional
//		Data jsontext.Value `json:"data,omitzero"` // any JSON, byte for byte as it came
//	}
//
// (The JSON is that of encoding/json/v2: omitempty does something else there.)
// Times are of type Time. A body that is to be read by other rules, or faster,
// has a method UnmarshalJSON of its own; one of type Raw[T] is not read at all.
//
// An error becomes the answer: a *Refusal (Invalid, NotFound, Forbidden, Refuse)
// as it says, a *wire.Error under its code, anything else as 500, logged. An
// answer is a struct; its status is the row's, or that of its method Status() int;
// it may have Location() string; Replayed() bool, which says that what was asked
// for had been done before; Unsettled() bool, which says that the request is to be
// carried out once more when it is repeated under its key; and Fault() error, which
// says what kept it from being done in full: it is logged as an error would be.
// Page through what has an order that does not change, and return q.Next(position)
// as the answer's `json:"next,omitzero"`.
//
// Calls that change something say Once: true; their request may then carry an
// Idempotency-Key, and is not cut short when its client leaves. A repeat is
// answered without the handler: where the answer holds what not every key of the
// app with the call's scope may have, say Secret: true. A call that a
// user's own token opens instead of an API key says Auth: ByToken, and is given
// no identity; one that is for accounts says Auth: ByAccount, and finds in its
// Identity whose token it is, which was checked; one that is for users of any app says
// Auth: ByUser, has AsUser in its request, and finds in its Identity who it is. One of
// these that an API key may make, too, says with which scope: Also. A call that writes its answer by itself, such as a stream of
// events, is Serve(f) instead of Handle(f); a stream says Stream: true. One that is
// about this node alone says Here: true: others are refused while it is cut off from
// its cluster.
//
// Tests compare the table with the OpenAPI document (a file of your subject in
// openapi/, merged into base.yaml; /docs/api is made of it) and with
// docs/requests.http, and try every call with every kind of bad key. A code that
// is new goes into ProblemCodes and the document's ProblemCode. So a new row has
// to be in all of them, and go test ./internal/api ./internal/nodetest says what
// is missing.

// Auth says what opens a call.
type Auth int

const (
	ByKey     Auth = iota // an API key with the call's scope
	ByToken               // the handler sees to it: a user's own token
	ByAnyKey              // an API key that is good, whatever its scopes
	ByAccount             // the access token of an account: Identity.Account
	ByNobody              // whoever comes, about accounts
	ByUser                // a user: the access token of an account, or appId, userId and the token of another app: Identity.User
)

// Call is one operation of the HTTP interface: a row of the table.
type Call struct {
	Method  string
	Path    string // with parameters as in "/v1/users/{userId}"
	Scope   keys.Scope
	Named   bool // a key opens it with the scope for the service that {name} is, too
	Auth    Auth
	Also    keys.Scope // an API key with this scope opens it, too, of the chat app where it is about accounts
	Once    bool       // it takes an Idempotency-Key
	Secret  bool       // its answer holds a secret: a repeat gets it only with the API key that asked first
	Here    bool       // it is about this node alone: one that has lost touch with its cluster answers it, too
	Open    bool       // in the demo it is for anybody: without a key it is made as an admin's
	Stream  bool       // asking for its answer does something, and it has no end: HEAD is refused
	Status  int        // of its answer when all went well; 0: 200
	Handler Handler
}

// name is how the call is called in metrics and cursors.
func (c *Call) name() string { return c.Method + " " + c.Path }

// Handler is a function that carries out a call, and what it takes and gives.
type Handler struct {
	Request reflect.Type // a struct; see above
	Answer  reflect.Type // a struct; nil for what Serve made

	plan  *plan
	run   func(ctx context.Context, who Identity, request any) (any, error)
	serve func(w http.ResponseWriter, r *http.Request, who Identity, request any) error
}

// Handle makes a handler of a function.
func Handle[Q, A any](f func(ctx context.Context, who Identity, request Q) (A, error)) Handler {
	request := reflect.TypeFor[Q]()
	return Handler{
		Request: request, Answer: reflect.TypeFor[A](), plan: newPlan(request),
		run: func(ctx context.Context, who Identity, q any) (any, error) { return f(ctx, who, *q.(*Q)) },
	}
}

// Serve makes a handler of a function that writes its answer by itself. An error
// is answered as long as nothing has been written. The server bounds an answer
// to three minutes; http.ResponseController.SetWriteDeadline changes that.
func Serve[Q any](f func(w http.ResponseWriter, r *http.Request, who Identity, request Q) error) Handler {
	request := reflect.TypeFor[Q]()
	return Handler{
		Request: request, plan: newPlan(request),
		serve: func(w http.ResponseWriter, r *http.Request, who Identity, q any) error { return f(w, r, who, *q.(*Q)) },
	}
}
