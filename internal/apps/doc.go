// Package apps knows the configured client applications: who may sign in, and
// whose users may reach whose.
//
// A [Registry] holds the apps as one immutable snapshot. [Registry.Replace]
// puts another in its place at run time; it is checked as a whole first, and a
// bad one changes nothing.
//
// # Signing in
//
// [Registry.Authenticate] checks in this order, and the first that fails
// decides: the user's name is a configured app; the appId is that app's; the
// user's home is here; and, if the app has AuthEnabled, what the app's own
// authority says. The authority is the app's JWT keys when it has some, else
// its hook, an HTTP server of the app's owner.
//
// [Registry.AuthenticateLink] decides the same for the user of a link from
// another domain: by the link's secret, or, where there is none, by where it comes
// from. A link is never let in by Authenticate, nor anybody else by this.
//
// # Promises
//
//   - One attempt means at most one call of the hook, whatever happens on the
//     way: there is no retry, no redirect, and nothing that HTTP would repeat by
//     itself.
//   - At most HookConcurrency calls are in flight to one hook. Who waits for a
//     turn waits no longer than its own context, and delays nobody at another
//     hook. At most HookWaiting wait; one more is refused at once.
//   - A hook's answer is read up to 64 KiB, a key set up to 256 KiB, a JWT up to
//     [MaxToken].
//   - A JWT's algorithm is fixed by the kind of the key, never by the token.
//   - Keys from a URL that can no longer be fetched stay in use; keys that the
//     URL no longer lists do not.
//   - What a client is told says which check failed and nothing else. Tokens,
//     secrets and URLs (which may hold a password) are in no refusal and no log
//     line.
package apps
