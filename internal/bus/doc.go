// Package bus is everything that Switchboard does with NATS: the server that
// runs inside the process, alone or in a cluster, or the NATS that exists already;
// the connections to it, the table of streams and subjects, the logs that keepers
// write, and the links between nodes.
//
// The embedded server opens no port for clients. Its JetStream keeps its files in the
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
// In a cluster (Options.Cluster) and with a NATS that exists (Options.External):
//
//   - What is acknowledged is on the disks of more than half of a stream's
//     replicas. Where a stream ends is asked of its leader; what a follower lacks
//     is asked for again. Nothing stale is returned as the newest.
//   - A write that is not answered is sent again, until Options.CallTimeout: what it
//     expects of the stream, and a name of its own, see to it that it is stored
//     once. So the end of a leader is a delay. See shared.go.
//   - Without a majority a write fails, or is mailbox.ErrUnknown when it may still
//     be stored later; reads of ends fail.
//   - A link between two nodes is a conversation in which nothing is lost unheard:
//     see Links and talk.go.
//   - The server is started anew for a failure of its own only, never for a leader
//     that is missing.
//   - A NATS that exists need not sync what it stores: External.AcceptUnsynced.
//
// Limits: one process has one Bus and one data folder; who calls Open holds the
// folder's lock (package lifecycle).
package bus
