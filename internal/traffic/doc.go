// Package traffic says how many messages and bytes were exchanged, in windows of
// time, by app, capability, domain or device.
//
// It counts what the journal holds, and nothing else: events that were appended, and
// the sums of what each node has handed to sessions, which [Meters] make once a second
// and which are events themselves. A shard's events are folded, in the journal's order,
// by whoever keeps the shard, into panes of ten seconds; panes that are closed become
// part of minutes. What is asked for is added up from all shards.
//
// Promises:
//
//   - Of the same events the answer is the same, on however many shards and nodes, in
//     whichever order the shards' events were taken in, and after any kill: state is
//     kept in chunks, each with the position in the journal up to which it holds what
//     came before, and what came after is folded again.
//   - Whether an event is too late, or from the future, depends on when it happened and
//     when the journal took it in, which is stored with it. Both are counted apart, by
//     when they came.
//   - What was taken in elsewhere, and is brought later, counts as if it had come then.
//   - A result that is final does not change, but by what is brought. Until then it has a revision, which rises
//     with each event that came when its ten seconds were over.
//   - A window of which a part is not to be had is an error, never a smaller number.
//
// Limits: how long panes, minutes and devices are kept; how many groups a pane tells
// apart, beyond which they are counted together as "(other)"; how many rows an answer
// has.
package traffic
