// Package gateway is the door through which clients reach a product's own HTTP
// services: a route says which paths lead to which service, who may come, and what
// it may cost; an instance of that service answers.
//
// It promises that
//   - what a service is told of its caller (X-User-Id, X-App, X-Forwarded-*) is ours and nobody else's,
//     and that no spelling of a path gets around the route, and so the check, that is meant for it;
//   - a request goes to the usable instance with the fewest requests in flight for its weight,
//     and is repeated elsewhere only if that is safe: it was not sent, or its method may be repeated;
//   - repeats are a bounded share of what is asked for, so that they do not feed an outage;
//   - bodies go through in both directions as they come, in memory that does not grow with them, and last as long
//     as they make progress.
//
// It imports no room: who is behind a token, and which instances there are, is said by
// [Verifier] and [Instances].
//
// Everything in [Config] may be replaced while requests are under way; each ends as it began.
package gateway
