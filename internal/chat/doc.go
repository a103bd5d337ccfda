// Package chat is the room of rooms: who is a member of which, what was said there,
// in which order, who has read how far, and the news of all that for those who are
// connected.
//
// # Promises
//
//   - What is in a room has a number there, its seq: without gaps, the same for all,
//     from one database. It is stored before its sender hears so; sent again under
//     the same ID of the client's it is stored once.
//   - Whoever is no member learns nothing of a private room, not even that there is
//     one. Every operation asks the table in rules.go, in the transaction in which it
//     takes effect.
//   - Live frames are news: they come in the order of seq, go to no mailbox, and may be
//     lost; then the numbers show a gap, and the history has what is in it.
//   - Sending to a room costs one stored message, however many its members are.
//
// # How it hangs together
//
// Sends and read marks wait for a committer, which stores in one transaction what came
// while the one before was under way. Everything else is a transaction of its own.
// Every one that writes locks the rows of its rooms first, in the order of their
// numbers, and then touches only what is of those rooms: so no two wait for each other
// in a circle.
//
// What has been stored is told to all nodes, one message each, and a lane hands it to
// the sessions of members on its node. A lane owns its rooms: which sessions there are
// in them, and the feed that puts what comes into order. A gap is waited for 100 ms and
// then filled out of the database.
//
// # Limits
//
// See Limits for what can be set, and the constants beside the queues for the rest.
// A queue of a committer that is full refuses with BUSY. A lane whose queue is full
// drops news and counts them; so does a session that does not take them.
package chat
