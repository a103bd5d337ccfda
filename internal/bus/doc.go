// Package bus is everything that Switchboard does with NATS: the server that
// runs inside the process, the connections to it, the table of streams and
// subjects, and the logs that keepers write.
//
// The embedded server opens no port. Its JetStream keeps its files in the
// folder jetstream below the data folder and syncs every message before it is
// acknowledged, so what Log.Append has stored survives a power cut, as far as
// the disk keeps its word about syncing.
//
// What the embedded server does on trouble, and what this package makes of it
// (nats-server 2.15, found by the tests of this package):
//
//   - After a failed write or sync, a full disk included, a stream answers no
//     publisher any more until the server is started anew: the publisher sees a
//     time-out. The bus asks the server for its health as soon as it logs an
//     error, ends the append with ErrUnknown, and refuses further ones until
//     Recover has started the server again.
//   - Before that it looks at the free space itself, and refuses a batch with
//     ErrFull while the server still has room for its own needs.
//   - It syncs the file of a message, but not the folder when it begins another
//     file: the bus does, see names.go.
//   - A record whose checksum does not match makes the server cut its file off
//     at that place when it recovers, with all that follows, and give their
//     sequences away again; a stream whose description is damaged is left out
//     as if it had never been. The bus reads all files before the server gets
//     them, refuses to start on damage that no crash explains, and never
//     creates, deletes or empties a stream to get by. It cannot help when a
//     file goes bad while the server runs, but does not take a log that ends
//     before what it stored itself.
//
// Limits: one process has one Bus and one data folder; who calls Open holds the
// folder's lock (package lifecycle).
package bus
