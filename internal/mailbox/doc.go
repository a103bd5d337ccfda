// Package mailbox keeps RELIABLE messages: it logs them, delivers them in
// order, waits for proof and forgets them.
//
// Users are hashed into shards. A shard is one log (a Log: numbered batches,
// each synced before it counts) and one keeper, the only writer of that log
// and the only owner of the delivery state of its users. The core is a pure
// state machine: its state changes only by the calls of core.go and their
// neighbours, which take the time as an argument and leave effects behind; it
// is rebuilt by replaying the log. Keeper is the world around it: the inbox,
// the clock, the goroutines that append and read.
//
// # Promises
//
//   - Nothing is delivered, and no sender told «stored», before the batch that
//     holds the message is synced.
//   - A user's messages are one sequence, in log order. After its mark a session
//     gets everything in that order by itself; before it lies what was missed,
//     which is fetched.
//   - What a session did not prove goes back to its place when it ends: to
//     another session that did not get it, or to what was missed.
//   - One session never gets one message twice, also when the keeper has to
//     rebuild its memory.
//   - Every session that was opened is closed exactly once, a killed node's
//     included, and its notices carry IDs derived from its own.
//   - All of this holds when sessions are registered anew, with this keeper or the
//     next, whatever was lost on the way to them. Two things the next keeper cannot
//     know: that a session lost what another of its user has proved, which it does
//     not get then, and that it was about to be given back something from before
//     its mark, which was missed then.
//   - A message of a sender's outbox is accepted once, without a limit in time.
//   - A message that came over a link from another domain is accepted once, under
//     the ID that it has, for as long as it may come again there (road); what comes
//     over two links is for a user once, as far as memory reaches. Whom it cannot be
//     kept for is told to its sender in the batch that says that it came.
//   - What a link's session is told never comes again (Delivery.Low) is gone from
//     the log for good.
//   - What is sent another way because the network changed (Keeper.Move) leaves its
//     mailbox in the batch that has what takes its place.
//
// # Limits
//
// A mailbox is limited in age, number and bytes (Limits), checked on
// acceptance; that of a link in age and bytes. A session has at most Window bytes on their way to it. The log
// holds at most about twice what is waiting plus Slack: older batches are
// trimmed when everything in them is proved, and what is left in an old head is
// copied forward.
package mailbox
