package mailbox

import "slices"

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

	// What only a core knows, which hands its sessions to the next in the same
	// process.
	returned []uint64
	fetchAt  uint64
	fresh    bool
	away     bool
	shared   bool // the user's messages are shared out, also if no session is a master's any more
}

// Given is a delivery of which the connector does not know that its proof is in
// the log, in the order of N.
type Given struct {
	N, Ord  uint64
	Size    uint32
	Fetched bool
	Proved  bool // on a session with Each; other proofs are up to Held.ProvedTo

	confirm *messageRecord // as in flight
}

// held returns a session as its connector knows it, which is in this process.
func (s *session) held() Held {
	h := Held{
		Session: s.Session, Mark: s.mark, Cursor: s.cursor,
		NextN: s.nextN, ProvedTo: s.provedTo, Fetches: s.fetches,
		returned: s.returned, fetchAt: s.fetchAt, fresh: s.fresh, away: s.away, shared: s.user.lanes != nil,
	}
	if s.passed > 0 {
		h.PassedTo = s.flight[s.passed-1].n
	}
	if len(s.flight) > 0 {
		h.Given = make([]Given, len(s.flight))
	}
	for i := range s.flight {
		f := &s.flight[i]
		h.Given[i] = Given{N: f.n, Ord: f.ord, Size: f.size, Fetched: f.fetched, Proved: f.done, confirm: f.confirm}
	}
	if s.said != nil {
		h.restore(s.said)
	}
	if s.unopened {
		h.NextN = 0
	}
	return h
}

// restore puts back what a core left out of a session because it did not find it in the
// log, which it had not read to its end: another one still wrote to it. Nothing was
// delivered since.
func (h *Held) restore(said *Held) {
	h.Mark, h.Cursor, h.returned = said.Mark, said.Cursor, slices.Concat(said.returned, h.returned)
	i := 0
	for _, g := range said.Given {
		if i < len(h.Given) && h.Given[i].N == g.N {
			h.Given[i].Ord = g.Ord
			i++
		}
	}
}
