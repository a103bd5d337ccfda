// Package events keeps the streams of clients that speak HTTP only: a session
// each, which is written out as server-sent events and whose client answers by
// requests.
//
// It knows sessions and what comes of them (Pipe), and one answer at a time
// through which a client is reached (Out). It knows neither HTTP nor WebSocket.
// Streams are those of this node; Exchange finds those of others, too.
//
// # Promises
//
//   - Each frame of the session is one event, under a number that rises by one.
//     What was sent and not acknowledged is kept, and sent again, under the same
//     number and in the same order, to the client that comes back.
//   - The client acknowledges by naming the last event that it has: all before it
//     are meant too. Coming back with Last-Event-ID does the same. The session
//     learns nothing as proved but what the client has acknowledged so.
//   - A client that comes back while its former answer is still open has that
//     ended: at any time at most one answer gets the session's events.
//   - To a client it makes no difference to which node its requests come, as long as
//     that one and the one with its session hear each other.
//   - One that proves nothing for half of its time has its answer ended once: a
//     bare EventSource comes back, and by its Last-Event-ID says what it has.
//
// # Limits
//
// A stream keeps at most keepMost bytes of frames, and what one write of the
// session brings. Past it, first those are forgotten that were written and that
// nobody has to prove (FAST messages, mostly); then the session is kept waiting,
// under its own limits. What nobody has to prove is also forgotten when the client
// was still there after two silences. A stream without unacknowledged events
// keeps no buffer.
// Sessions that are over are remembered only if their client must not sign in
// again by itself, for a while, and at most endedMost of them.
package events
