// Package shards is where a node's sockets find the keepers: of this node and of
// others.
//
// Users are hashed into shards, and each shard has one keeper (package mailbox),
// on one node. An Office has the methods of a keeper and passes each call on to
// the keeper of the user's shard: by a call, if that is in this process, over a
// link between the nodes otherwise. For a session whose keeper is elsewhere it
// remembers what the session was given and has not proved. When the keeper moves,
// or the link to it breaks, its sessions are registered anew with that, wherever
// the keeper is then; so a session notices nothing.
//
// Who keeps which shard stands in a table that all nodes have: a row for each
// shard, changed by compare-and-set (see Leases). It needs no clocks that agree and no
// trust: whoever lost a shard and does not know it is refused by the shard's
// log.
//
// # Promises
//
//   - What is accepted while a shard has no keeper waits, for Patience at most and
//     within limits, and is refused by name after that.
//   - The order of what one session sends to one receiver holds, also while the
//     receiver's keeper moves.
//   - The outcome of every message is told, once: stored, refused, or that nobody
//     knows, when the keeper that had it is gone without an answer.
//   - What a keeper has to tell users of another shard (confirmations, presence for
//     master users, events of webhooks) is forwarded in order until that shard has
//     it; it takes each once.
//
// # Duties
//
// What else whoever keeps a shard does for it is a Duty. Owners is the one face of all
// who do it: requests go to the node that keeps the shard, messages to the node that is
// meant. What one goroutine asks of a shard is served in order while one node keeps it,
// and each request has one outcome.
package shards
