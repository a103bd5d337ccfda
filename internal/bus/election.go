package bus

import (
	"sync"
	"time"
	_ "unsafe" // for go:linkname

	_ "github.com/nats-io/nats-server/v2/server" // whose variables these are
)

// The server has no setting for how long its elections take: 4 to 9 seconds, made
// for links around the world. On one network that is long: nothing is stored
// meanwhile. These are the variables that its own tests set.

//go:linkname minElectionTimeout github.com/nats-io/nats-server/v2/server.minElectionTimeout
var minElectionTimeout time.Duration

//go:linkname maxElectionTimeout github.com/nats-io/nats-server/v2/server.maxElectionTimeout
var maxElectionTimeout time.Duration

//go:linkname hbInterval github.com/nats-io/nats-server/v2/server.hbInterval
var hbInterval time.Duration

//go:linkname lostQuorumInterval github.com/nats-io/nats-server/v2/server.lostQuorumInterval
var lostQuorumInterval time.Duration

//go:linkname lostQuorumCheck github.com/nats-io/nats-server/v2/server.lostQuorumCheck
var lostQuorumCheck time.Duration

var electionOnce sync.Once

// setElection makes elections begin once a leader was silent for d. The first
// call of a process counts; it must come before its first server starts.
func setElection(d time.Duration) {
	electionOnce.Do(func() {
		minElectionTimeout, maxElectionTimeout = d, d*9/4
		hbInterval = d / 4
		lostQuorumInterval, lostQuorumCheck = d*5/2, d*5/2
	})
}
