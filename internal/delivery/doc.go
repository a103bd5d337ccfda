// Package delivery takes messages to their receivers: it knows which users have
// sessions on this node (the roster), hands FAST messages over in memory, and
// passes RELIABLE ones to the keeper of each receiver.
//
// A FAST message is framed once and queued on each session of the receiver in
// the goroutine of its sender, so the order from one sender to one receiver
// holds. A receiver that is absent or has no room does not get it; that is
// counted. Nothing here blocks but a broadcast, which takes a system call's time
// for each session, or waits for the keeper as long as it may.
//
// The roster keeps its users in the order of their IDs, so that who is connected
// is listed in pages that cost what is in them, however many there are.
package delivery
