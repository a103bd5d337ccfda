// Package link is the client's side of the links between domains: for each
// neighbour of this domain it keeps one connection, as the link user of this
// domain, and takes what the neighbour has for it.
//
// # Promises
//
//   - A FORWARD is acknowledged when whoever takes it has said that everything in it
//     is stored or refused, in the order in which it came, and not before. What could
//     be neither ends the connection, and comes again.
//   - What a neighbour routed by a newer description of the network than this domain
//     has is held until this one has it, with all that comes after; if that takes
//     long the link is given up meanwhile, and nothing is lost.
//   - One FORWARD after the other is handed on, in order, from one goroutine.
//   - Of several nodes one has the link to a neighbour, see Options.Mine. Two that
//     both believe to be that one do no harm: whoever stores knows repeats.
//   - Nothing that a neighbour sends ends more than its link: what cannot be read
//     closes the connection with a reason, which both sides log.
//
// # Limits
//
// What is taken and not yet acknowledged is bounded by the neighbour's window
// (limits.linkWindow there), what is read ahead by the client's inbox. A connection
// is tried again after 250 ms to 4 s, at random, and at once when the description of
// the network has changed.
package link
