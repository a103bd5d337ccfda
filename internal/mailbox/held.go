package mailbox

// Held is a session as its connector knows it: what the next keeper needs to go
// on where the last one stood. NextN 0 says that the connector never heard that
// the session was opened.
type Held struct {
	Session

	Mark     uint64 // as Outlet.Opened told last
	Cursor   uint64 // behind the last place that the session was given without asking; Mark when none, 0 with Push
	NextN    uint64 // the number of the next delivery
	ProvedTo uint64 // every delivery up to it is proved
	PassedTo uint64 // every delivery up to it has arrived
	Given    []Given
	Fetches  []int // what fetches still want, the current one first
}

// Given is a delivery of which the connector does not know that its proof is in
// the log, in the order of N.
type Given struct {
	N, Ord  uint64
	Size    uint32
	Fetched bool
	Proved  bool // on a session with Each; other proofs are up to Held.ProvedTo
}
