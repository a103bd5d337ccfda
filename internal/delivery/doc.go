// Package delivery takes messages to their receivers: it knows which users have
// sessions, on this node and on the others (the roster), hands FAST messages over,
// and passes RELIABLE ones to the keeper of each receiver.
//
// A FAST message is framed once and queued on each session of the receiver in
// the goroutine of its sender, so the order from one sender to one receiver
// holds. Each other node with sessions of its receivers gets one message, over a
// link that keeps order, and queues it there. A receiver that is absent, or has no
// room, or whose node cannot be reached, does not get it; that is counted. The
// first proof, on whichever node, confirms it, once.
//
// # The roster of all nodes
//
// When a conversation with a node begins, it gets all sessions of this one, and
// from then on what changes. It compares: who is missing leaves, who is new joins.
// While a link is down what was known holds; when a node is dead its sessions
// leave. So once the links are up and quiet, all nodes know the same, and until
// then each knows what was true a moment ago: limits that count sessions may be
// passed by as many as there are other nodes.
//
// Whoever watches a user hears when the first of its sessions begins and when the
// last one ends, in turn, wherever they are.
//
// # Limits
//
// Nothing here blocks but a broadcast, which takes a system call's time for each
// session, or waits for the keeper as long as it may; and Add, while it asks
// another node for room. A session of another node costs some 150 bytes. What a
// node waits for from others is bounded: see knownTime and the constants of
// tokens; and what it sends them of its sessions when a link begins, see
// turnBytes.
//
// The roster keeps its users in the order of their IDs, so that who is connected
// is listed in pages that cost what is in them, however many there are.
package delivery
