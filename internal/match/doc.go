// Package match is the room of matching: devices wait in pools, those that meet each
// other's criteria become a match, and exchange payloads until they leave.
//
// Pools are hashed into shards, and the node that keeps a shard owns its pools. A
// device takes part through a Session on the node where it is connected: a Session
// says what the device wants (Request, Cancel, Leave, Send) and its Outlet hears what
// came of it. Node and owner talk over Owners, which is memory where both are one.
//
// # Promises
//
//   - A device is in at most one match of a pool, and has at most one ticket in it,
//     whatever is killed or frozen when. A match exists, and is told, only once it is
//     in the shard's Log, written on condition of the log's last sequence: of two
//     owners at once only one makes matches.
//   - Criteria are mutual: each member satisfies those of each other.
//   - First come first served within what fits: whoever comes, or whose window has
//     widened, gets the one who fits and has waited longest, or with Nearest the one
//     that is nearest. No two tickets wait that fit and could be a pair.
//   - Tickets are not in the log: the node of a session announces them again to a new
//     owner, as old as they are. Live matches are in the log, and end when the node
//     of a member no longer knows of it.
//   - A match of which fewer than two members are left has ended; it is told to the
//     one who is left when that is in the log.
//   - Messages between members go from node to node past the owner, in order from one
//     member to another, and are FAST: what finds nobody is dropped and counted.
//
// # How it hangs together
//
// core is a pure state machine, one for each shard: its methods are events, they take
// the time as an argument, change the state, append to a journal and leave effects,
// which wait for the batch that they depend on. While one batch is being stored, what
// happens forms the next. owner is the world around it. desk is the other side: what
// the sessions of this node have in the pools of one shard, told to the owner in an
// ordered conversation that begins anew, with all that there is, whenever it broke.
//
// Within a pool tickets stand in compartments by what must be equal (key, gesture,
// metric), and there in a tree whose nodes know the bounds of all that is below them:
// positions, radii, numbers, and what numbers are asked for, both ways. So a search
// looks only where somebody may be who fits and whom it fits.
//
// # Limits
//
// See Limits. Groups have 2 to MaxGroup members; the search for one gives up after a
// bounded number of steps, and is taken up again by whoever comes next.
package match
