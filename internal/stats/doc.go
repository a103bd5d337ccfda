// Package stats says how the server is doing: how many are connected, what passes,
// what waits, what is refused.
//
// It counts nothing. A [Sampler] reads the counters that the metrics show, once a
// second, and keeps the last five minutes, so that who begins to watch sees what
// was before. Rates are left to the reader: every count is a total since the node
// began, and two samples with their times give a rate over any span, also over a
// gap. Quantiles cannot be made of quantiles, so those of the log's syncs are made
// here, over the last minute.
//
// Where there are several nodes, each tells the others once a second what it has
// counted, in some 400 bytes, and a sample is of all together. What one has now
// counts while it is heard of; what it has counted stays when it is gone. Totals are
// those since this node began: of a node that was there before, from when it was
// first heard of, which is before this one is ready.
//
// Promises:
//
//   - A total never falls, whatever nodes and keepers come, go and begin anew. What a
//     node had counted in the second before it died may be missing; nothing is
//     counted twice.
//   - A node alone does nothing of that.
//   - A sample costs the same whatever passes, and whoever watches: it is made
//     once a second, for all.
//   - Samples are numbered without gaps. Who was away for less than five minutes
//     misses none, and nobody who watches makes a queue grow: the Sampler keeps
//     the samples, and each watcher reads on where it was.
package stats
