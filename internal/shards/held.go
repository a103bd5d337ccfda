package shards

import "github.com/seed-3d8c1042/switchboard/internal/mailbox"

// maxFetches is how many fetches of one session may wait: as many as its keeper
// lets.
const maxFetches = 8

// held is a session of this node whose keeper is elsewhere, or about to be.
type held struct {
	*mailbox.Ledger
	outlet mailbox.Outlet
}

// note takes a call of the session in. It returns false for a fetch too many.
func (h *held) note(p op) bool {
	switch p.kind {
	case kindProve:
		h.Prove(p.n)
	case kindPass:
		h.Pass(p.n)
	case kindProveEach:
		h.ProveEach(p.n)
	case kindFetch:
		if h.Fetching() >= maxFetches {
			return false
		}
		h.Fetch(int(p.n))
	}
	return true
}

// open takes in that the keeper knows the session.
func (h *held) open(mark uint64) {
	h.Opened(mark)
	h.outlet.Opened(mark)
}

// deliver takes a delivery in.
func (h *held) deliver(d mailbox.Delivery) {
	if h.Deliver(d) {
		h.outlet.Deliver(d)
	}
}

// fetchDone ends the current fetch.
func (h *held) fetchDone(left int) {
	h.FetchDone()
	h.outlet.FetchDone(left)
}

// settle forgets deliveries whose proof is in the log.
func (h *held) settle(n uint64) {
	h.Settled(n)
	h.outlet.Settled(n)
}
