// Package wire is Switchboard's protocol: it parses, checks and writes the
// frames that travel between a client and a server, and names their codes.
//
// Every frame is one JSON object in one WebSocket text message, in an envelope
// of a few known members. The package reads that envelope with a scanner of its
// own: the whole frame is checked to be JSON, the envelope is picked out, and
// the payload (the "content" of a message) is never decoded. It is passed on
// byte for byte.
//
// What it promises:
//
//   - A frame is accepted exactly when encoding/json finds it valid, with two
//     exceptions: nesting beyond [MaxDepth], and known members that are given
//     twice, are refused. A frame that two programs may read differently is no
//     frame.
//   - Member names and string values may be written with escapes. Member names
//     are case-sensitive. Unknown members are ignored; null counts as absent.
//   - Ordinary frames are parsed and written without an allocation.
//   - Functions keep no state and may be called from any goroutine. What a
//     parser returns points into its input, unless it says otherwise.
//
// It does not limit the size of a frame (whoever reads the socket does), and it
// does not check UTF-8 (the WebSocket layer does). docs/protocol.md describes
// the protocol for people who write clients in other languages.
//
// The package imports the standard library only.
package wire
