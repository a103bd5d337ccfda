// Package client connects a Go program to Switchboard: it signs in, sends,
// receives, acknowledges, and comes back when the connection is lost.
//
//	c, err := client.Dial(ctx, client.Options{
//		URL: "wss://example.org/ws", AppID: "app-id-343", UserID: "ANZ-123223", Token: "…",
//		Ack: true, Push: true,
//		OnMessage: func(ctx context.Context, m client.Message) error {
//			return store(ctx, m)
//		},
//	})
//
// # What it promises
//
//   - Handlers are called one at a time, from one goroutine, in the order in
//     which the frames came; OnState from another one.
//   - Without [Options.Ack], a message counts as delivered when it has reached
//     this process: if the process dies before its handler ran, the message is
//     gone. With Ack it counts as delivered when its handler has returned
//     without an error; what was not handled comes again, on the next
//     connection or on another session of the user, and what comes again under
//     an ID that was handled is not handed over twice (within [Options.Seen]
//     messages, and while the process lives).
//   - Without [Options.Producer], nothing is kept for later behind the caller's
//     back: what is sent while there is no connection fails with
//     [ErrNotConnected]. A Send that returned nil has left this process; only a
//     confirmation says that it arrived (see [Client.SendAndWait]).
//   - With it, RELIABLE messages go through an outbox: a Send that returned nil is
//     stored once, in order, however many connections that takes, while the process
//     lives. [Client.Flush] waits until all is. Of what the server refuses, OnError
//     is told what is refused for good; the rest is tried again. The outbox has at
//     most [wire.SeqWindow] messages; then Send waits.
//   - After a lost connection it comes back by itself, after delays that grow
//     and are random, and signs in again. Messages that were missed in between
//     come with [Options.Push], or when [Client.FetchMissing] asks for them.
//   - Queues are bounded. When handlers are too slow the client stops reading,
//     pings included, and the server takes back what the client did not prove.
//   - [Client.Close] waits for all goroutines.
//
// The protocol is described in docs/protocol.md, its codes in package wire.
package client
