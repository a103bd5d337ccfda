// Package journal is the room of what happened to devices: an append-only, durable
// journal of events, and what is folded from it.
//
// Each shard has an owner, on the node that keeps the shard. The owner takes events,
// makes a batch of those that arrive while the one before is being stored, appends it
// on condition of the shard's last position, folds it into its projections and answers
// then. What a [Room] is asked or told on any node goes to the owner of the device's
// shard, one request at a time, with a number by which the owner knows a repeat.
//
// Promises:
//
//   - What was answered as stored is stored once, whatever is killed or frozen when. What
//     was sent again, because nobody knew whether it was stored, is stored once, too. An
//     event is known by its app, device and ID, among the last 100 000 of its shard.
//   - What is imported from another store is stored once, as it was, whatever is killed when;
//     and states have what the old ones had.
//   - A projection is what its events say, in the order of the shard's journal: it can be
//     made anew from them and is the same then. Checkpoints only spare reading.
//   - Whoever was answered finds in the state what was stored.
//   - Note never waits. Bytes that the program counts are summed per device and second,
//     but for the first of a device that was idle. What cannot be stored waits within a
//     bound; what is beyond is counted as lost.
//
// Limits: a killed node loses what it noted and had not stored, which is a second of
// sums and what waits for the owner. An ID is remembered for the last 100 000 events
// of a shard. A device of which nothing was stored for as long as the journal is kept
// is forgotten.
package journal
