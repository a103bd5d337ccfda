// Package nearby is the room of positions: users say where they are, and others see who
// is around them, now and as it changes.
//
// Users are hashed into shards. The node that keeps a shard holds where its users are;
// any node asks it over Owners, which is memory where both are one. What a session
// looks at is held by the node where it is connected.
//
// # Promises
//
//   - Of a user the newest position counts, by the time that it gives itself, and of as
//     many from the same moment the one that came last. It is there for the time to live
//     after the last news of it, across restarts.
//   - A query asks the keepers of all shards, and fails if one does not answer: it is
//     never a part of the truth. Distances are those of package grid, and so of Redis.
//   - What a watch is told, all together, is what a query answers, whatever moves,
//     expires, breaks or is killed: at the latest when news has stopped for a moment.
//   - What is taken in is stored within a second; a keeper that is killed loses no more
//     than that. Hide is answered when it is stored, and from the moment of a hide on no
//     position from before it counts.
//   - Precision is reduced before anything else is done with a position: nobody can find
//     out more by asking around, or by asking again.
//   - A session is told changes in at most ten frames a second, and of users, or of cells
//     with numbers where they are too many.
//
// # How it hangs together
//
// core is the keeper of a shard, and pure: one crowd for each app, with a grid.Tree of
// those who are visible and a chain of all in the order in which they expire; the journal
// of what the log lacks, of each user the last; and the cells that nodes want. owner is
// the world around it: a lock, under which whoever asks does so himself, and a goroutine
// that stores and tells.
//
// desk is the other side, and pure, too: a watch needs a few cells that cover what it
// looks at; the desk wants them of all keepers, once for all watches, in a conversation
// that begins anew whenever it broke. A keeper tells who is in a cell, and then each
// change there, all cells of all apps in one order. Where much is asked at once it is told
// a portion at a time, and so are answers, so that changes come in between. So a desk
// knows of each cell what its keepers know, and each watch compares what its session knows
// with that. sight is the world around it.
//
// Of a cell in which there are very many a keeper tells only how many are in which of its
// parts, once a second: so nobody is told of a million users, and no node.
//
// # Limits
//
// See Limits. Users are named as package wire has it: an app, and a number.
package nearby
