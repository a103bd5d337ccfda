// Package accounts knows who the users of the chat app are: their names, passwords,
// sessions, profiles, and whom they have blocked.
//
// Whoever signs in has a session: a family of refresh tokens, each of which is good
// once, and of short access tokens. An access token says by itself whose it is and
// until when; whether its session still stands is asked of the Store each time.
//
// # Promises
//
//   - A name belongs to one account, without regard to case, whoever signs up at once.
//   - A wrong name and a wrong password are the same answer after the same work: one
//     computation of a hash.
//   - A refresh token that is used a second time ends its session. One that we never
//     made changes nothing.
//   - When a session has ended nobody is let in with it any more, on any node; what
//     holds on to it (Hold) on this node is closed at once, and on other nodes as soon
//     as they hear of it. A node that has not heard another one for a while asks the
//     Store of all that it holds.
//   - An account that is deleted is gone for everybody with one transaction; what comes
//     after it nobody can hold up, and what is cut off is done later.
//   - Passwords and tokens are in no log line and no error. Of a password and of a
//     token that sets it anew the Store has a hash.
//
// # Limits
//
// At most so many hashes at once as the machine has processors, twice over, each of
// 19 MiB; a few hundred wait for their turn, and no longer than some seconds. How
// often somebody has failed each node knows for itself, in memory, of 100 000 names
// and 100 000 addresses at most.
package accounts
