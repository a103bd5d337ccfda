// Package registry knows the services of a product, and where their instances are.
//
// An instance is registered for a time (its TTL) by whoever runs it, and renewed by
// registering it again; it is gone when it takes its leave, or is not renewed in time.
// What is registered is in a table that all nodes share. Beside it there are instances
// that do not end: those that a file names ([ReadFile]), and the nodes themselves.
//
// # Promises
//
//   - What [Room.Register] has registered is stored when it returns, and listed by this
//     node from then on, by the others a moment later.
//   - Each node judges by its own monotonic clock: an instance is over when this node
//     has not heard of it for its TTL, and never before. One that is over is listed no
//     more at once; its row is removed by whichever node comes first, and only if it is
//     the row that was judged: a renewal that comes in between stands.
//   - Time in which this process did not run, or was cut off from its cluster, does not
//     count; after being cut off each instance has half of its TTL at least. A node
//     that begins gives each its whole TTL.
//   - [Room.Watch] tells of each change of what [Room.List] returns for a service, of a
//     renewal without one not at all.
//
// Limits: as many instances as Options.Max says, of [MaxServices] services; nodes that
// register at the same moment may go past it by one each. Names of [MaxName] bytes, URLs
// of [MaxURL], [MaxMeta] entries of meta with [MaxMetaBytes] in all.
package registry
