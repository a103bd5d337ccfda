package mailbox

// Detach says that the sessions of a node are to be registered anew, because
// the link to it broke: until then nothing is delivered to their users.
func (k *Keeper) Detach(node string) { k.post(event{kind: evDetach, node: node}) }

// Reopen registers a session anew, whatever the keeper knew of it.
func (k *Keeper) Reopen(h Held) { k.post(event{kind: evReopen, held: &h}) }

// Registered says that a node has registered all its sessions anew: those that
// did not come are closed.
func (k *Keeper) Registered(node string) { k.post(event{kind: evRegistered, node: node}) }

// CloseNode says that a node is dead: its sessions are closed.
func (k *Keeper) CloseNode(node string) { k.post(event{kind: evCloseNode, node: node}) }

// Retire has the keeper stop serving, in good order: everything accepted is
// stored, Run returns, and what is accepted later goes to Options.Returned.
func (k *Keeper) Retire() {}

// Held returns this node's sessions, for the next keeper, after Run has
// returned.
func (k *Keeper) Held() []Held { return nil }

// Forward takes messages that stand in the log of another shard, or in an
// archive, into the mailboxes of this one. Each source has one sequence, which
// rises; what is at or below the last that is stored is not taken again.
func (k *Keeper) Forward(source string, list []Forwarded, done func(upTo uint64, err error)) {
	k.post(event{kind: evForward, forward: &forwarding{source, list, done}})
}

// forwarding is one call of Forward.
type forwarding struct {
	source string
	list   []Forwarded
	done   func(upTo uint64, err error)
}

// ParseForwarded reads what is delivered out of a mailbox Relay.
func ParseForwarded(d Delivery) (Forwarded, error) { return Forwarded{Seq: d.Ord}, errShort }
