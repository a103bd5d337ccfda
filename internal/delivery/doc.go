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
// # Domains
//
// Users whose home is another domain are reached over links. Domains says which is
// the next domain on the way; what goes there is a FORWARD (see package wire) in the
// mailbox of that link's user, RELIABLE, or, FAST, on its sessions: so to its keeper
// a link is a user, and nothing else here knows of links. A message to several is
// one FORWARD for each next domain, and its sender hears of it as of one message.
//
//   - RELIABLE: each domain on the way stores it before it is acknowledged to the one
//     before. What cannot be stored at present is not acknowledged, and comes again;
//     what is refused for good (a full mailbox, no way, too many links) is told to its
//     sender. What comes again is stored once, as far as its road is known, see Past.
//   - Order from one sender to one receiver holds while the routes stay. When they
//     change, what waits is carried to its new way (Carry) behind what is there, and
//     what is sent later may be faster than what was sent before. Sent again by its
//     producer, a message to one user is still stored once: its number goes with it.
//   - Whatever is known of messages that come again (an outbox, a keyed request, a
//     road) is known for each part of a message by itself, under a name that changes
//     with the routes where these say who is in the part: a part may arrive twice then,
//     never not at all.
//   - FAST: what finds a link without a session is dropped, and counted.
//   - A neighbour is trusted to say who sent what, since an app's server may speak for
//     its users anywhere. That the frame in a FORWARD is a message of that sender, or of
//     the kinds that servers tell, is checked where it arrives, and so is whom the sender
//     may reach, and that only a master user closes sessions.
//   - A broadcast reaches the users of this domain; sessions of other domains can
//     neither be listed nor watched here.
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
