// Package webhooks tells an app's own server what happens: who connects and
// leaves, and what becomes of messages. Each event is one signed HTTP POST, as
// Standard Webhooks 1.0 has it.
//
// The events of one webhook wait in a queue of the keeper's, on disk (Queue),
// where they were written together with what they tell of. A hook is one webhook
// at work: a pure state machine decides which event is posted when; around it are
// the queue's session, the attempts, and the archivist, who writes what has ended
// into the history (Archive) and proves it to the queue then, and not before.
//
// # Promises
//
//   - Every event arrives (the receiver answers 2xx) or is given up when its time
//     has run out, and either way stands in the history. It may arrive more than
//     once, after a crash or when an answer was lost; its ID is always the same.
//   - Events about one user are posted one after the other, the next one only when
//     the one before has arrived or is given up. The user is who connected or left
//     and, for events about a message, its receiver.
//   - A webhook that fails for everybody gets one request at a time, a minute
//     apart at most, until one succeeds; then all that waits goes on at once.
//   - Connections go to public addresses only, unless the webhook may be at a
//     private one; through no proxy, and never where a redirect leads.
//   - Of several nodes, each of which posts the events that are kept there, any shows
//     how it goes on all that there are; what others did is up to a second old. A
//     node alone does nothing for that.
//   - Secrets, URLs and what is posted are in no log line; what a receiver answers
//     is in none but the reason of a failure, in a short excerpt.
//
// # Limits
//
// At most Limits.Concurrency events are on their way to one webhook, about as
// many users. window bounds the bytes of events in memory, those that wait behind
// a stuck one included: when users that fail for themselves fill it, the others
// wait until one of them succeeds or is given up. An answer is read up to 64 KiB.
package webhooks
