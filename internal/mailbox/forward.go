package mailbox

import (
	"fmt"
	"time"

	"github.com/seed-3d8c1042/switchboard/wire"
)

// Forwarded is a message on its way from the log of one shard into that of
// another, or out of an archive.
type Forwarded struct {
	Seq       uint64 // rises from one message of a source to the next
	ID        wire.ID
	To        wire.UserID
	From      wire.UserID // the sender; of a notice, whom it is about
	Flags     uint8       // as in the log
	Expires   time.Time   // zero: never
	Reference []byte
	Frame     []byte
}

// Relay returns the reserved user in whose mailbox waits what is for users of
// another shard.
func Relay(shard int) wire.UserID { return wire.UserID(fmt.Sprintf("-shard/%d", shard)) }

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
