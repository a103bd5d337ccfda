// Package members knows which nodes make up a cluster, and whether this one is
// still one of them.
//
// Every node keeps a row of its own in a table that all nodes share, and writes
// it anew about each second, with a number that rises: a beat. Whoever watches
// the table judges by its own monotonic clock: a node whose row has not changed
// for a lease is dead, or sooner when its process is known to have ended. A node whose own last write was begun longer ago than four
// fifths of a lease is lost, and knows it before anybody else says so.
//
// # Promises
//
//   - [Room.Valid] is false from the first look on after this process was frozen,
//     or cut off, for four fifths of a lease; once it was false it is true again only
//     after Options.Lost has returned and the row was stored anew.
//   - Options.Joined and Options.Died alternate for each node, and come in order,
//     one at a time, from the goroutine of [Room.Run]. A node that comes back
//     after it was found dead joins again.
//   - Of a node that has missed a beat [Options.Ended] is asked. It is dead when that
//     says twice that its process has ended, and this node's own row was stored in
//     between: a majority is here, then, and of a beat that it took this node would
//     have heard. One that is slow, frozen or cut off has the whole lease.
//   - A node that is lost judges nobody; nor does time count in which this process
//     did not run. So one that wakes up does not find all others dead, nor do all
//     when the table has stood still for a while.
//   - What is shown while a node is lost ([Room.List]) is what it knows: itself as
//     unreachable, with the reason, and so each other one as soon as it has not been
//     heard of for a lease. What is judged ([Room.Judged]) stays as it was.
//   - A node whose lease is another than this one's is logged, once: they judge each
//     other by different measures.
//   - A node that begins under the name of another replaces it at once: the other
//     is dead for everybody, and if it still runs it ends with an error.
//   - Nodes that do not speak a common version of the protocol between nodes do
//     not meet: the one that comes later ends with an error, the others log it.
//
// Without a table a node is alone: always valid, and the only member.
//
// Limits: a dead node is shown for [Kept], and 1000 members at most are.
package members
