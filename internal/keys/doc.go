// Package keys knows the API keys of a node: who may call its HTTP interface,
// for which app, and what for.
//
// A key is shown once, when it is made, as sb_<id>_<secret>. What is kept is its
// ID, what it may do, and the SHA-256 of its secret: 32 random bytes need no
// slow hash, and nobody makes a secret of its hash. A key is of one app and has
// some scopes, or it is an admin key, which is of all apps and has all scopes.
//
// # Promises
//
//   - A [Ring] has all keys in memory, kept current by its [Store]: verifying
//     costs no input or output, whoever asks and however often.
//   - Whether a secret is right takes the same time for every wrong one, and for
//     an ID that does not exist.
//   - A key that was revoked on this node is refused from the moment on in which
//     Revoke returns.
//   - Whoever makes a key with a key gives nothing away that it has not: no other
//     app, no scope more, no longer life.
//   - When a key was used last is known since the process began, and is not
//     stored: a store that is written for every request would be a poor bargain.
//   - However many keys the keys of apps make, the operator can make some.
//
// Limits: as many keys as Options.Max says, of which keys of apps make nine tenths
// at most, and for one app Options.MaxOfApp; names of [MaxName] bytes.
package keys
